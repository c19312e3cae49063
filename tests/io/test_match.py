"""Images to rows, by patient and date, and what cells of image columns may hold."""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import asfusion as af
from asfusion.exceptions import ColumnError, ConfigurationError, ImageReadError, InputError
from asfusion.imaging import quality, read_image, read_series
from asfusion.io import index_dicom, match_images
from tests.imaging.slices import voxels, write_slices
from tests.io.test_index import KEY, in_study

IMAGES = {
    "patient": ["a", "a", "a", "b", "c", None, "d"],
    "date": ["2021-01-01", "2021-03-01", "2021-06-01", "2021-03-01", None, "2021-03-01", None],
    "path": ["a1", "a2", "a3", "b1", "c1", "x", None],
}  # fmt: skip
DAY = datetime.date(2021, 3, 2)


def match(rows: dict[str, list[Any]], **options: Any) -> Any:
    named = {"patient": "id", "date": "day", **options}
    return match_images(pd.DataFrame(IMAGES), pd.DataFrame(rows), **named)


@pytest.mark.parametrize(
    ("day", "prefer", "path", "apart"),
    [
        ("2021-03-02", "nearest", "a2", -1.0),
        ("2021-03-02", "before", "a2", -1.0),
        ("2021-03-02", "after", "a3", 91.0),
        ("2021-03-01 23:59", "before", "a2", 0.0),
        ("2021-03-01 23:59", "after", "a2", 0.0),
        ("2021-02-27", "before", "a1", -57.0),
    ],
)
def test_the_image_of_a_row(day: str, prefer: str, path: str, apart: float) -> None:
    found = match({"id": ["a"], "day": [pd.Timestamp(day)]}, prefer=prefer, within="13w")
    assert found.table[["image", "image_days"]].values.tolist() == [[path, apart]]
    assert len(found.without) == 0


def test_what_does_not_match_is_listed_on_both_sides(df_module: ModuleType) -> None:
    rows = df_module.DataFrame(
        {"id": ["b", "e", "a", None, "b", "c"], "day": [DAY] * 4 + [None, DAY], "crp": range(6)}
    )
    found = match_images(df_module.DataFrame(IMAGES), rows, patient="id", date="day", within="5d")
    assert isinstance(found.table, df_module.DataFrame)
    assert list(found.table["crp"]) == list(range(6))
    paths = [path if isinstance(path, str) else None for path in found.table["image"]]
    assert paths == ["b1", None, "a2", None, None, None]
    assert found.without.values.tolist() == [
        [1, "no image of the patient"],
        [3, "the row has no patient"],
        [4, "the row has no date"],
        [5, "no image of the patient"],
    ]
    assert list(found.unused["reason"]) == [
        "another image is taken, or none is near",
        "another image is taken, or none is near",
        "the image has no date",
        "the image has no patient",
        "the series has no folder of its own: see DicomIndex.arrange",
    ]
    for shown in (repr(found), found._repr_html_()):
        assert "2 of 6 rows with an image" in shown
        assert "b1" not in shown


def test_ties_are_told_and_the_earliest_is_taken() -> None:
    found = match({"id": ["a", "a"], "day": ["2021-01-30 12:00", "2021-04-16"]}, within=None)
    assert found.table["image"].tolist() == ["a1", "a2"]
    assert found.ties.values.tolist() == [[1, 2]]
    late = match({"id": ["a"], "day": ["2030-01-01"]})
    assert late.without["reason"].tolist() == ["no image of the patient within these days"]


def test_without_dates_the_latest_is_taken_and_numbers_are_text() -> None:
    images = pd.DataFrame({"patient": ["7", "7", "08"], "date": ["2021-01-01", "2020-01-01", None],
                           "path": ["new", "old", "eight"]})  # fmt: skip
    rows = pd.DataFrame({"id": [7.0, 8.0, np.nan]}, index=["x", "y", "z"])
    found = match_images(images, rows, patient="id", column="film")
    assert found.table.index.tolist() == ["x", "y", "z"]
    assert found.table["film"].tolist()[0] == "new"
    assert found.table["film"].isna().tolist() == [False, True, True]
    assert found.table["film_days"].isna().all()


