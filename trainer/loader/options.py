"""What a user decides about the loader, as frozen, validated models."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_MIB = 1 << 20
_GIB = 1 << 30


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sampling(_Options):
    """Which sample is in which row of which batch.

    With the manifest, these alone decide it: a run resumes at any step, on any number of hosts.

    Attributes:
        batch_size: rows of the global batch, over all hosts.
        seed: seed of the order and of every random choice; None takes the manifest's.
        weights: weight by source, in place of the manifest's.
        temperature: weights in proportion to samples ** (1 / temperature) instead.
        max_epochs: how often a sample may be seen; None for no end.
        single_source: fill each batch from one source.
        repeats_in_batch: accept batches that must hold a sample twice.
        window: shards whose samples are shuffled together; None for all of a source. Choose 16 to
            64 where shards come from an object store.
    """

    batch_size: int = Field(ge=1)
    seed: int | None = None
    weights: dict[str, float] | None = None
    temperature: float | None = None
    max_epochs: float | None = None
    single_source: bool = False
    repeats_in_batch: bool = False
    window: int | None = Field(default=None, ge=1)


class ImageOptions(_Options):
    """How an image becomes pixels.

    Attributes:
        size: side of the square output, in pixels.
        crop: `center` cuts the middle; `random` cuts anywhere; `resized` cuts a rectangle of random
            area and aspect (Inception's random resized crop) and stretches it to the square.
        resize: short side that the image is scaled to before a `center` or `random` crop, in
            pixels; None for `size`. ALIGN crops 289 out of 346.
        scale: range of the area of a `resized` crop, as a share of the image.
        ratio: range of its width over height.
        flip: probability of a mirror image.
        fast_decode: let JPEG decode at the smallest eighth that is large enough, and shrink by up
            to two without averaging. Switch it off where exact pixels matter, as in evaluation.
        max_pixels: larger images are bad samples; they are not decoded.
        max_bytes: larger files are bad samples; they are not read.
    """

    size: int = Field(default=224, ge=1, le=4096)
    crop: Literal["center", "random", "resized"] = "center"
    resize: int | None = Field(default=None, ge=1)
    scale: tuple[float, float] = (0.35, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = Field(default=0.0, ge=0, le=1)
    fast_decode: bool = True
    max_pixels: int = Field(default=64_000_000, ge=1)
    max_bytes: int = Field(default=64 * _MIB, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"resize is {self.resize}, below size {self.size}; raise it")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale is {self.scale}; it is a range in (0, 1]")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio is {self.ratio}; it is a range above 0")
        return self


class LoaderOptions(_Options):
    """All of the loader.

    Attributes:
        sampling: which samples.
        image: their pixels; None loads texts only.
        roles: further text roles to deliver beside the primary text, such as `negative`.
        arrays: dimension by name of the arrays of the `npz` member to deliver, such as teacher
            embeddings.
        max_text_bytes: longer `txt` and `json` members are bad samples; they are not read.
        verify: compare the checksum of each member when it is first read.
        max_bad_rate: share of bad samples above which the run stops.
        ledger: JSONL file that gets a line per bad sample; None for none.
        threads: decoding threads; None for one per core.
        read_ahead: batches in the making while one is used.
        cache: local directory for shards of `gs://`, which it is needed for.
        cache_bytes: its size.
        host, hosts: which of how many hosts this is.
    """

    sampling: Sampling
    image: ImageOptions | None = ImageOptions()
    roles: tuple[str, ...] = ()
    arrays: dict[str, int] = {}
    max_text_bytes: int = Field(default=_MIB, ge=1)
    verify: bool = True
    max_bad_rate: float = Field(default=0.01, ge=0, le=1)
    ledger: Path | None = None
    threads: int | None = Field(default=None, ge=1)
    read_ahead: int = Field(default=2, ge=1)
    cache: Path | None = None
    cache_bytes: int = Field(default=100 * _GIB, ge=1)
    host: int = Field(default=0, ge=0)
    hosts: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.host >= self.hosts:
            raise ValueError(f"host is {self.host} of {self.hosts} hosts; hosts count from 0")
        if self.sampling.batch_size < self.hosts:
            raise ValueError(
                f"batch_size {self.sampling.batch_size} is below the number of hosts {self.hosts}; "
                "every host needs a row"
            )
        return self
