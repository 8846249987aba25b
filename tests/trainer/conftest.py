import hashlib
import importlib
import io
import itertools
import os
import struct
import tarfile
import tempfile

import cv2
import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas import layout
from schemas.digests import canonical_json, hex_digest
from schemas.shards import INDEX, Manifest, MixtureSource, Shard, merkle_root, shard_leaves
from trainer.recipe import TrainRecipe

# None of the imports above brings JAX in: it reads these when a test first imports it. Eight
# virtual devices, and quick compilation, once for all tests and the processes that they start.
_COMPILED = tempfile.TemporaryDirectory(prefix="mixwright-xla-")
os.environ |= {
    "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu"),
    "XLA_FLAGS": " ".join(
        [
            os.environ.get("XLA_FLAGS", ""),
            "--xla_force_host_platform_device_count=8",
            "--xla_backend_optimization_level=0",
            "--xla_cpu_use_fusion_emitters=false",
        ]
    ),
    "JAX_COMPILATION_CACHE_DIR": _COMPILED.name,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 200, 60),
    "blue": (50, 70, 230),
    "yellow": (230, 220, 50),
    "purple": (150, 50, 180),
    "white": (245, 245, 245),
}
PLACES = {"left": (8, 16), "right": (24, 16), "top": (16, 8), "bottom": (16, 24)}
SHAPES = ("disc", "box")
GERMAN = {
    "red": "rot",
    "green": "gruen",
    "blue": "blau",
    "yellow": "gelb",
    "purple": "lila",
    "white": "weiss",
}


def draw(colour, shape, place, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, (32, 32, 3), np.uint8)
    x, y = (int(v + rng.integers(-2, 3)) for v in PLACES[place])
    if shape == "disc":
        cv2.circle(image, (x, y), 6, COLOURS[colour], -1)
    else:
        cv2.rectangle(image, (x - 5, y - 5), (x + 5, y + 5), COLOURS[colour], -1)
    encoded, data = cv2.imencode(".png", image[:, :, ::-1])
    assert encoded
    return data.tobytes()


def members_of(source, number, colour, shape, place):
    """Returns the key and the members of one sample: an English caption and a German one."""
    text = f"a {colour} {shape} at the {place}"
    image = draw(colour, shape, place, number)
    key = hex_digest(source, str(number))
    metadata = {
        "sample_id": key,
        "source": source,
        "locator": str(number),
        "kind": "pair",
        "texts": [
            {"role": "alt", "text": text, "lang": "en"},
            {"role": "reference", "text": f"{GERMAN[colour]} {shape} {place}", "lang": "de"},
        ],
        "media": {"png": hashlib.sha256(image).hexdigest()},
        "query_id": hashlib.sha256(image).hexdigest(),
        "positive_id": hex_digest(text),
        "meta": {"label": f"{colour} {shape}"},
    }
    return key, {"png": image, "txt": text.encode(), "json": canonical_json(metadata).encode()}


def write_source(root, name, samples, per_shard=64):
    """Writes the shards of a source and returns its part of a manifest, with weight 1."""
    shards = []
    for number, start in enumerate(range(0, len(samples), per_shard)):
        sink, rows = io.BytesIO(), []
        chunk = samples[start : start + per_shard]
        with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for key, members in chunk:
                for extension, data in members.items():
                    info = tarfile.TarInfo(f"{key}.{extension}")
                    info.size = len(data)
                    offset = sink.tell() + 512
                    tar.addfile(info, io.BytesIO(data))
                    rows.append(
                        {
                            "key": key,
                            "member": info.name,
                            "offset": offset,
                            "length": len(data),
                            "sha256": hashlib.sha256(data).hexdigest(),
                        }
                    )
        index = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, INDEX), index)
        stem = f"shards/{name}/i0/d0/{number:06d}"
        for path, data in ((f"{stem}.tar", sink), (f"{stem}.idx.parquet", index)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data.getvalue())
        shards.append(
            Shard(
                path=f"{stem}.tar",
                index=f"{stem}.idx.parquet",
                samples=len(chunk),
                bytes=len(sink.getvalue()),
                sha256=hashlib.sha256(sink.getvalue()).hexdigest(),
                index_sha256=hashlib.sha256(index.getvalue()).hexdigest(),
            )
        )
    return MixtureSource(name=name, weight=1.0, samples=len(samples), shards=tuple(shards))


