"""What a fused model says when only some of a row's modalities are there.

Modalities are encoded once. Every question after that costs a pass of the fusion head,
or of the estimator, alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asfusion._progress import progress
from asfusion._random import derive_seed
from asfusion._tokens import Prepared
from asfusion.estimators._base import FusionEstimator
from asfusion.estimators._parts import Content, Parts, choose_rows

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

Link = Literal["identity", "logit"]

LEAVING_OUT = "Leaving modalities out"
_MOST_ROWS = 16_384
_MOST_FREE = 10  # other modalities whose coalitions are all asked about
_DRAWN_OF_A_SIZE = 8
_SUREST = 1e-6  # probabilities nearer to 0 or 1 count as this near: a forest may be certain


class Game:
    """The outcomes of coalitions of modalities, for the rows to be explained.

    Parameters
    ----------
    model : FusionEstimator
        The fitted model.
    parts : Parts
        The N rows to be explained and, if `n_background` is not zero, below them the
        background rows; encoded together, so that they can be mixed.
    columns : ndarray of shape (N,)
        Which place of what the target can explain is asked about in each row.
    n_background : int
        Background rows. Zero: a modality outside the coalition is missing. Otherwise it
        is replaced by that of each background row in turn, and outcomes are averaged.
    link : {"identity", "logit"}
        Whether an outcome is the output, or the log odds of it.
    """

    def __init__(
        self,
        model: FusionEstimator,
        parts: Parts,
        columns: Ints,
        n_background: int = 0,
        link: Link = "identity",
    ) -> None:
        self.model, self.parts, self.columns = model, parts, columns
        self.n_background, self.link = n_background, link
        self.n_rows = len(columns)
        self.n_decided = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities."""
        return self.parts.names

    @property
    def present(self) -> Bools:
        """Which modalities each explained row has, (N, M)."""
        return self.parts.present[: self.n_rows]

    def values(
        self,
        rows: Ints,
        kept: Bools,
        name: str | None = None,
        content: Content | None = None,
        there: Bools | None = None,
        *,
        work: str = "",
    ) -> Floats:
        """Return the outcome (R,) of each pair of a row and a coalition.

        Parameters
        ----------
        rows : ndarray of shape (R,)
            Positions of explained rows.
        kept : ndarray of shape (R, M), bool
            The coalition of each.
        name, content, there : optional
            A modality whose content (R rows) and presence (R,) stand in for the row's own.
        work : str
            What a progress bar calls this; none is shown without.
        """
        step = max(1, _MOST_ROWS // max(1, self.n_background))
        out = np.empty(len(rows))
        starts: Any = range(0, len(rows), step)
        for start in progress(starts, work, unit="batch") if work else starts:
            part = slice(start, start + step)
            own = None
            if name is not None and content is not None and there is not None:
                positions = np.arange(len(rows))[part]
                own = (name, Parts({name: content}, there[:, None]).take(positions))
            out[part] = self._some(rows[part], kept[part], own)
        return out

    def _some(self, rows: Ints, kept: Bools, own: tuple[str, Parts] | None) -> Floats:
        if not self.n_background:
            asked = self.parts.take(rows)
            if own is not None:
                asked = asked.replace(own[0], own[1].contents[own[0]], own[1].present[:, 0])
            return self._decide(asked.keep(kept), rows)
        n = self.n_background
        rows, kept = np.repeat(rows, n), np.repeat(kept, n, axis=0)
        other = self.n_rows + np.tile(np.arange(n), len(rows) // n)
        asked = self.parts.gather(np.where(kept, rows[:, None], other[:, None]))
        if own is not None:
            asked = self._with_own(asked, own, kept, other)
        return np.asarray(self._decide(asked, rows).reshape(-1, n).mean(axis=1))

    def _with_own(self, asked: Parts, own: tuple[str, Parts], kept: Bools, other: Ints) -> Parts:
        """Return rows whose modality is the given one where kept, else the background's."""
        name, given = own
        n = self.n_background
        m = self.names.index(name)
        given = given.take(np.repeat(np.arange(len(given)), n))
        if kept[:, m].all():
            return asked.replace(name, given.contents[name], given.present[:, 0])
        background = self.parts.take(other)
        mixed = choose_rows(kept[:, m], given.contents[name], background.contents[name])
        there = np.where(kept[:, m], given.present[:, 0], background.present[:, m])
        return asked.replace(name, mixed, there)

    def _decide(self, parts: Parts, rows: Ints) -> Floats:
        self.n_decided += len(parts)
        return self.outcomes(self.model._decided(parts), rows)

    def outcomes(self, outputs: Floats, rows: Ints) -> Floats:
        """Return what is explained (R,) of the outputs (R, K) of some rows."""
        told = self.model.target_.explained(torch.tensor(outputs)).numpy()
        return self.linked(told[np.arange(len(rows)), self.columns[rows]])

    def alone(self, row: int) -> Game:
        """Return the game of one row, with the same background."""
        rows = np.concatenate([[row], np.arange(self.n_rows, len(self.parts))])
        parts, columns = self.parts.take(rows), self.columns[[row]]
        return Game(self.model, parts, columns, self.n_background, self.link)

    def of(self, model: FusionEstimator, parts: Parts) -> Game:
        """Return the game of another model, or of the same with other content in its rows."""
        return Game(model, parts, self.columns, self.n_background, self.link)

    def linked(self, outputs: Floats) -> Floats:
        """Return outputs as outcomes."""
        if self.link == "identity":
            return np.asarray(outputs)
        sure = np.clip(outputs, _SUREST, 1.0 - _SUREST)
        return np.asarray(np.log(sure / (1.0 - sure)))

    def linked_tensor(self, outputs: Tensor) -> Tensor:
        """Return what `linked` does, with its gradient."""
        return outputs if self.link == "identity" else torch.logit(outputs, eps=_SUREST)

    # -- coalitions --------------------------------------------------------------------

    def all_subsets(self) -> Floats:
        """Return the outcome (2**M, N) of every coalition; bit m of its number is modality m."""
        n_sets = 1 << len(self.names)
        numbers = np.arange(n_sets)
        kept = (numbers[:, None] >> np.arange(len(self.names)) & 1).astype(bool)
        rows = np.tile(np.arange(self.n_rows), n_sets)
        outcome = self.values(rows, np.repeat(kept, self.n_rows, axis=0), work=LEAVING_OUT)
        return outcome.reshape(n_sets, -1)

    def marginal(self, row: int, name: str) -> Callable[[Content, Bools], Floats]:
        """Return what a content of one modality is worth to a row, over all coalitions.

        It is the mean outcome with that content, by the Shapley weight of each coalition of
        the row's other modalities. Its rise from the modality's absence to the row's own
        content is exactly the Shapley value of the modality.
        """
        others, weights = self.coalitions_without(name, row)
        m = self.names.index(name)

        def worth(content: Content, there: Bools) -> Floats:
            n = len(there)
            kept = np.tile(others, (n, 1))
            kept[:, m] = True
            index = np.repeat(np.arange(n), len(others))
            repeated = Parts({name: content}, there[:, None]).take(index)
            values = self.values(
                np.full(len(index), row),
                kept,
                name,
                repeated.contents[name],
                repeated.present[:, 0],
            )
            return np.asarray(values.reshape(n, -1) @ weights)

        return worth

    def without(self, row: int, name: str) -> float:
        """Return the same mean outcome with the modality absent."""
        others, weights = self.coalitions_without(name, row)
        return float(self.values(np.full(len(others), row), others) @ weights)

    def own_value(self, row: int, name: str) -> float:
        """Return the Shapley value of the row's own content of a modality."""
        kept, weights = self.coalitions_without(name, row)
        rows, joined = np.full(len(kept), row), kept.copy()
        joined[:, self.names.index(name)] = True
        return float((self.values(rows, joined) - self.values(rows, kept)) @ weights)

    def coalitions_without(self, name: str, row: int) -> tuple[Bools, Floats]:
        """Return coalitions (C, M) of the other modalities, and their Shapley weights (C,).

        Where all of them would be too many, some are drawn, each size as often as any other,
        and the same whenever this modality is asked about.
        """
        n_names, m = len(self.names), self.names.index(name)
        if self.n_background:
            free = [i for i in range(n_names) if i != m]
        else:
            # What the row lacks anyway changes no outcome: fewer coalitions say the same.
            free = [i for i in range(n_names) if i != m and self.present[row, i]]
        n_free = len(free)
        if n_free > _MOST_FREE:
            drawn = _draw_coalitions(n_free, derive_seed(0, "coalitions", name))
            some = np.zeros((len(drawn), n_names), dtype=bool)
            some[:, free] = drawn
            return some, np.full(len(drawn), 1.0 / len(drawn))
        kept = np.zeros((1 << n_free, n_names), dtype=bool)
        numbers = np.arange(1 << n_free)
        for bit, i in enumerate(free):
            kept[:, i] = numbers >> bit & 1
        sizes = kept.sum(axis=1)
        weights = [
            math.factorial(s) * math.factorial(n_free - s) / math.factorial(n_free + 1)
            for s in sizes.tolist()
        ]
        return kept, np.asarray(weights)

    def encode(self, name: str, prepared: Prepared) -> tuple[Content, Bools]:
        """Return the content and presence of prepared rows of one modality."""
        return self.model._encode_prepared(name, prepared), prepared.present.numpy()

    def encode_frame(self, name: str, frame: Any) -> tuple[Content, Bools]:
        """Return the content and presence of the rows of a frame."""
        parts = self.model._encode(frame, [name])
        return parts.contents[name], parts.present[:, 0]


def _draw_coalitions(n_players: int, seed: int) -> Bools:
    """Return random coalitions (C, P), as many of each size, each with its complement."""
    rng = np.random.default_rng(seed)
    sizes = np.repeat(np.arange(n_players + 1), _DRAWN_OF_A_SIZE)
    ranks = rng.random((len(sizes), n_players)).argsort(axis=1).argsort(axis=1)
    drawn = ranks < sizes[:, None]
    return np.concatenate([drawn, ~drawn])
