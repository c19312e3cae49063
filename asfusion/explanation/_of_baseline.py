"""The explanation of a clinical index predicted from one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame
from asfusion.baselines._index import IndexRegressor
from asfusion.baselines._models import Algorithm, reference_of
from asfusion.exceptions import ConfigurationError
from asfusion.explanation._parts import cells_of
from asfusion.explanation.result import Explanation
from asfusion.explanation.tables import TableAttribution, check_unit_names

LIMITS = "(limits of the scale)"
_ROUNDING = 1e-9


def explain_baseline(
    model: IndexRegressor,
    X: Any,
    background: Any,
    units: Mapping[str, str],
    *,
    output: Any = None,
    absence: str = "missing",
    algorithm: Algorithm = "auto",
    interactions: bool = False,
) -> Explanation:
    """Return SHAP values of the model's columns, in units of the index.

    What a prediction loses where it is limited to the scale of the index is a column of its own.
    """
    predictions = model.predict(X)
    reference = reference_of(model.model_, algorithm)
    _check_meaning(model, reference, background, output, absence)
    found = model.shap_values(X, background, algorithm=algorithm)
    names = tuple(str(name) for name in found.feature_names)
    check_unit_names(units, names)
    values = np.asarray(found.values, dtype=np.float64)
    base = np.broadcast_to(np.ravel(found.base_values), (len(values),)).astype(np.float64)
    cells = _cells(model, X, names, found.data)
    whole = base + values.sum(axis=1)
    cut = model._clip(whole) - whole
    is_cut = np.abs(cut) > _ROUNDING
    if is_cut.any():
        values, names = np.column_stack([values, cut]), (*names, LIMITS)
        cells = np.column_stack([cells, is_cut.astype(object)])
    output_name = _name_output(model)
    table = TableAttribution(
        values=values,
        base_value=base,
        data=cells,
        feature_names=names,
        output_name=output_name,
        units={name: units[name] for name in names if name in units},
        method="SHAP values by the package shap" if algorithm == "shap" else "SHAP values",
        error=None,
        interactions=_pairs(model, X, values) if interactions else None,
    )
    measured = {"rows": "average" if background is None else "background"}
    return Explanation(
        names=("table",),
        values=values.sum(axis=1, keepdims=True),
        errors=None,
        interactions=None,
        base_values=base,
        predictions=np.asarray(predictions, dtype=np.float64),
        present=np.ones((len(values), 1), dtype=bool),
        output_names=(output_name,) * len(values),
        absence=measured.get(reference, reference),
        details={"table": table},
    )


def _check_meaning(
    model: IndexRegressor, reference: str, background: Any, output: Any, absence: str
) -> None:
    """Raise where something is asked for that this model's values do not depend on."""
    if output is not None and not (output == 0 and not isinstance(output, bool)):
        msg = "output: expected None for a clinical index, which has one output, got another."
        raise ConfigurationError(msg)
    if reference == "rows":
        return
    why = "depends on no column" if reference == "none" else "is explained along its own trees"
    name = type(model.model_).__name__
    if background is not None:
        msg = f"background: expected None for a {name}, which {why}, got rows. Leave it out."
        raise ConfigurationError(msg)
    if absence == "background":
        msg = f"absence: expected the default for a {name}, which {why}, got 'background'."
        raise ConfigurationError(msg)


def _name_output(model: IndexRegressor) -> str:
    index = model._index()
    if index.value_range is None:
        return f"predicted {index.label}"
    low, high = index.value_range
    return f"predicted {index.label} ({low:g} to {high:g})"


def _cells(
    model: IndexRegressor, X: Any, names: tuple[str, ...], data: NDArray[Any]
) -> NDArray[Any]:
    """Return the cells of X as they are shown, a column for each name."""
    frame = Frame.read(X)
    mapped = dict(model.columns) if isinstance(model.columns, Mapping) else {}
    cells = np.empty((len(frame), len(names)), dtype=object)
    for j, name in enumerate(names):
        column = mapped.get(name, name)
        known = column in frame.columns
        cells[:, j] = cells_of(frame, column) if known else data[:, j].tolist()
    return cells


def _pairs(model: IndexRegressor, X: Any, values: NDArray[np.float64]) -> Any:
    """Return interactions whose rows sum to `values`; what is no column stands by itself."""
    pairs = model.shap_interactions(X)
    n_columns = pairs.shape[1]
    whole = np.zeros((len(values), values.shape[1], values.shape[1]))
    whole[:, :n_columns, :n_columns] = pairs
    for extra in range(n_columns, values.shape[1]):
        whole[:, extra, extra] = values[:, extra]
    return whole
