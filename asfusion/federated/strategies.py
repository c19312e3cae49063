"""How the weights of sites become one model's.

Dimensions: S sites.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_number, quoted
from asfusion._described import Described
from asfusion.exceptions import InputError
from asfusion.federated.update import Update

Weights = Mapping[str, NDArray[Any]]
How = Literal["mean", "median", "clipped", "krum"]

_USUAL = 2.0  # times the median length of a step: a longer one is shortened to that


class FedAvg(Described):
    """Average the weights of sites by their rows [1]_.

    Each encoder is averaged over the sites that have its modality, by the rows that do. Weights
    that are not finite, of another shape or of another plan are refused, with the site's name, and
    the others go on.

    Parameters
    ----------
    how : {"clipped", "mean", "median", "krum"}
        The weighted mean of steps none of which is longer than twice the median step; the plain
        weighted mean, which one bad site can ruin; the median of each weight, whatever the
        rows [2]_; or the one site nearest to the others [3]_. With fewer than three sites that
        have a weight, no site can be outvoted, and all but the clipping is the mean.

    Attributes
    ----------
    refused_ : dict of str to str
        Sites of the last round that were not counted, and why.

    References
    ----------
    .. [1] McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
       Data", AISTATS 2017. https://doi.org/10.48550/arXiv.1602.05629
    .. [2] Yin et al., "Byzantine-Robust Distributed Learning", ICML 2018.
       https://doi.org/10.48550/arXiv.1803.01498
    .. [3] Blanchard et al., "Machine Learning with Adversaries", NeurIPS 2017.
       https://doi.org/10.48550/arXiv.1703.02757

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.federated import FedAvg, Update
    >>> start = {"w": np.zeros(2)}
    >>> updates = {"a": Update({"w": np.ones(2)}, 30), "b": Update({"w": np.zeros(2)}, 10)}
    >>> FedAvg().aggregate(start, updates)["w"]
    array([0.75, 0.75])
    """

    def __init__(self, how: How = "clipped") -> None:
        self.how = how

    def start(self) -> Self:
        """Forget earlier rounds."""
        self.refused_: dict[str, str] = {}
        return self

    def aggregate(self, weights: Weights, updates: Mapping[str, Update]) -> dict[str, NDArray[Any]]:
        """Return the weights of the next round.

        Parameters
        ----------
        weights : mapping of str to ndarray
            What sites started from.
        updates : mapping of str to Update
            What each site sent, by its name; silent sites are not among them.

        Returns
        -------
        dict of str to ndarray
            Weights that no site sent are as they were.

        Raises
        ------
        InputError
            If no site sent anything usable.
        """
        check_choice(self.how, "how", ("clipped", "mean", "median", "krum"))
        self.refused_ = {name: why for name, u in updates.items() if (why := _fault(weights, u))}
        sound = {name: one for name, one in updates.items() if name not in self.refused_}
        if not sound:
            told = f": refused {quoted(self.refused_)}" if self.refused_ else ""
            raise InputError(f"Round: expected weights of at least one site, got none{told}.")
        return {name: self._next(name, old, sound) for name, old in weights.items()}

    def _next(self, name: str, old: NDArray[Any], updates: Mapping[str, Update]) -> NDArray[Any]:
        sent = [one for one in updates.values() if name in one.weights]
        counts = np.asarray([_rows_behind(name, one) for one in sent], dtype=float)
        if not counts.sum():
            return old.copy()
        steps = np.stack([one.weights[name].astype(np.float64) - old for one in sent])
        step = _joined(steps, counts / counts.sum(), self.how)
        return np.asarray(old + step).astype(old.dtype)


class FedAdam(FedAvg):
    """Take the average step of the sites as a gradient, and follow it by Adam [1]_.

    An option for sites that differ much; on the synthetic cohort it gained nothing over `FedAvg`.

    Parameters
    ----------
    how : {"clipped", "mean", "median", "krum"}
        As in `FedAvg`.
    rate : float
        Length of a step.

    Attributes
    ----------
    refused_ : dict of str to str
        Sites of the last round that were not counted, and why.

    References
    ----------
    .. [1] Reddi et al., "Adaptive Federated Optimization", ICLR 2021.
       https://doi.org/10.48550/arXiv.2003.00295

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.federated import FedAdam, Update
    >>> strategy = FedAdam(rate=0.1).start()
    >>> strategy.aggregate({"w": np.zeros(1)}, {"a": Update({"w": np.ones(1)}, 10)})["w"].round(2)
    array([0.1])
    """

    def __init__(self, how: How = "clipped", *, rate: float = 0.01) -> None:
        super().__init__(how)
        self.rate = rate

    def start(self) -> Self:
        """Forget earlier rounds."""
        self._n_rounds = 0
        self._first: dict[str, NDArray[np.float64]] = {}
        self._second: dict[str, NDArray[np.float64]] = {}
        return super().start()

    def aggregate(self, weights: Weights, updates: Mapping[str, Update]) -> dict[str, NDArray[Any]]:
        """Return the weights of the next round; see `FedAvg.aggregate`."""
        check_number(self.rate, "rate", minimum=0.0)
        if not hasattr(self, "_n_rounds"):
            self.start()
        averaged = super().aggregate(weights, updates)
        self._n_rounds += 1
        return {name: self._adapted(name, old, averaged[name]) for name, old in weights.items()}

    def _adapted(self, name: str, old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
        if old.dtype.kind != "f":
            return new
        step = new.astype(np.float64) - old
        first = self._first[name] = 0.9 * self._first.get(name, np.zeros_like(step)) + 0.1 * step
        before = self._second.get(name, np.zeros_like(step))
        second = self._second[name] = 0.99 * before + 0.01 * step**2
        mean = first / (1 - 0.9**self._n_rounds)
        spread = np.sqrt(second / (1 - 0.99**self._n_rounds))
        return np.asarray(old + self.rate * mean / (spread + 1e-6)).astype(old.dtype)


def _fault(weights: Weights, update: Update) -> str:
    """Return what is wrong with an update, nothing if it can be counted."""
    odd = [name for name, array in update.weights.items() if not _fits(weights, name, array)]
    if odd:
        return f"weights of another model: {quoted(odd)}"
    wrong = [name for name, array in update.weights.items() if not np.isfinite(array).all()]
    if wrong:
        return f"weights that are not finite: {quoted(wrong)}"
    return "" if update.n_rows > 0 and update.weights else "no rows"


def _fits(weights: Weights, name: str, array: NDArray[Any]) -> bool:
    own = weights.get(name)
    return own is not None and own.shape == array.shape and own.dtype.kind == array.dtype.kind


def _rows_behind(name: str, update: Update) -> int:
    """Return how many rows moved a weight: those that have the modality of an encoder."""
    for modality, n_rows in update.n_present.items():
        if name.startswith(f"encoders.{modality}."):
            return n_rows
    return update.n_rows


def _joined(steps: NDArray[np.float64], shares: NDArray[np.float64], how: How) -> Any:
    """Return one step for those of S sites."""
    if how == "clipped":
        steps = _clipped(steps)
    if how in ("mean", "clipped") or len(steps) < 3:
        return np.tensordot(shares, steps, axes=1)
    if how == "median":
        return np.median(steps, axis=0)
    flat = steps.reshape(len(steps), -1)
    apart = np.square(flat[:, None] - flat[None]).sum(axis=2)
    nearest = np.sort(apart, axis=1)[:, 1 : max(2, len(steps) - 1)].sum(axis=1)
    return steps[int(nearest.argmin())]


def _clipped(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return steps none of which is longer than twice the median of their lengths."""
    lengths = np.sqrt(np.square(steps.reshape(len(steps), -1)).sum(axis=1))
    most = _USUAL * np.median(lengths)
    factors = np.divide(most, lengths, out=np.ones_like(lengths), where=lengths > most)
    return steps * factors.reshape(-1, *[1] * (steps.ndim - 1))
