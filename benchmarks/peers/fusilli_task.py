"""Fusilli on the rows of the peers' benchmark; run by ``run.py``. Fusilli is under AGPL-3.

It has no `predict`: it takes training and test rows in one file, with test labels, and stops on
them. Test labels are therefore zeros here, early stopping is given no patience to use, and
probabilities are asked of the network that it returns.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fusilli.data import prepare_fusion_data
from fusilli.fusionmodels.tabularfusion.concat_feature_maps import ConcatTabularFeatureMaps
from fusilli.fusionmodels.tabularimagefusion.concat_img_maps_tabular_maps import (
    ConcatImageMapsTabularMaps,
)
from fusilli.train import train_and_save_models
from harness import Model, Peer, Rows, Task, main
from lightning.pytorch.callbacks import EarlyStopping
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import StandardScaler

IMAGES, ALL = ("cxr", "axspa"), ("cxr", "axspa", "rosmap")


# user code begins: shared
def write_table(file: Path, train: np.ndarray, test: np.ndarray, y: np.ndarray) -> str:
    values = np.vstack([train, test])
    table = pd.DataFrame(values, columns=[f"c{i}" for i in range(values.shape[1])])
    table.insert(0, "ID", np.arange(len(table)))
    table["prediction_label"] = np.concatenate([y, np.zeros(len(test), dtype=int)])
    table.to_csv(file, index=False)
    return str(file)


def numbers_of(train: pd.DataFrame, test: pd.DataFrame, task: Task) -> list[np.ndarray]:
    """Return the table as scaled numbers: medians for missing ones, categories as columns."""
    both = pd.get_dummies(pd.concat([train, test])[task.table], columns=task.categories)
    table, table_test = both.iloc[: len(train)], both.iloc[len(train) :]
    medians = table.median().fillna(0.0)
    scaler = StandardScaler().fit(table.fillna(medians).astype(float))
    return [scaler.transform(part.fillna(medians).astype(float)) for part in (table, table_test)]


def fit_predict(method: Any, sources: dict[str, str], n: int, task: Task) -> tuple[Any, Any]:
    folders = dict.fromkeys(("checkpoints", "losses", "figures"), task.scratch)
    test = list(range(n, len(pd.read_csv(sources["tabular1"]))))
    never = EarlyStopping(monitor="val_loss", patience=task.epochs + 1)
    data = prepare_fusion_data(
        prediction_task="binary",
        fusion_model=method,
        data_paths=sources,
        output_paths=folders,
        test_indices=test,
        batch_size=task.batch_size,
        max_epochs=task.epochs,
        own_early_stopping_callback=never,
    )
    model = train_and_save_models(data, method, max_epochs=task.epochs, enable_checkpointing=False)[
        0
    ].eval()
    with torch.no_grad():
        inputs = zip(*[data.dataset[i][:-1] for i in test], strict=True)
        logits = model.model(*(torch.stack(part) for part in inputs))
    return torch.sigmoid(logits.squeeze(1)).numpy(), model


# user code ends


def images(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    torch.manual_seed(task.seed)
    folder = Path(task.scratch)
    # user code begins: table + image, its own network
    tables = numbers_of(train.frame, test.frame, task)
    pixels = torch.zeros(len(train) + len(test), 1, task.size, task.size)
    for row, path in enumerate([*train.frame["image"], *test.frame["image"]]):
        if path is not None:
            pixels[row, 0] = torch.from_numpy(np.array(Image.open(path), dtype=np.float32) / 255)
    torch.save((pixels - 0.5) / 0.25, folder / "images.pt")
    sources = {
        "tabular1": write_table(folder / "table.csv", *tables, train.y),
        "tabular2": "",
        "image": str(folder / "images.pt"),
    }
    proba, model = fit_predict(ConcatImageMapsTabularMaps, sources, len(train), task)
    # user code ends
    return proba, model


def tables(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    torch.manual_seed(task.seed)
    folder = Path(task.scratch)
    if task.blocks:
        blocks = [blocks_of(train, test, columns) for columns in task.blocks.values()]
        return fit_tables(blocks, train, folder, task)
    # user code begins: three tables: labs, embedding, words
    words = TfidfVectorizer(max_features=300).fit(train.frame["note"].fillna(""))
    notes = [words.transform(part.frame["note"].fillna("")).toarray() for part in (train, test)]
    scaler = StandardScaler().fit(train.embedding)
    films = [np.nan_to_num(scaler.transform(part.embedding)) for part in (train, test)]
    blocks = [numbers_of(train.frame, test.frame, task), films, notes]
    proba, model = fit_tables(blocks, train, folder, task)
    # user code ends
    return proba, model


# user code begins: three tables: labs, embedding, words
def fit_tables(blocks: Any, train: Rows, folder: Path, task: Task) -> tuple[Any, Any]:
    sources = {
        f"tabular{i}": write_table(folder / f"{i}.csv", *block, train.y)
        for i, block in enumerate(blocks, start=1)
    }
    return fit_predict(ConcatTabularFeatureMaps, sources, len(train), task)


# user code ends


def blocks_of(train: Rows, test: Rows, columns: list[str]) -> list[np.ndarray]:
    scaler = StandardScaler().fit(train.frame[columns])
    return [scaler.transform(part.frame[columns]) for part in (train, test)]


def raw(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    """Hand over what is there; Fusilli reads files of numbers and does nothing to them."""
    folder = Path(task.scratch)
    frames = [part.frame for part in (train, test)]
    values = [frame[task.numbers].to_numpy().astype(float) for frame in frames]
    pixels = torch.zeros(len(train) + len(test), 1, task.size, task.size)
    for row, path in enumerate([*frames[0]["image"], *frames[1]["image"]]):
        pixels[row, 0] = (
            torch.nan
            if path is None
            else torch.from_numpy(np.array(Image.open(path), dtype=np.float32) / 255)
        )
    torch.save(pixels, folder / "images.pt")
    table = write_table(folder / "table.csv", *values, train.y)
    sources = {"tabular1": table, "tabular2": "", "image": str(folder / "images.pt")}
    return fit_predict(ConcatImageMapsTabularMaps, sources, len(train), task)


def make() -> Peer:
    os.environ["WANDB_MODE"] = "disabled"
    return Peer(
        package="fusilli",
        models={
            "three tables: labs, embedding, words": Model(
                tables, "image, table, note", "same features", ALL, epochs=30
            ),
            "table + image, its own network": Model(images, "image, table", "as it comes", IMAGES),
        },
        raw=raw,
        reads=("image", "number"),
        reads_frames=False,
        notes=(
            "installs with --no-deps only: it asks for setuptools of one release and numpy < 2",
            "no predict and no text; stops early on the rows that it reports",
        ),
    )


if __name__ == "__main__":
    main(__file__, make)
