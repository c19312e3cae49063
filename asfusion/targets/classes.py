"""One of several classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import is_regressor
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from asfusion._checks import quoted
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.tabular.told import ColumnSums, repeated, tell_levels
from asfusion.targets._base import Floats, Present, Target, Tensor
from asfusion.targets._logistic import MOST_FEATURES, probability_path
from asfusion.targets._pools import FLOOR, pooling_weights, product_of_experts
from asfusion.targets._read import complete_array, refuse_other_estimators


class Classes(Target):
    """One of two or more classes.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The labels, in order.
    n_outputs_ : int
        Number K of classes.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.targets import Classes
    >>> target = Classes().fit(np.array(["mild", "none", "severe", "none"]))
    >>> target.n_outputs_, target.task
    (3, 'multiclass')
    """

    face = "classifier"
    loss = "classes"
    is_probability: ClassVar[bool] = True
    has_sharpness: ClassVar[bool] = True
    has_majority: ClassVar[bool] = True
    _models: ClassVar[Mapping[str, tuple[str, str]]] = {
        "boosted": ("sklearn.ensemble", "HistGradientBoostingClassifier"),
        "forest": ("sklearn.ensemble", "RandomForestClassifier"),
        "adaboost": ("sklearn.ensemble", "AdaBoostClassifier"),
        "xgboost": ("xgboost", "XGBClassifier"),
    }

    classes_: NDArray[Any]

    def read(self, y: Any, n_rows: int) -> NDArray[Any]:
        """Return class labels (N,) without missing entries."""
        array = complete_array(y, n_rows)
        if array.ndim > 1 and array.shape[1:] != (1,):
            msg = f"y: expected one label per row for a classifier, got shape {array.shape}."
            raise InputError(msg)
        labels = column_or_1d(array, warn=True)
        if labels.dtype.kind == "f" and not np.isfinite(labels).all():
            raise InputError("y: expected class labels, got infinity. Replace or drop those rows.")
        _check_labels(labels)
        return np.asarray(labels)

    def fit(self, y: NDArray[Any]) -> Self:
        """Learn the classes."""
        self.classes_ = np.unique(y)
        self.n_outputs_ = len(self.classes_)
        return self

    def check_varied(self) -> None:
        """Raise where there is one class only."""
        if self.n_outputs_ < 2:
            raise InputError("y: expected at least 2 classes, got 1. Nothing can be told apart.")

    def code(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """Return the position of each label among the classes."""
        return np.searchsorted(self.classes_, y).astype(np.int64)

    def decode(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the labels of class numbers."""
        return np.asarray(self.classes_[y])

    def told(self, y: NDArray[Any], least: int) -> ColumnSums:
        """Return the rows of each class, by its label as JSON."""
        return tell_levels([json.dumps(label) for label in y.tolist()], least)

    def of_told(self, sums: ColumnSums) -> NDArray[Any]:
        """Return labels of nobody."""
        try:
            labels = [json.loads(label) for label in sums.levels]
        except (ValueError, RecursionError):
            labels = [None]
        if not all(isinstance(label, str | int | float) for label in labels):
            raise InputError("Summary: expected classes as text or numbers, got something else.")
        return repeated(labels, list(sums.levels.values()))

    def class_names(self) -> tuple[str, ...]:
        """Return the labels as text."""
        return tuple(str(label) for label in self.classes_)

    def columns(self) -> NDArray[Any]:
        """Return the classes."""
        return self.classes_

    @property
    def task(self) -> str:
        """Name of the scorer by which predictions are judged."""
        return "binary" if self.n_outputs_ == 2 else "multiclass"

    def prior(self, y: NDArray[Any], weight: Floats) -> Floats:
        """Return the share (K,) of each class."""
        totals = np.bincount(y, weights=weight, minlength=self.n_outputs_)
        return np.asarray(totals / totals.sum())

    def strata(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """Return the class of each row, for folds to share evenly."""
        return y

    def can_teach(self, y: NDArray[Any]) -> bool:
        """Return whether there are rows of two classes."""
        return len(np.unique(y)) > 1

    def lacks(self, y: NDArray[Any], among: str) -> str:
        """Return what rows of one class would need, for a message."""
        found = len(np.unique(y))
        got = f"{found} class{'' if found == 1 else 'es'} in {len(y)} rows"
        return f"expected rows of at least 2 classes among those {among}, got {got}"

    def judged(self, outputs: Floats) -> Floats:
        """Return the probability of the second of two classes, or those of all classes."""
        return outputs[:, 1] if self.n_outputs_ == 2 else outputs

    def describe_output(self, k: int) -> str:
        """Return the name of the probability of a class."""
        return f"probability of class {self.classes_[k]}"

    def choose_output(self, outputs: Floats, wanted: Any) -> NDArray[np.int64]:
        """Return the class to explain in each row: the second of two, or the likeliest."""
        n_rows, n_outputs = outputs.shape
        if wanted is not None:
            one = np.ndim(wanted) == 0
            labels = enumerate(self.classes_.tolist())
            found = [k for k, label in labels if one and label == wanted]
            if not found:
                known = quoted(map(str, self.classes_))
                msg = f"output: expected one of the classes {known}, got another."
                raise ConfigurationError(msg)
            return np.full(n_rows, found[0], dtype=np.int64)
        if n_outputs == 2:
            return np.ones(n_rows, dtype=np.int64)
        return self.called(outputs)

    def shaped(self, outputs: Floats) -> NDArray[Any]:
        """Return the class that each row is called."""
        return np.asarray(self.classes_[self.called(outputs)])

    # -- scikit-learn's models -----------------------------------------------------------

    def check_part(self, estimator: Any, name: str) -> None:
        """Raise unless `estimator` is a classifier that knows probabilities."""
        refuse_other_estimators(estimator, name)
        if hasattr(estimator, "predict_proba"):
            return
        fix = "Wrap it in sklearn.calibration.CalibratedClassifierCV."
        if is_regressor(estimator):
            fix = "That is a regressor: pass a classifier, or use a Regressor for numbers."
        msg = (
            f"{name}: expected a classifier with predict_proba, got {type(estimator).__name__}. "
            f"{fix}"
        )
        raise ConfigurationError(msg)

    def for_part(self, estimator: Any, y: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Return classes numbered without gaps, as boosting libraries want them."""
        estimator.known_classes_, gapless = np.unique(y, return_inverse=True)
        return estimator, gapless

    def ask_part(self, estimator: Any, features: Any) -> Floats:
        """Return probabilities (N, K), zero for classes that the model never saw."""
        known = getattr(estimator, "known_classes_", None)
        probabilities = np.zeros((features.shape[0], self.n_outputs_))
        probabilities[:, estimator.classes_ if known is None else known] = estimator.predict_proba(
            features
        )
        return probabilities

    def ask(self, model: Any, X: Any) -> Floats:
        """Return probabilities (N, K) in the order of the classes, zero for those not known."""
        probabilities = model.predict_proba(X)
        table = np.zeros((len(probabilities), self.n_outputs_))
        table[:, np.searchsorted(self.classes_, model.classes_)] = probabilities
        return table

    def linear(self, penalty: float = 1.0) -> Any:
        """Return a logistic regression."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=1.0 / penalty, max_iter=5000)

    def ridge_path(
        self, features: Floats, y: NDArray[Any], weight: Floats, asked: Floats
    ) -> Floats:
        """Return probabilities (P, N, K); of two classes without scikit-learn, which is slower."""
        known = np.unique(y)
        if len(known) != 2 or not self._is_quick(features):
            return super().ridge_path(features, y, weight, asked)
        labels = (y == known[1]).astype(np.float64)
        second = probability_path(features, labels, weight, asked, self.penalties)
        found = np.zeros((*second.shape, self.n_outputs_))
        found[:, :, known[0]], found[:, :, known[1]] = 1.0 - second, second
        return found

    def _is_quick(self, features: Floats) -> bool:
        """Return whether a path has a short cut: for our own model, on not too many features."""
        few = features.shape[1] <= MOST_FEATURES and isinstance(features, np.ndarray)
        return type(self).linear is Classes.linear and few

    def deviance(self, outputs: Floats, y: NDArray[Any], weight: Floats) -> float:
        """Return the log-loss."""
        likelihood = np.clip(outputs[np.arange(len(y)), y], FLOOR, 1.0)
        return float(-np.average(np.log(likelihood), weights=weight))

    # -- networks ------------------------------------------------------------------------

    def activate(self, outputs: Tensor, scaling: tuple[Floats, Floats] | None) -> Tensor:
        """Return probabilities (N, K) from logits."""
        return outputs.softmax(dim=1)

    def start(self, prior: Floats) -> Floats:
        """Return log shares, so that rare classes start rare."""
        return np.log(np.clip(prior, FLOOR, None))

    # -- decisions of several models -------------------------------------------------------

    def pool_weights(
        self, decisions: Floats, present: Present, y: NDArray[Any], weight: Floats
    ) -> Floats:
        """Return the weights (M,) of a linear pool with the least log-loss."""
        return pooling_weights(decisions, present, y, weight)

    def sharpened(self, outputs: Floats, power: float) -> Floats:
        """Return probabilities to a power, summing to one again."""
        return np.asarray(softmax(power * np.log(np.clip(outputs, FLOOR, 1.0)), axis=1))

    def product(
        self,
        decisions: Floats,
        present: Present,
        prior: Floats,
        weights: Floats,
        dependence: float = 0.0,
    ) -> Floats:
        """Return the normalised product of probabilities, each over the prior."""
        return product_of_experts(decisions, present, prior, dependence)

    def evidence(self, decisions: Floats, prior: Floats) -> Floats:
        """Return centred log ratios to the prior; of two classes, those of the second."""
        ratio = np.log(np.clip(decisions, FLOOR, 1.0)) - np.log(np.clip(prior, FLOOR, 1.0))
        ratio = ratio - ratio.mean(axis=2, keepdims=True)
        return np.asarray(ratio[:, :, 1:] if ratio.shape[2] == 2 else ratio)


def _check_labels(labels: NDArray[Any]) -> None:
    """Raise unless labels are of one kind, and not the values of a quantity."""
    try:
        check_classification_targets(labels)
        np.unique(labels)
    except (TypeError, ValueError):
        msg = (
            "y: expected class labels of one type (text, whole numbers or booleans), got others. "
            "Unknown label type: use a Regressor for a quantity, or convert the labels to text."
        )
        raise InputError(msg) from None
