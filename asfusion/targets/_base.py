"""The contract of a target: what is predicted, and all that depends on its kind.

Dimensions: N rows, M modalities, K outputs.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from asfusion._checks import quoted
from asfusion.bundle.objects import Bundled
from asfusion.exceptions import ConfigurationError
from asfusion.tabular.told import ColumnSums, repeated
from asfusion.targets._pools import weighted_mean

Floats = NDArray[np.float64]
Present = NDArray[np.bool_]
Tensor: TypeAlias = Any  # one of torch, which is not imported here


class Target(Bundled, BaseEstimator):  # type: ignore[misc]
    """What a model predicts: how y is read, learned from, and answered.

    Estimators, comparisons and explanations ask the target and never what kind it is. A
    subclass takes parameters as scikit-learn's estimators do, and what it learns of y ends in
    ``_``. Most targets of one's own are `Classes` or `Numbers` with another loss and another
    way from outputs to predictions.

    Attributes
    ----------
    n_outputs_ : int
        Number K of values predicted for each row.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.targets import Classes
    >>> labels = np.array(["no", "yes", "no"])
    >>> target = Classes().fit(labels)
    >>> target.code(labels), target.task
    (array([0, 1, 0]), 'binary')
    """

    # Which estimators predict it: the ending of their names, in small letters.
    face: ClassVar[str]
    # Loss of a row: a name in `training.losses`, or a function of outputs and targets.
    loss: ClassVar[Any]
    # Whether predictions are probabilities, whose log odds can be explained.
    is_probability: ClassVar[bool] = False
    # Whether predictions can be made bolder or more timid as a whole.
    has_sharpness: ClassVar[bool] = False
    # Whether it is told step by step between ordered classes, of which the middle one is called.
    has_steps: ClassVar[bool] = False
    # Whether modalities can take a vote.
    has_majority: ClassVar[bool] = False

    # Penalties of `linear` to choose from, falling. Features of a modality have variance one
    # together: a penalty is then one over the variance that coefficients are expected to have.
    penalties: ClassVar[Sequence[float]] = tuple(float(10**e) for e in np.arange(2.0, -3.0, -0.5))

    # Module and name of each kind of `model`, and what a forest is given that is asked for by name.
    _models: ClassVar[Mapping[str, tuple[str, str]]]
    _forest: ClassVar[Mapping[str, Any]] = {"n_estimators": 500, "min_samples_leaf": 3}

    n_outputs_: int

    # -- y -----------------------------------------------------------------------------

    @abstractmethod
    def read(self, y: Any, n_rows: int) -> NDArray[Any]:
        """Return `y` as a checked array, in the user's own values.

        Parameters
        ----------
        y : array of shape (N,) or (N, T)
            As the user has it.
        n_rows : int
            Rows that it must have.

        Returns
        -------
        ndarray of shape (N,) or (N, T)
            Without missing entries.

        Raises
        ------
        InputError
            If this target cannot be read from `y`.
        """

    @abstractmethod
    def fit(self, y: NDArray[Any]) -> Self:
        """Learn from checked values what there is to predict.

        Parameters
        ----------
        y : ndarray of shape (N,) or (N, T)
            What `read` returned.

        Returns
        -------
        self
            With ``n_outputs_`` set.
        """

    def pinned(self) -> Self:
        """Return an unfitted target for models that see y in its plain values only."""
        copy: Self = clone(self)
        return copy

    def check_varied(self) -> None:
        """Raise `InputError` where all of y is one and the same class, so that nothing differs."""
        return

    @abstractmethod
    def code(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return checked values as numbers that models learn from.

        Parameters
        ----------
        y : ndarray of shape (N,) or (N, T)
            What `read` returned.

        Returns
        -------
        ndarray of shape (N,) or (N, K)
            Class numbers, or columns of numbers.
        """

    @abstractmethod
    def decode(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return coded rows as the values that the user has."""

    def told(self, y: NDArray[Any], least: int) -> ColumnSums:
        """Return what a site may tell of checked values: sums, none of fewer rows than `least`.

        Raises
        ------
        ConfigurationError
            If sites cannot learn such a target together.
        """
        msg = (
            f"target: expected one that sites can sum, such as classes or one number, got "
            f"{type(self).__name__}. Train it at one site."
        )
        raise ConfigurationError(msg)

    def of_told(self, sums: ColumnSums) -> NDArray[Any]:
        """Return checked values of nobody, distributed as told."""
        return repeated([mean for _, _, mean in sums.bins], [n for _, n, _ in sums.bins])

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes, where there are some."""
        return ()

    def columns(self) -> NDArray[Any] | None:
        """Return what the columns of predictions stand for, such as classes; None for numbers."""
        return None

    @property
    @abstractmethod
    def task(self) -> str:
        """Name of the scorer by which predictions are judged, as in `Report.task`."""

    @abstractmethod
    def prior(self, y: NDArray[Any], weight: Floats) -> Floats:
        """Return the prediction (K,) for a row of which nothing is known."""

    def strata(self, y: NDArray[Any]) -> NDArray[np.int64] | None:
        """Return class numbers (N,) that folds should share evenly, or None."""
        return None

    def can_teach(self, y: NDArray[Any]) -> bool:
        """Return whether coded rows differ as much as models need; rows are at least two."""
        return len(y) > 1

    def lacks(self, y: NDArray[Any], among: str) -> str:
        """Return what rows that cannot teach would need, and what they are, for a message."""
        return f"expected at least 2 rows {among}, got {len(y)}"

    def judged(self, outputs: Floats) -> Floats:
        """Return of outputs (N, K) what the scorer of the task reads."""
        return outputs

    # -- explanations --------------------------------------------------------------------

    def explained(self, outputs: Tensor) -> Tensor:
        """Return what can be explained (N, E): outputs (N, K), and what follows from them."""
        return outputs

    def has_odds(self, k: int) -> bool:
        """Return whether what can be explained is a probability at a place below E."""
        return self.is_probability

    @abstractmethod
    def describe_output(self, k: int) -> str:
        """Return the name of what can be explained, such as ``"probability of class 1"``."""

    @abstractmethod
    def choose_output(self, outputs: Floats, wanted: Any) -> NDArray[np.int64]:
        """Return which place (N,) of `explained` is to be explained in each row.

        Parameters
        ----------
        outputs : ndarray of shape (N, K)
            Predictions.
        wanted : object
            What the user asks for; None for what people would look at.

        Raises
        ------
        ConfigurationError
            If there is no such output.
        """

    def called(self, outputs: Floats) -> NDArray[np.int64]:
        """Return which of the classes each row (N,) is called: the most probable one."""
        return np.asarray(outputs.argmax(axis=1), dtype=np.int64)

    def within(self, values: Floats) -> Floats:
        """Return numbers on the scale of y, cut where what y can be ends."""
        return values

    @abstractmethod
    def shaped(self, outputs: Floats) -> NDArray[Any]:
        """Return outputs (N, K) in the shape in which y was given, where they are values of y."""

    # -- scikit-learn's models -----------------------------------------------------------

    @abstractmethod
    def check_part(self, estimator: Any, name: str) -> None:
        """Raise `ConfigurationError` unless `estimator` can predict this target."""

    def for_part(self, estimator: Any, y: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Return an estimator and y in a form that it can be fitted to."""
        return estimator, y

    @abstractmethod
    def ask_part(self, estimator: Any, features: Any) -> Floats:
        """Return the answers (N, K) of a model that was fitted to coded rows."""

    @abstractmethod
    def ask(self, model: Any, X: Any) -> Floats:
        """Return the answers (N, K) of a model that was fitted to y as the user has it."""

    @abstractmethod
    def linear(self, penalty: float = 1.0) -> Any:
        """Return an unfitted linear model; its penalty is on the sum of squared coefficients."""

    def ridge_path(
        self, features: Floats, y: NDArray[Any], weight: Floats, asked: Floats
    ) -> Floats:
        """Return what `linear` answers with each of its P `penalties`.

        Parameters
        ----------
        features : ndarray of shape (n, F)
            Of rows to learn from.
        y : ndarray of shape (n,) or (n, K)
            The same rows, coded.
        weight : ndarray of shape (n,)
            Weight of each.
        asked : ndarray of shape (N, F)
            Features of rows to be predicted.

        Returns
        -------
        ndarray of shape (P, N, K)
            Predictions.
        """
        options = {} if (weight == weight[0]).all() else {"sample_weight": weight}
        found, model = [], None
        for penalty in self.penalties:
            made, labels = self.for_part(self.linear(penalty), y)
            if model is not None and hasattr(model, "warm_start"):  # each starts from the last
                model.set_params(**made.get_params(deep=False) | {"warm_start": True})
            else:
                model = made
            found.append(self.ask_part(model.fit(features, labels, **options), asked))
        return np.stack(found)

    def deviance(self, outputs: Floats, y: NDArray[Any], weight: Floats) -> float:
        """Return the mean loss of predictions on coded rows: the less, the better they fit.

        Parameters
        ----------
        outputs : ndarray of shape (N, K)
            Predictions.
        y : ndarray of shape (N,) or (N, K)
            Coded rows.
        weight : ndarray of shape (N,)
            Weight of each row.

        Returns
        -------
        float
            Here the mean squared difference.
        """
        squares = np.square(outputs - y.reshape(len(y), -1)).mean(axis=1)
        return float(np.average(squares, weights=weight))

    def model(self, kind: str, **settings: Any) -> Any:
        """Return an unfitted model: "boosted", "forest", "xgboost", or, of some, "adaboost".

        Parameters
        ----------
        kind : str
            One that this target has.
        **settings : object
            Parameters of the model, by its own names.

        Raises
        ------
        ConfigurationError
            If none of that kind predicts this target, or the model has no such parameter.
        """
        if kind not in self._models:
            msg = (
                f"Model: expected one of {quoted(self._models)} for {type(self).__name__}, got "
                f"{kind!r}."
            )
            raise ConfigurationError(msg)
        module, name = self._models[kind]
        model = getattr(importlib.import_module(module), name)()
        unknown = [setting for setting in settings if setting not in model.get_params(deep=False)]
        if unknown:
            msg = f"{kind}: expected parameters of {name}, got {quoted(unknown)}. Leave them out."
            raise ConfigurationError(msg)
        return model.set_params(**settings)

    def forest(self) -> Any:
        """Return the unfitted forest that is meant by the name alone."""
        return self.model("forest", **self._forest)

    def small_trees(self, n_rows: int = 200, seed: int | None = None) -> Any:
        """Return unfitted boosted trees for a few hundred rows: small ones, learned slowly.

        Nothing stops early: that would hold out rows without regard to patients.
        """
        return self.model(
            "boosted",
            learning_rate=0.05,
            max_iter=200,
            max_leaf_nodes=8,
            min_samples_leaf=int(np.clip(n_rows // 20, 2, 20)),
            max_features=0.5,
            early_stopping=False,
            random_state=seed,
        )

    # -- networks ------------------------------------------------------------------------

    def scaling(self, y: NDArray[Any], weight: Floats) -> tuple[Floats, Floats] | None:
        """Return centre and spread (K,) by which coded rows are scaled for a network, if any."""
        return None

    def to_network(self, y: NDArray[Any], scaling: tuple[Floats, Floats] | None) -> NDArray[Any]:
        """Return coded rows as the loss reads them."""
        return y.copy() if scaling is None else (y - scaling[0]) / scaling[1]

    @property
    def n_network_outputs(self) -> int:
        """How many numbers a network gives for a row, before they are made predictions."""
        return self.n_outputs_

    @property
    def needs_settling(self) -> bool:
        """Whether `settle` is to be called."""
        return False

    def settle(self, outputs: Floats, y: NDArray[Any], weight: Floats) -> None:
        """Learn what `activate` needs of a trained network, from its outputs on coded rows."""
        return

    @abstractmethod
    def activate(self, outputs: Tensor, scaling: tuple[Floats, Floats] | None) -> Tensor:
        """Return predictions (N, K) from what a network says, gradients included."""

    def start(self, prior: Floats) -> Floats:
        """Return the bias (K,) by which an untrained network predicts the prior."""
        return np.zeros(len(prior))

    # -- decisions of several models -------------------------------------------------------

    def weighs(self, combine: str) -> bool:
        """Return whether a combination has a learned weight for each modality."""
        return combine == "weighted"

    def tempers(self, combine: str) -> bool:
        """Return whether a combination has a dependence to learn, see `product`."""
        return combine == "product" and not self.weighs(combine)

    @abstractmethod
    def pool_weights(
        self, decisions: Floats, present: Present, y: NDArray[Any], weight: Floats
    ) -> Floats:
        """Return weights (M,) learned from decisions (N, M, K) on rows that were not seen."""

    def sharpened(self, outputs: Floats, power: float) -> Floats:
        """Return predictions (N, K) made bolder by a power above 1, or more timid by one below."""
        return outputs

    def average_weights(
        self, decisions: Floats, present: Present, y: NDArray[Any], weight: Floats
    ) -> Floats:
        """Return weights (V,), none below zero, of the average (N, V, K) with the least loss.

        As `pool_weights`, of whole models in place of modalities: their errors are much alike.
        """
        return self.pool_weights(decisions, present, y, weight)

    def product(
        self,
        decisions: Floats,
        present: Present,
        prior: Floats,
        weights: Floats,
        dependence: float = 0.0,
    ) -> Floats:
        """Return the product of experts (N, K) of decisions (N, M, K).

        Parameters
        ----------
        decisions : ndarray of shape (N, M, K)
            Predictions of each modality.
        present : ndarray of shape (N, M), bool
            Which of them there are.
        prior : ndarray of shape (K,)
            What is said of a row of which nothing is known.
        weights : ndarray of shape (M,)
            Where modalities are weighed.
        dependence : float
            What m modalities add to the prior counts m to the power of ``-dependence``: all of it
            at 0, where they are independent; their mean at 1, where they all say the same.

        Returns
        -------
        ndarray of shape (N, K)
            The combined prediction.
        """
        return weighted_mean(decisions, present, weights)

    def evidence(self, decisions: Floats, prior: Floats) -> Floats:
        """Return what decisions (N, M, K) say beyond the prior, for a linear model to weigh."""
        return decisions - prior
