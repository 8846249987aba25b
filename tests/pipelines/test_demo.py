"""The demo: its figures, its bytes under every way to run it, and what reads its shards."""

from __future__ import annotations

import random
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import datasets
import pytest
import webdataset

from pipelines.cards.funnel import read_funnel
from pipelines.cli.demo import demo_data
from schemas import layout
from schemas.shards import Manifest, split_member
from transforms.verifying.findings import Check
from transforms.verifying.verify import verify
from transforms.work import Work

Manifests = Callable[[Work], Mapping[str, bytes]]
RunRoute = Callable[..., Work]


def test_every_source_keeps_between_20_and_90_percent(demo: Work) -> None:
    shares = {funnel.source: funnel.kept_share for funnel in read_funnel(demo)}
    assert shares.keys() == {"photos", "clipart", "gallery", "site"}
    assert all(0.2 <= share <= 0.9 for share in shares.values()), shares


def test_what_the_funnel_keeps_is_what_the_shards_hold(demo: Work) -> None:
    kept = {funnel.source: funnel.kept for funnel in read_funnel(demo)}
    counted = dict.fromkeys(kept, 0)
    for series in demo.series():
        names = [entry.name for entry in series.folder.list() if entry.name.endswith(".tar")]
        counted[series.source] += sum(
            len(_keys(Path(series.folder.locate(name)))) for name in names
        )
    assert counted == kept


def test_everything_that_the_demo_leaves_is_verified(demo: Work) -> None:
    findings = list(verify(demo, threads=2))
    assert [finding.check for finding in findings] == list(Check)
    assert [str(one) for finding in findings for one in finding.problems] == []
    assert all(finding.passed and not finding.failed for finding in findings), findings


def test_one_thread_and_parts_of_50_rows_give_the_same_bytes(
    demo: Work, run_demo: RunRoute, manifests: Manifests, tmp_path: Path
) -> None:
    other = run_demo(tmp_path / "work", ["ingest.part_rows=50"], threads=1)
    assert len(other.parts(*other.intakes())) > len(demo.parts(*demo.intakes()))
    assert layout.interleaved_manifest("default") in manifests(demo)
    assert manifests(other) == manifests(demo)


def test_shuffled_inputs_give_the_same_bytes(
    demo: Work, run_demo: RunRoute, manifests: Manifests, tmp_path: Path
) -> None:
    copy = tmp_path / "demo"
    shutil.copytree(demo_data(), copy, ignore=shutil.ignore_patterns("videos"))
    _shuffle(copy / "photos.tsv", header=1)
    _shuffle(copy / "clipart.jsonl", header=0)
    other = run_demo(tmp_path / "work", ["ingest.part_rows=500"], threads=4, data=copy)
    assert manifests(other) == manifests(demo)


def _shuffle(table: Path, header: int) -> None:
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    rows = lines[header:]
    random.Random(11).shuffle(rows)  # noqa: S311 - an order, no secret
    assert rows != lines[header:]
    table.write_text("".join(lines[:header] + rows), encoding="utf-8")


@pytest.fixture
def load_tars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., datasets.Dataset]:
    """Returns a function that loads tars as `datasets` does, offline and cached in `tmp_path`."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))

    def load(tars: list[str], features: datasets.Features | None = None) -> datasets.Dataset:
        files = {"train": tars}
        cache = str(tmp_path / "cache")
        return datasets.load_dataset(
            "webdataset", data_files=files, split="train", cache_dir=cache, features=features
        )

    return load


@pytest.mark.parametrize("name", ["photos", "clipart", "gallery"])
def test_the_shards_of_a_source_are_read_by_webdataset_datasets_and_tarfile(
    demo: Work, load_tars: Callable[..., datasets.Dataset], name: str
) -> None:
    tars, samples = _shards(demo, layout.manifest("default"), name)
    plain = [key for tar in tars for key in _keys(Path(tar))]
    assert len(plain) == len(set(plain)) == samples
    assert [one["__key__"] for one in webdataset.WebDataset(tars, shardshuffle=False)] == plain
    loaded = load_tars(tars)
    assert loaded["__key__"][:] == plain
    (image,) = {"jpg", "webp"} & set(loaded.column_names)
    assert all(one.size > (1, 1) for one in loaded[image])
    assert all(loaded["txt"])


@pytest.mark.parametrize(
    ("manifest", "name"),
    [
        (layout.manifest("default"), "site"),
        (layout.interleaved_manifest("default"), "default"),
        (layout.manifest("held-out"), "clipart"),
    ],
    ids=["site", "interleaved", "held out"],
)
def test_shards_of_several_formats_are_read_by_webdataset_datasets_and_tarfile(
    demo: Work, load_tars: Callable[..., datasets.Dataset], manifest: str, name: str
) -> None:
    tars, samples = _shards(demo, manifest, name)
    plain = [key for tar in tars for key in _keys(Path(tar))]
    assert len(plain) == len(set(plain)) == samples
    assert [one["__key__"] for one in webdataset.WebDataset(tars, shardshuffle=False)] == plain
    # `datasets` takes the columns of the first sample for those of all others, unless it is told.
    features = datasets.Features(
        {
            "__key__": datasets.Value("string"),
            "txt": datasets.Value("string"),
            "jpg": datasets.Image(decode=False),
            "webp": datasets.Image(decode=False),
        }
    )
    loaded = load_tars(tars, features)
    assert loaded["__key__"][:] == plain
    assert all((one["jpg"] is None) != (one["webp"] is None) for one in loaded)


def _shards(demo: Work, manifest: str, name: str) -> tuple[list[str], int]:
    """Returns the paths of a source's shards in a manifest, and how many samples they hold."""
    read = Manifest.model_validate_json(demo.folder.read(manifest))
    (source,) = (source for source in read.sources if source.name == name)
    return [demo.folder.locate(shard.path) for shard in source.shards], source.samples


def _keys(path: Path) -> list[str]:
    """Returns the keys of a tar, in order; the members of each are contiguous."""
    with tarfile.open(path) as tar:
        names = [split_member(name) for name in tar.getnames()]
    keys = [parts[0] for parts in names if parts is not None]
    assert len(keys) == len(names)
    return [key for at, key in enumerate(keys) if at == 0 or keys[at - 1] != key]
