"""One number, or several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.utils import get_tags
from sklearn.utils.validation import column_or_1d

from asfusion._checks import check_integer
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.survival._read import is_times
from asfusion.tabular.told import ColumnSums, tell_numbers
from asfusion.targets._base import Floats, Present, Target, Tensor
from asfusion.targets._pools import inverse_variances, least_squares
from asfusion.targets._read import complete_array, refuse_other_estimators


class Numbers(Target):
    """One continuous number for each row, or several.

    Attributes
    ----------
    n_outputs_ : int
        Number K of targets.
    is_matrix_ : bool
        Whether y had columns, in which case predictions have some, too.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.targets import Numbers
    >>> target = Numbers().fit(np.array([4.2, 1.0, 6.8]))
    >>> target.code(np.array([4.2, 1.0])).shape, target.task
    ((2, 1), 'regression')
    """

    face = "regressor"
    loss = "numbers"
    _models: ClassVar[Mapping[str, tuple[str, str]]] = {
        "boosted": ("sklearn.ensemble", "HistGradientBoostingRegressor"),
        "forest": ("sklearn.ensemble", "RandomForestRegressor"),
        "adaboost": ("sklearn.ensemble", "AdaBoostRegressor"),
        "xgboost": ("xgboost", "XGBRegressor"),
    }

    is_matrix_: bool

    def read(self, y: Any, n_rows: int) -> Floats:
        """Return finite numbers (N,) or (N, T)."""
        if is_times(y):
            msg = (
                "y: expected numbers, got event and time. Use a Survival estimator, such as "
                "asfusion.EarlyFusionSurvival."
            )
            raise InputError(msg)
        array = complete_array(y, n_rows)
        try:
            is_other = array.dtype.kind in "USTmM" or _holds_text(array)
            targets = None if is_other else np.asarray(array, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            targets = None
        if targets is None:
            msg = f"y: expected numbers, got dtype {array.dtype}. Convert the target first."
            raise InputError(msg)
        if targets.ndim > 2 or 0 in targets.shape[1:]:
            got = f"{targets.ndim} dimensions" if targets.ndim > 2 else "no target"
            msg = f"y: expected shape (n_rows,) or (n_rows, n_targets), got {got}."
            raise InputError(msg)
        if not np.isfinite(targets).all():
            msg = "y: expected finite numbers, got infinity. Replace or drop those rows."
            raise InputError(msg)
        return targets

    def fit(self, y: NDArray[Any]) -> Self:
        """Learn how many targets there are."""
        self.is_matrix_ = y.ndim == 2
        self.n_outputs_ = y.shape[1] if self.is_matrix_ else 1
        return self

    def code(self, y: NDArray[Any]) -> Floats:
        """Return columns (N, K) of numbers."""
        return np.asarray(y, dtype=np.float64).reshape(len(y), -1)

    def decode(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return columns of numbers in the shape in which they were given."""
        return self.shaped(y)

    def told(self, y: NDArray[Any], least: int) -> ColumnSums:
        """Return rows and means of bins, of one number."""
        if y.reshape(len(y), -1).shape[1] > 1:
            msg = "y: expected one number per row, got several. Train a model for each."
            raise ConfigurationError(msg)
        return tell_numbers(y.reshape(-1), least)

    @property
    def task(self) -> str:
        """Name of the scorer by which predictions are judged."""
        return "regression"

    def prior(self, y: NDArray[Any], weight: Floats) -> Floats:
        """Return the mean (K,) of each target."""
        return np.asarray(np.average(y, axis=0, weights=weight))

    def describe_output(self, k: int) -> str:
        """Return the name of a target: by its number where there are several."""
        return "prediction" if self.n_outputs_ == 1 else f"target {k}"

    def choose_output(self, outputs: Floats, wanted: Any) -> NDArray[np.int64]:
        """Return the target to explain: the first where none is asked for."""
        n_rows, n_outputs = outputs.shape
        position = 0 if wanted is None else check_integer(wanted, "output", minimum=0)
        if position >= n_outputs:
            msg = f"output: expected a target from 0 to {n_outputs - 1}, got {position}."
            raise ConfigurationError(msg)
        return np.full(n_rows, position, dtype=np.int64)

    def shaped(self, outputs: Floats) -> Floats:
        """Return predictions shaped as y was."""
        return np.asarray(outputs if self.is_matrix_ else outputs[:, 0])

    # -- scikit-learn's models -----------------------------------------------------------

    def check_part(self, estimator: Any, name: str) -> None:
        """Raise unless `estimator` predicts numbers."""
        refuse_other_estimators(estimator, name)
        if is_classifier(estimator):
            got = type(estimator).__name__
            raise ConfigurationError(f"{name}: expected a regressor, got the classifier {got}.")

    def for_part(self, estimator: Any, y: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Give one target as a vector, and wrap an estimator that can predict only one."""
        if y.shape[1] == 1:
            return estimator, y[:, 0]
        if get_tags(estimator).target_tags.multi_output:
            return estimator, y
        return MultiOutputRegressor(estimator), y

    def ask_part(self, estimator: Any, features: Any) -> Floats:
        """Return predictions (N, K)."""
        return self.ask(estimator, features)

    def ask(self, model: Any, X: Any) -> Floats:
        """Return predictions (N, K)."""
        found = np.asarray(model.predict(X), dtype=np.float64)
        return found.reshape(len(found), -1)

    def linear(self, penalty: float = 1.0) -> Any:
        """Return a ridge regression."""
        from sklearn.linear_model import Ridge

        return Ridge(alpha=penalty)

    def deviance(self, outputs: Floats, y: NDArray[Any], weight: Floats) -> float:
        """Return the mean squared error, each target over its own variance."""
        errors = np.average(np.square(outputs - y), axis=0, weights=weight)
        spread = Numbers.scaling(self, y, weight)[1]
        return float((errors / spread**2).mean())

    # -- networks ------------------------------------------------------------------------

    def scaling(self, y: NDArray[Any], weight: Floats) -> tuple[Floats, Floats]:
        """Return mean and spread; a constant target has none, and its prediction is the mean."""
        center = np.average(y, axis=0, weights=weight)
        spread = np.sqrt(np.average((y - center) ** 2, axis=0, weights=weight))
        return center, np.where(spread > 0, spread, 1.0)

    def activate(self, outputs: Tensor, scaling: tuple[Floats, Floats] | None) -> Tensor:
        """Return predictions (N, K) in the units of y."""
        wide = outputs.double()
        if scaling is None:
            return wide
        center, spread = (wide.new_tensor(part) for part in scaling)
        return wide * spread + center

    # -- decisions of several models -------------------------------------------------------

    def weighs(self, combine: str) -> bool:
        """Return whether a combination has a learned weight for each modality.

        A product of Gaussian experts is their mean, weighed by one over the variance.
        """
        return combine in ("weighted", "product")

    def pool_weights(
        self, decisions: Floats, present: Present, y: NDArray[Any], weight: Floats
    ) -> Floats:
        """Return weights (M,) proportional to one over the mean squared error."""
        return inverse_variances(decisions, present, y, weight)

    def average_weights(
        self, decisions: Floats, present: Present, y: NDArray[Any], weight: Floats
    ) -> Floats:
        """Return the weights (V,) of the average with the least squared error."""
        return least_squares(decisions, present, y, weight)


def _holds_text(array: NDArray[Any]) -> bool:
    """Return whether an array of objects holds text, which numpy would read as numbers."""
    return array.dtype.kind == "O" and any(isinstance(cell, str) for cell in array.ravel())


def one_target(targets: Floats) -> Floats:
    """Return checked targets as a vector, or raise where there are several."""
    if targets.ndim > 1 and targets.shape[1] != 1:
        msg = f"y: expected one target, got {targets.shape[1]}. Fit a model for each of them."
        raise InputError(msg)
    return np.asarray(column_or_1d(targets, warn=True))
