"""What an automatic fusion is made of: models that share all but their last step stand together.

Dimensions: N rows, n rows of a fold's test part, K classes or targets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from asfusion._frames import Frame
from asfusion.estimators._base import FusionEstimator, estimator_class, forget_checkpoints
from asfusion.estimators._rows import TrainingRows

Floats = NDArray[np.float64]
Models = dict[str, FusionEstimator]


class Kin(ABC):
    """Members of one family that differ in their last step, so that the rest is fitted once."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The members."""

    @abstractmethod
    def answers_of(self, parent: FusionEstimator) -> tuple[str, ...]:
        """Return the names of what `answer` gives."""

    @abstractmethod
    def fit(self, parent: FusionEstimator, rows: TrainingRows, *, resume: bool) -> Models:
        """Return the members, fitted to all rows."""

    @abstractmethod
    def answer(self, parent: FusionEstimator, rows: TrainingRows, frame: Frame) -> list[Floats]:
        """Return what models of `rows` say of others, each (n, K), NaN where nothing is said."""

    def settle(self, models: Models, answers: Floats, rows: TrainingRows) -> tuple[Models, Floats]:
        """Return members and out-of-fold outputs (V, N, K), from the answers (A, N, K) of folds."""
        return models, answers


@dataclass(frozen=True)
class EarlyKin(Kin):
    """Early fusions with several estimators.

    Parameters
    ----------
    estimators : mapping of str to estimator or None
        By the name of the member.
    """

    estimators: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The members."""
        return tuple(self.estimators)

    def answers_of(self, parent: FusionEstimator) -> tuple[str, ...]:
        """Return the members."""
        return self.names

    def fit(self, parent: FusionEstimator, rows: TrainingRows, *, resume: bool) -> Models:
        """Return the members: encoders are fitted once."""
        names = iter(self.estimators)
        first = next(names)
        base = _adopted("early", parent, estimator=self.estimators[first])
        base._fit_rows(rows, resume=resume)
        others = {name: base._with_last(self.estimators[name], rows) for name in names}
        return {first: base, **others}

    def answer(self, parent: FusionEstimator, rows: TrainingRows, frame: Frame) -> list[Floats]:
        """Return what each member says."""
        return [_said(model, frame) for model in self.fit(parent, rows, resume=False).values()]


@dataclass(frozen=True)
class LateKin(Kin):
    """Late fusions with several combinations.

    Parameters
    ----------
    combines : mapping of str to str
        By the name of the member.
    """

    combines: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The members."""
        return tuple(self.combines)

    def answers_of(self, parent: FusionEstimator) -> tuple[str, ...]:
        """Return a name for each modality: what is combined is asked once."""
        return tuple(f"late: {name}" for name in parent._chosen_encoders())

    def fit(self, parent: FusionEstimator, rows: TrainingRows, *, resume: bool) -> Models:
        """Return one model, which has nothing to learn but those of its modalities."""
        base = _adopted("late", parent, combine="mean")
        base._fit_rows(rows, resume=resume)
        return {next(iter(self.combines)): base}

    def answer(self, parent: FusionEstimator, rows: TrainingRows, frame: Frame) -> list[Floats]:
        """Return what the model of each modality says."""
        (base,) = self.fit(parent, rows, resume=False).values()
        nothing = np.full((len(frame), parent.n_outputs_), np.nan)
        return [
            _said(base.models_[name], frame) if name in base.models_ else nothing
            for name in parent._chosen_encoders()
        ]

    def settle(self, models: Models, answers: Floats, rows: TrainingRows) -> tuple[Models, Floats]:
        """Combine the answers in each way; what a combination has to learn, it learns of them."""
        (base,) = models.values()
        learned = [name in base.models_ for name in base._chosen_encoders()]
        decisions = np.moveaxis(answers[learned], 0, 1)
        present: NDArray[np.bool_] = np.asarray(~np.isnan(decisions).any(axis=2))
        base._judged = decisions, present, rows
        made = {name: base._with_last(how, rows) for name, how in self.combines.items()}
        outputs = np.full((len(made), len(rows), answers.shape[2]), np.nan)
        known = present.any(axis=1)
        for v, model in enumerate(made.values()):
            outputs[v, known] = model._unseen(rows)[0]
            model._let_go()
        return made, outputs


@dataclass(frozen=True)
class LoneKin(Kin):
    """One model by itself.

    Parameters
    ----------
    name : str
        The member.
    model : FusionEstimator or None
        Unfitted; None for joint fusion with the settings of the whole.
    """

    name: str
    model: FusionEstimator | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The member."""
        return (self.name,)

    def answers_of(self, parent: FusionEstimator) -> tuple[str, ...]:
        """Return the member."""
        return self.names

    def fit(self, parent: FusionEstimator, rows: TrainingRows, *, resume: bool) -> Models:
        """Return the member."""
        made = self._made(parent)
        made._fit_rows(rows, resume=resume)
        made._let_go()
        return {self.name: made}

    def answer(self, parent: FusionEstimator, rows: TrainingRows, frame: Frame) -> list[Floats]:
        """Return what the member says."""
        made = self._made(parent)
        forget_checkpoints(made)
        made._fit_rows(rows)
        return [_said(made, frame)]

    def _made(self, parent: Any) -> Any:
        if self.model is None:
            template = parent.network
            kind = estimator_class("joint", parent.target_)
            made = kind() if template is None else clone(template)
        else:
            made = clone(self.model)
        if self.model is None or isinstance(made.encoders, str):
            made.set_params(encoders=_copies(parent))
        made.set_params(verbose=parent.verbose)
        return made._adopt(parent)


def kins_of(wanted: Mapping[str, Any]) -> list[Kin]:
    """Return members that share all but their last step together, those that cost least first."""
    known = {name for name, model in wanted.items() if model is None}
    late = {f"late {how}": how for how in ("mean", "product")}
    early: dict[str, Any] = {
        "early linear": None,
        "early forest": "forest",
        "early boosted": "boosted",
    }
    found: list[Kin] = []
    if asked := {name: how for name, how in late.items() if name in known}:
        found.append(LateKin(asked))
    if made := {name: model for name, model in early.items() if name in known}:
        found.append(EarlyKin(made))
    if "joint" in known:
        found.append(LoneKin("joint"))
    return found + [LoneKin(name, model) for name, model in wanted.items() if model is not None]


def _adopted(family: str, parent: Any, **params: Any) -> Any:
    """Return an unfitted model of a family with the encoders, networks and task of `parent`."""
    made = estimator_class(family, parent.target_)(_copies(parent), verbose=parent.verbose)
    return made.set_params(network=parent.network, **params)._adopt(parent)


def _copies(parent: FusionEstimator) -> dict[str, Any]:
    return {name: clone(encoder) for name, encoder in parent._chosen_encoders().items()}


def _said(model: FusionEstimator, frame: Frame) -> Floats:
    """Return outputs (n, K), NaN in rows without a modality that the model reads."""
    outputs, present = model._raw(frame)
    return np.where(present[:, None], outputs, np.nan)
