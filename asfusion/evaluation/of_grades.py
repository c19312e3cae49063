"""Ordered classes: a probability of each grade for each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._ranking import Ranking, area_under_curve
from asfusion.evaluation.metrics import MulticlassScorer, ScoreInfo, Scorer
from asfusion.evaluation.of_classes import ClassScoring
from asfusion.evaluation.scoring import Rules
from asfusion.targets.ordered import middle_grade

Floats = NDArray[np.float64]


class GradeScoring(ClassScoring):
    """Probabilities of classes whose order is that of their names."""

    task = "grades"
    primary = "kappa_quadratic"
    board = ("class_error", "auc_above", "log_loss")
    folds = ("kappa_quadratic", "class_error", "log_loss")
    compared = ("kappa_quadratic", "class_error", "brier")
    audited = (*compared, "ece")
    drawn = ("kappa_quadratic", "class_error")
    canary = ("kappa_quadratic", 0.0)
    options: ClassVar[frozenset[str]] = frozenset()
    call = "Predicted grade"
    infos: ClassVar[Mapping[str, ScoreInfo]] = {
        "auc_above": ScoreInfo("AUC, mean over steps", "high", 1.0, "AUC above {part}"),
    }

    def read(self, predicted: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with a probability of each grade."""
        return replace(super().read(predicted, y, groups, classes), task=self.task)

    def ask(self, model: Any, X: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with the probabilities that a fitted classifier gives each."""
        return replace(super().ask(model, X, y, groups, classes), task=self.task)

    def read_rules(self, model: Any, judged: Judged, **options: Any) -> Rules:
        """Return the order of the grades."""
        return self.fold_rules(judged)

    def fold_rules(self, judged: Judged) -> Rules:
        """Return the order of the grades."""
        return Rules(ranks=np.arange(len(judged.classes)))

    def scorer(self, judged: Judged, rules: Rules) -> Scorer:
        """Return what scores probabilities of all grades, and of being above each."""
        return _GradeScorer(judged, self.fold_rules(judged).ranks, self.called(judged))

    def called(self, judged: Judged) -> NDArray[np.int64]:
        """Return the middle grade of each row, which is what models of grades predict."""
        return middle_grade(judged.predicted)


class _GradeScorer(MulticlassScorer):
    """Scores of ordered classes, with an AUC for each step between them."""

    def __init__(
        self, judged: Judged, ranks: NDArray[np.int64] | None, called: NDArray[np.int64]
    ) -> None:
        super().__init__(
            judged.y,
            judged.predicted,
            names=judged.classes,
            ranks=ranks,
            called=called,
            groups=judged.groups,
        )
        above = 1.0 - np.cumsum(judged.predicted, axis=1)
        self._steps = {
            name: Ranking(judged.y > k, above[:, k]) for k, name in enumerate(judged.classes[:-1])
        }

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        found = {
            f"auc_above[{name}]": area_under_curve(
                *ranking.cumulate(np.take(counts, self.groups[ranking.order], axis=1))
            )
            for name, ranking in self._steps.items()
        }
        return {
            **super().__call__(counts),
            "auc_above": np.mean(list(found.values()), axis=0),
            **found,
        }
