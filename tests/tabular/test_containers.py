"""One table in five containers, by blocks and column by column: the same bits everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context

import asfusion as af
from asfusion import _frames
from asfusion._frames import Frame
from asfusion.encoders.tabular import TabularEncoder
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.tabular import quantiles
from asfusion.tabular.preprocess import TablePreprocessor

NAN = float("nan")
KINDS: dict[str, Any] = {
    "float": st.none() | st.floats(-1e6, 1e6),
    "whole": st.none() | st.integers(-50, 50),
    "full": st.integers(-(2**53), 2**53),
    "flag": st.none() | st.booleans(),
    "text": st.none() | st.sampled_from("abc"),
}


@st.composite
def tables(draw: Any) -> dict[str, list[Any]]:
    """Return columns of one to twelve rows, of several kinds; the first is always known."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=6))
    n = draw(st.integers(1, 12))
    rows: Any = {"a": [float(i % 3) for i in range(n)]}
    for number, kind in enumerate(kinds):
        rows[f"{kind}{number}"] = draw(st.lists(KINDS[kind], min_size=n, max_size=n))
    return dict(rows)


def containers(cells: dict[str, list[Any]]) -> dict[str, Any]:
    """Return the same cells in pandas of three kinds, polars, Arrow and, of numbers, numpy."""
    arrow = pa.table({name: pa.array(column, TYPES[name[:-1]]) for name, column in cells.items()})
    nullable = pd.DataFrame(
        {name: pd.array(column, dtype=NULLABLE[name[:-1]]) for name, column in cells.items()}
    )
    return {
        "pandas": pd.DataFrame(cells),
        "nullable": nullable,
        "arrow-backed": arrow.to_pandas(types_mapper=pd.ArrowDtype),
        "arrow": arrow,
        "polars": pl.from_arrow(arrow),
    }


TYPES = {"": pa.float64(), "float": pa.float64(), "whole": pa.int32(), "full": pa.int64()}
TYPES |= {"flag": pa.bool_(), "text": pa.string()}
NULLABLE = {"": "Float64", "float": "Float64", "whole": "Int32", "full": "Int64"}
NULLABLE |= {"flag": "boolean", "text": "string"}


def fitted(X: Any) -> tuple[list[dict[str, Any]], Any, Any]:
    """Return what is learned of all columns, their features, and which rows have any."""
    frame = Frame.read(X)
    plan = TablePreprocessor().fit(frame, list(frame.columns))
    return plan.to_state(), *plan.read(frame)


def same(left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    assert left[0] == right[0]
    assert left[1].tobytes() == right[1].tobytes()
    assert left[2].tolist() == right[2].tolist()


@settings(max_examples=20)
@given(tables())
def test_five_containers_give_equal_bits(cells: dict[str, list[Any]]) -> None:
    made = containers(cells)
    expected = fitted(made.pop("pandas"))
    for X in made.values():
        same(fitted(X), expected)
    numbers = {name: c for name, c in cells.items() if name[:-1] not in ("flag", "text")}
    array = np.column_stack([np.asarray(c, dtype=float) for c in numbers.values()])
    named = pd.DataFrame({f"x{i}": column for i, column in enumerate(numbers.values())})
    same(fitted(array), fitted(named))


@settings(max_examples=8)
@given(tables(), st.integers(1, 9))
def test_blocks_are_read_as_columns_are(cells: dict[str, list[Any]], at_once: int) -> None:
    for X in containers(cells).values():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Frame, "plain", frozenset())
            alone = fitted(X)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_frames, "_CELLS_AT_ONCE", at_once)
            same(fitted(X), alone)
        frame = Frame.read(X)
        names = [name for name in frame.columns if name in frame.plain]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_frames, "_CELLS_AT_ONCE", at_once)
            found = [(rows, block.copy()) for rows, block in frame.row_blocks(names)]
        assert [rows.start for rows, _ in found] == list(range(0, len(frame), found[0][0].stop))
        whole = np.column_stack([frame.numbers(name) for name in names])
        np.testing.assert_array_equal(np.vstack([block for _, block in found]), whole)


