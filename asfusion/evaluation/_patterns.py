"""Which modalities rows have, as far as a fitted model tells, and scores by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._judge import make_scorer
from asfusion.evaluation._small_cells import FEWEST, hidden_cells
from asfusion.evaluation.intervals import Interval, score_intervals
from asfusion.evaluation.registry import scoring_of
from asfusion.exceptions import AsfusionError


@dataclass(frozen=True)
class Pattern:
    """Rows with one set of modalities.

    Parameters
    ----------
    present : tuple of str
        Modalities that these rows have.
    n_rows : int or None
        Number of rows; None where it is not shown: below 10 rows or patients, and where such
        a number would follow from the others.
    score : Interval or None
        The report's first score on these rows; None for fewer than 10 rows or patients,
        or where it is undefined.
    """

    present: tuple[str, ...]
    n_rows: int | None
    score: Interval | None


def unwrapped(model: Any) -> Any:
    """Return the model with modalities inside a search or a wrapper."""
    model = getattr(model, "best_estimator_", model)
    while not (hasattr(model, "encoders_") or hasattr(model, "models_")):
        if not hasattr(model, "estimator_"):
            break
        model = model.estimator_
    return model


def encoders_inside(model: Any) -> dict[str, Any]:
    """Return the fitted encoders of a fusion estimator, or of the best of a search, by name.

    Early and joint fusion have fitted encoders, late fusion has fitted models that have
    them. Of any other model nothing is known, which is no error.
    """
    model = unwrapped(model)
    encoders = getattr(model, "encoders_", None)
    if not isinstance(encoders, Mapping):
        parts = getattr(model, "models_", None)
        parts = parts.values() if isinstance(parts, Mapping) else ()
        encoders = {k: v for part in parts for k, v in getattr(part, "encoders_", {}).items()}
    return {str(name): encoder for name, encoder in encoders.items()}


def modality_columns(model: Any) -> dict[str, tuple[str, ...]]:
    """Return the columns of each modality of a fitted estimator; see `encoders_inside`."""
    found = encoders_inside(model).items()
    columns = {name: getattr(encoder, "columns_", ()) for name, encoder in found}
    return {name: tuple(names) for name, names in columns.items() if names}


def read_presence(model: Any, X: Any) -> dict[str, NDArray[np.bool_]]:
    """Return, for each modality of `model`, which rows of X have it."""
    columns = modality_columns(model)
    try:
        frame = Frame.read(X)
    except AsfusionError:
        return {}  # an array-like that only the model itself knows how to read
    if not all(name in frame.columns for names in columns.values() for name in names):
        return {}
    return {name: rows_with_cells(frame, names) for name, names in columns.items()}


def rows_with_cells(frame: Frame, columns: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which rows have a cell in at least one of the columns."""
    return frame.present(columns)


def group_by_pattern(
    presence: Mapping[str, NDArray[np.bool_]],
) -> list[tuple[tuple[str, ...], NDArray[np.int64]]]:
    """Return each set of present modalities and its rows, the most frequent first."""
    names = list(presence)
    table = np.stack([presence[name] for name in names], axis=1)
    patterns, number = np.unique(table, axis=0, return_inverse=True)
    found = [
        (tuple(np.asarray(names)[pattern].tolist()), np.flatnonzero(number.ravel() == k))
        for k, pattern in enumerate(patterns)
    ]
    return sorted(found, key=lambda item: -len(item[1]))


def score_patterns(
    judged: Judged, presence: Mapping[str, NDArray[np.bool_]], options: dict[str, Any]
) -> tuple[Pattern, ...]:
    """Return the first score on the rows of each set of present modalities."""
    if not presence:
        return ()
    name = scoring_of(judged).primary
    patterns = []
    parts = {present: judged.take(rows) for present, rows in group_by_pattern(presence)}
    # Named as by an audit of "modalities", which then hides the same ones.
    names = {present: " + ".join(present) or "none" for present in parts}
    hidden = hidden_cells({names[p]: (len(part), part.n_groups) for p, part in parts.items()})
    for present, part in parts.items():
        score = None
        if min(len(part), part.n_groups) >= FEWEST:
            found = score_intervals(make_scorer(part), width=len(part), **options)[0][name]
            score = found if np.isfinite(found.estimate) else None
        shown = None if names[present] in hidden else len(part)
        patterns.append(Pattern(present, shown, score))
    return tuple(patterns)
