"""TablePreprocessor: weights count as rows, containers agree, test rows teach nothing."""

from __future__ import annotations

import copy
import datetime
import json
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asfusion import _frames
from asfusion._frames import Frame
from asfusion.exceptions import AsfusionWarning, ColumnError, InputError
from asfusion.tabular.preprocess import TablePreprocessor, check_not_empty, column_kind

NAN = float("nan")
COLUMNS = ["crp", "sex", "smoker", "seen"]
CELLS = {
    "crp": [4.0, None, 12.0, 8.0, 500.0, 4.0],
    "sex": ["f", "m", None, "f", "f", "m"],
    "smoker": [True, False, None, False, False, True],
    "seen": [datetime.date(2024, 1, day) for day in (1, 2, 3, 4, 5)] + [None],
}
NAMES = [
    "crp",
    "crp_missing",
    "sex_f",
    "sex_m",
    "sex_missing",
    "smoker",
    "smoker_missing",
    "seen",
    "seen_missing",
]


def _table(module: ModuleType = pd, **other: Any) -> Any:
    return module.DataFrame({**CELLS, **other})


def _fit(X: Any, weights: Any = None, **parameters: Any) -> TablePreprocessor:
    return TablePreprocessor(**parameters).fit(X, list(Frame.read(X).columns), weights)


def _assert_same(left: TablePreprocessor, right: TablePreprocessor) -> None:
    """Compare what was learned; sums in another order may differ in their last bits."""
    for one, other in zip(left.to_state(), right.to_state(), strict=True):
        for name in ("center", "scale"):
            assert one.pop(name) == pytest.approx(other.pop(name), rel=1e-9, abs=1e-12)
        assert one == other


# ------------------------------------------------------------------ what comes out


def test_every_kind_of_column_becomes_numbers(df_module: ModuleType) -> None:
    X = _table(df_module)
    plan = _fit(X)
    features = pd.DataFrame(plan.transform(X), columns=plan.feature_names())
    assert list(features) == NAMES
    # Median 8, quartiles 4 and 12; 500 is more than ten such spreads away.
    assert features["crp"].tolist() == [-0.5, 0.0, 0.5, 0.0, 10.0, -0.5]
    assert features["crp_missing"].tolist() == [0, 1, 0, 0, 0, 0]
    assert features["sex_f"].tolist() == [1, 0, 0, 1, 1, 0]
    assert features["sex_missing"].tolist() == [0, 0, 1, 0, 0, 0]
    assert features["smoker"].tolist() == [1, 0, 0, 0, 0, 1]
    assert features["smoker_missing"].tolist() == [0, 0, 1, 0, 0, 0]
    assert features["seen"].tolist() == [-1, -0.5, 0, 0.5, 1, 0]
    assert features["seen_missing"].tolist() == [0, 0, 0, 0, 0, 1]
    assert plan.present(X).all()


def test_pandas_and_polars_agree() -> None:
    left, right = _fit(_table(pd)), _fit(_table(pl))
    assert left.to_state() == right.to_state()
    np.testing.assert_array_equal(left.transform(_table(pd)), right.transform(_table(pl)))


def test_a_flag_is_there_only_where_training_rows_lack_a_cell() -> None:
    plan = _fit(pd.DataFrame({"crp": [1.0, 2.0], "sex": ["f", "m"]}))
    assert plan.feature_names() == ["crp", "sex_f", "sex_m"]
    gap = pd.DataFrame({"crp": [NAN], "sex": [None]})
    assert plan.transform(gap).tolist() == [[0.0, 0.0, 0.0]]
    assert plan.present(gap).tolist() == [False]


