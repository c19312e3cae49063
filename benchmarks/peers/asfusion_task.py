"""asfusion on the rows of the peers' benchmark; run by ``run.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
from harness import Model, Peer, Rows, Task, main

import asfusion as af

IMAGES, ALL = ("cxr", "axspa"), ("cxr", "axspa", "rosmap")


def same_network(
    train: Rows, test: Rows, task: Task, precision: str = "auto"
) -> tuple[np.ndarray, Any]:
    # user code begins: joint, ResNet-18
    encoders = {
        "image": af.ImageEncoder("image", backbone="resnet18", size=task.size, augment=False),
        "table": af.TabularEncoder(task.table),
    }
    model = af.JointFusionClassifier(
        encoders,
        max_epochs=task.epochs,
        batch_size=task.batch_size,
        learning_rate=task.learning_rate,
        early_stopping=False,
        training=af.TrainingOptions(precision=precision),
        random_state=task.seed,
    )
    model.fit(train.frame, train.y)
    proba = model.predict_proba(test.frame)[:, 1]
    # user code ends
    return proba, model.network_


def half(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    return same_network(train, test, task, "bfloat16")


def small_network(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    # user code begins: joint, small network
    encoders = {
        "image": af.ImageEncoder("image", size=task.size, augment=False),
        "table": af.TabularEncoder(task.table),
    }
    model = af.JointFusionClassifier(
        encoders,
        max_epochs=task.epochs,
        batch_size=task.batch_size,
        learning_rate=task.learning_rate,
        early_stopping=False,
        random_state=task.seed,
    )
    model.fit(train.frame, train.y)
    proba = model.predict_proba(test.frame)[:, 1]
    # user code ends
    return proba, model.network_


def encoders_of(task: Task) -> dict[str, Any]:
    if task.blocks:
        return {name: af.TabularEncoder(columns) for name, columns in task.blocks.items()}
    # user code begins: shared
    return {
        "image": af.ImageEncoder("film", backbone="efficientnet_lite0"),
        "table": af.TabularEncoder(task.table),
        "note": af.TextEncoder("note", backbone="tfidf"),
    }
    # user code ends


def early(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    encoders = encoders_of(task)
    # user code begins: early
    model = af.EarlyFusionClassifier(encoders, random_state=task.seed)
    model.fit(train.frame, train.y)
    proba = model.predict_proba(test.frame)[:, 1]
    # user code ends
    return proba, None


def joint(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    encoders = encoders_of(task)
    # user code begins: joint
    model = af.JointFusionClassifier(encoders, random_state=task.seed)
    model.fit(train.frame, train.y)
    proba = model.predict_proba(test.frame)[:, 1]
    # user code ends
    return proba, model.network_


def late(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    encoders = encoders_of(task)
    # user code begins: late
    model = af.LateFusionClassifier(encoders, random_state=task.seed)
    model.fit(train.frame, train.y)
    proba = model.predict_proba(test.frame)[:, 1]
    # user code ends
    return proba, None


def raw(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    model = af.JointFusionClassifier(encoders_of(task), max_epochs=1, verbose=0, random_state=0)
    model.fit(train.frame, train.y)
    return model.predict_proba(test.frame)[:, 1], None


def estimator(task: Task) -> Any:
    del task
    return af.JointFusionClassifier(max_epochs=1, verbose=0, random_state=0)


def explain(train: Rows, test: Rows, task: Task) -> list[str]:
    model = af.EarlyFusionClassifier(encoders_of(task), verbose=0, random_state=0)
    model.fit(train.frame, train.y)
    explanation = af.explain(model, test.frame.head(2), background=train.frame, verbose=0)
    words = {"table": "columns", "note": "words", "image": "pixels"}
    return ["modalities", *(words[name] for name in explanation.names if explanation[name])]


def make() -> Peer:
    """Return the peer; what asfusion imports late is imported now, as the others do it."""
    from transformers import ResNetModel  # noqa: F401

    return Peer(
        package="asfusion",
        models={
            "joint, ResNet-18": Model(same_network, "image, table", "same network", IMAGES),
            "joint, ResNet-18, bfloat16": Model(
                half, "image, table", "same network", IMAGES, lines_of="joint, ResNet-18"
            ),
            "joint, small network": Model(small_network, "image, table", "as it comes", IMAGES),
            "early": Model(early, "image, table, note", "same features", ALL),
            "joint": Model(joint, "image, table, note", "same features", ALL),
            "late": Model(late, "image, table, note", "same features", ALL),
        },
        raw=raw,
        estimator=estimator,
        explain=explain,
    )


if __name__ == "__main__":
    main(__file__, make)
