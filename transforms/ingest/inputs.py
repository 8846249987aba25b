"""Lists the files of a source: those that match its glob and that its reader can read."""

from __future__ import annotations

import glob
import re

from schemas.sources import Source
from storage.folders import Entry, Folder, open_folder
from transforms.ingest.fields import IMAGE_EXTENSIONS
from transforms.ingest.sidecars import is_sidecar

_READABLE = {
    "table": r"\.(parquet|(csv|tsv|jsonl|ndjson)(\.gz|\.zst)?)",
    "text_pairs": r"\.(parquet|(csv|tsv|jsonl|ndjson)(\.gz|\.zst)?)",
    "webdataset": r"\.(tar|tar\.gz|tgz)",
    "img2dataset": r"\.(parquet|tar)",
    "urls": r"\.(parquet|(csv|tsv|jsonl|ndjson)(\.gz|\.zst)?)",
    "html": r"\.x?html?",
    "warc": r"\.warc(\.gz)?",
    "folder": rf"\.({'|'.join(sorted(IMAGE_EXTENSIONS))})",
}
"""Endings of the names that the reader of a source can read, by its type."""

_LEFT_OVER = re.compile(r"~$|\.(tmp|temp|part|partial|crdownload|swp)$", re.IGNORECASE)
_BOOKKEEPING = frozenset({"_SUCCESS", "_temporary", "_delta_log", "__MACOSX"})
_BUCKET = re.compile(r"gs://[^/]*")


class SourceError(ValueError):
    """A source cannot be read as the recipe describes it; the message says what to change."""


def rooted(source: Source) -> Source:
    """Returns the source with a folder as its `path`.

    Where `path` is one file, that is the file's folder, and `files` names the file alone: locators
    are relative to that folder.
    """
    path = source.path.rstrip("/")
    parent, slash, name = path.rpartition("/")
    if name in ("", ".", "..", "~") or _BUCKET.fullmatch(path):
        return source
    above = open_folder(parent or slash or ".")
    if above.stat(name) is None:
        return source
    return source.model_copy(update={"path": above.uri, "files": glob.escape(name)})


def list_inputs(folder: Folder, source: Source) -> list[Entry]:
    """Returns the files of a source, sorted by the UTF-8 bytes of their names.

    Hidden files, temporary files and what other tools keep for themselves are passed over. With the
    images of a folder come their sidecar texts; with the Parquet of an img2dataset shard its tar,
    and tars that have no Parquet.

    Args:
        folder: the folder at the source's path; see `rooted` for a path that is one file.
        source: `files` is a glob in which `**` crosses folders and `*` does not.

    Raises:
        SourceError: no file matches.
    """
    readable = re.compile(rf".*{_READABLE[source.type]}", re.IGNORECASE | re.DOTALL)
    wanted = compile_glob(source.files)
    found: list[Entry] = []
    sidecars: list[Entry] = []
    others: list[str] = []
    for entry in folder.list():
        if _passed_over(entry.name):
            continue
        if source.type == "folder" and is_sidecar(entry.name):
            sidecars.append(entry)
        elif readable.fullmatch(entry.name) and any(
            map(wanted.fullmatch, _matched_names(source, entry.name))
        ):
            found.append(entry)
        elif len(others) < 3:
            others.append(entry.name)
    if not found:
        raise SourceError(_nothing_found(folder, source, others))
    stems = {stem(entry.name) for entry in found}
    found += [entry for entry in sidecars if stem(entry.name) in stems]
    return sorted(found, key=lambda entry: entry.name.encode())


def stem(name: str) -> str:
    """Returns a file's name, with its folders, without its last extension."""
    parent, slash, last = name.rpartition("/")
    return f"{parent}{slash}{last.rpartition('.')[0] or last}"


def compile_glob(pattern: str) -> re.Pattern[str]:
    """Compiles a glob over names with `/` between segments.

    `*` and `?` stay within a segment, `**` crosses segments (`**/` also matches none), `[…]` is one
    character of a set, `{a,b}` is one of several globs.
    """
    alternatives = _ALTERNATIVES.search(pattern)
    if alternatives:
        before, after = pattern[: alternatives.start()], pattern[alternatives.end() :]
        chosen = (compile_glob(f"{before}{one}{after}") for one in alternatives[1].split(","))
        return re.compile("|".join(f"(?:{one.pattern})" for one in chosen), re.DOTALL)
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        token = _GLOB_TOKEN.match(pattern, at)
        if token is None:
            parts.append(re.escape(pattern[at]))
            at += 1
            continue
        parts.append(_GLOB_TOKENS.get(token.group()) or _character_set(token.group()))
        at = token.end()
    return re.compile("".join(parts), re.DOTALL)


_ALTERNATIVES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_GLOB_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]")
_GLOB_TOKENS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _character_set(token: str) -> str:
    negated = token.startswith("[!")
    inside = re.sub(r"([\\^\[\]])", r"\\\1", token[2 if negated else 1 : -1])
    return f"[{'^' * negated}{inside}]"


def _passed_over(name: str) -> bool:
    segments = name.split("/")
    return (
        any(segment.startswith(".") or segment in _BOOKKEEPING for segment in segments)
        or not segments[-1]
        or _LEFT_OVER.search(name) is not None
    )


def _matched_names(source: Source, name: str) -> tuple[str, ...]:
    """Returns the names under which a file may match the glob of its source."""
    if source.type != "img2dataset":
        return (name,)
    # The default glob names the Parquet files; the tar of a shard belongs to the same stem.
    return (name, f"{stem(name)}.parquet", f"{stem(name)}.tar")


def _nothing_found(folder: Folder, source: Source, others: list[str]) -> str:
    wanted = {
        "table": "Parquet, CSV, TSV or JSONL files",
        "text_pairs": "Parquet, CSV, TSV or JSONL files",
        "webdataset": ".tar, .tar.gz or .tgz files",
        "img2dataset": "Parquet files or tars of img2dataset",
        "urls": "Parquet, CSV, TSV or JSONL files",
        "html": ".html, .htm or .xhtml files",
        "warc": ".warc or .warc.gz files",
        "folder": "images",
    }[source.type]
    there = f"it holds {', '.join(others)}, …" if others else "it is empty, or does not exist"
    return (
        f"source {source.name!r}: no {wanted} below {folder.uri} match files = {source.files!r} "
        f"({there}); correct `path` or `files`"
    )