def test_levels_that_were_not_seen_or_are_rare_have_no_feature(df_module: ModuleType) -> None:
    X = df_module.DataFrame({"hla": ["b27", "b27", "b8", "b51", "b8"]})
    assert _fit(X).feature_names() == ["hla_b27", "hla_b51", "hla_b8"]
    plan = _fit(X, max_categories=2)
    assert plan.feature_names() == ["hla_b27", "hla_b8"]
    new = df_module.DataFrame({"hla": ["b7", "b51", "b8"]})
    assert plan.transform(new).tolist() == [[0, 0], [0, 0], [0, 1]]
    assert plan.present(new).all()


def test_numbers_as_text_are_no_silent_category(df_module: ModuleType) -> None:
    texts = ["not done", *(f"{'<' * (i % 3 == 0)}{i},5" for i in range(24))]
    with pytest.warns(AsfusionWarning, match="Column 'crp': numbers or dates written as text"):
        plan = _fit(df_module.DataFrame({"crp": texts}))
    assert len(plan.feature_names()) == 20
    # Few levels are grades; leading zeros and letters are codes.
    for codes in ([str(i % 5) for i in range(40)], [f"0{i}" for i in range(40)], list("abcd" * 9)):
        _fit(df_module.DataFrame({"code": codes}), max_categories=9)


def test_levels_that_are_numbers_stay_the_same_beside_a_missing_one() -> None:
    plan = _fit(pd.DataFrame({"grade": pd.Categorical([0, 1, 2])}))
    assert plan.feature_names() == ["grade_0", "grade_1", "grade_2"]
    later = pd.DataFrame({"grade": pd.Categorical([1.0, None, 2.0])})
    assert plan.transform(later).tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert plan.present(later).tolist() == [True, False, True]


def test_a_column_of_nothing_but_new_levels_is_told(df_module: ModuleType) -> None:
    plan = _fit(df_module.DataFrame({"sex": ["female", "male"] * 3}))
    with pytest.warns(AsfusionWarning, match="Column 'sex': none of the cells has a level that"):
        plan.transform(df_module.DataFrame({"sex": ["F", "M"] * 3}))
    # A few rows, or one that is known, are no reason.
    plan.transform(df_module.DataFrame({"sex": ["F", "M"]}))
    plan.transform(df_module.DataFrame({"sex": [*(["F", "M"] * 3), "male"]}))


def test_equally_frequent_levels_are_kept_in_alphabetical_order() -> None:
    X = pd.DataFrame({"hla": ["d", "c", "b", "a"]})
    assert _fit(X, max_categories=2).feature_names() == ["hla_a", "hla_b"]


def test_names_of_features_differ() -> None:
    X = pd.DataFrame(
        {"a": ["missing", "b", None], "a_b": [1.0, 2.0, 3.0], "a_b_2": [True, True, False]}
    )
    plan = _fit(X)
    names = plan.feature_names()
    assert names[:3] == ["a_b", "a_missing", "a_missing_2"]
    assert len(set(names)) == len(names) == plan.transform(X).shape[1]


def test_levels_differ_by_any_character() -> None:
    plan = _fit(pd.DataFrame({"a": pd.Series(["x", "x\x00", "x "], dtype=object)}))
    assert plan.feature_names() == ["a_x", "a_x\x00", "a_x "]
    assert plan.transform(pd.DataFrame({"a": ["x\x00"]})).tolist() == [[0, 1, 0]]


def test_a_column_without_any_known_cell_has_no_feature(df_module: ModuleType) -> None:
    X = df_module.DataFrame({"crp": [1.0, 3.0], "ldh": [None, None], "note": [NAN, NAN]})
    plan = _fit(X)
    assert plan.feature_names() == ["crp"]
    assert plan.transform(X).tolist() == [[0.0], [1.0]]
    later = df_module.DataFrame({"crp": [None, 1.0], "ldh": ["high", "low"], "note": [3.0, None]})
    assert plan.transform(later).tolist() == [[0.0], [0.0]]
    # Nothing was learned of the other columns, so they make no row present.
    assert plan.present(later).tolist() == [False, True]


