"""The closed list of reasons: why an input is not in the mixture.

One word serves counter, ledger, documentation and report. A reason belongs to the stage that first
observes it; `select` is the only stage that drops a sample for the value of a signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

OK = "ok"
"""The status of a row, or of its image, that can be used; every other status is a reason."""


class Stage(StrEnum):
    """The stages of the route that can refuse a sample, in order."""

    INGEST = "ingest"
    MEASURE = "measure"
    SELECT = "select"
    DEDUPE = "dedupe"
    SHARD = "shard"


class Reason(StrEnum):
    """Why a sample was dropped. The value is the word that every surface shows."""

    # ingest: the input yields no usable sample
    ROW_MALFORMED = "row_malformed"
    CONTAINER_TRUNCATED = "container_truncated"
    MEDIA_MISSING = "media_missing"
    MEDIA_REFUSED_PATH = "media_refused_path"
    MEDIA_TOO_LARGE = "media_too_large"
    FETCH_FAILED_DNS = "fetch_failed_dns"
    FETCH_FAILED_CONNECT = "fetch_failed_connect"
    FETCH_FAILED_TIMEOUT = "fetch_failed_timeout"
    FETCH_FAILED_HTTP = "fetch_failed_http"
    FETCH_FAILED_TOO_LARGE = "fetch_failed_too_large"
    FETCH_FAILED_BLOCKED_ADDRESS = "fetch_failed_blocked_address"
    FETCH_FAILED_ROBOTS = "fetch_failed_robots"
    FETCH_FAILED_OPT_OUT = "fetch_failed_opt_out"
    FETCH_FAILED_BAD_CONTENT = "fetch_failed_bad_content"
    BLOCKED_HASH = "blocked_hash"
    TEXT_MISSING = "text_missing"
    TEXT_UNDECODABLE = "text_undecodable"
    TEXT_TOO_LARGE = "text_too_large"
    # measure: the bytes cannot be looked at
    MEDIA_UNREADABLE = "media_unreadable"
    MEDIA_TOO_MANY_PIXELS = "media_too_many_pixels"
    # select: a rule on a signal
    DUPLICATE_ROW = "duplicate_row"
    IMAGE_TOO_SMALL = "image_too_small"
    IMAGE_ASPECT = "image_aspect"
    IMAGE_FORMAT = "image_format"
    IMAGE_LOW_INFORMATION = "image_low_information"
    IMAGE_BLURRED = "image_blurred"
    IMAGE_ALT_TEXTS = "image_alt_texts"
    TEXT_TOO_SHORT = "text_too_short"
    TEXT_TOO_LONG = "text_too_long"
    TEXT_SHARED = "text_shared"
    TEXT_RARE_NGRAM = "text_rare_ngram"
    TEXT_BOILERPLATE = "text_boilerplate"
    TEXT_MOJIBAKE = "text_mojibake"
    TEXT_REPETITION = "text_repetition"
    TEXT_CAPITALS = "text_capitals"
    TEXT_LANGUAGE = "text_language"
    TEXT_PERSONAL_DATA = "text_personal_data"
    NOT_SAMPLED = "not_sampled"
    TAKEN_DOWN = "taken_down"
    # dedupe: select keeps one of each cluster
    DUPLICATE_EXACT = "duplicate_exact"
    # shard: a kept sample that could not be written (table `events`)
    MEDIA_READ_FAILED = "media_read_failed"


@dataclass(frozen=True)
class ReasonInfo:
    """What a reason means, for people: the stage that gives it, a sentence, and the remedy."""

    stage: Stage
    meaning: str
    remedy: str


REASONS: dict[Reason, ReasonInfo] = {
    Reason.ROW_MALFORMED: ReasonInfo(
        Stage.INGEST,
        "The row or record does not have the columns, or the syntax, of its file.",
        "Look at `error` in the ledger; repair the file, or accept the loss.",
    ),
    Reason.CONTAINER_TRUNCATED: ReasonInfo(
        Stage.INGEST,
        "The archive ends or breaks in the middle: what follows the break could not be read.",
        "Fetch the archive again and take it in as a new intake.",
    ),
    Reason.MEDIA_MISSING: ReasonInfo(
        Stage.INGEST,
        "The row names a media file that does not exist, or a record has no media member.",
        "Check the path column and the source's root.",
    ),
    Reason.MEDIA_REFUSED_PATH: ReasonInfo(
        Stage.INGEST,
        "The row names a path outside the source's root (absolute, `..`, another scheme).",
        "Name media relative to the source's root.",
    ),
    Reason.MEDIA_TOO_LARGE: ReasonInfo(
        Stage.INGEST,
        "The media has more bytes than `ingest.max_media_bytes`.",
        "Raise `ingest.max_media_bytes` if such files are wanted.",
    ),
    Reason.FETCH_FAILED_DNS: ReasonInfo(
        Stage.INGEST, "The host name did not resolve.", "Fetch again later, or drop the host."
    ),
    Reason.FETCH_FAILED_CONNECT: ReasonInfo(
        Stage.INGEST, "No connection could be made, or it broke.", "Fetch again later."
    ),
    Reason.FETCH_FAILED_TIMEOUT: ReasonInfo(
        Stage.INGEST, "The deadline of the fetch passed.", "Fetch again with a longer deadline."
    ),
    Reason.FETCH_FAILED_HTTP: ReasonInfo(
        Stage.INGEST, "The server answered with an error status.", "See `error` for the status."
    ),
    Reason.FETCH_FAILED_TOO_LARGE: ReasonInfo(
        Stage.INGEST,
        "The answer has more bytes than `fetch.max_bytes`, or headers without end.",
        "Raise `fetch.max_bytes` if such files are wanted.",
    ),
    Reason.FETCH_FAILED_BLOCKED_ADDRESS: ReasonInfo(
        Stage.INGEST,
        "The URL leads where fetches must not go: another scheme, a private address, an odd port.",
        "Name the network in `fetch.allow_networks` if it is yours.",
    ),
    Reason.FETCH_FAILED_ROBOTS: ReasonInfo(
        Stage.INGEST,
        "The robots.txt of the host refuses the URL, or could not be read (RFC 9309).",
        "None: consent is respected; where the server was at fault, fetch again later.",
    ),
    Reason.FETCH_FAILED_OPT_OUT: ReasonInfo(
        Stage.INGEST,
        "The owner has opted out (for example by X-Robots-Tag: noai).",
        "None: consent is respected.",
    ),
    Reason.FETCH_FAILED_BAD_CONTENT: ReasonInfo(
        Stage.INGEST,
        "The fetched bytes are not a readable image, or their hash is not the expected one.",
        "See `error`; fetch again if the source has been repaired.",
    ),
    Reason.BLOCKED_HASH: ReasonInfo(
        Stage.INGEST,
        "The media matches a hash block list (sha256, md5, or pHash within the radius).",
        "None: blocked media are never stored.",
    ),
    Reason.TEXT_MISSING: ReasonInfo(
        Stage.INGEST,
        "No primary text: the text is absent, or empty after white space is stripped.",
        "Name another text column or role in the recipe.",
    ),
    Reason.TEXT_UNDECODABLE: ReasonInfo(
        Stage.INGEST,
        "The text is not UTF-8, or holds NUL bytes.",
        "Convert the file to UTF-8.",
    ),
    Reason.TEXT_TOO_LARGE: ReasonInfo(
        Stage.INGEST,
        "The text has more bytes than `ingest.max_text_bytes`.",
        "Raise `ingest.max_text_bytes` if such texts are wanted.",
    ),
    Reason.MEDIA_UNREADABLE: ReasonInfo(
        Stage.MEASURE,
        "The bytes are not an image that can be decoded whole (truncated, empty, SVG, HTML, …).",
        "See `error` for what the decoder said.",
    ),
    Reason.MEDIA_TOO_MANY_PIXELS: ReasonInfo(
        Stage.MEASURE,
        "The header announces more pixels than `measure.max_pixels`; it was not decoded.",
        "Raise `measure.max_pixels` if such images are wanted.",
    ),
    Reason.DUPLICATE_ROW: ReasonInfo(
        Stage.SELECT,
        "The same source, locator and primary text came in more than once.",
        "None needed: one row of them stays.",
    ),
    Reason.IMAGE_TOO_SMALL: ReasonInfo(
        Stage.SELECT, "The image has too few pixels on a side.", "Relax the rule."
    ),
    Reason.IMAGE_ASPECT: ReasonInfo(
        Stage.SELECT, "The long side is too many times the short side.", "Relax the rule."
    ),
    Reason.IMAGE_FORMAT: ReasonInfo(
        Stage.SELECT, "The image is not of an accepted format.", "Relax the rule."
    ),
    Reason.IMAGE_LOW_INFORMATION: ReasonInfo(
        Stage.SELECT, "The image is nearly one colour (low entropy).", "Relax the rule."
    ),
    Reason.IMAGE_BLURRED: ReasonInfo(
        Stage.SELECT, "The image has almost no edges (low sharpness).", "Relax the rule."
    ),
    Reason.IMAGE_ALT_TEXTS: ReasonInfo(
        Stage.SELECT, "The image goes with too many different alt-texts.", "Relax the rule."
    ),
    Reason.TEXT_TOO_SHORT: ReasonInfo(
        Stage.SELECT, "The text has too few unigrams.", "Relax the rule."
    ),
    Reason.TEXT_TOO_LONG: ReasonInfo(
        Stage.SELECT, "The text has too many unigrams.", "Relax the rule."
    ),
    Reason.TEXT_SHARED: ReasonInfo(
        Stage.SELECT, "The text goes with too many different images.", "Relax the rule."
    ),
    Reason.TEXT_RARE_NGRAM: ReasonInfo(
        Stage.SELECT,
        "The text holds a unigram or bigram outside the most frequent of the corpus.",
        "Raise `count.ngram_vocabulary_size` or lower `count.min_ngram_count`.",
    ),
    Reason.TEXT_BOILERPLATE: ReasonInfo(
        Stage.SELECT,
        "The text is boilerplate: a file name, a size, a placeholder, a stock phrase.",
        "Relax the rule.",
    ),
    Reason.TEXT_MOJIBAKE: ReasonInfo(
        Stage.SELECT, "The text was decoded with the wrong encoding.", "Repair it at the source."
    ),
    Reason.TEXT_REPETITION: ReasonInfo(
        Stage.SELECT, "The text repeats its own words.", "Relax the rule."
    ),
    Reason.TEXT_CAPITALS: ReasonInfo(
        Stage.SELECT, "Too many letters of the text are capitals.", "Relax the rule."
    ),
    Reason.TEXT_LANGUAGE: ReasonInfo(
        Stage.SELECT, "The text is not in a wanted language, or not surely.", "Relax the rule."
    ),
    Reason.TEXT_PERSONAL_DATA: ReasonInfo(
        Stage.SELECT,
        "The text holds an e-mail address, a URL or a phone number.",
        "Relax the rule.",
    ),
    Reason.NOT_SAMPLED: ReasonInfo(
        Stage.SELECT,
        "A sampling rule left the sample out, deterministically by its id.",
        "Raise the sampled share.",
    ),
    Reason.TAKEN_DOWN: ReasonInfo(
        Stage.SELECT, "The sample is on the suppression list of the work directory.", "None."
    ),
    Reason.DUPLICATE_EXACT: ReasonInfo(
        Stage.DEDUPE,
        "Another sample has the same bytes, or the same decoded pixels, and was preferred.",
        "See `keeper_id`; change `dedupe.prefer` to prefer another.",
    ),
    Reason.MEDIA_READ_FAILED: ReasonInfo(
        Stage.SHARD,
        "The stored media of a kept sample could not be read back, or changed since ingest.",
        "Run `mixwright verify`; restore the media tar, or take the input in again.",
    ),
}
