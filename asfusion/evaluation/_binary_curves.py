"""What the pictures of two classes are drawn from."""

from __future__ import annotations

import numpy as np

from asfusion.evaluation._curves import GRID, Curves, on_grid, plain
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._ranking import Ranking
from asfusion.evaluation.intervals import draw_counts, percentile_interval

_BANDS = 500  # replicates behind the band of a ROC curve
_PER_BIN = 20  # rows wanted in each point of a calibration curve; never fewer than half
_BARS = 20
_ENDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # where the bars of predictions may end


def roc_with_band(judged: Judged, *, n_bootstrap: int, confidence: float, seed: int) -> Curves:
    """Return a ROC curve over a grid, and the band of its replicates."""
    ranking = Ranking(judged.y == 1, judged.predicted)
    groups = judged.groups[ranking.order]
    heights = []
    n_bands = min(n_bootstrap, _BANDS)
    ones = np.ones((1, judged.n_groups))
    for counts in [ones, *draw_counts(judged.n_groups, n_bands, seed, width=len(judged))]:
        hits, alarms = ranking.cumulate(counts[:, groups])
        defined = (hits[:, -1] > 0) & (alarms[:, -1] > 0)
        for hit, alarm in zip(hits[defined], alarms[defined], strict=True):
            heights.append(on_grid(alarm / alarm[-1], hit / hit[-1]))
    curve, band = heights[0], np.asarray(heights[1:])
    if len(band) < n_bands / 2:
        band = np.full((1, len(GRID)), np.nan)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(band, [tail, 1.0 - tail], axis=0)
    return plain(false_positive=GRID, true_positive=curve, low=low, high=high)


def calibration(judged: Judged, *, n_bootstrap: int, confidence: float, seed: int) -> Curves:
    """Return mean prediction and observed share of bins with equally many rows."""
    n_bins = min(10, len(judged) // _PER_BIN)
    if n_bins < 2:
        return plain(predicted=[], observed=[], low=[], high=[])
    # Equal predictions belong into one bin: the last of those that they would spread over.
    last = np.searchsorted(np.sort(judged.predicted), judged.predicted, side="right") - 1
    bins = last * n_bins // len(judged)
    kept = [rows for rows in (np.flatnonzero(bins == b) for b in range(n_bins)) if len(rows)]
    sums = np.zeros((judged.n_groups, 2 * len(kept)))
    for number, rows in enumerate(kept):
        np.add.at(sums[:, number], judged.groups[rows], judged.y[rows] == 1)
        np.add.at(sums[:, len(kept) + number], judged.groups[rows], 1.0)
    draws = draw_counts(judged.n_groups, n_bootstrap, seed, width=judged.n_groups)
    drawn = np.concatenate([counts @ sums for counts in draws])
    with np.errstate(invalid="ignore"):
        shares = drawn[:, : len(kept)] / drawn[:, len(kept) :]
    observed = [float((judged.y[rows] == 1).mean()) for rows in kept]
    bounds = [
        percentile_interval(share, shares[:, number], confidence)
        for number, share in enumerate(observed)
    ]
    return plain(
        predicted=[judged.predicted[rows].mean() for rows in kept],
        observed=observed,
        low=[bound.low for bound in bounds],
        high=[bound.high for bound in bounds],
    )


def histogram(judged: Judged) -> Curves:
    """Return how many rows of either class have which prediction."""
    # Of a rare outcome nearly all predictions are small: the last bar holds those above as well.
    reach = float(np.quantile(judged.predicted, 0.99))
    end = next(end for end in _ENDS if reach <= end)
    edges, shown = np.linspace(0.0, end, _BARS + 1), np.minimum(judged.predicted, end)
    counts = [np.histogram(shown[judged.y == k], edges)[0] for k in (0, 1)]
    return plain(edges=edges, negative=counts[0], positive=counts[1])
