"""Odd tables end in a fit or in one of our errors, and no word of a patient comes out."""

from __future__ import annotations

import contextlib
import io
import re
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import asfusion as af
from asfusion.exceptions import AsfusionError, InputError, InputTypeError

from ..forging.tables import odd_table

SEEDS = range(10)


def _network(family: str) -> Any:
    return getattr(af, f"JointFusion{family}")(max_epochs=1)


MODELS: dict[str, Callable[[], Any]] = {
    "early classifier": lambda: af.EarlyFusionClassifier(network=_network("Classifier"), verbose=0),
    "early regressor": lambda: af.EarlyFusionRegressor(network=_network("Regressor"), verbose=0),
    "joint": lambda: _network("Classifier").set_params(verbose=0),
    "late": lambda: af.LateFusionRegressor(
        "auto", "network", network=_network("Regressor"), verbose=0
    ),
    "recalibrated": lambda: af.RecalibratedClassifier(MODELS["early classifier"](), cv=2),
    "conformal": lambda: af.ConformalRegressor(MODELS["early regressor"](), coverage=0.5),
    "index": lambda: af.BasdaiRegressor(interval_folds=2),
}


def told(work: Callable[[], Any]) -> tuple[AsfusionError | None, str]:
    """Return the error of a piece of work, if any, and all text that came out of it."""
    said, error = io.StringIO(), None
    with (
        warnings.catch_warnings(record=True) as warned,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        warnings.simplefilter("always")
        try:
            work()
        except AsfusionError as caught:
            error = caught
            assert caught.__context__ is caught.__cause__ is None
            said.write("".join(traceback.format_exception(caught)) + repr(caught))
    return error, said.getvalue() + "".join(str(one.message) for one in warned)


def asked(model: Any, seed: int) -> list[Callable[[], Any]]:
    X, *_ = odd_table(seed)
    other, z, _, _, _ = odd_table(seed + 1)
    named = [getattr(model, name, None) for name in ("predict", "predict_proba")]
    answers = [lambda ask=ask: ask(X) for ask in named if ask is not None]  # type: ignore[misc]
    return [*answers, lambda: model.predict(other), lambda: model.score(X, z)]


@pytest.mark.parametrize("name", MODELS)
def test_odd_tables_end_in_a_fit_or_in_one_error(name: str) -> None:
    for seed in SEEDS:
        X, y, groups, weight, words = odd_table(seed)
        model = MODELS[name]()
        weighted = {} if name == "conformal" else {"sample_weight": weight}
        error, text = told(lambda: model.fit(X, y, groups=groups, **weighted))  # noqa: B023
        assert error is None or re.search(
            "expected|diverged|requires|features as input|Complex", str(error)
        )
        if error is None:
            text += "".join(told(work)[1] for work in asked(model, seed))
        assert not any(word in text for word in words), (seed, text)


# -- what each is told ---------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.arange(12) % 2
ROWS = [
    (X[0], "2-D array .* got 1 dimension.* Reshape your data"),
    (X[:, :, None], "2-D array .* got 3 dimension"),
    (np.array(1.0), "got 0 dimension"),
    (X[:0], r"0 sample\(s\) \(shape=\(0, 3\)\)"),
    (X[:, :0], r"0 feature\(s\) \(shape=\(12, 0\)\)"),
    (X * 1j, "Complex data not supported"),
    (X.astype("datetime64[s]"), "array of numbers, got dates"),
    (X.astype("timedelta64[s]"), "array of numbers, got durations"),
    ([[1.0], [1.0, 2.0]], "got a list that is none, such as rows of several"),
    ({1, 2}, "or a 2-D array, got set"),
    (iter(X), "or a 2-D array, got"),
    (None, "or a 2-D array, got NoneType"),
    (7, "or a 2-D array, got int"),
    (np.where(X > 0, np.inf, 1.0), r"infinity in \d+ cell\(s\), the first in row \d, column \d"),
    (np.full((12, 3), 10**400, dtype=object), "or numbers too large"),
]


@pytest.mark.parametrize(("rows", "match"), ROWS)
def test_dimensions_and_types_are_told_first(rows: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        af.EarlyFusionClassifier(verbose=0).fit(rows, Y)


def test_rows_at_predict_are_told_like_rows_at_fit() -> None:
    model = af.EarlyFusionClassifier(verbose=0).fit(X, Y)
    for rows, match in ROWS[:4]:
        with pytest.raises(InputError, match=match) as caught:
            model.predict(rows)
        assert f"{X[0, 0]:.3f}" not in str(caught.value)
    with pytest.raises(
        InputError, match="X has 2 features, but .* expecting 3 .* Pass the columns"
    ):
        model.predict(X[:, :2])
    table = pd.DataFrame(X, columns=["crp", "esr", "bmi"])
    named = af.EarlyFusionClassifier(verbose=0).fit(table, Y)
    with pytest.raises(InputError, match=r"columns of fit, in their order(?s:.*)Select them"):
        named.predict(table[["crp", "bmi", "esr"]].assign(extra=1.0))


def test_cells_that_are_no_numbers_are_told_by_type() -> None:
    rows = X.astype(object)
    rows[3, 1] = {"Mustermann": 1}
    with pytest.raises(InputTypeError, match="argument must be a string or a real number"):
        af.EarlyFusionClassifier(verbose=0).fit(rows, Y)
    scipy = pytest.importorskip("scipy.sparse")
    with pytest.raises(InputTypeError, match=r"got sparse data. Pass X.toarray"):
        af.EarlyFusionClassifier(verbose=0).fit(scipy.csr_matrix(X), Y)


def test_a_tensor_and_missing_cells_of_any_name_are_read() -> None:
    expected = af.EarlyFusionClassifier(verbose=0).fit(X, Y).predict_proba(X)
    found = af.EarlyFusionClassifier(verbose=0).fit(torch.tensor(X), Y).predict_proba(X.tolist())
    np.testing.assert_allclose(found, expected)
    rows = X.astype(object)
    rows[0, 0], rows[1, 1], rows[2, 2] = None, pd.NA, pd.NaT
    blank = X.copy()
    blank[[0, 1, 2], [0, 1, 2]] = np.nan
    left, right = (af.EarlyFusionClassifier(verbose=0).fit(one, Y) for one in (rows, blank))
    np.testing.assert_array_equal(left.predict_proba(rows), right.predict_proba(blank))


TARGETS = [
    (np.ma.masked_array(Y, mask=Y > 0), "y: expected a value for every row, got 6 masked"),
    (
        [[1], [1, 2]] * 6,
        r"y: expected one entry, .* got a list that is no array \(1 to 2 entries in a row\). Give",
    ),
    (pd.Series([[1, 0], [0, 1]] * 6), r"got a Series that is no array \(2 entries in a cell\)"),
    (np.array([("a", 1)] * 12, dtype=[("a", "U2"), ("b", int)]), "y: expected .* got dtype"),
    (np.array([1, "a"] * 6, dtype=object), "labels of one type .* Unknown label type"),
    (X[:, 0], "Unknown label type: use a Regressor"),
]


@pytest.mark.parametrize(("y", "match"), TARGETS)
def test_odd_targets(y: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        af.EarlyFusionClassifier(verbose=0).fit(X, y)


RAGGED = [[1, 0], [1], [0, 1], [0, 1]] * 3


@pytest.mark.parametrize("y", [RAGGED, pd.Series(RAGGED)], ids=["list", "series"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda y: af.EarlyFusionRegressor(verbose=0).fit(X, y),
        lambda y: af.EarlyFusionMultilabel(verbose=0).fit(X, y),
        lambda y: af.compare(X, y, cv=2, verbose=0),
        lambda y: af.cross_validate(af.EarlyFusionRegressor(verbose=0), X, y, cv=2, verbose=0),
        lambda y: af.evaluate(np.full(12, 0.5), y=y, n_bootstrap=5),
        lambda y: af.look(pd.DataFrame(X).add_prefix("x"), y),
    ],
    ids=["regressor", "multilabel", "compare", "cross_validate", "evaluate", "look"],
)
def test_rows_of_several_lengths_are_refused_everywhere(ask: Any, y: Any) -> None:
    match = r"per row of X, got a \w+ that is no array \(1 to 2 entries in a row\). Give every row"
    with pytest.raises(InputError, match=match):
        ask(y)


def test_numbers_are_numbers() -> None:
    for y in (np.array(["1.5", "2"] * 6, dtype=object), Y.astype("datetime64[D]")):
        with pytest.raises(InputError, match="y: expected numbers, got dtype"):
            af.EarlyFusionRegressor(verbose=0).fit(X, y)
    sparse = pytest.importorskip("scipy.sparse").csr_matrix(Y[:, None])
    with pytest.raises(InputTypeError, match="y: expected a dense array, got sparse data"):
        af.EarlyFusionRegressor(verbose=0).fit(X, sparse)
    with pytest.raises(InputError, match=r"n_targets\), got no target"):
        af.EarlyFusionRegressor(verbose=0).fit(X, np.ones((12, 0)))
    with pytest.raises(InputError, match="y: expected one target, got 2. Fit a model for each"):
        af.BasdaiRegressor().fit(X, np.ones((12, 2)))


def test_masked_cells_are_missing() -> None:
    masked = np.ma.masked_greater(X, 0.8)
    blank = masked.filled(np.nan)
    for family in (af.EarlyFusionClassifier, af.LateFusionClassifier):
        network = af.JointFusionClassifier(max_epochs=1)
        models = [family(verbose=0, network=network, random_state=0) for _ in range(2)]
        left, right = (m.fit(rows, Y) for m, rows in zip(models, (masked, blank), strict=True))
        np.testing.assert_array_equal(left.predict_proba(masked), right.predict_proba(blank))
    encoder = af.TabularEncoder().fit(masked)
    np.testing.assert_array_equal(encoder.transform(masked), encoder.transform(blank))
    hidden = np.ma.masked_array(np.ones(12), mask=Y > 0)
    for name, value in (("y", hidden), ("predictions", hidden)):
        given = {"y": Y, "predictions": np.full(12, 0.5)} | {name: value}
        with pytest.raises(InputError, match=f"{name}: expected a value .* got 6 masked"):
            af.evaluate(given["predictions"], None, given["y"])
    for name in ("groups", "sample_weight"):
        with pytest.raises(InputError, match=f"{name}: expected a value .* got 6 masked"):
            af.EarlyFusionClassifier(verbose=0).fit(X, Y, **{name: hidden})


def test_weights_and_groups_of_odd_types() -> None:
    for weight in (np.ones(12) * 1j, np.ones(12).astype("timedelta64[s]"), {"a": 1.0}):
        with pytest.raises(InputError, match="sample_weight: expected numbers, got another"):
            af.EarlyFusionClassifier(verbose=0).fit(X, Y, sample_weight=weight)
    with pytest.raises(InputError, match="sample_weight: expected a finite sum"):
        af.EarlyFusionClassifier(verbose=0).fit(X, Y, sample_weight=np.full(12, 1e308))
    with pytest.raises(InputError, match="one label per row, got rows of several lengths"):
        af.EarlyFusionClassifier(verbose=0).fit(X, Y, groups=[[1], [1, 2]] * 6)


def test_scores_read_targets_as_fit_does() -> None:
    model = af.EarlyFusionClassifier(verbose=0).fit(X, Y)
    assert model.score(X, Y) == np.mean(model.predict(X) == Y)
    with pytest.raises(InputError, match="y: expected labels of the type of fit, int64"):
        model.score(X, Y.astype(str))
    with pytest.raises(InputError, match="y: expected 12 entries"):
        model.score(X, Y[:3])
    regressor = af.EarlyFusionRegressor(verbose=0).fit(X, X[:, :2])
    assert 0.9 < regressor.score(X, X[:, :2], np.arange(1, 13)) <= 1.0
    with pytest.raises(InputError, match=r"y: expected 2 target\(s\) per row, as in fit"):
        regressor.score(X, X[:, 0])


def test_wrappers_tell_what_cannot_be_divided() -> None:
    import polars as pl
    from sklearn.linear_model import LogisticRegression

    model = af.RecalibratedClassifier(LogisticRegression(), cv=2)
    with pytest.raises(InputError, match=r"lazy LazyFrame. Call .collect"):
        model.fit(pl.LazyFrame({"crp": [1.0]}), [1])
    with pytest.raises(InputError, match="which has no rows to divide"):
        model.fit(iter(X), Y)
    model.fit(X, Y)
    with pytest.raises(InputError, match="X has 2 features, but LogisticRegression is expecting 3"):
        model.predict(X[:, :2])
