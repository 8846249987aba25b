"""The training recipe: the `[train]` table of a TOML file, as frozen, validated models."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.digests import canonical_json, hex_digest
from trainer.loader.options import ImageOptions
from trainer.objectives.settings import (
    PRESETS,
    Matching,
    Objective,
    SimilarityMatching,
    Softmax,
)
from trainer.sampling import Name as Sampler
from trainer.towers.settings import ImageTower, Model, TextTower

MAX_RECIPE_BYTES = 1 << 20
"""A longer file is no recipe."""


class RecipeError(ValueError):
    """The recipe cannot be used; the message names the field, the value and the remedy."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(_Settings):
    """Which samples fill which batch; with the manifest and the seed, these alone decide it.

    Attributes:
        work: work directory with the mixture, a path relative to the recipe or `gs://...`.
        mixture: name of the mixture.
        batch_size: rows of the global batch.
        weights, temperature, max_epochs, single_source, repeats_in_batch, window: see
            `trainer.loader.options.Sampling`.
        sampler: fill each batch from one source, chosen by one of UnED's samplers, which see
            `trainer.sampling`, in place of weights.
        top_steps: by source, for the sampler `specialist_top_steps`.
        image: how images become pixels; the side is the image tower's.
        max_bad_rate: share of bad samples above which the run stops.
        cache: local directory for shards of `gs://`, which needs one.
        threads: decoding threads; one per core where absent.
    """

    work: str = "."
    mixture: str = "default"
    batch_size: int = Field(default=256, ge=2)
    weights: dict[str, float] | None = None
    temperature: float | None = Field(default=None, gt=0)
    max_epochs: float | None = Field(default=None, gt=0)
    single_source: bool = False
    repeats_in_batch: bool = False
    window: int | None = Field(default=None, ge=1)
    sampler: Sampler | None = None
    top_steps: dict[str, Annotated[int, Field(ge=1)]] = {}
    image: ImageOptions = ImageOptions()
    max_bad_rate: float = Field(default=0.01, ge=0, le=1)
    cache: str = ""
    threads: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> Data:
        if self.sampler and (self.weights or self.temperature or self.single_source):
            raise ValueError(
                f"sampler {self.sampler!r} chooses the sources itself; leave out weights, "
                "temperature and single_source"
            )
        if bool(self.top_steps) != (self.sampler == "specialist_top_steps"):
            raise ValueError("top_steps goes with sampler = 'specialist_top_steps'")
        return self


class Inputs(_Settings):
    """What of a sample goes into which tower.

    Attributes:
        query_text, positive_text: role of the text of a text tower; the primary text where empty.
        negative_text: role of the hard negative, for objectives that use one.
        prompts: task prompt by source for texts of the query, with `{text}` in it.
        positive_prompts: likewise for texts of the positive and of the negative.
        teacher_query, teacher_positive: names of the stored teacher vectors (`npz` members).
        teacher_width: their dimension.
    """

    query_text: str = ""
    positive_text: str = ""
    negative_text: str = ""
    prompts: dict[str, str] = {}
    positive_prompts: dict[str, str] = {}
    teacher_query: str = ""
    teacher_positive: str = ""
    teacher_width: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _complete(self) -> Inputs:
        for source, prompt in {**self.prompts, **self.positive_prompts}.items():
            if "{text}" not in prompt:
                raise ValueError(f"the prompt of source {source!r} lacks {{text}}: {prompt!r}")
        if (self.teacher_width is None) != (not (self.teacher_query or self.teacher_positive)):
            raise ValueError("teacher_width goes with teacher_query and teacher_positive")
        return self


class TokenizerSettings(_Settings):
    """Where the tokenizer comes from.

    Attributes:
        path: a SentencePiece model; one is trained on the mixture where empty.
        captions: number of captions that it is trained on.
    """

    path: str = ""
    captions: int = Field(default=1_000_000, ge=1, le=100_000_000)


