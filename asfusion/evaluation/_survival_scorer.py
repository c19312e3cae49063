"""Scores of predicted survival under censoring, for many weightings of the rows at once.

Dimensions: N rows, K times of the curves, H horizons, R weightings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._decision import DecisionCurve
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._ranking import divide
from asfusion.evaluation.metrics import BinaryScorer, Grouped
from asfusion.survival.concordance import places_in_time, smaller_behind
from asfusion.survival.curves import cumulative_risk, survival_at
from asfusion.survival.kaplan_meier import ProductLimit

Floats = NDArray[np.float64]

_MOST_PAIRED = 3_000  # rows of which all pairs are looked at, for every weighting
_STEPS = 50  # of the integral of the Brier score


class SurvivalScorer(Grouped):
    """Score survival curves.

    Parameters
    ----------
    event : ndarray of shape (N,), bool
        Whether each row's event was seen.
    time : ndarray of shape (N,)
        Until the event, or the end of follow-up.
    survival : ndarray of shape (N, K)
        Predicted probability of no event by each of `times`.
    times : ndarray of shape (K,)
        Rising.
    horizons : sequence of H floats
        Times at which curves are judged; Harrell's C looks at all pairs, Uno's C at events up to
        the last horizon.
    threshold : float
        Rows with at least this risk by a horizon are called, for net benefit.
    groups : ndarray of shape (N,), optional
        Number from 0 of the group of each row; each row is its own by default.

    References
    ----------
    .. [1] Harrell et al., "Evaluating the yield of medical tests", JAMA 1982.
       https://doi.org/10.1001/jama.1982.03320430047030
    .. [2] Uno et al., "On the C-statistics for evaluating overall adequacy of risk prediction
       procedures with censored survival data", Stat Med 2011. https://doi.org/10.1002/sim.4154
    .. [3] Graf et al., "Assessment and comparison of prognostic classification schemes for
       survival data", Stat Med 1999.
       https://doi.org/10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5
    .. [4] Uno et al., "Evaluating prediction rules for t-year survivors with censored
       regression models", JASA 2007. https://doi.org/10.1198/016214507000000149
    """

    def __init__(
        self,
        event: NDArray[np.bool_],
        time: Floats,
        survival: Floats,
        times: Floats,
        *,
        horizons: Sequence[float],
        threshold: float = 0.5,
        groups: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__(len(event), groups)
        self._horizons = list(horizons)
        self._events = ProductLimit(event, time)
        self._censoring = Censoring(event, time)
        self._pairs = _Pairs(event, time, cumulative_risk(survival), max(self._horizons))
        risks = 1.0 - survival_at(survival, times, self._horizons)
        self._risks = risks
        self._at = [
            BinaryScorer(event & (time <= horizon), risk, threshold=threshold)
            for horizon, risk in zip(self._horizons, risks.T, strict=True)
        ]
        self._squares = _Squares(event, time, survival, times, max(self._horizons))

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        """Return each score (R,) for counts of groups (R, n_groups)."""
        weights = np.take(counts, self.groups, axis=1)
        total = weights.sum(axis=1)
        steps = self._censoring.steps(weights)
        harrell, uno = self._pairs(weights, self._censoring.before_events(steps))
        scores = {"c_index": harrell, "c_uno": uno}
        scores["ibs"] = self._squares.integral(weights, self._censoring, steps)
        parts = [self._by_horizon(number, weights, steps, total) for number in range(len(self._at))]
        for name in parts[0]:
            scores[name] = np.mean([part[name] for part in parts], axis=0)
        if len(parts) > 1:
            for horizon, part in zip(self._horizons, parts, strict=True):
                scores |= {f"{name}[{horizon:.4g}]": values for name, values in part.items()}
        return scores

    def _by_horizon(
        self, number: int, weights: Floats, steps: Floats, total: Floats
    ) -> dict[str, Floats]:
        """Return the scores of two classes at a horizon: rows with an event by it, and later."""
        scorer, horizon = self._at[number], self._horizons[number]
        known = weights * self._censoring.inverse(steps, horizon)
        found = scorer(known)
        curve = self._events.steps(weights)[:, self._events.places(horizon)]
        expected = divide(weights @ self._risks[:, number], total)
        return {
            "auc_by": found["auc"],
            "brier_by": divide(found["brier"] * known.sum(axis=1), total),
            "calibration_slope_by": found["calibration_slope"],
            "observed_expected": divide(1.0 - curve, expected),
            "net_benefit_by": found["net_benefit"],
        }


class Censoring:
    """How likely rows were to be still under observation, for many weightings at once.

    Parameters
    ----------
    event, time : ndarray of shape (N,)
        What happened to each row, and when.
    """

    def __init__(self, event: NDArray[np.bool_], time: Floats) -> None:
        self.event, self.time = event, time
        self._curve = ProductLimit(event, time, of_censoring=True)
        self._own = self._curve.places(time, before=True)

    def steps(self, weights: Floats) -> Floats:
        """Return the curve of each weighting (R, N)."""
        return self._curve.steps(weights)

    def before_events(self, steps: Floats) -> Floats:
        """Return one over the curve just before each row's time (R, N); 0 for the censored."""
        return divide_or_zero(self.event, steps[:, self._own])

    def inverse(self, steps: Floats, horizon: float) -> Floats:
        """Return the weight of each row (R, N) by which those that are known stand for all."""
        had, later = self.event & (self.time <= horizon), self.time > horizon
        at = steps[:, self._curve.places(horizon)][:, None]
        return divide_or_zero(had, steps[:, self._own]) + divide_or_zero(later, at)