def test_a_constant_column_is_zero(df_module: ModuleType) -> None:
    X = df_module.DataFrame({"a": [0.1 + 0.2, 0.3, 0.3], "b": [7, 7, 7]})
    assert np.abs(_fit(X).transform(X)).max() < 1e-9


def test_a_column_that_is_mostly_one_value_has_the_standard_deviation_as_spread() -> None:
    X = pd.DataFrame({"pack_years": [0.0] * 9 + [20.0]})
    assert _fit(X).transform(X)[-1, 0] == pytest.approx(20 / 6)


def test_dates_as_text_are_dates(df_module: ModuleType) -> None:
    texts = ["2024-01-01", "2024-01-02", " 2024-01-03 ", "2024-01-04", "2024-01-05T00:00", None]
    X = df_module.DataFrame({"seen": texts})
    frame = Frame.read(X)
    assert column_kind(frame, "seen") == "date"
    expected = _fit(_table(df_module)).transform(_table(df_module))[:, -2:]
    plan = _fit(X)
    np.testing.assert_array_equal(plan.transform(X), expected)
    np.testing.assert_array_equal(
        plan.transform(df_module.DataFrame({"seen": CELLS["seen"]})), expected
    )


def test_a_slip_in_a_date_does_not_make_it_a_category() -> None:
    X = pd.DataFrame({"seen": ["2024-01-01", "2024-02-31"]})
    with pytest.raises(ColumnError, match="'seen', row 1: .* does not exist"):
        _fit(X)


def test_text_that_is_no_date_is_a_category(df_module: ModuleType) -> None:
    X = df_module.DataFrame({"a": ["2024-01-01", "unknown"]})
    assert column_kind(Frame.read(X), "a") == "category"
    assert _fit(X).feature_names() == ["a_2024-01-01", "a_unknown"]


