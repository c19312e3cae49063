"""A hospital: it keeps its rows, and answers with sums and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from asfusion._checks import check_integer, check_number, quoted
from asfusion._door import public
from asfusion._frames import Frame, group_labels
from asfusion._progress import progress_shown
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion._tokens import Prepared
from asfusion.clinical.units import convert
from asfusion.estimators._base import columns_of
from asfusion.estimators._rows import TrainingRows
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.federated._bagged import is_bagged
from asfusion.federated._union import check_budget, promise_of, sum_of_site
from asfusion.federated.plan import Plan, Weights, describe_model
from asfusion.federated.scores import ScoreCounts
from asfusion.federated.summary import Summary
from asfusion.federated.update import Task, Update
from asfusion.tabular.told import Told, tellable
from asfusion.training.weights import pulled, set_weights


class Site:
    """A hospital's rows, which do not leave it.

    Parameters
    ----------
    model : estimator of early, joint or late fusion
        Unfitted, with the encoders named; the same at all sites.
    X : DataFrame of n_rows rows
        The rows of this site. Columns of a modality that it lacks may be absent.
    y : array of n_rows rows
        What is predicted.
    groups : array of n_rows rows, optional
        Patient of each row: none is both learned from and held out.
    holdout : float
        Share of patients on which two classes are judged; the model does not learn from them.
    units : mapping of str to str, optional
        Unit of columns, for those that are not in the standard unit of their name, such as
        ``{"crp": "mg/dL"}``.
    min_count : int
        Fewest rows of a count that leaves the site.
    personal : sequence of str
        Beginnings of names of weights that stay here, such as ``"head"``: what is averaged is the
        rest, and this site predicts with its own.
    own_scaling : bool
        Whether numbers of tables are scaled as they are spread at this site, and not as at all of
        them; this site predicts so, too.
    random_state : int, RandomState, Generator or None
        Which patients are held out.

    Attributes
    ----------
    n_private_steps : int
        Steps of differential privacy that these rows have paid for; more than were promised are
        refused, whoever asks.

    Raises
    ------
    ConfigurationError
        If sites cannot train such a model together, or a unit is unknown.
    InputError
        If there are too few rows to say anything about.

    Examples
    --------
    >>> import asfusion as af
    >>> cohort = af.datasets.make_axspa_cohort(60, modalities=["labs"])
    >>> X, y = cohort.X, cohort.y
    >>> model = af.JointFusionClassifier({"labs": af.TabularEncoder(["crp", "esr"])})
    >>> site = af.federated.Site(model, X, y)
    >>> plan = af.federated.make_plan(model, {"here": site.summary()})
    >>> update = site.join(plan).fit_round(plan.weights(), epochs=1)
    >>> 50 < update.n_rows <= 60
    True
    """

    def __init__(
        self,
        model: Any,
        X: Any,
        y: Any,
        *,
        groups: Any = None,
        holdout: float = 0.0,
        units: Mapping[str, str] | None = None,
        min_count: int = 5,
        personal: Sequence[str] = (),
        own_scaling: bool = False,
        random_state: RandomState = 0,
    ) -> None:
        self._description = describe_model(model)
        self.model = clone(model)
        self.min_count = check_integer(min_count, "min_count", minimum=1)
        self.units = dict(units or {})
        self.personal = tuple([personal] if isinstance(personal, str) else personal)
        self.own_scaling = own_scaling
        if self.personal and promise_of(self.model) is not None:
            msg = (
                f"personal: expected none with privacy, got {quoted(self.personal)}. All sites "
                "take each step together."
            )
            raise ConfigurationError(msg)
        check_number(holdout, "holdout", minimum=0.0, maximum=0.9)
        frame = self._in_standard_units(self._complete(Frame.read(X)))
        self._target = self.model._target()
        y = self._target.read(y, len(frame))
        patients = None if groups is None else group_labels(groups, len(frame))
        learn, judge = _divided(len(frame), patients, holdout, draw_seed(random_state))
        self._patients = None if patients is None else patients[learn]
        self._held_out = frame.take(judge), y[judge]
        self._frame, self._y = frame.take(learn), y[learn]
        if len(self._frame) < 2 * self.min_count:
            msg = (
                f"X: expected at least {2 * self.min_count} rows at a site, so that none of its "
                f"answers is of a few, got {len(self._frame)}."
            )
            raise InputError(msg)
        self.own_weights: dict[str, NDArray[Any]] = {}
        self.n_private_steps = 0

    @public
    def summary(self) -> Summary:
        """Return what others need of these rows to read theirs alike.

        Returns
        -------
        Summary
            Sums of `min_count` rows or more.
        """
        told = {}
        for name, encoder in self.model._check_encoders().items():
            there = self._frame.present(columns_of(encoder, self._frame)).sum()
            told[name] = (
                clone(encoder)._tell(self._frame, self.min_count)
                if there >= self.min_count
                else Told(0)
            )
        target = self._target.told(self._y, self.min_count)
        n_rows = target.n_rows
        return Summary(n_rows, target, told, self.min_count, self._description)

    @public
    def join(self, plan: Plan) -> Site:
        """Build the model of a plan here, and read the rows by it.

        Parameters
        ----------
        plan : Plan
            Of the same model.

        Returns
        -------
        Site
            The site itself.

        Raises
        ------
        InputError
            If the plan is of another model, or a class occurs here that the plan does not know.
        """
        if plan.total.model != self._description:
            msg = (
                "Plan: expected one of this site's model, got one that is described differently. "
                "Use the same encoders and parameters at all sites."
            )
            raise InputError(msg)
        self._own_sums = self.summary().modalities if self.own_scaling else None
        model = plan.estimator(self._own_sums)
        self._fitted, self._plan = model, plan
        if is_bagged(model):
            self._rows = self._coded()
            return self
        model.device = self.model.device
        self._rows, self._modalities = self._prepared()
        return self

    @public
    def fit_round(
        self,
        weights: Weights,
        *,
        epochs: int = 2,
        round: int = 0,
        rate: float = 1.0,
        proximal: float = 0.0,
    ) -> Update:
        """Learn from the rows of this site, starting at given weights.

        Parameters
        ----------
        weights : mapping of str to ndarray
            What all sites start from in this round.
        epochs : int
            Passes over the rows. With privacy, a round is one step instead.
        round : int
            Number of the round, from 0; seeds the order of rows.
        rate : float
            Factor on the model's learning rate.
        proximal : float
            How strongly weights are pulled to those given.

        Returns
        -------
        Update
            The weights as these rows moved them.

        Raises
        ------
        ShapeError
            If the weights are of another model.
        TrainingError
            If the loss becomes NaN or infinite.
        """
        model = self._joined()
        if is_bagged(model):
            sent = self._plan.learn_here(self._rows, self.min_count)
            return Update(sent, self._n_learned, round=round, plan=self._plan.digest)
        start = {**weights, **self.own_weights}
        set_weights(model.network_, start)
        epochs = check_integer(epochs, "epochs", minimum=1)
        model.set_params(max_epochs=epochs, learning_rate=self.model.learning_rate * rate)
        model.seed_ = derive_seed(self._plan.seed, "round", round)
        private = promise_of(model) is not None
        if private:
            check_budget(model, self.n_private_steps)
            self.n_private_steps += 1
        with progress_shown(False), pulled(model.network_, proximal):
            learned = self._learn(model)
        self.own_weights = {
            name: a for name, a in learned.items() if name.startswith(self.personal)
        }
        present = self._present()
        sent = {name: a for name, a in learned.items() if private or self._leaves(name, present)}
        loss = float("nan") if private else float(model.history_[-1]["loss"])
        return Update(sent, self._n_learned, present, loss, round, self._plan.digest)

    def _learn(self, model: Any) -> dict[str, NDArray[Any]]:
        """Return weights that have learned, or moved by this site's part of one private step."""
        if promise_of(model) is not None:
            return sum_of_site(model, self._rows, self._modalities, self._plan.total.n_rows)
        learned: dict[str, NDArray[Any]] = model._learn(self._rows, self._modalities)
        return learned

    @public
    def evaluate(self, weights: Weights, X: Any = None, y: Any = None) -> ScoreCounts:
        """Judge a model of two classes on rows of this site, and tell counts only.

        Parameters
        ----------
        weights : mapping of str to ndarray
            Of the model.
        X : DataFrame of n_rows rows, optional
            Rows of this site that it did not learn from; by default those that it holds out.
        y : array of n_rows rows, optional
            Their classes.

        Returns
        -------
        ScoreCounts
            Rows of each class by bin of the predicted probability.
        """
        model = self.model_of(weights)
        if not _has_score(model):
            msg = "evaluate: expected a model of two classes, got another. Judge it at the site."
            raise ConfigurationError(msg)
        frame, labels = self._held_out
        if X is not None:
            frame = self._in_standard_units(self._complete(Frame.read(X)))
            labels = model.target_.read(y, len(frame))
        if not len(frame):
            return ScoreCounts(())
        self._check_known(model, labels)
        probabilities = model.predict_proba(frame.to_native())[:, 1]
        return ScoreCounts.of(probabilities, model.target_.code(labels), least=self.min_count)

    def work(self, task: Task) -> Update:
        """Do what a message asks: judge the weights where rows are held out, then learn."""
        model = self._joined()
        judges = len(self._held_out[0]) and bool(task.weights) and _has_score(model)
        scores = self.evaluate(task.weights) if judges else ScoreCounts(())
        if not task.epochs:
            weights: dict[str, NDArray[Any]] = {}
            update = Update(weights, self._n_learned, {}, round=task.round, plan=self.plan_digest)
        else:
            update = self.fit_round(
                task.weights, epochs=task.epochs, round=task.round, rate=task.rate,
                proximal=task.proximal,
            )  # fmt: skip
        return replace(update, scores=scores)

    def take_over(self, weights: Weights) -> None:
        """Go on with weights that were this site's own."""
        self.own_weights = dict(weights)

    @property
    def plan_digest(self) -> str:
        """Digest of the plan that the site has joined, empty before."""
        return self._plan.digest if hasattr(self, "_plan") else ""

    @public
    def model_of(self, weights: Weights) -> Any:
        """Return the fitted model of weights, with the weights that are this site's own.

        Parameters
        ----------
        weights : mapping of str to ndarray
            What was averaged.

        Returns
        -------
        JointFusionClassifier or JointFusionRegressor
            To predict this site's rows.
        """
        self._joined()
        return self._plan.model_of({**weights, **self.own_weights}, self._own_sums)

    # -- rows --------------------------------------------------------------------------

    def _complete(self, frame: Frame) -> Frame:
        """Return rows with columns of missing cells for modalities that this site lacks."""
        wanted: dict[str, None] = {}
        for encoder in self.model._check_encoders().values():
            wanted |= dict.fromkeys(encoder._columns_among(frame.columns))
        absent = [name for name in wanted if name not in frame.columns]
        return frame.with_numbers({name: np.full(len(frame), np.nan) for name in absent})

    def _in_standard_units(self, frame: Frame) -> Frame:
        unknown = [name for name in self.units if name not in frame.columns]
        if unknown:
            msg = f"units: expected names of columns, got {quoted(unknown)}."
            raise ConfigurationError(msg)
        given = self.units.items()
        numbers = {name: convert(frame.numbers(name), name, unit) for name, unit in given}
        return frame.with_numbers(numbers)

    def _prepared(self) -> tuple[TrainingRows, dict[str, Prepared]]:
        """Return the rows that have a modality, as the plan reads them."""
        tensors: tuple[TrainingRows, dict[str, Prepared]] = self._fitted._tensors_of(self._coded())
        return tensors

    def _coded(self) -> TrainingRows:
        """Return the rows with what is predicted as the plan codes it."""
        model = self._fitted
        self._check_known(model, self._y)
        weights = np.ones(len(self._y))
        frame = model._read_X(self._frame.to_native(), reset=False)
        rows = TrainingRows(
            frame, self._y, weights, weights, self._patients, np.arange(len(self._y))
        )
        rows = replace(rows, y=model.target_.code(rows.y))
        return replace(rows, loss_weight=self._loss_weight(model, rows))

    def _loss_weight(self, model: Any, rows: TrainingRows) -> NDArray[np.float64]:
        weight = getattr(model, "class_weight", None)
        if weight is None:
            return rows.loss_weight
        labels = model.target_.decode(rows.y)
        return np.asarray([float(weight.get(label, 1.0)) for label in labels.tolist()])

    def _check_known(self, model: Any, y: NDArray[Any]) -> None:
        known = getattr(model, "classes_", None)
        if known is not None and not np.isin(y, known).all():
            msg = (
                "y: expected classes that the plan knows, got another one. A class needs enough "
                "rows at a site to be planned for; drop or join the rare ones at all sites."
            )
            raise InputError(msg)

    def _present(self) -> dict[str, int]:
        counts = {name: int(one.present.sum()) for name, one in self._modalities.items()}
        return {name: tellable(n, self._n_learned, self.min_count) for name, n in counts.items()}

    @property
    def _n_learned(self) -> int:
        """Rows that are learned from, as they may be told beside those of the summary."""
        return tellable(len(self._rows), len(self._y), self.min_count)

    def _leaves(self, name: str, present: Mapping[str, int]) -> bool:
        """Return whether a weight is sent: not one's own, nor of a modality of too few rows."""
        if self.personal and name.startswith(self.personal):
            return False
        return all(present[part] for part in present if name.startswith(f"encoders.{part}."))

    def _joined(self) -> Any:
        if not hasattr(self, "_plan"):
            raise InputError("Site: expected join(plan) first, got no plan.")
        return self._fitted

    def __repr__(self) -> str:
        """Return how many rows there are."""
        return f"<Site of {len(self._frame)} rows>"


def _has_score(model: Any) -> bool:
    """Return whether one probability says all of a prediction, as of two classes."""
    nothing = np.zeros((1, model.n_outputs_))
    return bool(model.target_.judged(nothing).ndim == 1)


def _divided(
    n_rows: int, groups: Any, holdout: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return positions to learn from and to be judged on; patients stay whole."""
    patients = np.arange(n_rows) if groups is None else groups
    order = np.random.default_rng(seed).permutation(np.unique(patients))
    held = np.isin(patients, order[: round(holdout * len(order))])
    return np.flatnonzero(~held), np.flatnonzero(held)
