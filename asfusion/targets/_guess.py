"""Which target is meant, where the user does not say it."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from asfusion._checks import check_choice
from asfusion.survival._read import is_times
from asfusion.targets._base import Target
from asfusion.targets._read import complete_array
from asfusion.targets._tasks import AUTO, FILES, TASKS
from asfusion.targets.classes import Classes
from asfusion.targets.grades import Grades, ordered_categories
from asfusion.targets.labels import Labels, looks_like_labels
from asfusion.targets.numbers import Numbers
from asfusion.targets.survival import Survival

MOST_CLASSES = 10  # whole numbers with more distinct values are taken for a quantity


def guess_target(y: NDArray[Any]) -> Target:
    """Return what a column asks for: text, booleans and few whole numbers are classes."""
    if y.ndim == 2:
        return Numbers()
    if y.dtype.kind not in "iuf":
        return Classes()
    if y.dtype.kind == "f" and not (y == np.round(y)).all():
        return Numbers()
    return Classes() if len(np.unique(y)) <= MOST_CLASSES else Numbers()


def read_target(task: Any, y: Any, n_rows: int) -> Target:
    """Return the target that is named, given, or guessed from y as the user has it."""
    if isinstance(task, Target):
        given: Target = clone(task)
        return given
    name = check_choice(task, "task", TASKS)
    if name != AUTO:
        return _named(FILES[name])
    if is_times(y):
        return Survival()
    if looks_like_labels(y):
        return Labels()
    return Grades() if ordered_categories(y) else guess_target(complete_array(y, n_rows))


def _named(file: str) -> Target:
    """Return the target that a file of this room holds, by its defaults."""
    module = importlib.import_module(f"asfusion.targets.{file}")
    made: Target = getattr(module, file.capitalize())()
    return made
