"""What a patient's visits are worth when some of them never happened.

Dimensions: V visits of a row, K values of a visit, M coalitions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asfusion.encoders._visit_cells import Visits
from asfusion.explanation._coalitions import Floats, Play
from asfusion.explanation.players import shapley

Bools = NDArray[np.bool_]
Score = Callable[[Bools], Floats]

_STATES_PER_SAMPLE = 96  # more orders only where a row has fewer values
_FEWEST_ORDERS = 4


@dataclass(frozen=True, eq=False)
class VisitValues:
    """What the visits of one row add: in all (V,), by value (V, K), and standard errors."""

    visits: Floats
    cells: Floats
    errors: Floats


def play_visits(score: Score, visits: Visits) -> Play:
    """Return the worth of a row of which only some visits (M, V) happened."""
    known = ~np.isnan(visits.values)

    def play(masks: Bools) -> Floats:
        return score(masks[:, :, None] & known)

    return play


def attribute_visits(score: Score, visits: Visits, *, n_samples: int, seed: int) -> VisitValues:
    """Return Shapley values of visits, and their shares by value.

    Visits are the players of one game: all coalitions are played up to ten of them, and
    above that the values are estimated. Within a visit the players are its values, joining
    in random order after a random coalition of other visits [1]_; what the draw misses of
    the visit's own value is spread evenly over them.

    References
    ----------
    .. [1] Castro, Gomez, Tejada, "Polynomial calculation of the Shapley value based on
       sampling", Computers & Operations Research 2009.
       https://doi.org/10.1016/j.cor.2008.04.004
    """
    found = shapley(play_visits(score, visits), len(visits), seed=seed)
    known = ~np.isnan(visits.values)
    cells = _within(score, known, n_samples, np.random.default_rng(seed))
    missed = found.values - cells.sum(axis=1)
    cells += np.where(known, (missed / known.sum(axis=1))[:, None], 0.0)
    errors = np.zeros(len(visits)) if found.errors is None else found.errors
    return VisitValues(found.values, cells, errors)


def _within(score: Score, known: Bools, n_samples: int, rng: np.random.Generator) -> Floats:
    """Return what each value (V, K) adds to its visit, on average over random orders.

    An order and its reverse are walked together, which cancels much of the error.
    """
    n_visits = len(known)
    n_states = int(known.sum()) + n_visits
    n_pairs = max(_FEWEST_ORDERS, min(n_samples, _STATES_PER_SAMPLE * n_samples // n_states)) // 2
    states, owners = [], []
    for visit in range(n_visits):
        own = np.flatnonzero(known[visit])
        # Every size of the coalition before, that of all visits too, is as likely as any other.
        sizes = (np.arange(n_pairs) + rng.random()) / n_pairs * (n_visits + 1)
        for size in np.floor(sizes):
            order = rng.permutation(own)
            before = rng.permutation(n_visits) < size
            for joined, others in ((order, before), (order[::-1], ~before)):
                others = others.copy()
                others[visit] = False
                states.append(_walk(known, visit, joined, others))
                owners.append((visit, joined))
    gains = np.split(np.diff(score(np.concatenate(states))), _edges(states))
    cells = np.zeros(known.shape)
    for (visit, joined), gain in zip(owners, gains, strict=True):
        cells[visit, joined] += gain[: len(joined)] / (2 * n_pairs)
    return cells


def _walk(known: Bools, visit: int, order: NDArray[np.int64], others: Bools) -> Bools:
    """Return the states (len(order) + 1, V, K) of a visit whose values join one by one."""
    states = np.tile(known & others[:, None], (len(order) + 1, 1, 1))
    for step, value in enumerate(order.tolist(), start=1):
        states[step:, visit, value] = True
    return states


def _edges(states: list[Bools]) -> NDArray[np.int64]:
    """Return where one walk ends among all steps; the step between two walks belongs to none."""
    return np.cumsum([len(walk) for walk in states])[:-1]
