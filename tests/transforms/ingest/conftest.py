"""Small real inputs, and the whole way from a source to its samples."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from schemas.recipe import Ingest
from schemas.samples import RawSample
from schemas.sources import Source
from storage.folders import open_folder
from transforms.ingest.inputs import list_inputs, rooted
from transforms.ingest.read import read_slice
from transforms.ingest.slices import Slice, cut_slices
from transforms.ingest.transcode import needs_transcoding, transcode_table, transcoded_name

Image_ = Callable[[int], bytes]
ReadSource = Callable[..., list[RawSample]]
MakeTar = Callable[..., bytes]


@pytest.fixture(scope="session")
def image() -> Image_:
    """Returns a PNG, another one for every number."""

    def make(number: int) -> bytes:
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, "PNG")
        return sink.getvalue()

    return make


@pytest.fixture(scope="session")
def read_source(tmp_path_factory: pytest.TempPathFactory) -> ReadSource:
    """Reads a source as a pipeline does: list, transcode, cut, read; checks the size of chunks."""

    def read(source: Source, limits: Ingest | None = None) -> list[RawSample]:
        limits = limits or Ingest()
        source = rooted(source)
        folder = open_folder(source.path)
        tables = tmp_path_factory.mktemp("tables")
        files = list_inputs(folder, source)
        for file in files:
            if needs_transcoding(file.name):
                out = tables / transcoded_name(file)
                transcode_table(folder, file.name, source, out, limits.part_rows)
        stored = open_folder(str(tables))
        samples: list[RawSample] = []
        for piece in cut_slices(folder, source, files, limits, stored):
            assert Slice.from_json(piece.to_json()) == piece
            for chunk in read_slice(folder, source, piece, limits, stored):
                assert 0 < len(chunk) <= 256
                samples += chunk
        return samples

    return read


@pytest.fixture
def make_tar() -> MakeTar:
    """Returns the bytes of a tar with these members, in order."""

    def make(*members: tuple[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w", format=form) as tar:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return sink.getvalue()

    return make
