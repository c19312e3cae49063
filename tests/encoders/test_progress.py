"""Bars of an encoder: silent by itself, and as a call around it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import asfusion as af
from asfusion import _progress
from asfusion._progress import progress, progress_shown, shown_by_caller
from asfusion.encoders._cache import EMBEDDINGS
from tests.nn.test_image import save_model

y = np.arange(8) % 2


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "_DELAY_S", 0.0)
    EMBEDDINGS.clear()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = save_model(tmp_path_factory.mktemp("model"), "resnet")
    return af.ImageEncoder("xray", backbone=model, size=32)


@pytest.fixture
def X(tmp_path: Path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    return pd.DataFrame({"xray": [str(tmp_path / f"{i}.png") for i in range(8)]})


@pytest.mark.parametrize("store", [False, True])
def test_an_encoder_by_itself_is_silent(
    encoder: Any, X: pd.DataFrame, store: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder.set_params(store=tmp_path / "store" if store else None)
    encoder.fit(X).transform(X)
    make_pipeline(encoder, LogisticRegression()).fit(X, y).predict(X)
    encoder.set_params(store=None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verbose", [0, 1])
def test_an_encoder_within_an_estimator_is_as_verbose_as_that(
    encoder: Any, X: pd.DataFrame, verbose: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model = af.EarlyFusionClassifier({"film": encoder}, verbose=verbose).fit(X, y)
    assert ("Embedding" in capsys.readouterr().err) == bool(verbose)
    EMBEDDINGS.clear()
    model.predict(X)
    assert ("Embedding" in capsys.readouterr().err) == bool(verbose)
    EMBEDDINGS.clear()
    model.features(X)
    model.encoders_["film"].transform(X)
    assert capsys.readouterr().err == ""


def test_whoever_is_outermost_and_silent_decides(capsys: pytest.CaptureFixture[str]) -> None:
    list(progress([1], "Alone"))
    with shown_by_caller():
        list(progress([1], "Encoder"))
    with progress_shown(True), shown_by_caller():
        list(progress([1], "Told"))
    with progress_shown(False), progress_shown(True), shown_by_caller():
        list(progress([1], "Hidden"))
    told = capsys.readouterr().err
    assert "Alone" in told and "Told" in told
    assert "Encoder" not in told and "Hidden" not in told
