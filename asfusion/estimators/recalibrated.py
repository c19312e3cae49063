"""A classifier whose probabilities are made right on rows that it did not learn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._arrays import read_weights
from asfusion._checks import check_choice, check_integer, check_number
from asfusion._door import learns, public
from asfusion._progress import told_once
from asfusion._random import RandomState, draw_seed
from asfusion._splits import check_learnable, patient_folds, put_together
from asfusion.estimators import _recalibration as maps
from asfusion.estimators._rows import read_groups
from asfusion.estimators._scored import ScoredClassifier
from asfusion.estimators._threshold import DEFAULT, call_classes
from asfusion.estimators._wrapped import (
    Wrapper,
    class_numbers,
    fit_copy,
    probabilities_of,
    read_rows,
    take_rows,
)
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.targets.classes import Classes

Method = Literal["temperature", "sigmoid", "isotonic", "prevalence"]
_METHODS = ("temperature", "sigmoid", "isotonic", "prevalence")


class RecalibratedClassifier(ScoredClassifier, Wrapper):
    """Make the probabilities of a classifier right, on rows that it did not learn from.

    Parameters
    ----------
    estimator : classifier
        Any with `predict_proba`, of asfusion or not.
    method : {"temperature", "sigmoid", "isotonic", "prevalence"}
        One number that softens or sharpens all probabilities; a slope and a shift of the
        log-odds (logistic recalibration, each class against the rest where there are
        more than two); a rising step function, which wants some hundred rows; or only a
        shift, so that the mean is right, which is what a new hospital needs first.
    prevalence : float or dict of class to float, optional
        Share of the second class, or of every class, where the model is to be used, if it
        differs from that of the rows of `fit`: probabilities are moved by Bayes' rule.
    cv : int
        Folds by which unseen predictions of the rows of `fit` are made.
    prefit : bool
        `estimator` is fitted already, and the rows of `fit` are others than those that
        it learned from. A frozen estimator (`sklearn.frozen`) says the same.
    random_state : int, RandomState, Generator or None
        Seeds the folds.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    estimator_ : classifier
        The classifier, fitted on all rows; `asfusion.explain` explains this one.
    threshold_ : float
        Where the threshold of `estimator_` has moved to; only for two classes.

    References
    ----------
    .. [1] Guo et al., "On calibration of modern neural networks", ICML 2017.
       https://doi.org/10.48550/arXiv.1706.04599
    .. [2] Van Calster et al., "Calibration: the Achilles heel of predictive analytics",
       BMC Medicine 2019. https://doi.org/10.1186/s12916-019-1466-7
    .. [3] Saerens et al., "Adjusting the outputs of a classifier to new a priori
       probabilities", Neural Computation 2002. https://doi.org/10.1162/089976602753284446

    Examples
    --------
    >>> import numpy as np, asfusion as af
    >>> X = np.random.default_rng(0).normal(size=(80, 3))
    >>> y = (X[:, 0] > 0).astype(int)
    >>> model = af.RecalibratedClassifier(af.EarlyFusionClassifier(), random_state=0)
    >>> model.fit(X, y).predict_proba(X[:2]).shape
    (2, 2)
    """

    _says = "recalibration"

    def __init__(
        self,
        estimator: Any,
        method: Method = "temperature",
        *,
        prevalence: Any = None,
        cv: int = 5,
        prefit: bool = False,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.prevalence = prevalence
        self.cv = cv
        self.prefit = prefit
        self.random_state = random_state

    @learns
    def fit(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> Self:
        """Fit the classifier, and the map of its probabilities on unseen predictions.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            What the classifier reads.
        y : array of shape (n_rows,)
            Class labels.
        groups : array of shape (n_rows,), optional
            Patient of each row; a patient's rows stay in one fold.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        InputError
            If rows, targets and groups do not fit together, or a class has no row.
        ConfigurationError
            If a parameter is unusable.
        """
        check_choice(self.method, "method", _METHODS)
        n_folds = check_integer(self.cv, "cv", minimum=2)
        given = self._given()
        Classes().check_part(self.estimator if given is None else given, "estimator")
        X, n_rows = read_rows(X, y, groups=groups, sample_weight=sample_weight)
        labels = Classes().read(y, n_rows)
        patients = read_groups(groups, n_rows)
        weight = read_weights(sample_weight, n_rows)
        if (weight == 0).any():  # the same as leaving the row out
            kept = np.flatnonzero(weight)
            X, labels, weight = take_rows(X, kept), labels[kept], weight[kept]
            patients = None if patients is None else patients[kept]
        if given is not None:
            self.estimator_, self.classes_ = given, np.asarray(given.classes_)
            unseen = probabilities_of(given, X, self.classes_)
        else:
            self.classes_ = np.unique(labels)
            passed = None if sample_weight is None else weight
            with told_once(True):
                unseen = self._unseen(X, labels, patients, passed, n_folds)
                self.estimator_ = fit_copy(self.estimator, X, labels, patients, passed)
        self._learn(unseen, class_numbers(labels, self.classes_), weight)
        return self

    @public
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the recalibrated probability of each class.

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
        return self._mapped(probabilities_of(self.estimator_, X, self.classes_))

    @public
    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class; of two, the second from the threshold on.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            What the classifier reads.

        Returns
        -------
        ndarray of shape (n_rows,)
            Class labels.
        """
        return call_classes(self, self.predict_proba(X))

    def _unseen(
        self, X: Any, labels: NDArray[Any], groups: Any, weight: Any, n_folds: int
    ) -> NDArray[np.float64]:
        """Return probabilities of every row by a classifier that did not see its patient."""
        numbers = np.searchsorted(self.classes_, labels)
        seed = draw_seed(self.random_state)
        folds = patient_folds(groups, n_folds, n_rows=len(labels), strata=numbers, seed=seed)
        if not folds or len(self.classes_) < 2:
            msg = (
                f"y: expected at least 2 classes and 2 patients to make folds of, got "
                f"{len(self.classes_)} class(es) in {len(labels)} rows."
            )
            raise InputError(msg)
        check_learnable(numbers, folds, "cv", "prefit=True")

        def ask(learn: NDArray[np.int64], judge: NDArray[np.int64]) -> NDArray[np.float64]:
            own = None if groups is None else groups[learn]
            share = None if weight is None else weight[learn]
            part = fit_copy(self.estimator, take_rows(X, learn), labels[learn], own, share)
            return probabilities_of(part, take_rows(X, judge), self.classes_)

        parts = ((judge, ask(learn, judge)) for learn, judge in folds)
        return put_together(parts, (len(labels), len(self.classes_)))

    def _learn(
        self, unseen: NDArray[np.float64], y: NDArray[np.int64], weight: NDArray[np.float64]
    ) -> None:
        totals = np.bincount(y, weights=weight, minlength=len(self.classes_))
        if (totals <= 0).any():
            msg = (
                f"y: expected rows of all {len(self.classes_)} classes to recalibrate on, got none "
                f"of {int((totals <= 0).sum())}. Use more rows."
            )
            raise InputError(msg)
        fit = {
            "temperature": maps.fit_temperature,
            "sigmoid": maps.fit_lines,
            "isotonic": maps.fit_steps,
            "prevalence": maps.fit_shifts,
        }[self.method]
        self.map_ = fit(unseen, y, weight)
        share = totals / totals.sum()
        self.shifts_ = np.log(self._target_share(share)) - np.log(share)
        if len(self.classes_) == 2:
            self.threshold_ = self._moved_threshold()

    def _target_share(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of each class where the model is to be used."""
        wanted = self.prevalence
        if wanted is None:
            return share
        n_classes = len(self.classes_)
        if isinstance(wanted, Mapping):
            values = [wanted.get(label) for label in self.classes_.tolist()]
            if len(wanted) != n_classes or any(value is None for value in values):
                msg = f"prevalence: expected a share for each of the {n_classes} classes, by label."
                raise ConfigurationError(msg)
        elif n_classes == 2:
            number = check_number(wanted, "prevalence", minimum=0.0, maximum=1.0, exclusive=True)
            values = [1.0 - number, number]
        else:
            msg = f"prevalence: expected a dict with a share for each of {n_classes} classes."
            raise ConfigurationError(msg)
        shares = np.asarray(values, dtype=np.float64)
        if not (shares > 0).all() or abs(shares.sum() - 1.0) > 1e-6:
            raise ConfigurationError("prevalence: expected shares above 0 that sum to 1.")
        return shares

    def _mapped(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        apply: Any = {
            "temperature": maps.apply_temperature,
            "sigmoid": maps.apply_lines,
            "isotonic": maps.apply_steps,
            "prevalence": maps.apply_shifts,
        }[self.method]
        mapped: NDArray[np.float64] = apply(probabilities, self.map_)
        return maps.apply_shifts(mapped, self.shifts_) if self.shifts_.any() else mapped

    def _promises(self) -> list[str]:
        return ["probabilities made right on patients that were not seen"]

    def _moved_threshold(self) -> float:
        """Return where a threshold that was chosen goes, so that the same rows are called."""
        old = getattr(self.estimator_, "threshold_", DEFAULT)
        if old == DEFAULT:
            return DEFAULT
        return float(self._mapped(np.array([[1.0 - old, old]]))[0, 1])
