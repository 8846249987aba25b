"""Parts as `ingest` commits them, from a few raw samples."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image

from schemas.layout import Part
from schemas.recipe import BlockList
from schemas.samples import Kind, MediaRole, RawMedia, RawSample, RawText, TextRole
from storage.folders import Folder
from transforms.ingest.blocklist import load_block_list
from transforms.ingest.commit import commit_part
from transforms.parts.tables import PartFile
from transforms.parts.work import NumberedPart


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Returns a PNG of noise, another one for every number."""

    def make(number: int, size: tuple[int, int] = (12, 10)) -> bytes:
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, "PNG")
        return sink.getvalue()

    return make


@pytest.fixture(scope="session")
def pair() -> Callable[..., RawSample]:
    """Returns a raw sample of an image and its text; either may be left out."""

    def make(locator: str, image: bytes | None, *texts: str) -> RawSample:
        return RawSample(
            locator,
            texts=tuple(RawText(TextRole.ALT, text) for text in texts),
            media=() if image is None else (RawMedia(MediaRole.IMAGE, image),),
        )

    return make


@pytest.fixture(scope="session")
def question() -> Callable[..., RawSample]:
    """Returns a raw sample of a query and its passage."""

    def make(locator: str, query: str, passage: str) -> RawSample:
        texts = (RawText(TextRole.QUERY, query), RawText(TextRole.PASSAGE, passage))
        return RawSample(locator, Kind.TEXT_PAIR, texts)

    return make


@pytest.fixture(scope="session")
def take_in() -> Callable[..., PartFile]:
    """Returns a function that commits raw samples as a part of `ingest`."""
    nothing = load_block_list(BlockList(), max_pixels=1)

    def commit(
        ingest: Folder, number: int, samples: Sequence[RawSample], intake: str = "i0"
    ) -> PartFile:
        file = PartFile(Part(intake, "web", f"part-{number:016x}"), 1)
        commit_part(ingest, file, [list(samples)], nothing)
        return file

    return commit


@pytest.fixture(scope="session")
def take_in_all(take_in: Callable[..., PartFile]) -> Callable[..., list[NumberedPart]]:
    """Returns a function that commits several parts, numbered as a global stage reads them."""

    def commit(ingest: Folder, *parts: Sequence[RawSample], earlier: int = 0) -> list[NumberedPart]:
        return [
            NumberedPart(
                number,
                take_in(ingest, number, samples, "i0" if number < earlier else "i1"),
                len(samples),
                wanted=number >= earlier,
            )
            for number, samples in enumerate(parts)
        ]

    return commit
