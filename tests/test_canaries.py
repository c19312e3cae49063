"""No word of a patient in any text of the public face: canaries in cells, indices and file names.

Every public function and every class with a `fit` is called with odd things in the place of its
arguments. What comes out is an answer, or an error that shows none of them; nor does a warning,
what is printed or logged, the chain of errors behind it, or a traceback.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import asfusion as af

from .test_public_api import public_objects

WORD = "canary7319q"
N = 12

# What stands for data: each holds the word wherever a cell, a label or a path may be.
DATA: dict[str, Callable[[], Any]] = {
    "text": lambda: [f"{WORD} {row}" for row in range(N)],
    "series": lambda: pd.Series(
        [f"{WORD} {row}" for row in range(N)], index=[f"{WORD}{row}" for row in range(N)]
    ),
    "numbers under odd labels": lambda: pd.Series(
        np.arange(N) * 1e6 - 5.0, index=[f"{WORD}{row}" for row in range(N)]
    ),
    "polars": lambda: pl.Series([f"{WORD} {row}" for row in range(N)]),
    "table": lambda: table(),
    "table of polars": lambda: pl.from_pandas(table().reset_index(drop=True)),
    "mixed cells": lambda: table().assign(crp=pd.Series([WORD, 1, None, {WORD}] * 3, dtype=object)),
    "records": lambda: [{"crp": WORD, WORD: 1}] * N,
    "array": lambda: np.array([[f"{WORD} {row}", 1.0] for row in range(N)], dtype=object),
    "row": lambda: np.array([WORD, 3.0], dtype=object),
    "path": lambda: f"/data/{WORD}/film.dcm",
    "bytes": lambda: WORD.encode(),
    "dates": lambda: [f"2024-02-31 {WORD}"] * N,
    "ragged": lambda: [[WORD], [WORD, WORD]] * 6,
}


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "crp": [f"{WORD}{row}" for row in range(N)],
            "note": [f"{WORD} pain at night"] * N,
            "xray": [f"/data/{WORD}/{row}.png" for row in range(N)],
        },
        index=[f"{WORD} {row}" for row in range(N)],
    )


@contextlib.contextmanager
def listening() -> Iterator[Callable[[], str]]:
    """Collect what is printed, logged and warned of."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with (
            warnings.catch_warnings(record=True) as warned,
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            warnings.simplefilter("always")
            yield lambda: said.getvalue() + "".join(str(one.message) for one in warned)
    finally:
        root.removeHandler(handler)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        found = waiting.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [found.__cause__, found.__context__]


def text_of(work: Callable[[], Any]) -> str:
    """Return every text that comes out of a piece of work but its answer."""
    with listening() as said:
        text = ""
        try:
            work()
        except TypeError as error:
            # Wrong arguments are Python's to tell: they name the argument.
            assert "argument" in str(error) or isinstance(error, af.exceptions.AsfusionError)
            text = shown(error)
        except af.exceptions.AsfusionError as error:
            text = shown(error)
        return text + said()


def shown(error: BaseException) -> str:
    parts = [f"{one!s} {one!r} {getattr(one, '__notes__', '')}" for one in chain(error)]
    return "\n".join([*parts, *traceback.format_exception(error)])


def arguments(function: Callable[..., Any], data: Callable[[], Any]) -> dict[str, Any]:
    """Return something for each argument that must be given."""
    parameters = inspect.signature(function).parameters.values()
    needed = [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    return {name: data() for name in needed if name != "self"}


FUNCTIONS = {
    name: value
    for name, value in public_objects().items()
    if not inspect.isclass(value) and not name.endswith(("make_axspa_cohort", "show_versions"))
}
LEARNERS = {
    name: value
    for name, value in public_objects().items()
    if inspect.isclass(value) and hasattr(value, "fit") and not inspect.isabstract(value)
}
_NAMED = {"ImageEncoder", "TextEncoder", "VolumeEncoder", "SliceEncoder", "ConceptEncoder"}


def learner(kind: type) -> Any:
    name = kind.__name__
    if name in ("RecalibratedClassifier", "ConformalClassifier"):
        return kind(af.EarlyFusionClassifier(verbose=0))
    if name == "ConformalRegressor":
        return kind(af.EarlyFusionRegressor(verbose=0))
    if name.startswith("JointFusion"):
        return kind(max_epochs=1, verbose=0)
    needed = arguments(kind.__init__, lambda: "note")
    return kind(**needed)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_show_no_cell(name: str) -> None:
    for what, data in DATA.items():
        text = text_of(lambda: FUNCTIONS[name](**arguments(FUNCTIONS[name], data)))  # noqa: B023
        # Names of columns, of which the word is one in the records, are shown.
        assert WORD not in text.replace(f"'{WORD}'", ""), (what, text)
    # Data where a choice is expected: the last argument alone is what it should be.
    text = text_of(lambda: FUNCTIONS[name](*[table()["crp"]] * 3))
    assert WORD not in text, text


@pytest.mark.parametrize("name", LEARNERS)
def test_estimators_and_encoders_show_no_cell(name: str) -> None:
    for what, data in DATA.items():
        model = learner(LEARNERS[name])
        text = text_of(lambda: model.fit(data(), data()))  # noqa: B023
        text += text_of(lambda: model.fit(table(), np.arange(N) % 2))  # noqa: B023
        for ask in ("predict", "predict_proba", "transform", "prepare", "score"):
            if hasattr(model, ask):
                own = [data()] * (2 if ask == "score" else 1)
                text += text_of(lambda: getattr(model, ask)(*own))  # noqa: B023
        assert WORD not in text, (what, text)
