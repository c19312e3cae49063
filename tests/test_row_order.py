"""Rows whose labels stand in another order are refused wherever rows meet: nothing else notices."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import asfusion as af
from asfusion.baselines import compare_baselines
from asfusion.exceptions import CircularityError, InputError

N = 60
RNG = np.random.default_rng(0)
NAMES = [f"P{i:02d}" for i in range(N)]
X = pd.DataFrame(RNG.normal(size=(N, 2)), columns=["crp", "bmi"], index=NAMES)
Y = (X["crp"] + RNG.normal(size=N) > 0).astype(int).rename("ill")
INDEX = (5 + X["crp"]).clip(0, 10).rename("index")
PATIENT = pd.Series(np.arange(N) // 2, index=NAMES)
WEIGHT = pd.Series(1.0, index=NAMES)
OTHER = np.roll(np.arange(N), 7)
QUICK = {"n_bootstrap": 20}


def _model() -> Any:
    encoders = {"labs": af.TabularEncoder(["crp"]), "body": af.TabularEncoder(["bmi"])}
    return af.EarlyFusionClassifier(encoders, verbose=0, random_state=0)


FITTED = _model().fit(X, Y)
CALLS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "fit": ("y", lambda mixed: _model().fit(X, mixed(Y))),
    "fit by patient": ("groups", lambda mixed: _model().fit(X, Y, groups=mixed(PATIENT))),
    "fit weighted": (
        "sample_weight",
        lambda mixed: _model().fit(X, Y, sample_weight=mixed(WEIGHT)),
    ),
    "evaluate": ("y", lambda mixed: af.evaluate(FITTED, X, mixed(Y), **QUICK)),
    "evaluate by patient": (
        "groups",
        lambda mixed: af.evaluate(FITTED, X, Y, groups=mixed(PATIENT), **QUICK),
    ),
    "evaluate predictions": (
        "y",
        lambda mixed: af.evaluate(X["crp"].clip(0.1, 0.9), y=mixed(Y), **QUICK),
    ),
    "audit": ("y", lambda mixed: af.audit_subgroups(FITTED, X, mixed(Y), by="bmi", **QUICK)),
    "audit by": (
        "by['site']",
        lambda mixed: af.audit_subgroups(FITTED, X, Y, by={"site": mixed(PATIENT % 2)}, **QUICK),
    ),
    "probe": (
        "site",
        lambda mixed: af.site_probe(FITTED, X, mixed(PATIENT % 2), n_permutations=19),
    ),
    "cross_validate": ("y", lambda mixed: af.cross_validate(_model(), X, mixed(Y), cv=2, **QUICK)),
    "cross_validate by patient": (
        "groups",
        lambda mixed: af.cross_validate(_model(), X, Y, groups=mixed(PATIENT), cv=2, **QUICK),
    ),
    "cross_validate by site": (
        "sites",
        lambda mixed: af.cross_validate(
            _model(), X, Y, sites=mixed(PATIENT % 2), cv="by_site", **QUICK
        ),
    ),
    "compare": (
        "y",
        lambda mixed: af.compare(X, mixed(Y), cv=2, families=("early",), verbose=0, **QUICK),
    ),
    "compare by patient": (
        "groups",
        lambda mixed: af.compare(
            X, Y, _model().encoders, groups=mixed(PATIENT), cv=2, families=("early",), verbose=0
        ),
    ),
    "find_duplicates": ("groups", lambda mixed: af.find_duplicates(X, groups=mixed(PATIENT))),
    "recalibrate": (
        "groups",
        lambda mixed: af.RecalibratedClassifier(_model(), cv=2).fit(X, Y, groups=mixed(PATIENT)),
    ),
    "conformal": (
        "groups",
        lambda mixed: af.ConformalClassifier(_model()).fit(X, Y, groups=mixed(PATIENT)),
    ),
    "index": (
        "groups",
        lambda mixed: af.BasdaiRegressor("mean").fit(X[["bmi"]], INDEX, groups=mixed(PATIENT)),
    ),
    "indices": (
        "groups",
        lambda mixed: compare_baselines(X[["bmi"]], INDEX, mixed(PATIENT), models=["mean"]),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_rows_are_met_in_one_order(name: str) -> None:
    told, call = CALLS[name]
    with pytest.raises(InputError, match="expected rows in one order, got the same index") as error:
        call(lambda column: column.iloc[OTHER])
    assert f"and {told}:" in str(error.value)


@pytest.mark.parametrize("name", ["evaluate by patient", "compare by patient", "find_duplicates"])
@pytest.mark.filterwarnings("ignore::asfusion.exceptions.AsfusionWarning")
def test_columns_without_or_with_other_labels_go_by_place(name: str) -> None:
    _, call = CALLS[name]
    for as_given in (
        lambda column: column,
        lambda column: column.to_numpy(),
        lambda column: pl.Series(column.to_numpy()),
        lambda column: column.reset_index(drop=True),
    ):
        call(as_given)


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both visits of a patient have one label."""
    labels = np.asarray(NAMES)[np.arange(N) // 2]
    for column in ("X", "Y", "INDEX", "PATIENT", "WEIGHT"):
        monkeypatch.setitem(globals(), column, globals()[column].set_axis(labels))


@pytest.mark.usefixtures("visits")
@pytest.mark.parametrize(
    "name",
    [
        "fit by patient",
        "evaluate by patient",
        "audit by",
        "probe",
        "cross_validate by patient",
        "compare by patient",
        "find_duplicates",
        "recalibrate",
        "index",
    ],
)
@pytest.mark.filterwarnings("ignore::asfusion.exceptions.AsfusionWarning")
def test_visits_of_a_patient_may_share_a_label(name: str) -> None:
    _, call = CALLS[name]
    call(lambda column: column)


@pytest.mark.usefixtures("visits")
@pytest.mark.parametrize("name", CALLS)
def test_labels_that_visits_share_are_met_place_by_place(name: str) -> None:
    told, call = CALLS[name]
    # Every label is there as often, in another order; or all are there, one less and one more.
    for rows in (OTHER, np.r_[np.arange(N - 1), 0]):
        with pytest.raises(InputError, match=f"and {re.escape(told)}: expected rows in one order"):
            call(lambda column, rows=rows: column.iloc[rows])


@pytest.mark.parametrize("family", [af.EarlyFusionClassifier, af.LateFusionClassifier])
def test_a_target_that_stayed_in_the_table_is_refused(family: Any) -> None:
    table = X.assign(ill=Y)
    with pytest.raises(CircularityError, match="Target 'ill': .* got it as a column of X"):
        family(verbose=0).fit(table, Y)
    with pytest.raises(CircularityError, match="got it as a column"):
        family(verbose=0).fit(pl.from_pandas(table), pl.from_pandas(Y))
    # Encoders that do not read it are fine, and so is what only inherited the name.
    family(verbose=0, random_state=0).fit(table.assign(ill=1 - Y.to_numpy() * X["bmi"]), Y)
    family({"labs": af.TabularEncoder("crp")}, verbose=0, random_state=0).fit(table, Y)