@settings(max_examples=50)
@given(st.lists(st.sampled_from([NAN, -0.0, 0.0, 1.5, 2.0, -7.25, 1e308]), min_size=1, max_size=40))
def test_quartiles_of_many_rows_are_those_of_few(column: list[float]) -> None:
    values = np.column_stack([[1.0, *column], [*column, 3.0]])
    few = np.asarray(quantiles.centers_and_scales(values, np.ones(len(values))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiles, "_MANY", 0)
        many = np.asarray(quantiles.centers_and_scales(values, np.ones(len(values))))
    assert few.tobytes() == many.tobytes()


def patients(n: int = 80) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"crp": rng.normal(size=n), "age": rng.integers(20, 80, n)})
    X["b27"] = rng.random(n) < 0.5
    y = (X["crp"] + X["b27"] + 0.5 * rng.normal(size=n) > 0.5).astype(int).to_numpy()
    X.loc[::7, "crp"] = np.nan
    X["sex"] = rng.choice(["f", "m"], n)
    return X, y


FAMILIES = [af.EarlyFusionClassifier, af.LateFusionClassifier]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_is_the_same_on_every_container(family: Any) -> None:
    X, y = patients()
    expected = family(verbose=0, random_state=0).fit(X, y).predict_proba(X)
    arrow = pa.Table.from_pandas(X)
    others = (
        X.convert_dtypes(),
        X.convert_dtypes(dtype_backend="pyarrow"),
        arrow,
        pl.from_arrow(arrow),
    )
    for other in others:
        model = family(verbose=0, random_state=0).fit(other, y)
        np.testing.assert_array_equal(model.predict_proba(other), expected)
        np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_infinity_in_a_later_block_of_rows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    X, _ = patients()
    encoder = TabularEncoder().fit(X)
    monkeypatch.setattr(_frames, "_CELLS_AT_ONCE", 8)
    X.loc[70, "crp"] = np.inf
    with pytest.raises(InputError, match="'crp': expected finite .* the first at position 70"):
        encoder.transform(X)


def test_what_fusion_makes_of_features_leaves_the_users_table_alone() -> None:
    X, y = patients()
    array = X[["crp", "age"]].to_numpy()
    before = array.copy()
    af.EarlyFusionClassifier(verbose=0).fit(array, y).predict_proba(array)
    np.testing.assert_array_equal(array, before)


def test_a_model_does_not_care_what_transform_is_told_to_return() -> None:
    X, y = patients()
    found = []
    for kind in ("default", "pandas", "polars"):
        with config_context(transform_output=kind):
            model = af.EarlyFusionClassifier(verbose=0, random_state=0).fit(X, y)
            found.append(model.predict_proba(X).tobytes())
    assert len(set(found)) == 1


# ------------------------------------------------------------------ float32


@pytest.mark.parametrize("family", FAMILIES)
def test_half_of_the_memory_gives_the_same_probabilities(family: Any, tmp_path: Path) -> None:
    X, y = patients(200)
    models = [
        family({"t": TabularEncoder(dtype=dtype)}, verbose=0, random_state=0).fit(X, y)
        for dtype in ("float64", "float32")
    ]
    double, single = (model.predict_proba(X) for model in models)
    assert np.abs(double - single).max() < 1e-5 and single.dtype == np.float64
    loaded = af.load(models[1].save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict_proba(X), single)
    assert loaded.encoders["t"].dtype == "float32"


def test_features_and_a_network_are_of_the_type_that_was_asked_for() -> None:
    X, y = patients()
    encoder = TabularEncoder(dtype="float32").fit(X)
    exact = TabularEncoder().fit(X)
    assert encoder.plan_ == exact.plan_
    features = encoder.transform(X)
    assert features.dtype == encoder.prepare(X).tensors["x"].numpy().dtype == np.float32
    np.testing.assert_array_equal(features, exact.transform(X).astype(np.float32))
    model = af.JointFusionClassifier({"t": encoder}, max_epochs=1, verbose=0).fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all()
    beside = {"one": TabularEncoder("crp", dtype="float32"), "other": TabularEncoder("age")}
    early = af.EarlyFusionClassifier(beside, verbose=0, random_state=0).fit(X, y)
    assert early.features(X)[0].dtype == np.float64


def test_another_type_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="dtype: expected one of 'float64', 'float32'"):
        TabularEncoder(dtype="float16").fit(patients()[0])  # type: ignore[arg-type]
