"""How the weights of sites become one model's.

Dimensions: S sites.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_number, quoted
from asfusion._described import Described
from asfusion.exceptions import InputError
from asfusion.federated.update import Update

Weights = Mapping[str, NDArray[Any]]
How = Literal["guarded", "mean", "median", "clipped", "krum"]
Steps = dict[str, NDArray[np.float64]]

_HOW = ("guarded", "mean", "median", "clipped", "krum")
_USUAL = 2.0  # times the median length of a step: a longer one is shortened to that
# Of guards: a step so many times as long as the median is no training; and sites that learn the
# same thing agree a little, however much they differ (mean correlation of how what they learned so
# far moves predictions). Chosen on two seeds of a synthetic cohort (`benchmarks/federated.py`
# judges on others).
_TOO_LONG, _AGAINST = 3.0, -0.15
_FEWEST = 2  # sites: neither outvotes the other


class FedAvg(Described):
    """Average the weights of sites by their rows [1]_.

    Each encoder is averaged over the sites that have its modality, by the rows that do. Weights
    that are not finite, of another shape or of another plan are refused, with the site's name, and
    the others go on.

    Parameters
    ----------
    how : {"guarded", "mean", "median", "clipped", "krum"}
        The weighted mean without sites that pull against the others: whose step is more than three
        times as long as the median, or who has moved predictions of rows of nobody the other way
        than the others did, so far (mean correlation, after an idea of [4]_; without a plan, mean
        cosine of steps); the plain weighted
        mean, which one bad site can ruin; the median of each weight, whatever the rows [2]_; the
        weighted mean of steps none of which is longer than twice the median, which holds against
        noise alone; or of each weight the one site nearest to the others [3]_. Fewer than three
        sites cannot outvote one: all but clipping is then the mean.

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
    .. [4] Cao et al., "FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping",
       NDSS 2021. https://doi.org/10.48550/arXiv.2012.13995

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.federated import FedAvg, Update
    >>> start = {"w": np.zeros(2)}
    >>> updates = {"a": Update({"w": np.ones(2)}, 30), "b": Update({"w": np.zeros(2)}, 10)}
    >>> FedAvg().aggregate(start, updates)["w"]
    array([0.75, 0.75])
    """

    def __init__(self, how: How = "guarded") -> None:
        self.how = how

    @property
    def proximal(self) -> float:
        """How strongly sites pull their weights to those that a round starts from."""
        return 0.0

    def start(self) -> Self:
        """Forget earlier rounds."""
        self.refused_: dict[str, str] = {}
        self._learned: dict[str, Steps] = {}
        self._outputs: Callable[[Weights], NDArray[np.float64]] | None = None
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
        check_choice(self.how, "how", _HOW)
        if not hasattr(self, "_learned"):
            self.start()
        self.refused_ = {name: why for name, u in updates.items() if (why := fault_of(weights, u))}
        sound = {name: one for name, one in updates.items() if name not in self.refused_}
        if self.how == "guarded":
            self.refused_ |= self._against(weights, sound)
            sound = {name: one for name, one in sound.items() if name not in self.refused_}
        if not sound:
            told = f": refused {quoted(self.refused_)}" if self.refused_ else ""
            raise InputError(f"Round: expected weights of at least one site, got none{told}.")
        return {name: self._next(name, old, sound) for name, old in weights.items()}

    def watch(self, outputs: Callable[[Weights], NDArray[np.float64]]) -> None:
        """Let the guard see what weights predict of rows of nobody.

        Weights of honest sites differ at random in most directions, and by the prevalence; what
        they predict agrees, also when there is nothing left to learn.

        Parameters
        ----------
        outputs : callable
            From weights to predictions as log odds, their mean taken out.
        """
        self._outputs = outputs

    def _against(self, weights: Weights, updates: Mapping[str, Update]) -> dict[str, str]:
        """Return which sites pull against the others, and how that shows."""
        steps = {site: _steps(weights, one) for site, one in updates.items()}
        lengths = {site: _length(step) for site, step in steps.items()}
        most = _TOO_LONG * float(np.median([*lengths.values()])) if lengths else 0.0
        bad = {site: "a step that is much longer than others'" for site in steps
               if lengths[site] > most}  # fmt: skip
        left = [site for site in steps if site not in bad]
        effects = self._effects(weights, updates, steps, left)
        share = _in_common(effects)
        for site, effect in effects.items():
            before = self._learned.get(site, {})
            self._learned[site] = {k: before.get(k, 0.0) + share * a for k, a in effect.items()}
        while len(left) > _FEWEST:
            agreement = {site: self._agreement(site, left) for site in left}
            worst = min(left, key=lambda site: agreement[site])
            if agreement[worst] >= _AGAINST:
                break
            bad[worst] = "steps that point away from others'"
            left.remove(worst)
        return bad

    def _effects(
        self,
        weights: Weights,
        updates: Mapping[str, Update],
        steps: Mapping[str, Steps],
        sites: Sequence[str],
    ) -> dict[str, Steps]:
        """Return how sites move predictions; their steps where nothing can be predicted."""
        if self._outputs is None:
            return {site: steps[site] for site in sites}
        before = self._outputs(weights)
        moved = {site: self._outputs({**weights, **updates[site].weights}) for site in sites}
        return {site: {"outputs": after - before} for site, after in moved.items()}

    def _agreement(self, site: str, sites: Sequence[str]) -> float:
        """Return how much what a site learned agrees with what each other did, on average."""
        own = self._learned[site]
        others = [self._learned[other] for other in sites if other != site]
        return float(np.mean([_cosine(own, other) for other in others]))

    def _next(self, name: str, old: NDArray[Any], updates: Mapping[str, Update]) -> NDArray[Any]:
        sent = [one for one in updates.values() if name in one.weights]
        counts = np.asarray([rows_behind(name, one) for one in sent], dtype=float)
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
    how : {"guarded", "mean", "median", "clipped", "krum"}
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

    def __init__(self, how: How = "guarded", *, rate: float = 0.01) -> None:
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


class FedProx(FedAvg):
    """Pull the weights of each site to those that the round started from, while it learns [1]_.

    An option for sites that differ much; on the synthetic cohort it gained nothing over `FedAvg`.

    Parameters
    ----------
    how : {"guarded", "mean", "median", "clipped", "krum"}
        As in `FedAvg`.
    mu : float
        Half of this times the squared distance to the start is added to the loss.

    Attributes
    ----------
    refused_ : dict of str to str
        Sites of the last round that were not counted, and why.

    References
    ----------
    .. [1] Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020.
       https://doi.org/10.48550/arXiv.1812.06127

    Examples
    --------
    >>> from asfusion.federated import FedProx
    >>> FedProx(mu=0.1)
    FedProx(mu=0.1)
    """

    def __init__(self, how: How = "guarded", *, mu: float = 0.01) -> None:
        super().__init__(how)
        self.mu = mu

    @property
    def proximal(self) -> float:
        """How strongly sites pull their weights to those that a round starts from."""
        return check_number(self.mu, "mu", minimum=0.0)


def _steps(weights: Weights, update: Update) -> Steps:
    """Return how a site moved the weights that can be moved by degrees."""
    moved = {k: a for k, a in update.weights.items() if a.dtype.kind == "f"}
    return {k: a.astype(np.float64) - weights[k] for k, a in moved.items()}


def _length(steps: Steps) -> float:
    return float(np.sqrt(sum(np.square(step).sum() for step in steps.values())))


def _cosine(one: Steps, other: Steps) -> float:
    """Return the cosine of two sites' steps over the weights that both have; 0 where none is."""
    shared = [name for name in one if name in other]
    mine, others = ({k: steps[k] for k in shared} for steps in (one, other))
    lengths = _length(mine) * _length(others)
    return sum(float(np.vdot(mine[k], others[k])) for k in shared) / lengths if lengths else 0.0


