"""The explanation of a clinical index predicted from one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from asfusion._frames import Frame
from asfusion.baselines import ClinicalIndexRegressor
from asfusion.explanation.result import Explanation
from asfusion.explanation.tables import TableAttribution


def explain_baseline(
    model: ClinicalIndexRegressor, X: Any, background: Any, units: Mapping[str, str]
) -> Explanation:
    """Return SHAP values of the model's columns, in units of the index."""
    found = model.shap_values(X, background) if background is not None else model.shap_values(X)
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
        method="SHAP",
        error=None,
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
