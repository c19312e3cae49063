"""Several labels: a probability of each for each row, judged where the label is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._curves import GRID, on_grid, plain
from asfusion.evaluation._inputs import Judged, read_groups, read_predictions
from asfusion.evaluation._ranking import Ranking
from asfusion.evaluation._reported import Reported
from asfusion.evaluation._small_cells import FEWEST
from asfusion.evaluation.metrics import BinaryScorer, ScoreInfo
from asfusion.evaluation.scoring import Rules, Scoring
from asfusion.exceptions import InputError
from asfusion.show.colours import COLOURS, LINES
from asfusion.show.figures import tick_names, unit_square
from asfusion.targets.labels import Labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

_OF_EACH = ("auc", "average_precision", "brier", "calibration_slope")


class LabelScoring(Scoring):
    """Probabilities of labels that do not exclude each other."""

    task = "multilabel"
    primary = "auc_macro"
    board = ("average_precision_macro", "brier_macro", "calibration_slope_macro")
    folds = ("auc_macro", "average_precision_macro", "brier_macro")
    compared = ("auc_macro", "brier_macro", "calibration_slope_macro")
    audited = compared
    drawn = ("auc_macro", "brier_macro")
    canary = ("auc_macro", 0.5)
    noun = "label"
    infos: ClassVar[Mapping[str, ScoreInfo]] = {
        "auc_macro": ScoreInfo("AUC, mean over labels", "high", 1.0, "AUC of {part}"),
        "average_precision_macro": ScoreInfo(
            "Average precision, mean over labels", "high", 1.0, "Average precision of {part}"
        ),
        "brier_macro": ScoreInfo(
            "Brier score, mean over labels", "low", 0.0, "Brier score of {part}"
        ),
        "calibration_slope_macro": ScoreInfo(
            "Calibration slope, mean over labels", "ideal", 1.0, "Calibration slope of {part}"
        ),
    }

    def read(self, predicted: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with a probability of each label; `classes` are their names."""
        table = read_predictions(predicted)
        target = Labels()
        labels = target.read(y, len(table))
        names = target.fit(labels).names_ if classes is None else np.asarray(classes, dtype=object)
        if table.shape != labels.shape or len(names) != labels.shape[1]:
            msg = (
                f"predictions: expected a probability for each of {labels.shape[1]} labels, got "
                f"shape {table.shape}."
            )
            raise InputError(msg)
        outside = int(((table < 0) | (table > 1)).any(axis=1).sum())
        if outside:
            msg = (
                f"predictions: expected probabilities from 0 to 1, got others in {outside} row(s)."
            )
            raise InputError(msg)
        numbers, is_grouped = read_groups(groups, len(table))
        return self.judged(labels, table, names, numbers, is_grouped)

    def ask(self, model: Any, X: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with the probabilities that a fitted model gives each."""
        names = model.target_.columns() if classes is None else classes
        return self.read(model.predict_proba(X), y, groups, names)

    def shares(self, judged: Judged) -> tuple[float, ...]:
        """Return the share of rows with each label, among those where it is known."""
        return tuple(float(share) for share in np.nanmean(judged.y, axis=0))

    def why_refused(self, judged: Judged) -> str:
        """Return that no label has enough rows with and without it, or nothing."""
        few = [min((judged.y[:, k] == v).sum() for v in (0, 1)) for k in range(judged.y.shape[1])]
        return f"under {FEWEST} rows with or without each label" if max(few) < FEWEST else ""

    def scorer(self, judged: Judged, rules: Rules) -> _LabelScorer:
        """Return what scores each label, and all of them."""
        return _LabelScorer(judged)

    # -- pictures ----------------------------------------------------------------------

    def curves(self, judged: Judged, rules: Rules, **options: Any) -> dict[str, Any]:
        """Return the ROC curve of each label, and how many rows are known to have it."""
        shares = {}
        rocs = []
        for k, name in enumerate(judged.classes):
            known = ~np.isnan(judged.y[:, k])
            truth = judged.y[known, k] == 1
            shares[name] = [int(known.sum()), int(truth.sum())]
            rocs.append(_roc(truth, judged.predicted[known, k]))
        return {"labels": shares, "rocs": rocs}

    def remarks(self, report: Reported) -> list[str]:
        """Return in how many rows each label is known, and there."""
        told = [
            f"{name} {there} of {known}" if min(there, known - there) >= FEWEST else f"{name} few"
            for name, (known, there) in report.curves["labels"].items()
        ]
        return [f"Rows with each label, of those where it is known: {', '.join(told)}."]

    def panels(self, report: Reported) -> tuple[int, int]:
        """Return one pair of axes."""
        return 1, 1

    def draw(self, report: Reported, axes: Sequence[Axes]) -> None:
        """Draw the ROC curve of each label."""
        axis = axes[0]
        unit_square(axis, "1 - specificity", "Sensitivity", "Each label")
        names = tick_names(report.classes, 18)
        for k, roc in enumerate(report.curves["rocs"]):
            if roc:
                auc = report.scores[f"auc_macro[{report.classes[k]}]"].estimate
                axis.plot(
                    [0.0, *roc["false_positive"]], [0.0, *roc["true_positive"]],
                    color=COLOURS[k % len(COLOURS)], ls=LINES[(k // len(COLOURS)) % len(LINES)],
                    label=f"{names[k]}: AUC {auc:.2f}",
                )  # fmt: skip
        axis.legend(loc="lower right", frameon=False, fontsize="small")


def _roc(truth: NDArray[np.bool_], probability: Floats) -> dict[str, Any]:
    if not 0 < truth.sum() < len(truth):
        return {}
    ranking = Ranking(truth, probability)
    true, false = (part[0] for part in ranking.cumulate(np.ones((1, len(truth)))))
    height = on_grid(false / false[-1], true / true[-1])
    return plain(false_positive=GRID, true_positive=height)


class _LabelScorer:
    """Scores of each label, on the rows where it is known, and their means."""

    def __init__(self, judged: Judged) -> None:
        self.n_groups = judged.n_groups
        self._parts: dict[str, tuple[BinaryScorer, NDArray[np.int64]]] = {}
        for k, name in enumerate(judged.classes):
            known = np.flatnonzero(~np.isnan(judged.y[:, k]))
            if len(known):
                scorer = BinaryScorer(judged.y[known, k] == 1, judged.predicted[known, k])
                self._parts[name] = scorer, judged.groups[known]

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        found = {
            name: scorer(np.take(counts, groups, axis=1))
            for name, (scorer, groups) in self._parts.items()
        }
        scores: dict[str, Floats] = {}
        for score in _OF_EACH:
            values = np.stack([part[score] for part in found.values()])
            defined = ~np.isnan(values)
            total = np.where(defined, values, 0.0).sum(axis=0)
            scores[f"{score}_macro"] = np.where(
                defined.any(axis=0), total / np.maximum(defined.sum(axis=0), 1), np.nan
            )
        for name, part in found.items():
            scores |= {f"{score}_macro[{name}]": part[score] for score in _OF_EACH}
        return scores
