"""Lungs on real chest films, against radiologists' boxes.

338 films in two halves by patient; a finder learns from one half and is judged on the other, and
the other way round. The network, its loss, its size and its passes were chosen by folds within
the first half of seed 0 (mean overlap on held-out patients), and so was it that boxes are refined
in windows: films judged in the second half of seed 0 had no part in it, so that its figures stand
alone, too. Beside it, the median box of the
training half, in shares of the film.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

import numpy as np
import pandas as pd
from _anatomy._shares import by_patient

import asfusion as af
from asfusion.imaging.original import read_original

CHOSEN = {"size": 64, "epochs": 100}  # lungs are large: small squares, more passes
SIDES, EDGES = ("right", "left"), ("x0", "y0", "x1", "y1")


def run(args: argparse.Namespace) -> None:
    table = pd.read_csv(args.data / "lungs" / "boxes.csv")
    groups = pd.read_csv(args.data / "cxr" / "cohort.csv").set_index("image")["group"]
    patients = groups.loc[table["image"]].to_numpy()
    films = [str(args.data / "cxr" / image) for image in table["image"]]
    true = np.stack([table[[f"{s}_{e}" for e in EDGES]].to_numpy() for s in SIDES], axis=1)
    annotations = long_table(films, true)
    for seed in range(args.seeds):
        one_seed(args, films, true, annotations, patients, seed)


def one_seed(args, films, true, annotations, patients, seed) -> None:
    first = half_of(patients, seed)
    boxes, sure = np.empty_like(true), np.empty(true.shape[:2])
    usual = np.empty_like(true)
    size = np.array([read_original(film).pixels.shape[:0:-1] for film in films], dtype=float)
    whole = np.concatenate([size, size], axis=1)[:, None]
    begun = time.process_time()
    options = {**CHOSEN} if args.epochs is None else {**CHOSEN, "epochs": args.epochs}
    for learn in (first, ~first):
        finder = af.anatomy.RegionFinder(annotations, verbose=0, random_state=seed, **options)
        finder.fit([f for f, i in zip(films, learn, strict=True) if i], groups=patients[learn])
        found = finder.find([f for f, i in zip(films, ~learn, strict=True) if i])
        boxes[~learn], sure[~learn] = found.boxes, found.confidence
        usual[~learn] = np.median(true[learn] / whole[learn], axis=0) * whole[~learn]
        if args.plot:
            order = np.argsort(np.nanmean(overlap(boxes[~learn], true[~learn]), axis=1))
            chosen = order[np.linspace(0, len(order) - 1, 8).astype(int)]
            found.plot(chosen).savefig(args.plot, dpi=110)
    print(f"seed {seed}: {len(films)} films, {time.process_time() - begun:.0f} s of processor time")
    for name, given in (("finder", boxes), ("median box", usual)):
        shared = overlap(given, true)
        told = by_patient(shared, patients), by_patient(shared > 0.7, patients)
        print(f"{name:<12} mean overlap {told[0]}   above .7: {told[1]}", flush=True)
        for half, rows in (("first", first), ("second", ~first)):
            own = shared[rows]
            print(f"  judged in the {half} half: {own.mean():.3f}, {(own > 0.7).mean():.3f}")
    calibration(sure, overlap(boxes, true) > 0.5)


def calibration(sure: np.ndarray, right: np.ndarray) -> None:
    """Print how often findings are right, by how sure they are."""
    edges = (0.0, 0.5, 0.8, 0.95, 1.01)
    for low, high in pairwise(edges):
        own = (sure >= low) & (sure < high)
        if own.any():
            told = f"mean {sure[own].mean():.2f}, right {right[own].mean():.2f}"
            print(f"confidence {low:.2f} to {min(high, 1):.2f}: {own.sum():>4} findings, {told}")


def half_of(patients: np.ndarray, seed: int) -> np.ndarray:
    """Return which rows are in the first half; patients stay whole."""
    names = np.random.default_rng(seed).permutation(np.unique(patients))
    return np.isin(patients, names[: len(names) // 2])


def overlap(boxes: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return intersection over union of boxes; 0 where one was lost."""
    low, high = np.maximum(boxes, true)[..., :2], np.minimum(boxes, true)[..., 2:]
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (boxes, true)]
    return np.nan_to_num(shared / (areas[0] + areas[1] - shared))


def long_table(films: list[str], true: np.ndarray) -> pd.DataFrame:
    rows = [
        [film, f"{side}_lung", *box]
        for film, pair in zip(films, true.tolist(), strict=True)
        for side, box in zip(SIDES, pair, strict=True)
    ]
    return pd.DataFrame(rows, columns=["film", "region", *EDGES])
