"""A regressor that answers with intervals, which cover the truth as often as asked."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._door import learns, public
from asfusion._random import RandomState
from asfusion.estimators._conformal import Cells, calibrate, check_coverage, quantiles_of
from asfusion.estimators._conformal_wrapper import ConformalWrapper
from asfusion.estimators._scored import ScoredRegressor
from asfusion.estimators._wrapped import check_columns, read_rows
from asfusion.targets._asked import target_of
from asfusion.targets.numbers import Numbers, one_target


class ConformalRegressor(ScoredRegressor, ConformalWrapper):
    """Answer with intervals that hold the true target for a stated share of patients.

    A part of the patients is set aside, the regressor learns from the others, and its
    errors on those set aside say how wide an interval must be. The coverage holds for a
    row of a new patient who is exchangeable with those set aside, whatever the regressor
    and however many visits patients have.

    Parameters
    ----------
    estimator : regressor
        Any, of asfusion or not, for one target.
    coverage : float
        Share of patients whose true target is to be in the interval.
    by : str or int, optional
        Column of a category, such as site or sex, within each of which the coverage is to
        hold; widths differ between categories. A number is a column of an array.
    calibration_fraction : float
        Share of the patients that are set aside.
    prefit : bool
        `estimator` is fitted already, and all rows of `fit` are calibrated on. A frozen
        estimator (`sklearn.frozen`) says the same.
    random_state : int, RandomState, Generator or None
        Seeds who is set aside.

    Attributes
    ----------
    estimator_ : regressor
        The fitted regressor; `asfusion.explain` explains this one.
    scores_ : dict
        Absolute errors and weights of the calibration rows, by category.

    References
    ----------
    .. [1] Lei et al., "Distribution-free predictive inference for regression", JASA 2018.
       https://doi.org/10.1080/01621459.2017.1307116
    .. [2] Lee, Barber, Willett, "Distribution-free inference with hierarchical data",
       2023. https://doi.org/10.48550/arXiv.2306.06342

    Examples
    --------
    >>> import numpy as np, asfusion as af
    >>> X = np.random.default_rng(0).normal(size=(120, 3))
    >>> model = af.ConformalRegressor(af.EarlyFusionRegressor(), random_state=0)
    >>> model.fit(X, X[:, 0] - X[:, 1]).predict_interval(X[:2]).shape
    (2, 2)
    """

    def __init__(
        self,
        estimator: Any,
        coverage: float = 0.9,
        *,
        by: str | int | None = None,
        calibration_fraction: float = 0.25,
        prefit: bool = False,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.coverage = coverage
        self.by = by
        self.calibration_fraction = calibration_fraction
        self.prefit = prefit
        self.random_state = random_state

    @learns
    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Fit the regressor on a part of the patients, and calibrate on the others.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            What the regressor reads, and the column of `by`.
        y : array of shape (n_rows,)
            Targets.
        groups : array of shape (n_rows,), optional
            Patient of each row; a patient is either learned from or calibrated on, and
            weighs the same however many rows there are.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        InputError
            If rows, targets and groups do not fit together, there are several targets, or
            patients are too few for the coverage.
        ConfigurationError
            If a parameter is unusable.
        """
        given = self._given()
        Numbers().check_part(self.estimator if given is None else given, "estimator")
        X, n_rows = read_rows(X, y, groups=groups)
        targets = one_target(Numbers().read(y, n_rows))
        # What the model can predict at all is asked of y also where the model is given fitted.
        targets = target_of(self.estimator if given is None else given).read(targets, n_rows)
        asked, rows, categories, patients = self._fit_part(X, targets, groups, None)
        errors = np.abs(targets[rows] - np.ravel(self.estimator_.predict(asked)))
        kinds = np.zeros(len(rows), dtype=np.int64)
        self.scores_ = calibrate(errors, categories, kinds, patients, self.coverage)
        return self

    @public
    def predict_interval(self, X: Any, coverage: float | None = None) -> NDArray[np.float64]:
        """Return the interval of each row.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            What the regressor reads, and the column of `by`.
        coverage : float, optional
            Another coverage than that of the constructor. Where patients are too few
            for it, the interval is infinite.

        Returns
        -------
        ndarray of shape (n_rows, 2)
            Lower and upper end, in the units of y; cut where the target of the regressor ends,
            such as that of `asfusion.targets.Bounded`.
        """
        check_is_fitted(self)
        share = check_coverage(self.coverage if coverage is None else coverage)
        check_columns(self.estimator_, X)
        middle = np.ravel(self.estimator_.predict(X))
        categories = Cells(self.by).read(X, len(middle))
        reach = quantiles_of(self.scores_, categories, [0], share)[:, 0]
        ends = np.stack([middle - reach, middle + reach], axis=1)
        return target_of(self.estimator_).within(ends)