def _in_common(effects: Mapping[str, Steps]) -> float:
    """Return the share of what sites learn that all of them do, but the one that agrees least.

    It is near 0 where nothing is left to learn: around the best model each site pulls its own way,
    which says nothing of it.
    """
    if len(effects) <= _FEWEST:
        return 1.0
    alike = np.asarray([[_cosine(a, b) for b in effects.values()] for a in effects.values()])
    rest = [np.flatnonzero(np.arange(len(alike)) != n) for n in range(len(alike))]
    pairs = [alike[np.ix_(sites, sites)] for sites in rest]
    return max(0.0, max(float(one[np.triu_indices(len(one), 1)].mean()) for one in pairs)) ** 2


def fault_of(weights: Weights, update: Update) -> str:
    """Return what is wrong with an update, nothing if it can be counted."""
    odd = [name for name, array in update.weights.items() if not _fits(weights, name, array)]
    if odd:
        return f"weights of another model: {quoted(odd)}"
    wrong = [name for name, array in update.weights.items() if not np.isfinite(array).all()]
    if wrong:
        return f"weights that are not finite: {quoted(wrong)}"
    if not all(0 <= n <= update.n_rows for n in update.n_present.values()):
        return "more rows with a modality than rows, or fewer than none"
    return "" if update.n_rows > 0 and update.weights else "no rows"


def _fits(weights: Weights, name: str, array: NDArray[Any]) -> bool:
    own = weights.get(name)
    return own is not None and own.shape == array.shape and own.dtype.kind == array.dtype.kind


def rows_behind(name: str, update: Update) -> int:
    """Return how many rows moved a weight: those that have the modality of an encoder."""
    for modality, n_rows in update.n_present.items():
        if name.startswith(f"encoders.{modality}."):
            return n_rows
    return update.n_rows


def _joined(steps: NDArray[np.float64], shares: NDArray[np.float64], how: How) -> Any:
    """Return one step for those of S sites."""
    if how == "clipped":
        steps = _clipped(steps)
    if how in ("guarded", "mean", "clipped") or len(steps) <= _FEWEST:
        return np.tensordot(shares, steps, axes=1)
    if how == "median":
        return np.median(steps, axis=0)
    flat = steps.reshape(len(steps), -1)
    apart = np.square(flat[:, None] - flat[None]).sum(axis=2)
    nearest = np.sort(apart, axis=1)[:, 1 : max(2, len(steps) - 1)].sum(axis=1)
    return np.asarray(steps[int(nearest.argmin())])


def _clipped(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return steps none of which is longer than twice the median of their lengths."""
    lengths = np.sqrt(np.square(steps.reshape(len(steps), -1)).sum(axis=1))
    most = _USUAL * np.median(lengths)
    factors = np.divide(most, lengths, out=np.ones_like(lengths), where=lengths > most)
    return np.asarray(steps * factors.reshape(-1, *[1] * (steps.ndim - 1)))
