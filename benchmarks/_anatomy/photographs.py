"""Photographs of chest films: what a telephone costs, and what finding and learning bring back.

Admission to intensive care from frontal chest films (five folds by patient, intervals by
patient), by a frozen EfficientNet-Lite0. Films of other patients teach a finder the corners of
films; training films are photographed by `asfusion.imaging.photographs.degrade`; those that
judge by another model of photographs (`_other_photographs`), several of each film.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from _anatomy._other_photographs import photograph_otherwise
from sklearn.model_selection import StratifiedGroupKFold

import asfusion as af
from asfusion.imaging import read_image
from asfusion.imaging.photographs import augment_rows, corner_annotations, rectify_rows

SEVERITIES, PICTURES = (3, 5), 2


def read_films(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return films with a known outcome, and those of other patients."""
    cohort = pd.read_csv(folder / "cohort.csv")
    cohort["film"] = [str(folder / name) for name in cohort["image"]]
    judged = cohort[cohort["is_frontal"] & cohort["label_icu"].notna()].reset_index(drop=True)
    return judged, cohort[~cohort["group"].isin(judged["group"])]


def make_finder(others: pd.DataFrame) -> af.anatomy.LandmarkFinder:
    """Return what finds the corners of films, learned from films of other patients."""
    shown, corners = corner_annotations(list(others["film"]), copies=3, random_state=0)
    finder = af.anatomy.LandmarkFinder(corners, epochs=40, mirrored=(), verbose=0, random_state=0)
    return finder.fit(shown, groups=np.repeat(others["group"].to_numpy(), 4))


def photographed(films: pd.DataFrame, severity: int) -> pd.DataFrame:
    """Return `PICTURES` photographs of each film, by the other model."""
    parts = [
        films.assign(
            film=[
                photograph_otherwise(read_image(path), severity, 1000 * number + row)
                for row, path in enumerate(films["film"])
            ]
        )
        for number in range(PICTURES)
    ]
    return pd.concat(parts, ignore_index=True)


def out_of_fold(
    taught: pd.DataFrame, asked: dict[str, pd.DataFrame], folds: list[tuple[np.ndarray, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return what models say of rows whose patients they have not seen."""
    said = {name: np.full(len(table), np.nan) for name, table in asked.items()}
    for learn, _ in folds:
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
    folder = Path(getattr(args, "data", None) or "../shared/data") / "cxr"
    films, others = read_films(folder)
    films = films[["film", "group"]].assign(icu=films["label_icu"].astype(int))
    finder = make_finder(others)
    print(f"{len(films)} films of {films['group'].nunique()} patients; corners learned from "
          f"{len(others)} others, {time.perf_counter() - begun:.0f} s")  # fmt: skip
    asked = {"films": films}
    asked |= {f"photographs {s}": photographed(films, s) for s in SEVERITIES}
    flat = {name: rectify_rows(table, "film", finder) for name, table in asked.items()}
    splits = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    folds = [
        (films["group"].to_numpy()[a], films["group"].to_numpy()[b])
        for a, b in splits.split(films, films["icu"], films["group"])
    ]
    more, _, _ = augment_rows(films, films["icu"], "film", copies=4, random_state=1)
    more_flat, _, _ = augment_rows(
        films, films["icu"], "film", copies=4, finder=finder, random_state=1
    )
    ways = {
        "films": out_of_fold(films, asked, folds),
        "films, rectified": out_of_fold(films, flat, folds),
        "+ photographs": out_of_fold(more, asked, folds),
        "+ photographs, rectified": out_of_fold(more_flat, flat, folds),
    }
    print(f"{'learned from':<28}" + "".join(f"{name:>26}" for name in asked))
    for way, said in ways.items():
        cells = [_auc(said[name], table) for name, table in asked.items()]
        print(f"{way:<28}" + "".join(f"{cell:>26}" for cell in cells), flush=True)
    print(f"{time.perf_counter() - begun:.0f} s in all")


def _auc(said: np.ndarray, table: pd.DataFrame) -> str:
    report = af.evaluate(said, y=table["icu"], groups=table["group"], n_bootstrap=1000)
    auc = report.scores["auc"]
    return f"{auc.estimate:.3f} ({auc.low:.3f}-{auc.high:.3f})"
