"""Write the inputs that every peer reads: rows, folds, images, one frozen embedding.

Run: ``python benchmarks/peers/prepare.py --data ../shared/data --out .peers/data``
(with asfusion and its extra ``pretrained``; ``run.py`` does it)

One folder per data set: ``rows.json`` (table, note, two paths of images: ``image`` of 96
pixels for networks that start untrained, ``film`` of 224), ``embedding.npy`` (EfficientNet-Lite0
with ImageNet weights, NaN where there is no image) and ``task.json``. Folds keep patients
together; nothing is imputed or scaled.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.model_selection import StratifiedGroupKFold

import asfusion as af

sys.path.insert(0, str(Path(__file__).parents[1]))
from cxr_fusion import TABLE, read_cohort
from tables import read_rosmap

SIZE, FILM_SIZE, N_FOLDS = 96, 224, 3


def write_task(
    folder: Path,
    frame: pd.DataFrame,
    y: np.ndarray,
    groups: np.ndarray,
    folds: list[np.ndarray],
    **more: Any,
) -> None:
    """Write one data set; `folds` are the row numbers of each test part."""
    folder.mkdir(parents=True, exist_ok=True)
    # JSON, not Parquet: pyarrow and the numpy of some peers exclude each other.
    columns = {str(n): frame[n].astype(object).where(frame[n].notna(), None) for n in frame}
    rows = {name: column.tolist() for name, column in columns.items()}
    (folder / "rows.json").write_text(json.dumps(rows))
    task = {
        "y": y.astype(int).tolist(),
        "groups": groups.tolist(),
        "folds": [fold.tolist() for fold in folds],
        **more,
    }
    (folder / "task.json").write_text(json.dumps(task))


def make_folds(y: np.ndarray, groups: np.ndarray) -> list[np.ndarray]:
    cv = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0)
    return [test for _, test in cv.split(y, y, groups)]


def write_images(folder: Path, paths: pd.Series) -> pd.DataFrame:
    """Write each film in two sizes, fitted into a square, and return both columns."""
    columns: dict[str, list[str | None]] = {"image": [], "film": []}
    for number, path in enumerate(paths):
        for name, size in (("image", SIZE), ("film", FILM_SIZE)):
            if not isinstance(path, str):
                columns[name].append(None)
                continue
            file = folder / name / f"{number:04}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = af.imaging.read_image(path, size=size)
            Image.fromarray(np.asarray(pixels, dtype=np.uint8).squeeze()).save(file)
            columns[name].append(str(file))
    return pd.DataFrame(columns, index=paths.index)


def embed(folder: Path, frame: pd.DataFrame) -> float:
    """Write the frozen embedding of each film and return the seconds that it took."""
    begun = time.perf_counter()
    encoder = af.ImageEncoder("film", backbone="efficientnet_lite0").fit(frame)
    np.save(folder / "embedding.npy", encoder.transform(frame).astype(np.float32))
    return time.perf_counter() - begun


def prepare_images(folder: Path, X: pd.DataFrame, y: Any, groups: Any, kinds: Any) -> None:
    """Write a data set of image, table and note; `kinds` says which columns are what."""
    y, groups = np.asarray(y), np.asarray(groups)
    frame = X[[*kinds["numbers"], *kinds["categories"]]].copy()
    for name in kinds["numbers"]:
        frame[name] = frame[name].astype(float)
    for name in kinds["categories"]:
        frame[name] = frame[name].astype("object").where(frame[name].notna(), None).astype(str)
        frame.loc[X[name].isna(), name] = None
    frame["note"] = X[kinds["note"]]
    frame = pd.concat([frame, write_images(folder, X[kinds["image"]])], axis=1)
    seconds = embed(folder, frame)
    write_task(
        folder,
        frame,
        y,
        groups,
        make_folds(y, groups),
        numbers=kinds["numbers"],
        categories=kinds["categories"],
        blocks={},
        seeds=[0],
        size=SIZE,
        embedding_s=round(seconds, 2),
    )


def prepare_cxr(data: Path, out: Path) -> None:
    X, y, groups = read_cohort(data / "cxr")
    categories = ["sex", "view"]
    numbers = [name for name in TABLE if name not in categories]
    kinds = {"numbers": numbers, "categories": categories, "note": "notes_masked", "image": "image"}
    prepare_images(out / "cxr", X, y, groups, kinds)


def prepare_axspa(data: Path, out: Path) -> None:
    del data
    with tempfile.TemporaryDirectory() as folder:
        modalities = ["labs", "notes", "xray"]
        cohort = af.datasets.make_axspa_cohort(
            300, random_state=0, path=folder, modalities=modalities
        )
        categories = ["sex", "smoker"]
        texts = [*categories, "clinical_note", "pelvis_xray"]
        numbers = [str(name) for name in cohort.X.columns if name not in texts]
        kinds = {"numbers": numbers, "categories": categories}
        kinds |= {"note": "clinical_note", "image": "pelvis_xray"}
        prepare_images(out / "axspa", cohort.X, cohort.y, cohort.groups, kinds)


def prepare_rosmap(data: Path, out: Path) -> None:
    parts = read_rosmap(data / "mogonet")
    (X, y), (X_test, y_test) = parts["tr"], parts["te"]
    rows = pd.concat([X, X_test], ignore_index=True)
    blocks = {f"omics{i}": [c for c in X if c.startswith(f"omics{i}_")] for i in (1, 2, 3)}
    number = np.arange(len(rows))
    write_task(
        out / "rosmap",
        rows,
        np.concatenate([y, y_test]),
        number,
        [number[len(X) :]],
        numbers=list(rows),
        categories=[],
        blocks=blocks,
        seeds=[0, 1, 2],
        size=0,
    )


MAKERS = {"cxr": prepare_cxr, "axspa": prepare_axspa, "rosmap": prepare_rosmap}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path(".peers/data"))
    parser.add_argument("--only", choices=MAKERS, help="one data set")
    arguments = parser.parse_args()
    for name, make in MAKERS.items():
        if arguments.only in (None, name):
            begun = time.perf_counter()
            make(arguments.data, arguments.out)
            print(f"{name}: {time.perf_counter() - begun:.1f} s")


if __name__ == "__main__":
    main()
