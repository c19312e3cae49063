"""Deletion and insertion curves, which ask whether what is said to matter moves the output.

Parts are taken away (or put back) in the order of their values, the largest first, and the
output is watched. An attribution that says nothing does no better than random orders.

References
----------
Petsiuk, Das, Saenko, "RISE: Randomized input sampling for explanation of black-box models",
BMVC 2018, doi:10.48550/arXiv.1806.07421. NOTE[DIFF]: the change of the output is counted in the
direction of the prediction, so that values below zero have their place in the order, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from asfusion.explanation._coalitions import Floats, Play
from asfusion.show.figures import axis_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHARES = np.linspace(0.0, 1.0, 11)
_MOST_STEPS = 10
_COLOUR, _CHANCE = "#B35806", "#8C8C8C"


class Claim(NamedTuple):
    """What the parts of one row are said to be worth, and how to ask for some of them."""

    values: Floats
    play: Play


@dataclass(frozen=True, eq=False)
class Curves:
    """How far the output has moved when a share of the parts is gone, or is there.

    Parameters
    ----------
    deletion, insertion : ndarray of shape (11,)
        Mean over rows of the change of the output, in its units and in the direction of each
        row's prediction, at `SHARES` of the parts taken away or put in, largest value first.
    deletion_chance, insertion_chance : ndarray of shape (R, 11)
        The same for R random orders.
    n_rows : int
        Rows that have at least two parts.
    """

    deletion: Floats
    insertion: Floats
    deletion_chance: Floats
    insertion_chance: Floats
    n_rows: int

    def gain(self, kind: str) -> float:
        """Return the area above the mean of random orders, in units of the output."""
        ordered, chance = getattr(self, kind), getattr(self, f"{kind}_chance")
        return float(np.trapezoid(ordered - chance.mean(axis=0), SHARES))


def trace(rows: Iterable[Claim], *, n_random: int, seed: int) -> Curves | None:
    """Return the curves over rows, or None where no row has two parts."""
    rng = np.random.default_rng(seed)
    found = [_trace_row(claim, n_random, rng) for claim in rows if len(claim.values) > 1]
    if not found:
        return None
    mean = np.mean(found, axis=0)  # (2, 1 + R, shares)
    return Curves(mean[0, 0], mean[1, 0], mean[0, 1:], mean[1, 1:], len(found))


def _trace_row(claim: Claim, n_random: int, rng: np.random.Generator) -> Floats:
    """Return (2, 1 + R, shares): deletion and insertion, by value and by random orders."""
    n_parts = len(claim.values)
    steps = np.unique(np.linspace(0, n_parts, min(n_parts, _MOST_STEPS) + 1).round().astype(int))
    ends = np.vstack([np.zeros(n_parts, bool), np.ones(n_parts, bool)])
    empty, full = claim.play(ends)
    direction = 1.0 if full >= empty else -1.0
    by_value = np.argsort(-direction * claim.values, kind="stable")
    orders = [by_value, *(rng.permutation(n_parts) for _ in range(n_random))]
    gone = np.zeros((len(orders), len(steps), n_parts), dtype=bool)
    for number, order in enumerate(orders):
        for place, step in enumerate(steps):
            gone[number, place, order[:step]] = True
    flat = gone.reshape(-1, n_parts)
    outcome = claim.play(np.concatenate([~flat, flat])).reshape(2, len(orders), len(steps))
    moved = direction * np.stack([full - outcome[0], outcome[1] - empty])
    share = steps / n_parts
    return np.apply_along_axis(lambda line: np.interp(SHARES, share, line), 2, moved)


def draw(curves: Curves, axes: tuple[Axes, Axes], name: str, output: str) -> None:
    """Draw deletion and insertion beside their random orders."""
    titles = {"deletion": "taken away", "insertion": "put in"}
    for ax, (kind, done) in zip(axes, titles.items(), strict=True):
        chance = getattr(curves, f"{kind}_chance")
        low, high = np.quantile(chance, [0.05, 0.95], axis=0)
        ax.fill_between(SHARES, low, high, color=_CHANCE, alpha=0.3, lw=0, label="90 % of them")
        ax.plot(SHARES, chance.mean(axis=0), color=_CHANCE, ls="--", label="random orders")
        ax.plot(SHARES, getattr(curves, kind), color=_COLOUR, lw=2, label="largest value first")
        ax.set_xlabel(axis_label(f"Share of {name} {done}", 44))
        ax.set_title(
            f"{kind.capitalize()}: area above random {curves.gain(kind):+.3f}", fontsize=10
        )
        ax.set_xlim(0, 1)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(axis_label(f"Change of the {output}", 36))
    axes[0].legend(frameon=False, fontsize=8)
