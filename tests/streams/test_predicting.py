"""Predictions for a LazyFrame: in its order, in pieces, in a file that is whole or not there."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import asfusion as af
from asfusion._frames import Frame
from asfusion.exceptions import AsfusionWarning, ColumnError, InputError
from asfusion.streams import table as streams
from asfusion.streams.spool import Spool

from .conftest import cohort, encoders


@pytest.fixture(scope="module")
def model(table) -> af.EarlyFusionClassifier:
    made = af.EarlyFusionClassifier(encoders(), random_state=0, verbose=0)
    return made.fit(table.drop("died"), table["died"])


@settings(max_examples=25)
@given(
    at_once=st.integers(1, 700),
    row_bytes=st.sampled_from([0, 1, 2**20, 2**30]),
    rows=st.none() | st.sets(st.integers(0, 599), min_size=1).map(sorted),
    as_mask=st.booleans(),
)
def test_pieces_are_the_rows_however_many_are_read_at_once(
    table, visits, at_once, row_bytes, rows, as_mask
):
    taken = np.arange(600) if rows is None else np.asarray(rows)
    with Spool() as spool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_LEAST_ROWS", 1)
        patch.setattr(streams, "_MOST_ROWS", at_once)
        stream = streams.Stream.of(pl.scan_parquet(visits), spool, 1.0)
        if rows is not None:
            stream = stream.take(np.isin(np.arange(600), taken) if as_mask else taken)
        assert len(stream) == len(taken)
        parts = list(stream.each(lambda piece: piece.to_native(), row_bytes))
    assert pl.concat(parts).equals(table[taken.tolist()])


@pytest.mark.usefixtures("small_pieces")
def test_every_family_predicts_in_pieces(table, visits, model):
    late = af.LateFusionClassifier(encoders(), verbose=0, random_state=0)
    risk = af.EarlyFusionRegressor(encoders(), verbose=0, random_state=0)
    late.fit(table.drop("died"), table["died"])
    risk.fit(table, table["stay"])
    rows = pl.scan_parquet(visits)
    np.testing.assert_array_equal(model.predict_proba(rows), model.predict_proba(table))
    np.testing.assert_array_equal(late.predict(rows), late.predict(table))
    np.testing.assert_array_equal(risk.predict(rows), risk.predict(table))
    assert model.score(rows, table["died"]) == model.score(table, table["died"])


@pytest.mark.usefixtures("small_pieces")
def test_a_file_of_predictions(table, visits, model, tmp_path: Path):
    rows = pl.scan_parquet(visits)
    said = model.predict_proba(table)
    file = model.predict_to(rows, tmp_path / "said.parquet", ids=["visit", "patient"])
    written = pl.read_parquet(file)
    assert written.columns == ["visit", "patient", "prediction", "probability_0", "probability_1"]
    assert written["visit"].to_list() == table["visit"].to_list()
    np.testing.assert_array_equal(written["probability_1"].to_numpy(), said[:, 1])
    np.testing.assert_array_equal(written["prediction"].to_numpy(), model.predict(table))
    for X in (table, table.to_pandas(), rows.filter(pl.col("esr") < 9)):
        plain = pl.read_parquet(model.predict_to(X, str(file)))
        assert plain.columns == ["row", "prediction", "probability_0", "probability_1"]
        assert plain["row"].to_list() == list(range(600))
        np.testing.assert_array_equal(plain["probability_1"].to_numpy(), said[:, 1])


def test_files_of_numbers_and_of_labels(table, tmp_path: Path):
    risk = af.EarlyFusionRegressor(encoders(), verbose=0).fit(table, table[["stay", "died"]])
    written = pl.read_parquet(risk.predict_to(table.lazy(), tmp_path / "numbers.parquet", "visit"))
    assert written.columns == ["visit", "prediction_0", "prediction_1"]
    labels = table.select("died", sick=pl.col("stay") > 1).cast(float)
    several = af.EarlyFusionMultilabel(encoders(), verbose=0).fit(table.drop("died"), labels)
    written = pl.read_parquet(several.predict_to(table.lazy(), tmp_path / "labels.parquet"))
    assert written.columns[:2] == ["row", "prediction_died"]
    assert written.columns[3:] == ["probability_died", "probability_sick"]


def test_a_file_that_breaks_in_the_middle_leaves_what_was_there(table, model, tmp_path: Path):
    many = pl.concat([cohort(4000, seed) for seed in range(4)])
    file, target = tmp_path / "visits.parquet", tmp_path / "said.parquet"
    many.write_parquet(file, row_group_size=4000, compression="zstd")
    broken = bytearray(file.read_bytes())
    middle = len(broken) // 2
    broken[middle : middle + 20_000] = bytes(
        255 - byte for byte in broken[middle : middle + 20_000]
    )
    file.write_bytes(broken)
    target.write_bytes(b"of yesterday")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_MOST_ROWS", 1000)
        with pytest.raises(InputError) as caught:
            model.predict_to(pl.scan_parquet(file), target)
    assert str(tmp_path) not in str(caught.value)
    assert target.read_bytes() == b"of yesterday"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["said.parquet", "visits.parquet"]


@pytest.mark.usefixtures("small_pieces")
def test_levels_that_were_not_seen_and_columns_that_are_empty(table, model):
    rows = table.with_columns(sex=pl.lit("other"), bmi=pl.lit(None, pl.Float64))
    with pytest.warns(AsfusionWarning) as told:
        said = model.predict_proba(rows.lazy())
    texts = {str(warning.message) for warning in told}
    assert any("'sex': none of the cells has a level" in text for text in texts)
    with pytest.warns(AsfusionWarning):
        np.testing.assert_array_equal(said, model.predict_proba(rows))


@pytest.mark.usefixtures("small_pieces")
def test_a_column_that_is_empty_everywhere_is_told_one_that_is_empty_somewhere_is_not(table):
    labs = {"labs": af.TabularEncoder(["crp", "esr", "bmi"])}
    made = af.EarlyFusionClassifier(labs, verbose=0).fit(table, table["died"])
    some = pl.when(pl.col("visit") < 1300).then(None).otherwise(pl.col("esr")).alias("esr")
    there = table.filter(pl.col("crp") > -9).head(37 * 13 + 5)  # the last piece says nothing
    assert len(there) == 37 * 13 + 5
    made.predict(there.with_columns(some).lazy())
    with pytest.warns(AsfusionWarning, match="'esr' has no value in any of these rows"):
        made.predict(there.with_columns(esr=pl.lit(None, pl.Float64)).lazy())


def test_columns_and_rows_that_are_not_there(table, model, tmp_path: Path):
    with pytest.raises(ColumnError, match="'bmi' in X.*Give what is absent as a column of missing"):
        model.predict(table.drop("bmi").lazy())
    with pytest.raises(ColumnError, match="'who' in X"):
        model.predict_to(table.lazy(), tmp_path / "said.parquet", ids="who")
    with pytest.raises(ColumnError, match="ids: expected the column 'who' in X"):
        model.predict_to(table, tmp_path / "said.parquet", ids="who")
    earlier = table.with_columns(prediction=pl.lit(1)).lazy()
    with pytest.raises(ColumnError, match="ids: expected columns .* otherwise .* got 'prediction'"):
        model.predict_to(earlier, tmp_path / "said.parquet", ids="prediction")
    with pytest.raises(InputError, match="at least 1 row, got none"):
        model.predict(table.head(0).lazy())
    with pytest.raises(OSError, match="expected a file to read or to write"):
        model.predict_to(table, tmp_path / "no folder" / "said.parquet")
    assert not list(tmp_path.iterdir())


def test_whoever_asks_for_all_cells_is_told(table):
    with Spool() as spool:
        stream = streams.Stream.of(table.lazy(), spool, 1.0)
        for ask in (lambda: stream.numbers("crp"), lambda: stream.take(np.array([2, 1]))):
            with pytest.raises(
                InputError, match="rows in memory for this, got a LazyFrame.*collect"
            ):
                ask()
        assert stream.cells("visit") == Frame.read(table).cells("visit")
        assert stream.present(["bmi"]).tolist() == Frame.read(table).present(["bmi"]).tolist()
