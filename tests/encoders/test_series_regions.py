"""Series that are cut where a finder points on their middle slice."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

import asfusion as af
from asfusion._frames import Frame
from asfusion.datasets._phantoms.dicom_files import write_series
from asfusion.exceptions import AsfusionWarning, ConfigurationError, ImageReadError
from asfusion.imaging import read_series
from tests.looking import BrightFinder, annotated, draw_film

ENCODERS = {
    "slices": af.SliceEncoder("stir", size=32, d_out=4),
    "volume": af.VolumeEncoder("stir", shape=(8, 32, 32), d_out=4),
}
both = pytest.mark.parametrize("described", ENCODERS.values(), ids=ENCODERS)


@pytest.fixture(scope="module")
def X(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Five series of four slices of half a millimetre; on the last one there is nothing."""
    root, paths = tmp_path_factory.mktemp("series"), []
    for row in range(5):
        joint = draw_film(row).astype(np.uint16) * (0 if row == 4 else 4)
        write_series(
            root / str(row), np.stack([joint // 2, joint, joint, joint // 2]),
            spacing_mm=(4.0, 0.5, 0.5), sequence="STIR", patient_key="P1", site="A",
            scanner="MR 1", sex="male", age_years=34, date=datetime.date(2021, 3, 9),
        )  # fmt: skip
        paths.append(str(root / str(row)))
    return pd.DataFrame({"stir": paths})


def looking(described, X, **params):
    finder = BrightFinder(annotated(X["stir"]))
    return clone(described).set_params(region=finder, **params)


@both
def test_what_is_around_the_region_fills_the_slice(described, X):
    rows = X.head(4)
    encoder = looking(described, rows).fit(rows)
    assert len(encoder.finder_.trained_on_) == 4
    seen = encoder.prepare(rows).tensors["voxels"].float()
    whole = clone(described).fit(rows).prepare(rows).tensors["voxels"].float()
    bright = [(part > 150).float().mean() for part in (seen, whole)]
    assert bright[0] > 1.2 * bright[1]
    volume = read_series(rows["stir"].iloc[0])
    heat = np.zeros(encoder.shape_)
    heat[2, 4:20, 4:28] = 1.0
    back = encoder.grid_of(volume).spread(heat)
    assert back.shape == volume.values.shape and back.sum() == pytest.approx(heat.sum())
    assert (back.sum(axis=0) > 1e-9).mean() < 0.9


@both
def test_side_in_mm_is_that_on_the_patient(described, X):
    rows = X.head(4)
    encoder = looking(described, rows, side_mm=20).fit(rows)
    grid = encoder.grid_of(read_series(rows["stir"].iloc[0]))
    seen = [np.flatnonzero(axis.any(axis=0)) for axis in grid.axes]
    assert [len(part) for part in seen[1:]] == [40, 40]  # 20 mm of half a millimetre


@both
def test_a_lost_region_is_read_whole_and_a_store_keeps_no_cut(described, X, tmp_path):
    encoder = looking(described, X, store=tmp_path / "store").fit(X)
    with pytest.warns(AsfusionWarning, match="1 of 5 series: the region was not found"):
        seen = encoder.prepare(X).tensors["voxels"]
    whole = clone(described).fit(X).prepare(X).tensors["voxels"]
    assert torch.equal(seen[4], whole[4]) and not torch.equal(seen[0], whole[0])
    assert not (tmp_path / "store").exists()


@both
def test_an_unreadable_series_that_is_annotated(described, X, tmp_path):
    rows = X.head(4).assign(stir=[*X["stir"][:3], str(tmp_path)])
    frame = Frame.read(rows).take(np.array([2, 3, 1, 0]))
    with pytest.raises(ImageReadError, match="Column 'stir', row 3: "):
        looking(described, rows).fit(frame)
    encoder = looking(described, rows, on_error="missing").fit(frame)
    assert len(encoder.finder_.trained_on_) == 3
    with pytest.warns(AsfusionWarning, match="1 of 4 series.*Column 'stir', row 3: "):
        encoder.prepare(frame)


def test_keys_hold_finder_and_side(X):
    rows = X.head(4)
    described = looking(ENCODERS["slices"], rows)
    encoders = [described, clone(described).set_params(side_mm=20), ENCODERS["slices"]]
    told = [repr(clone(encoder).fit(rows)._embedding_settings()) for encoder in encoders]
    told.append(repr(clone(described).fit(X.iloc[1:4])._embedding_settings()))
    assert len(set(told)) == 4


def test_a_saved_finder_warns_of_series_that_it_learned_from(X, monkeypatch):
    rows = X.head(4)
    saved = looking(ENCODERS["slices"], rows).fit(rows).finder_
    monkeypatch.setattr("asfusion.encoders._slice_regions.read_finder", lambda path: saved)
    encoder = clone(ENCODERS["slices"]).set_params(region="finder.asf").fit(rows)
    with pytest.warns(AsfusionWarning, match="learned from 4 of these 4 series"):
        encoder.prepare(rows)


@both
@pytest.mark.parametrize(
    ("params", "words"),
    [({"region": 3}, "region: expected a finder"), ({"side_mm": 0}, "side_mm: expected"),
     ({"region": af.anatomy.RegionFinder()}, "annotations: expected a table")],
)  # fmt: skip
def test_unusable_parameters_are_named(described, params, words, X):
    with pytest.raises(ConfigurationError, match=words):
        clone(described).set_params(**params).fit(X)


def test_annotations_of_series_teach_a_finder_of_boxes(X):
    rows = pd.concat([X.head(4)] * 2, ignore_index=True)
    table = pd.DataFrame(
        [[path, "joints", 8, 14, 72, 52] for path in X["stir"]],
        columns=["film", "region", "x0", "y0", "x1", "y1"],
    )
    finder = af.anatomy.RegionFinder(table, size=32, epochs=1, views=1, verbose=0)
    with pytest.raises(af.exceptions.InputError, match="on at least 6 of these films, got 4"):
        clone(ENCODERS["slices"]).set_params(region=finder).fit(rows)
