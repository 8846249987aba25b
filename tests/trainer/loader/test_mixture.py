from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from schemas import layout
from trainer.loader.mixture import open_mixture


def test_an_empty_mixture_is_refused(build: Callable[..., Any]) -> None:
    work = build({"a": []})
    with pytest.raises(ValueError, match="mixture 'm' is empty"):
        open_mixture(str(work.root), "m")


def test_a_mixture_that_is_not_there_is_named(build: Callable[..., Any]) -> None:
    work = build({"a": [3]})
    with pytest.raises(FileNotFoundError, match=r"mix/other/manifest\.json"):
        open_mixture(str(work.root), "other")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"schema_version":1', '"schema_version":2'), "schema_version"),
        (lambda text: text[:-30], "no manifest of a mixture"),
        (lambda text: text.replace('"merkle_root":"', '"merkle_root":"0'), "manifest was edited"),
        (lambda text: text.replace('"samples":3,"sha256"', '"samples":4,"sha256"'), "its shards 4"),
    ],
)
def test_a_broken_manifest_is_refused(
    build: Callable[..., Any], change: Callable[[str], str], message: str
) -> None:
    work = build({"a": [3]})
    path = work.root / layout.manifest("m")
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    with pytest.raises(ValueError, match=message):
        open_mixture(str(work.root), "m")


def test_the_digest_is_of_the_stored_bytes(build: Callable[..., Any]) -> None:
    one, two = build({"a": [3]}), build({"a": [4]}, name="two")
    digests = {open_mixture(str(work.root), "m").digest for work in (one, one, two)}
    assert len(digests) == 2
