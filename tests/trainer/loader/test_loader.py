from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from schemas.shards import Manifest
from storage.folders import open_folder
from trainer.loader.batch import Batch
from trainer.loader.errors import Defect, ShardError, TooManyBadSamplesError
from trainer.loader.loader import Loader
from trainer.loader.mixture import Mixture, open_mixture
from trainer.loader.options import ImageOptions, LoaderOptions, Sampling


def make_options(batch_size: int = 8, **given: Any) -> LoaderOptions:
    sampling = {name: given.pop(name) for name in list(given) if name in Sampling.model_fields}
    given = {"image": ImageOptions(size=16), "threads": 2} | given
    return LoaderOptions(sampling=Sampling(batch_size=batch_size, **sampling), **given)


def open_loader(work: Any, batch_size: int = 8, **given: Any) -> Loader:
    tokenize = given.pop("tokenize", None)
    options = make_options(batch_size, **given)
    return Loader(open_mixture(str(work.root), "m"), options, tokenize=tokenize)


def assert_same(first: Batch, second: Batch) -> None:
    assert first.keys == second.keys
    assert first.texts == second.texts
    for name in ("mask", "source", "query_id", "positive_id", "image", "has_image"):
        assert_array_equal(getattr(first, name), getattr(second, name))


def characters(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Tokenizes into the code points of the first twelve characters."""
    ids = np.zeros((len(texts), 12), np.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text[:12])] = [ord(one) for one in text[:12]]
    return ids, ids > 0


def test_fields_have_their_shapes_and_types(build: Callable[..., Any]) -> None:
    work = build({"a": [10, 10], "b": [10]})
    with open_loader(work, 6, tokenize=characters) as loader:
        batch = loader.batch(3)
    assert batch.step == 3
    assert batch.image is not None
    assert batch.tokens is not None
    assert batch.token_mask is not None
    assert (batch.image.shape, batch.image.dtype) == ((6, 16, 16, 3), np.uint8)
    assert (batch.tokens.shape, batch.tokens.dtype) == ((6, 12), np.int32)
    assert (batch.token_mask.shape, batch.token_mask.dtype) == ((6, 12), np.bool_)
    assert batch.mask.all()
    assert batch.mask.dtype == np.bool_
    assert (batch.query_id.dtype, batch.positive_id.dtype) == (np.uint64, np.uint64)
    assert batch.source.dtype == np.int32
    assert sorted(batch.source.tolist()) == [0, 0, 0, 0, 1, 1]
    assert len(set(batch.keys)) == 6
    assert all(
        text.startswith("ab"[source])
        for text, source in zip(batch.texts, batch.source, strict=True)
    )
    assert "".join(map(chr, batch.tokens[0])).rstrip("\0") == batch.texts[0][:12]


def test_a_batch_is_a_function_of_manifest_options_and_step(build: Callable[..., Any]) -> None:
    work = build({"a": [10, 10], "b": [10]})
    random = {"image": ImageOptions(size=16, crop="resized", flip=0.5), "window": 1}
    with open_loader(work, threads=1, **random) as loader:
        forward = [loader.batch(step) for step in range(12)]
    with open_loader(work, threads=4, **random) as loader:
        for step in reversed(range(12)):
            assert_same(loader.batch(step), forward[step])
        for batch in loader.iterate(5, 9):
            assert_same(batch, forward[batch.step])
    with open_loader(work, seed=8, **random) as loader:
        assert loader.batch(0).keys != forward[0].keys
    again = {key: at for at, key in enumerate(forward[0].keys)}
    later = next(batch for batch in forward[4:] if set(batch.keys) & set(again))
    key = next(key for key in later.keys if key in again)
    assert later.image is not None
    assert forward[0].image is not None
    # The same sample is cropped anew at another step.
    assert (later.image[later.keys.index(key)] != forward[0].image[again[key]]).any()


def test_another_manifest_gives_another_order(build: Callable[..., Any]) -> None:
    first = build({"a": [30]}, name="first")
    second = build({"a": [30]}, name="second")
    with open_loader(first) as loader:
        keys = loader.batch(0).keys
    with open_loader(second) as loader:
        assert loader.batch(0).keys == keys
    second.save(second.manifest.model_copy(update={"recipe_digest": "1" * 16}))
    with open_loader(second) as loader:
        assert loader.batch(0).keys != keys


@pytest.mark.parametrize("batch_size", [120, 7 * 17])
def test_eight_then_three_then_five_hosts_consume_each_sample_once(
    build: Callable[..., Any], batch_size: int
) -> None:
    work = build({"a": [200, 157], "b": [150, 150], "c": [57]})
    with open_loader(work, batch_size, image=None, max_epochs=1) as loader:
        steps = loader.steps
        whole = [loader.batch(step).keys for step in range(steps or 0)]
    assert steps == 714 // batch_size
    seen: list[str] = []
    for step in range(steps):
        hosts = (8, 3, 5)[step % 3]
        parts: list[str] = []
        for host in range(hosts):
            with open_loader(
                work, batch_size, image=None, max_epochs=1, host=host, hosts=hosts
            ) as loader:
                parts += loader.batch(step).keys
        assert parts == whole[step]
        seen += parts
    assert set(Counter(seen).values()) == {1}
    assert len(seen) == steps * batch_size


def test_iteration_ends_with_the_schedule(build: Callable[..., Any]) -> None:
    work = build({"a": [20]})
    with open_loader(work, 8, max_epochs=1) as loader:
        assert loader.steps == 2
        assert [batch.step for batch in loader.iterate()] == [0, 1]
        assert [batch.step for batch in loader.iterate(1, 99)] == [1]
        assert list(loader.iterate(2)) == []
        with pytest.raises(IndexError):
            loader.batch(2)


def test_reading_ahead_is_bounded(build: Callable[..., Any]) -> None:
    work = build({"a": [200]})
    calls = []

    def tokenize(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        calls.append(len(texts))
        return characters(texts)

    with open_loader(work, 4, tokenize=tokenize, read_ahead=3) as loader:
        batches = loader.iterate()
        next(batches)
        time.sleep(0.3)
        assert len(calls) == 4
        next(batches)
        time.sleep(0.3)
        assert len(calls) == 5


def test_leaving_in_the_middle_leaves_no_thread_behind(build: Callable[..., Any]) -> None:
    work = build({"a": [200]})
    before = threading.active_count()
    loader = open_loader(work, 16)
    batches = loader.iterate()
    next(batches)
    loader.close()
    assert threading.active_count() == before
    batches.close()
    loader.close()


@pytest.mark.parametrize("end", ["sys.exit(3)", "raise SystemExit(3)", "os.kill(os.getpid(), 2)"])
def test_a_process_that_never_closes_the_loader_ends(build: Callable[..., Any], end: str) -> None:
    work = build({"a": [60]})
    program = f"""
        import os, sys
        from trainer.loader.loader import Loader
        from trainer.loader.mixture import open_mixture
        from trainer.loader.options import LoaderOptions, Sampling
        options = LoaderOptions(sampling=Sampling(batch_size=16))
        loader = Loader(open_mixture({str(work.root)!r}, "m"), options)
        batches = loader.iterate()
        next(batches)
        {end}
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        timeout=30,
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert result.returncode in (3, -2)


def test_a_failing_tokenizer_fails_the_run(build: Callable[..., Any]) -> None:
    work = build({"a": [20]})

    def short(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        return characters(texts[1:])

    with open_loader(work, tokenize=short) as loader, pytest.raises(ValueError, match="8 texts"):
        next(loader.iterate())


def test_the_single_source_mode_fills_batches_from_one_source(build: Callable[..., Any]) -> None:
    work = build({"a": [20], "b": [20]})
    with open_loader(work, single_source=True, image=None) as loader:
        sources = [set(loader.batch(step).source.tolist()) for step in range(6)]
    assert sorted(map(sorted, sources)) == [[0]] * 3 + [[1]] * 3


def test_bad_samples_are_masked_rows_and_ledger_lines(
    build: Callable[..., Any], spec: Callable[..., Any], jpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    specs = [spec("a", number) for number in range(16)]
    defects = {
        Defect.IMAGE_UNREADABLE: {"jpg": jpeg(3)[:300]},
        Defect.TEXT_EMPTY: {"json": spec("a", 1, texts=[{"role": "alt", "text": " \n"}])},
        Defect.METADATA_TOO_LARGE: {
            "json": spec("a", 2, texts=[{"role": "alt", "text": "x" * 10_000_000}])
        },
        Defect.METADATA_INVALID: {"json": b'{"sample_id": 3}'},
        Defect.IMAGE_MISSING: {"jpg": None},
        Defect.IMAGE_TOO_LARGE: {"jpg": jpeg(4, 1200, 900)},
    }
    expected = {}
    for at, (defect, change) in enumerate(defects.items()):
        for extension, data in change.items():
            value = data.members[extension] if hasattr(data, "members") else data
            if value is None:
                del specs[at].members[extension]
            else:
                specs[at].members[extension] = value
        expected[specs[at].key] = defect
    work = build({"a": [specs]})
    ledger = tmp_path / "logs" / "bad.jsonl"
    image = ImageOptions(size=16, max_pixels=1_000_000)
    given = {"image": image, "ledger": ledger, "max_bad_rate": 0.5, "tokenize": characters}
    with open_loader(work, 8, max_epochs=1, **given) as loader:
        batches = list(loader.iterate())
    found = {}
    for batch in batches:
        assert batch.image is not None
        assert batch.image.shape == (8, 16, 16, 3)
        assert batch.token_mask is not None
        for row in np.flatnonzero(~batch.mask):
            assert not batch.image[row].any()
            assert not batch.token_mask[row].any()
            assert batch.query_id[row] == batch.positive_id[row] == 0
            assert batch.texts[row] == ""
        found |= {row.key: row.defect for row in batch.bad}
        assert [batch.keys[row.row] for row in batch.bad] == [row.key for row in batch.bad]
    assert found == expected
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert {line["key"]: line["defect"] for line in lines} == {
        key: str(defect) for key, defect in expected.items()
    }
    assert {line["source"] for line in lines} == {"a"}
    assert all(line["shard"] == work.manifest.sources[0].shards[0].path for line in lines)


def test_too_many_bad_samples_stop_the_run(
    build: Callable[..., Any], spec: Callable[..., Any]
) -> None:
    specs = [spec("a", number) for number in range(64)]
    for one in specs[:20]:
        one.members["jpg"] = b"no image"
    work = build({"a": [specs]})
    with (
        open_loader(work, 16) as loader,
        pytest.raises(TooManyBadSamplesError, match=r"image_unreadable.*raise max_bad_rate"),
    ):
        list(loader.iterate(0, 20))
    with open_loader(work, 16, max_bad_rate=1.0) as loader:
        assert len(list(loader.iterate(0, 20))) == 20


def test_a_batch_without_one_good_sample_stops_the_run(
    build: Callable[..., Any], spec: Callable[..., Any]
) -> None:
    specs = [spec("a", number) for number in range(4)]
    for one in specs:
        one.members["jpg"] = b""
    with open_loader(build({"a": [specs]}), 4) as loader, pytest.raises(TooManyBadSamplesError):
        loader.batch(0)


def test_text_pairs_have_no_image_and_are_not_masked(
    build: Callable[..., Any], spec: Callable[..., Any]
) -> None:
    texts = [
        {"role": "query", "text": "what is red"},
        {"role": "passage", "text": "a rose"},
        {"role": "negative", "text": "a violet"},
        {"role": "negative", "text": "the sky"},
    ]
    specs = [spec("t", number, kind="text_pair", texts=texts) for number in range(8)]
    for one in specs[:7]:
        del one.members["jpg"]
    specs[0] = spec("t", 0, kind="text_pair", texts=texts[:2])
    del specs[0].members["jpg"]
    work = build({"t": [specs]})
    roles = ("passage", "negative")
    with open_loader(work, 8, roles=roles, tokenize=characters) as loader:
        batches = [loader.batch(step) for step in range(8)]
    batch = batches[0]
    assert batch.mask.all()
    assert batch.has_image.sum() == 1
    assert batch.texts == ["what is red"] * 8
    assert batch.extra["passage"].texts == ["a rose"] * 8
    negative = batch.extra["negative"]
    assert negative.present.sum() == 7
    assert negative.token_mask is not None
    assert_array_equal(negative.token_mask.any(axis=1), negative.present)
    assert negative.texts[batch.keys.index(specs[0].key)] == ""
    # Chance takes each negative now and then, and the same one at the same step.
    assert {text for one in batches for text in one.extra["negative"].texts} == {
        "",
        "a violet",
        "the sky",
    }
    with open_loader(work, 8, roles=roles) as loader:
        assert loader.batch(5).extra["negative"].texts == batches[5].extra["negative"].texts


def damage_missing(work: Any) -> None:
    work.tar(0, 1).unlink()


def damage_truncated(work: Any) -> None:
    path = work.tar(0, 1)
    path.write_bytes(path.read_bytes()[:-5000])


def damage_altered(work: Any) -> None:
    path = work.tar(0, 1)
    data = bytearray(path.read_bytes())
    for at in range(600, len(data), 97):
        data[at] ^= 1
    path.write_bytes(data)


def damage_index_missing(work: Any) -> None:
    work.index(0, 1).unlink()


def damage_index_of_another(work: Any) -> None:
    work.index(0, 1).write_bytes(work.index(0, 0).read_bytes())


def damage_manifest_index(work: Any) -> None:
    """The manifest itself names the index of another shard."""
    source = work.manifest.sources[0]
    first, second = source.shards
    mixed = second.model_copy(update={"index": first.index, "index_sha256": first.index_sha256})
    changed = source.model_copy(update={"shards": (first, mixed)})
    work.save(work.manifest.model_copy(update={"sources": (changed,)}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_missing, "is missing; restore it"),
        (damage_truncated, "the shard was truncated or replaced"),
        (damage_altered, "was altered"),
        (damage_index_missing, "the index of .* is missing"),
        (damage_index_of_another, "was altered or belongs to another shard"),
        (damage_manifest_index, r"it has 20 samples, the shard 12|was altered"),
    ],
)
def test_a_damaged_shard_stops_the_run_and_is_named(
    build: Callable[..., Any], damage: Callable[[Any], None], message: str
) -> None:
    work = build({"a": [20, 12]})
    damage(work)
    with open_loader(work) as loader, pytest.raises(ShardError, match=message) as caught:
        list(loader.iterate(0, 8))
    assert "00000" in str(caught.value)


def test_a_source_smaller_than_a_batch_is_refused(build: Callable[..., Any]) -> None:
    work = build({"a": [5]})
    with pytest.raises(ValueError, match="has 5 samples, and its share of a batch of 8 is 8"):
        open_loader(work, 8)
    with open_loader(work, 8, repeats_in_batch=True) as loader:
        assert len(set(loader.batch(0).keys)) == 5


def test_arrays_come_from_the_npz_member(
    build: Callable[..., Any], spec: Callable[..., Any], tmp_path: Path
) -> None:
    specs = [spec("a", number) for number in range(8)]
    for at, one in enumerate(specs):
        path = tmp_path / "teacher.npz"
        np.savez(path, siglip=np.full(4 if at else 3, at, np.float16))
        one.members["npz"] = path.read_bytes()
    work = build({"a": [specs]})
    with open_loader(work, 8, arrays={"siglip": 4}, max_bad_rate=0.5) as loader:
        batch = loader.batch(0)
    vectors = batch.arrays["siglip"]
    assert (vectors.shape, vectors.dtype) == ((8, 4), np.float32)
    numbers = [next(at for at, one in enumerate(specs) if one.key == key) for key in batch.keys]
    assert_array_equal(vectors[:, 0], numbers)
    assert [row.defect for row in batch.bad] == [Defect.ARRAY_INVALID]


def test_shards_of_a_store_need_a_cache(build: Callable[..., Any]) -> None:
    work = build({"a": [20]})
    folder = FarFolder(open_mixture(str(work.root), "m"))
    with pytest.raises(ValueError, match="name a local directory"):
        Loader(folder.mixture, make_options())


def test_batches_through_a_cache_are_the_same(build: Callable[..., Any], tmp_path: Path) -> None:
    work = build({"a": [20] * 8})
    with open_loader(work, 10, window=2) as loader:
        expected = [loader.batch(step) for step in range(20)]
    size = work.manifest.sources[0].shards[0].bytes
    far = FarFolder(open_mixture(str(work.root), "m"))
    options = make_options(10, window=2, cache=tmp_path / "cache", cache_bytes=5 * size)
    with Loader(far.mixture, options) as loader:
        for batch, same in zip(loader.iterate(0, 20), expected, strict=True):
            assert_same(batch, same)
    held = list((tmp_path / "cache").glob("*.tar"))
    assert sum(path.stat().st_size for path in held) <= 5 * size
    # Two epochs and a window ahead, some shards twice at most.
    assert 8 <= far.opened <= 26


def test_a_cache_too_small_for_two_windows_is_refused(
    build: Callable[..., Any], tmp_path: Path
) -> None:
    work = build({"a": [20] * 8})
    mixture = open_mixture(str(work.root), "m")
    for given, message in (
        ({"window": 4}, "two windows of 4 shards"),
        ({}, "all shards"),
    ):
        options = make_options(10, cache=tmp_path / "cache", cache_bytes=100_000, **given)
        with pytest.raises(ValueError, match=message):
            Loader(mixture, options)


def test_a_mixture_in_a_bucket_gives_the_same_batches(
    build: Callable[..., Any], tmp_path: Path, gcs_bucket: str
) -> None:
    work = build({"a": [20] * 3})
    bucket = open_folder(f"{gcs_bucket}/work")
    for path in work.root.rglob("*"):
        if path.is_file():
            bucket.create(path.relative_to(work.root).as_posix(), path.read_bytes())
    options = make_options(10, cache=tmp_path / "cache", window=1)
    with (
        open_loader(work, 10, window=1) as near,
        Loader(open_mixture(bucket.uri, "m"), options) as far,
    ):
        for batch in far.iterate(0, 7):
            assert_same(batch, near.batch(batch.step))


class FarFolder:
    """A folder that looks like a bucket and counts what is opened."""

    def __init__(self, mixture: Mixture) -> None:
        self._folder = mixture.shards
        self.opened = 0
        manifest: Manifest = mixture.manifest
        self.mixture = Mixture(manifest, self, mixture.indexes)  # type: ignore[arg-type]

    @property
    def uri(self) -> str:
        return "gs://far/away"

    def locate(self, name: str) -> str:
        return f"gs://far/away/{name}"

    def open(self, name: str) -> Any:
        self.opened += 1
        return self._folder.open(name)


def test_the_core_imports_no_other_framework() -> None:
    program = textwrap.dedent("""
        import sys
        import trainer.loader.loader, trainer.loader.audit, trainer.loader.scan
        heavy = {"apache_beam", "tensorflow", "torch", "jax", "webdataset", "google.cloud.storage"}
        print(sorted(heavy & set(sys.modules)))
    """)
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert result.stdout.strip() == "[]"
