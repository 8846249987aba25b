"""Settings of the objectives: the `[[train.objectives]]` tables of a training recipe.

Where the papers disagree there is a switch, and a preset holds each paper's choice.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Objective(BaseModel):
    """What every objective has.

    Attributes:
        name: names the objective's part of the loss in metrics, and its parameters; the kind where
            empty.
        weight: factor of the objective in the total.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: str
    name: str = Field(default="", pattern=r"^[a-z0-9_]*$")
    weight: float = Field(default=1.0, gt=0)

    @property
    def label(self) -> str:
        """Name in metrics and in the tree of parameters."""
        return self.name or self.kind


class _Matryoshka(_Objective):
    """What objectives over prefixes of the embedding have (Matryoshka, 2205.13147).

    Attributes:
        widths: prefixes at which the loss is taken, each normalised again, and summed; the whole
            embedding only where empty.
        width_weights: factor of each prefix; 1 where empty.
    """

    widths: tuple[Annotated[int, Field(ge=1)], ...] = ()
    width_weights: tuple[Annotated[float, Field(ge=0)], ...] = ()

    @model_validator(mode="after")
    def _weights_fit(self) -> _Matryoshka:
        if self.width_weights and len(self.width_weights) != len(self.widths):
            raise ValueError(
                f"width_weights has {len(self.width_weights)} values for {len(self.widths)} "
                "widths; give one each, or none"
            )
        return self


class Softmax(_Matryoshka):
    """Softmax contrastive loss over the batch: ALIGN, CLIP, SamToNe, Gemini Embedding.

    Attributes:
        reduction: of the two directions: `sum` (ALIGN) or `mean` (CLIP).
        directions: `both`, or only from the `query` (Gemini Embedding, EmbeddingGemma).
        scale: 1/sigma, or its first value where it is learned (ALIGN 1; CLIP 1/0.07; t5x 100).
        learn_scale: sigma is a parameter.
        max_scale: a learned scale is clamped here (CLIP 100).
        smoothing: label smoothing; the target is (1 - e) one-hot + e / candidates (ALIGN 0.1).
        same_tower_negatives: other queries are candidates too (SamToNe, 2306.02516).
        mask_duplicates: a candidate with the content id of the query or of its positive is not a
            negative (Gemini Embedding, 2503.07891).
        hard_negatives: a query's own hard negatives are candidates.
        hardness: alpha of the weight exp(alpha sg(s)) of a hard negative of similarity s
            (EmbeddingGemma 5); 0 for none.
    """

    kind: Literal["softmax"]
    reduction: Literal["sum", "mean"] = "sum"
    directions: Literal["both", "query"] = "both"
    scale: float = Field(default=1.0, gt=0)
    learn_scale: bool = True
    max_scale: float = Field(default=100.0, gt=0)
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    same_tower_negatives: bool = False
    mask_duplicates: bool = False
    hard_negatives: bool = False
    hardness: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Softmax:
        if self.hardness and not self.hard_negatives:
            raise ValueError("hardness weighs hard negatives: set hard_negatives = true")
        if self.scale > self.max_scale:
            raise ValueError(f"scale {self.scale} is above max_scale {self.max_scale}; raise it")
        return self


class Sigmoid(_Matryoshka):
    """Pairwise sigmoid loss (SigLIP, 2303.15343).

    Attributes:
        scale: first value of t (SigLIP 10), learned as log t.
        bias: first value of b (SigLIP -10).
        mask_duplicates: pairs of equal content off the diagonal count neither way.
    """

    kind: Literal["sigmoid"]
    scale: float = Field(default=10.0, gt=0)
    bias: float = -10.0
    mask_duplicates: bool = False


class SpreadOut(_Matryoshka):
    """Spread-out regulariser: mean squared similarity of non-matching vectors (EmbeddingGemma)."""

    kind: Literal["spread_out"]


class Matching(_Objective):
    """Distillation that matches each vector with the teacher's stored one (EmbeddingGemma).

    Attributes:
        distance: `cosine` (1 - cos) or `squared` (Euclidean, of the projected vector).
    """

    kind: Literal["matching"]
    distance: Literal["cosine", "squared"] = "cosine"


class SimilarityMatching(_Objective):
    """Distillation of the teacher's softmax over the batch (MobileCLIP, 2311.17049).

    Attributes:
        scale: first value of the student's 1/tau, learned.
        max_scale: the student's scale is clamped here.
        teacher_scale: the teacher's 1/tau (DataCompDR 100).
    """

    kind: Literal["similarity_matching"]
    scale: float = Field(default=14.0, gt=0)
    max_scale: float = Field(default=100.0, gt=0)
    teacher_scale: float = Field(default=100.0, gt=0)


Objective = Annotated[
    Softmax | Sigmoid | SpreadOut | Matching | SimilarityMatching,
    Field(discriminator="kind"),
]

PRESETS: dict[str, tuple[Objective, ...]] = {
    "align": (Softmax(kind="softmax", reduction="sum", scale=1.0, smoothing=0.1),),
    "clip": (Softmax(kind="softmax", reduction="mean", scale=1 / 0.07),),
    "siglip": (Sigmoid(kind="sigmoid"),),
    "samtone": (
        Softmax(kind="softmax", scale=100.0, learn_scale=False, same_tower_negatives=True),
    ),
    "gemini-embedding": (
        Softmax(
            kind="softmax",
            directions="query",
            scale=100.0,
            learn_scale=False,
            mask_duplicates=True,
            hard_negatives=True,
            widths=(768, 1536, 3072),
        ),
    ),
    "embedding-gemma": (
        Softmax(
            kind="softmax",
            directions="query",
            scale=100.0,
            learn_scale=False,
            mask_duplicates=True,
            hard_negatives=True,
            hardness=5.0,
            widths=(768, 512, 256, 128),
        ),
        SpreadOut(kind="spread_out", widths=(768, 512, 256, 128)),
        Matching(kind="matching"),
    ),
}
"""A paper's choice of objectives by name. The papers of the last three leave tau open: ours is 0.01
(t5x_retrieval's `logit_scale = 100`)."""
