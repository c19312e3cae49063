"""Columns that hold nothing in fit, or nothing any more, are told."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import asfusion as af
from asfusion.exceptions import AsfusionWarning

N_ROWS = 40
y = np.arange(N_ROWS) % 2
LATER = "Column 'esr' has no value in any of these rows, unlike in training"


def table(**other: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(N_ROWS, 2)), columns=["crp", "esr"])
    X["sex"] = rng.choice(["f", "m"], N_ROWS)
    X.loc[3, "sex"] = None
    return X.assign(**other)


def silent(call: Any, *rows: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(*rows)


def test_a_column_that_is_empty_in_fit_is_told_on_the_users_line(df_module: ModuleType) -> None:
    cells = {name: column.astype(object).tolist() for name, column in table(sex="f").items()}
    X = df_module.DataFrame(cells | {"bmi": [None] * N_ROWS, "note": [" "] * N_ROWS})
    with pytest.warns(AsfusionWarning, match="Columns 'bmi', 'note' have no value in any training"):
        af.TabularEncoder().fit(X)
    with pytest.warns(AsfusionWarning, match="Column 'bmi' has no value in any training row") as w:
        af.EarlyFusionClassifier({"t": af.TabularEncoder(["crp", "bmi"])}, verbose=0).fit(X, y)
    assert len(w) == 1 and w[0].filename == __file__
    with pytest.warns(AsfusionWarning, match="Column 'x1' has no value"):
        af.TabularEncoder().fit(np.column_stack([np.arange(4.0), np.full(4, np.nan)]))
    silent(af.TabularEncoder(["crp", "sex"]).fit, X)


@pytest.mark.parametrize(
    ("columns", "name"), [(["crp", "esr"], "esr"), (["crp", "sex"], "sex"), (["sex", "crp"], "crp")]
)
def test_a_column_that_is_empty_later_is_told(columns: list[str], name: str) -> None:
    encoder = af.TabularEncoder(columns).fit(table())
    empty = table(**{name: None})
    with pytest.warns(AsfusionWarning, match=f"Column '{name}' has no value in any of these rows"):
        encoder.transform(empty)
    with pytest.warns(AsfusionWarning, match=f"Column '{name}' has no value") as w:
        encoder.prepare(empty.head(21))
    assert w[0].filename == __file__


@pytest.mark.parametrize("family", ["early", "joint", "late"])
def test_estimators_tell_it_once_where_they_predict(family: str) -> None:
    parts = {"labs": af.TabularEncoder(["crp", "esr"]), "sex": af.TabularEncoder("sex")}
    network = af.JointFusionClassifier(parts, max_epochs=1, verbose=0, random_state=0)
    model: Any = network
    if family != "joint":
        face = af.EarlyFusionClassifier if family == "early" else af.LateFusionClassifier
        model = face(parts, network=network, verbose=0, random_state=0)
    silent(model.fit, table(), y)
    silent(model.predict, table())
    with pytest.warns(AsfusionWarning, match=LATER) as w:
        model.predict(table(esr=np.nan))
    assert len(w) == 1 and w[0].filename == __file__
    without = table(crp=np.nan, esr=np.nan, sex="f")  # the modality is missing, as it may
    silent(model.predict, without)


def test_few_rows_whole_modalities_and_known_gaps_are_not_told() -> None:
    encoder = af.TabularEncoder(["crp", "esr"]).fit(table())
    silent(encoder.transform, table(esr=np.nan).head(19))
    silent(encoder.transform, table(esr=np.nan, crp=np.nan))
    few = table(esr=np.nan)
    few.loc[19:, "crp"] = np.nan  # only 19 rows have the modality
    silent(encoder.transform, few)
    last = table(esr=np.nan)
    last.loc[N_ROWS - 1, "esr"] = 1.0
    silent(encoder.transform, last)
    with pytest.warns(AsfusionWarning, match="has no value in any training row"):
        never = af.TabularEncoder(["crp", "esr"]).fit(table(esr=np.nan))
    silent(never.transform, table())
    silent(never.transform, table(esr=np.nan))


def test_an_explanation_makes_rows_up_in_silence() -> None:
    X = table()
    X.loc[0, "esr"] = np.nan
    model = af.EarlyFusionClassifier({"labs": af.TabularEncoder(["crp", "esr"])}, verbose=0)
    model.fit(X, y)

    def explain() -> None:
        af.explain(model, X.head(1), background=X.head(1), verbose=0)["labs"]

    silent(explain)


def test_a_baseline_tells_both() -> None:
    index = 5 + table()["crp"].clip(-2, 2)
    baseline = af.BasdaiRegressor(tune_folds=2, random_state=0)
    with pytest.warns(AsfusionWarning, match="Column 'bmi' has no value in any training row") as w:
        baseline.fit(table(bmi=np.nan), index)
    assert len(w) == 1
    with pytest.warns(AsfusionWarning, match=LATER) as w:
        baseline.predict(table(bmi=np.nan, esr=np.nan))
    assert len(w) == 1
