"""How well probabilities of two classes hold, and what of a change is of the patients.

Dimensions: N rows, R replicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._calibration import Recalibration, log_odds
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation.scoring import Scoring
from asfusion.exceptions import ConfigurationError, InputError

Floats = NDArray[np.float64]

FEWEST_OF_A_CLASS = 10


@dataclass(frozen=True)
class Outcome:
    """What is kept of predictions and of what was true.

    Parameters
    ----------
    n_rows, n_positive : int
        Patients, and those of the positive class.
    classes : tuple of str
        Names of the two classes, the positive one last.
    auc, intercept, slope : float
        Discrimination; what would make the mean log-odds right; slope of the outcome on log-odds.
    auc_error, intercept_error, slope_error : float
        Their standard errors, by a bootstrap of patients.
    expected_auc : float
        The AUC if every probability were true: it says how different the patients are.
    excess_error : float
        Standard error of `auc` minus `expected_auc`.
    log_odds_mean, log_odds_spread : float
        Of the predictions.
    """

    n_rows: int
    n_positive: int
    classes: tuple[str, ...]
    auc: float
    intercept: float
    slope: float
    auc_error: float
    intercept_error: float
    slope_error: float
    expected_auc: float = np.nan
    excess_error: float = np.nan
    log_odds_mean: float = np.nan
    log_odds_spread: float = np.nan

    @property
    def prevalence(self) -> float:
        """Share of the positive class."""
        return self.n_positive / self.n_rows


def check_two_classes(judged: Judged, scoring: Scoring) -> None:
    """Raise unless two classes were predicted and each has rows enough."""
    if len(judged.classes) != 2 or judged.predicted.ndim != 1:
        msg = (
            f"external_validation: expected probabilities of two classes, got a {judged.task} "
            "task. Pass y_new=None to compare the inputs alone, and use evaluate for the rest."
        )
        raise ConfigurationError(msg)
    counts = np.bincount(judged.y, minlength=2)
    if counts.min() < FEWEST_OF_A_CLASS:
        msg = (
            f"y: expected at least {FEWEST_OF_A_CLASS} rows of each class, got {counts.min()}. "
            "Pass y_new=None to compare the inputs alone."
        )
        raise InputError(msg)


def measure(judged: Judged, n_bootstrap: int, seed: int) -> Outcome:
    """Return how probabilities do on these rows, with standard errors."""
    positive, probability = judged.y == 1, judged.predicted
    weights = _replicates(judged.groups, n_bootstrap, seed)
    calibration = Recalibration(positive, probability)
    one = np.ones((1, len(positive)))
    order = np.argsort(probability, kind="stable")
    areas = np.asarray([_areas(positive, probability, order, w) for w in weights])
    auc, expected = _areas(positive, probability, order, one[0])
    z = log_odds(probability)
    return Outcome(
        n_rows=len(positive),
        n_positive=int(positive.sum()),
        classes=judged.classes,
        auc=auc,
        intercept=float(calibration.shifts(one)[0]),
        slope=float(calibration.slopes(one)[0]),
        auc_error=_spread(areas[:, 0]),
        intercept_error=_spread(calibration.shifts(weights)),
        slope_error=_spread(calibration.slopes(weights)),
        expected_auc=expected,
        excess_error=_spread(areas[:, 0] - areas[:, 1]),
        log_odds_mean=float(z.mean()),
        log_odds_spread=float(z.std(ddof=1)),
    )


def _replicates(groups: NDArray[np.int64], n: int, seed: int) -> Floats:
    """Return how often each row is drawn (R, N), patient by patient."""
    n_groups = int(groups.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=n)
    return np.asarray(drawn[:, groups], dtype=np.float64)


def _areas(
    positive: NDArray[np.bool_], probability: Floats, order: NDArray[np.int64], weights: Floats
) -> tuple[float, float]:
    """Return the AUC as it is, and as it would be if every probability were true."""
    p, w = probability[order], weights[order]
    start = np.flatnonzero(np.r_[True, np.diff(p) > 0])
    true = positive[order].astype(np.float64)
    return _area(w * true, w * (1 - true), start), _area(
        w * p, w * (1 - p), start, w * w * p * (1 - p)
    )


def _area(
    cases: Floats, others: Floats, start: NDArray[np.int64], own: Floats | None = None
) -> float:
    """Return the share of pairs of a case and another that are ranked well; ties count half.

    `own` is what a row would count as a pair with itself, half of which is a tie.
    """
    case, other = np.add.reduceat(cases, start), np.add.reduceat(others, start)
    below = np.cumsum(other) - other
    well, pairs = case @ (below + 0.5 * other), case.sum() * other.sum()
    itself = 0.0 if own is None else float(own.sum())
    pairs -= itself
    return float((well - 0.5 * itself) / pairs) if pairs > 0 else np.nan


def _spread(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else np.nan


# -- what to recalibrate ---------------------------------------------------------------


def closed_test(
    positive: NDArray[np.bool_], probability: Floats, inputs: Floats
) -> tuple[str, dict[str, float]]:
    """Return the smallest update that the rows do not speak against, and the p-values behind it.

    Inputs (N, C) are standardised numbers, without a missing cell; the largest model regresses
    the outcome on log-odds and all of them.
    """
    from scipy.stats import chi2

    z, y = log_odds(probability), positive.astype(np.float64)
    one = np.ones((len(y), 1))
    full = np.hstack([one, z[:, None], inputs])
    top = _likelihood(full, y, np.zeros_like(z))
    steps = {
        "none": (_value(y, z), full.shape[1]),
        "intercept": (_likelihood(one, y, z), full.shape[1] - 1),
        "slope": (_likelihood(full[:, :2], y, np.zeros_like(z)), full.shape[1] - 2),
    }
    p_values = {
        name: float(chi2.sf(max(0.0, 2.0 * (top - value)), df)) if df else 1.0
        for name, (value, df) in steps.items()
    }
    update = next((name for name, p in p_values.items() if p > 0.05), "refit")
    return update, p_values


def _likelihood(design: Floats, y: Floats, offset: Floats) -> float:
    """Return the log-likelihood of a logistic regression, by Newton's method."""
    beta = np.zeros(design.shape[1])
    value = _value(y, offset)
    for _ in range(50):
        mean = _mean(design @ beta + offset)
        curvature = design.T @ (design * (mean * (1 - mean))[:, None])
        step = np.linalg.lstsq(curvature, design.T @ (y - mean), rcond=None)[0]
        size = 1.0
        while size > 1e-4 and _value(y, design @ (beta + size * step) + offset) < value - 1e-12:
            size /= 2
        beta = beta + size * step
        before, value = value, _value(y, design @ beta + offset)
        if abs(value - before) < 1e-8:
            break
    return value


def _mean(z: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(z, -500, 500))))


def _value(y: Floats, z: Floats) -> float:
    return float((y * z - np.logaddexp(0.0, z)).sum())


def outcome_of_report(report: Any) -> Outcome:
    """Return what a report tells of its rows; how different its patients are it does not tell."""
    from statistics import NormalDist

    scores = report.scores
    if not {"auc", "calibration_intercept", "calibration_slope"} <= set(scores):
        msg = (
            f"reference: expected a report of two classes, got one of a {report.task} task. Make "
            "one with asfusion.sites.make_reference for the inputs alone."
        )
        raise ConfigurationError(msg)
    width = 2.0 * NormalDist().inv_cdf(0.5 + report.confidence / 2.0)
    found = {
        ours: (scores[name].estimate, (scores[name].high - scores[name].low) / width)
        for ours, name in {
            "auc": "auc",
            "intercept": "calibration_intercept",
            "slope": "calibration_slope",
        }.items()
    }
    values = {name: float(value) for name, (value, _) in found.items()}
    errors = {f"{name}_error": float(error) for name, (_, error) in found.items()}
    n_positive = round(report.shares[-1] * report.n_rows)
    return Outcome(report.n_rows, n_positive, tuple(report.classes), **values, **errors)