class Optimiser(_Settings):
    """AdamW and its schedule.

    Attributes:
        learning_rate: at its peak.
        schedule: after warm-up, `cosine` to `final` over the run; `wsd` constant, then linear to
            `final` over the last `decay` of the run; `constant`.
        warmup_steps: the rate climbs linearly from 0.
        decay: share of the steps that `wsd` decays over.
        final: last rate, as a share of the peak.
        weight_decay: of matrices; not of biases, norms, positions, temperatures.
        beta1, beta2, epsilon: of Adam.
        clip: largest global norm of the gradient.
    """

    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["cosine", "wsd", "constant"] = "cosine"
    warmup_steps: int = Field(default=0, ge=0)
    decay: float = Field(default=0.2, gt=0, le=1)
    final: float = Field(default=0.0, ge=0, le=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    clip: float = Field(default=1.0, gt=0)


class TrainRecipe(_Settings):
    """A whole training run.

    Attributes:
        seed: of the parameters and of the order of samples.
        steps: optimiser steps.
        accumulate: the towers run over a batch in so many pieces, and the objectives still see all
            of it (GradCache, 2101.06983): less memory, one more forward pass.
        block_rows: rows of the score matrix that are held at once.
        preset: a paper's objectives by name; see `PRESETS`.
        objectives: in place of a preset.
        save_every, keep: steps between checkpoints, and how many are kept.
        log_every: steps between lines of metrics.
    """

    seed: int = Field(default=0, ge=0, lt=1 << 31)
    steps: int = Field(default=1000, ge=1)
    accumulate: int = Field(default=1, ge=1)
    block_rows: int = Field(default=256, ge=1)
    preset: str = ""
    objectives: tuple[Objective, ...] = ()
    data: Data = Data()
    inputs: Inputs = Inputs()
    model: Model = Model()
    tokenizer: TokenizerSettings = TokenizerSettings()
    optimiser: Optimiser = Optimiser()
    save_every: int = Field(default=1000, ge=1)
    keep: int = Field(default=3, ge=1)
    log_every: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> TrainRecipe:
        if self.preset and self.preset not in PRESETS:
            raise ValueError(f"unknown preset {self.preset!r}; presets are {', '.join(PRESETS)}")
        if bool(self.preset) == bool(self.objectives):
            raise ValueError("name a preset, or list objectives: one of the two")
        labels = [objective.label for objective in self.losses]
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        if repeated:
            raise ValueError(f"two objectives are called {repeated[0]!r}; give one a name")
        self._check_objectives()
        if self.data.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.data.batch_size} is no multiple of accumulate {self.accumulate}"
            )
        if self.optimiser.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps {self.optimiser.warmup_steps} does not end within {self.steps} steps"
            )
        query, positive = self.model.query, self.model.positive
        if isinstance(query, TextTower) and isinstance(positive, TextTower):
            if self.inputs.query_text == self.inputs.positive_text:
                raise ValueError(
                    "two text towers take different texts: set inputs.query_text, for example "
                    "'query'"
                )
        elif isinstance(query, ImageTower) and isinstance(positive, ImageTower):
            raise ValueError("a sample holds one image: make one of the towers kind = 'text'")
        return self

    def _check_objectives(self) -> None:
        hard = any(isinstance(one, Softmax) and one.hard_negatives for one in self.losses)
        if hard != bool(self.inputs.negative_text):
            raise ValueError(
                "hard_negatives of an objective and inputs.negative_text go together: set both, "
                "or neither"
            )
        if hard and not isinstance(self.model.positive, TextTower):
            raise ValueError("hard negatives are texts: make the positive tower kind = 'text'")
        distils = any(isinstance(one, Matching | SimilarityMatching) for one in self.losses)
        if distils != (self.inputs.teacher_width is not None):
            raise ValueError(
                "distillation and inputs.teacher_width go together: set both, or neither"
            )
        for objective in self.losses:
            for width in getattr(objective, "widths", ()):
                if width > self.model.width:
                    raise ValueError(
                        f"objective {objective.label!r}: Matryoshka width {width} is above "
                        f"model.width {self.model.width}"
                    )

    @property
    def losses(self) -> tuple[Objective, ...]:
        """The objectives, whether listed or by preset."""
        return self.objectives or PRESETS.get(self.preset, ())

    @property
    def widths(self) -> tuple[int, ...]:
        """Every width that the model is trained at, the largest first."""
        trained = {w for one in self.losses for w in getattr(one, "widths", ())}
        return tuple(sorted({self.model.width, *trained}, reverse=True))

    def digest(self) -> str:
        """Returns 32 hex digits over the whole recipe but where its data lie."""
        values = self.model_dump(mode="json")
        for key in ("work", "cache", "threads"):
            del values["data"][key]
        return hex_digest("train", canonical_json(values))


def load_recipe(path: Path, changes: dict[str, Any] | None = None) -> TrainRecipe:
    """Reads the `[train]` table of a TOML file; other tables are the pipelines'.

    Args:
        path: the file; `data.work`, `data.cache` and `tokenizer.path` are relative to it.
        changes: values by dotted name, such as `{"data.work": "out", "steps": 10}`; paths in
            changes are relative to the current directory.

    Raises:
        RecipeError: the file cannot be read, or the table cannot be used.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error
    if len(data) > MAX_RECIPE_BYTES:
        raise RecipeError(f"{path} has {len(data)} bytes, more than a recipe has; name another")
    try:
        table = tomllib.loads(data.decode("utf-8")).get("train")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    if not isinstance(table, dict):
        raise RecipeError(f"{path} has no [train] table; add one")
    for section, key in (("data", "work"), ("data", "cache"), ("tokenizer", "path")):
        values = table.get(section)
        if isinstance(values, dict) and isinstance(values.get(key), str):
            values[key] = _relative(path.parent, values[key])
    if "work" not in table.setdefault("data", {}):
        table["data"]["work"] = str(path.parent)
    for name, value in (changes or {}).items():
        *sections, key = name.split(".")
        target = table
        for section in sections:
            target = target.setdefault(section, {})
        target[key] = value
    return _validate(path, table)


def _validate(path: Path, table: dict[str, Any]) -> TrainRecipe:
    try:
        return TrainRecipe.model_validate(table)
    except ValidationError as error:
        problems = "; ".join(
            f"train.{'.'.join(map(str, one['loc']))}".rstrip(".") + f": {one['msg']}"
            for one in error.errors()
        )
        raise RecipeError(f"{path}: {problems}") from error


def _relative(folder: Path, value: str) -> str:
    if not value or "://" in value:
        return value
    return str(folder / value)
