"""A classifier that answers with sets of classes, which cover the truth as often as asked."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_choice
from asfusion._door import learns, public
from asfusion._random import RandomState
from asfusion.estimators._conformal import Cells, calibrate, check_coverage, quantiles_of
from asfusion.estimators._conformal_wrapper import ConformalWrapper
from asfusion.estimators._scored import ScoredClassifier
from asfusion.estimators._wrapped import class_numbers, probabilities_of, read_rows
from asfusion.targets.classes import Classes

_METHODS = ("lac", "aps")


class ConformalClassifier(ScoredClassifier, ConformalWrapper):
    """Answer with sets of classes that hold the true one for a stated share of patients.

    A part of the patients is set aside, the classifier learns from the others, and how
    improbable it finds the true classes of those set aside says how generous a set must be.
    The coverage holds for a row of a new patient who is exchangeable with those set aside,
    however wrong the probabilities are and however many visits patients have.

    Parameters
    ----------
    estimator : classifier
        Any with `predict_proba`, of asfusion or not.
    coverage : float
        Share of patients whose true class is to be in the set.
    method : {"lac", "aps"}
        ``"lac"`` keeps every class from some probability on, which gives the smallest
        sets; ``"aps"`` adds classes from the most probable on until enough
        probability is reached, which adapts more to hard rows and never is empty.
    by : str or int, optional
        Column of a category, such as site or sex, within each of which the coverage is to
        hold. A number is a column of an array.
    per_class : bool
        The coverage is to hold within each true class: rare diseases are not
        covered at the cost of common ones.
    calibration_fraction : float
        Share of the patients that are set aside.
    prefit : bool
        `estimator` is fitted already, and all rows of `fit` are calibrated on. A frozen
        estimator (`sklearn.frozen`) says the same.
    random_state : int, RandomState, Generator or None
        Seeds who is set aside.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    estimator_ : classifier
        The fitted classifier; `asfusion.explain` explains this one.
    scores_ : dict
        Conformity scores and weights of the calibration rows, by category and class.

    Notes
    -----
    An empty set (``"lac"`` only) says that no class fits: the row resembles none that was
    calibrated on.
    The coverage is that over many patients; it is not that of one patient, nor of a group that
    `by` does not name.

    References
    ----------
    .. [1] Sadinle, Lei, Wasserman, "Least ambiguous set-valued classifiers with bounded error
       levels", JASA 2019. https://doi.org/10.1080/01621459.2017.1395341
    .. [2] Romano, Sesia, Candes, "Classification with valid and adaptive coverage",
       NeurIPS 2020. https://doi.org/10.48550/arXiv.2006.02544
    .. [3] Lee, Barber, Willett, "Distribution-free inference with hierarchical data",
       2023. https://doi.org/10.48550/arXiv.2306.06342

    Examples
    --------
    >>> import numpy as np, asfusion as af
    >>> X = np.random.default_rng(0).normal(size=(120, 3))
    >>> y = (X[:, 0] > 0).astype(int)
    >>> model = af.ConformalClassifier(af.EarlyFusionClassifier(), random_state=0).fit(X, y)
    >>> model.predict_set(X[:2]).shape
    (2, 2)
    """

    def __init__(
        self,
        estimator: Any,
        coverage: float = 0.9,
        *,
        method: Literal["lac", "aps"] = "lac",
        by: str | int | None = None,
        per_class: bool = False,
        calibration_fraction: float = 0.25,
        prefit: bool = False,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.coverage = coverage
        self.method = method
        self.by = by
        self.per_class = per_class
        self.calibration_fraction = calibration_fraction
        self.prefit = prefit
        self.random_state = random_state

    @learns
    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Fit the classifier on a part of the patients, and calibrate on the others.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            What the classifier reads, and the column of `by`.
        y : array of shape (n_rows,)
            Class labels.
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
            If rows, targets and groups do not fit together, or patients are too few for
            the coverage.
        ConfigurationError
            If a parameter is unusable.
        """
        check_choice(self.method, "method", _METHODS)
        given = self._given()
        Classes().check_part(self.estimator if given is None else given, "estimator")
        X, n_rows = read_rows(X, y, groups=groups)
        labels = Classes().read(y, n_rows)
        self.classes_ = np.unique(labels) if given is None else np.asarray(given.classes_)
        numbers = class_numbers(labels, self.classes_)
        asked, rows, categories, patients = self._fit_part(X, labels, groups, numbers)
        costs = self._costs(probabilities_of(self.estimator_, asked, self.classes_))
        true = numbers[rows]
        scores = costs[np.arange(len(rows)), true]
        kinds = true if self.per_class else np.zeros_like(true)
        self.scores_ = calibrate(scores, categories, kinds, patients, self.coverage)
        return self

    @public
    def predict_set(self, X: Any, coverage: float | None = None) -> NDArray[np.bool_]:
        """Return which classes are in the set of each row.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            What the classifier reads, and the column of `by`.
        coverage : float, optional
            Another coverage than that of the constructor. Where patients are too few
            for it, the set holds every class.

        Returns
        -------
        ndarray of shape (n_rows, n_classes), bool
            True for classes in the set, in the order of ``classes_``.
        """
        check_is_fitted(self)
        share = check_coverage(self.coverage if coverage is None else coverage)
        costs = self._costs(probabilities_of(self.estimator_, X, self.classes_))
        categories = Cells(self.by).read(X, len(costs))
        kinds = range(len(self.classes_)) if self.per_class else [0]
        return costs <= quantiles_of(self.scores_, categories, kinds, share) + 1e-12

    @public
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities of the wrapped classifier.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            What the classifier reads.

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        check_is_fitted(self)
        return probabilities_of(self.estimator_, X, self.classes_)

    @property
    def threshold_(self) -> float:
        """Threshold of the wrapped classifier, where it has one."""
        return float(self.estimator_.threshold_)

    def _costs(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how much a set must allow for (N, K) before each class is in it."""
        if self.method == "lac":
            return np.asarray(1.0 - probabilities)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        falling = np.take_along_axis(probabilities, order, axis=1)
        costs = np.empty_like(probabilities)
        # NOTE[DIFF]: what is more probable than a class, without the class itself. With it, as
        # published, the last class always costs 1, and without a random draw most sets hold all.
        np.put_along_axis(costs, order, np.cumsum(falling, axis=1) - falling, axis=1)
        return costs
