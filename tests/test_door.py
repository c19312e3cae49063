"""The door of the public face: our errors, nothing behind them, and no word of a cell."""

from __future__ import annotations

import copy
import traceback
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

import asfusion as af
from asfusion._door import learns, public
from asfusion.exceptions import (
    AsfusionError,
    ConfigurationError,
    FileError,
    ForeignError,
    InputError,
    InputTypeError,
    UnfittedError,
)

WORD = "Mustermann"


class Cell:
    """What cannot be a number, and says so in words of its own."""

    def __float__(self) -> float:
        raise ValueError(f"not a number: {WORD}")


@public
def fails(error: BaseException) -> None:
    try:
        raise KeyError(WORD)
    except KeyError:
        raise error  # noqa: B904 (what hangs on it is what is tested)


def caught(error: BaseException) -> BaseException:
    with pytest.raises(type(error) if isinstance(error, AsfusionError) else AsfusionError) as found:
        fails(error)
    assert WORD not in "".join(traceback.format_exception(found.value))
    assert found.value.__context__ is found.value.__cause__ is None
    return found.value


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError(WORD), InputError),
        (KeyError(WORD), InputError),
        (OverflowError(WORD), InputError),
        (UnicodeDecodeError("utf-8", WORD.encode(), 0, 1, WORD), InputError),
        (TypeError(WORD), InputTypeError),
        (RuntimeError(WORD), ForeignError),
        (OSError(28, "No space left on device", WORD), FileError),
        (PermissionError(13, "Permission denied", WORD), FileError),
        (AttributeError(WORD, name=WORD, obj=WORD), ForeignError),
        (ExceptionGroup(WORD, [ValueError(WORD)]), ForeignError),
        (NotFittedError(WORD), UnfittedError),
    ],
)
def test_a_foreign_error_becomes_one_of_ours(error: Exception, kind: type[Exception]) -> None:
    error.add_note(WORD)
    found = caught(error)
    assert type(found).__mro__.index(kind) <= 1
    assert WORD not in repr(vars(found)) + repr(found.args)
    kind_again, args = found.__reduce__()[:2]  # as it is sent between processes
    assert str(kind_again(*args)) == str(found)


def test_the_traceback_leads_to_the_place() -> None:
    found = caught(ValueError(WORD))
    assert traceback.extract_tb(found.__traceback__)[-1].name == "fails"
    assert f"got ValueError in {__name__}, line" in str(found)


def test_a_path_is_left_out_and_what_the_system_says_is_not() -> None:
    error = FileNotFoundError(2, "No such file", WORD)
    assert "(No such file)" in str(caught(error))


def test_our_errors_go_on_alone() -> None:
    assert str(caught(InputError("y: expected more."))) == "y: expected more."


def test_what_shows_no_cell_is_told() -> None:
    said = "Found array with 0 sample(s) (shape=(0, 3)) while a minimum of 1 is required by X."
    assert "(shape=(0, 3)) while a minimum of 1 is required. More" in str(caught(ValueError(said)))
    said = f"Expected 2D array, got 1D array instead:\narray=[{WORD}].\nReshape"
    assert "got 1D array instead. Reshape your data" in str(caught(ValueError(said)))
    said = f"Input X contains infinity or {WORD}"
    assert "Input X contains infinity. More" in str(caught(ValueError(said)))


def test_wrong_arguments_stopping_and_memory_are_not_ours() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'rows'"):
        af.EarlyFusionClassifier().fit([[1.0], [2.0]], [0, 1], rows=3)
    with pytest.raises(KeyboardInterrupt):
        fails(KeyboardInterrupt())
    with pytest.raises(MemoryError):
        fails(MemoryError())
    with pytest.raises(UserWarning):
        fails(UserWarning("a warning that is an error"))


def test_parameters_of_others_are_told_without_their_value() -> None:
    X, y = np.arange(8.0)[:, None], np.arange(8) % 2
    model = af.EarlyFusionClassifier(estimator=LogisticRegression(C=WORD))
    with pytest.raises(
        ConfigurationError, match="The 'C' parameter of LogisticRegression"
    ) as found:
        model.fit(X, y)
    assert WORD not in str(found.value)


def test_unfitted_is_known_to_scikit_learn() -> None:
    with pytest.raises(NotFittedError, match="EarlyFusionClassifier: expected a fitted one"):
        af.EarlyFusionClassifier().predict([[1.0]])
    with pytest.raises(UnfittedError, match="TabularEncoder: expected a fitted one"):
        af.TabularEncoder().transform(pd.DataFrame({"crp": [1.0]}))


def test_an_encoder_of_ones_own_stands_behind_the_door() -> None:
    class Own(af.TabularEncoder):
        def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Own:
            self.half_ = 1
            raise ValueError(WORD)

    encoder = Own()
    with pytest.raises(InputError, match="Own.fit: expected input .* got ValueError"):
        encoder.fit(pd.DataFrame({"crp": [1.0]}))
    assert not hasattr(encoder, "half_")


def test_learning_takes_over_everything_or_nothing() -> None:
    class Learner:
        def __init__(self, how: int) -> None:
            self.how = how

        @learns
        def fit(self, X: Any) -> Learner:
            assert not hasattr(self, "old_")
            self.new_ = X
            if X is None:
                raise KeyboardInterrupt
            return self

    learner = Learner(3)
    learner.old_ = 1  # type: ignore[attr-defined]
    before = copy.copy(vars(learner))
    with pytest.raises(KeyboardInterrupt):
        learner.fit(None)
    assert vars(learner) == before
    assert learner.fit(5) is learner
    assert vars(learner) == {"how": 3, "new_": 5}
