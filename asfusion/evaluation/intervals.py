"""Bootstrap intervals that resample patients, not rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation.metrics import Scorer

Floats = NDArray[np.float64]

_CELLS = 100_000  # numbers per block of replicates: what stays in a processor's cache
_ENOUGH = 0.5  # share of replicates that must be defined for an interval to be given


@dataclass(frozen=True)
class Interval:
    """An estimate with a percentile interval.

    Parameters
    ----------
    estimate : float
        The score on the rows as they are.
    low, high : float
        The interval; NaN where too few replicates were defined.
    n_undefined : int
        Replicates in which the score was undefined, for example because all their
        patients were of one class. They are left out.
    """

    estimate: float
    low: float
    high: float
    n_undefined: int = 0


def draw_counts(n_groups: int, n_bootstrap: int, seed: int, *, width: int) -> Iterator[Floats]:
    """Yield how often each group was drawn, in blocks of replicates.

    Parameters
    ----------
    n_groups : int
        Groups to draw, as many as there are, with replacement.
    n_bootstrap : int
        Number of replicates.
    seed : int
        The same seed and number of groups give the same replicates: scores of two models
        on them are paired.
    width : int
        Columns that the caller will make of each replicate, which sets the block size.

    Yields
    ------
    ndarray of shape (block, n_groups)
        Counts; each row sums to `n_groups`.
    """
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // max(width, n_groups))
    for start in range(0, n_bootstrap, block):
        size = min(block, n_bootstrap - start)
        drawn = rng.integers(n_groups, size=(size, n_groups))
        drawn += n_groups * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n_groups)
        yield counts.reshape(size, n_groups).astype(np.float64)


def bootstrap_scores(
    scorer: Scorer, *, n_bootstrap: int, seed: int, width: int
) -> dict[str, Floats]:
    """Return the replicates (n_bootstrap,) of every score of `scorer`.

    Parameters
    ----------
    scorer : Scorer
        One set of predictions.
    n_bootstrap : int
        Number of replicates.
    seed : int
        Seeds the draws; see `draw_counts`.
    width : int
        Number of rows.

    Returns
    -------
    dict of str to ndarray
        NaN where a replicate leaves a score undefined.

    References
    ----------
    .. [1] Field, Welsh, "Bootstrapping clustered data", J R Stat Soc B 2007.
       https://doi.org/10.1111/j.1467-9868.2007.00593.x

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.evaluation.intervals import bootstrap_scores
    >>> from asfusion.evaluation.metrics import BinaryScorer
    >>> y, p = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.6, 0.1])
    >>> patient = np.array([0, 0, 1, 1])
    >>> scorer = BinaryScorer(y, p, groups=patient)
    >>> bootstrap_scores(scorer, n_bootstrap=5, seed=0, width=4)["auc"].shape
    (5,)
    """
    draws = draw_counts(scorer.n_groups, n_bootstrap, seed, width=width)
    blocks = [scorer(counts) for counts in draws]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def percentile_interval(estimate: float, replicates: Floats, confidence: float) -> Interval:
    """Return the central share `confidence` of the replicates.

    Parameters
    ----------
    estimate : float
        The score on the rows as they are.
    replicates : ndarray of shape (R,)
        The score on each replicate, NaN where undefined.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Interval
        Without limits (NaN) if fewer than half of the replicates are defined, or the
        estimate itself is not.
    """
    defined = replicates[~np.isnan(replicates)]
    n_undefined = len(replicates) - len(defined)
    if len(defined) < max(1.0, _ENOUGH * len(replicates)) or not np.isfinite(estimate):
        return Interval(estimate, np.nan, np.nan, n_undefined)
    tail = (1.0 - confidence) / 2.0
    low, high = _quantile(np.sort(defined), np.array([tail, 1.0 - tail]))
    return Interval(estimate, float(low), float(high), n_undefined)


def _quantile(values: Floats, shares: Floats) -> Floats:
    """Return quantiles of sorted values between the nearest two, also if some are infinite."""
    place = shares * (len(values) - 1)
    below, above = values[np.floor(place).astype(int)], values[np.ceil(place).astype(int)]
    with np.errstate(invalid="ignore"):
        between = below + (above - below) * (place - np.floor(place))
    return np.asarray(np.where(below == above, below, between))


def score_intervals(
    scorer: Scorer, *, n_bootstrap: int, confidence: float, seed: int, width: int
) -> tuple[dict[str, Interval], dict[str, Floats]]:
    """Return every score with its interval, and the replicates behind them.

    Intervals are percentiles, but for the expected calibration error. Gaps of either sign
    count as positive there, those of chance included, so that it is too large in few rows and
    larger still in replicates of them. How much of that is in the estimate is not known: its upper
    limit is moved down by what replicates exceed the estimate, its lower one by twice
    that, and to 0 where chance alone makes such an estimate in more than a tail of replicates.
    """
    replicates = bootstrap_scores(scorer, n_bootstrap=n_bootstrap, seed=seed, width=width)
    estimates = scorer(np.ones((1, scorer.n_groups)))
    intervals = {
        name: percentile_interval(float(estimates[name][0]), values, confidence)
        for name, values in replicates.items()
    }
    if "ece" in intervals:
        draws = draw_counts(scorer.n_groups, n_bootstrap, seed, width=width)
        chance = [made for counts in draws if (made := scorer.ece_by_chance(counts)) is not None]
        intervals["ece"] = _calibration_interval(
            intervals["ece"], replicates["ece"], np.concatenate(chance), confidence
        )
    return intervals, replicates


def _calibration_interval(
    interval: Interval, replicates: Floats, chance: Floats, confidence: float
) -> Interval:
    """Return a percentile interval of the calibration error, freed of its bias."""
    if np.isnan(interval.low):
        return interval
    bias = float(np.nanmedian(replicates)) - interval.estimate
    largest = float(np.nanquantile(chance, (1.0 + confidence) / 2.0))
    low = 0.0 if interval.estimate <= largest else max(interval.low - 2.0 * bias, 0.0)
    return replace(interval, low=low, high=max(interval.high - bias, 0.0))


def paired_difference(
    estimates: tuple[float, float],
    replicates: tuple[Floats, Floats],
    confidence: float,
) -> Interval:
    """Return the difference of a score between two models, first minus second.

    Parameters
    ----------
    estimates : tuple of two floats
        The score of each model on the rows as they are.
    replicates : tuple of two ndarrays of shape (R,)
        The score of each model on the same replicates: of the same rows, groups and seed.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Interval
        Replicates that leave either score undefined are left out.
    """
    difference = replicates[0] - replicates[1]
    return percentile_interval(estimates[0] - estimates[1], difference, confidence)
