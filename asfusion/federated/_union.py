"""Private rounds: each is one step, of gradients that sites sum, clip and blur.

Local training for several steps would blur each step of a site by noise made for few rows; a sum
over all sites has several times as many.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from asfusion.estimators._private import private_steps
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.federated.plan import Plan, Weights
from asfusion.federated.strategies import FedAvg, fault_of
from asfusion.federated.update import Update
from asfusion.nn.optimizer import AdamW
from asfusion.training.schedule import parameter_groups, rate_factor
from asfusion.training.weights import set_weights, weights_of


def promise_of(model: Any) -> Any:
    """Return the privacy that a joint model is to keep, if any."""
    options = getattr(model, "_options", None)  # early and late fusion have none
    return None if options is None else options().privacy


# -- at a site ---------------------------------------------------------------------------


def check_budget(model: Any, spent: int) -> None:
    """Raise unless the rows of a site have one more step left."""
    privacy = promise_of(model)
    if spent >= privacy.n_steps:
        msg = (
            f"Task: expected at most the {privacy.n_steps} steps that privacy pays for at this "
            "site, got one more. It would tell more of its patients than promised."
        )
        raise InputError(msg)


def sum_of_site(model: Any, rows: Any, modalities: Any, n_total: int) -> dict[str, NDArray[Any]]:
    """Return weights moved by minus this site's part of a gradient, its share of noise in it."""
    data = model._rows_to_learn(rows, modalities)
    settings = model._settings(len(rows))
    start = weights_of(model.network_)
    found = private_steps(model, rows, data, settings).one_sum()
    drawn = settings.privacy.sample_rate * n_total
    moved = {name: start[name] - value / drawn for name, value in found.items()}
    return {**start, **{name: a.astype(start[name].dtype) for name, a in moved.items()}}


# -- at the server -----------------------------------------------------------------------


def check_rounds(model: Any, rounds: int, strategy: FedAvg | None) -> None:
    """Raise where rounds are not the steps that privacy pays for."""
    privacy = promise_of(model)
    if privacy is None:
        return
    privacy.check()
    if rounds != privacy.n_steps:
        msg = (
            f"rounds: expected {privacy.n_steps}, one for each step that privacy pays for, got "
            f"{rounds}. Say rounds=privacy.n_steps."
        )
        raise ConfigurationError(msg)
    if strategy is not None:
        msg = (
            "strategy: expected None with privacy, where sites send noisy sums of gradients and "
            f"the server takes the step, got {type(strategy).__name__}."
        )
        raise ConfigurationError(msg)


def account_of(model: Any) -> dict[str, Any] | None:
    """Return what all rounds have spent, as a model keeps it."""
    privacy = promise_of(model)
    if privacy is None:
        return None
    account: dict[str, Any] = privacy.account(privacy.n_steps, by_patient=None)
    return account


class PrivateRounds(FedAvg):
    """Follow the sum of what sites sent, as one step of training.

    Where sites share the noise, a round in which one is missing lacks some, and is not used.
    """

    def __init__(self, plan: Plan, sites: list[str], rounds: int) -> None:
        super().__init__()
        self._sites, self._rounds, self._done = sorted(sites), rounds, 0
        self._model = plan.estimator()
        expected = promise_of(self._model).sites
        self._shared = expected > 1
        if self._shared and len(sites) != expected:
            msg = (
                f"sites: expected the {expected} of DifferentialPrivacy(sites={expected}), which "
                f"share the noise, got {len(sites)}."
            )
            raise ConfigurationError(msg)
        self._settings = self._model._settings(plan.total.n_rows)
        network = self._model.network_
        groups = parameter_groups(network, self._settings)
        self._optimizer = AdamW(groups, lr=self._settings.learning_rate, fused=True)

    def start(self) -> Self:
        """Forget who was not counted."""
        self.refused_ = {}
        return self

    def aggregate(self, weights: Weights, updates: Mapping[str, Update]) -> dict[str, NDArray[Any]]:
        """Return weights one step further, or as they are where the sum is not whole."""
        self.refused_ = {n: why for n, one in updates.items() if (why := _fault(weights, one))}
        sound = {name: one for name, one in updates.items() if name not in self.refused_}
        step, self._done = self._done, self._done + 1
        if not sound or (self._shared and sorted(sound) != self._sites):
            self.refused_ |= dict.fromkeys(sound, "the sum lacks a site's noise")
            return {name: np.array(value) for name, value in weights.items()}
        set_weights(self._model.network_, weights)
        factor = rate_factor(step, self._rounds, warmup=self._settings.warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * group["scale"] * factor
        self._follow(weights, sound)
        self._optimizer.step()
        return weights_of(self._model.network_)

    def _follow(self, weights: Weights, updates: Mapping[str, Update]) -> None:
        """Give the weights of the network minus the sum of the sites' steps as gradient."""
        for name, value in self._model.network_.named_parameters():
            if value.requires_grad:
                sent = np.stack([one.weights[name] for one in updates.values()]).astype(np.float64)
                value.grad = value.new_tensor((weights[name] - sent).sum(axis=0))


def _fault(weights: Weights, update: Update) -> str:
    """Return what is wrong with an update, nothing if it can be added."""
    missing = "" if set(update.weights) == set(weights) else "weights of another model"
    return fault_of(weights, update) or missing
