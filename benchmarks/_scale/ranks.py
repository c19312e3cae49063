"""Two processes of torchrun beside one: the same model, in less time.

A small convolution network on drawn squares, group norm and no dropout or augmentation, for which
equality is promised. One process has one thread, and each of two has one. Wall clock of a fit whose
process has fitted before, so that nothing is loaded any more. It needs two quiet cores; the load of
the machine is printed beside.
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
    rounds = args.rounds or (1 if args.quick else 3)
    n_films, epochs = (32, 1) if args.quick else (256, 4)
    times, apart = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            one = fitted(Path(folder) / "one", 1, n_films, epochs)
            two = fitted(Path(folder) / "two", 2, n_films, epochs)
        times.append((one["seconds"], two["seconds"]))
        apart.append(float(np.abs(one["told"] - two["told"]).max()))
    faster = statistics.median(one / two for one, two in times)
    first, second = (statistics.median(part) for part in zip(*times, strict=True))
    print("| CNN, films x epochs | one, s | two, s | times as fast | at least | apart | at most |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {n_films} x {epochs} | {first:.1f} | {second:.1f} | {faster:.2f} | {LIMIT_FASTER} | "
        f"{max(apart):.1e} | {LIMIT_EQUAL} |"
    )
    print(
        f"\nLoad of the machine in the last minute: {os.getloadavg()[0]:.1f} of {os.cpu_count()}."
    )


def fitted(folder: Path, n_ranks: int, n_films: int, epochs: int) -> dict[str, np.ndarray]:
    """Return what the first process says and how long its epochs took."""
    folder.mkdir()
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n_ranks}"]
    script = [__file__, str(folder), str(n_films), str(epochs)]
    command = [sys.executable, *(launch if n_ranks > 1 else []), *script]
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    own = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    subprocess.run(command, env=own, check=True)
    return dict(np.load(folder / "0.npz"))


def script(folder: Path, n_films: int, epochs: int) -> None:
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
            {"film": xray}, max_epochs=n_epochs, batch_size=32, early_stopping=False,
            device="cpu", verbose=0, random_state=0,
        )  # fmt: skip
        return model.fit(X[:n_rows], y[:n_rows])

    fit(16, 1)
    begun = time.perf_counter()
    model = fit(n_films, epochs)
    seconds = time.perf_counter() - begun
    told = model.predict_proba(X[:32])[:, 1]
    np.savez(folder / f"{os.environ.get('RANK', '0')}.npz", told=told, seconds=seconds)


if __name__ == "__main__":
    script(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
