"""What divides rows into subgroups: columns, given values, or the modalities present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import is_missing
from asfusion._checks import check_row_labels, quoted
from asfusion._frames import Frame
from asfusion.evaluation._patterns import read_presence
from asfusion.evaluation._small_cells import FEWEST
from asfusion.exceptions import ConfigurationError, InputError

MODALITIES = "modalities"
_MOST_VALUES = 10  # numbers with more distinct values are cut into bands
_MOST_CODES = 3  # numbers with at most so many are codes, however few rows there are
_MOST_LEVELS = 50
_MISSING = "missing"

Levels = dict[str, NDArray[np.int64]]


def read_factors(
    by: Any, X: Any, model: Any, n_rows: int, bands: Mapping[str, Any] | None
) -> dict[str, Levels]:
    """Return the rows of every level of every factor.

    Parameters
    ----------
    by : str, sequence of str, or mapping of str to array of shape (n_rows,)
        Columns of X, or ``"modalities"``; or values by name.
    X : DataFrame or array or None
        The rows.
    model : fitted estimator
        Knows the modalities.
    n_rows : int
        Number of rows.
    bands : mapping of str to sequence of float, optional
        Edges between bands of a factor of numbers.

    Returns
    -------
    dict of str to dict of str to ndarray
        Positions of the rows of each level, levels in their order.
    """
    values = _values(by, X, model)
    unknown = [name for name in bands or {} if name not in values]
    if unknown:
        msg = f"bands: expected factors among {quoted(values)}, got {quoted(unknown)}."
        raise ConfigurationError(msg)
    factors = {}
    for name, column in values.items():
        if len(column) != n_rows:
            msg = f"by[{name!r}]: expected {n_rows} values, one per row, got {len(column)}."
            raise InputError(msg)
        if isinstance(by, Mapping):
            check_row_labels(X, **{f"by[{name!r}]": by.get(name)})
        factors[name] = _levels(name, column, (bands or {}).get(name))
    return factors


def _values(by: Any, X: Any, model: Any) -> dict[str, list[Any]]:
    if isinstance(by, Mapping):
        named = {str(name): _as_list(values, str(name)) for name, values in by.items()}
    else:
        named = _columns([by] if isinstance(by, str) else by, X, model)
    if not named:
        raise ConfigurationError("by: expected at least one column or mapping entry, got none.")
    return named


def _columns(by: Any, X: Any, model: Any) -> dict[str, list[Any]]:
    if not isinstance(by, Sequence) or not all(isinstance(name, str) for name in by):
        msg = (
            f"by: expected names of columns, or a dict of name to values, got {type(by).__name__}."
        )
        raise ConfigurationError(msg)
    if X is None:
        msg = (
            "by: expected a dict of name to values beside predictions, which have no columns, got "
            f"{quoted(by)}."
        )
        raise ConfigurationError(msg)
    frame = Frame.read(X)
    named: dict[str, list[Any]] = {}
    for name in by:
        if name == MODALITIES and name not in frame.columns:
            named[name] = _patterns(model, X)
            continue
        frame.check_columns([name], "by")
        kind = frame.kind(name)
        numeric = kind == "number"
        named[name] = frame.numbers(name).tolist() if numeric else list(frame.strings(name))
    return named


def _patterns(model: Any, X: Any) -> list[Any]:
    presence = read_presence(model, X)
    if not presence:
        msg = (
            f"by: {MODALITIES!r} needs a model with named modalities, got {type(model).__name__}. "
            "Pass a dict with values of your own."
        )
        raise ConfigurationError(msg)
    rows = zip(*presence.values(), strict=True)
    return [
        " + ".join(n for n, has in zip(presence, r, strict=True) if has) or "none" for r in rows
    ]


def _as_list(values: Any, name: str) -> list[Any]:
    array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
    if array.ndim != 1:
        msg = f"by[{name!r}]: expected one value per row, got {array.ndim} dimensions."
        raise InputError(msg)
    return list(array.tolist())


def _levels(name: str, column: list[Any], edges: Any) -> Levels:
    known = [not is_missing(value) for value in column]
    is_number = all(
        isinstance(v, int | float) and not isinstance(v, bool)
        for v, there in zip(column, known, strict=True)
        if there
    )
    if edges is not None and not is_number:
        msg = f"bands[{name!r}]: expected a factor of numbers, got text or categories."
        raise ConfigurationError(msg)
    labels: list[str]
    order: list[str]
    if is_number:
        numbers = np.asarray(
            [v if k else np.nan for v, k in zip(column, known, strict=True)], float
        )
        labels, order = _number_levels(name, numbers, edges)
    else:
        labels = [str(v) if k else _MISSING for v, k in zip(column, known, strict=True)]
        order = [*sorted(set(labels) - {_MISSING}), _MISSING]
    if len(order) > _MOST_LEVELS + 1:
        msg = (
            f"by[{name!r}]: expected at most {_MOST_LEVELS} levels, got {len(order) - 1}. It looks "
            "like an identifier; join levels."
        )
        raise InputError(msg)
    array = np.asarray(labels, dtype=object)
    rows = {level: np.flatnonzero(array == level) for level in order}
    return {level: found for level, found in rows.items() if len(found)}


def _number_levels(
    name: str, numbers: NDArray[np.float64], edges: Any
) -> tuple[list[str], list[str]]:
    known = numbers[~np.isnan(numbers)]
    distinct = np.unique(known)
    # Values of a handful of rows each would not be scored, and tell on people.
    is_code = len(distinct) <= _MOST_CODES or len(known) >= FEWEST * len(distinct)
    if edges is None and len(distinct) <= _MOST_VALUES and is_code:
        order = [f"{value:g}" for value in distinct]
        labels = [_MISSING if np.isnan(v) else f"{v:g}" for v in numbers]
        return labels, [*order, _MISSING]
    cuts = _thirds(known) if edges is None else _check_edges(name, edges)
    names = [f"under {cuts[0]:g}"]
    names += [f"{a:g} to under {b:g}" for a, b in pairwise(cuts)]
    names.append(f"{cuts[-1]:g} and over")
    place = np.searchsorted(cuts, numbers, side="right")
    labels = [_MISSING if np.isnan(v) else names[p] for v, p in zip(numbers, place, strict=True)]
    return labels, [*names, _MISSING]


def _thirds(known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return two round numbers that cut about a third off at each end."""
    return np.unique([float(f"{cut:.2g}") for cut in np.quantile(known, [1 / 3, 2 / 3])])


def _check_edges(name: str, edges: Any) -> NDArray[np.float64]:
    try:
        cuts = np.asarray(edges, dtype=np.float64)
    except (TypeError, ValueError):
        cuts = np.asarray([np.nan])
    if cuts.ndim != 1 or not len(cuts) or not np.isfinite(cuts).all() or (np.diff(cuts) <= 0).any():
        msg = f"bands[{name!r}]: expected rising numbers such as (40, 60), got other edges."
        raise ConfigurationError(msg)
    return cuts
