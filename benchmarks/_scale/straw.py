"""Figures of the documentation beside the best rival of a competent user, not a straw man.

Each line stands for a benchmark of its own, which also shows the rivals that are easier to beat:
``bootstrap.py``, ``explain.py``, ``lab_events.py``, ``images.py`` and ``genome.py``. Both sides run
in turns; processor time, medians of pairs. A ratio below 1 is lost.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from asfusion.evaluation.intervals import bootstrap_scores, draw_counts
from asfusion.evaluation.metrics import BinaryScorer

HERE = Path(__file__).resolve().parents[1]
Pair = tuple[float, float]  # seconds of the rival, and ours


def run(args: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rounds = args.rounds or (2 if args.quick else 3)
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    print(f"processor seconds, medians of {rounds} pairs, in turns")
    print(f"{'':<34}{'best rival':<34}{'its':>9}{'ours':>9}{'ratio':>8}")
    for name, (rival, lines) in LINES.items():
        if args.only and name not in args.only:
            continue
        with lines(quick=args.quick) as pair:
            pair()  # warm
            pairs = [pair() for _ in range(rounds)]
        theirs, ours = (statistics.median(each[side] for each in pairs) for side in (0, 1))
        ratio = statistics.median(other / own for other, own in pairs)
        print(f"{name:<34}{rival:<34}{theirs:>9.3f}{ours:>9.3f}{ratio:>8.2f}", flush=True)


@contextmanager
def _intervals(*, quick: bool) -> Iterator[Callable[[], Pair]]:
    import bootstrap

    n = 300 if quick else 2000
    y, p, groups = bootstrap.make(5000, 7500)
    counts = torch.cat([torch.from_numpy(c) for c in draw_counts(5000, n, 0, width=7500)]).numpy()

    def pair() -> Pair:
        theirs, _ = bootstrap.sorted_once(y, p, groups, counts)
        begun = time.process_time()
        scorer = BinaryScorer(y, p, threshold=bootstrap.THRESHOLD, groups=groups)
        bootstrap_scores(scorer, n_bootstrap=n, seed=0, width=len(y))
        return theirs, time.process_time() - begun

    yield pair


@contextmanager
def _modalities(*, quick: bool) -> Iterator[Callable[[], Pair]]:
    import explain

    import asfusion as af

    cohort = af.datasets.make_axspa_cohort(100, random_state=0, missing=0.0)
    model, X = explain.make_model(cohort)
    rows = X[explain.N_TRAIN : explain.N_TRAIN + (4 if quick else explain.N_PATIENTS)]

    def pair() -> Pair:
        theirs, _ = explain.by_captum_on_tokens(model, rows)
        ours, _ = explain.by_asfusion(model, X, rows)
        return theirs, ours

    yield pair


@contextmanager
def _films(*, quick: bool) -> Iterator[Callable[[], Pair]]:
    import images

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.dcm"
        path.write_bytes(images.dicom_bytes(images.radiograph()))
        images.resize_module._COMPILE_AFTER = -1

        def pair() -> Pair:
            found = []
            for way in (images.window_last, images.ours):
                begun = time.process_time()
                for _ in range(3 if quick else 10):
                    way(path)
                found.append(time.process_time() - begun)
            return found[0], found[1]

        yield pair


def _child(script: str, which: str, folder: str, *more: str) -> dict[str, float]:
    """Return what a benchmark says of one way, run in a process of its own."""
    command = [sys.executable, "-P", "-W", "ignore", str(HERE / script), "--run", which, folder]
    done = subprocess.run([*command, *more], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


@contextmanager
def _events(*, quick: bool) -> Iterator[Callable[[], Pair]]:
    import lab_events

    n = 200_000 if quick else 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        lab_events.write_events(Path(folder), n, n // 100)

        def pair() -> Pair:
            theirs, ours = (
                _child("lab_events.py", which, folder, f"{folder}/{which}")["processor"]
                for which in ("polars", "asfusion")
            )
            return theirs, ours

        yield pair


@contextmanager
def _scores(*, quick: bool) -> Iterator[Callable[[], Pair]]:
    import genome

    with tempfile.TemporaryDirectory() as folder:
        genome.write_files(Path(folder), *((1000, 10_000) if quick else (5000, 100_000)))

        def pair() -> Pair:
            theirs, ours = (
                _child("genome.py", which, folder)["seconds"]
                for which in (list(genome.WAYS)[1], "asfusion")
            )
            return theirs, ours

        yield pair


LINES: dict[str, tuple[str, Callable[..., object]]] = {
    "bootstrap": ("numpy, sorted once, Newton", _intervals),
    "modalities": ("Captum on tokens encoded once", _modalities),
    "films": ("float32, window last", _films),
    "events": ("polars, one lazy query", _events),
    "genome": ("PLINK 2, else bed-reader in blocks", _scores),
}