class CensoredDecision:
    """Net benefit by a horizon at many thresholds, each group counted as often as asked.

    Rows that are known by the horizon count through their inverse probability weights [1]_.

    Parameters
    ----------
    event, time : ndarray of shape (N,)
        What happened to each row, and when.
    risk : ndarray of shape (N,)
        Predicted probability of the event by the horizon.
    horizon : float
        In the unit of `time`.
    groups : ndarray of shape (N,)
        Number from 0 of the group of each row.
    thresholds : ndarray of shape (T,)
        Rising.

    References
    ----------
    .. [1] Vickers et al., "Extensions to decision curve analysis, a novel method for evaluating
       diagnostic tests, prediction models and molecular markers", BMC Med Inform Decis Mak 2008.
       https://doi.org/10.1186/1472-6947-8-53
    """

    def __init__(
        self,
        event: NDArray[np.bool_],
        time: Floats,
        risk: Floats,
        horizon: float,
        groups: NDArray[np.int64],
        thresholds: Floats,
    ) -> None:
        self._censoring, self._horizon, self._groups = Censoring(event, time), horizon, groups
        rows = np.arange(len(time))
        had = (event & (time <= horizon)).astype(np.int64)
        # Weights differ by row and replicate, so that each row is a group of its own.
        judged = Judged("binary", had, risk, ("no", "yes"), rows, True)
        self._curve = DecisionCurve(judged, thresholds, None)

    def __call__(self, counts: Floats) -> tuple[Floats, Floats]:
        """Return net benefit (R, T) of the predictions and of treating all, for counts (R, G)."""
        weights = np.take(counts, self._groups, axis=1)
        steps = self._censoring.steps(weights)
        return self._curve(weights * self._censoring.inverse(steps, self._horizon))


class _Squares:
    """Brier scores over time, whose mean is the integrated one."""

    def __init__(
        self,
        event: NDArray[np.bool_],
        time: Floats,
        survival: Floats,
        times: Floats,
        last: float,
    ) -> None:
        first = float(time[event].min(initial=last))
        self._grid = np.linspace(min(first, last), last, _STEPS)
        alive = time[:, None] > self._grid
        self._errors = (alive - survival_at(survival, times, self._grid)) ** 2

    def integral(self, weights: Floats, censoring: Censoring, steps: Floats) -> Floats:
        """Return the mean over time (R,), by the trapezoid rule."""
        total = weights.sum(axis=1)
        found = [
            np.einsum("rn,rn,n->r", weights, censoring.inverse(steps, at), self._errors[:, k])
            for k, at in enumerate(self._grid)
        ]
        briers = divide(np.stack(found, axis=1), total[:, None])
        if self._grid[0] == self._grid[-1]:
            return briers[:, -1]
        span = self._grid[-1] - self._grid[0]
        return np.asarray(np.trapezoid(briers, self._grid, axis=1) / span)


