"""mSASSS corners: where damage sits, how bridges close, how it grows in two years."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asfusion.datasets._axspa_margins import Floats, Groups

Corners = NDArray[np.int64]

# Twelve cervical corners (C2 lower to T1 upper), then twelve lumbar (T12 lower to S1 upper):
# a pair of neighbours faces one disc. Damage is likeliest around the thoracolumbar junction.
N_CORNERS = 24
_DISCS = 12
_AT_DISC = np.array([0.6, 0.8, 1.0, 1.2, 1.2, 0.8, 1.8, 1.6, 1.3, 1.1, 0.9, 0.8])
_BRIDGED = 3

# Log-odds of progression: level by group, then syndesmophyte, raised CRP, raised ESR, smoking.
# Directions after Poddubnyy 2012 (doi:10.1002/art.33465); each smaller than its crude odds
# ratio, since they act together. Levels give the published shares of progressors.
_LEVEL = (-6.0, -3.75, -2.9)
_SYNDESMOPHYTE, _CRP, _ESR, _SMOKING = 1.3, 0.7, 0.6, 0.6


def draw_corners(total: Corners, rng: np.random.Generator) -> Corners:
    """Return corners (N, 24), each 0 to 3, whose sums are `total` (N,), 0 to 72."""
    corners = np.zeros((len(total), N_CORNERS), dtype=np.int64)
    for row, points in enumerate(total.tolist()):
        _add_damage(corners[row], points, rng)
    return corners


def progress_corners(
    corners: Corners, group: Groups, scores: dict[str, Floats], rng: np.random.Generator
) -> Corners:
    """Return the corners after two years: no corner heals, some patients progress."""
    odds = np.take(_LEVEL, group)
    odds = odds + _SYNDESMOPHYTE * (corners >= 2).any(axis=1) + _CRP * (scores["crp"] > 5)
    odds = odds + _ESR * (scores["esr"] > 20) + _SMOKING * scores["smoker"]
    grows = rng.random(len(group)) < 1 / (1 + np.exp(-odds))
    small = rng.random(len(group)) < np.take((0.0, 0.02, 0.12), group)
    gained = np.where(grows, 1 + rng.geometric(0.5, len(group)), small)
    later = corners.copy()
    for row in np.flatnonzero(gained):
        _add_damage(later[row], int(min(gained[row], 72 - corners[row].sum())), rng)
    return later


def _add_damage(corners: Corners, points: int, rng: np.random.Generator) -> None:
    """Raise corners in place by `points` in all; a bridge takes both corners of a disc."""
    weight = np.repeat(_AT_DISC, 2) * rng.gamma(1.0, 1.0, N_CORNERS)
    while points > 0:
        discs = corners.reshape(_DISCS, 2)
        closing = np.flatnonzero((discs == 2).all(axis=1))
        if points >= 2 and len(closing) and rng.random() < 0.35:
            discs[int(rng.choice(closing))] = _BRIDGED
            points -= 2
            continue
        open_corners = np.flatnonzero(corners < 2)
        if not len(open_corners):
            _close_the_rest(discs, points)
            return
        share = weight[open_corners] * (1.0 + 2.0 * corners[open_corners])
        corners[int(rng.choice(open_corners, p=share / share.sum()))] += 1
        points -= 1


def _close_the_rest(discs: Corners, points: int) -> None:
    """Spend points where every corner has at least a syndesmophyte: only bridges are left.

    A single point left over cannot close a bridge by half and is dropped.
    """
    for disc in np.flatnonzero((discs == 2).all(axis=1))[: points // 2]:
        discs[disc] = _BRIDGED
