"""Private rounds: at each site by itself, or as one step of all sites together."""

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
    return model._options().privacy


def is_union(model: Any) -> bool:
    """Return whether sites share the noise of each step."""
    privacy = promise_of(model)
    return privacy is not None and bool(privacy.sites > 1)


# -- at a site ---------------------------------------------------------------------------


def check_budget(model: Any, epochs: int, spent: int) -> int:
    """Return how many steps a round takes, if the site's rows have so many left."""
    privacy = promise_of(model)
    n_steps = 1 if is_union(model) else int(privacy.steps_of(epochs))
    if spent + n_steps > privacy.n_steps:
        msg = (
            f"Task: expected at most the {privacy.n_steps - spent} steps that privacy still pays "
            f"for at this site, got {n_steps}. More would tell more of its patients than promised."
        )
        raise InputError(msg)
    return n_steps


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


def check_rounds(model: Any, rounds: int, epochs: int, strategy: FedAvg | None) -> None:
    """Raise where rounds take other steps than privacy pays for."""
    privacy = promise_of(model)
    if privacy is None:
        return
    privacy.check()
    if is_union(model):
        if rounds > privacy.n_steps:
            msg = (
                f"rounds: expected at most {privacy.n_steps}, the steps that privacy pays for "
                f"where sites share the noise, got {rounds}. Say rounds=privacy.n_steps."
            )
            raise ConfigurationError(msg)
        if strategy is not None:
            msg = (
                "strategy: expected None where sites share the noise: only their sum is blurred "
                f"enough to be used, got {type(strategy).__name__}."
            )
            raise ConfigurationError(msg)
    elif rounds * privacy.steps_of(epochs) > privacy.n_steps:
        msg = (
            f"rounds: expected at most the {privacy.epochs} epochs in all that privacy pays for, "
            f"got {rounds} rounds of {epochs}. Say DifferentialPrivacy(epochs={rounds * epochs})."
        )
        raise ConfigurationError(msg)


def account_of(model: Any, rounds: int, epochs: int) -> dict[str, Any] | None:
    """Return what rounds have spent at each site, as a model keeps it."""
    privacy = promise_of(model)
    if privacy is None:
        return None
    n_steps = rounds if is_union(model) else rounds * privacy.steps_of(epochs)
    account: dict[str, Any] = privacy.account(n_steps, by_patient=None)
    return account


class UnionSteps(FedAvg):
    """Follow the sum of what sites sent, as one step of training; it sees no part of the sum.

    A round in which a site is missing lacks noise, and is not used.
    """

    def __init__(self, plan: Plan, sites: list[str], rounds: int) -> None:
        super().__init__()
        self._sites, self._rounds, self._done = sorted(sites), rounds, 0
        self._model = plan.estimator()
        expected = promise_of(self._model).sites
        if len(sites) != expected:
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
        self.refused_ = {
            name: why for name, one in updates.items() if (why := fault_of(weights, one))
        }
        whole = sorted(updates) == self._sites and not self.refused_
        step, self._done = self._done, self._done + 1
        if not whole or not all(set(one.weights) == set(weights) for one in updates.values()):
            rest = {name: "the sum lacks a site's noise" for name in updates}
            self.refused_ = {**rest, **self.refused_}
            return {name: np.array(value) for name, value in weights.items()}
        network = self._model.network_
        set_weights(network, weights)
        settings = self._settings
        for group in self._optimizer.param_groups:
            factor = rate_factor(step, self._rounds, warmup=settings.warmup)
            group["lr"] = settings.learning_rate * group["scale"] * factor
        self._follow(weights, updates)
        self._optimizer.step()
        return weights_of(network)

    def _follow(self, weights: Weights, updates: Mapping[str, Update]) -> None:
        """Give the weights of the network minus the sum of the sites' steps as gradient."""
        for name, value in self._model.network_.named_parameters():
            if value.requires_grad:
                start = weights[name].astype(np.float64)
                total = sum(one.weights[name].astype(np.float64) - start for one in updates.values())
                value.grad = value.new_tensor(-np.asarray(total))
