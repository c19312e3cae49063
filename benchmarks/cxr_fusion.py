"""Fusion of image, table and note on real chest radiographs, against each of them alone.

Run: ``python benchmarks/cxr_fusion.py --data ../shared/data/cxr --out cxr-board``

Frontal radiographs of a public COVID-19 image collection with a known admission to
intensive care; patients stay in one fold, intervals resample patients. The image is read
by EfficientNet-Lite0 (ImageNet weights, frozen), the note with outcome words masked.
Everything on the board shares folds and seeds; ``plain`` rows are scikit-learn alone, a
linear model per modality on the same frozen features and their mean.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import asfusion as af

TABLE = [
    "offset",
    "age",
    "sex",
    "view",
    "temperature",
    "pO2_saturation",
    "leukocyte_count",
    "neutrophil_count",
    "lymphocyte_count",
]


def read_cohort(folder: Path) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """Return rows, label and patient of frontal images with a known outcome."""
    cohort = pd.read_csv(folder / "cohort.csv")
    cohort = cohort[cohort["is_frontal"] & cohort["label_icu"].notna()].reset_index(drop=True)
    cohort["image"] = [str(folder / name) for name in cohort["image"]]
    X = cohort[["image", "notes_masked", *TABLE]]
    return X, cohort["label_icu"].astype(int), cohort["group"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/cxr"))
    parser.add_argument("--out", type=Path, help="folder for the table and the picture")
    parser.add_argument("--plot", type=Path, help="file for the picture alone")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    X, y, groups = read_cohort(arguments.data)
    print(f"{len(X)} rows, {int(y.sum())} positive, {groups.nunique()} patients")
    begun = time.perf_counter()
    board = af.compare(
        X,
        y,
        {
            "image": af.ImageEncoder("image", backbone="efficientnet_lite0"),
            "table": af.TabularEncoder(TABLE),
            "notes": af.TextEncoder("notes_masked", backbone="tfidf"),
        },
        groups=groups,
        seeds=range(arguments.seeds),
        fusions=("concat", "gated", "attention"),
        combines=("mean", "product"),
        estimators={
            "logistic": make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=5000)),
            "forest": RandomForestClassifier(300, min_samples_leaf=3),
        },
        n_bootstrap=2000,
    )
    pd.set_option("display.width", 200, "display.max_rows", 100, "display.max_columns", 20)
    print(board.to_frame().to_string())
    print(board.verdict)
    print(f"{time.perf_counter() - begun:.0f} s in all")
    if arguments.plot:
        board.plot().figure.savefig(arguments.plot, dpi=150, bbox_inches="tight")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        board.to_frame().to_csv(arguments.out / "board.csv")
        board.plot().figure.savefig(arguments.out / "board.png", dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main()
