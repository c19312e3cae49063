"""Fits that a test runs in one process, and torchrun's processes run together."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

import asfusion as af
from asfusion.encoders import _base
from asfusion.exceptions import AsfusionError
from asfusion.nn.image import CompactCNN

N_ROWS = 29
SETTINGS = {"batch_size": 8, "max_epochs": 2, "device": "cpu", "verbose": 0, "random_state": 0}
# No dropout within encoders, whose streams ranks do not share; and no rounding that grows.
STEADY = af.TrainingOptions(dropout=0.0, precision="float64")


def cohort():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(N_ROWS, 6)), columns=list("abcdef"))
    y = (X.a + X.d + 0.3 * rng.normal(size=N_ROWS) > 0).astype(int).to_numpy()
    X.loc[rng.random(N_ROWS) < 0.3, ["d", "e", "f"]] = np.nan
    X["film"] = list(rng.integers(0, 256, (N_ROWS, 40, 40), dtype=np.uint8))
    X.loc[[3, 7], "film"] = None
    X["time"], X["event"] = rng.exponential(size=N_ROWS), y
    return X, y


def tables():
    return {"one": af.TabularEncoder(list("abc")), "two": af.TabularEncoder(list("def"))}


def films(norm):
    learns = af.ImageEncoder("film", size=32, norm=norm, augment=False, dropout=0.0)
    return {"film": learns, "one": af.TabularEncoder(list("abc"))}


def frozen(folder):
    kept = af.ImageEncoder("film", size=32, weights=str(folder / "cnn.safetensors"))
    return {"film": kept, "one": af.TabularEncoder(list("abc"))}


def fits(folder: Path):
    """Return probabilities by the name of a fit, and how many rows were embedded here."""
    X, y = cohort()
    embedded, embed = [], _base.embed_prepared

    def counted(network, prepared, *options):
        embedded.append(len(prepared))
        return embed(network, prepared, *options)

    _base.embed_prepared = counted
    _base.EMBEDDINGS.clear()

    def fit(encoders, **options):
        model = af.JointFusionClassifier(encoders, **{**SETTINGS, "training": STEADY, **options})
        return model, model.fit(X, y, resume="checkpoint" in options).predict_proba(X)[:, 1]

    kept = {"checkpoint": folder / "runs"}
    ranked = af.TrainingOptions(dropout=0.0, objective="more_is_not_worse", average_weights="ema")
    found = {
        "concat": fit(tables(), early_stopping=True),
        "gated": fit(tables(), fusion="gated", training=ranked, batch_size=1, max_epochs=1),
        "attention": fit(tables(), fusion="attention", **kept),
        "attention, resumed": fit(tables(), fusion="attention", **kept),
        "films": fit(films("group")),
        "batch norm": fit(films("batch"), max_epochs=1),
    }
    n_before = sum(embedded)
    found["frozen"] = fit(frozen(folder), training=af.TrainingOptions(dropout=0.0))
    cox = af.JointFusionSurvival(tables(), target=None, **{**SETTINGS, "training": STEADY})
    known = np.array(
        list(zip(X.event.astype(bool), X.time, strict=True)), dtype=[("event", "?"), ("time", "f8")]
    )
    risk = cox.fit(X, known).predict(X)
    model = found["concat"][0]
    model.save(folder / "model.asf")
    history = [record["validation_loss"] for record in model.history_]
    answers = {name: told for name, (_, told) in found.items()}
    return {**answers, "cox": risk, "stopping": np.array(history), "n": sum(embedded) - n_before}


def main():
    torch.set_num_threads(1)
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    found = fits(folder)
    found["other seeds"] = error_of(random_state=rank)
    found["a card for two"] = error_of(device="meta")
    if rank == 0:
        found["alone"] = error_of()  # the other one has left, or is about to
    np.savez(folder / f"rank{rank}.npz", **found)


def error_of(**options):
    X, y = cohort()
    try:
        af.JointFusionClassifier(tables(), **{**SETTINGS, **options}).fit(X, y)
    except AsfusionError as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def write_weights(folder: Path):
    torch.manual_seed(0)
    save_file(CompactCNN().state_dict(), folder / "cnn.safetensors")


if __name__ == "__main__":
    main()
