"""Settings of the towers: the `[train.model]` table of a training recipe."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Shape(NamedTuple):
    """Size of a transformer: `width` and `mlp` in channels, `depth` in blocks."""

    width: int
    depth: int
    heads: int
    mlp: int


SHAPES: dict[str, Shape] = {
    "mu": Shape(32, 1, 2, 128),
    "ti": Shape(192, 12, 3, 768),
    "s": Shape(384, 12, 6, 1536),
    "b": Shape(768, 12, 12, 3072),
    "l": Shape(1024, 24, 16, 4096),
    "so400m": Shape(1152, 27, 16, 4304),
}
"""Transformers by name, as big_vision has them; `mu` is for trials and tests."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _check_shape(name: str) -> str:
    if name not in SHAPES:
        raise ValueError(f"unknown size {name!r}; sizes are {', '.join(SHAPES)}")
    return name


class ImageTower(_Settings):
    """A vision transformer.

    Attributes:
        size: shape and patch side in pixels, `ti/16` to `l/14`, `so400m/14`.
        resolution: side of the square input in pixels, a multiple of the patch.
        pooling: `attention` (a learned query, SigLIP's MAP head), `mean` over patches, or `cls`.
        registers: learned tokens that take part in attention and are dropped (2309.16588).
    """

    kind: Literal["image"] = "image"
    size: str = "b/16"
    resolution: int = Field(default=224, ge=8, le=2048)
    pooling: Literal["attention", "mean", "cls"] = "attention"
    registers: int = Field(default=0, ge=0, le=64)

    @field_validator("size")
    @classmethod
    def _known(cls, value: str) -> str:
        name, slash, patch = value.partition("/")
        _check_shape(name)
        if not slash or not patch.isdigit() or not 1 <= int(patch) <= 64:
            raise ValueError(f"size {value!r}: write shape/patch, for example {name}/16")
        return value

    @model_validator(mode="after")
    def _whole_patches(self) -> ImageTower:
        if self.resolution % self.patch:
            raise ValueError(
                f"resolution {self.resolution} is no multiple of the patch of {self.size}; use "
                f"{self.resolution // self.patch * self.patch}"
            )
        return self

    @property
    def shape(self) -> Shape:
        """Size of the transformer."""
        return SHAPES[self.size.partition("/")[0]]

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.size.partition("/")[2])

    @property
    def tokens(self) -> int:
        """Length of the sequence, registers and class token included."""
        return int((self.resolution // self.patch) ** 2) + self.registers + (self.pooling == "cls")


class TextTower(_Settings):
    """A bidirectional text transformer.

    Attributes:
        size: shape of the transformer.
        length: tokens per text; longer texts are cut.
        pooling: `mean` over tokens, or `attention`.
        vocabulary_size: upper bound of the token ids.
    """

    kind: Literal["text"] = "text"
    size: str = "b"
    length: int = Field(default=64, ge=1, le=8192)
    pooling: Literal["mean", "attention"] = "mean"
    vocabulary_size: int = Field(default=32_000, ge=300, le=1_000_000)

    _known = field_validator("size")(_check_shape)

    @property
    def shape(self) -> Shape:
        """Size of the transformer."""
        return SHAPES[self.size]

    @property
    def tokens(self) -> int:
        """Length of the sequence."""
        return self.length


Tower = Annotated[ImageTower | TextTower, Field(discriminator="kind")]


class Model(_Settings):
    """Two towers into one space.

    Attributes:
        query, positive: the towers; retrieval goes from the query to the positive.
        width: dimension of the embedding.
        sharing: what the towers share (2204.07120): `sde` everything but the embedders of different
            modalities, `ade` nothing, `spl` the projection.
        precision: type that the towers compute in; parameters, embeddings and losses are float32.
        rematerialise: recompute blocks in the backward pass: less memory, a third more work.
        attention: implementation; `cudnn` needs an NVIDIA GPU and bfloat16.
    """

    query: Tower = ImageTower()
    positive: Tower = TextTower()
    width: int = Field(default=768, ge=1, le=8192)
    sharing: Literal["sde", "ade", "spl"] = "ade"
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    rematerialise: bool = False
    attention: Literal["xla", "cudnn"] = "xla"

    @model_validator(mode="after")
    def _shareable(self) -> Model:
        query, positive = self.query, self.positive
        if self.sharing == "sde" and query.shape != positive.shape:
            raise ValueError(
                f"sharing = 'sde' needs towers of one shape, not {query.size} and {positive.size}"
            )
        if self.sharing == "spl" and query.shape.width != positive.shape.width:
            raise ValueError(
                f"sharing = 'spl' needs towers of one width, not {query.shape.width} and "
                f"{positive.shape.width}"
            )
        if self.sharing == "sde" and query.kind == positive.kind and query != positive:
            raise ValueError("sharing = 'sde' needs equal towers where both have one modality")
        if self.attention == "cudnn" and self.precision != "bfloat16":
            raise ValueError("attention = 'cudnn' needs precision = 'bfloat16'")
        return self


def forward_flops(model: Model) -> float:
    """Returns the floating-point operations of one pair through both towers, multiply-add as two.

    Counts matrix products only: attention, MLP, patch embedding and projection. Training takes
    about three times as many.
    """
    return sum(_tower_flops(tower, model.width) for tower in (model.query, model.positive))


def _tower_flops(tower: ImageTower | TextTower, width: int) -> float:
    shape, n = tower.shape, tower.tokens
    block = 2 * n * (4 * shape.width**2 + 2 * shape.width * shape.mlp) + 4 * n**2 * shape.width
    total = float(shape.depth * block + 2 * shape.width * width)
    if isinstance(tower, ImageTower):
        patches = (tower.resolution // tower.patch) ** 2
        total += 2 * patches * tower.patch**2 * 3 * shape.width
    return total
