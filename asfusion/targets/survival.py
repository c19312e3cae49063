"""The time until an event, which some rows have not had yet."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from asfusion._checks import check_choice, check_integer, check_number
from asfusion.exceptions import ConfigurationError
from asfusion.survival._read import DTYPE, read_times
from asfusion.survival.cox import CoxRegression, cox_path
from asfusion.survival.kaplan_meier import KaplanMeier, ProductLimit
from asfusion.targets._base import Floats, Present, Target, Tensor
from asfusion.targets._pools import FLOOR, added, least_pool
from asfusion.targets._read import refuse_other_estimators

_LEAST_EVENTS = 2
_RISK = "risk"  # by which a user asks for an explanation of it
_TIMES = {"cox": 40, "hazards": 10}


class Survival(Target):
    """Time to an event, under censoring.

    Predictions are survival curves: the probability that a row has had no event by each of
    ``times_``, which are quantiles of the event times of the training rows.

    Parameters
    ----------
    network : {"cox", "hazards"}
        What networks learn: one log risk by Cox's partial likelihood within each batch [2]_,
        with a baseline learned when the network is; or the hazard of each interval between
        ``times_`` (discrete-time hazards [1]_), so that curves may cross. Give the latter few
        times and many rows.
    n_times : int, optional
        Most times of a curve; 40 by default, and 10 where each has a hazard to be learned.

    Attributes
    ----------
    times_ : ndarray of shape (n_times,)
        In the unit of y, rising.
    n_outputs_ : int
        Their number.

    Notes
    -----
    The default was chosen on inner folds of the training rows of four data sets, by
    ``benchmarks/survival.py --only network``: Cox's likelihood ranked better in three of them.
    Hazards of 10 times had the lower Brier score in the two with wide omics blocks; hazards
    of 40 times ranked worst in three.

    References
    ----------
    .. [1] Gensheimer, Narasimhan, "A scalable discrete-time survival model for neural
       networks", PeerJ 2019. https://doi.org/10.7717/peerj.6257
    .. [2] Katzman et al., "DeepSurv", BMC Medical Research Methodology 2018.
       https://doi.org/10.1186/s12874-018-0482-1

    Examples
    --------
    >>> import pandas as pd
    >>> from asfusion.targets import Survival
    >>> y = pd.DataFrame({"event": [1, 0, 1, 1], "time": [1.0, 2.0, 3.0, 4.0]})
    >>> target = Survival()
    >>> target.fit(target.read(y, 4)).times_
    array([1., 3., 4.])
    """

    face = "survival"
    is_probability = True
    # Times say less than classes: few penalties tell apart what can be told.
    penalties: ClassVar[Sequence[float]] = (100.0, 10.0, 1.0, 0.1, 0.01)
    _models: ClassVar[Mapping[str, tuple[str, str]]] = {
        "boosted": ("asfusion.survival.ranked", "BoostedSurvival"),
        "forest": ("asfusion.survival.ranked", "ForestSurvival"),
        "xgboost": ("asfusion.survival.ranked", "BoostedSurvival"),
    }
    _forest: ClassVar[Mapping[str, Any]] = {}  # its own are made for times

    times_: Floats

    def __init__(
        self, network: Literal["cox", "hazards"] = "cox", n_times: int | None = None
    ) -> None:
        self.network = network
        self.n_times = n_times

    # -- y -----------------------------------------------------------------------------

    def read(self, y: Any, n_rows: int) -> NDArray[np.void]:
        """Return event and time (N,), checked."""
        check_choice(self.network, "network", tuple(_TIMES))
        if self.n_times is not None:
            check_integer(self.n_times, "n_times", minimum=1)
        return read_times(y, n_rows)

    def fit(self, y: NDArray[Any]) -> Self:
        """Learn the times of the curves: those by which equal shares of the events were seen."""
        seen = np.sort(y["time"][y["event"]])
        n_times = _TIMES[self.network] if self.n_times is None else self.n_times
        shares = np.linspace(0.0, 1.0, n_times + 1)[1:]
        places = np.ceil(shares * len(seen)).astype(int) - 1
        self.times_ = np.unique(seen[places]) if len(seen) else np.unique(y["time"])[-1:]
        self.n_outputs_ = len(self.times_)
        return self

    def code(self, y: NDArray[Any]) -> Floats:
        """Return columns (N, 2) of time and event."""
        return np.column_stack([y["time"], y["event"]]).astype(np.float64)

    def decode(self, y: NDArray[Any]) -> NDArray[np.void]:
        """Return event and time as a structured array."""
        out = np.empty(len(y), DTYPE)
        out["time"], out["event"] = y[:, 0], y[:, 1] == 1.0
        return out

    def columns(self) -> Floats:
        """Return the times of the curves."""
        return self.times_

    @property
    def task(self) -> str:
        """Name of the scorer by which predictions are judged."""
        return "survival"

    def prior(self, y: NDArray[Any], weight: Floats) -> Floats:
        """Return the Kaplan-Meier curve (K,)."""
        return KaplanMeier().fit(self.decode(y), weight).predict(self.times_)

    def strata(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """Return whether the event was seen, which folds share evenly."""
        return np.asarray(y[:, 1] if y.dtype.names is None else y["event"], dtype=np.int64)

    def can_teach(self, y: NDArray[Any]) -> bool:
        """Return whether there are events to learn from."""
        return len(y) > 1 and int(self.strata(y).sum()) >= _LEAST_EVENTS

    def lacks(self, y: NDArray[Any], among: str) -> str:
        """Return what rows that cannot teach would need."""
        seen = int(self.strata(y).sum())
        return f"expected at least {_LEAST_EVENTS} events among rows {among}, got {seen}"

    def explained(self, outputs: Tensor) -> Tensor:
        """Return curves (N, K) and, as the last column, what `shaped` makes of them."""
        both = outputs.new_empty(outputs.shape[0], outputs.shape[1] + 1)
        both[:, :-1] = outputs
        both[:, -1] = (-outputs.clamp(FLOOR, 1.0 - FLOOR).log()).log().mean(dim=1)
        return both

    def has_odds(self, k: int) -> bool:
        """Return whether a time is explained, not the risk."""
        return k < self.n_outputs_

    def describe_output(self, k: int) -> str:
        """Return the name of the risk, or of the time that is outlived."""
        if k == self.n_outputs_:
            return "log risk of an event"
        return f"probability of no event by {self.times_[k]:.4g}"

    def choose_output(self, outputs: Floats, wanted: Any) -> NDArray[np.int64]:
        """Return the place of the risk, or of the known time that is nearest to the wanted one.

        The risk by default: on its scale modalities of a Cox regression add up.
        """
        place = self.n_outputs_
        if isinstance(wanted, str) and wanted != _RISK:
            msg = f'output: expected "{_RISK}" or a time in the unit of y, got another word.'
            raise ConfigurationError(msg)
        if wanted is not None and not isinstance(wanted, str):
            time = check_number(wanted, "output", minimum=0.0, exclusive=True)
            if time > self.times_[-1]:
                msg = (
                    f"output: expected a time up to the last event at {self.times_[-1]:.4g}, got "
                    f"{time:.4g}."
                )
                raise ConfigurationError(msg)
            place = int(np.abs(self.times_ - time).argmin())
        return np.full(len(outputs), place, dtype=np.int64)

    def shaped(self, outputs: Floats) -> Floats:
        """Return the log risk (N,) of curves: the mean logarithm of their cumulative hazard."""
        return np.asarray(_log_hazard(outputs).mean(axis=1))

    # -- scikit-learn's models -----------------------------------------------------------

    def check_part(self, estimator: Any, name: str) -> None:
        """Raise unless `estimator` predicts survival curves."""
        refuse_other_estimators(estimator, name)
        if not hasattr(_last(estimator), "predict_survival_function"):
            msg = (
                f"{name}: expected a model with predict_survival_function, such as "
                "asfusion.survival.CoxRegression, BoostedSurvival, or one of scikit-survival, got "
                f"{type(_last(estimator)).__name__}."
            )
            raise ConfigurationError(msg)

    def for_part(self, estimator: Any, y: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Give event and time as a structured array."""
        return estimator, self.decode(y)

    def ask_part(self, estimator: Any, features: Any) -> Floats:
        """Return survival curves (N, K) at ``times_``."""
        return self.ask(estimator, features)

    def ask(self, model: Any, X: Any) -> Floats:
        """Return survival curves (N, K) at ``times_``."""
        if isinstance(model, Pipeline):
            X, model = model[:-1].transform(X), model[-1]
        return curves_of(model, X, self.times_)

    def linear(self, penalty: float = 1.0) -> Any:
        """Return a Cox regression with a ridge."""
        return CoxRegression(alpha=penalty)

    def ridge_path(
        self, features: Floats, y: NDArray[Any], weight: Floats, asked: Floats
    ) -> Floats:
        """Return what Cox regressions of each penalty answer (P, N, K)."""
        path = cox_path(features, self.decode(y), weight, self.penalties)
        return np.stack([self.ask_part(model, asked) for model in path])

    def small_trees(self, n_rows: int = 200, seed: int | None = None) -> Any:
        """Return unfitted boosted trees for a few hundred rows, which they are made for."""
        return self.model("boosted", random_state=seed)

    # -- networks ------------------------------------------------------------------------

    @property
    def loss(self) -> str:
        """Name of the loss of a row."""
        return self.network

    @property
    def n_network_outputs(self) -> int:
        """How many numbers a network gives for a row."""
        return 1 if self.network == "cox" else self.n_outputs_

    def to_network(self, y: NDArray[Any], scaling: Any) -> Floats:
        """Return coded rows as the loss reads them.

        These are the intervals lived through, and whether the event ended the next one; or,
        where networks only rank, time and event.
        """
        if self.network == "cox":
            return y.copy()
        had = y[:, 1] == 1.0
        lived = np.searchsorted(self.times_, y[:, 0], side="right").astype(np.float64)
        within = np.searchsorted(self.times_, y[:, 0], side="left")
        seen = had & (within < self.n_outputs_)
        return np.column_stack([np.where(seen, within, lived), seen]).astype(np.float64)

    def activate(self, outputs: Tensor, scaling: Any) -> Tensor:
        """Return survival curves (N, K)."""
        wide = outputs.double()
        if self.network == "cox":
            hazard = wide.new_tensor(self.baseline_)
            return (-hazard * (self.stretch_ * (wide - self.center_)).exp()).exp()
        # The chance to live through an interval is one less its hazard.
        return (-wide).sigmoid().cumprod(dim=1)

    @property
    def needs_settling(self) -> bool:
        """Whether networks only rank, so that there is a baseline to learn."""
        return self.network == "cox"

    def settle(self, outputs: Floats, y: NDArray[Any], weight: Floats) -> None:
        """Learn the baseline of networks that only rank, from what they say of known rows."""
        cox = CoxRegression(alpha=1e-3).fit(outputs, self.decode(y), sample_weight=weight)
        curve = cox.predict_survival_function(cox.center_[None, :], self.times_)[0]
        self.baseline_ = -np.log(np.maximum(curve, FLOOR))
        self.stretch_, self.center_ = float(cox.coef_[0]), float(cox.center_[0])

    def start(self, prior: Floats) -> Floats:
        """Return the bias by which an untrained network predicts the prior."""
        if self.network == "cox":
            return np.zeros(1)
        curve = np.append(1.0, np.clip(prior, FLOOR, 1.0))
        hazard = np.clip(1.0 - curve[1:] / curve[:-1], FLOOR, 1.0 - FLOOR)
        return np.asarray(np.log(hazard) - np.log1p(-hazard))

    # -- decisions of several models -------------------------------------------------------

    def pool_weights(
        self, decisions: Floats, present: Present, y: NDArray[Any], weight: Floats
    ) -> Floats:
        """Return weights (M,) of curves with the least integrated Brier score."""
        truth, known = self._known(y)
        share = known * weight[:, None] / weight.sum() / self.n_outputs_

        def judged(pooled: Floats) -> tuple[float, Floats]:
            error = pooled - truth
            return float((share * error**2).sum()), 2.0 * share * error

        return least_pool(judged, decisions, present, penalty=1e-4)

    def deviance(self, outputs: Floats, y: NDArray[Any], weight: Floats) -> float:
        """Return the Brier score, averaged over ``times_``, weighed for censoring."""
        return _brier(outputs, *self._known(y), weight)

    def _known(self, y: NDArray[Any]) -> tuple[Floats, Floats]:
        """Return who is without an event by each time (N, K), and by how much each counts."""
        time, had = y[:, 0], y[:, 1] == 1.0
        censoring = ProductLimit(had, time, of_censoring=True)
        steps = censoring.steps(np.ones((1, len(y))))[0]
        own = np.maximum(steps[censoring.places(time, before=True)], FLOOR)
        alive = time[:, None] > self.times_
        known = alive / np.maximum(steps[censoring.places(self.times_)], FLOOR)
        return alive.astype(np.float64), known + (~alive & had[:, None]) / own[:, None]

    def product(
        self,
        decisions: Floats,
        present: Present,
        prior: Floats,
        weights: Floats,
        dependence: float = 0.0,
    ) -> Floats:
        """Return curves whose log hazard is that of the prior and what each expert adds."""
        base = _log_hazard(prior)
        beyond = added(_log_hazard(decisions) - base, present, dependence)
        return np.asarray(np.exp(-np.exp(base + beyond)))

    def evidence(self, decisions: Floats, prior: Floats) -> Floats:
        """Return by how much each expert moves the log hazard (N, M, 1), on average over time."""
        return np.asarray((_log_hazard(decisions) - _log_hazard(prior)).mean(axis=2, keepdims=True))


def curves_of(model: Any, X: Any, times: Floats) -> Floats:
    """Return survival curves (N, K) of a fitted model, ours or scikit-survival's.

    Beyond the last event that a model knows of its curve stays where it is.
    """
    known = getattr(getattr(model, "target_", None), "times_", None)
    times = times if known is None else np.minimum(times, known[-1])
    if "times" in inspect.signature(model.predict_survival_function).parameters:
        return np.asarray(model.predict_survival_function(X, times), dtype=np.float64)
    return np.stack([_at_steps(step, times) for step in model.predict_survival_function(X)])


def _at_steps(step: Any, times: Floats) -> Floats:
    places = np.searchsorted(step.x, times, side="right")
    return np.append(1.0, np.asarray(step.y, dtype=np.float64))[places]


def _brier(curves: Floats, truth: Floats, known: Floats, weight: Floats) -> float:
    squares = (known * (curves - truth) ** 2).mean(axis=1)
    return float(np.average(squares, weights=weight))


def _log_hazard(survival: Floats) -> Floats:
    """Return the logarithm of the cumulative hazard behind survival."""
    return np.asarray(np.log(-np.log(np.clip(survival, FLOOR, 1.0 - FLOOR))))


def _last(estimator: Any) -> Any:
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator
