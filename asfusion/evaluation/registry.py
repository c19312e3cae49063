"""Which kinds of target can be judged, by the name of their task."""

from __future__ import annotations

from typing import Protocol

from asfusion._checks import check_choice
from asfusion.evaluation._labels import add_scores
from asfusion.evaluation.of_binary import BinaryScoring
from asfusion.evaluation.of_classes import ClassScoring
from asfusion.evaluation.of_counts import CountScoring
from asfusion.evaluation.of_grades import GradeScoring
from asfusion.evaluation.of_labels import LabelScoring
from asfusion.evaluation.of_numbers import NumberScoring
from asfusion.evaluation.of_survival import SurvivalScoring
from asfusion.evaluation.scoring import Scoring

_KNOWN: dict[str, Scoring] = {}


class Tasked(Protocol):
    """Rows, a result or a target: anything that has a task."""

    @property
    def task(self) -> str:
        """Name of the kind of target."""
        ...


def register_scoring(scoring: Scoring) -> None:
    """Make known how targets of one kind are judged.

    Parameters
    ----------
    scoring : Scoring
        It is found under its ``task``, in place of what was known under that name.
    """
    add_scores(scoring.infos)
    _KNOWN[scoring.task] = scoring


def scoring_of(of: Tasked | str) -> Scoring:
    """Return how targets of one kind are judged.

    Parameters
    ----------
    of : str, or an object with a ``task``
        Such as ``"binary"``, a report, a board.

    Returns
    -------
    Scoring
        What was registered under that name.

    Raises
    ------
    ConfigurationError
        If nothing was.

    Examples
    --------
    >>> from asfusion.evaluation.registry import scoring_of
    >>> scoring_of("regression").primary
    'mae'
    """
    task = of if isinstance(of, str) else of.task
    return _KNOWN[check_choice(task, "task", list(_KNOWN))]


def tasks_with(option: str) -> str:
    """Return the tasks to which an option of `evaluate` belongs, in words."""
    return " or ".join(task for task, scoring in _KNOWN.items() if option in scoring.options)


for _scoring in (
    BinaryScoring(),
    ClassScoring(),
    GradeScoring(),
    LabelScoring(),
    NumberScoring(),
    CountScoring(),
    SurvivalScoring(),
):
    register_scoring(_scoring)
