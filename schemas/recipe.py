"""The recipe: everything that a run depends on, as frozen, validated models.

A recipe is one TOML file. `identity()` is the part of it that decides what is in a release: it
leaves out where inputs lie, how they are cut into parts, and who runs them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from schemas.digests import canonical_json, hex_digest
from schemas.fetch import Fetch
from schemas.keep import (
    Between,
    Compare,
    Is,
    IsEmpty,
    Keep,
    Member,
    Quantile,
    parse_keep,
)
from schemas.reasons import REASONS, Reason, Stage
from schemas.signals import SIGNALS_BY_NAME
from schemas.sources import HtmlSource, Section, Source, UrlSource, WarcSource, check_name

RULE_REASONS = tuple(
    reason
    for reason, info in REASONS.items()
    if info.stage is Stage.SELECT and reason not in (Reason.DUPLICATE_ROW, Reason.TAKEN_DOWN)
)
"""Reasons that a rule can give; the other two of `select` are decided without a signal."""


class BlockList(Section):
    """Media that are never stored. Files hold one hash per line; `#` starts a comment.

    Attributes:
        sha256, md5: files of hex digests of the bytes.
        phash: files of 16 hex digits, as imagehash prints them.
        phash_radius: Hamming distance in bits up to which a pHash matches.
    """

    sha256: tuple[str, ...] = ()
    md5: tuple[str, ...] = ()
    phash: tuple[str, ...] = ()
    phash_radius: int = Field(default=4, ge=0, le=16)


class Ingest(Section):
    """How inputs are taken in.

    Attributes:
        part_rows, part_bytes: a part holds at most so many rows, and so many known media bytes.
        max_media_bytes: larger media are refused (`media_too_large`).
        max_text_bytes: larger texts are refused (`text_too_large`).
    """

    part_rows: int = Field(default=10_000, ge=1, le=1_000_000)
    part_bytes: int = Field(default=1 << 30, ge=1)
    max_media_bytes: int = Field(default=64 << 20, ge=1)
    max_text_bytes: int = Field(default=64 << 10, ge=1)
    block: BlockList = BlockList()


class Measure(Section):
    """How media are measured.

    Attributes:
        max_pixels: images whose header announces more are refused before decoding.
    """

    max_pixels: int = Field(default=100_000_000, ge=1)


class Count(Section):
    """Global counts.

    Attributes:
        ngram_vocabulary_size: how many of the most frequent unigrams and bigrams of the corpus are
            its vocabulary (ALIGN: 100 million).
        min_ngram_count: rarer n-grams are outside the vocabulary whatever its size.
    """

    ngram_vocabulary_size: int = Field(default=100_000_000, ge=1)
    min_ngram_count: int = Field(default=1, ge=1)


Preference = Literal["resolution", "text_quality"]


class Dedupe(Section):
    """Which samples belong together, and which one of them is kept.

    Attributes:
        edges: what makes two samples duplicates: equal `bytes`, equal decoded `pixels`. Empty
            turns duplicates off.
        unit: `image`: samples with the same image are duplicates whatever their texts; `pair`:
            only where the primary text is the same too.
        prefer: who is kept, most important first; the smaller id in the end.
    """

    edges: tuple[Literal["bytes", "pixels"], ...] = ("bytes", "pixels")
    unit: Literal["image", "pair"] = "image"
    prefer: tuple[Preference, ...] = ("resolution", "text_quality")


class Rule(Section):
    """One rule of `select`: a sample whose signal does not satisfy `keep` drops with `reason`.

    A null signal does not apply to the sample (an image signal of a text pair): the rule passes.

    Attributes:
        signal: name in the registry; not used by `sample` rules.
        keep: see `schemas.keep`.
        reason: word for the ledger.
        sources: the rule looks only at these sources; at all where empty.
        basis: where the rule comes from, for the dataset card.
    """

    signal: str = ""
    keep: str
    reason: Reason
    sources: tuple[str, ...] = ()
    basis: str = ""

    @property
    def parsed(self) -> Keep:
        """The parsed `keep`."""
        return parse_keep(self.keep)

    @model_validator(mode="after")
    def _fits(self) -> Rule:
        keep = parse_keep(self.keep)
        if self.reason not in RULE_REASONS:
            raise ValueError(
                f"reason '{self.reason}' is not one of a rule; use one of: "
                f"{', '.join(RULE_REASONS)}"
            )
        if not self.signal:
            if self.keep.strip().startswith("sample"):
                return self
            raise ValueError(f"keep = {self.keep!r} needs a signal")
        signal = SIGNALS_BY_NAME.get(self.signal)
        if signal is None:
            raise ValueError(
                f"unknown signal {self.signal!r}; known: {', '.join(sorted(SIGNALS_BY_NAME))}"
            )
        wanted = {
            "string": (Member, IsEmpty),
            "bool": (Is,),
        }.get(signal.dtype, (Compare, Between, Quantile))
        if not isinstance(keep, wanted):
            raise ValueError(
                f"keep = {self.keep!r} does not fit {self.signal}, which is of type {signal.dtype}"
            )
        return self


class Select(Section):
    """The rule list.

    Attributes:
        extends: profile whose rules come first; a rule of the recipe with the same signal and
            reason takes the place of the profile's. Empty in a resolved recipe.
        without: reasons whose rules in the profile are left out.
        rules: in order; the first rule that drops a sample names its reason.
    """

    extends: str = ""
    without: tuple[Reason, ...] = ()
    rules: tuple[Rule, ...] = Field(default=(), max_length=100)


SplitName = Literal["train", "test"]


class Split(Section):
    """Which kept samples are held out for evaluation.

    Attributes:
        held_out: share of kept samples that go to the `test` split, decided by a keyed hash of the
            decoded pixels (of the sample's id, where it has no image): an image never lies on both
            sides, whatever its captions.
    """

    held_out: float = Field(default=0.0, ge=0, le=0.5, allow_inf_nan=False)

    @property
    def names(self) -> tuple[SplitName, ...]:
        """The splits that there are."""
        return ("train", "test") if self.held_out else ("train",)


class TrainView(Section):
    """A re-encoded image in place of the original bytes.

    Attributes:
        short_side: the image is scaled down to this many pixels on its short side; never up.
        format: of the encoded view.
        quality: of its encoder, 1 to 100.
    """

    short_side: int = Field(ge=16, le=4096)
    format: Literal["jpeg", "webp"] = "jpeg"
    quality: int = Field(default=90, ge=1, le=100)


class ShardSettings(Section):
    """How shards are cut.

    Attributes:
        samples_per_shard: every shard of a source's intake holds as many, the last excepted.
        train_view: re-encode images; original bytes where absent.
    """

    samples_per_shard: int = Field(default=1000, ge=1, le=1_000_000)
    train_view: TrainView | None = None


class Mixture(Section):
    """A weighted choice of sources.

    Attributes:
        name: names the mixture's folder below `mix/`.
        split: which samples it has.
        weights: by source; sources that are not named are not in the mixture. Empty: all sources,
            in proportion to their samples.
        interleave: also write one series of tars with the sources already mixed, for readers that
            take plain WebDataset: no sample twice, until the first source runs out.
    """

    name: str = "default"
    split: SplitName = "train"
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict
    )
    interleave: bool = False

    _name = field_validator("name")(check_name)


class Card(Section):
    """What people read about the release.

    Attributes:
        title: of the report; the recipe's name where empty.
        description: a sentence or two below the title.
        licence: of the release as a whole.
    """

    title: str = ""
    description: str = ""
    licence: str = ""


class Recipe(Section):
    """A whole recipe; see the attributes of each section.

    Attributes:
        name: names the recipe, and its work directory where none is given.
        sources: where samples come from.
        seed: seed of every keyed hash.
    """

    name: str
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    sources: tuple[Source, ...] = Field(min_length=1)
    ingest: Ingest = Ingest()
    fetch: Fetch | None = None
    measure: Measure = Measure()
    count: Count = Count()
    dedupe: Dedupe = Dedupe()
    select: Select = Select()
    split: Split = Split()
    shard: ShardSettings = ShardSettings()
    mixtures: tuple[Mixture, ...] = (Mixture(),)
    card: Card = Card()

    _name = field_validator("name")(check_name)

    @model_validator(mode="after")
    def _says_who_fetches(self) -> Recipe:
        for source in self.sources:
            if isinstance(source, UrlSource | HtmlSource | WarcSource) and self.fetch is None:
                raise ValueError(
                    f"source {source.name!r} fetches from the web; say who asks: add a [fetch] "
                    "table with contact = a mail address or URL"
                )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        names = [source.name for source in self.sources]
        for kind, values in (("source", names), ("mixture", [m.name for m in self.mixtures])):
            repeated = sorted({name for name in values if values.count(name) > 1})
            if repeated:
                raise ValueError(f"{kind} {repeated[0]!r} is named twice; rename one")
        for mixture in self.mixtures:
            unknown = sorted(set(mixture.weights) - set(names))
            if unknown:
                raise ValueError(
                    f"mixture {mixture.name!r} weighs the unknown source {unknown[0]!r}; "
                    f"sources are {', '.join(names)}"
                )
            if mixture.split not in self.split.names:
                raise ValueError(
                    f"mixture {mixture.name!r} is of the split {mixture.split!r}, but nothing is "
                    "held out; set split.held_out, for example to 0.1"
                )
            if mixture.weights and not any(mixture.weights.values()):
                raise ValueError(f"mixture {mixture.name!r}: every weight is 0; raise one")
        for rule in self.select.rules:
            unknown = sorted(set(rule.sources) - set(names))
            if unknown:
                raise ValueError(
                    f"rule '{rule.reason}' names the unknown source {unknown[0]!r}; "
                    f"sources are {', '.join(names)}"
                )
        return self

    def source(self, name: str) -> Source:
        """Returns the source of this name; KeyError where there is none."""
        return {source.name: source for source in self.sources}[name]

    def identity(self) -> dict[str, Any]:
        """Returns what decides the content of a release, as plain JSON values.

        Left out: where sources and block lists lie, how inputs are cut into parts, the card, and
        how media are fetched: what a fetch brought is an observation, recorded once.
        """
        values = self.model_dump(mode="json", exclude={"card", "fetch"})
        for source in values["sources"]:
            del source["path"]
            source.pop("media_root", None)
        del values["ingest"]["part_rows"], values["ingest"]["part_bytes"]
        for kind in ("sha256", "md5", "phash"):
            del values["ingest"]["block"][kind]
        return values

    def digest(self) -> str:
        """Returns the recipe digest: 32 hex digits over `identity()`."""
        return hex_digest("recipe", canonical_json(self.identity()))
