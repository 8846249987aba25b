"""The acceptance facts of ALIGN (arXiv 2102.05918, section 3), through the real pipeline.

Choices that the paper leaves open: an image is its bytes, texts of an image and images of a text
are counted once each, unigrams and bigrams are ranked in one list.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cards.funnel import read_funnel
from schemas.reasons import Reason
from transforms.work import Work

Row = dict[str, Any]
Expected = dict[str, Reason | None]

CC3M = Path(__file__).parent / "data" / "cc3m-first-50.txt"
"""The first captions of Conceptual Captions (Google LLC), which may be used for any purpose."""

ALIGN = {"select": {"extends": "align-2021"}, "dedupe": {"edges": []}}
"""The paper drops no duplicates within the training set."""

WORDS = "one of these pictures shows what stood behind our house when my mother was still a child"


class Corpus:
    """Rows with what has to become of each."""

    def __init__(self, picture: Callable[..., bytes]) -> None:
        self.rows: list[Row] = []
        self.expected: Expected = {}
        self._picture = picture

    def image(self, name: str, size: tuple[int, int] = (240, 210)) -> bytes:
        return self._picture(int.from_bytes(name.encode()), size)

    def add(self, uid: str, image: bytes, caption: str, expected: Reason | None) -> None:
        self.rows.append({"uid": uid, "image": image, "caption": caption})
        self.expected[uid] = expected


def _add_sizes(corpus: Corpus) -> None:
    sizes: dict[tuple[int, int], Reason | None] = {
        (300, 200): Reason.IMAGE_TOO_SMALL,
        (200, 300): Reason.IMAGE_TOO_SMALL,
        (300, 201): None,
        (201, 300): None,
        (600, 201): None,
        (201, 600): None,
        (603, 201): Reason.IMAGE_ASPECT,
        (201, 603): Reason.IMAGE_ASPECT,
    }
    for (width, height), reason in sizes.items():
        uid = f"size/{width}x{height}"
        corpus.add(uid, corpus.image(uid, (width, height)), f"a barn seen by {uid}", reason)


def _add_lengths(corpus: Corpus) -> None:
    words = [*WORDS.split(), "in", "the", "north", "of", "town"]
    for length, reason in (
        (2, Reason.TEXT_TOO_SHORT),
        (3, None),
        (20, None),
        (21, Reason.TEXT_TOO_LONG),
    ):
        uid = f"length/{length}"
        corpus.add(uid, corpus.image(uid), " ".join(words[:length]), reason)


def _add_shared_texts(corpus: Corpus) -> None:
    texts: dict[str, tuple[str, int, Reason | None]] = {
        "ten": ("a picture of my town", 10, None),
        "eleven": ("photo from my phone", 11, Reason.TEXT_SHARED),
        "alt_img": ("alt_img", 11, Reason.TEXT_SHARED),
        "1920x1080": ("1920x1080", 11, Reason.TEXT_SHARED),
    }
    for name, (text, images, reason) in texts.items():
        for number in range(images):
            uid = f"shared/{name}/{number}"
            corpus.add(uid, corpus.image(uid), text, reason)
    # The same image again and again is one image, and ten others make eleven.
    for number in range(20):
        corpus.add(f"same/{number}", corpus.image("same"), "our cat on the sofa", None)
    for number in range(20):
        uid = f"eleventh/{number}"
        image = corpus.image(f"eleventh/{min(number, 10)}")
        corpus.add(uid, image, "our dog asleep", Reason.TEXT_SHARED)


def _add_alt_texts(corpus: Corpus) -> None:
    for texts, reason in ((1000, None), (1001, Reason.IMAGE_ALT_TEXTS)):
        image = corpus.image(f"texts/{texts}")
        for number in range(texts):
            corpus.add(f"texts/{texts}/{number}", image, f"the harbour in year {number}", reason)
    # Repeating a text makes no further text.
    corpus.add("texts/1000/again", corpus.image("texts/1000"), "the harbour in year 7", None)


@pytest.fixture(scope="module")
def corpus(picture: Callable[..., bytes]) -> Corpus:
    corpus = Corpus(picture)
    for add in (_add_sizes, _add_lengths, _add_shared_texts, _add_alt_texts):
        add(corpus)
    return corpus


@pytest.fixture(scope="module")
def work(
    corpus: Corpus,
    run_route: Callable[..., Work],
    write_table: Callable[..., Path],
    write_recipe: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Work:
    """The corpus, decided under the profile `align-2021`. Never write to it."""
    folder = tmp_path_factory.mktemp("align")
    write_table(folder / "in" / "all.parquet", corpus.rows)
    recipe = write_recipe(folder, [_table()], **ALIGN)
    return run_route(recipe, folder / "work", last="select")


@pytest.fixture(scope="module")
def decided(work: Work, outcomes: Callable[[Work], list[Row]]) -> dict[str, Row]:
    return {row["locator"]: row for row in outcomes(work)}


def _table() -> Row:
    return {"name": "web", "type": "table", "path": "in", "id_column": "uid"}


@pytest.mark.parametrize(
    "fact", ["size/", "length/", "shared/", "same/", "eleventh/", "texts/1000/", "texts/1001/"]
)
def test_bounds_are_strict_where_the_paper_has_them_strict(
    corpus: Corpus, decided: dict[str, Row], fact: str
) -> None:
    expected = {uid: reason for uid, reason in corpus.expected.items() if uid.startswith(fact)}
    assert expected
    assert {uid: decided[uid]["reason"] for uid in expected} == expected


def test_counts_are_of_distinct_images_and_of_distinct_texts(decided: dict[str, Row]) -> None:
    assert decided["shared/eleven/0"]["value"] == 11
    assert decided["eleventh/0"]["value"] == 11
    assert decided["texts/1001/0"]["value"] == 1001
    assert decided["texts/1001/0"]["threshold"] == "<= 1000"


def test_every_dropped_row_names_one_reason_and_the_books_balance(
    corpus: Corpus, work: Work, decided: dict[str, Row]
) -> None:
    assert len(decided) == len(corpus.rows)
    for row in decided.values():
        dropped = row["decision"] == "dropped"
        assert (row["reason"] is not None) == dropped
        assert (row["stage"] is not None) == dropped
    (funnel,) = read_funnel(work)
    assert funnel.inputs == len(corpus.rows)
    assert funnel.inputs == funnel.kept + sum(funnel.dropped.values())
    wanted = Counter(str(reason) for reason in corpus.expected.values() if reason)
    assert funnel.dropped == dict(wanted)


def test_neither_order_nor_the_cutting_of_inputs_changes_a_decision(
    corpus: Corpus,
    decided: dict[str, Row],
    run_route: Callable[..., Work],
    outcomes: Callable[[Work], list[Row]],
    write_table: Callable[..., Path],
    write_recipe: Callable[..., Path],
    tmp_path: Path,
) -> None:
    rows = list(corpus.rows)
    random.Random(3).shuffle(rows)  # noqa: S311 - an order, no secret
    for number, start in enumerate(range(0, len(rows), 700)):
        write_table(tmp_path / "in" / f"{number}.parquet", rows[start : start + 700])
    recipe = write_recipe(tmp_path, [_table()], ingest={"part_rows": 300}, **ALIGN)
    again = run_route(recipe, tmp_path / "work", threads=1, last="select")
    assert len(again.parts(*again.intakes())) > 6
    unlike = {"part", "row"}
    assert {row["locator"]: _without(row, unlike) for row in outcomes(again)} == {
        locator: _without(row, unlike) for locator, row in decided.items()
    }


def _without(row: Row, names: set[str]) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def test_placeholders_are_caught_by_the_length_rule_too(
    corpus: Corpus,
    work: Work,
    run_route: Callable[..., Work],
    outcomes: Callable[[Work], list[Row]],
    write_recipe: Callable[..., Path],
    tmp_path: Path,
) -> None:
    select = {"extends": "align-2021", "without": ["text_shared"]}
    recipe = write_recipe(tmp_path, [_table()], select=select, dedupe={"edges": []})
    again = run_route(recipe, work.folder.uri, first="select", last="select")
    reasons = {row["locator"]: row["reason"] for row in outcomes(again)}
    placeholders = {row["uid"] for row in corpus.rows if row["caption"] in ("alt_img", "1920x1080")}
    assert len(placeholders) == 22
    assert {reasons[uid] for uid in placeholders} == {Reason.TEXT_TOO_SHORT}
    # A text of four words that goes with as many images falls to the sharing rule alone.
    assert reasons["shared/eleven/0"] is None


def test_one_rare_unigram_or_bigram_drops_a_text(
    corpus: Corpus,
    run_route: Callable[..., Work],
    outcomes: Callable[[Work], list[Row]],
    write_table: Callable[..., Path],
    write_recipe: Callable[..., Path],
    tmp_path: Path,
) -> None:
    texts = {f"common/{n}": "red bird sings" for n in range(5)}
    texts |= {"bigram": "sings red bird", "unigram": "red bird zebra"}
    rows = [
        {"uid": uid, "image": corpus.image(uid), "caption": text} for uid, text in texts.items()
    ]
    write_table(tmp_path / "in" / "all.parquet", rows)
    recipe = write_recipe(tmp_path, [_table()], **ALIGN)
    expected = {
        **{f"common/{n}": (None, None) for n in range(5)},
        # Every unigram is inside; `sings red` is not.
        "bigram": (Reason.TEXT_RARE_NGRAM, 1),
        # `zebra` and `bird zebra`.
        "unigram": (Reason.TEXT_RARE_NGRAM, 2),
    }
    # Inside are `red`, `bird` and `red bird` (7 times each), `sings` (6) and `bird sings` (5).
    for setting in ("count.ngram_vocabulary_size=5", "count.min_ngram_count=2"):
        work = run_route(recipe, tmp_path / "work", [setting], last="select")
        found = {row["locator"]: (row["reason"], row["value"]) for row in outcomes(work)}
        assert found == expected, setting


@pytest.fixture(scope="module")
def curated(
    corpus: Corpus,
    run_route: Callable[..., Work],
    outcomes: Callable[[Work], list[Row]],
    write_recipe: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Row]:
    """Two sources that others have curated, decided under `align-2021`."""
    folder = tmp_path_factory.mktemp("curated")
    fetched = [
        {
            "key": key,
            "url": f"https://example.org/{key}.png",
            "caption": f"the long fence of farm {key}",
            "status": "success",
            "error_message": None,
            "png": corpus.image(key, size),
        }
        for key, size in {"a": (603, 201), "b": (600, 201)}.items()
    ]
    captions = [
        {"query": caption, "passage": f"caption {number}"}
        for number, caption in enumerate(CC3M.read_text(encoding="utf-8").splitlines())
    ]
    for name, rows in (("fetched", fetched), ("cc3m", captions)):
        (folder / name).mkdir()
        pq.write_table(pa.Table.from_pylist(rows), folder / name / "00000.parquet")
    sources = [
        {"name": "fetched", "type": "img2dataset", "path": "fetched"},
        {"name": "cc3m", "type": "text_pairs", "path": "cc3m"},
    ]
    return outcomes(run_route(write_recipe(folder, sources, **ALIGN), folder / "w", last="select"))


def test_what_img2dataset_keeps_at_an_aspect_ratio_of_3_is_dropped(curated: list[Row]) -> None:
    # `max_aspect_ratio=3` refuses ratios above 3 only, so its output has 603×201 as a success.
    assert {row["locator"]: row["reason"] for row in curated if row["source"] == "fetched"} == {
        "https://example.org/a.png": Reason.IMAGE_ASPECT,
        "https://example.org/b.png": None,
    }


def test_the_length_rule_drops_only_the_tail_of_clean_captions(curated: list[Row]) -> None:
    rows = [row for row in curated if row["source"] == "cc3m"]
    assert len(rows) == 50
    assert sum(len(row["text"].split()) for row in rows) / len(rows) == 10.56
    dropped = [row for row in rows if row["decision"] == "dropped"]
    # One of fifty, 2 %: the caption about a giraffe, which has 30 unigrams.
    assert [(row["reason"], row["value"]) for row in dropped] == [(Reason.TEXT_TOO_LONG, 30)]
