"""Synthetic rows with a model's own answers, by which a reader sees that it gets the same.

The rows are nobody's: a model makes them of what it learned of its columns. Cells of images,
notes and visits are missing in them. They are asked when a model is saved, and again, as they
stand in the file, when it is loaded: elsewhere, with other versions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._progress import progress_shown
from asfusion.bundle._budget import Budget
from asfusion.exceptions import BundleError

MOST_BYTES = 4 << 20
# Differences relative to the largest answer: sums of 32 bits come out otherwise on every
# processor, those of trees and linear models hardly do.
_CLOSE, _CLOSE_IN_FLOAT32 = 1e-6, 1e-4
_MOST_ROWS, _MOST_COLUMNS = 16, 2_000
_DIGITS = 9
_STRANGE = "load: the synthetic rows of the model are not as save wrote them."


class Probed:
    """An estimator that makes rows of its own, to be asked when it is saved and loaded."""

    def _probe_cells(self) -> dict[str, list[Any]]:
        """Return cells that are nobody's, of the columns whose content can be made up."""
        return {}

    def _probe_rows(self: Any) -> dict[str, list[Any]]:
        """Return columns of rows that are nobody's, missing where content cannot be made up."""
        cells = self._probe_cells()
        if not cells:
            return {}
        names = getattr(self, "feature_names_in_", None)
        columns = [f"x{i}" for i in range(self.n_features_in_)] if names is None else list(names)
        n_rows = len(next(iter(cells.values())))
        return {str(name): cells.get(name, [None] * n_rows) for name in columns}

    def _as_probed(self) -> Any:
        """Return a model that answers alike, quickly and on any machine."""
        return self


def asked(model: Any) -> bytes | None:
    """Return rows and answers of a fitted model; None of one that makes no rows of its own."""
    cells = _cells_of(model)
    if not cells or len(cells) > _MOST_COLUMNS:
        return None
    try:
        answers = _answers(model, cells)
    except Exception:  # a part of the user's own may need what no such row has
        return None
    if not np.isfinite(answers).all():
        return None
    kept = {name: column for name, column in cells.items() if any(c is not None for c in column)}
    rounded = [[float(f"{a:.{_DIGITS}g}") for a in row] for row in answers.tolist()]
    raw = json.dumps({"cells": kept, "answers": rounded}, sort_keys=True).encode()
    return raw if len(raw) <= MOST_BYTES else None


def compare(model: Any, raw: bytes, *, in_float32: bool, versions: str) -> None:
    """Raise unless a model that was read answers as the one that was saved.

    Parameters
    ----------
    model : estimator
        As it was read.
    raw : bytes
        What `asked` returned.
    in_float32 : bool
        Whether there is a network in it.
    versions : str
        Which versions saved it, in words.

    Raises
    ------
    BundleError
        If an answer is another one, or there is none.
    """
    if not isinstance(model, Probed):
        return  # it is no estimator, which is told where one is expected
    if len(raw) > MOST_BYTES:
        raise BundleError(_STRANGE)
    Budget("load").spend_text(raw)
    stored = json.loads(raw)
    expected = np.asarray(stored["answers"], dtype=np.float64)
    cells = _cells_to_ask(model, stored["cells"], n_rows=len(expected))
    try:
        answers = _answers(model, cells)
    except Exception as error:
        msg = (
            f"load: expected answers to the synthetic rows that were saved with the model, got "
            f"{type(error).__name__}. It was saved by {versions}; install those, or save the "
            "model again."
        )
        raise BundleError(msg) from error
    tolerance = (_CLOSE_IN_FLOAT32 if in_float32 else _CLOSE) * _scale(expected)
    same = answers.shape == expected.shape and np.allclose(answers, expected, 0.0, tolerance)
    if not same:
        msg = (
            "load: expected the predictions that the model gave when it was saved, got others "
            f"for the synthetic rows in the folder. It was saved by {versions}; install those, "
            "or save the model again."
        )
        raise BundleError(msg)


def _cells_of(model: Any) -> dict[str, list[Any]]:
    rows: dict[str, list[Any]] = model._probe_rows() if isinstance(model, Probed) else {}
    return rows


def _cells_to_ask(model: Any, given: Mapping[str, Any], n_rows: int) -> dict[str, list[Any]]:
    """Return the stored cells of columns that the model makes cells of, the others missing."""
    cells = {}
    for name, own in _cells_of(model).items():
        column = given.get(name) if any(cell is not None for cell in own) else None
        cells[name] = [None] * n_rows if column is None else column
    if not 0 < n_rows <= _MOST_ROWS or not all(_are_cells(c, n_rows) for c in cells.values()):
        raise BundleError(_STRANGE)
    return cells


def _are_cells(column: Any, n_rows: int) -> bool:
    return (
        isinstance(column, list)
        and len(column) == n_rows
        and all(isinstance(cell, str | float | int | None) for cell in column)
    )


def _answers(model: Any, cells: Mapping[str, list[Any]]) -> NDArray[np.float64]:
    import pandas as pd

    numbers, others = {}, {}
    for name, column in cells.items():
        if all(isinstance(cell, float | int | None) for cell in column):
            numbers[name] = [math.nan if cell is None else float(cell) for cell in column]
        else:
            others[name] = pd.Series(column, dtype=object)
    X: Any = np.asarray(list(numbers.values())).T
    if hasattr(model, "feature_names_in_"):
        table = pd.DataFrame(X, columns=list(numbers))
        X = pd.concat([table, pd.DataFrame(others)], axis=1)[list(cells)]
    asked = model._as_probed()
    ask = getattr(asked, "predict_proba", asked.predict)
    with progress_shown(False):
        answers = np.asarray(ask(X), dtype=np.float64)
    return answers.reshape(len(answers), -1)


def _scale(expected: NDArray[np.float64]) -> float:
    return max(float(np.abs(expected).max(initial=0.0)), 1e-9)
