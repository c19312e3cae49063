"""Whether an explanation can be trusted: sums, deletion, agreement, randomisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from asfusion._progress import progress_shown
from asfusion.explanation._attribution import Floats
from asfusion.explanation._coalitions import Masks
from asfusion.explanation._curves import Claim, Curves, trace
from asfusion.explanation._details import Details
from asfusion.explanation._explained import Explained
from asfusion.explanation._game import Game
from asfusion.explanation.players import exact_shapley

_SUMS, _AGREEMENT, _ALIKE = 1e-5, 0.8, 0.9
_STANDARD_ERRORS = 5
_RANDOM_ORDERS, _ORDERS_WITHIN = 20, 5
_NOT_THE_PATIENT = "Another patient's content gives much the same values."


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
    failure : str
        What it is called in words where it does not hold.
    at_most : bool
        Whether the answer may be no more than the limit; else no less.
    """

    name: str
    value: float
    limit: float
    passed: bool
    meaning: str
    failure: str
    at_most: bool = True

    def in_words(self) -> tuple[str, str, str]:
        """Return what failed, what was found and what was needed."""
        needed = f"at {'most' if self.at_most else 'least'} {self.limit:.2g}"
        return self.failure, f"{self.value:.2g}", needed


def check_sums(e: Explained) -> Check:
    """Return whether base value and values add up to the prediction."""
    gap = float(np.abs(e.base_values + e.values.sum(axis=1) - e.predictions).max())
    return Check(
        "modalities add up",
        gap,
        _SUMS,
        gap <= _SUMS,
        "largest gap between sum and prediction",
        "The modalities do not add up to the prediction.",
    )


def check_model(e: Explained) -> list[Check]:
    """Return every check that asks the model again."""
    with progress_shown(e.details.verbose):
        checks = [check for name in e.names for check in _within(e, name)]
        checks += _curve_checks(e)
        checks.append(_exchanged(e))
        untrained = _untrained(e)
    return checks if untrained is None else [*checks, untrained]


def _within(e: Explained, name: str) -> list[Check]:
    """Return whether what lies within a modality adds up to its value, and repeats."""
    found, m = e[name], e.names.index(name)
    # Sampled values and their parts come from different coalitions.
    limit = _SUMS if e.errors is None else max(_SUMS, _STANDARD_ERRORS * e.errors[:, m].max())
    missed = found._missed(e.values[:, m], e.present[:, m])
    checks = [] if missed is None else [_sum_check(name, missed, limit)]
    left_open = found._left_open()
    if left_open is not None:
        checks.append(_method_check(e, name, *left_open))
    again = _agreement(e, name)
    return [*checks, *([] if again is None else [again]), *_curve_checks(e, name)]


def _method_check(e: Explained, name: str, parts_are: str, worst: float) -> Check:
    limit = 0.05 * max(1e-9, float(np.abs(e.predictions).max()))
    return Check(
        f"{name}: {parts_are} add up",
        worst,
        limit,
        worst <= limit,
        f"largest gap that the method leaves between {parts_are} and what they should explain",
        f"{name}: the {parts_are} leave open a part of what they should explain.",
    )


def _sum_check(name: str, gap: float, limit: float) -> Check:
    meaning = "largest gap between the parts' sum and the modality's value"
    failure = f"{name}: what lies within it does not add up to its value."
    return Check(f"{name}: parts add up", gap, limit, gap <= limit, meaning, failure)


def _agreement(e: Explained, name: str) -> Check | None:
    """Return how well another seed ranks the same parts of the same row."""
    vectors = e[name]._vectors()
    if not vectors:
        return None
    details: Details = e.details
    pairs = [
        float(np.corrcoef(one, two)[0, 1])
        for one, two in zip(vectors, details.again().of(name)._vectors(), strict=True)
        if len(one) > 2 and one.std() > 0 and two.std() > 0
    ]
    if not pairs:
        return None
    lowest = min(pairs)
    meaning = "lowest correlation of a row's parts between two seeds"
    failure = f"{name}: asked again with other draws, other parts of it come first."
    agree = lowest >= _AGREEMENT
    name = f"{name}: seeds agree"
    return Check(name, lowest, _AGREEMENT, agree, meaning, failure, at_most=False)


def curves_of(e: Explained, name: str | None = None) -> Curves | None:
    """Return the curves over modalities, or over the parts within one of them."""
    if name is not None:
        with progress_shown(e.details.verbose):
            parts = e.details.parts(name, e[name])
            return trace(parts, n_random=_ORDERS_WITHIN, seed=0)
    return trace(_modality_parts(e), n_random=_RANDOM_ORDERS, seed=0)


def _modality_parts(e: Explained) -> Iterator[Claim]:
    game = e.details.game
    for row in range(len(e)):
        # What a row lacks is a part, too, where others have it in its place.
        there = np.flatnonzero(e.present[row] | bool(game.n_background))

        def play(masks: Masks, row: int = row, there: Any = there) -> Floats:
            kept = np.zeros((len(masks), len(game.names)), dtype=bool)
            kept[:, there] = masks
            return np.asarray(game.values(np.full(len(kept), row), kept))

        yield Claim(e.values[row, there], play)


def _curve_checks(e: Explained, name: str | None = None) -> list[Check]:
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
    verbs = {"deletion": "taken away", "insertion": "put in"}
    return [
        Check(
            f"{start}{kind} beats random order",
            gain,
            0.0,
            gain >= -1e-9,
            meaning,
            f"{start}the {what} said to matter most, {verbs[kind]} first, move the prediction no "
            "sooner than any others.",
            at_most=False,
        )
        for kind, meaning in meanings.items()
        for gain in [curves.gain(kind)]
    ]


def _exchanged(e: Explained) -> Check:
    """Return how alike the modality values stay when content is dealt to the wrong rows.

    An explanation that another patient's content does not change says nothing of this one.
    """
    game = e.details.game
    meaning = "correlation of modality values with those of exchanged patients"
    name = "values belong to the patient"
    if len(e) < 3 or len(e.names) > 10:
        told = f"{meaning}; needs three rows"
        return Check(name, float("nan"), _ALIKE, True, told, _NOT_THE_PATIENT)
    order = np.roll(np.arange(game.n_rows), 1)
    rows = np.concatenate([order, np.arange(game.n_rows, len(game.parts))])
    alike = _alike(e, game.of(game.model, game.parts.take(rows)))
    return Check(name, alike, _ALIKE, alike < _ALIKE, meaning, _NOT_THE_PATIENT)


def _untrained(e: Explained) -> Check | None:
    """Return how alike the values stay when the network's weights are drawn anew.

    The test of Adebayo et al. (NeurIPS 2018, doi:10.48550/arXiv.1810.03292). Models of
    scikit-learn have no untrained state to compare with.
    """
    game = e.details.game
    if len(e) < 3 or len(e.names) > 10:
        return None
    model = game.model._untrained()
    if model is None:
        return None
    alike = _alike(e, game.of(model, model._encode(e.details.frame)))
    meaning = "correlation of modality values with those of an untrained network"
    failure = "A network that has learned nothing gives much the same values."
    return Check("values need training", alike, _ALIKE, alike < _ALIKE, meaning, failure)


def _alike(e: Explained, other: Game) -> float:
    """Return the correlation of modality values with those of another game."""
    values = exact_shapley(other.all_subsets()).T
    kept = other.present | bool(other.n_background)
    one, two = e.values.ravel(), np.where(kept, values, 0.0).ravel()
    return float(np.corrcoef(one, two)[0, 1]) if one.std() and two.std() else 0.0
