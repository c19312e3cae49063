"""Fusion of labs, notes, genes and radiographs of synthetic patients, against each alone.

Run: ``python benchmarks/cohort_fusion.py [--plot cohort-board.png]``

The synthetic cohort has a planted disease, so that fusion ought to help: each modality
holds a part of it. The pelvic radiograph is read by EfficientNet-Lite0 (ImageNet weights,
frozen, from the extra ``pretrained``), the note by its words. What is learned here is whether
the library finds what is there, nothing about patients.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

import asfusion as af


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", type=Path, help="folder of finished answers")
    parser.add_argument("--plot", type=Path, help="file for the picture")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        modalities = ["labs", "notes", "genes", "xray"]
        cohort = af.datasets.make_axspa_cohort(
            arguments.patients, random_state=0, path=folder, modalities=modalities
        )
        encoders = af.infer_encoders(cohort.X)
        encoders["pelvis_xray"] = af.ImageEncoder("pelvis_xray", backbone="efficientnet_lite0")
        board = af.compare(
            cohort.X,
            cohort.y,
            encoders,
            groups=cohort.groups,
            cv=arguments.folds,
            seeds=range(arguments.seeds),
            fusions=("concat", "attention"),
            combines=("mean", "product"),
            checkpoint=arguments.checkpoint,
        )
    print(f"{board}\n{time.perf_counter() - begun:.0f} s in all")
    pd.set_option("display.width", 200, "display.max_rows", 100, "display.max_columns", 20)
    print(board.to_frame()[["seconds"]].round(1).T.to_string())
    if arguments.plot:
        board.plot().figure.savefig(arguments.plot, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main()
