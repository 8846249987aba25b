"""A work directory together with the recipe that it belongs to: where every output lies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from schemas import layout
from schemas.digests import fingerprint, hex_digest
from schemas.layout import Part
from schemas.recipe import Recipe, ShardSettings, SplitName
from schemas.signals import family_signals
from schemas.sources import Source
from storage.folders import Folder
from transforms.decisions.families import Families, read_suppressions
from transforms.parts.tables import PartFile, list_committed, read_all_notes
from transforms.parts.work import NumberedPart
from transforms.shards.identity import shard_set_digest

LEDGER = "select/ledger"
"""Family of the ledgers."""


@dataclass(frozen=True)
class Intake:
    """A sealed intake.

    Attributes:
        number: order in which intakes came in, from 0.
        name: `i0`, a date, …
        settings: by source, the fingerprint of the settings under which it was taken in.
        parts: by source, how many parts it has.
    """

    number: int
    name: str
    settings: dict[str, str]
    parts: dict[str, int]

    def to_bytes(self) -> bytes:
        """Returns the seal as stored."""
        return orjson.dumps(self, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)


@dataclass(frozen=True)
class Series:
    """The shards of one split of a source's intake.

    Attributes:
        source, intake, split: names.
        parts: the parts that they are made from.
        samples: kept samples.
        path: folder of the shards, relative to the work directory.
        folder: that folder.
    """

    source: str
    intake: str
    split: SplitName
    parts: tuple[PartFile, ...]
    samples: int
    path: str
    folder: Folder

    def shards(self, settings: ShardSettings) -> int:
        """Returns how many shards the series has."""
        return -(-self.samples // settings.samples_per_shard)


@dataclass(frozen=True)
class Work:
    """A work directory and its recipe.

    Attributes:
        folder: the work directory.
        recipe: the resolved recipe.
    """

    folder: Folder
    recipe: Recipe

    @cached_property
    def ingest(self) -> Folder:
        """Folder of the ingest parts and their media."""
        return self.folder.child("ingest")

    @cached_property
    def evidence(self) -> Folder:
        """Folder of what fetches observed, part by part; in no digest."""
        return self.folder.child("evidence")

    def intakes(self) -> list[Intake]:
        """Returns the sealed intakes, in the order in which they came in."""
        names = [entry.name for entry in self.folder.list(f"{layout.INTAKES}/")]
        return [Intake(**orjson.loads(self.folder.read(name))) for name in names]

    def parts(self, *intakes: Intake) -> list[PartFile]:
        """Returns the committed ingest parts of these intakes, sorted."""
        found: dict[Part, PartFile] = {}
        for intake in intakes:
            for source in intake.parts:
                found |= list_committed(self.ingest, f"{source}/{intake.name}/")
        return [found[part] for part in sorted(found)]

    def number(self, parts: list[PartFile], wanted: set[PartFile]) -> list[NumberedPart]:
        """Numbers parts in order; those in `wanted` are the ones that a stage answers for."""
        notes = read_all_notes(self.ingest, parts)
        return [
            NumberedPart(number, part, one.counts["rows"], part in wanted)
            for number, (part, one) in enumerate(zip(parts, notes, strict=True))
        ]

    def source_settings(self, source: Source) -> str:
        """Returns the fingerprint of everything that decides the rows of a source."""
        identity = self.recipe.identity()
        settings = [one for one in identity["sources"] if one["name"] == source.name]
        return fingerprint("ingest", 1, [settings, identity["ingest"]])

    def local_fingerprint(self, family: str) -> str:
        """Returns the fingerprint of a part-wise family: its recipe slice and its versions."""
        settings: dict[str, Any] = {
            "measure/image": {"max_pixels": self.recipe.measure.max_pixels},
            "measure/text": {},
        }
        return fingerprint(family, 1, [settings[family], _versions(family)])

    def local_family(self, family: str) -> Folder:
        """Returns the folder of a part-wise family."""
        return self.folder.child(layout.family(family, self.local_fingerprint(family)))

    def global_fingerprint(self, family: str, parts: list[PartFile]) -> str:
        """Returns the fingerprint of a family that is computed over all of `parts` at once."""
        recipe = self.recipe
        chain = fingerprint("parts", 1, sorted(part.name for part in parts))
        settings: dict[str, Any] = {
            "count/sharing": {},
            "count/ngrams": recipe.count.model_dump(mode="json"),
            "dedupe/exact": recipe.dedupe.model_dump(mode="json", exclude={"prefer"}),
        }
        inputs = [chain]
        if family == "dedupe/exact":
            inputs.append(self.local_fingerprint("measure/image"))
        return fingerprint(family, 1, [settings[family], _versions(family)], inputs)

    def global_family(self, family: str, parts: list[PartFile]) -> Folder:
        """Returns the folder of a global family over `parts`."""
        return self.folder.child(layout.family(family, self.global_fingerprint(family, parts)))

    def families(self, parts: list[PartFile]) -> Families:
        """Returns where the columns of an intake lie.

        Args:
            parts: the parts of the intake and of all before it.
        """
        local = {name: self.local_family(name) for name in ("measure/image", "measure/text")}
        shared = {
            name: self.global_family(name, parts)
            for name in ("count/sharing", "count/ngrams", "dedupe/exact")
        }
        return Families(self.ingest, local | shared)

    def ledger_fingerprints(self) -> dict[str, str]:
        """Returns the fingerprint of the ledger of each intake: it depends on those before it."""
        recipe, intakes = self.recipe, self.intakes()
        settings = {
            "rules": [rule.model_dump(mode="json") for rule in recipe.select.rules],
            "edges": recipe.dedupe.edges,
            "prefer": recipe.dedupe.prefer,
            "seed": recipe.seed,
            "held_out": recipe.split.held_out,
            "suppressed": hex_digest(*read_suppressions(self.folder).to_pylist()),
        }
        found: dict[str, str] = {}
        earlier: list[str] = []
        for number, intake in enumerate(intakes):
            parts = self.parts(*intakes[: number + 1])
            families = self.families(parts).families
            inputs = [folder.uri.removeprefix(self.folder.uri) for folder in families.values()]
            chain = fingerprint("parts", 1, sorted(part.name for part in parts))
            found[intake.name] = fingerprint(LEDGER, 1, settings, [*inputs, *earlier, chain])
            earlier = [found[intake.name]]
        return found

    def ledgers(self) -> dict[str, Folder]:
        """Returns the folder of the ledger of each intake, in the order of the intakes."""
        return {
            intake: self.folder.child(layout.family(LEDGER, one))
            for intake, one in self.ledger_fingerprints().items()
        }

    def series(self) -> list[Series]:
        """Returns every series of shards: by source in recipe order, then by intake and split."""
        ledgers, intakes = self.ledgers(), self.intakes()
        found = []
        for source in self.recipe.sources:
            for intake in intakes:
                if source.name not in intake.parts:
                    continue
                ledger = ledgers[intake.name]
                parts = list_committed(self.ingest, f"{source.name}/{intake.name}/").values()
                notes = read_all_notes(ledger, parts)
                for split in self.recipe.split.names:
                    kept = [one.splits[split] for one in notes]
                    digest = shard_set_digest(
                        self.recipe.shard, self.recipe.seed, [one.digest for one in kept]
                    )
                    path = layout.shard_folder(source.name, intake.name, split, digest)
                    found.append(
                        Series(
                            source=source.name,
                            intake=intake.name,
                            split=split,
                            parts=tuple(parts),
                            samples=sum(one.samples for one in kept),
                            path=path,
                            folder=self.folder.child(path),
                        )
                    )
        return found


def _versions(family: str) -> dict[str, int]:
    return {signal.name: signal.version for signal in family_signals(family)}