def test_a_table_of_numbers_is_not_read_column_by_column(
    df_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = np.random.default_rng(0).normal(size=(12, 9))
    cells[3, 2] = np.nan
    X = df_module.DataFrame({f"p{i}": column for i, column in enumerate(cells.T)})
    X = X.assign(b=cells[:, 0] > 0) if df_module is pd else X.with_columns(b=cells[:, 0] > 0)
    expected = _fit(X).transform(X)

    def refuse(frame: Frame, name: str) -> None:
        pytest.fail(f"Column {name!r} was read by itself.")

    for name in ("numbers", "known", "strings", "cells"):
        monkeypatch.setattr(Frame, name, refuse)
    # Nor does it matter how many are read at once.
    for at_once in (2**20, 40, 1):
        monkeypatch.setattr(_frames, "_CELLS_AT_ONCE", at_once)
        np.testing.assert_array_equal(_fit(X).transform(X), expected)
        assert _fit(X).present(X).all()


def test_features_are_the_callers_own() -> None:
    X = pd.DataFrame({"crp": [1.0, 2.0, 9.0], "esr": [3.0, 2.0, 1.0]})
    plan = _fit(X)
    before = plan.transform(X)
    features, present = plan.read(X)
    features[:] = np.nan
    assert present.all()
    np.testing.assert_array_equal(plan.transform(X), before)


# ------------------------------------------------------------------ weights are rows

cells = st.tuples(
    st.none() | st.floats(-1e6, 1e6).map(lambda value: round(value, 3)),
    st.none() | st.sampled_from(["f", "m", "x"]),
    st.none() | st.booleans(),
    st.none() | st.dates(datetime.date(1950, 1, 1), datetime.date(2030, 1, 1)),
)


def _of_rows(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS).astype(
        {"crp": "Float64", "sex": "string", "smoker": "boolean"}
    )


@given(st.lists(st.tuples(cells, st.integers(0, 3)), min_size=1, max_size=12))
def test_a_weight_counts_rows(weighted: list[tuple[tuple[Any, ...], int]]) -> None:
    weighted = [*weighted, ((1.0, "f", True, datetime.date(2000, 1, 1)), 1)]
    weights = np.asarray([weight for _, weight in weighted], dtype=float)
    by_weight = _fit(_of_rows([row for row, _ in weighted]), weights, max_categories=2)
    repeated = [row for row, weight in weighted for _ in range(weight)]
    _assert_same(by_weight, _fit(_of_rows(repeated), max_categories=2))


@given(st.lists(st.tuples(cells, st.integers(0, 3)), min_size=1, max_size=12))
def test_only_shares_of_weight_count(weighted: list[tuple[tuple[Any, ...], int]]) -> None:
    weighted = [*weighted, ((1.0, "f", True, datetime.date(2000, 1, 1)), 1)]
    X = _of_rows([row for row, _ in weighted])
    weights = np.asarray([weight for _, weight in weighted], dtype=float)
    _assert_same(_fit(X, weights), _fit(X, weights / 8))


def test_rows_of_no_weight_do_not_even_say_what_a_column_is() -> None:
    X = pd.DataFrame({"crp": pd.Series([1.0, 2.0, "haemolytic", np.inf], dtype=object)})
    plan = _fit(X, np.asarray([1.0, 1.0, 0.0, 0.0]))
    assert plan.to_state() == _fit(pd.DataFrame({"crp": [1.0, 2.0]})).to_state()


# ------------------------------------------------------------------ any finite table


@given(
    st.lists(st.none() | st.floats(allow_infinity=False, allow_nan=False), min_size=1, max_size=9),
    st.lists(st.none() | st.floats(allow_infinity=False, allow_nan=False), min_size=1, max_size=9),
)
def test_features_are_finite_whatever_the_numbers(
    train: list[float | None], test: list[float | None]
) -> None:
    frames = [pd.DataFrame({"crp": pd.Series(part, dtype="float64")}) for part in (train, test)]
    plan = _fit(frames[0])
    for frame in frames:
        features = plan.transform(frame)
        assert features.shape == (len(frame), len(plan.feature_names()))
        assert np.isfinite(features).all() and (np.abs(features) <= 10).all()


@given(
    st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=12),
    st.integers(-60, 60),
)
def test_the_unit_of_a_number_does_not_matter(values: list[float], power: int) -> None:
    X = pd.DataFrame({"crp": values})
    spread = len(set(values)) > 1
    left, right = _fit(X), _fit(X * 2.0**power)
    features = left.transform(X)
    np.testing.assert_allclose(right.transform(X * 2.0**power), features, atol=1e-9)
    assert features.any() == spread


@given(st.lists(cells, min_size=1, max_size=6), st.lists(cells, min_size=1, max_size=6))
def test_test_rows_teach_nothing(train: list[tuple[Any, ...]], test: list[tuple[Any, ...]]) -> None:
    X = _of_rows([*train, (1.0, "f", True, datetime.date(2000, 1, 1))])
    plan = _fit(X)
    state, features = copy.deepcopy(plan.to_state()), plan.transform(X)
    poisoned = _of_rows([*test, (1e30, "other", None, datetime.date(1, 1, 1))])
    plan.transform(poisoned), plan.present(poisoned)
    assert plan.to_state() == state
    np.testing.assert_array_equal(plan.transform(X), features)
    # And a row is read alone as it is among others.
    alone = [plan.transform(poisoned.iloc[[i]])[0] for i in range(len(poisoned))]
    np.testing.assert_array_equal(alone, plan.transform(poisoned))


@given(st.lists(cells, min_size=1, max_size=6))
def test_state_goes_through_json(rows: list[tuple[Any, ...]]) -> None:
    X = _of_rows([*rows, (1.0, "f", True, datetime.date(2000, 1, 1))])
    plan = _fit(X)
    restored = TablePreprocessor.from_state(json.loads(json.dumps(plan.to_state())))
    assert restored.to_state() == plan.to_state()
    assert restored.feature_names() == plan.feature_names()
    np.testing.assert_array_equal(restored.transform(X), plan.transform(X))
    np.testing.assert_array_equal(restored.present(X), plan.present(X))


