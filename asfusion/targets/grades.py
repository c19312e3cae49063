"""One of several classes that have an order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.targets._base import Floats, Tensor
from asfusion.targets._logistic import probability_path
from asfusion.targets._pools import FLOOR
from asfusion.targets.classes import Classes
from asfusion.targets.ordered import OrderedClassifier, equal_rows, middle_grade, step_by_step

_OR_ABOVE = ">="  # by which a user asks for a grade or above


class Grades(Classes):
    """Ordered classes, such as grades of the modified New York criteria.

    Every model learns for each grade whether a row that reaches it is above it: networks all of
    these steps at once (CORN [1]_), other classifiers one by one (`OrderedClassifier` [2]_). So
    the probabilities of grades are products of steps, which cannot contradict each other.

    Predicted is the middle grade, the median of the probabilities: the one that is expected to be
    wrong by fewest grades. The most probable grade, which `Classes` predicts, is most often the
    most frequent one.

    Parameters
    ----------
    order : sequence of labels, optional
        The grades, the lowest first. By default that of an ordered Categorical, or of numbers.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The grades in their order.

    References
    ----------
    .. [1] Shi, Cao, Raschka, "Deep neural networks for rank-consistent ordinal regression based
       on conditional probabilities", Pattern Analysis and Applications 2023.
       https://doi.org/10.1007/s10044-023-01181-9
    .. [2] Bürkner, Vuorre, "Ordinal regression models in psychology: a tutorial", Advances in
       Methods and Practices in Psychological Science 2019. https://doi.org/10.1177/2515245918823199

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.targets import Grades
    >>> target = Grades(["none", "mild", "severe"])
    >>> labels = np.array(["mild", "none", "severe", "none"])
    >>> target.fit(labels).code(labels)
    array([1, 0, 2, 0])
    """

    loss = "grades"
    has_steps = True

    _told: tuple[Any, ...] | None = None

    def __init__(self, order: Sequence[Any] | None = None) -> None:
        self.order = order

    def read(self, y: Any, n_rows: int) -> NDArray[Any]:
        """Return grades (N,); those of an ordered Categorical keep its order."""
        told = ordered_categories(y)
        labels = super().read(y, n_rows)
        given = self.order
        if given is not None and (isinstance(given, str) or np.ndim(given) != 1):
            raise ConfigurationError("order: expected a sequence of grades, the lowest first.")
        self._told = tuple(told if given is None else given) if told or given is not None else None
        if self._told is None and labels.dtype.kind not in "biuf":
            msg = (
                "y: expected grades with an order, got text without one. Pass an ordered "
                "Categorical, or name the order, such as "
                'asfusion.targets.Grades(["none", "mild", "severe"]).'
            )
            raise InputError(msg)
        self._check_known(labels)
        return labels

    def _check_known(self, labels: NDArray[Any]) -> None:
        if self._told is None:
            return
        strange = sum(label not in self._told for label in labels.tolist())
        if strange or len(set(self._told)) < len(self._told):
            msg = (
                f"y: expected only the {len(self._told)} grades of the order, each named once, got "
                f"others in {strange} row(s). Check the spelling and the type of the labels."
            )
            raise InputError(msg)

    def fit(self, y: NDArray[Any]) -> Self:
        """Learn the grades that there are, in their order."""
        order = self.order if self._told is None else self._told
        found = np.unique(y)
        if order is not None:
            found = np.asarray([grade for grade in order if grade in set(found.tolist())])
        self.classes_, self.n_outputs_ = found, len(found)
        return self

    def pinned(self) -> Self:
        """Return grades that know their order."""
        return type(self)(self.classes_.tolist())

    def code(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """Return the place of each grade in the order."""
        place = {label: number for number, label in enumerate(self.classes_.tolist())}
        return np.asarray([place[label] for label in y.tolist()], dtype=np.int64)

    @property
    def task(self) -> str:
        """Name of the scorer by which predictions are judged."""
        return "binary" if self.n_outputs_ == 2 else "grades"

    # -- explanations --------------------------------------------------------------------

    def explained(self, outputs: Tensor) -> Tensor:
        """Return probabilities (N, K) and, after them, those of each grade but the lowest or above.

        That is how sure it is that a row is past a step between grades.
        """
        n_rows, n_grades = outputs.shape
        both = outputs.new_empty(n_rows, 2 * n_grades - 1)
        both[:, :n_grades] = outputs
        both[:, n_grades:] = outputs.flip(1).cumsum(1).flip(1)[:, 1:]
        return both

    def describe_output(self, k: int) -> str:
        """Return the name of the probability of a grade, or of a grade or above."""
        if k < self.n_outputs_:
            return super().describe_output(k)
        return f"probability of grade {self.classes_[k - self.n_outputs_ + 1]} or above"

    def choose_output(self, outputs: Floats, wanted: Any) -> NDArray[np.int64]:
        """Return the grade to explain or, after ``">="``, the grade or above."""
        is_step = isinstance(wanted, str) and wanted.startswith(_OR_ABOVE)
        if not is_step or wanted in self.classes_.tolist():
            return super().choose_output(outputs, wanted)
        grades = [str(grade) for grade in self.classes_[1:]]
        grade = wanted.removeprefix(_OR_ABOVE).strip()
        if grade not in grades:
            msg = f'output: expected "{_OR_ABOVE}" and one of {quoted(grades)}, got another grade.'
            raise ConfigurationError(msg)
        place = self.n_outputs_ + grades.index(grade)
        return np.full(len(outputs), place, dtype=np.int64)

    # -- scikit-learn's models -----------------------------------------------------------

    def for_part(self, estimator: Any, y: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Return grades numbered without gaps, and a classifier for each step between them."""
        if len(np.unique(y)) > 2:
            estimator = OrderedClassifier(estimator)
        return super().for_part(estimator, y)

    def ridge_path(
        self, features: Floats, y: NDArray[Any], weight: Floats, asked: Floats
    ) -> Floats:
        """Return probabilities (P, N, K) by the steps between grades."""
        known = np.unique(y)
        if len(known) < 3 or not self._is_quick(features):
            return super().ridge_path(features, y, weight, asked)
        told, sizes = np.full((len(self.penalties), len(asked), len(known) - 1), 0.5), []
        for k, grade in enumerate(known[:-1]):
            rows = np.flatnonzero(y >= grade)
            sizes.append(equal_rows(weight[rows]))
            part = features[rows], (y[rows] > grade) * 1.0, weight[rows]
            told[..., k] = probability_path(*part, asked, self.penalties)
        found = np.zeros((*told.shape[:2], self.n_outputs_))
        found[..., known] = step_by_step(told, np.asarray(sizes))
        return found

    def ask(self, model: Any, X: Any) -> Floats:
        """Return probabilities (N, K) in the order of the grades, zero for those not known."""
        probabilities = model.predict_proba(X)
        table = np.zeros((len(probabilities), self.n_outputs_))
        place = {label: number for number, label in enumerate(self.classes_.tolist())}
        unknown = [label for label in model.classes_.tolist() if label not in place]
        if unknown:
            msg = f"model: expected classes among the grades, got {len(unknown)} other(s)."
            raise InputError(msg)
        table[:, [place[label] for label in model.classes_.tolist()]] = probabilities
        return table

    def called(self, outputs: Floats) -> NDArray[np.int64]:
        """Return the place (N,) of the grade that each row is called: the middle one."""
        return middle_grade(outputs)

    # -- networks ------------------------------------------------------------------------

    @property
    def n_network_outputs(self) -> int:
        """One number for each step between grades."""
        return self.n_outputs_ - 1

    def activate(self, outputs: Tensor, scaling: Any) -> Tensor:
        """Return probabilities (N, K): to reach a grade, and not to go on from there."""
        steps = outputs.double()
        reached = steps.new_ones(steps.shape[0], steps.shape[1] + 1)
        reached[:, 1:] = steps.sigmoid().cumprod(dim=1)
        stays = steps.new_ones(steps.shape[0], steps.shape[1] + 1)
        # Not one less the chance to go on, which a sure network would round to nothing.
        stays[:, :-1] = (-steps).sigmoid()
        return reached * stays

    def start(self, prior: Floats) -> Floats:
        """Return the log odds to be above each grade, of those that reach it."""
        reach = np.cumsum(prior[::-1])[::-1]
        share = np.clip(reach[1:] / np.maximum(reach[:-1], FLOOR), FLOOR, 1.0 - FLOOR)
        return np.log(share) - np.log1p(-share)


def ordered_categories(y: Any) -> tuple[Any, ...]:
    """Return the categories of an ordered Categorical, or of a polars Enum; else nothing."""
    dtype: Any = getattr(y, "dtype", None)
    if getattr(dtype, "ordered", False):
        return tuple(dtype.categories)
    is_enum = type(dtype).__name__ == "Enum" and hasattr(dtype, "categories")
    return tuple(dtype.categories) if is_enum else ()
