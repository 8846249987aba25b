"""Trains the demo's tiny model with three seeds and compares it with itself untrained.

    python -m benchmarks.learning [folder for its files]

The settings are those of `examples/demo/train.toml`, the pairs those that the demo holds out by
content; each is asked for by its primary text, and a group of pairs that share image or text counts
as one answer. The untrained model has the same tokenizer and the parameters of step 0. Gains are
means over both directions and the seeds, in points; the interval is a paired bootstrap over queries
and seeds. Settings were chosen by three-fold validation within the training mixture. The goal of
the mean gain was set before that, the others before anything was measured on the held-out pairs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, report
from trainer import metrics
from trainer.embedder import Embedder, load_run, untrained
from trainer.retrieval import PRIMARY, embed_mixture

RECIPE = Path(__file__).parents[1] / "examples" / "demo" / "train.toml"
SEEDS = (0, 1, 2)
DEPTHS = (1, 5, 10)


def train(work: Path, seed: int) -> tuple[Path, float]:
    """Returns the folder of a run and the seconds that it took, start-up included."""
    folder = work / f"seed{seed}"
    command = [sys.executable, "-m", "trainer.train", str(RECIPE), "--out", str(folder)]
    start = time.perf_counter()
    subprocess.run(
        [*command, "--work", str(work / "demo"), "--set", f"seed={seed}", "--quiet"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return folder, time.perf_counter() - start


def ranks(model: Embedder, work: Path) -> list[NDArray[np.int64]]:
    """Returns the ranks of the answers, by direction: images ask for texts, texts for images."""
    data = embed_mixture(model, str(work / "demo"), "held-out", (PRIMARY,))
    sides = metrics.normalise(data.items), metrics.normalise(data.texts)
    return [data.retrieval.ranks(direction, *sides) for direction in data.retrieval.directions]


def show(name: str, by_direction: list[NDArray[np.int64]]) -> None:
    cells = [
        " ".join(f"{100 * metrics.recall_at(found, k):6.1f}" for k in DEPTHS)
        + f" {np.mean(found) + 1:6.1f}"
        for found in by_direction
    ]
    print(f"{name:<18} {'   '.join(cells)}", flush=True)


def hits(found: list[NDArray[np.int64]], depth: int) -> NDArray[np.float64]:
    """Returns 1 for each query, of both directions, whose answer is within the depth, else 0."""
    return np.concatenate([one < depth for one in found]).astype(np.float64)


def run(work: Path) -> list[Figure]:
    command = [sys.executable, "-m", "pipelines.cli.main", "demo", "--no-train"]
    subprocess.run([*command, "--work", str(work / "demo")], check=True, stdout=subprocess.DEVNULL)
    runs = [train(work, seed) for seed in SEEDS]
    print(f"{'':<18} {'image to text':^27}   {'text to image':^27}")
    print(f"{'':<18} " + "   ".join([f"{'R@1':>6} {'R@5':>6} {'R@10':>6} {'rank':>6}"] * 2))
    trained, before = [], []
    for seed, (folder, _) in zip(SEEDS, runs, strict=True):
        model, _ = load_run(folder)
        trained.append(ranks(model, work))
        before.append(ranks(untrained(model), work))
        show(f"seed {seed} trained", trained[-1])
        show(f"seed {seed} untrained", before[-1])
    gains = {
        depth: metrics.paired_bootstrap(
            [hits(one, depth) for one in before], [hits(one, depth) for one in trained], seed=0
        )
        for depth in DEPTHS
    }
    gain, low, high = (100 * value for value in gains[10])
    print(f"gain in R@10: {gain:.1f} points, 95 % interval {low:.1f} to {high:.1f}")
    by_seed = [
        100 * (hits(one, 10).mean() - hits(other, 10).mean())
        for one, other in zip(trained, before, strict=True)
    ]
    return [
        Figure("held_out_r10_gain", gain, "points", ">=", 15),
        Figure("held_out_r10_gain_low", low, "points", ">=", 5),
        Figure("held_out_r10_gain_worst_seed", float(min(by_seed)), "points", ">=", 10),
        Figure("held_out_r5_gain", 100 * gains[5][0], "points", ">=", 7.5),
        Figure("training", max(seconds for _, seconds in runs), "s", "<=", 45),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        figures = run(Path(folder))
    report("learning", figures, ("jax", "jaxlib", "flax", "optax", "numpy", "sentencepiece"))


if __name__ == "__main__":
    main()
