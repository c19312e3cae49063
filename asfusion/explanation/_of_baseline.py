"""The explanation of a clinical index predicted from one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._baseline_models import Algorithm
from asfusion._baseline_regressor import IndexRegressor
from asfusion._frames import Frame
from asfusion.explanation.result import Explanation
from asfusion.explanation.tables import TableAttribution


def explain_baseline(
    model: IndexRegressor,
    X: Any,
    background: Any,
    units: Mapping[str, str],
    *,
    algorithm: Algorithm = "auto",
    interactions: bool = False,
) -> Explanation:
    """Return SHAP values of the model's columns, in units of the index."""
    found = model.shap_values(X, background, algorithm=algorithm)
    values = np.asarray(found.values, dtype=np.float64)
    base = np.broadcast_to(np.ravel(found.base_values), (len(values),)).astype(np.float64)
    names = tuple(str(name) for name in found.feature_names)
    frame = Frame.read(X)
    mapped = dict(model.columns) if isinstance(model.columns, Mapping) else {}
    cells = np.empty(values.shape, dtype=object)
    for j, name in enumerate(names):
        column = mapped.get(name, name)
        cells[:, j] = frame.strings(column) if column in frame.columns else found.data[:, j]
    table = TableAttribution(
        values=values,
        base_value=base,
        data=cells,
        feature_names=names,
        output_name="prediction",
        units={name: units[name] for name in names if name in units},
        method="SHAP values by the package shap" if algorithm == "shap" else "SHAP values",
        error=None,
        interactions=_pairs(model, X, values) if interactions else None,
    )
    predictions = base + values.sum(axis=1)
    return Explanation(
        names=("table",),
        values=values.sum(axis=1, keepdims=True),
        errors=None,
        interactions=None,
        base_values=base,
        predictions=predictions,
        present=np.ones((len(values), 1), dtype=bool),
        output_names=("prediction",) * len(values),
        absence="background",
        details={"table": table},
    )


def _pairs(model: IndexRegressor, X: Any, values: NDArray[np.float64]) -> Any:
    """Return interactions whose rows sum to `values`, the distance of a median by itself."""
    pairs = model.shap_interactions(X)
    n_columns = pairs.shape[1]
    whole = np.zeros((len(values), values.shape[1], values.shape[1]))
    whole[:, :n_columns, :n_columns] = pairs
    for extra in range(n_columns, values.shape[1]):
        whole[:, extra, extra] = values[:, extra]
    return whole