def write_mixture(root, mixture, sources):
    """Writes a manifest of sources with equal weights."""
    sources = tuple(s.model_copy(update={"weight": 1 / len(sources)}) for s in sources)
    manifest = Manifest(
        mixture=mixture,
        recipe_digest="0" * 32,
        seed=0,
        layout="by_source",
        samples=sum(source.samples for source in sources),
        sources=sources,
        merkle_root=merkle_root(shard_leaves(sources)),
    )
    path = root / layout.manifest(mixture)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(manifest.to_bytes())


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    """A work directory with a mixture `train` of two sources, and a small one, `held_out`."""
    root = tmp_path_factory.mktemp("work")
    scenes = list(itertools.product(COLOURS, SHAPES, PLACES))
    sources = []
    for at, name in enumerate(("web", "wiki")):
        samples = [members_of(name, 1000 * at + n, *scene) for n, scene in enumerate(scenes * 4)]
        sources.append(write_source(root, name, samples))
    write_mixture(root, "train", sources)
    held_out = [members_of("held", 9000 + n, *scene) for n, scene in enumerate(scenes)]
    write_mixture(root, "held_out", [write_source(root, "held", held_out, per_shard=20)])
    return root


@pytest.fixture(scope="session")
def write_mixture_of():
    """Writes a mixture of ordinary samples whose members are replaced, by key."""

    def write(root, mixture, samples):
        written = []
        for number, (key, changes) in enumerate(samples):
            _, members = members_of("web", number, "red", "disc", "left")
            written.append((key, members | changes))
        write_mixture(root, mixture, [write_source(root, "web", written)])

    return write


@pytest.fixture(scope="session")
def make_recipe(work):
    """Makes a tiny recipe over `work`; keyword arguments replace its values."""

    def make(**changes):
        values = {
            "steps": 6,
            "preset": "clip",
            "save_every": 3,
            "log_every": 2,
            "data": {"work": str(work), "mixture": "train", "batch_size": 16, "threads": 2},
            "model": {
                "query": {"kind": "image", "size": "mu/8", "resolution": 32, "pooling": "mean"},
                "positive": {"kind": "text", "size": "mu", "length": 24, "vocabulary_size": 400},
                "width": 32,
                "precision": "float32",
            },
            "optimiser": {"learning_rate": 3e-3, "warmup_steps": 2},
        }
        for name, value in changes.items():
            merges = isinstance(value, dict) and name in values
            values[name] = values[name] | value if merges else value
        return TrainRecipe.model_validate(values)

    return make


@pytest.fixture(scope="session")
def learned(make_recipe, tmp_path_factory):
    """The folder of a run that has learned: 120 steps of the tiny model."""
    # Not imported above: JAX reads its settings when it is first imported.
    jax, module = (importlib.import_module(name) for name in ("jax", "trainer.train"))
    folder = tmp_path_factory.mktemp("learned")
    recipe = make_recipe(
        steps=120,
        save_every=120,
        preset="",
        objectives=[{"kind": "softmax", "scale": 10.0, "mask_duplicates": True, "widths": [32, 8]}],
        data={"batch_size": 48},
        optimiser={"learning_rate": 1e-2, "warmup_steps": 10},
    )
    module.train(recipe, folder, devices=jax.devices()[:1])
    return folder


def masked(data):
    crc = google_crc32c.value(data)
    rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) % 2**32)


def varint(value):
    value %= 2**64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


@pytest.fixture(scope="session")
def record():
    """Frames a TFRecord."""

    def frame(data):
        length = struct.pack("<Q", len(data))
        return length + masked(length) + data + masked(data)

    return frame


@pytest.fixture(scope="session")
def example():
    """Encodes a `tf.train.Example` of lists of bytes, of integers, of floats."""

    def encode(features, packed=True):
        entries = b""
        for name, values in features.items():
            if isinstance(values[0], bytes):
                value = message(1, b"".join(message(1, one) for one in values))
            elif isinstance(values[0], float):
                value = message(2, message(1, struct.pack(f"<{len(values)}f", *values)))
            elif packed:
                value = message(3, message(1, b"".join(map(varint, values))))
            else:
                value = message(3, b"".join(varint(1 << 3) + varint(one) for one in values))
            entries += message(1, message(1, name.encode()) + message(2, value))
        return message(1, entries)

    return encode
