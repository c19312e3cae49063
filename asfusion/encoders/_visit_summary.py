"""Visits as tensors, and what can be said of them without a network.

Dimensions: N rows, L visits of a row, K values of a visit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from asfusion._later import torch
from asfusion._tokens import Prepared
from asfusion.encoders._visit_cells import Floats, Visits

STATISTICS: Final = ("last", "mean", "slope_per_year", "count", "years_since")

_CLIP = 10.0
_YEAR = 365.25
_FLAT = 1e-6  # a spread of slopes that is rounding
_DAMPING = 1.0  # time scales squared: three visits at the usual distance have twice that spread


@dataclass(frozen=True, eq=False)
class VisitScales:
    """What was learned of training visits: middle and spread of values, spread of slopes, time.

    Parameters
    ----------
    centers, scales : ndarray of shape (K,)
        Median and interquartile range of each value.
    slopes : ndarray of shape (K,)
        Spread of the slopes of scaled values, per time scale.
    time : float
        Days between neighbouring visits.
    """

    centers: Floats
    scales: Floats
    slopes: Floats
    time: float


def to_tensors(visits: Visits, learned: VisitScales) -> Prepared:
    """Return visits padded to the longest row, values scaled and carried forward."""
    centers, scales = learned.centers, learned.scales
    n_rows, n_values = visits.n_rows, len(centers)
    counts = np.bincount(visits.row, minlength=n_rows)
    length = max(1, int(counts.max(initial=0)))
    place = np.arange(len(visits)) - np.repeat(np.cumsum(counts) - counts, counts)
    with np.errstate(over="ignore"):
        scaled = np.clip((visits.values - centers) / scales, -_CLIP, _CLIP)
    x = np.full((n_rows, length, n_values), np.nan)
    x[visits.row, place] = scaled
    days = np.zeros((n_rows, length))
    days[visits.row, place] = visits.day
    mask = np.zeros((n_rows, length), dtype=bool)
    mask[visits.row, place] = True
    known = ~np.isnan(x)
    carried, since = _carry(x, known, days)
    mean, slope = _trend(x, known, days / learned.time)
    trend = np.concatenate([mean, slope / learned.slopes], axis=2)
    there = mask[:, :, None]
    arrays = {
        "x": np.where(there, carried, 0.0).astype(np.float32),
        "known": known,
        "since": np.where(there, since, 0.0).astype(np.float32),
        "trend": np.where(there, trend, 0.0).astype(np.float32),
        "days": days.astype(np.float32),
        "mask": mask,
    }
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Prepared(tensors, torch.from_numpy(mask.any(axis=1)))


def _carry(x: Floats, known: NDArray[np.bool_], days: Floats) -> tuple[Floats, Floats]:
    """Return the last known values up to each visit, and days from those before it.

    Until a value is first known it is at its median, 0, and its days count from the first visit.
    """
    places = np.arange(x.shape[1])[None, :, None]
    last = np.maximum.accumulate(np.where(known, places, -1), axis=1)
    filled = np.take_along_axis(np.where(known, x, 0.0), np.maximum(last, 0), axis=1)
    before = np.concatenate([np.full_like(last[:, :1], -1), last[:, :-1]], axis=1)
    of_value = np.broadcast_to(days[:, :, None], x.shape)
    day_before = np.take_along_axis(of_value, np.maximum(before, 0), axis=1)
    return np.where(last >= 0, filled, 0.0), days[:, :, None] - day_before


def _trend(x: Floats, known: NDArray[np.bool_], times: Floats) -> tuple[Floats, Floats]:
    """Return the mean and the damped slope of each value up to each visit (N, L, K).

    A slope over less time than visits are usually apart is mostly noise: a constant in its
    denominator draws it to zero.
    """
    filled, there = np.where(known, x, 0.0), known.astype(np.float64)
    since = np.broadcast_to((times - times[:, :1])[:, :, None], x.shape)
    parts = (there, filled, there * since, there * since**2, filled * since)
    count, sum_x, sum_t, sum_tt, sum_tx = (np.cumsum(part, axis=1) for part in parts)
    count = np.maximum(count, 1)
    spread = sum_tt - sum_t**2 / count
    slope = (sum_tx - sum_t * sum_x / count) / (spread + _DAMPING)
    return sum_x / count, slope


def spread_of_slopes(visits: Visits, learned: VisitScales, weights: Floats) -> Floats:
    """Return the standard deviation (K,) of the rows' slopes, as `to_tensors` divides them."""
    prepared = to_tensors(visits, learned)
    slopes = _at_end(prepared, "trend")[:, len(learned.centers) :]
    present = prepared.present.numpy()
    middle = np.average(slopes[present], axis=0, weights=weights[present])
    off = (slopes[present] - middle) ** 2
    spread = np.sqrt(np.average(off, axis=0, weights=weights[present]))
    return np.where(spread > _FLAT, spread, 1.0)


def _at_end(prepared: Prepared, name: str) -> Floats:
    """Return what a tensor holds (N, ...) at the last visit of each row."""
    mask = prepared.tensors["mask"].numpy()
    rows, end = np.arange(len(mask)), np.maximum(mask.sum(axis=1) - 1, 0)
    found: Floats = prepared.tensors[name].numpy()[rows, end].astype(np.float64)
    return found


def summarise(prepared: Prepared, learned: VisitScales) -> Floats:
    """Return `STATISTICS` of each scaled value, then the number of visits; NaN without a visit."""
    tensors = {name: tensor.numpy() for name, tensor in prepared.tensors.items()}
    last, days, mask = _at_end(prepared, "x"), tensors["days"], tensors["mask"]
    known = tensors["known"] & mask[:, :, None]
    mean, slope = np.split(_at_end(prepared, "trend"), 2, axis=1)
    slope_per_year = slope * learned.slopes * _YEAR / learned.time
    count = known.sum(axis=1)
    known_day = np.where(known, days[:, :, None], -np.inf).max(axis=1)
    since = np.abs(np.where(count > 0, known_day, days[:, :1])).astype(np.float64)
    columns = [last, mean, slope_per_year, count, since / _YEAR]
    summary = np.stack(columns, axis=-1).reshape(len(last), len(columns) * last.shape[1])
    summary = np.column_stack([summary, mask.sum(axis=1)])
    return np.where(prepared.present.numpy()[:, None], summary, np.nan)
