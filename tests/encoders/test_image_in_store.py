"""ImageEncoder with a store: the same tensors, decoded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone

import asfusion as af
import asfusion.imaging.stores.image_store as store_module
from asfusion.exceptions import AsfusionWarning, ConfigurationError, ImageReadError


@pytest.fixture
def X(tmp_path: Path) -> pd.DataFrame:
    files: list[Path | None] = []
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (50, 40)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        files.append(tmp_path / f"{i}.png")
    files[2] = None
    return pd.DataFrame({"xray": files})


def test_tensors_are_the_same_and_decoded_once(
    X: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = af.ImageEncoder("xray", size=48).fit(X).prepare(X)
    encoder = af.ImageEncoder("xray", size=48, store=tmp_path / "store").fit(X)
    stored = encoder.prepare(X)
    assert torch.equal(stored.tensors["pixels"], plain.tensors["pixels"])
    assert torch.equal(stored.present, plain.present)
    monkeypatch.setattr(store_module, "read_pixels", lambda *_: pytest.fail("decoded again"))
    again = clone(encoder).fit(X).prepare(X.iloc[::-1])
    assert torch.equal(again.tensors["pixels"].flip(0), plain.tensors["pixels"])


def test_unreadable_files_are_named_by_column_and_row(X: pd.DataFrame, tmp_path: Path) -> None:
    encoder = af.ImageEncoder("xray", size=48, store=str(tmp_path / "store")).fit(X)
    (tmp_path / "4.png").write_bytes(b"nothing")
    with pytest.raises(ImageReadError, match=r"Column 'xray', row 4: expected a PNG") as caught:
        encoder.prepare(X)
    assert str(tmp_path) not in str(caught.value)
    encoder.set_params(on_error="missing")
    with pytest.warns(AsfusionWarning, match=r"1 of 5 image file\(s\) cannot be read"):
        prepared = encoder.prepare(X)
    assert prepared.present.tolist() == [True, True, False, True, False, True]


def test_store_is_a_folder(X: pd.DataFrame) -> None:
    with pytest.raises(ConfigurationError, match="store: expected a path of a folder or None"):
        af.ImageEncoder("xray", store=3).fit(X)


def test_model_with_a_store_is_saved(X: pd.DataFrame, tmp_path: Path) -> None:
    X = X.dropna()
    y = np.array([0, 1, 0, 1, 0])
    xray = af.ImageEncoder("xray", size=32, store=str(tmp_path / "store"))
    model = af.JointFusionClassifier({"xray": xray}, max_epochs=1, random_state=0, verbose=0)
    model.fit(X, y)
    model.save(tmp_path / "model.asf")
    again = af.load(tmp_path / "model.asf")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
