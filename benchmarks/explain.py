"""Shapley values of modalities, and of labs inside a fused network, against Captum and SHAP.

Run: ``python benchmarks/explain.py``

Both sides explain the same network on the same patients in one run, on one thread. Captum
and SHAP get the whole network, which is what a user would hand them; asfusion encodes each
modality once and runs the fusion head alone.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import shap
import torch
from captum.attr import ShapleyValues, ShapleyValueSampling

import asfusion as af

N_PATIENTS, N_TRAIN, N_LABS = 16, 80, 30


def make_model(cohort: Any) -> tuple[Any, pd.DataFrame]:
    """Return a fitted network over four modalities, and the table that it reads."""
    rng = np.random.default_rng(0)
    labs = pd.DataFrame(
        rng.normal(size=(len(cohort.X), N_LABS)), columns=[f"lab{i}" for i in range(N_LABS)]
    )
    X = pd.concat([cohort.X[["pelvis_xray", "clinical_note", "hla_b27"]], labs], axis=1)
    encoders = {
        "xray": af.ImageEncoder("pelvis_xray", backbone="resnet18", size=128, augment=False),
        "notes": af.TextEncoder("clinical_note", max_tokens=256),
        "labs": af.TabularEncoder(list(labs)),
        "genes": af.TabularEncoder(["hla_b27"]),
    }
    model = af.JointFusionClassifier(
        encoders, "attention", max_epochs=2, early_stopping=False, verbose=0, random_state=0
    )
    return model.fit(X[:N_TRAIN], cohort.y[:N_TRAIN]), X


def whole_network(model: Any, row: pd.DataFrame) -> Any:
    """Return the network as Captum sees it: which modalities are there -> probability."""
    from asfusion._frames import Frame
    from asfusion.training.rows import collate

    modalities, _ = model._tensors(Frame.read(row))
    batch = collate(modalities, torch.tensor([0]), device=torch.device("cpu"), dtype=torch.float32)
    network = model.network_.eval()

    def forward(kept: torch.Tensor) -> torch.Tensor:
        n = len(kept)
        inputs = {
            name: {key: value.expand(n, *value.shape[1:]) for key, value in tensors.items()}
            for name, tensors in batch.inputs.items()
        }
        present = {name: kept[:, m] > 0.5 for m, name in enumerate(batch.present)}
        with torch.no_grad():
            found = torch.softmax(network(inputs, present), dim=1)[:, 1].to(torch.float64)
        # Who has nothing gets the training prior, as from `predict_proba`.
        return torch.where(kept.any(dim=1), found, float(model.prior_[1]))

    return forward


def modalities(model: Any, X: pd.DataFrame) -> None:
    rows = X[N_TRAIN : N_TRAIN + N_PATIENTS]
    begun = time.perf_counter()
    with torch.no_grad():
        model.predict_proba(rows)
    plain = time.perf_counter() - begun
    begun = time.perf_counter()
    e = af.explain(model, rows, background=X[:1], n_background=1, verbose=0)
    ours = time.perf_counter() - begun
    begun = time.perf_counter()
    values, sampled = [], []
    for i in range(N_PATIENTS):
        forward = whole_network(model, rows.iloc[i : i + 1])
        one = torch.ones(1, 4)
        values.append(ShapleyValues(forward).attribute(one, torch.zeros(1, 4)).numpy()[0])
    theirs = time.perf_counter() - begun
    forward = whole_network(model, rows.iloc[:1])
    torch.manual_seed(0)
    sampled = ShapleyValueSampling(forward).attribute(
        torch.ones(1, 4), torch.zeros(1, 4), n_samples=300
    )
    print(f"modalities of {N_PATIENTS} patients: {ours:.2f} s; one plain prediction {plain:.2f} s")
    print(f"  Captum's exact Shapley values on the whole network: {theirs:.1f} s")
    print(f"  {theirs / ours:.0f} times; largest difference {np.abs(values - e.values).max():.1e}")
    gap = np.abs(sampled.numpy()[0] - e.values[0]).max()
    print(f"  Captum's sampling (300 orders) differs by {gap:.1e}")
    gap = np.abs(e.base_values + e.values.sum(axis=1) - model.predict_proba(rows)[:, 1]).max()
    print(f"  sum and prediction differ by {gap:.1e}")


def labs(model: Any, X: pd.DataFrame) -> None:
    row, background = X[N_TRAIN : N_TRAIN + 1], X[:10]
    columns = [f"lab{i}" for i in range(N_LABS)]
    e = af.explain(model, row, background=background, n_background=10, verbose=0)
    game = e.details.game
    begun = time.perf_counter()
    table = e["labs"]
    ours, decided = time.perf_counter() - begun, game.n_decided

    def predict(cells: np.ndarray) -> np.ndarray:
        rows = pd.concat([row] * len(cells), ignore_index=True)
        rows[columns] = cells
        return np.asarray(model.predict_proba(rows)[:, 1])

    n_samples = 2 * N_LABS + 2
    begun = time.perf_counter()
    explainer = shap.KernelExplainer(predict, background[columns].to_numpy())
    found = explainer.shap_values(row[columns].to_numpy(), nsamples=n_samples, silent=True)
    theirs = time.perf_counter() - begun
    # Each coalition of labs is asked of 10 background rows and 8 sets of other modalities.
    n_ours = decided // (10 * 8)
    ratio = theirs / n_samples / (ours / n_ours)
    print(f"{N_LABS} labs of one patient: {ours:.2f} s for {n_ours} coalitions")
    print(f"  shap.KernelExplainer on the whole network: {theirs:.1f} s for {n_samples} coalitions")
    print(f"  {ratio:.0f} times per coalition (shap by itself would take {2 * N_LABS + 2048})")
    print(f"  shap's values sum to {found.sum():+.3f}, ours to {table.values[0].sum():+.3f}")


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    cohort = af.datasets.make_axspa_cohort(100, random_state=0, missing=0.0)
    model, X = make_model(cohort)
    modalities(model, X)
    labs(model, X)


if __name__ == "__main__":
    main()
