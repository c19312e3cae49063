"""The explanation of a clinical index predicted from one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._foreign import Algorithm
from asfusion._frames import Frame
from asfusion.exceptions import ConfigurationError
from asfusion.explanation._attribution import Floats
from asfusion.explanation._curves import Curves
from asfusion.explanation._trust import Check
from asfusion.explanation.of_tables import cells_of
from asfusion.explanation.result import Explanation
from asfusion.explanation.tables import TableAttribution, check_unit_names
from asfusion.explanation.views.cells import by_size
from asfusion.explanation.views.table_bars import size_of
from asfusion.explanation.views.told import AGAINST
from asfusion.show.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIMITS = "(limits of the scale)"
_ROUNDING = 1e-9
_COLUMNS = 6  # of a table's columns stand in the summary
_UNKNOWN = {
    "trees": (
        "a column that is not known is averaged along the trees' own branches, by the training "
        "rows in each"
    ),
    "average": "a column that is not known is replaced by the average training row's",
    "background": "a column that is not known is replaced by that of background rows",
    "none": "the model says the same of every row",
}


class IndexExplanation(Explanation):
    """What predictions of a clinical index rest on: one table, whose columns are shown."""

    def _meaning(self) -> list[str]:
        meaning = (
            f"SHAP values of columns in units of the output; {_UNKNOWN[self.absence]}. Base "
            "value and values add up to the prediction."
        )
        return [meaning]

    @property
    def _is_loud(self) -> bool:
        return True

    def _ask_again(self) -> list[Check]:
        return []

    def _traced(self, name: str | None) -> Curves | None:
        return None

    def _summed_up(self) -> tuple[list[str], Floats, NDArray[np.bool_]]:
        """Return the largest columns, and the sum of the others."""
        table = self["table"]
        order = by_size(table)
        shown, rest = order[:_COLUMNS], order[_COLUMNS:]
        names, values = [table.feature_names[i] for i in shown], table.values[:, shown]
        if rest:
            names.append(f"({len(rest)} others)")
            values = np.column_stack([values, table.values[:, rest].sum(axis=1)])
        return names, values, np.ones(values.shape, dtype=bool)

    def _draw_all(self, ax: Axes) -> Axes:
        axes: Axes = self["table"].beeswarm(ax)
        return axes

    def _size_of_all(self) -> tuple[float, float]:
        return size_of(min(len(self["table"].feature_names), 13))

    def _draw_row(self, row: int, *, shown: bool) -> Figure:
        table = self["table"]
        figure = new_figure(size_of(min(len(table.feature_names), 11)), shown=shown)
        table.waterfall(row, figure.subplots())
        return figure


def explain_index(
    model: Any,
    X: Any,
    background: Any,
    units: Mapping[str, str],
    *,
    output: Any = None,
    absence: str = "missing",
    algorithm: Algorithm = "auto",
    interactions: bool = False,
) -> IndexExplanation:
    """Return SHAP values of the model's columns, in units of the index.

    What a prediction loses where it is limited to the scale of the index is a column of its own.
    """
    predictions = model.predict(X)
    reference = model._measured_against(algorithm)
    _check_meaning(model, reference, background, output, absence)
    measured = {"rows": "average" if background is None else "background"}
    absent = measured.get(reference, reference)
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
        base_is=AGAINST[absent],
    )
    return IndexExplanation(
        names=("table",),
        values=values.sum(axis=1, keepdims=True),
        errors=None,
        interactions=None,
        base_values=base,
        predictions=np.asarray(predictions, dtype=np.float64),
        present=np.ones((len(values), 1), dtype=bool),
        output_names=(output_name,) * len(values),
        absence=absent,
        details=None,
        _known={"table": table},
    )


def _check_meaning(model: Any, reference: str, background: Any, output: Any, absence: str) -> None:
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


def _name_output(model: Any) -> str:
    index = model._index()
    if index.value_range is None:
        return f"predicted {index.label}"
    low, high = index.value_range
    return f"predicted {index.label} ({low:g} to {high:g})"


def _cells(model: Any, X: Any, names: tuple[str, ...], data: NDArray[Any]) -> NDArray[Any]:
    """Return the cells of X as they are shown, a column for each name."""
    frame = Frame.read(X)
    mapped = dict(model.columns) if isinstance(model.columns, Mapping) else {}
    cells = np.empty((len(frame), len(names)), dtype=object)
    for j, name in enumerate(names):
        column = mapped.get(name, name)
        known = column in frame.columns
        cells[:, j] = cells_of(frame, column) if known else data[:, j].tolist()
    return cells


def _pairs(model: Any, X: Any, values: NDArray[np.float64]) -> Any:
    """Return interactions whose rows sum to `values`; what is no column stands by itself."""
    pairs = model.shap_interactions(X)
    n_columns = pairs.shape[1]
    whole = np.zeros((len(values), values.shape[1], values.shape[1]))
    whole[:, :n_columns, :n_columns] = pairs
    for extra in range(n_columns, values.shape[1]):
        whole[:, extra, extra] = values[:, extra]
    return whole