# ------------------------------------------------------------------ what is refused


def test_infinity_is_refused(df_module: ModuleType) -> None:
    X, poisoned = _table(df_module), _table(df_module, crp=[np.inf, *CELLS["crp"][1:]])
    with pytest.raises(InputError, match="'crp': expected finite numbers"):
        _fit(poisoned)
    with pytest.raises(InputError, match="'crp': expected finite numbers"):
        _fit(X).transform(poisoned)


@pytest.mark.parametrize("order", [("seen", "crp"), ("crp", "seen")])
def test_the_first_column_that_cannot_be_read_is_told(order: tuple[str, str]) -> None:
    X = _table()
    bad = {"seen": ["2024-02-31"] + ["2024-01-01"] * 5, "crp": [np.inf, *CELLS["crp"][1:]]}
    told = {"seen": "'seen', row 0: .* does not exist", "crp": "'crp': expected finite numbers"}
    poisoned = _table(**bad)[["smoker", *order]]
    with pytest.raises((ColumnError, InputError), match=told[order[0]]):
        _fit(poisoned)
    with pytest.raises((ColumnError, InputError), match=told[order[0]]):
        _fit(X[["smoker", *order]]).transform(poisoned)


CHANGES = {
    "number to text": ("crp", ["a"] * 6, "expected number cells as in fit, got text"),
    "category to number": ("sex", [1.0] * 6, "expected category cells as in fit, got number"),
    "category to date": ("sex", CELLS["seen"], "expected category cells as in fit, got date"),
    "boolean to text": ("smoker", ["yes"] * 6, "expected boolean cells as in fit, got text"),
    "boolean to number": ("smoker", [0, 1, 7, 0, 0, 0], "row 2: expected true, false, 0 or 1"),
    "date to number": ("seen", [1.0] * 6, "expected date cells as in fit, got number"),
    "date to text": ("seen", ["soon"] * 6, "row 0: expected a date as YYYY-MM-DD"),
}


@pytest.mark.parametrize(("name", "column", "message"), CHANGES.values(), ids=CHANGES)
def test_a_column_of_another_kind_than_in_fit_is_refused(
    df_module: ModuleType, name: str, column: list[Any], message: str
) -> None:
    plan = _fit(_table(df_module))
    with pytest.raises(ColumnError, match=f"Column '{name}'.*{message}"):
        plan.transform(_table(df_module, **{name: column}))


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_may_lack_every_cell_later(df_module: ModuleType, name: str) -> None:
    plan = _fit(_table(df_module))
    X = _table(df_module, **{name: [None] * 6})
    features = pd.DataFrame(plan.transform(X), columns=plan.feature_names())
    assert np.isfinite(features.to_numpy()).all()
    assert features[f"{name}_missing"].all()


def test_numbers_may_stand_for_booleans(df_module: ModuleType) -> None:
    plan = _fit(_table(df_module))
    numbers = _table(df_module, smoker=[1, 0, None, 0, 0, 1])
    np.testing.assert_array_equal(plan.transform(numbers), plan.transform(_table(df_module)))


def test_columns_must_be_there() -> None:
    with pytest.raises(ColumnError, match="Table: expected the column 'esr'"):
        TablePreprocessor().fit(_table(), ["esr"])


def test_no_column_gives_no_feature() -> None:
    plan = TablePreprocessor().fit(_table(), [])
    assert plan.transform(_table()).shape == (6, 0)
    assert plan.present(_table()).tolist() == [False] * 6


def test_a_table_without_any_cell_is_refused(df_module: ModuleType) -> None:
    frame = Frame.read(df_module.DataFrame({"a": [None, None], "b": [1.0, None]}))
    check_not_empty(frame, ["a", "b"])
    with pytest.raises(InputError, match="at least one known cell in training rows"):
        check_not_empty(frame, ["a"])
