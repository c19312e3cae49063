"""From what sites told to one model that all of them build alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from asfusion._checks import quoted
from asfusion._door import public
from asfusion._random import RandomState, draw_seed
from asfusion._warn import warn_user
from asfusion.bundle.objects import digest_of
from asfusion.estimators._joint import JointFusion
from asfusion.estimators._rows import TrainingRows
from asfusion.estimators._threshold import needs_unseen
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.federated._bagged import (
    check_bagged,
    is_bagged,
    learn_here,
    planned_model,
    with_models,
)
from asfusion.federated._messages import read_json
from asfusion.federated.summary import Summary
from asfusion.tabular.told import ColumnSums, Told, stand_in
from asfusion.training.weights import set_weights, weights_of

Weights = Mapping[str, NDArray[Any]]

_FORMAT = "asfusion.plan/1"
_ROWS_OF_NOBODY = 300  # on which a guard compares what sites have learned
_OTHER_UNIT = 4.0  # times: medians of sites that differ by more are hardly of one unit


def describe_model(model: Any) -> str:
    """Return a digest of what a model is; what a site decides, such as a folder, is left out."""
    check_model(model)
    bare = clone(model).set_params(verbose=0, random_state=None)
    return digest_of(bare.set_params(encoders=dict(sorted(bare._check_encoders().items()))))


def check_model(model: Any) -> None:
    """Raise unless a model is one that sites can train together."""
    if not (isinstance(model, JointFusion) or is_bagged(model)):
        msg = (
            "model: expected an estimator of early, joint or late fusion, which sites can train, "
            f"got {type(model).__name__}."
        )
        raise ConfigurationError(msg)
    if not isinstance(model.encoders, Mapping):
        msg = (
            "encoders: expected a dict of encoders, the same at all sites, got 'auto'. Let "
            "asfusion.infer_encoders choose them at one site."
        )
        raise ConfigurationError(msg)
    pretrain = getattr(model, "pretrain", None)
    if pretrain is not None or needs_unseen(getattr(model, "threshold", 0.5)):
        msg = (
            "model: expected neither pretrain nor a threshold that is learned from rows, which no "
            "site has all of. Give a number as threshold."
        )
        raise ConfigurationError(msg)
    if is_bagged(model):
        check_bagged(model)


class Plan:
    """What all sites build their model from: their sums together, and one seed.

    Made by `make_plan`. It holds no row and no cell.

    Parameters
    ----------
    model : estimator of early, joint or late fusion
        The unfitted model.
    total : Summary
        What sites told, together.
    seed : int
        Of first weights and of training.

    Attributes
    ----------
    digest : str
        Of all of this: sites and server compare it in each message.

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> X = pd.DataFrame({"crp": [1.0, 9.0, 3.0, 20.0] * 10})
    >>> y = [0, 1, 0, 1] * 10
    >>> model = af.JointFusionClassifier({"labs": af.TabularEncoder(["crp"])}, verbose=0)
    >>> site = af.federated.Site(model, X, y)
    >>> plan = af.federated.make_plan(model, {"here": site.summary()})
    >>> plan.total.n_rows, sorted(plan.weights())[-1]
    (40, 'head.weight')
    """

    def __init__(self, model: Any, total: Summary, seed: int) -> None:
        if describe_model(model) != total.model:
            msg = (
                "Plan: expected the model that sites summed their rows for, got one that is "
                "described differently. Use the same encoders and parameters at all sites."
            )
            raise InputError(msg)
        self.model = clone(model)
        self.total = total
        self.seed = seed
        self.digest = hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the plan as JSON, for all sites; the model's description is not in it."""
        state = {"format": _FORMAT, "seed": self.seed, "total": self.total.to_bytes().decode()}
        return json.dumps(state).encode()

    def estimator(self, own: Mapping[str, Told] | None = None) -> Any:
        """Return the model, fitted in all but its weights, which are those of the seed.

        Parameters
        ----------
        own : mapping of str to Told, optional
            Sums of a site that scales its tables by itself.

        Returns
        -------
        estimator of the model's class
            It predicts nearly the prior, whatever the row; without estimators where sites send
            those.
        """
        model, told, rows = self._begun(own)
        if is_bagged(model):
            made = planned_model(model, told, rows, self.total.n_rows)
            made._finish(rows)
            return made
        model.encoders_ = {name: model.encoders[name]._fit_told(one) for name, one in told.items()}
        model.scaling_ = model.target_.scaling(rows.y, rows.sample_weight)
        model._build()
        model._finish(rows)
        model.history_ = []
        model._share_networks()
        return model

    def learn_here(self, rows: TrainingRows, least: int) -> dict[str, NDArray[Any]]:
        """Return the arrays of what the rows of a site teach a model that is sent as a whole."""
        model, told, nobody = self._begun()
        planned = planned_model(model, told, nobody, self.total.n_rows)
        return learn_here(planned, told, nobody, rows, least)

    def _begun(
        self, own: Mapping[str, Told] | None = None
    ) -> tuple[Any, dict[str, Told], TrainingRows]:
        """Return the model before it has read anything, sums by modality, and rows of nobody."""
        known = self.model.get_params(deep=False)
        settings = {k: v for k, v in self._settings().items() if k in known}
        model = clone(self.model).set_params(**settings)
        told = {name: one for name, one in self.total.modalities.items() if one.n_rows}
        if own is not None:
            told = {name: one.scaled_as(own[name]) for name, one in told.items()}
        model.encoders = {name: clone(self.model.encoders[name]) for name in told}
        table = self._columns(told)
        return model, told, model._read_training(table, self._targets(len(table)), None, None)

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the weights of the first round; none where sites send whole models."""
        if is_bagged(self.model):
            return {}
        return weights_of(self.estimator().network_)

    def outlook(self) -> Callable[[Weights], NDArray[np.float64]]:
        """Return from weights to what they predict of rows of nobody, its mean taken out.

        Notes of nobody hold words as often as they were told; other content is absent.
        """
        model = self.estimator()
        told = {name: one for name, one in self.total.modalities.items() if one.n_rows}
        rows = self._columns(told).head(_ROWS_OF_NOBODY)
        for name, one in told.items():
            if one.terms:
                rows[list(self.model.encoders[name]._columns_among(()))] = _notes(one, len(rows))

        seen = model._read_X(rows, reset=False)
        tensors = model._tensors(seen)[0]

        def outputs(weights: Weights) -> NDArray[np.float64]:
            set_weights(model.network_, weights)
            model.network_.eval()
            found = model._outputs_of(tensors, len(seen))
            if model.target_.is_probability:
                found = np.log(np.clip(found, 1e-6, 1.0))
            return np.asarray(found - found.mean(axis=0))

        return outputs

    @public
    def model_of(self, weights: Weights, own: Mapping[str, Told] | None = None) -> Any:
        """Return the fitted model that has learned these weights.

        Parameters
        ----------
        weights : mapping of str to ndarray
            From a strategy's `aggregate`.
        own : mapping of str to Told, optional
            Sums of a site that scales its tables by itself.

        Returns
        -------
        estimator of the model's class
            To predict, judge, explain and save as any other.
        """
        model = self.estimator(own)
        if is_bagged(model):
            return with_models(model, weights)
        set_weights(model.network_, weights)
        model.network_.eval()
        return model

    def _settings(self) -> dict[str, Any]:
        """Return the parameters that belong to the plan, and not to a site."""
        settings: dict[str, Any] = {
            "random_state": self.seed, "verbose": 0, "checkpoint": None, "early_stopping": False,
        }  # fmt: skip
        if getattr(self.model, "class_weight", None) == "balanced":
            labels, counts = np.unique(self._told_targets(), return_counts=True)
            weights = counts.sum() / (len(counts) * counts)
            settings["class_weight"] = dict(zip(labels.tolist(), weights.tolist(), strict=True))
        return settings

    def _columns(self, told: Mapping[str, Told]) -> Any:
        """Return rows of nobody with all columns that are read."""
        columns: dict[str, ColumnSums] = {}
        n_rows = self.total.n_rows
        for name, one in told.items():
            read = self.model.encoders[name]._columns_among(tuple(one.columns))
            columns |= {column: ColumnSums("empty", n_rows) for column in read or one.columns}
        for one in told.values():
            columns |= one.columns
        return stand_in(columns)

    def _targets(self, n_rows: int) -> NDArray[Any]:
        """Return as many targets as there are rows of nobody."""
        found = self._told_targets()
        return np.asarray(found[np.linspace(0, len(found) - 1, n_rows).round().astype(int)])

    def _told_targets(self) -> NDArray[Any]:
        return np.asarray(self.model._target().of_told(self.total.target))

    def __repr__(self) -> str:
        """Return what is planned for, in one line."""
        told = ", ".join(f"{name} ({one.n_rows})" for name, one in self.total.modalities.items())
        return f"<Plan of {self.total.n_rows} rows: {told}; {self.digest[:8]}>"


@public
def make_plan(
    model: Any,
    summaries: Mapping[str, Summary] | Sequence[Summary],
    *,
    random_state: RandomState = 0,
) -> Plan:
    """Return what sites need to build one model: their sums together, and a seed.

    Parameters
    ----------
    model : JointFusionClassifier or JointFusionRegressor
        Unfitted, with the encoders named.
    summaries : mapping of str to Summary, or sequence of them
        What `Site.summary` returned at each site, by the site's name.
    random_state : int, RandomState, Generator or None
        Of first weights and training.

    Returns
    -------
    Plan
        To be sent to the sites.

    Raises
    ------
    ConfigurationError
        If the model is none that sites can train together.
    InputError
        If the summaries are of other models, or no class or modality has enough rows.
    ColumnError
        If a column holds another kind of cells at another site.

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> X = pd.DataFrame({"crp": [1.0, 9.0, 3.0, 20.0] * 10})
    >>> y = [0, 1, 0, 1] * 10
    >>> model = af.JointFusionClassifier({"labs": af.TabularEncoder(["crp"])}, verbose=0)
    >>> site = af.federated.Site(model, X, y)
    >>> af.federated.make_plan(model, {"here": site.summary()}).total.n_rows
    40
    """
    check_model(model)
    named = summaries if isinstance(summaries, Mapping) else dict(_numbered(summaries))
    if not named:
        raise InputError("summaries: expected those of at least one site, got none.")
    _warn_of_units(named)
    total = reduce(add, named.values())
    if not any(one.n_rows for one in total.modalities.values()):
        raise InputError("summaries: expected a modality that enough rows have, got none.")
    if sum(n > 0 for n in total.target.levels.values()) + len(total.target.bins) < 2:
        msg = (
            f"summaries: expected two classes of {total.least} rows or more at some site, got "
            "fewer. Ask more sites, or join those that have few rows."
        )
        raise InputError(msg)
    return Plan(model, total, draw_seed(random_state))


@public
def read_plan(data: bytes, model: Any) -> Plan:
    """Return the plan that a server sent, for the model that a site was given beforehand.

    Parameters
    ----------
    data : bytes
        From `Plan.to_bytes`.
    model : JointFusionClassifier or JointFusionRegressor
        The same unfitted model.

    Returns
    -------
    Plan
        With the same digest.

    Raises
    ------
    InputError
        If the message is not a plan, or is one of another model.

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> X = pd.DataFrame({"crp": [1.0, 9.0, 3.0, 20.0] * 10})
    >>> y = [0, 1, 0, 1] * 10
    >>> model = af.JointFusionClassifier({"labs": af.TabularEncoder(["crp"])}, verbose=0)
    >>> site = af.federated.Site(model, X, y)
    >>> plan = af.federated.make_plan(model, {"here": site.summary()})
    >>> af.federated.read_plan(plan.to_bytes(), model).digest == plan.digest
    True
    """
    state = read_json(data, _FORMAT)
    total = Summary.from_bytes(str(state.get("total")).encode())
    seed = state.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise InputError("Plan: expected a whole number as seed, got something else.")
    return Plan(model, total, seed)


def _notes(told: Told, n_rows: int) -> NDArray[Any]:
    """Return notes (N, 1) of nobody: each word where it stands as often as was told."""
    shares = np.asarray(list(told.terms.values())) / told.n_rows
    there = np.random.default_rng(0).random((n_rows, len(shares))) < shares
    words = np.asarray(list(told.terms), dtype=object)
    return np.asarray([[" ".join(words[row]) or None] for row in there], dtype=object)


def _numbered(summaries: Sequence[Summary]) -> list[tuple[str, Summary]]:
    return [(f"site {n}", summary) for n, summary in enumerate(summaries)]


def _warn_of_units(summaries: Mapping[str, Summary]) -> None:
    """Warn of columns whose medians are many times as large at one site as at another."""
    medians: dict[str, list[float]] = {}
    for summary in summaries.values():
        for told in summary.modalities.values():
            for name, sums in told.columns.items():
                if sums.kind == "number" and sums.median > 0:
                    medians.setdefault(name, []).append(sums.median)
    odd = [name for name, found in medians.items() if max(found) > _OTHER_UNIT * min(found)]
    if odd:
        msg = (
            f"Sites differ by more than {_OTHER_UNIT:g} times in the median of {quoted(odd)}: are "
            "they in one unit? Say Site(..., units={column: unit}) where a site has another."
        )
        warn_user(msg)
