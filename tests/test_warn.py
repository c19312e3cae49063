"""Warnings name the line of the user, however deep the call."""

import functools
import threading
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from asfusion import _warn
from asfusion._warn import warn_user
from asfusion.exceptions import AsfusionWarning


def caught(call: Callable[[], Any]) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        call()
    return said


def inside(call: Callable[[], Any], file: str = "deep.py") -> Callable[[], Any]:
    """Return a function that calls from a file of the package."""
    code = compile("def run():\n    return call()\n", _warn._PACKAGE + file, "exec")
    names: dict[str, Any] = {"call": call, "__name__": "asfusion.deep"}
    exec(code, names)
    assert isinstance(names["run"], FunctionType)
    return names["run"]


def test_line_of_the_caller_is_named() -> None:
    (w,) = caught(lambda: warn_user("Look."))
    assert (w.filename, w.category, str(w.message)) == (__file__, AsfusionWarning, "Look.")
    (w,) = caught(inside(inside(lambda: inside(functools.partial(warn_user, "Look."))())))
    assert w.filename == __file__


def test_libraries_between_are_passed_over() -> None:
    @contextmanager
    def within() -> Any:
        yield
        warn_user("On leaving.")

    def leave() -> None:
        with within():
            pass

    (w,) = caught(inside(inside(leave)))
    assert w.filename == __file__
    ask = inside(functools.partial(warn_user, "In a pipeline.", FutureWarning))
    pipeline = make_pipeline(FunctionTransformer(lambda X: (ask(), X)[1]))
    (w,) = caught(lambda: pipeline.fit_transform([[0.0]]))
    assert (w.filename, w.category) == (__file__, FutureWarning)


def test_a_thread_of_its_own_names_the_outermost_line() -> None:
    def run() -> None:
        thread = threading.Thread(target=inside(functools.partial(warn_user, "Alone.")))
        thread.start()
        thread.join()

    (w,) = caught(run)
    assert w.filename == threading.__file__


def test_a_line_is_told_once_as_python_does() -> None:
    tell = inside(functools.partial(warn_user, "Again."))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for _ in range(3):
            tell()
        tell()
    assert [w.filename for w in said] == [__file__] * 2
    assert said[0].lineno != said[1].lineno


def test_a_filter_turns_it_into_an_error() -> None:
    with pytest.raises(AsfusionWarning, match="Look"):
        warn_user("Look.")
