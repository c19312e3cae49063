"""Three or more classes: a probability of each for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._curves import GRID, Curves, on_grid, plain
from asfusion.evaluation._inputs import Judged, read_complete, read_groups, read_predictions
from asfusion.evaluation._ranking import Ranking
from asfusion.evaluation._reported import Reported
from asfusion.evaluation.metrics import MulticlassScorer, Scorer
from asfusion.evaluation.scoring import Rules, Scoring
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.show.colours import COLOURS, LINES
from asfusion.show.figures import tick_names, unit_square

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Floats = NDArray[np.float64]

BINARY = "binary"  # the task of two classes


class ClassScoring(Scoring):
    """Probabilities of several classes, which may be ordered."""

    task = "multiclass"
    primary = "auc"
    board: ClassVar[tuple[str, ...]] = ("balanced_accuracy", "log_loss")
    folds = ("auc", "balanced_accuracy", "log_loss")
    compared = ("auc", "balanced_accuracy", "brier")
    audited = (*compared, "ece")
    drawn = ("auc", "brier")
    canary = ("auc", 0.5)
    options = frozenset({"ordinal"})
    call: ClassVar[str] = "Most probable class"  # what a row is called

    def read(self, predicted: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with a probability of each class."""
        return read_classes(predicted, y, groups, classes)

    def ask(self, model: Any, X: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with the probabilities that a fitted classifier gives each."""
        return ask_classes(model, X, y, groups, classes)

    def read_rules(self, model: Any, judged: Judged, **options: Any) -> Rules:
        """Return the order of the classes, checked, if they are said to have one."""
        ordinal = options["ordinal"]
        return Rules(ranks=None if ordinal is False else _read_order(ordinal, judged))

    def scorer(self, judged: Judged, rules: Rules) -> Scorer:
        """Return what scores the probabilities of all classes."""
        return MulticlassScorer(
            judged.y,
            judged.predicted,
            names=judged.classes,
            ranks=rules.ranks,
            called=self.called(judged),
            groups=judged.groups,
        )

    def called(self, judged: Judged) -> NDArray[np.int64]:
        """Return the number of the class (N,) that each row is called."""
        return np.asarray(judged.predicted.argmax(axis=1), dtype=np.int64)

    def curves(self, judged: Judged, rules: Rules, **options: Any) -> dict[str, Any]:
        """Return a ROC curve for each class, and which class was called what."""
        return _curves(judged, rules, self.called(judged))

    def panels(self, report: Reported) -> tuple[int, int]:
        """Return one line of two axes."""
        return 1, 2

    def legend_room(self, report: Reported) -> float:
        """Return room for a legend that is too long to stand among the curves."""
        return 1.6 if _is_crowded(report) else 0.0

    def draw(self, report: Reported, axes: Sequence[Axes]) -> None:
        """Draw a ROC curve for each class, and the shares of calls."""
        _draw_rocs(report, axes[0])
        _draw_called(report, axes[1], self.call)


def ask_classes(model: Any, X: Any, y: Any, groups: Any, classes: Any) -> Judged:
    """Return rows with what a fitted classifier says of them."""
    from sklearn.utils.validation import check_is_fitted

    if not hasattr(model, "predict_proba"):
        msg = (
            f"model: expected a classifier with predict_proba, got {type(model).__name__}. "
            "Wrap it in sklearn.calibration.CalibratedClassifierCV."
        )
        raise ConfigurationError(msg)
    if classes is None:
        check_is_fitted(model, "classes_")
    known = model.classes_ if classes is None else classes
    return read_classes(model.predict_proba(X), y, groups, known)


def read_classes(predicted: Any, y: Any, groups: Any, classes: Any) -> Judged:
    """Return checked rows with probabilities; `classes` are those of a model, in its order."""
    guesses = read_predictions(predicted)
    labels = read_complete(y, "y", len(guesses))
    numbers, is_grouped = read_groups(groups, len(guesses))
    is_matrix = guesses.ndim == 2
    known = np.unique(labels) if classes is None else np.asarray(classes)
    if is_matrix and hasattr(predicted, "columns"):
        known, order = _read_names(list(predicted.columns), known, stated=classes is not None)
        guesses = guesses[:, order]
    coded = _class_numbers(labels, known)
    if len(np.unique(coded)) < 2:
        msg = (
            "y: expected rows of at least 2 classes, got rows of 1 class. "
            "Nothing can be told apart; judge on more rows."
        )
        raise InputError(msg)
    if not is_matrix and len(known) != 2:
        msg = (
            f"y: expected 2 classes with one probability per row, got {len(known)} classes. Pass "
            "probabilities of shape (n_rows, n_classes)."
        )
        raise InputError(msg)
    table = np.stack([1.0 - guesses, guesses], axis=1) if not is_matrix else guesses
    _check_probabilities(table, len(known))
    names = tuple(str(name) for name in known)
    if len(known) == 2:
        return Judged(BINARY, coded, table[:, 1], names, numbers, is_grouped)
    return Judged(ClassScoring.task, coded, table, names, numbers, is_grouped)


def _read_names(
    columns: list[Any], known: NDArray[Any], *, stated: bool
) -> tuple[NDArray[Any], list[int]]:
    """Return the classes and where the column of each stands, by name if columns have names.

    Columns in an order of their own would otherwise be taken for other classes. Classes that
    only columns name are known, too.
    """
    as_they_stand = list(range(len(columns)))
    if not stated and set(known.tolist()) < set(columns):
        known = np.unique(np.asarray(columns))
    names, wanted = ([str(name) for name in part] for part in (columns, known.tolist()))
    if sorted(names) == sorted(wanted):
        return known, [names.index(name) for name in wanted]
    if columns == as_they_stand or len(columns) < 2 or (stated and not set(names) & set(wanted)):
        return known, as_they_stand
    msg = (
        f"predictions: expected columns named by the {len(wanted)} classes of y, got "
        f"{len(set(names) - set(wanted))} other name(s). Rename them, or pass an array with the "
        "columns in the order of classes=."
    )
    raise InputError(msg)


def _class_numbers(labels: NDArray[Any], known: NDArray[Any]) -> NDArray[np.int64]:
    if labels.ndim != 1:
        raise InputError(f"y: expected one label per row, got {labels.ndim} dimensions.")
    place = {label: number for number, label in enumerate(known.tolist())}
    numbers = np.asarray([place.get(label, -1) for label in labels.tolist()], dtype=np.int64)
    strange = int((numbers < 0).sum())
    if strange:
        msg = (
            f"y: expected only the {len(known)} classes that the model was fitted on, got others "
            f"in {strange} row(s). Check the spelling and the type of the labels."
        )
        raise InputError(msg)
    return numbers


def _check_probabilities(table: Floats, width: int) -> None:
    if table.shape[1] != width:
        msg = (
            f"predictions: expected a probability for each of {width} classes, got "
            f"{table.shape[1]} column(s). Name the columns with classes= if y lacks a class."
        )
        raise InputError(msg)
    outside = int(((table < 0) | (table > 1)).any(axis=1).sum())
    if outside:
        msg = (
            f"predictions: expected probabilities from 0 to 1, got others in {outside} row(s). "
            "Pass what predict_proba gives, not decision values."
        )
        raise InputError(msg)
    wrong = int((np.abs(table.sum(axis=1) - 1.0) > 1e-3).sum())
    if wrong:
        msg = f"predictions: expected rows that sum to 1, got other sums in {wrong} row(s)."
        raise InputError(msg)


def _read_order(ordinal: Any, judged: Judged) -> NDArray[np.int64]:
    """Return the place of each class: as listed, or by value if classes are numbers."""
    if ordinal is True:
        try:
            values = [float(name) for name in judged.classes]
        except ValueError:
            msg = (
                "ordinal: expected the classes in order, since their names are no numbers, got "
                'True. Pass for example ordinal=["none", "mild", "severe"], the lowest first.'
            )
            raise ConfigurationError(msg) from None
        return np.argsort(np.argsort(values))
    listed = [] if isinstance(ordinal, str) or np.ndim(ordinal) != 1 else [str(n) for n in ordinal]
    if sorted(listed) != sorted(judged.classes):
        msg = (
            f"ordinal: expected True, or each of the {len(judged.classes)} classes once, the "
            f"lowest first, got {len(listed)} name(s) that differ."
        )
        raise ConfigurationError(msg)
    return np.asarray([listed.index(name) for name in judged.classes], dtype=np.int64)


def _curves(judged: Judged, rules: Rules, called: NDArray[np.int64]) -> Curves:
    """Return each class against the rest, and which class was called what."""
    rocs = []
    for k in range(len(judged.classes)):
        ranking = Ranking(judged.y == k, judged.predicted[:, k])
        hits, alarms = ranking.cumulate(np.ones((1, len(judged))))
        defined = hits[0, -1] > 0 and alarms[0, -1] > 0
        heights = (
            on_grid(alarms[0] / alarms[0, -1], hits[0] / hits[0, -1])
            if defined
            else np.full(len(GRID), np.nan)
        )
        rocs.append(plain(false_positive=GRID, true_positive=heights))
    width = len(judged.classes)
    table = np.zeros((width, width))
    np.add.at(table, (judged.y, called), 1.0)
    totals = np.maximum(table.sum(axis=1, keepdims=True), 1.0)
    # Ordered classes are shown in their order: errors lie near the diagonal, or do not.
    order = np.arange(width) if rules.ranks is None else np.argsort(rules.ranks)
    called_by_true = (table / totals)[np.ix_(order, order)]
    return {"rocs": rocs, "called": called_by_true.tolist()}


def _is_crowded(report: Reported) -> bool:
    """Return whether there are too many classes for a legend among their curves."""
    return len(report.classes) > len(COLOURS)


def _draw_rocs(report: Reported, axis: Axes) -> None:
    unit_square(axis, "1 - specificity", "Sensitivity", "Each class against the rest")
    shown = tick_names(report.classes, 18)
    colours = _colours(len(shown))
    for number, (name, roc) in enumerate(zip(report.classes, report.curves["rocs"], strict=True)):
        auc = report.scores[f"auc[{name}]"].estimate
        axis.plot(
            [0.0, *roc["false_positive"]],
            [0.0, *roc["true_positive"]],
            color=colours[number],
            ls=LINES[number % len(LINES)],
            label=f"class {shown[number]}: AUC {auc:.2f}",
        )
    beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    place = beside if _is_crowded(report) else {"loc": "lower right"}
    axis.legend(**place, frameon=False, fontsize="small")


def _colours(count: int) -> Sequence[Any]:
    """Return as many colours that differ."""
    if count <= len(COLOURS):
        return COLOURS
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0.0, 0.92, count)))


def _draw_called(report: Reported, axis: Axes, call: str) -> None:
    shares = np.asarray(report.curves["called"])
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(report.classes))
    names = tick_names(report.order or report.classes, 18)
    size = "medium" if len(names) <= len(COLOURS) else "x-small"
    axis.set_xticks(ticks, names, rotation=30, ha="right")
    axis.set_yticks(ticks, names)
    axis.set(xlabel=call, ylabel="True class", title="Share of each true class")
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            colour = "white" if share > 0.6 else "black"
            axis.text(j, i, f"{share:.2f}", ha="center", va="center", color=colour, size=size)
