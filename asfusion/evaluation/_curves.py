"""What the pictures of a report are drawn from: counts and curves, never rows.

Everything here is plain lists of numbers, so that a report that was saved draws the same
pictures, and no patient's prediction can be read from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._decision import decision_curve
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._judge import Rules
from asfusion.evaluation._ranking import Ranking
from asfusion.evaluation.intervals import draw_counts, percentile_interval

Floats = NDArray[np.float64]
Curves = dict[str, Any]

_GRID = np.linspace(0.0, 1.0, 101)
_BANDS = 500  # replicates behind the band of a ROC curve
_PER_BIN = 20  # rows wanted in each point of a calibration curve; never fewer than half
_BARS = 20
_ENDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # where the bars of predictions may end
_CELLS = 48  # side of the grid on which predicted and true numbers are counted


def make_curves(
    judged: Judged, rules: Rules, *, n_bootstrap: int, confidence: float, seed: int
) -> Curves:
    """Return the curves of a report for its task."""
    if judged.task == "regression":
        return {
            "targets": [_grid(judged.y[:, t], judged.predicted[:, t]) for t in _targets(judged)]
        }
    if judged.task == "multiclass":
        return _multiclass(judged, rules)
    options: Any = {"n_bootstrap": n_bootstrap, "confidence": confidence, "seed": seed}
    return {
        "roc": _roc_with_band(judged, n_bootstrap, confidence, seed),
        "calibration": _calibration(judged, n_bootstrap, confidence, seed),
        "decision": decision_curve(judged, rules.thresholds, rules.prevalence, **options),
        "histogram": _histogram(judged),
    }


def _roc_with_band(judged: Judged, n_bootstrap: int, confidence: float, seed: int) -> Curves:
    ranking = Ranking(judged.y == 1, judged.predicted)
    groups = judged.groups[ranking.order]
    heights = []
    n_bands = min(n_bootstrap, _BANDS)
    ones = np.ones((1, judged.n_groups))
    for counts in [ones, *draw_counts(judged.n_groups, n_bands, seed, width=len(judged))]:
        hits, alarms = ranking.cumulate(counts[:, groups])
        defined = (hits[:, -1] > 0) & (alarms[:, -1] > 0)
        for hit, alarm in zip(hits[defined], alarms[defined], strict=True):
            heights.append(_on_grid(alarm / alarm[-1], hit / hit[-1]))
    curve, band = heights[0], np.asarray(heights[1:])
    if len(band) < n_bands / 2:
        band = np.full((1, len(_GRID)), np.nan)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(band, [tail, 1.0 - tail], axis=0)
    return _plain(false_positive=_GRID, true_positive=curve, low=low, high=high)


def _on_grid(alarm: Floats, hit: Floats) -> Floats:
    """Return the height of a ROC curve over the grid, the upper end of a vertical step."""
    heights = np.interp(_GRID, np.append(0.0, alarm), np.append(0.0, hit))
    last = np.searchsorted(alarm, _GRID, side="right") - 1
    upper = np.where(last >= 0, hit[np.maximum(last, 0)], 0.0)
    return np.asarray(np.maximum(heights, upper))


def _calibration(judged: Judged, n_bootstrap: int, confidence: float, seed: int) -> Curves:
    """Return mean prediction and observed share of bins with equally many rows."""
    n_bins = min(10, len(judged) // _PER_BIN)
    if n_bins < 2:
        return _plain(predicted=[], observed=[], low=[], high=[])
    bins = np.empty(len(judged), dtype=np.int64)
    bins[np.argsort(judged.predicted, kind="stable")] = (
        np.arange(len(judged)) * n_bins // len(judged)
    )
    # Equal predictions belong into one bin: the last of those that they would spread over.
    for value in np.unique(judged.predicted):
        same = judged.predicted == value
        bins[same] = bins[same].max()
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
    return _plain(
        predicted=[judged.predicted[rows].mean() for rows in kept],
        observed=observed,
        low=[bound.low for bound in bounds],
        high=[bound.high for bound in bounds],
    )


def _histogram(judged: Judged) -> Curves:
    # Of a rare outcome nearly all predictions are small: the last bar holds those above as well.
    reach = float(np.quantile(judged.predicted, 0.99))
    end = next(end for end in _ENDS if reach <= end)
    edges, shown = np.linspace(0.0, end, _BARS + 1), np.minimum(judged.predicted, end)
    counts = [np.histogram(shown[judged.y == k], edges)[0] for k in (0, 1)]
    return _plain(edges=edges, negative=counts[0], positive=counts[1])


def _multiclass(judged: Judged, rules: Rules) -> Curves:
    """Return each class against the rest, and which class was called what."""
    rocs = []
    for k in range(len(judged.classes)):
        ranking = Ranking(judged.y == k, judged.predicted[:, k])
        hits, alarms = ranking.cumulate(np.ones((1, len(judged))))
        defined = hits[0, -1] > 0 and alarms[0, -1] > 0
        heights = (
            _on_grid(alarms[0] / alarms[0, -1], hits[0] / hits[0, -1])
            if defined
            else np.full(len(_GRID), np.nan)
        )
        rocs.append(_plain(false_positive=_GRID, true_positive=heights))
    called = judged.predicted.argmax(axis=1)
    n_classes = len(judged.classes)
    table = np.zeros((n_classes, n_classes))
    np.add.at(table, (judged.y, called), 1.0)
    totals = np.maximum(table.sum(axis=1, keepdims=True), 1.0)
    # Ordered classes are shown in their order: errors lie near the diagonal, or do not.
    order = np.arange(n_classes) if rules.ranks is None else np.argsort(rules.ranks)
    called_by_true = (table / totals)[np.ix_(order, order)]
    return {"rocs": rocs, "called": called_by_true.tolist()}


def _grid(y: Floats, predicted: Floats) -> Curves:
    """Return how many rows fall into each cell of a grid of true and predicted values."""
    low, high = float(min(y.min(), predicted.min())), float(max(y.max(), predicted.max()))
    margin = 0.02 * (high - low) or 0.5
    edges = np.linspace(low - margin, high + margin, _CELLS + 1)
    counts = np.histogram2d(y, predicted, bins=[edges, edges])[0].astype(int)
    true, guess = np.nonzero(counts)
    return {
        "edges": edges.tolist(),
        "true": true.tolist(),
        "predicted": guess.tolist(),
        "n_rows": counts[true, guess].tolist(),
    }


def _targets(judged: Judged) -> range:
    return range(judged.y.shape[1])


def _plain(**arrays: Any) -> Curves:
    """Return arrays as lists of Python numbers."""
    return {name: np.asarray(values, dtype=float).tolist() for name, values in arrays.items()}
