"""pytorch-widedeep on the rows of the peers' benchmark; run by ``run.py``."""

from __future__ import annotations

from typing import Any

import harness
import numpy as np
import pandas as pd
import torch
from harness import Model, Peer, Rows, Task, main
from PIL import Image

harness.allow_torchvision()

from pytorch_widedeep import Trainer
from pytorch_widedeep.models import BasicRNN, TabMlp, TabNet, Vision, WideDeep
from pytorch_widedeep.preprocessing import ImagePreprocessor, TabPreprocessor, TextPreprocessor

IMAGES, ALL = ("cxr", "axspa"), ("cxr", "axspa", "rosmap")


# user code begins: shared
def read_images(paths: pd.Series, size: int) -> np.ndarray:
    """Return (rows, size, size, 3); a missing image is black."""
    pixels = np.zeros((len(paths), size, size, 3), dtype=np.float32)
    for row, path in enumerate(paths):
        if path is not None:
            pixels[row] = np.asarray(Image.open(path), dtype=np.float32)[..., None] / 255
    return (pixels - 0.5) / 0.25


def filled(train: pd.DataFrame, test: pd.DataFrame, task: Task) -> list[pd.DataFrame]:
    """Return both with medians for missing numbers, and empty notes."""
    medians = train[task.numbers].median().fillna(0.0)
    words = dict.fromkeys(task.categories, "missing") | {"note": ""}
    return [part.fillna({**medians, **words}) for part in (train, test)]


def tabular(train: pd.DataFrame, test: pd.DataFrame, task: Task) -> tuple[Any, Any, Any]:
    """Return the arrays of both, and the network of the table."""
    maker = TabPreprocessor(
        cat_embed_cols=task.categories or None,
        continuous_cols=task.numbers,
        cols_to_scale=task.numbers,
    )
    X, X_test = maker.fit_transform(train), maker.transform(test)
    network = TabMlp(
        column_idx=maker.column_idx,
        cat_embed_input=maker.cat_embed_input if task.categories else None,
        continuous_cols=task.numbers,
    )
    return X, X_test, network


def fitted(model: Any, task: Task, **arrays: np.ndarray) -> Any:
    trainer = Trainer(
        model,
        objective="binary",
        optimizers=torch.optim.AdamW(model.parameters(), lr=task.learning_rate),
        verbose=0,
        num_workers=0,
        seed=task.seed,
    )
    trainer.fit(n_epochs=task.epochs, batch_size=task.batch_size, **arrays)
    return trainer


# user code ends


