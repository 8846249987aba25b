"""From the members of a sample to its texts, ids and arrays."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from schemas.digests import digest, keyed_hash
from schemas.shards import EXTENSIONS
from trainer.loader.errors import BadSampleError, Defect
from trainer.loader.index import Member
from trainer.loader.options import LoaderOptions

IMAGE_EXTENSIONS = (*EXTENSIONS.values(), "jpeg", "tif")
"""Extensions of members that are images, the preferred ones first."""

_NPY_HEADER = 4096
"""Bytes that the header of an `npy` file stays below."""


class _Text(BaseModel):
    role: str
    text: str


class _Metadata(BaseModel):
    """The fields of `schemas.shards.ShardSample` that a batch needs; the others cost time."""

    sample_id: str
    kind: str
    texts: tuple[_Text, ...]
    query_id: str
    positive_id: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What a sample says, without its pixels.

    Attributes:
        key: its key.
        text: the primary text.
        query_id, positive_id: 64-bit digests of the content ids of query and positive.
        has_image: whether it has an image and one was asked for.
        texts: by further role, its text; roles that the sample lacks are absent.
        arrays: by name, float32[D].
    """

    key: str
    text: str
    query_id: int
    positive_id: int
    has_image: bool = False
    texts: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


class SampleParser:
    """Decides which members of a sample are read, and takes them apart."""

    def __init__(self, options: LoaderOptions, *, plain: bool, seed: int) -> None:
        """Sets up a parser.

        Args:
            options: what to deliver.
            plain: the tars are any WebDataset: `json` members are ignored.
            seed: chooses among several texts of a role.
        """
        self._options = options
        self._plain = plain
        self._seed = seed

    def choose(self, members: Mapping[str, Member]) -> dict[str, Member]:
        """Returns the members to read.

        Raises:
            BadSampleError: one that is needed is missing or too large.
        """
        chosen = ["txt" if self._plain else "json"]
        missing, too_large = (
            (Defect.TEXT_MISSING, Defect.TEXT_TOO_LARGE)
            if self._plain
            else (Defect.METADATA_INVALID, Defect.METADATA_TOO_LARGE)
        )
        _require(members, chosen[0], self._options.max_text_bytes, missing, too_large)
        if self._options.image is not None:
            image = image_extension(members)
            if image is not None:
                limit = self._options.image.max_bytes
                _require(members, image, limit, Defect.IMAGE_MISSING, Defect.IMAGE_TOO_LARGE)
                chosen.append(image)
        if self._options.arrays:
            if "npz" not in members:
                raise BadSampleError(Defect.ARRAY_MISSING, "no npz member")
            chosen.append("npz")
        return {name: members[name] for name in chosen}

    def parse(self, key: str, step: int, data: Mapping[str, bytes]) -> Sample:
        """Returns the sample.

        Args:
            key: its key.
            step: the step that it is for; which of several texts of a role is taken depends on it.
            data: the chosen members.

        Raises:
            BadSampleError: it cannot be used.
        """
        image = image_extension(data)
        if self._plain:
            text, texts = _decode_text(data["txt"]), {}
            needs_image = True
            query: str | bytes = data[image] if image else key
            positive = text
        else:
            sample = _parse_metadata(data["json"])
            text, texts = sample.texts[0].text if sample.texts else "", self._extra(sample, step)
            needs_image = sample.kind == "pair"
            query, positive = sample.query_id, sample.positive_id
        if not text.strip():
            raise BadSampleError(Defect.TEXT_EMPTY, "the primary text is empty")
        if needs_image and image is None and self._options.image is not None:
            raise BadSampleError(Defect.IMAGE_MISSING, "a pair without an image")
        return Sample(
            key=key,
            text=text,
            query_id=_content_id(query),
            positive_id=_content_id(positive),
            has_image=image is not None,
            texts=texts,
            arrays=_parse_arrays(data["npz"], self._options.arrays) if "npz" in data else {},
        )

    def _extra(self, sample: _Metadata, step: int) -> dict[str, str]:
        """Returns a text of each further role; of several, chance takes another at each step."""
        found: dict[str, str] = {}
        for role in self._options.roles:
            texts = [one.text for one in sample.texts if one.role == role]
            if texts:
                chosen = keyed_hash(self._seed, f"loader/{role}/{step}", sample.sample_id)
                found[role] = texts[chosen % len(texts)]
        return found


def image_extension(members: Mapping[str, object]) -> str | None:
    """Returns the extension of the image of a sample; None where it has none."""
    return next((name for name in IMAGE_EXTENSIONS if name in members), None)


def _require(
    members: Mapping[str, Member], name: str, limit: int, missing: Defect, too_large: Defect
) -> None:
    member = members.get(name)
    if member is None:
        raise BadSampleError(missing, f"no {name} member")
    if member.length > limit:
        raise BadSampleError(too_large, f"{name} has {member.length} bytes, more than {limit}")


def _decode_text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadSampleError(Defect.TEXT_NOT_UTF8, str(error)) from error


def _parse_metadata(data: bytes) -> _Metadata:
    try:
        return _Metadata.model_validate_json(data)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise BadSampleError(Defect.METADATA_INVALID, f"{where}: {problem['msg']}") from error


def _parse_arrays(data: bytes, dimensions: Mapping[str, int]) -> dict[str, NDArray[np.float32]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {
                name: _parse_array(archive, name, dimension)
                for name, dimension in dimensions.items()
            }
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadSampleError(Defect.ARRAY_INVALID, str(error)) from error


def _parse_array(archive: zipfile.ZipFile, name: str, dimension: int) -> NDArray[np.float32]:
    try:
        entry = archive.getinfo(f"{name}.npy")
    except KeyError as error:
        raise BadSampleError(Defect.ARRAY_MISSING, f"npz holds {archive.namelist()}") from error
    if entry.file_size > _NPY_HEADER + 8 * dimension:
        raise ValueError(f"{name} unpacks to {entry.file_size} bytes for {dimension} numbers")
    array = np.load(io.BytesIO(archive.read(entry)), allow_pickle=False)
    if array.size != dimension or array.dtype.kind not in "fiu":
        raise ValueError(f"{name} is {array.dtype}{list(array.shape)}, not {dimension} numbers")
    return np.asarray(array, np.float32).reshape(-1)


def _content_id(value: str | bytes) -> int:
    """Returns 64 bits of a content id: equal ids stay equal, others differ but for chance."""
    return int.from_bytes(digest(value, size=8), "big")
