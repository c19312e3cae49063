"""What networks find on several views of each film, brought together.

Dimensions: V views, M networks, N films, R things to find, S side of the square.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asfusion.anatomy._augment import Moves, make_moves

Floats = NDArray[np.float64]
ViewMoves = Callable[[int, int], list[Moves]]

_AT_ONCE = 32  # images, views counted
_TURN, _GROW, _SHIFT = math.radians(8.0), math.log(1.15), 0.08
_GOLDEN = math.pi * (3 - math.sqrt(5))


@dataclass(frozen=True, eq=False)
class Seen:
    """What was found, places and extents in pixels of the square.

    Parameters
    ----------
    centres, extents : ndarray of shape (N, R, 2)
        Medians over views and networks; extents of points are NaN.
    peak : ndarray of shape (N, R)
        Largest heat of a cell, or how sure a mask is; mean over views and networks.
    spread : ndarray of shape (N, R)
        How far apart views of one network see it: median over views, mean over networks, as a
        share of the side.
    """

    centres: Floats
    extents: Floats
    peak: Floats
    spread: Floats

    @classmethod
    def joined(cls, parts: Sequence[Seen]) -> Seen:
        """Return the films of several one below the other."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


def view_moves(views: int, n: int) -> list[Moves]:
    """Return the same few moves for every film; the first one changes nothing."""
    moves = []
    for view in range(views):
        # Angles around a circle that never meet: any number of views covers it evenly.
        turn, share = view * _GOLDEN, math.sqrt(view / max(1, views - 1)) if view else 0.0
        angle = torch.full((n,), share * _TURN * math.cos(3 * turn))
        zoom = torch.full((n,), math.exp(share * _GROW * math.sin(2 * turn)))
        shift = torch.tensor([math.cos(turn), math.sin(turn)]) * share * _SHIFT
        moves.append(make_moves(angle, zoom, shift.expand(n, 2)))
    return moves


@torch.no_grad()
def look_at(
    networks: Sequence[nn.Module],
    images: Tensor,
    views: int,
    *,
    moves: ViewMoves = view_moves,
    size: int | None = None,
) -> Seen:
    """Return what networks find on films or windows (N, 1, S, S), uint8.

    `moves` makes the views, `size` is the side of the images that the networks look at (pixels).
    """
    parts = torch.split(images, max(1, _AT_ONCE // views))
    return Seen.joined(
        [_look(networks, p.float() / 255, moves(views, len(p)), size) for p in parts]
    )


def _look(
    networks: Sequence[nn.Module], pixels: Tensor, views: list[Moves], size: int | None
) -> Seen:
    side = pixels.shape[-1]
    # One batch: a network has its price per call, too.
    moves = Moves(*(torch.cat(parts) for parts in zip(*views, strict=True)))
    moved = moves.applied(pixels.repeat(len(views), 1, 1, 1), size)
    sights = [network(moved) for network in networks]
    at = _by_view([moves.back(s.centres) for s in sights], len(views))
    smaller = moves.log_zoom()[:, None, None]
    extents = _by_view([s.log_extents - smaller for s in sights], len(views))
    peaks = _by_view([s.peaks() for s in sights], len(views))
    middles = at.quantile(0.5, dim=1, keepdim=True)
    apart = (at - middles).norm(dim=-1).quantile(0.5, dim=1)
    middle = (_median(at) + 1) * side / 2
    return Seen(
        centres=middle.double().numpy(),
        extents=_sizes(extents, side, middle.shape),
        peak=peaks.mean(dim=(0, 1)).double().numpy(),
        spread=(apart.mean(dim=0) / 2).double().numpy(),
    )


def _by_view(values: list[Tensor], n_views: int) -> Tensor:
    """Return values (V * N, ...) of each network as (M, V, N, ...)."""
    every = torch.stack(values)
    n_films = every.shape[1] // n_views
    return every.view(len(values), n_views, n_films, *every.shape[2:])


def _sizes(extents: Tensor, side: int, shape: tuple[int, ...]) -> Floats:
    if not extents.shape[-1]:
        return np.full(shape, np.nan)
    half: Floats = (_median(extents).clamp(-8, 3).exp() * side / 2).double().numpy()
    return half


def _median(values: Tensor) -> Tensor:
    """Return the median over networks and views; of an even number, the mean of the middle two."""
    return values.flatten(0, 1).quantile(0.5, dim=0)