class _Pairs:
    """Harrell's and Uno's C.

    Of few rows every pair is looked at in every weighting. Of many, sums over pairs are
    expanded around equal weights to first order: exact where each row counts once, and off by
    one over the number of rows in replicates.
    """

    def __init__(self, event: NDArray[np.bool_], time: Floats, risk: Floats, last: float) -> None:
        self._place = places_in_time(event, time)
        self._rows = np.flatnonzero(event)
        self._until = time[self._rows] <= last
        self._order = np.argsort(self._place, kind="stable")
        behind = np.searchsorted(self._place[self._order], self._place, side="right")
        self._behind = behind[self._rows]
        ones = np.ones(len(self._rows))
        self._harrell: _PairSums
        self._uno: _PairSums
        if len(time) <= _MOST_PAIRED:
            self._harrell = self._uno = _AllPairs(self._place, self._rows, risk)
        else:
            censoring = Censoring(event, time)
            inverse = censoring.before_events(censoring.steps(np.ones((1, len(time)))))
            usual = inverse[0, self._rows] ** 2 * self._until
            self._harrell = _Expanded(self._place, self._rows, risk, ones)
            self._uno = _Expanded(self._place, self._rows, risk, usual)

    def __call__(self, weights: Floats, inverse: Floats) -> tuple[Floats, Floats]:
        """Return both for weights (R, N) and one over the censoring curve (R, N)."""
        own = weights[:, self._rows]
        uno = own * inverse[:, self._rows] ** 2 * self._until
        later = self._later(weights)
        found = []
        for agreeing, part in ((self._harrell, own), (self._uno, uno)):
            comparable = (part * later).sum(axis=1)
            found.append(divide(agreeing(part, weights, comparable), comparable))
        return found[0], found[1]

    def _later(self, weights: Floats) -> Floats:
        """Return the weight behind each event (R, E)."""
        ordered = np.cumsum(weights[:, self._order][:, ::-1], axis=1)[:, ::-1]
        ordered = np.concatenate([ordered, np.zeros((len(ordered), 1))], axis=1)
        return np.asarray(ordered[:, self._behind])


class _PairSums(Protocol):
    """The weight of pairs that agree (R,).

    Of weights of events (R, E) and of rows (R, N), and the weight of all their pairs (R,).
    """

    def __call__(self, own: Floats, weights: Floats, comparable: Floats) -> Floats: ...


class _AllPairs:
    """Pairs in which the event comes first and has the higher risk, each looked at."""

    def __init__(self, place: NDArray[np.int64], rows: NDArray[np.int64], risk: Floats) -> None:
        own = risk[rows][:, None]
        higher = (own > risk) + 0.5 * (own == risk)
        self._table = (place > place[rows][:, None]) * higher

    def __call__(self, own: Floats, weights: Floats, comparable: Floats) -> Floats:
        return np.asarray(np.einsum("re,re->r", own, weights @ self._table.T))


class _Expanded:
    """The same to first order around events of weight `base` (E,) and rows of weight one.

    What is expanded is by how much pairs agree more often than usual. That is zero on average, so
    that what the expansion leaves out is small, too.
    """

    def __init__(
        self, place: NDArray[np.int64], rows: NDArray[np.int64], risk: Floats, base: Floats
    ) -> None:
        spread = np.zeros(len(place))
        spread[rows] = base
        level = np.zeros(len(place))  # equal risks agree half the time: half of all pairs
        ones = np.ones(len(place))
        agree = smaller_behind(place, risk, ones)[rows]
        pairs = 2.0 * smaller_behind(place, level, ones)[rows]
        self._usual = float(base @ agree) / max(float(base @ pairs), 1e-300)
        before = smaller_behind(-place, -risk, spread)
        self._by_event = agree - self._usual * pairs
        self._by_row = before - self._usual * 2.0 * smaller_behind(-place, level, spread)

    def __call__(self, own: Floats, weights: Floats, comparable: Floats) -> Floats:
        return self._usual * comparable + own @ self._by_event + weights @ self._by_row


def divide_or_zero(numerator: NDArray[np.bool_], denominator: Floats) -> Floats:
    """Return the ratio (R, N), 0 where the denominator is."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    out = np.zeros(shape)
    np.divide(numerator, denominator, out=out, where=numerator & (denominator > 0))
    return out


def usual_horizons(event: NDArray[np.bool_], time: Floats) -> tuple[float, ...]:
    """Return the times by which a quarter, half and three quarters of the events were seen."""
    found = dict.fromkeys(float(v) for v in np.quantile(time[event], [0.25, 0.5, 0.75]))
    # At the end of follow-up nobody is left to be told apart from those with an event.
    before = [value for value in found if value < time.max()]
    return tuple(before) or tuple(found)[:1]
