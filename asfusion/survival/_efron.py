"""The partial likelihood of Cox regression, its slope and its curvature.

Dimensions: N rows, P features, K distinct event times of a stratum, E events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CACHED = 2**17  # values of a block of rows


@dataclass(frozen=True, eq=False)
class Stratum:
    """Rows of one stratum by falling time, and where their event times lie.

    Parameters
    ----------
    rows : ndarray of shape (n,)
        Positions among all rows, the longest time first.
    at : ndarray of shape (n,)
        Number of the latest event time that is not after each row's own, counted from the
        last event time; K where there is none. The rows at risk at event time k are those with
        ``at <= k``.
    events : ndarray of shape (E,)
        Positions in `rows` of the events.
    starts : ndarray of shape (K,)
        Place of the first event of each event time among `events`.
    deaths : ndarray of shape (K,)
        Events at each event time.
    at_risk : ndarray of shape (K,)
        How many of `rows` are at risk at each event time: the first ones.
    times : ndarray of shape (K,)
        The event times, falling.
    """

    rows: Ints
    at: Ints
    events: Ints
    starts: Ints
    deaths: Ints
    at_risk: Ints
    times: Floats


def make_stratum(rows: Ints, event: NDArray[np.bool_], time: Floats) -> Stratum:
    """Return the plan of the given rows."""
    rows = rows[np.argsort(-time[rows], kind="stable")]
    time, event = time[rows], event[rows]
    events = np.flatnonzero(event)
    times, starts, deaths = np.unique(-time[events], return_index=True, return_counts=True)
    at = np.searchsorted(times, -time, side="left")
    at_risk = np.searchsorted(-time, times, side="right")
    return Stratum(rows, at, events, starts, deaths, at_risk, -times)


@dataclass(frozen=True, eq=False)
class Ties:
    """How the events of one time share their risk set: one entry per event.

    Parameters
    ----------
    at : ndarray of shape (E,)
        Event time of each event.
    share : ndarray of shape (E,)
        Share of the tied events that has left the risk set already [1]_.
    weight : ndarray of shape (E,)
        Mean weight of the events of the time.

    References
    ----------
    .. [1] Efron, "The efficiency of Cox's likelihood function for censored data", JASA 1977.
       https://doi.org/10.1080/01621459.1977.10480613
    """

    at: Ints
    share: Floats
    weight: Floats


def make_ties(stratum: Stratum, weight: Floats, ties: str) -> Ties:
    """Return how tied events are counted, by Efron's or Breslow's approximation."""
    at = np.repeat(np.arange(len(stratum.deaths)), stratum.deaths)
    nth = np.arange(len(at)) - stratum.starts[at]
    share = nth / stratum.deaths[at] if ties == "efron" else np.zeros(len(at))
    total = _sum_at(weight[stratum.rows][stratum.events], stratum)
    return Ties(at, share, (total / np.maximum(stratum.deaths, 1))[at])


@dataclass(frozen=True, eq=False)
class Factors:
    """By what sums over the rows at risk are multiplied in the curvature: one of each time.

    With sums S of those at risk, and T of those with the event, of whom a share s has left, tied
    events bring the sum of squares of (S - s T) / exposure. That is the square of
    ``own * S - mixed * T``, and the square of ``left * T``.

    Parameters
    ----------
    own, mixed, left : ndarray of shape (K,)
        The factors.
    """

    own: Floats
    mixed: Floats
    left: Floats


def _factors(ties: Ties, exposure: Floats, n_times: int) -> Factors:
    weight = ties.weight / exposure / exposure  # the square of the least exposure is 0
    sums = [np.bincount(ties.at, weight * ties.share**power, n_times) for power in range(3)]
    own = np.sqrt(sums[0])
    mixed = np.divide(sums[1], own, out=np.zeros(n_times), where=own > 0)
    return Factors(own, mixed, np.sqrt(np.maximum(sums[2] - mixed**2, 0.0)))


def _spread_at_risk(
    X: Floats, stratum: Stratum, relative: Floats, expected: Floats, factors: Factors
) -> Floats:
    """Return the sum over events of the spread (P, P) of features among the rows at risk."""
    n_features = X.shape[1]
    out, at_risk = np.zeros((n_features, n_features)), np.zeros(n_features)
    firsts = np.concatenate([[0], stratum.at_risk[:-1]])
    for times in _blocks(stratum, n_features):
        first, last = firsts[times.start], stratum.at_risk[times.stop - 1]
        rows = stratum.rows[first:last]
        part = X[rows]
        out += _squared(part * np.sqrt(np.maximum(expected[rows], 0.0))[:, None])
        part *= relative[first:last, None]
        sums = np.add.reduceat(part, firsts[times] - first, axis=0)
        sums[0] += at_risk
        at_risk = np.cumsum(sums, axis=0, out=sums)[-1].copy()
        sums *= factors.own[times, None]
        if factors.mixed[times].any():
            begins = stratum.starts[times.start]
            ends = np.append(stratum.starts, len(stratum.events))[times.stop]
            leaving = np.add.reduceat(
                part[stratum.events[begins:ends] - first], stratum.starts[times] - begins, axis=0
            )
            sums -= factors.mixed[times, None] * leaving
            out -= _squared(factors.left[times, None] * leaving)
        out -= _squared(sums)
    return out


def _blocks(stratum: Stratum, n_features: int) -> list[slice]:
    """Return event times by blocks whose rows stay in the processor's cache."""
    size = max(1, _CACHED // n_features)
    cuts = np.searchsorted(stratum.at_risk, np.arange(size, stratum.at_risk[-1], size))
    edges = np.unique([0, *cuts, len(stratum.times)])
    return [slice(a, b) for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]


def _squared(part: Floats) -> Floats:
    return np.asarray(part.T @ part)


def _sum_at(values: Floats, stratum: Stratum) -> Floats:
    """Return sums over the events of each time, of values (E,) or (E, P)."""
    if not len(stratum.starts):
        return np.zeros((0, *values.shape[1:]))
    return np.asarray(np.add.reduceat(values, stratum.starts, axis=0))


def _sum_at_risk(values: Floats, stratum: Stratum) -> Floats:
    """Return sums over the rows at risk at each event time, of values (n,) or (n, P)."""
    if not len(stratum.at_risk):
        return np.zeros((0, *values.shape[1:]))
    # Rows between two event times are summed first: one running sum over K, not over n.
    ends = np.concatenate([[0], stratum.at_risk[:-1]])
    blocks = np.add.reduceat(values[: stratum.at_risk[-1]], ends, axis=0)
    return np.asarray(np.cumsum(blocks, axis=0))


@dataclass(frozen=True, eq=False)
class Slope:
    """The partial log-likelihood at some risks, and what its derivatives are made of.

    Parameters
    ----------
    value : float
        The log-likelihood.
    residuals : ndarray of shape (N,)
        Its derivative by the log risk of each row: weighted events less expected events.
    expected : ndarray of shape (N,)
        Expected events of each row, weighted: the positive part of the curvature.
    """

    value: float
    residuals: Floats
    expected: Floats


class PartialLikelihood:
    """The partial log-likelihood of log risks, for rows in strata.

    Parameters
    ----------
    event, time : ndarray of shape (N,)
        What happened to each row, and when.
    weight : ndarray of shape (N,)
        Weight of each row.
    strata : ndarray of shape (N,)
        Number of the stratum of each row; a row is compared with those of its own.
    ties : {"efron", "breslow"}
        How events at the same time are counted.
    """

    def __init__(
        self,
        event: NDArray[np.bool_],
        time: Floats,
        weight: Floats,
        strata: Ints,
        ties: str = "efron",
    ) -> None:
        self.event, self.time, self.weight = event, time, weight
        self.numbers, self.ties = strata, ties
        order = np.argsort(strata, kind="stable")
        cuts = np.flatnonzero(np.diff(strata[order])) + 1
        made = [make_stratum(rows, event, time) for rows in np.split(order, cuts)]
        self.strata = [(stratum, make_ties(stratum, weight, ties)) for stratum in made]

    def take(self, rows: Ints) -> PartialLikelihood:
        """Return that of some of the rows."""
        return PartialLikelihood(
            self.event[rows], self.time[rows], self.weight[rows], self.numbers[rows], self.ties
        )

    def slope(self, risk: Floats) -> Slope:
        """Return value and first derivatives at log risks (N,); not finite if those lie too far."""
        expected, value = np.zeros(len(risk)), 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for stratum, ties in self.strata:
                part, hazard = self._stratum_slope(risk, stratum, ties)
                expected[stratum.rows] = hazard
                value += part
        value += float((self.weight * self.event) @ risk)
        return Slope(value, self.weight * self.event - expected, expected)

    def _stratum_slope(self, risk: Floats, stratum: Stratum, ties: Ties) -> tuple[float, Floats]:
        peak, relative, exposure = self._exposures(risk, stratum, ties)
        value = -float(ties.weight @ (np.log(exposure) + peak))
        jumps = np.bincount(ties.at, ties.weight / exposure, len(stratum.deaths))
        back = np.bincount(ties.at, ties.weight * ties.share / exposure, len(stratum.deaths))
        # Hazard that a row has lived through: of all event times up to its own.
        lived = np.append(np.cumsum(jumps[::-1])[::-1], 0.0)[stratum.at]
        hazard = relative * lived
        hazard[stratum.events] -= relative[stratum.events] * back[stratum.at[stratum.events]]
        return value, hazard

    def _exposures(
        self, risk: Floats, stratum: Stratum, ties: Ties
    ) -> tuple[float, Floats, Floats]:
        """Return the largest log risk, risks relative to it (n,), and those at risk (E,)."""
        own = risk[stratum.rows]
        peak = float(own.max(initial=-np.inf)) if len(own) else 0.0
        relative = self.weight[stratum.rows] * np.exp(own - peak)
        leaving = _sum_at(relative[stratum.events], stratum)[ties.at]
        exposure = _sum_at_risk(relative, stratum)[ties.at] - ties.share * leaving
        return peak, relative, np.maximum(exposure, np.finfo(float).tiny)

    def curvature(self, X: Floats, risk: Floats, expected: Floats) -> Floats:
        """Return minus the second derivative (P, P) by coefficients of `X` (N, P)."""
        out = np.zeros((X.shape[1], X.shape[1]))
        for stratum, ties in self.strata:
            if len(stratum.deaths):
                _, relative, exposure = self._exposures(risk, stratum, ties)
                factors = _factors(ties, exposure, len(stratum.deaths))
                out += _spread_at_risk(X, stratum, relative, expected, factors)
        return out

    def baseline(self, risk: Floats) -> list[tuple[Floats, Floats]]:
        """Return for each stratum its event times, rising, and the cumulative hazard at them.

        The hazard is that of a log risk of 0, by Breslow's estimator, with the ties' share.
        """
        out = []
        for stratum, ties in self.strata:
            peak, _, exposure = self._exposures(risk, stratum, ties)
            jumps = np.bincount(ties.at, ties.weight / exposure, len(stratum.deaths))
            out.append((stratum.times[::-1], np.cumsum(jumps[::-1]) * np.exp(-peak)))
        return out
