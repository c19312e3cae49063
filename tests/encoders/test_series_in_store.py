"""VolumeEncoder and SliceEncoder with a store: the same tensors, decoded once."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

import asfusion as af
import asfusion.imaging.stores.series_store as store_module
from asfusion.encoders import _series
from asfusion.exceptions import (
    AsfusionWarning,
    ConfigurationError,
    DicomReadError,
    ImageReadError,
    MissingDependencyError,
)
from tests.imaging.stores import SERIES, count_decoded, draw_series

ENCODERS = [
    af.VolumeEncoder(["stir", "t1"], shape=(4, 32, 32)),
    af.VolumeEncoder(["stir", "t1"], shape=(4, 32, 32), spacing=(2, 1, 1), window=(0, 300)),
    af.SliceEncoder(["stir", "t1"], size=32, n_slices=5),
    af.SliceEncoder(["stir", "t1"], size=32, n_slices=2, window=(0, 300)),
]
IDS = ["volume", "volume in mm", "slices", "few slices"]
every = pytest.mark.parametrize("described", ENCODERS, ids=IDS)


@pytest.fixture
def X(tmp_path: Path) -> pd.DataFrame:
    """Return six patients; row 2 lacks STIR, row 4 everything."""
    names = ("stir", "t1")
    X = pd.DataFrame(
        {c: [str(draw_series(tmp_path / f"{c}{i}", i)) for i in range(6)] for c in names}
    )
    for path in X["t1"]:  # other contents than STIR
        shutil.copytree(draw_series(tmp_path / "t1", 90 + int(path[-1])), path, dirs_exist_ok=True)
    X.loc[2, "stir"] = None
    X.loc[4] = None
    return X


def assert_same(left: Any, right: Any) -> None:
    assert left.tensors.keys() == right.tensors.keys()
    for name, tensor in left.tensors.items():
        assert torch.equal(tensor, right.tensors[name])
    assert torch.equal(left.present, right.present)


@every
def test_tensors_are_the_same_and_decoded_once(
    described: Any, X: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = clone(described).fit(X).prepare(X)
    encoder = clone(described).set_params(store=tmp_path / "store").fit(X)
    decoded = count_decoded(SERIES, monkeypatch)
    monkeypatch.setattr(_series, "_AT_ONCE", 3)
    assert_same(encoder.prepare(X), plain)
    assert len(decoded) == len(set(decoded)) == 9
    again = clone(encoder).fit(X)
    assert_same(again.prepare(X), plain)
    assert_same(again.prepare(X.iloc[:0]), plain.take(torch.arange(0)))
    assert len(decoded) == 9
    rows = np.array([3, 0, 4])
    assert_same(again.prepare(X.iloc[rows]), plain.take(torch.from_numpy(rows)))


@every
def test_processes_of_joblib_decode_the_same(
    described: Any, X: pd.DataFrame, tmp_path: Path
) -> None:
    plain = clone(described).fit(X).prepare(X)
    encoder = clone(described).set_params(store=str(tmp_path / "store")).fit(X)
    with joblib.parallel_config(n_jobs=2):
        assert_same(encoder.prepare(X), plain)


def test_sequences_of_one_encoder_and_of_others_share_records(
    X: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"shape": (4, 32, 32), "store": tmp_path / "store"}
    af.VolumeEncoder(["stir", "t1"], **options).fit(X).prepare(X)
    decoded = count_decoded(SERIES, monkeypatch)
    af.VolumeEncoder("t1", **options).fit(X).prepare(X)
    assert decoded == []


@every
def test_series_that_cannot_be_read(described: Any, X: pd.DataFrame, tmp_path: Path) -> None:
    plain = clone(described).set_params(on_error="missing").fit(X)
    stored = clone(described).set_params(store=tmp_path / "store").fit(X)
    shutil.rmtree(X.loc[1, "t1"])
    SERIES.spoil(Path(X.loc[3, "stir"]))
    with pytest.raises(ImageReadError, match=r"^Column 't1', row 1: expected an exis.*on_error"):
        stored.prepare(X)
    with pytest.raises(DicomReadError, match=r"^Column 'stir', row 3: .* a gap") as caught:
        stored.prepare(X.drop(columns="t1").assign(t1=None))
    assert str(tmp_path) not in str(caught.value)
    stored.set_params(on_error="missing")
    found = []
    for encoder in (plain, stored, stored):  # failures are tried, and told, each time
        with pytest.warns(AsfusionWarning) as said:
            found.append(encoder.prepare(X))
        (message,) = {str(one.message) for one in said}
        assert message.startswith("2 of 9 series cannot be read, and are taken as missing. The ")
        assert "Column 't1', row 1" in message
    assert_same(found[1], found[0])
    assert_same(found[2], found[0])


@every
def test_filled_gaps_are_filled_again(described: Any, X: pd.DataFrame, tmp_path: Path) -> None:
    SERIES.spoil(Path(X.loc[0, "stir"]))
    plain = clone(described).set_params(on_gap="fill").fit(X).prepare(X)
    for _ in range(2):
        encoder = clone(described).set_params(on_gap="fill", store=tmp_path / "store").fit(X)
        assert_same(encoder.prepare(X), plain)
    strict = clone(described).set_params(store=tmp_path / "store", on_error="missing").fit(X)
    with pytest.warns(AsfusionWarning, match="1 of 9 series cannot be read"):
        strict.prepare(X)


def test_a_damaged_record_is_healed(X: pd.DataFrame, tmp_path: Path) -> None:
    encoder = af.VolumeEncoder("stir", shape=(4, 32, 32), store=tmp_path / "store").fit(X)
    before = encoder.prepare(X)
    with next((tmp_path / "store").glob("*/pixels.raw")).open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff\x00\xff")
    with pytest.warns(AsfusionWarning, match=r"SeriesStore: 1 damaged record\(s\) were read ag"):
        assert_same(encoder.prepare(X), before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(encoder.prepare(X), before)


def test_what_is_no_fault_of_a_file_is_an_error(
    X: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: Any, **__: Any) -> None:
        raise MissingDependencyError("A NIfTI file needs nibabel.")

    options = {"shape": (4, 32, 32), "store": tmp_path / "store", "on_error": "missing"}
    encoder = af.VolumeEncoder("stir", **options).fit(X)
    monkeypatch.setattr(store_module, "read_series", lacking)
    with pytest.raises(MissingDependencyError, match="needs nibabel"):
        encoder.prepare(X)


@pytest.mark.parametrize("kind", [af.VolumeEncoder, af.SliceEncoder])
def test_store_is_a_folder(kind: Any, X: pd.DataFrame) -> None:
    with pytest.raises(ConfigurationError, match="store: expected a path of a folder or None"):
        kind("stir", store=3).fit(X)


@pytest.mark.parametrize("described", [ENCODERS[0], ENCODERS[2]], ids=["volume", "slices"])
def test_model_with_a_store_is_saved(described: Any, X: pd.DataFrame, tmp_path: Path) -> None:
    X = X.dropna()
    y = np.array([0, 1, 0, 1])
    mri = clone(described).set_params(store=str(tmp_path / "store"))
    models = [
        af.JointFusionClassifier({"mri": one}, max_epochs=1, random_state=0, verbose=0).fit(X, y)
        for one in (mri, described)
    ]
    again = af.load(models[0].save(tmp_path / "model.asf"))
    for other in (again, models[1]):
        np.testing.assert_array_equal(other.predict_proba(X), models[0].predict_proba(X))
