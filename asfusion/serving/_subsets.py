"""What each modality added to the answers of an exported file: it is asked without them in turn.

The game is that of `explain` (Shapley values, an absent modality is missing), by questions to the
whole file: there is nothing within it that could be taken apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.explanation.players import exact_shapley
from asfusion.serving._fields import Field
from asfusion.serving._rows import Rows, as_table

MOST = 10  # modalities, of which all subsets are asked


def taken_apart(
    model: Any, rows: Rows, fields: Sequence[Field], modalities: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Return, for each row, what is explained, from where to where, and what each modality added.

    Parameters
    ----------
    model : OnnxModel
        What is asked.
    rows : Rows
        At least one.
    fields : sequence of Field
        The columns of the model.
    modalities : mapping of str to sequence of str
        The columns of each, at most `MOST`, none of two.
    """
    names = list(modalities)
    numbers = np.arange(1 << len(names))
    kept = (numbers[:, None] >> np.arange(len(names)) & 1).astype(bool)
    several = [_without(rows, modalities, names, one) for one in kept]
    outputs, _ = model._asked(as_table(several, fields))
    outputs = outputs.reshape(len(kept), len(rows), -1)
    chosen = _chosen(model, outputs[-1])
    outcomes = outputs[:, np.arange(len(rows)), chosen]
    values = exact_shapley(outcomes).T
    told = []
    for row, output in enumerate(chosen.tolist()):
        there = [any(rows.columns[c][row] is not None for c in modalities[n]) for n in names]
        added = np.where(there, values[row], 0.0)  # without the rounding noise of what is absent
        told.append(
            {
                "output": _named(model, output),
                "base": float(outcomes[0, row]),
                "prediction": float(outcomes[-1, row]),
                "modalities": dict(zip(names, added.tolist(), strict=True)),
                "parts": {},
            }
        )
    return told


def _without(
    rows: Rows, modalities: Mapping[str, Sequence[str]], names: list[str], kept: NDArray[np.bool_]
) -> Rows:
    """Return the rows with the modalities that are kept alone."""
    there = {
        c for name, is_kept in zip(names, kept, strict=True) if is_kept for c in modalities[name]
    }
    nothing: list[Any] = [None] * len(rows)
    cells = {name: own if name in there else nothing for name, own in rows.columns.items()}
    return Rows(cells, [])


def _chosen(model: Any, outputs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return which output (N,) people look at: the second class of two, the likeliest of more."""
    if model.classes_ is None:
        return np.zeros(len(outputs), dtype=np.int64)
    if len(model.classes_) == 2:
        return np.ones(len(outputs), dtype=np.int64)
    return np.asarray(outputs.argmax(axis=1), dtype=np.int64)


def _named(model: Any, output: int) -> str:
    if model.classes_ is not None:
        return f"probability of class {model.classes_[output]}"
    return f"target {output}" if model.schema["n_outputs"] > 1 else "prediction"
