"""Photographs of chest films: what a telephone costs, and what finding and learning bring back.

Admission to intensive care from frontal chest films (five folds by patient, intervals by
patient), by a frozen EfficientNet-Lite0 and the default of early fusion. Films of other patients
teach a finder the corners of films, photographed by `asfusion.imaging.photographs.degrade`, and so
are training films. Columns "by the same" are other scenes of that model; columns "by another" are
photographs by `_other_photographs`, which shares no code and no ranges with it. The last line
has learned from photographs by that very model, of other patients: what could be known at most.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from _anatomy._other_photographs import photograph_otherwise
from sklearn.model_selection import StratifiedGroupKFold

import asfusion as af
from asfusion.imaging import read_image
from asfusion.imaging.photographs import (
    augment_rows,
    corner_annotations,
    degrade,
    rectify_rows,
)
from asfusion.imaging.photographs.camera import as_jpeg

SEVERITIES, COPIES = (3, 5), 3
Photographer = Callable[[np.ndarray, int, int], np.ndarray]


def read_films(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return films with a known outcome, and those of other patients."""
    cohort = pd.read_csv(folder / "cohort.csv")
    cohort["film"] = [str(folder / name) for name in cohort["image"]]
    judged = cohort[cohort["is_frontal"] & cohort["label_icu"].notna()].reset_index(drop=True)
    return judged, cohort[~cohort["group"].isin(judged["group"])]


def make_finder(others: pd.DataFrame, epochs: int) -> af.anatomy.LandmarkFinder:
    """Return what finds the corners of films, learned from films of other patients."""
    shown, corners = corner_annotations(list(others["film"]), copies=5, random_state=0)
    finder = af.anatomy.LandmarkFinder(
        corners, epochs=epochs, mirrored=(), verbose=0, random_state=0
    )
    return finder.fit(shown, groups=np.repeat(others["group"].to_numpy(), 6))


def photographed(films: pd.DataFrame, severity: int, make: Photographer) -> pd.DataFrame:
    """Return films as photographs of their own scenes."""
    photos = [
        as_jpeg(make(read_image(path, channels=3), severity, 50_000 + row), 97)
        for row, path in enumerate(films["film"])
    ]
    return films.assign(film=photos)


def by_the_same(film: np.ndarray, severity: int, seed: int) -> np.ndarray:
    """Return a photograph by the model learned from, of another scene."""
    return degrade(film, severity, seed)[0]


def out_of_fold(
    taught: pd.DataFrame, asked: dict[str, pd.DataFrame], folds: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """Return what models say of rows whose patients they have not seen."""
    said = {name: np.full(len(table), np.nan) for name, table in asked.items()}
    for learn in folds:
        rows = taught[taught["group"].isin(learn)]
        model = af.EarlyFusionClassifier(
            {"film": af.ImageEncoder("film", backbone="efficientnet_lite0")},
            verbose=0,
            random_state=0,
        )
        model.fit(rows[["film"]], rows["icu"], groups=rows["group"])
        for name, table in asked.items():
            held = ~table["group"].isin(learn).to_numpy()
            said[name][held] = model.predict_proba(table.loc[held, ["film"]])[:, 1]
    return said


def run(args: argparse.Namespace) -> None:
    """Print a table: what learned, from what, judged on what."""
    begun = time.perf_counter()
    films, others = read_films(args.data / "cxr")
    films = films[["film", "group"]].assign(icu=films["label_icu"].astype(int))
    finder = make_finder(others, args.epochs or 12)
    print(f"{len(films)} films of {films['group'].nunique()} patients; corners learned from "
          f"{len(others)} others, {time.perf_counter() - begun:.0f} s")  # fmt: skip
    asked = {"films": films}
    for who, make in {"the same": by_the_same, "another": photograph_otherwise}.items():
        asked |= {f"{s}, by {who}": photographed(films, s, make) for s in SEVERITIES}
    flat = {name: rectify_rows(table, "film", finder) for name, table in asked.items()}
    own, _, _ = augment_rows(films, films["icu"], "film", copies=COPIES, random_state=1)
    flat_own = pd.concat([films, rectify_rows(own[len(films) :], "film", finder)])
    best = pd.concat([films, *(flat[f"{s}, by another"] for s in SEVERITIES)])
    splits = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    folds = [
        films["group"].to_numpy()[learn]
        for learn, _ in splits.split(films, films["icu"], films["group"])
    ]
    print(f"{'learned from, asked':<34}" + "".join(f"{name:>21}" for name in asked))
    ways = {
        "films": (films, asked),
        "films, rectified": (films, flat),
        "+ photographs": (own, asked),
        "+ photographs, rectified": (flat_own, flat),
        "+ those by another, rectified": (best, flat),
    }
    for way, (taught, rows) in ways.items():
        said = out_of_fold(taught, rows, folds)
        cells = [_auc(said[name], table) for name, table in asked.items()]
        print(f"{way:<34}" + "".join(f"{cell:>21}" for cell in cells), flush=True)
    print(f"{time.perf_counter() - begun:.0f} s in all")


def _auc(said: np.ndarray, table: pd.DataFrame) -> str:
    report = af.evaluate(said, y=table["icu"], groups=table["group"], n_bootstrap=1000)
    auc = report.scores["auc"]
    return f"{auc.estimate:.3f} ({auc.low:.2f}-{auc.high:.2f})"
