"""The door of the public face: errors leave it in our words, with no cell behind them.

Libraries below show in their messages what they could not convert, and Python hangs each error
on the one that was handled before it. At the door both end: what is ours goes on alone, and what
is foreign becomes one of ours that says where it arose (its traceback is kept), not what it said.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from asfusion.exceptions import (
    AsfusionError,
    ConfigurationError,
    FileError,
    ForeignError,
    InputError,
    InputTypeError,
    OutOfMemoryError,
)

# What others say of shapes and types, up to where a cell could follow.
_SHOWS_NO_CELL = re.compile(
    r"float\(\) argument must be a string or a real number, not '\w+'"
    r"|Found array with \d+ \w+\(s\) \(shape=\([\d, ]+\)\) while a minimum of \d+ is required"
    r"|Found input variables with inconsistent numbers of samples: \[[\d, ]+\]"
    r"|X has \d+ features, but \w+ is expecting \d+ features as input"
    r"|Expected 2D array, got (scalar|1D) array instead"
    r"|Found array with dim \d+, while dim <= \d+ is required"
    r"|Input \w+ contains (NaN|infinity)"
    r"|Complex data not supported"
    r"|Unknown label type: (unknown|continuous|multilabel-indicator)"
    r"|[\w ]+ at least 2 classes in the data, but the data contains only one class"
    r"|Sparse data was passed",
    re.ASCII,
)
_RESHAPE = ". Reshape your data: X.reshape(1, -1) is one row, X.reshape(-1, 1) one column"

P = ParamSpec("P")
R = TypeVar("R")
Fit = TypeVar("Fit", bound=Callable[..., Any])

# Types that say of the input what is said in our words; anything else is another package's fault.
_OF_INPUT = (ValueError, LookupError, ArithmeticError, OSError)
_FIX = (
    "More is left out, as it may show a cell; the traceback leads to the place. Check the types "
    "and shapes of what was passed."
)


def public(function: Callable[P, R]) -> Callable[P, R]:
    """Let no error out of a call that could show a cell: see above."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            told = _told(error, _name_of(function, args))
        # Not inside `except`, where Python would hang what was caught on what is raised.
        raise told

    return call


def learns(fit: Fit) -> Fit:
    """Let a `fit` end, or leave the estimator as it was: what is learned is taken over at once.

    It learns on a copy that has the parameters and nothing that was learned before, so that an
    interrupted one leaves no half, and nothing of an older `fit` stands beside what is new.
    """

    @functools.wraps(fit)
    def whole(self: Any, *args: Any, **kwargs: Any) -> Any:
        learner = object.__new__(type(self))
        learner.__dict__ = {k: v for k, v in vars(self).items() if not _is_learned(k)}
        fit(learner, *args, **kwargs)
        self.__dict__ = learner.__dict__
        return self

    return public(whole)  # type: ignore[return-value]


def _is_learned(name: str) -> bool:
    return name.endswith("_") and not name.startswith("__")


def _name_of(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """Return what was called; a method is that of the class whose it is, not of its base."""
    if "." not in function.__qualname__ or not args:
        return function.__name__
    owner = args[0] if isinstance(args[0], type) else type(args[0])
    return f"{owner.__name__}.{function.__name__}"


def _told(error: Exception, who: str) -> Exception:
    """Return what is raised instead of an error: itself, nothing behind it, or one of ours."""
    traceback = error.__traceback__
    if _is_plain(error, traceback):
        error.__cause__ = error.__context__ = None
        return error
    return _in_our_words(error, traceback, who).with_traceback(traceback)


def _is_plain(error: Exception, traceback: TracebackType | None) -> bool:
    """Return whether an error shows no cell: ours, a warning, no memory, or a wrong argument."""
    # The call itself failed, before a line of the function ran: Python names the argument.
    is_call = isinstance(error, TypeError) and _last(traceback) is _last_of_door(traceback)
    return is_call or isinstance(error, AsfusionError | Warning | MemoryError)


def _last_of_door(traceback: TracebackType | None) -> TracebackType | None:
    """Return the last of the entries that stand in this file, if nothing stands behind it."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        if traceback.tb_next is None:
            return traceback
        traceback = traceback.tb_next
    return None


def _last(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback


def _in_our_words(error: Exception, traceback: TracebackType | None, who: str) -> AsfusionError:
    kind, module = type(error).__name__, type(error).__module__
    if kind == "NotFittedError" and module.startswith("sklearn"):
        from asfusion._unfitted import UnfittedError

        owner = who.rpartition(".")[0] or who
        msg = f"{owner}: expected a fitted one, got one that is not fitted yet. Call fit first."
        return UnfittedError(msg)
    if kind == "InvalidParameterError" and module.startswith("sklearn"):
        # What it says up to there are names of parameters and what they may be.
        said = str(error).partition(" Got ")[0]
        return ConfigurationError(f"{who}: {said} Got another value.")
    if "out of memory" in str(error):
        return OutOfMemoryError(
            f"{who}: expected memory enough, got {kind}: out of memory. Pass fewer rows at "
            "once, or use smaller images, a smaller backbone, or device='cpu'."
        )
    where = _place(traceback)
    if isinstance(error, OSError) and error.errno is not None:
        # The words of the system name no file; where it hangs one on, that is left out.
        said = f"{kind} {where} ({error.strerror}). Check free space, rights and the path."
        return FileError(error.errno, f"{who}: expected a file to read or to write, got {said}")
    msg = f"{who}: expected input that it can work with, got {kind} {where}{_said(error)}. {_FIX}"
    if isinstance(error, TypeError):
        return InputTypeError(msg)
    return InputError(msg) if isinstance(error, _OF_INPUT) else ForeignError(msg)


def _said(error: Exception) -> str:
    """Return what an error says of shapes and types; nothing, where it could show a cell."""
    found = _SHOWS_NO_CELL.match(str(error))
    if found is None:
        return ""
    return f": {found[0]}{_RESHAPE if found[0].startswith('Expected 2D') else ''}"


def _place(traceback: TracebackType | None) -> str:
    """Return the module and the line in which an error arose."""
    last = _last(traceback)
    if last is None:
        return "somewhere"
    module = last.tb_frame.f_globals.get("__name__", "?")
    return f"in {module}, line {last.tb_lineno}"
