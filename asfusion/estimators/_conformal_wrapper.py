"""What conformal classifiers and regressors share: the rows set aside, and their patients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_number
from asfusion._door import public
from asfusion._random import draw_seed
from asfusion._splits import Split, hold_out_patients
from asfusion.estimators._conformal import Array, Cell, Cells, check_coverage
from asfusion.estimators._rows import read_groups
from asfusion.estimators._wrapped import Wrapper, check_columns, fit_copy, take_rows
from asfusion.exceptions import InputError


class ConformalWrapper(Wrapper):
    """An estimator, and the conformity scores of patients that it did not learn from."""

    coverage: float
    by: str | int | None
    calibration_fraction: float
    random_state: Any
    scores_: dict[Cell, Array]
    _says = "conformal prediction"

    def _promises(self) -> list[str]:
        return [f"holds the truth of {100 * float(self.coverage):g} % of patients"]

    @public
    def predict(self, X: Any) -> NDArray[Any]:
        """Return what the wrapped estimator predicts.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            What the estimator reads.

        Returns
        -------
        ndarray of shape (n_rows,)
            Class labels, or targets in the units of y.
        """
        check_is_fitted(self)
        check_columns(self.estimator_, X)
        return np.asarray(self.estimator_.predict(X))

    def _fit_part(
        self, X: Any, y: NDArray[Any], groups: Any, numbers: NDArray[np.int64] | None
    ) -> tuple[Any, NDArray[Any], NDArray[np.object_], NDArray[Any]]:
        """Set ``estimator_``; return calibration rows: X, positions, categories, patients.

        `numbers` are the classes, to be spread over both sides.
        """
        check_coverage(self.coverage)
        categories = Cells(self.by).read(X, len(y))
        patients = read_groups(groups, len(y))
        units = np.arange(len(y)) if patients is None else np.asarray(patients)
        given = self._given()
        if given is not None:
            self.estimator_ = given
            return X, np.arange(len(y)), categories, units
        learn, aside = self._set_aside(len(y), patients, numbers)
        own = None if patients is None else units[learn]
        self.estimator_ = fit_copy(self.estimator, take_rows(X, learn), y[learn], own)
        return take_rows(X, aside), aside, categories[aside], units[aside]

    def _set_aside(self, n_rows: int, groups: Any, numbers: NDArray[np.int64] | None) -> Split:
        fraction = check_number(
            self.calibration_fraction, "calibration_fraction", minimum=0.0, maximum=0.5
        )
        seed = draw_seed(self.random_state)
        split = hold_out_patients(
            groups, max(fraction, 1e-3), n_rows=n_rows, strata=numbers, seed=seed
        )
        if split is None:
            msg = (
                "X: expected patients enough to set some aside for calibration, got "
                f"n_samples={n_rows}, which cannot be divided. Use more rows, or prefit=True with "
                "rows of their own."
            )
            raise InputError(msg)
        return split
