"""What foundation models of tables have in common: rows that are kept, weights that are not."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from asfusion._checks import check_choice, check_integer
from asfusion._door import learns
from asfusion._random import draw_seed
from asfusion.bundle.objects import Bundled
from asfusion.exceptions import BundleError, ConfigurationError, InputError
from asfusion.foundation._engines import ENGINES, Settings, Task, make_engine
from asfusion.foundation.weights import use_weights, weights_of


class TableFoundation(Bundled, BaseEstimator):  # type: ignore[misc]
    """A foundation model of tables, without the task."""

    # The weights lie elsewhere on every machine, which computes by itself as well.
    _local_params: ClassVar[frozenset[str]] = frozenset({"weights", "device"})
    _task: ClassVar[Task]

    def __init__(
        self,
        name: Literal["tabicl", "tabpfn"] = "tabicl",
        *,
        weights: str | os.PathLike[str] | None = None,
        n_estimators: int = 8,
        save_rows: bool = False,
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.name = name
        self.weights = weights
        self.n_estimators = n_estimators
        self.save_rows = save_rows
        self.device = device
        self.random_state = random_state

    @learns
    def fit(self, X: Any, y: Any) -> Self:
        """Keep the rows, which the model is shown with every question.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            Numbers; NaN is a missing one.
        y : array of shape (n_rows,)
            What is predicted.

        Returns
        -------
        self
            The fitted model.

        Raises
        ------
        ConfigurationError
            If a parameter or the file of weights is unusable.
        InputError
            If there is nothing to predict.
        MissingDependencyError
            If the package of the model is not installed.
        """
        check_choice(self.name, "name", list(ENGINES))
        check_integer(self.n_estimators, "n_estimators", minimum=1)
        if self.weights is None:
            msg = (
                f"weights: expected the safetensors file of {self.name}, got None. Nothing is "
                "downloaded: the page 'Medical weights' of the documentation says where it is."
            )
            raise ConfigurationError(msg)
        if y is None:
            raise InputError("y: requires y to be passed, but the target y is None.")
        X, y = validate_data(
            self, X, y, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=2
        )
        self.digest_ = use_weights(self.weights)
        self.seed_ = draw_seed(self.random_state)
        self.rows_, self.answers_ = X, self._encoded(y)
        self.__dict__.pop("_engine", None)
        self._shown()
        return self

    def _encoded(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return what is predicted as numbers."""
        return np.asarray(y, dtype=np.float64)

    def _shown(self) -> Any:
        """Return the engine that has been shown the rows, made again where there is none."""
        check_is_fitted(self)
        if "_engine" not in self.__dict__:
            if self.weights is not None:  # in another process nobody has said where they are
                use_weights(self.weights)
            weights = weights_of(self.digest_)
            settings = Settings(weights, self.n_estimators, self.seed_, self.device)
            engine = make_engine(self.name, self._task, settings)
            self._engine = engine.fit(self.rows_, self.answers_)
        return self._engine

    def _read(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        read: NDArray[np.float64] = validate_data(
            self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False
        )
        return read

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the engine: it is made again from the weights and the rows."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_engine", None)
        return state

    def __sklearn_tags__(self) -> Any:
        """Say that NaN is read."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _bundle_state(self) -> dict[str, Any]:
        """Return parameters and training rows, if those may be saved."""
        if not self.save_rows:
            msg = (
                "save: this model answers by its training rows, patient by patient, which would be "
                "in the saved model as they are. Fit with save_rows=True if whoever gets it may "
                "read them, or save another model."
            )
            raise BundleError(msg)
        return super()._bundle_state()

    def _restore_bundle_state(self, state: dict[str, Any]) -> None:
        """Become what was saved, if its weights are here."""
        super()._restore_bundle_state(state)
        if not hasattr(self, "digest_"):
            return  # it was never fitted
        try:
            weights_of(self.digest_)
        except ConfigurationError as error:
            raise BundleError(f"load: {error}") from None
