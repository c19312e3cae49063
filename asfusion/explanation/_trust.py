"""Whether an explanation can be trusted: sums, deletion, agreement, randomisation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._progress import progress_shown
from asfusion._random import torch_seed
from asfusion.estimators._joint import JointFusion
from asfusion.explanation._curves import Curves, Parts, trace
from asfusion.explanation._game import Game
from asfusion.explanation._parts import parts_of
from asfusion.explanation.players import exact_shapley
from asfusion.explanation.tables import TableAttribution
from asfusion.explanation.text import TextAttribution
from asfusion.explanation.visits import VisitAttribution

if TYPE_CHECKING:
    from asfusion.explanation.result import Explanation

Floats = NDArray[np.float64]

_SUMS, _AGREEMENT, _ALIKE = 1e-5, 0.8, 0.9
_STANDARD_ERRORS = 5
_RANDOM_ORDERS, _ORDERS_WITHIN = 20, 5


@dataclass(frozen=True)
class Check:
    """One question to an explanation, and its answer.

    Parameters
    ----------
    name : str
        What was asked, and of which modality.
    value : float
        The answer.
    limit : float
        What it is held against.
    passed : bool
        Whether it holds.
    meaning : str
        What the number is.
    """

    name: str
    value: float
    limit: float
    passed: bool
    meaning: str


def run(e: Explanation) -> list[Check]:
    """Return every check that applies."""
    checks = [_efficiency(e)]
    if isinstance(e.details, dict):
        return checks
    with progress_shown(e.details.verbose):
        checks += [check for name in e.names for check in _within(e, name)]
        checks += _curve_checks(e)
        checks.append(_exchanged(e))
        untrained = _untrained(e)
    return checks if untrained is None else [*checks, untrained]


def _efficiency(e: Explanation) -> Check:
    gap = float(np.abs(e.base_values + e.values.sum(axis=1) - e.predictions).max())
    return Check(
        "modalities add up", gap, _SUMS, gap <= _SUMS, "largest gap between sum and prediction"
    )


def _within(e: Explanation, name: str) -> list[Check]:
    """Return whether what lies within a modality adds up to its value, and repeats."""
    detail = e[name]
    m = e.names.index(name)
    totals = e.values[:, m]
    # Sampled values and their parts come from different coalitions.
    limit = _SUMS if e.errors is None else max(_SUMS, _STANDARD_ERRORS * e.errors[:, m].max())
    checks = []
    if isinstance(detail, TableAttribution):
        gap = float(np.abs(detail.values.sum(axis=1) - totals).max())
        checks.append(_sum_check(name, gap, limit))
    elif isinstance(detail, VisitAttribution):
        apart = np.abs(detail.cells.sum(axis=1) - detail.values).max(initial=0.0)
        there = e.present[:, m]
        missed = np.abs(detail.totals - totals)[there].max(initial=0.0)
        gap = float(max(missed, apart))
        checks.append(_sum_check(name, gap, limit))
    else:
        checks += _within_rows(e, name, detail, limit)
    again = _agreement(e, name)
    return [*checks, *([] if again is None else [again]), *_curve_checks(e, name)]


def _within_rows(e: Explanation, name: str, detail: Any, most: float) -> list[Check]:
    """Return whether words, pixels or voxels and the rest add up, and what the method misses."""
    there = [(row, part) for row, part in enumerate(detail) if part is not None]
    if not there:
        return []
    totals = e.values[:, e.names.index(name)]
    sums = [sum(value for _, value in parts_of(detail, row)) for row, _ in there]
    apart = [abs(total - totals[row]) for total, (row, _) in zip(sums, there, strict=True)]
    checks = [_sum_check(name, max(apart), most)]
    gaps = [abs(p.gap) for _, p in there if p.gap is not None and p.method != "shapley"]
    if gaps:
        limit = 0.05 * max(1e-9, float(np.abs(e.predictions).max()))
        what = "words" if isinstance(there[0][1], TextAttribution) else "pixels"
        worst = float(max(gaps))
        meaning = f"largest gap that the method leaves between {what} and what they should explain"
        checks.append(Check(f"{name}: {what} add up", worst, limit, worst <= limit, meaning))
    return checks


def _sum_check(name: str, gap: float, limit: float) -> Check:
    meaning = "largest gap between the parts' sum and the modality's value"
    return Check(f"{name}: parts add up", gap, limit, gap <= limit, meaning)


def _agreement(e: Explanation, name: str) -> Check | None:
    """Return how well another seed ranks the same parts of the same row."""
    vectors = _as_vectors(e[name])
    if vectors is None:
        return None
    details = replace(e.details, seed=e.details.seed + 1)
    other = _as_vectors(details.of(name))
    pairs = [
        float(np.corrcoef(one, two)[0, 1])
        for one, two in zip(vectors, other or [], strict=True)
        if len(one) > 2 and one.std() > 0 and two.std() > 0
    ]
    if not pairs:
        return None
    lowest = min(pairs)
    meaning = "lowest correlation of a row's parts between two seeds"
    return Check(f"{name}: seeds agree", lowest, _AGREEMENT, lowest >= _AGREEMENT, meaning)


def _as_vectors(detail: Any) -> list[Floats] | None:
    if isinstance(detail, TableAttribution):
        return list(np.asarray(detail.values, dtype=np.float64))
    if isinstance(detail, VisitAttribution):
        return [detail.cells[detail.of_row(row)].ravel() for row in range(len(detail))]
    vectors = [
        np.asarray([s.value for s in part.spans])
        for part in detail
        if isinstance(part, TextAttribution)
    ]
    return vectors or None


def curves_of(e: Explanation, name: str | None = None) -> Curves | None:
    """Return the curves over modalities, or over the parts within one of them."""
    if name is not None:
        with progress_shown(e.details.verbose):
            parts = e.details.parts(name, e[name])
            return trace(parts, n_random=_ORDERS_WITHIN, seed=0)
    return trace(_modality_parts(e), n_random=_RANDOM_ORDERS, seed=0)


def _modality_parts(e: Explanation) -> Iterator[Parts]:
    game = e.details.game
    for row in range(len(e)):
        # What a row lacks is a part, too, where others have it in its place.
        there = np.flatnonzero(e.present[row] | bool(game.n_background))

        def play(masks: NDArray[np.bool_], row: int = row, there: Any = there) -> Floats:
            kept = np.zeros((len(masks), len(game.names)), dtype=bool)
            kept[:, there] = masks
            return np.asarray(game.values(np.full(len(kept), row), kept))

        yield Parts(e.values[row, there], play)


def _curve_checks(e: Explanation, name: str | None = None) -> list[Check]:
    """Return whether the largest values move the output sooner than any."""
    curves = curves_of(e, name)
    if curves is None:
        return []
    start = "" if name is None else f"{name}: "
    what = "modalities" if name is None else "parts"
    meanings = {
        "deletion": f"area gained by taking away the largest {what} first instead of any",
        "insertion": f"area gained by putting in the largest {what} first instead of any",
    }
    return [
        Check(f"{start}{kind} beats random order", gain, 0.0, gain >= -1e-9, meaning)
        for kind, meaning in meanings.items()
        for gain in [curves.gain(kind)]
    ]


def _exchanged(e: Explanation) -> Check:
    """Return how alike the modality values stay when content is dealt to the wrong rows.

    An explanation that another patient's content does not change says nothing of this one.
    """
    game = e.details.game
    meaning = "correlation of modality values with those of exchanged patients"
    name = "values belong to the patient"
    if len(e) < 3 or len(e.names) > 10:
        return Check(name, float("nan"), _ALIKE, True, f"{meaning}; needs three rows")
    order = np.roll(np.arange(game.n_rows), 1)
    rows = np.concatenate([order, np.arange(game.n_rows, len(game.parts))])
    parts = game.parts.take(rows)
    alike = _alike(e, Game(game.model, parts, game.columns, game.n_background, game.link))
    return Check(name, alike, _ALIKE, alike < _ALIKE, meaning)


def _untrained(e: Explanation) -> Check | None:
    """Return how alike the values stay when the network's weights are drawn anew.

    The test of Adebayo et al. (NeurIPS 2018, doi:10.48550/arXiv.1810.03292). Models of
    scikit-learn have no untrained state to compare with.
    """
    game = e.details.game
    if not isinstance(game.model, JointFusion) or len(e) < 3 or len(e.names) > 10:
        return None
    model = copy.copy(game.model)
    with torch_seed(0):
        model.network_ = game.model._new_network(pretrained=False)
    dtype = next(game.model.network_.parameters()).dtype
    model.network_.to(dtype).eval()
    parts = model._encode(e.details.frame)
    alike = _alike(e, Game(model, parts, game.columns, game.n_background, game.link))
    meaning = "correlation of modality values with those of an untrained network"
    return Check("values need training", alike, _ALIKE, alike < _ALIKE, meaning)


def _alike(e: Explanation, other: Game) -> float:
    """Return the correlation of modality values with those of another game."""
    values = exact_shapley(other.all_subsets()).T
    kept = other.present | bool(other.n_background)
    one, two = e.values.ravel(), np.where(kept, values, 0.0).ravel()
    return float(np.corrcoef(one, two)[0, 1]) if one.std() and two.std() else 0.0
