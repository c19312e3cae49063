"""Two processes of torchrun beside one: the same model, in less time.

A small convolution network on drawn squares, group norm and no dropout or augmentation, for which
equality is promised. In float32 two processes differ as two threads and one do: what is rounded
otherwise grows from step to step. So they are held to 1e-6 in float64, and to the clock in float32.
One process has one thread, and each of two has one. Wall clock of a fit whose process has fitted
before, so that nothing is loaded any more. It needs two quiet cores; the load of the machine is
printed beside.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LIMIT_EQUAL, LIMIT_FASTER = 1e-6, 1.6


def run(args: argparse.Namespace) -> None:
    n_films, epochs = (32, 1) if args.quick else (256, 4)
    print("| CNN, films x epochs | one, s | two, s | times as fast | limit | apart | limit |")
    print("|---|---|---|---|---|---|---|")
    for precision in args.only or ["float32", "float64"]:
        rounds = 1 if args.quick or precision == "float64" else (args.rounds or 3)
        pairs = [pair(n_films, epochs, precision) for _ in range(rounds)]
        faster = statistics.median(one["seconds"] / two["seconds"] for one, two in pairs)
        first, second = (
            statistics.median(float(process["seconds"]) for process in side)
            for side in zip(*pairs, strict=True)
        )
        apart = max(float(np.abs(one["told"] - two["told"]).max()) for one, two in pairs)
        limits = (LIMIT_FASTER, "") if precision == "float32" else ("", LIMIT_EQUAL)
        print(
            f"| {n_films} x {epochs}, {precision} | {first:.1f} | {second:.1f} | {faster:.2f} | "
            f"{limits[0]} | {apart:.1e} | {limits[1]} |",
            flush=True,
        )
    load = os.getloadavg()[0]
    print(f"\nLoad of the machine in the last minute: {load:.1f} on {os.cpu_count()} cores.")


def pair(n_films: int, epochs: int, precision: str) -> list[dict[str, np.ndarray]]:
    """Return what one process and what two of them say."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            fitted(Path(folder) / str(n_ranks), n_ranks, n_films, epochs, precision)
            for n_ranks in (1, 2)
        ]


def fitted(
    folder: Path, n_ranks: int, n_films: int, epochs: int, precision: str
) -> dict[str, np.ndarray]:
    """Return what the first process says and how long its epochs took."""
    folder.mkdir()
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n_ranks}"]
    script = [__file__, str(folder), str(n_films), str(epochs), precision]
    command = [sys.executable, *(launch if n_ranks > 1 else []), *script]
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    own = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    subprocess.run(command, env=own, check=True)
    return dict(np.load(folder / "0.npz", allow_pickle=False))


def script(folder: Path, n_films: int, epochs: int, precision: str) -> None:
    """Fit once to get ready, and once for the clock."""
    import pandas as pd
    import torch

    import asfusion as af

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    films = rng.integers(0, 256, (n_films, 96, 96), dtype=np.uint8)
    y = np.arange(n_films) % 2
    films[y == 1, 30:60, 30:60] //= 2
    X = pd.DataFrame({"film": list(films)})

    def fit(n_rows: int, n_epochs: int) -> af.JointFusionClassifier:
        xray = af.ImageEncoder("film", size=96, norm="group", augment=False, dropout=0.0)
        model = af.JointFusionClassifier(
            {"film": xray}, training=af.TrainingOptions(precision=precision), batch_size=32,
            max_epochs=n_epochs, early_stopping=False, device="cpu", verbose=0, random_state=0,
        )  # fmt: skip
        return model.fit(X[:n_rows], y[:n_rows])

    fit(16, 1)
    begun = time.perf_counter()
    model = fit(n_films, epochs)
    seconds = time.perf_counter() - begun
    told = model.predict_proba(X[:32])[:, 1]
    np.savez(folder / f"{os.environ.get('RANK', '0')}.npz", told=told, seconds=seconds)


if __name__ == "__main__":
    script(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