def test_an_index_of_files_to_an_encoder(tmp_path: Path) -> None:
    values = voxels(3, 6, 8)
    for study in (1, 2):
        write_slices(tmp_path / f"s{study}", values, **in_study(study, PatientID=f"p{study}"))
    rows = pd.DataFrame({"id": ["p2", "p1"], "day": ["2021-03-05", "2021-03-05"]})
    plain = match_images(index_dicom(tmp_path), rows, patient="id", date="day")
    keyed = match_images(index_dicom(tmp_path, key=KEY), rows, patient="id", date="day", key=KEY)
    assert plain.table.equals(keyed.table)
    assert plain.table["image"].tolist() == [str(tmp_path / "s2"), str(tmp_path / "s1")]
    assert read_series(plain.table["image"][0]).values.shape == (3, 6, 8)
    encoder = af.VolumeEncoder("image", shape=(3, 32, 32)).fit(plain.table)
    assert encoder.prepare(plain.table).present.tolist() == [True, True]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"within": "soon"}, ConfigurationError, "within: expected days, weeks or years"),
        ({"within": 90}, ConfigurationError, "within: expected days, weeks or years"),
        ({"prefer": "best"}, ConfigurationError, "prefer: expected one of"),
        ({"column": ""}, ConfigurationError, "column: expected a name"),
        ({"column": "day"}, ColumnError, "column: expected a name that the table does not have"),
        ({"patient": "name"}, ColumnError, "match_images, table: expected the column 'name'"),
        ({"key": "short"}, ConfigurationError, "key: expected a text of at least 16"),
    ],
)
def test_other_arguments(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        match({"id": ["a"], "day": ["2021-03-02"]}, **options)
    with pytest.raises(ColumnError, match="match_images, images: expected the column"):
        match_images(pd.DataFrame({"path": []}), pd.DataFrame({"id": ["a"]}), patient="id")


# -- cells -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["https://archive/film.dcm", "s3://bucket/film", "file:///film.png"]
)
@pytest.mark.parametrize("root", [None, "images"])
def test_an_address_is_never_opened(url: str, root: str | None) -> None:
    picture = np.zeros((40, 40), np.uint8)
    for cells in ([url], [picture, url]):
        X = pd.DataFrame({"film": pd.Series(cells, dtype=object)})
        with pytest.raises(ColumnError, match="row .: expected the path of a file, got an address"):
            af.ImageEncoder("film", size=32, root=root).fit(X).transform(X)
    X = pd.DataFrame({"film": [url]})
    with pytest.raises(ColumnError, match="asfusion.io.fetch_series"):
        af.VolumeEncoder("film", root=root, on_error="missing").fit(X)
    for read in (read_image, read_series):
        with pytest.raises(ImageReadError, match="got an address .URL., and no connection"):
            read(url)
    with pytest.raises(
        InputError, match="paths, at 0: expected the path of a file, got an address"
    ):
        quality([url])


def test_a_cell_may_hold_a_path_bytes_an_array_or_a_picture(tmp_path: Path) -> None:
    grey = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (48, 1))
    file, buffer = tmp_path / "a.png", io.BytesIO()
    Image.fromarray(grey).save(file)
    Image.fromarray(grey).save(buffer, "PNG")
    cells = [file, str(file), buffer.getvalue(), grey, Image.fromarray(grey), None]
    X = pd.DataFrame({"film": pd.Series(cells, dtype=object)})
    prepared = af.ImageEncoder("film", size=32).fit(X).prepare(X)
    pixels = prepared.tensors["pixels"]
    assert prepared.present.tolist() == [True] * 5 + [False]
    for other in range(1, 5):
        assert (pixels[other] == pixels[0]).all()
