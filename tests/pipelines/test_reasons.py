"""One bad record for every reason of the closed list, through the real pipeline."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.cards.funnel import read_funnel
from pipelines.cli.demo import serve
from schemas import layout
from schemas.digests import sample_id
from schemas.reasons import REASONS, Reason, Stage
from transforms.parts.tables import read_table
from transforms.shards.commit import read_summaries
from transforms.work import Work

Row = dict[str, Any]

SITE = "http://site.invalid"

URLS = {
    Reason.FETCH_FAILED_TOO_LARGE: f"{SITE}/large.png",
    Reason.FETCH_FAILED_ROBOTS: f"{SITE}/private/picture.png",
    Reason.FETCH_FAILED_BLOCKED_ADDRESS: "http://10.1.2.3/picture.png",
}
"""What our own fetcher refuses, from a site on loopback."""

IMG2DATASET = {
    Reason.FETCH_FAILED_DNS: "<urlopen error [Errno -2] Name or service not known>",
    Reason.FETCH_FAILED_CONNECT: "<urlopen error [Errno 111] Connection refused>",
    Reason.FETCH_FAILED_TIMEOUT: "The read operation timed out",
    Reason.FETCH_FAILED_HTTP: "HTTP Error 404: Not Found",
    Reason.FETCH_FAILED_OPT_OUT: "Use of image disallowed by X-Robots-Tag directive",
    Reason.FETCH_FAILED_BAD_CONTENT: "Image decoding error",
}
"""What img2dataset 1.47 writes into `error_message`."""

MOST_BYTES = 100_000

CAPTION = "a red bicycle leans against the wall of house {}"

RULES = [
    ("image.mime", "not in [image/gif]", Reason.IMAGE_FORMAT),
    ("image.short_side_px", "> 32", Reason.IMAGE_TOO_SMALL),
    ("image.aspect_ratio", "< 3", Reason.IMAGE_ASPECT),
    ("image.entropy", ">= 1", Reason.IMAGE_LOW_INFORMATION),
    ("image.sharpness", ">= 20", Reason.IMAGE_BLURRED),
    ("image.alt_texts", "<= 3", Reason.IMAGE_ALT_TEXTS),
    ("text.boilerplate", "is empty", Reason.TEXT_BOILERPLATE),
    ("text.mojibake", "is false", Reason.TEXT_MOJIBAKE),
    ("text.emails", "== 0", Reason.TEXT_PERSONAL_DATA),
    ("text.repetition", "<= 0.5", Reason.TEXT_REPETITION),
    ("text.capital_share", "<= 0.5", Reason.TEXT_CAPITALS),
    ("text.unigrams", ">= 3", Reason.TEXT_TOO_SHORT),
    ("text.unigrams", "<= 20", Reason.TEXT_TOO_LONG),
    ("text.images", "<= 2", Reason.TEXT_SHARED),
    ("text.language", "in [en]", Reason.TEXT_LANGUAGE),
    ("text.ngrams_outside_vocabulary", "<= 4", Reason.TEXT_RARE_NGRAM),
]
RULE_TEXTS = {
    Reason.TEXT_BOILERPLATE: "IMG_1234.JPG",
    Reason.TEXT_MOJIBAKE: "the cafÃ© at the corner of the market square",
    Reason.TEXT_PERSONAL_DATA: "please write to ann.lee@example.org about the green boat",
    Reason.TEXT_REPETITION: "boat boat boat boat boat boat",
    Reason.TEXT_CAPITALS: "THE GREEN BOAT ON THE LAKE",
    Reason.TEXT_TOO_SHORT: "green boat",
    Reason.TEXT_TOO_LONG: "the boat that we saw on a lake near your old house one day in May was "
    "green with two white lines",
    Reason.TEXT_LANGUAGE: "Das grüne Boot liegt am Ufer des Sees und wartet auf uns",
}


@dataclass
class BadInputs:
    """A folder that fills with inputs, and the locators that have to drop for each reason."""

    folder: Path
    picture: Callable[..., bytes]
    lines: list[bytes] = field(default_factory=list)
    expected: dict[Reason, list[str]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        caption: str | None = None,
        image: bytes | None = None,
        reason: Reason | None = None,
    ) -> None:
        """Adds a row of the table, with its own image and caption unless these are given."""
        data = image if image is not None else self.picture(len(self.lines))
        (self.folder / name).write_bytes(data)
        self.line(name, CAPTION.format(len(self.lines)) if caption is None else caption, reason)

    def line(self, path: str, caption: str, reason: Reason | None) -> None:
        """Adds a row of the table whose image lies there already, or nowhere."""
        self.lines.append(json.dumps({"file_name": path, "caption": caption}).encode())
        if reason is not None:
            self.expected.setdefault(reason, []).append(path)


def _add_rows_that_ingest_refuses(inputs: BadInputs) -> None:
    malformed = b'{"file_name": "half.png", "caption": "a row that ends'
    inputs.lines.append(malformed)
    digest = hashlib.blake2b(malformed, digest_size=16).hexdigest()
    inputs.expected[Reason.ROW_MALFORMED] = [f"rows.jsonl#{digest}"]
    inputs.line("nowhere.png", "an image that is not there", Reason.MEDIA_MISSING)
    inputs.line("../../secret.png", "a path that leads out", Reason.MEDIA_REFUSED_PATH)
    inputs.add("large.png", image=_large_image(), reason=Reason.MEDIA_TOO_LARGE)
    blocked = inputs.picture(901)
    inputs.add("blocked.png", image=blocked, reason=Reason.BLOCKED_HASH)
    (inputs.folder / "blocked.txt").write_text(hashlib.sha256(blocked).hexdigest())
    inputs.add("silent.png", caption=" \t ", reason=Reason.TEXT_MISSING)
    inputs.add("endless.png", caption="word " * 20_000, reason=Reason.TEXT_TOO_LARGE)
    inputs.add("latin1.png", caption="@", reason=Reason.TEXT_UNDECODABLE)
    inputs.lines[-1] = inputs.lines[-1].replace(b"@", b"a caf\xe9 by the sea")


def _add_images_that_measure_refuses(inputs: BadInputs) -> None:
    half = inputs.picture(902)[:400]
    inputs.add("half.png", image=half, reason=Reason.MEDIA_UNREADABLE)
    bomb = encode(Image.new("L", (1200, 1000)), "PNG")
    inputs.add("bomb.png", image=bomb, reason=Reason.MEDIA_TOO_MANY_PIXELS)


def _add_rows_that_rules_drop(inputs: BadInputs) -> None:
    inputs.add("film.gif", image=inputs.picture(903, name="GIF"), reason=Reason.IMAGE_FORMAT)
    inputs.add("tiny.png", image=inputs.picture(904, (32, 40)), reason=Reason.IMAGE_TOO_SMALL)
    inputs.add("strip.png", image=inputs.picture(905, (300, 100)), reason=Reason.IMAGE_ASPECT)
    flat = encode(Image.new("RGB", (240, 210), "teal"), "PNG")
    inputs.add("flat.png", image=flat, reason=Reason.IMAGE_LOW_INFORMATION)
    ramp = np.add.outer(np.arange(210), np.arange(240)) // 2
    blurred = encode(Image.fromarray(ramp.astype(np.uint8)), "PNG")
    inputs.add("ramp.png", image=blurred, reason=Reason.IMAGE_BLURRED)
    for reason, text in RULE_TEXTS.items():
        inputs.add(f"{reason}.png", caption=text, reason=reason)
    rare = "quixotic zephyrs vex jumpy dwarven sphinxes from the north of the country"
    inputs.add("rare.png", caption=rare, reason=Reason.TEXT_RARE_NGRAM)
    for number in range(4):
        text = f"the wall of house {number}"
        inputs.add(f"many{number}.png", text, inputs.picture(906), Reason.IMAGE_ALT_TEXTS)
    for number in range(3):
        inputs.add(f"shared{number}.png", "the wall of the house", reason=Reason.TEXT_SHARED)


def _add_copies(inputs: BadInputs) -> None:
    inputs.add("twice.png")
    inputs.lines.append(inputs.lines[-1])
    inputs.expected[Reason.DUPLICATE_ROW] = ["twice.png"]
    inputs.add("copied.png", image=inputs.picture(907))
    # Five unigrams or more read more like a caption, and are preferred.
    copied = inputs.picture(907)
    inputs.add("copy.png", "red bicycle wall", copied, Reason.DUPLICATE_EXACT)


def _add_what_is_known_by_id(inputs: BadInputs) -> None:
    inputs.add("taken.png", caption=CAPTION.format("mine"), reason=Reason.TAKEN_DOWN)
    inputs.add("tampered.png", caption=CAPTION.format("yours"))


def encode(image: Image.Image, name: str) -> bytes:
    sink = io.BytesIO()
    image.save(sink, name)
    return sink.getvalue()


def _large_image() -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (200, 200, 3), np.uint8)
    large = encode(Image.fromarray(noise), "PNG")
    assert len(large) > MOST_BYTES
    return large


def _write_truncated_tar(path: Path, picture: Callable[..., bytes]) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for number in range(3):
            for name, data in (
                (f"{number}.png", picture(920 + number)),
                (f"{number}.txt", CAPTION.format(number + 920).encode()),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    path.write_bytes(sink.getvalue()[:4000])


def _write_crawled(folder: Path, picture: Callable[..., bytes]) -> None:
    """Writes a list of URLs, and the site that they name."""
    site = folder / "site"
    (site / "private").mkdir(parents=True)
    (site / "robots.txt").write_text("User-agent: *\nDisallow: /private/\n")
    (site / "large.png").write_bytes(_large_image())
    for name in ("public.png", "private/picture.png"):
        (site / name).write_bytes(picture(len(name)))
    urls = [*URLS.values(), f"{SITE}/public.png"]
    rows = [f"{url}\t{CAPTION.format(number)}\n" for number, url in enumerate(urls, start=950)]
    (folder / "crawled" / "urls.tsv").write_text("url\tcaption\n" + "".join(rows))


def _write_fetched(path: Path) -> None:
    rows = [
        {
            "key": f"{number:09d}",
            "url": f"https://example.org/{reason}",
            "caption": CAPTION.format(number),
            "status": "failed_to_resize" if "Image" in message else "failed_to_download",
            "error_message": message,
        }
        for number, (reason, message) in enumerate(IMG2DATASET.items())
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.fixture(scope="module")
def inputs(picture: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> BadInputs:
    folder = tmp_path_factory.mktemp("reasons")
    for name in ("rows", "tars", "fetched", "crawled", "asked"):
        (folder / name).mkdir()
    inputs = BadInputs(folder / "rows", picture)
    _add_rows_that_ingest_refuses(inputs)
    _add_images_that_measure_refuses(inputs)
    _add_rows_that_rules_drop(inputs)
    _add_copies(inputs)
    _add_what_is_known_by_id(inputs)
    (inputs.folder / "rows.jsonl").write_bytes(b"\n".join(inputs.lines))
    _write_truncated_tar(folder / "tars" / "cut.tar", picture)
    inputs.expected[Reason.CONTAINER_TRUNCATED] = ["cut.tar"]
    _write_fetched(folder / "fetched" / "00000.parquet")
    _write_crawled(folder, picture)
    for reason in IMG2DATASET:
        inputs.expected[reason] = [f"https://example.org/{reason}"]
    for reason, url in URLS.items():
        inputs.expected[reason] = [url]
    questions = [
        {"query": f"which colour has the wall of house {n}", "passage": f"it is the colour {n}"}
        for n in range(16)
    ]
    pq.write_table(pa.Table.from_pylist(questions), folder / "asked" / "pairs.parquet")
    return inputs


@pytest.fixture(scope="module")
def work(
    inputs: BadInputs, run_route: Callable[..., Work], write_recipe: Callable[..., Path]
) -> Work:
    """All bad records through the whole route; one media tar is damaged before `shard`."""
    rules = [
        {"signal": signal, "keep": keep, "reason": str(reason)} for signal, keep, reason in RULES
    ]
    rules.append({"keep": "sample 50%", "reason": "not_sampled", "sources": ["asked"]})
    folder = inputs.folder.parent
    with serve(folder / "site") as place:
        recipe = write_recipe(
            folder,
            [
                {"name": "rows", "type": "table", "path": "rows", "files": "rows.jsonl"},
                {"name": "tars", "type": "webdataset", "path": "tars"},
                {"name": "fetched", "type": "img2dataset", "path": "fetched"},
                {"name": "crawled", "type": "urls", "path": "crawled"},
                {"name": "asked", "type": "text_pairs", "path": "asked"},
            ],
            fetch={
                "contact": "tests@site.invalid",
                "max_bytes": MOST_BYTES,
                "allow_networks": ["127.0.0.0/8"],
                "connect_to": {"site.invalid": place},
                "retries": {"attempts": 1},
            },
            ingest={"max_media_bytes": MOST_BYTES, "block": {"sha256": ["rows/blocked.txt"]}},
            measure={"max_pixels": 1_000_000},
            count={"min_ngram_count": 2},
            select={"rules": rules},
            dedupe={"prefer": ["text_quality"]},
        )
        (folder / "work").mkdir()
        taken_down = sample_id("rows", "taken.png", CAPTION.format("mine"))
        suppressions = folder / "work" / layout.SUPPRESSIONS
        suppressions.write_text(f"{taken_down}  # asked for by its owner\n")
        decided = run_route(recipe, folder / "work", last="select")
    _damage(decided, "tampered.png")
    return run_route(recipe, folder / "work", first="shard")


def _damage(work: Work, locator: str) -> None:
    """Changes one byte of the stored media of a sample."""
    (file,) = (file for file in work.parts(*work.intakes()) if file.part.source == "rows")
    rows = read_table(work.ingest, file.name, ["locator", "media"]).to_pylist()
    (media,) = next(row["media"] for row in rows if row["locator"] == locator)
    tar = Path(work.ingest.locate(f"rows/{file.part.intake}/{media['part_tar']}"))
    data = bytearray(tar.read_bytes())
    data[media["offset"] + media["length"] // 2] ^= 0xFF
    # Committed files are links: a new one keeps the damage to this name.
    tar.unlink()
    tar.write_bytes(data)


@pytest.fixture(scope="module")
def ledger(work: Work, outcomes: Callable[[Work], list[Row]]) -> list[Row]:
    return outcomes(work)


@pytest.fixture(scope="module")
def events(work: Work) -> list[Row]:
    return [
        event
        for series in work.series()
        for event in read_table(series.folder, "events.parquet").to_pylist()
    ]


@pytest.mark.parametrize(
    "reason", sorted(set(Reason) - {Reason.NOT_SAMPLED, Reason.MEDIA_READ_FAILED})
)
def test_a_bad_record_drops_with_its_reason(
    inputs: BadInputs, ledger: list[Row], reason: Reason
) -> None:
    dropped = [row for row in ledger if row["reason"] == reason]
    assert sorted(row["locator"] for row in dropped) == sorted(inputs.expected[reason])
    for row in dropped:
        assert row["stage"] == REASONS[reason].stage
        if row["stage"] in (Stage.INGEST, Stage.MEASURE):
            assert row["detail"], "people are told what went wrong"


def test_a_sampling_rule_leaves_rows_out_by_their_id(ledger: list[Row]) -> None:
    asked = [row for row in ledger if row["source"] == "asked"]
    left_out = [row for row in asked if row["reason"] == Reason.NOT_SAMPLED]
    assert 2 < len(left_out) < 14
    assert {row["reason"] for row in asked} == {None, Reason.NOT_SAMPLED}


def test_media_that_changed_since_ingest_are_an_event(
    inputs: BadInputs, work: Work, ledger: list[Row], events: list[Row]
) -> None:
    (tampered,) = (row for row in ledger if row["locator"] == "tampered.png")
    assert tampered["decision"] == "kept"
    (event,) = events
    assert (event["sample_id"], event["stage"]) == (tampered["sample_id"], Stage.SHARD)
    assert event["reason"] == Reason.MEDIA_READ_FAILED
    assert "the bytes are not those of" in event["detail"]
    for series in work.series():
        written = sum(summary.samples for summary in read_summaries(series.folder))
        assert series.samples - written == (1 if series.source == "rows" else 0)


def test_every_input_has_one_row_and_the_books_balance(
    inputs: BadInputs, work: Work, ledger: list[Row]
) -> None:
    funnels = {funnel.source: funnel for funnel in read_funnel(work)}
    assert funnels["rows"].inputs == len(inputs.lines)
    assert funnels["fetched"].inputs == len(IMG2DATASET)
    for funnel in funnels.values():
        assert funnel.inputs == funnel.kept + sum(funnel.dropped.values())
    # The sound rows beside the bad ones are kept.
    kept = {row["locator"] for row in ledger if row["decision"] == "kept"}
    assert {"twice.png", "copied.png", "tampered.png", "cut.tar/0", f"{SITE}/public.png"} <= kept


def test_every_reason_of_the_closed_list_has_a_bad_record(
    ledger: list[Row], events: list[Row]
) -> None:
    shown = {Reason(row["reason"]) for row in [*ledger, *events] if row["reason"]}
    missing = set(Reason) - shown
    assert not missing, f"no bad record gives {sorted(missing)}: add one here"
