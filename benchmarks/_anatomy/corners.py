"""Corners of the spine: found, graded and added up, on another seed than learned from.

A `CornerScorer` with its defaults learns from fine films (0.5 mm) of a cohort with damage as in
studies, and is judged on another cohort: how near landmarks are (a corner that is lost counts as
far), whether they are of the right vertebra (nearest among corners of their kind), how the grades
agree with those that were drawn, the sum, and how often its interval holds the truth. Beside it
stand the same network at true places, which no finder can beat, and what needs no finder: one
network that reads both films whole, at 224 pixels, and predicts the grades of all corners at once,
and one that predicts the sum. Intervals are of patients.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _anatomy._shares import by_patient, share
from sklearn.metrics import cohen_kappa_score, roc_auc_score

import asfusion as af
from asfusion.clinical import CERVICAL_CORNERS, LUMBAR_CORNERS
from asfusion.imaging.original import read_original

CORNERS = CERVICAL_CORNERS + LUMBAR_CORNERS
GRADES = [f"corner_{corner}" for corner in CORNERS]
VIEWS = ("cervical", "lumbar")
N_LEARN, N_JUDGE = 200, 150
NEAR_MM = 4.0


def run(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        n_judge = min(N_JUDGE, args.patients or N_JUDGE)
        learn = cohort(args.patients or N_LEARN, 0, Path(folder) / "a")
        other = cohort(n_judge, 1, Path(folder) / "b")
        judge(learned(learn, args), other, args)
        tell_whole_grades(learn, other)
        tell_whole_sum(learn, other)


def cohort(n: int, seed: int, folder: Path) -> Any:
    return af.datasets.make_axspa_cohort(
        n, random_state=seed, modalities=["spine"], film_mm=0.5, damage="study", missing=0,
        path=folder,
    )  # fmt: skip


def learned(learn: Any, args: argparse.Namespace) -> af.corners.CornerScorer:
    begun = time.process_time()
    options = {} if args.epochs is None else {"epochs": args.epochs}
    finder = af.anatomy.LandmarkFinder(size=128, **options) if options else None
    scorer = af.corners.CornerScorer(
        learn.corner_points, finder=finder, verbose=0, random_state=0
    ).fit(learn.X, learn.targets, groups=learn.groups)
    print(f"learned from {len(learn.X)} patients in {time.process_time() - begun:.0f} s CPU")
    return scorer


def judge(scorer: Any, other: Any, args: argparse.Namespace) -> None:
    """Print figures of a cohort that was not learned from."""
    begun = time.process_time()
    scores = scorer.score_films(other.X)
    print(f"scored {len(other.X)} patients in {time.process_time() - begun:.0f} s CPU")
    true = other.targets[GRADES].to_numpy(dtype=float)
    if np.isnan(scores.points).all():
        print("every corner is lost: the finders learned too little for figures of what is found")
    else:
        tell_places(scores, other)
        tell_grades("at found places", scores, true, other.groups)
    at_true = scorer.score_films(other.X, points=other.corner_points)
    tell_grades("at true places", at_true, true, other.groups)
    if args.plot:
        for row in np.argsort(-true.sum(axis=1))[[0, 20, 60]]:
            scores.plot(int(row)).savefig(args.plot.with_stem(f"{args.plot.stem}-{row}"), dpi=110)


def tell_places(scores: Any, other: Any) -> None:
    true, spacing = true_places(other)
    told, true = scores.points * spacing[:, :, None], true * spacing[:, :, None]
    apart = np.nan_to_num(np.linalg.norm(told - true, axis=2), nan=np.inf)
    patients = other.groups
    print(f"landmarks, median error (mm): {by_patient(apart, patients, np.median)}")
    print(f"within {NEAR_MM:g} mm: {by_patient(apart <= NEAR_MM, patients, share)}")
    found = np.isfinite(apart)
    wrong = np.where(found, is_of_another(told, true), np.nan)
    print(f"of another vertebra, of those found: {by_patient(wrong, patients, share)}")
    print(f"lost: {by_patient(~found, patients, share)}")
    for view, part in zip(VIEWS, (slice(0, 12), slice(12, 24)), strict=True):
        print(
            f"  {view}: median {np.median(apart[:, part]):.2f} mm, within {NEAR_MM:g} mm "
            f"{(apart[:, part] <= NEAR_MM).mean():.3f}, lost {(~found[:, part]).mean():.3f}"
        )


def true_places(other: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the true corners (N, 24, 2) in pixels, and the edge of a pixel (N, 24) in mm."""
    places = other.corner_points.set_index(["film", "point"])[["x", "y"]]
    at = dict(zip(places.index, places.to_numpy(), strict=True))
    true, spacing = [], []
    for films in other.X[[f"{view}_xray" for view in VIEWS]].to_numpy():
        edges = [read_original(film).spacing_mm[0] for film in films]
        true.append([at[films[k // 12], corner] for k, corner in enumerate(CORNERS)])
        spacing.append([edges[k // 12] for k in range(24)])
    return np.asarray(true), np.asarray(spacing)


def is_of_another(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return which corners (N, 24) are nearer to the same corner of another vertebra."""
    wrong = np.zeros(found.shape[:2], dtype=bool)
    for begin in (0, 1, 12, 13):
        part = slice(begin, begin + 12 - begin % 2, 2)
        apart = np.linalg.norm(found[:, part, None] - true[:, None, part], axis=3)
        wrong[:, part] = np.nan_to_num(apart, nan=0.0).argmin(axis=2) != np.arange(apart.shape[1])
    return wrong


def tell_grades(what: str, scores: Any, true: np.ndarray, patients: np.ndarray) -> None:
    change = 1.0 - scores.probabilities[..., 0]
    both = np.stack([true, scores.grades, change], axis=2)
    sums = np.stack([true.sum(axis=1), scores.total, scores.expected], axis=1)
    inside = (sums[:, 0] >= scores.lower) & (sums[:, 0] <= scores.upper)
    inside = np.where(np.isfinite(scores.total), inside, np.nan)
    width = share(scores.upper - scores.lower)
    print(f"{what}: {np.isnan(scores.grades).mean():.3f} of corners and "
          f"{np.isnan(scores.total).mean():.3f} of sums cannot be read")  # fmt: skip
    print(f"  weighted kappa: {by_patient(both, patients, kappa)}")
    print(f"  any change, AUC: {by_patient(both, patients, auc)}")
    print(f"  ICC(2,1) of the sum: {by_patient(sums[:, :2], patients, icc)}")
    print(f"  ICC(2,1) of the mean sum: {by_patient(sums[:, [0, 2]], patients, icc)}")
    print(f"  sum within its interval of {scores.coverage:.0%}: "
          f"{by_patient(inside, patients, share)}, {width:.1f} wide")  # fmt: skip


def tell_whole_grades(learn: Any, other: Any) -> None:
    """Print how a network agrees that reads whole films and predicts all grades."""
    begun = time.process_time()
    told = whole_films(learn, learn.targets[GRADES], 3).predict(other.X)
    true = other.targets[GRADES].to_numpy(dtype=float)
    print(f"whole films, all grades ({time.process_time() - begun:.0f} s CPU)")
    both = np.stack([true, np.rint(told), told], axis=2)
    sums = np.stack([true.sum(axis=1), told.sum(axis=1)], axis=1)
    print(f"  weighted kappa: {by_patient(both, other.groups, kappa)}")
    print(f"  any change, AUC: {by_patient(both, other.groups, auc)}")
    print(f"  ICC(2,1) of the mean sum: {by_patient(sums, other.groups, icc)}")


def tell_whole_sum(learn: Any, other: Any) -> None:
    """Print how a network agrees that reads whole films and predicts the sum."""
    begun = time.process_time()
    model = whole_films(learn, learn.targets["msasss"], 72)
    told = np.stack([other.targets["msasss"], model.predict(other.X)], axis=1)
    print(f"whole films, the sum alone ({time.process_time() - begun:.0f} s CPU)")
    print(f"  ICC(2,1) of the sum: {by_patient(told, other.groups, icc)}")


def whole_films(learn: Any, y: Any, highest: int) -> af.JointFusionRegressor:
    """Return a network of both films, trained from scratch, of numbers from 0 on."""
    encoders = {view: af.ImageEncoder(f"{view}_xray", size=224) for view in VIEWS}
    model = af.JointFusionRegressor(
        encoders, target=af.targets.Bounded(0, highest), verbose=0, random_state=0
    )
    return model.fit(learn.X, y, groups=learn.groups)


def kappa(both: np.ndarray) -> float:
    known = np.isfinite(both).all(axis=2)
    if not known.any():
        return np.nan
    true, told = both[known][:, 0], both[known][:, 1]
    return float(cohen_kappa_score(true.astype(int), told.astype(int), weights="quadratic"))


def auc(both: np.ndarray) -> float:
    known = np.isfinite(both).all(axis=2)
    is_changed = both[known][:, 0] > 0
    if is_changed.all() or not is_changed.any():
        return np.nan
    return float(roc_auc_score(is_changed, both[known][:, 2]))


def icc(pairs: np.ndarray) -> float:
    """Return the agreement ICC(2,1) of two columns (Shrout and Fleiss 1979)."""
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    n, k = pairs.shape
    if n < 2:
        return np.nan
    mean = pairs.mean()
    rows = k * ((pairs.mean(axis=1) - mean) ** 2).sum() / (n - 1)
    columns = n * ((pairs.mean(axis=0) - mean) ** 2).sum() / (k - 1)
    rest = pairs - pairs.mean(axis=1, keepdims=True) - pairs.mean(axis=0) + mean
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    return float((rows - error) / (rows + (k - 1) * error + k * (columns - error) / n))
