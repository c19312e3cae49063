"""Several labels at once, each of which may be there or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from asfusion._arrays import array_of
from asfusion._cells import is_missing
from asfusion._checks import quoted
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.targets._base import Floats, Present, Target, Tensor
from asfusion.targets._logistic import MOST_FEATURES, probability_path
from asfusion.targets._pools import FLOOR, added, least_pool
from asfusion.targets.classes import Classes
from asfusion.targets.per_label import PerLabel

_MOST_PATTERNS = 20  # that folds share evenly; more are too rare to be shared


class Labels(Target):
    """Several findings of one row, such as psoriasis, uveitis and bowel disease.

    Each label is true, false or not known: a row teaches the labels that it has.

    Attributes
    ----------
    names_ : ndarray of shape (L,)
        Names of the labels: the columns of y, or their numbers.
    n_outputs_ : int
        Number L of labels.

    Examples
    --------
    >>> import pandas as pd
    >>> from asfusion.targets import Labels
    >>> y = pd.DataFrame({"uveitis": [1, 0, 1], "psoriasis": [0, None, 1]})
    >>> target = Labels()
    >>> target.fit(target.read(y, 3)).names_
    array(['uveitis', 'psoriasis'], dtype=object)
    """

    face = "multilabel"
    loss = "labels"
    is_probability = True
    has_sharpness = True
    _models: ClassVar[Mapping[str, tuple[str, str]]] = Classes._models

    names_: NDArray[Any]
    _told: tuple[Any, ...] | None = None

    # -- y -----------------------------------------------------------------------------

    def read(self, y: Any, n_rows: int) -> Floats:
        """Return labels (N, L): 1, 0, or NaN where one is not known."""
        if y is None:
            raise InputError("y: expected a column for each label, got None.")
        self._told = tuple(y.columns) if hasattr(y, "columns") else None
        cells = array_of(y, "y")
        if cells.ndim != 2 or len(cells) != n_rows:
            msg = (
                f"y: expected {n_rows} rows and a column for each label, got shape {cells.shape}. "
                "One label is a task for a Classifier."
            )
            raise InputError(msg)
        labels = _as_labels(cells)
        lost = int(np.isnan(labels).all(axis=1).sum())
        if lost:
            msg = (
                f"y: expected a known label in every row, got none in {lost} row(s). Drop those "
                "rows from X and y."
            )
            raise InputError(msg)
        return labels

    def fit(self, y: NDArray[Any]) -> Self:
        """Learn which labels there are."""
        names = range(y.shape[1]) if self._told is None else self._told
        self.names_ = np.asarray(list(names), dtype=object)
        self.n_outputs_ = y.shape[1]
        return self

    def code(self, y: NDArray[Any]) -> Floats:
        """Return labels as they are."""
        return np.asarray(y, dtype=np.float64)

    def decode(self, y: NDArray[Any]) -> Floats:
        """Return labels as they are."""
        return np.asarray(y)

    def columns(self) -> NDArray[Any]:
        """Return the names of the labels."""
        return self.names_

    @property
    def task(self) -> str:
        """Name of the scorer by which predictions are judged."""
        return "multilabel"

    def prior(self, y: NDArray[Any], weight: Floats) -> Floats:
        """Return the share (L,) of rows with each label, among those where it is known."""
        known = ~np.isnan(y) * weight[:, None]
        total = known.sum(axis=0)
        share = np.full(len(total), 0.5)
        np.divide((known * np.nan_to_num(y)).sum(axis=0), total, out=share, where=total > 0)
        return share

    def strata(self, y: NDArray[Any]) -> NDArray[np.int64] | None:
        """Return the pattern of labels of each row, if there are few."""
        patterns = np.unique(np.nan_to_num(y, nan=-1.0), axis=0, return_inverse=True)[1]
        return patterns.ravel() if patterns.max(initial=0) < _MOST_PATTERNS else None

    def can_teach(self, y: NDArray[Any]) -> bool:
        """Return whether some label is both there and not."""
        with np.errstate(invalid="ignore"):
            return bool(((y == 1).any(axis=0) & (y == 0).any(axis=0)).any())

    def lacks(self, y: NDArray[Any], among: str) -> str:
        """Return what rows that cannot teach would need."""
        return f"expected a label that is both 1 and 0 among rows {among}, got none"

    def describe_output(self, k: int) -> str:
        """Return the name of an output: the label."""
        return f"probability of {self.names_[k]}"

    def choose_output(self, outputs: Floats, wanted: Any) -> NDArray[np.int64]:
        """Return the label to explain: the first where none is asked for."""
        names = self.names_.tolist()
        if wanted is not None and wanted not in names:
            msg = f"output: expected one of the labels {quoted(map(str, names))}, got another."
            raise ConfigurationError(msg)
        return np.full(len(outputs), 0 if wanted is None else names.index(wanted), dtype=np.int64)

    def shaped(self, outputs: Floats) -> NDArray[np.int64]:
        """Return which labels are likelier than not (N, L)."""
        return (outputs > 0.5).astype(np.int64)

    # -- scikit-learn's models -----------------------------------------------------------

    def check_part(self, estimator: Any, name: str) -> None:
        """Raise unless `estimator` is a classifier that knows probabilities."""
        Classes().check_part(estimator, name)

    def for_part(self, estimator: Any, y: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Return a classifier for each label."""
        return PerLabel(estimator), y

    def ask_part(self, estimator: Any, features: Any) -> Floats:
        """Return probabilities (N, L)."""
        return np.asarray(estimator.predict_proba(features), dtype=np.float64)

    def ask(self, model: Any, X: Any) -> Floats:
        """Return probabilities (N, L)."""
        return self.ask_part(model, X)

    def linear(self, penalty: float = 1.0) -> Any:
        """Return a logistic regression."""
        return Classes().linear(penalty)

    def ridge_path(
        self, features: Floats, y: NDArray[Any], weight: Floats, asked: Floats
    ) -> Floats:
        """Return probabilities (P, N, L), each label by the rows where it is known."""
        is_quick = features.shape[1] <= MOST_FEATURES and isinstance(features, np.ndarray)
        if type(self).linear is not Labels.linear or not is_quick:
            return super().ridge_path(features, y, weight, asked)
        found = np.tile(self.prior(y, weight), (len(self.penalties), len(asked), 1))
        for k, column in enumerate(y.T):
            rows = np.flatnonzero(~np.isnan(column))
            if len(np.unique(column[rows])) == 2:
                part = features[rows], column[rows], weight[rows]
                found[:, :, k] = probability_path(*part, asked, self.penalties)
        return found

    def deviance(self, outputs: Floats, y: NDArray[Any], weight: Floats) -> float:
        """Return the log-loss over all labels that are known."""
        known = ~np.isnan(y) * weight[:, None]
        right = np.clip(np.where(y == 1, outputs, 1.0 - outputs), FLOOR, 1.0)
        return float(-(known * np.log(right)).sum() / known.sum())

    # -- networks ------------------------------------------------------------------------

    def activate(self, outputs: Tensor, scaling: Any) -> Tensor:
        """Return probabilities (N, L)."""
        return outputs.double().sigmoid()

    def start(self, prior: Floats) -> Floats:
        """Return log odds."""
        share = np.clip(prior, 1e-3, 1.0 - 1e-3)
        return np.log(share) - np.log1p(-share)

    # -- decisions of several models -------------------------------------------------------

    def pool_weights(
        self, decisions: Floats, present: Present, y: NDArray[Any], weight: Floats
    ) -> Floats:
        """Return weights (M,) with the least log-loss over all labels."""
        known = ~np.isnan(y) * weight[:, None]
        known /= known.sum()
        truth = np.nan_to_num(y)

        def judged(pooled: Floats) -> tuple[float, Floats]:
            own = np.where(truth == 1, pooled, 1.0 - pooled)
            sure = np.clip(own, FLOOR, 1.0)
            sign = np.where(truth == 1, 1.0, -1.0) * (own > FLOOR)
            return -float((known * np.log(sure)).sum()), -known * sign / sure

        return least_pool(judged, decisions, present)

    def sharpened(self, outputs: Floats, power: float) -> Floats:
        """Return probabilities whose odds are to a power."""
        return np.asarray(expit(power * _log_odds(outputs)))

    def product(
        self,
        decisions: Floats,
        present: Present,
        prior: Floats,
        weights: Floats,
        dependence: float = 0.0,
    ) -> Floats:
        """Return for each label the product of experts: their log odds beyond the prior add up."""
        beyond = added(self.evidence(decisions, prior), present, dependence)
        return np.asarray(expit(_log_odds(prior) + beyond))

    def evidence(self, decisions: Floats, prior: Floats) -> Floats:
        """Return log odds beyond the prior (N, M, L)."""
        return _log_odds(decisions) - _log_odds(prior)


def looks_like_labels(y: Any) -> bool:
    """Return whether `y` has several columns of nothing but 0, 1, true, false and gaps."""
    cells = array_of(y, "y")
    if cells.ndim != 2 or cells.shape[1] < 2:
        return False
    try:
        _as_labels(cells)
    except InputError:
        return False
    return True


def _as_labels(cells: NDArray[Any]) -> Floats:
    if cells.dtype.kind == "O":
        known = [[np.nan if is_missing(cell) else cell for cell in row] for row in cells.tolist()]
        cells = np.asarray(known, dtype=object)
    try:
        labels = np.asarray(cells, dtype=np.float64)
    except (TypeError, ValueError):
        labels = np.full((1, 1), 2.0)
    wrong = int((~(np.isnan(labels) | (labels == 0) | (labels == 1))).any(axis=1).sum())
    if wrong or cells.dtype.kind in "USmM":
        msg = (
            "y: expected 1, 0 or a missing cell for each label, got other values. Make a column "
            "of each category, for example with pandas.get_dummies."
        )
        raise InputError(msg)
    return labels


def _log_odds(probability: Floats) -> Floats:
    clipped = np.clip(probability, FLOOR, 1.0 - FLOOR)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))