def same_network(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    torch.manual_seed(task.seed)
    # user code begins: table + image, ResNet-18
    frame, frame_test = filled(train.frame, test.frame, task)
    X, X_test, table = tabular(frame, frame_test, task)
    film, film_test = (read_images(part["image"], task.size) for part in (frame, frame_test))
    image = Vision({"resnet18": None}, trainable_params=[""])
    trainer = fitted(
        WideDeep(deeptabular=table, deepimage=image), task, X_tab=X, X_img=film, target=train.y
    )
    proba = trainer.predict_proba(X_tab=X_test, X_img=film_test)[:, 1]
    # user code ends
    return proba, trainer.model


def own_networks(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    torch.manual_seed(task.seed)
    # user code begins: table + image + text, its own networks
    frame, frame_test = filled(train.frame, test.frame, task)
    X, X_test, table = tabular(frame, frame_test, task)
    film, film_test = (read_images(part["image"], task.size) for part in (frame, frame_test))
    words = TextPreprocessor(text_col="note", verbose=0, n_cpus=1)
    note, note_test = words.fit_transform(frame), words.transform(frame_test)
    text = BasicRNN(vocab_size=len(words.vocab.itos), embed_dim=64)
    model = WideDeep(deeptabular=table, deeptext=text, deepimage=Vision())
    trainer = fitted(model, task, X_tab=X, X_text=note, X_img=film, target=train.y)
    proba = trainer.predict_proba(X_tab=X_test, X_text=note_test, X_img=film_test)[:, 1]
    # user code ends
    return proba, trainer.model


class Embedded(torch.nn.Module):
    """An image component over a finished embedding."""

    # user code begins: table + text + embedding
    output_dim = 64

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.LayerNorm(1280), torch.nn.Linear(1280, 64), torch.nn.ReLU()
        )

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return (rows, 64)."""
        return self.layers(X)

    # user code ends


def embedded(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    torch.manual_seed(task.seed)
    if task.blocks:
        return one_table(train, test, task)
    # user code begins: table + text + embedding
    frame, frame_test = filled(train.frame, test.frame, task)
    X, X_test, table = tabular(frame, frame_test, task)
    films = [np.nan_to_num(part.embedding)[:, :, None, None] for part in (train, test)]
    words = TextPreprocessor(text_col="note", verbose=0, n_cpus=1)
    note, note_test = words.fit_transform(frame), words.transform(frame_test)
    text = BasicRNN(vocab_size=len(words.vocab.itos), embed_dim=64)
    model = WideDeep(deeptabular=table, deeptext=text, deepimage=Embedded())
    trainer = fitted(model, task, X_tab=X, X_text=note, X_img=films[0], target=train.y)
    proba = trainer.predict_proba(X_tab=X_test, X_text=note_test, X_img=films[1])[:, 1]
    # user code ends
    return proba, trainer.model


def one_table(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    X, X_test, table = tabular(train.frame, test.frame, task)
    trainer = fitted(WideDeep(deeptabular=table), task, X_tab=X, target=train.y)
    return trainer.predict_proba(X_tab=X_test)[:, 1], trainer.model


def raw(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    X, X_test, table = tabular(train.frame, test.frame, task)
    words = TextPreprocessor(text_col="note", verbose=0, n_cpus=1, min_freq=1)
    note, note_test = words.fit_transform(train.frame), words.transform(test.frame)
    text = BasicRNN(vocab_size=len(words.vocab.itos), embed_dim=16)
    films = ImagePreprocessor(img_col="image", img_path=".", width=48, height=48, verbose=0)
    film, film_test = films.fit_transform(train.frame), films.transform(test.frame)
    image = Vision(channel_sizes=[8, 16], kernel_sizes=[5, 3], strides=[2, 1])
    model = WideDeep(deeptabular=table, deeptext=text, deepimage=image)
    trainer = fitted(model, task, X_tab=X, X_text=note, X_img=film, target=train.y)
    return trainer.predict_proba(X_tab=X_test, X_text=note_test, X_img=film_test)[:, 1], None


def estimator(task: Task) -> Any:
    """Return what comes nearest to an estimator: a trainer has `fit` and `predict`."""
    import pytorch_widedeep.models as models

    table = models.TabMlp(
        column_idx={name: i for i, name in enumerate(task.table)}, continuous_cols=task.numbers
    )
    return Trainer(WideDeep(deeptabular=table), objective="binary", verbose=0)


def explain(train: Rows, test: Rows, task: Task) -> list[str]:
    """Fit one of the networks that `Trainer.explain` reads: it tells of the table alone."""
    del test
    maker = TabPreprocessor(continuous_cols=task.numbers, cols_to_scale=task.numbers)
    X = maker.fit_transform(train.frame)
    network = TabNet(column_idx=maker.column_idx, continuous_cols=task.numbers)
    trainer = fitted(WideDeep(deeptabular=network), task, X_tab=X, target=train.y)
    trainer.explain(X[:2], save_step_masks=False)
    return ["columns (networks with attention and TabNet only)"]


def make() -> Peer:
    return Peer(
        package="pytorch-widedeep",
        models={
            "table + image, ResNet-18": Model(same_network, "image, table", "same network", IMAGES),
            "table + text + embedding": Model(
                embedded, "image, table, note", "same features", ALL, epochs=30
            ),
            "table + image + text, its own networks": Model(
                own_networks, "image, table, note", "as it comes", ("cxr",)
            ),
        },
        raw=raw,
        estimator=estimator,
        explain=explain,
        notes=(harness.TORCHVISION,),
    )


if __name__ == "__main__":
    main(__file__, make)
