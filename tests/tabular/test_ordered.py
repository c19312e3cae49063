"""Ordered categories are numbers in the order that was given; polars' Enum is one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import asfusion as af
from asfusion._frames import Frame
from asfusion.exceptions import AsfusionWarning, ColumnError
from asfusion.tabular.preprocess import TablePreprocessor

LEVELS = ["none", "mild", "severe"]  # the alphabet would begin with mild
CELLS = ["severe", "none", None, "mild", "none"]


def in_pandas(cells: Any = CELLS, levels: Any = LEVELS, *, ordered: bool = True) -> pd.DataFrame:
    return pd.DataFrame({"pain": pd.Categorical(cells, categories=levels, ordered=ordered)})


def in_polars(cells: Any = CELLS, levels: Any = LEVELS) -> pl.DataFrame:
    return pl.DataFrame({"pain": pl.Series(cells, dtype=pl.Enum(levels))})


@pytest.mark.parametrize("X", [in_pandas(), in_polars()], ids=["pandas", "polars"])
def test_levels_are_numbers_in_their_order(X: Any) -> None:
    encoder = af.TabularEncoder("pain").fit(X)
    assert list(encoder.get_feature_names_out()) == ["pain", "pain_missing"]
    features = encoder.transform(X)
    # Median 0 (none), quartiles 0 and 1, as of any number.
    assert features[[0, 1, 3, 4]].tolist() == [[2, 0], [0, 0], [1, 0], [0, 0]]
    assert np.isnan(features[2]).all()
    state = json.loads(json.dumps(encoder.plan_))
    assert state[0]["kind"] == "ordered" and state[0]["levels"] == LEVELS


def test_a_level_without_training_rows_keeps_its_place() -> None:
    X = in_pandas(["none", "severe", "none", "severe"])
    plan = TablePreprocessor().fit(X, ["pain"])
    middle = plan.transform(in_pandas(["none", "mild", "severe"]))[:, 0]
    assert middle[1] - middle[0] == middle[2] - middle[1] > 0


def test_names_count_later_whatever_the_type_is() -> None:
    plan = TablePreprocessor().fit(in_pandas(), ["pain"])
    expected = plan.transform(in_pandas())
    for X in (
        in_polars(),
        in_pandas(ordered=False),
        in_pandas(levels=["severe", "mild", "none"]),
        in_pandas().astype(object),
        pl.DataFrame({"pain": CELLS}),
    ):
        np.testing.assert_array_equal(plan.transform(X), expected)
    for X in (pd.DataFrame({"pain": [np.nan, np.nan]}), pl.DataFrame({"pain": [None, None]})):
        assert plan.transform(X).tolist() == [[0, 1], [0, 1]]
    with pytest.raises(ColumnError, match="'pain': expected ordered cells as in fit, got number"):
        plan.transform(pd.DataFrame({"pain": [1.0, 2.0]}))


def test_unknown_levels_are_missing_and_told_where_all_are() -> None:
    plan = TablePreprocessor().fit(in_pandas(), ["pain"])
    some = pl.DataFrame({"pain": ["severe", "worst"]})
    assert plan.transform(some).tolist() == [[2, 0], [0, 1]]
    with pytest.warns(AsfusionWarning, match="Column 'pain': none of the cells has a level"):
        plan.transform(pl.DataFrame({"pain": ["Severe"] * 5}))


def test_levels_that_are_numbers_keep_their_order() -> None:
    X = in_pandas([1, 10, 2, 1, None], levels=[1, 2, 10])
    plan = TablePreprocessor().fit(X, ["pain"])
    assert plan.plans[0].levels == ("1", "2", "10")
    found = plan.transform(X)[:, 0]
    assert found[0] < found[2] < found[1]


@pytest.mark.parametrize(
    "column",
    [pd.Series(CELLS, dtype="category"), pl.Series(CELLS, dtype=pl.Categorical), pd.Series(CELLS)],
    ids=["pandas", "polars", "text"],
)
def test_other_categories_stay_categories(column: Any) -> None:
    X = pd.DataFrame({"pain": column}) if isinstance(column, pd.Series) else column.to_frame("pain")
    assert Frame.read(X).order("pain") == ()
    plan = TablePreprocessor().fit(X, ["pain"])
    assert plan.feature_names() == ["pain_mild", "pain_none", "pain_severe", "pain_missing"]


def test_it_is_fused_saved_and_embedded_like_a_number(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 60)
    X = in_pandas([LEVELS[code] for code in codes]).assign(crp=rng.normal(size=60))
    for embedding in ("none", "piecewise_linear", "periodic"):
        encoder = af.TabularEncoder(network="mlp", number_embedding=embedding)
        model = af.JointFusionClassifier({"t": encoder}, max_epochs=2, verbose=0, random_state=0)
        model.fit(X, (codes > 0).astype(int))
        path = model.save(tmp_path / "model.asf")
        np.testing.assert_array_equal(af.load(path).predict_proba(X), model.predict_proba(X))
