"""The recipe: everything that a run depends on, as frozen, validated models.

A recipe is one TOML file. `identity()` is the part of it that decides what is in a release: it
leaves out where inputs lie, how they are cut into parts, and who runs them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from schemas.digests import canonical_json, hex_digest
from schemas.fetch import Fetch, HtmlSource, UrlSource, WarcSource
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
from schemas.samples import TextRole
from schemas.signals import SIGNALS_BY_NAME

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


RULE_REASONS = tuple(
    reason
    for reason, info in REASONS.items()
    if info.stage is Stage.SELECT and reason not in (Reason.DUPLICATE_ROW, Reason.TAKEN_DOWN)
)
"""Reasons that a rule can give; the other two of `select` are decided without a signal."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _check_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a name: use 1 to 63 of a-z, 0-9, '-' and '_', "
            "starting with a letter or digit"
        )
    return value


class _Source(_Model):
    """What every source has.

    Attributes:
        name: names the source in ids, folders and the mixture.
        path: file or folder, local (relative to the recipe) or `gs://`; the root of locators.
        files: glob below `path`, where it is a folder; which files belong to the source.
        licence: licence of samples that do not state their own.
    """

    name: str
    path: str
    files: str = "**"
    licence: str = ""

    _name = field_validator("name")(_check_name)


class TableSource(_Source):
    """Parquet, CSV, TSV or JSONL with a media column and text columns.

    Attributes:
        path_column: column with the path of the media, relative to `media_root`.
        bytes_column: column with the media themselves (bytes, or a struct with `bytes`).
        media_root: folder that paths are relative to; the table's own folder where empty.
        id_column: column that names a row; media path or digest of the media where empty.
        texts: column by role, in order: the first is the primary text. Empty columns and `texts`
            are recognised from the names that LAION, DataComp, img2dataset and Hugging Face use.
        where: keeps only the rows whose columns equal these values; other rows are not inputs.
    """

    type: Literal["table"]
    path_column: str = ""
    bytes_column: str = ""
    media_root: str = ""
    id_column: str = ""
    texts: dict[TextRole, str] = {}
    where: dict[str, str] = {}


class TextPairSource(_Source):
    """Parquet, CSV, TSV or JSONL whose rows are a query, a passage and optional negatives.

    Attributes:
        query_column, passage_column: the query, which is the primary text, and its positive.
        negatives_column: hard negatives: a list, or JSON that is one.
        id_column: column that names a row; the digest of its texts where empty.
    """

    type: Literal["text_pairs"]
    query_column: str = "query"
    passage_column: str = "passage"
    negatives_column: str = ""
    id_column: str = ""


class WebDatasetSource(_Source):
    """WebDataset tars (`.tar`, `.tar.gz`, `.tgz`): one sample per key.

    Attributes:
        texts: extension of the member by role, in order; `txt` (or `caption`) as alt-text, and the
            texts of a `json` member, where empty.
    """

    type: Literal["webdataset"]
    files: str = "**/*.tar"
    texts: dict[TextRole, str] = {}


class Img2DatasetSource(_Source):
    """An output folder of img2dataset: its tars, and its Parquet with status and hashes."""

    type: Literal["img2dataset"]
    files: str = "**/*.parquet"


class FolderSource(_Source):
    """Images with sidecar texts: `name.jpg` beside `name.txt` or `name.json`."""

    type: Literal["folder"]


Source = Annotated[
    TableSource
    | TextPairSource
    | WebDatasetSource
    | Img2DatasetSource
    | FolderSource
    | UrlSource
    | HtmlSource
    | WarcSource,
    Field(discriminator="type"),
]


class BlockList(_Model):
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


class Ingest(_Model):
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


class Measure(_Model):
    """How media are measured.

    Attributes:
        max_pixels: images whose header announces more are refused before decoding.
    """

    max_pixels: int = Field(default=100_000_000, ge=1)


class Count(_Model):
    """Global counts.

    Attributes:
        ngram_vocabulary_size: how many of the most frequent unigrams and bigrams of the corpus are
            its vocabulary (ALIGN: 100 million).
        min_ngram_count: rarer n-grams are outside the vocabulary whatever its size.
    """

    ngram_vocabulary_size: int = Field(default=100_000_000, ge=1)
    min_ngram_count: int = Field(default=1, ge=1)


Preference = Literal["resolution", "text_quality"]


class Dedupe(_Model):
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


class Rule(_Model):
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


class Select(_Model):
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


class Split(_Model):
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


class TrainView(_Model):
    """A re-encoded image in place of the original bytes.

    Attributes:
        short_side: the image is scaled down to this many pixels on its short side; never up.
        format: of the encoded view.
        quality: of its encoder, 1 to 100.
    """

    short_side: int = Field(ge=16, le=4096)
    format: Literal["jpeg", "webp"] = "jpeg"
    quality: int = Field(default=90, ge=1, le=100)


class ShardSettings(_Model):
    """How shards are cut.

    Attributes:
        samples_per_shard: every shard of a source's intake holds as many, the last excepted.
        train_view: re-encode images; original bytes where absent.
    """

    samples_per_shard: int = Field(default=1000, ge=1, le=1_000_000)
    train_view: TrainView | None = None


class Mixture(_Model):
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
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}
    interleave: bool = False

    _name = field_validator("name")(_check_name)


class Card(_Model):
    """What people read about the release.

    Attributes:
        title: of the report; the recipe's name where empty.
        description: a sentence or two below the title.
        licence: of the release as a whole.
    """

    title: str = ""
    description: str = ""
    licence: str = ""


class Recipe(_Model):
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

    _name = field_validator("name")(_check_name)

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
