"""Shapley values of modalities, and of labs inside a fused network, against Captum and SHAP.

Run: ``python benchmarks/explain.py``

All explain the same network on the same patients in one run, on one thread, and processor time
is counted. The best rival is Captum, or SHAP, on the fusion head alone, with the tokens of each
modality encoded once and all patients in one batch: what a user writes who knows the network well.
Beside it stand both on the whole network, which is what one hands them at first.
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


def encoded(model: Any, rows: pd.DataFrame, names: list[str] | None = None) -> Any:
    """Return the tokens of each modality, encoded once."""
    from asfusion._frames import Frame

    return model._tokens_of(model._encode(Frame.read(rows), names))


def head_alone(model: Any, tokens: Any) -> Any:
    """Return the fusion head as Captum sees it: which modalities are there -> probability."""
    network = model.network_.eval()

    def forward(kept: torch.Tensor) -> torch.Tensor:
        said = {}
        for m, (name, each) in enumerate(tokens.items()):
            n = len(kept) // len(each.mask)
            there = each.mask.repeat(n, 1) & (kept[:, m, None] > 0.5)
            said[name] = type(each)(each.values.repeat(n, 1, 1), there)
        with torch.no_grad():
            found = torch.softmax(network.predict(said), dim=1)[:, 1].to(torch.float64)
        return torch.where(kept.any(dim=1), found, float(model.prior_[1]))

    return forward


def by_captum_on_tokens(model: Any, rows: pd.DataFrame) -> tuple[float, np.ndarray]:
    """Return seconds and exact Shapley values of modalities, all rows in one batch."""
    begun = time.process_time()
    forward = head_alone(model, encoded(model, rows))
    ones, zeros = torch.ones(len(rows), 4), torch.zeros(len(rows), 4)
    found = ShapleyValues(forward).attribute(ones, zeros, perturbations_per_eval=16).numpy()
    return time.process_time() - begun, found


def by_asfusion(model: Any, X: pd.DataFrame, rows: pd.DataFrame) -> tuple[float, Any]:
    """Return seconds and the explanation of rows by modality."""
    begun = time.process_time()
    found = af.explain(model, rows, background=X[:1], n_background=1, verbose=0)
    return time.process_time() - begun, found


def modalities(model: Any, X: pd.DataFrame) -> None:
    rows = X[N_TRAIN : N_TRAIN + N_PATIENTS]
    begun = time.process_time()
    with torch.no_grad():
        model.predict_proba(rows)
    plain = time.process_time() - begun
    ours, e = by_asfusion(model, X, rows)
    begun = time.process_time()
    values, sampled = [], []
    for i in range(N_PATIENTS):
        forward = whole_network(model, rows.iloc[i : i + 1])
        one = torch.ones(1, 4)
        values.append(ShapleyValues(forward).attribute(one, torch.zeros(1, 4)).numpy()[0])
    theirs = time.process_time() - begun
    on_tokens, cached = by_captum_on_tokens(model, rows)
    forward = whole_network(model, rows.iloc[:1])
    torch.manual_seed(0)
    sampled = ShapleyValueSampling(forward).attribute(
        torch.ones(1, 4), torch.zeros(1, 4), n_samples=300
    )
    print(f"modalities of {N_PATIENTS} patients: {ours:.2f} s; one plain prediction {plain:.2f} s")
    for name, seconds, found in (
        ("on tokens encoded once, in one batch", on_tokens, cached),
        ("on the whole network", theirs, values),
    ):
        gap = np.abs(np.asarray(found) - e.values).max()
        print(f"  Captum's exact Shapley values {name}: {seconds:.2f} s,")
        print(f"    {seconds / ours:.1f} times; largest difference {gap:.1e}")
    gap = np.abs(sampled.numpy()[0] - e.values[0]).max()
    print(f"  Captum's sampling (300 orders) differs by {gap:.1e}")
    gap = np.abs(e.base_values + e.values.sum(axis=1) - model.predict_proba(rows)[:, 1]).max()
    print(f"  sum and prediction differ by {gap:.1e}")


def labs(model: Any, X: pd.DataFrame) -> None:
    row, background = X[N_TRAIN : N_TRAIN + 1], X[:10]
    columns = [f"lab{i}" for i in range(N_LABS)]
    e = af.explain(model, row, background=background, n_background=10, verbose=0)
    game = e.details.game
    begun = time.process_time()
    table = e["labs"]
    ours, decided = time.process_time() - begun, game.n_decided

    def predict(cells: np.ndarray) -> np.ndarray:
        rows = pd.concat([row] * len(cells), ignore_index=True)
        rows[columns] = cells
        return np.asarray(model.predict_proba(rows)[:, 1])

    others = encoded(model, row, ["xray", "notes", "genes"])

    def predict_alone(cells: np.ndarray) -> np.ndarray:
        rows = pd.DataFrame(cells, columns=columns)
        tokens = encoded(model, pd.concat([rows, absent(row, len(rows))], axis=1), ["labs"])
        said = {name: expanded(each, len(rows)) for name, each in others.items()} | tokens
        with torch.no_grad():
            return torch.softmax(model.network_.predict(said), dim=1)[:, 1].numpy()

    n_samples = 2 * N_LABS + 2
    # Each coalition of labs is asked of 10 background rows and 8 sets of other modalities.
    n_ours = decided // (10 * 8)
    print(f"{N_LABS} labs of one patient: {ours:.2f} s for {n_ours} coalitions")
    for name, ask in (("the others encoded once", predict_alone), ("the whole network", predict)):
        begun = time.process_time()
        explainer = shap.KernelExplainer(ask, background[columns].to_numpy())
        found = explainer.shap_values(row[columns].to_numpy(), nsamples=n_samples, silent=True)
        theirs = time.process_time() - begun
        ratio = theirs / n_samples / (ours / n_ours)
        print(f"  shap.KernelExplainer, {name}: {theirs:.2f} s for {n_samples} coalitions of labs,")
        print(f"    {ratio:.1f} times per coalition, which for shap is one set of other modalities")
        print(f"    shap's values sum to {found.sum():+.3f}, ours to {table.values[0].sum():+.3f}")
    print(f"  (shap by itself would take {2 * N_LABS + 2048} coalitions)")


def absent(row: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return the columns of the other modalities, as `encoded` does not read them."""
    names = ["pelvis_xray", "clinical_note", "hla_b27"]
    return pd.concat([row[names]] * n, ignore_index=True)


def expanded(tokens: Any, n: int) -> Any:
    """Return the tokens of one row for `n` rows."""
    return type(tokens)(tokens.values.expand(n, -1, -1), tokens.mask.expand(n, -1))


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    cohort = af.datasets.make_axspa_cohort(100, random_state=0, missing=0.0)
    model, X = make_model(cohort)
    modalities(model, X)
    labs(model, X)


if __name__ == "__main__":
    main()
