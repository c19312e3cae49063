"""VolumeEncoder and SliceEncoder: series to voxels to tokens, and what cannot be read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import asfusion as af
from asfusion._random import torch_seed
from asfusion.encoders import _base, _series
from asfusion.encoders._cache import EmbeddingCache
from asfusion.encoders.slices import SliceEncoder
from asfusion.encoders.volume import VolumeEncoder
from asfusion.exceptions import (
    AsfusionWarning,
    ColumnError,
    ConfigurationError,
    ImageReadError,
    InputError,
)
from asfusion.imaging.volumes.series import read_series
from tests.contracts.test_encoders import write_stack
from tests.imaging.slices import dicomdir

ENCODERS = [
    VolumeEncoder(["stir", "t1"], shape=(8, 32, 32)),
    SliceEncoder(["stir", "t1"], size=32),
]
both = pytest.mark.parametrize("described", ENCODERS, ids=["volume", "slices"])


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> EmbeddingCache:
    fresh = EmbeddingCache()
    monkeypatch.setattr(_base, "EMBEDDINGS", fresh)
    return fresh


@pytest.fixture
def X(tmp_path: Path) -> pd.DataFrame:
    """Return six patients; in STIR a bright cube of 12 mm lies right in half of them."""
    rng = np.random.default_rng(0)
    columns: dict[str, list[str | None]] = {"stir": [], "t1": []}
    for row in range(6):
        for column, paths in columns.items():
            stack = rng.integers(0, 100, (6, 40, 40)).astype(np.uint16)
            if column == "stir" and row % 2:
                stack[2:5, 10:22, 5:17] = 900
            folder = tmp_path / f"{column}{row}"
            folder.mkdir()
            write_stack(folder, stack)
            paths.append(str(folder))
    frame = pd.DataFrame(columns)
    frame.loc[2, "t1"] = None
    return frame


@both
def test_a_missing_sequence_is_no_missing_modality(described: Any, X: pd.DataFrame) -> None:
    X.loc[4] = None
    encoder = described.fit(X)
    prepared = encoder.prepare(X)
    assert prepared.present.tolist() == [True] * 4 + [False, True]
    mask = prepared.tensors["mask"].reshape(6, 2, -1).any(dim=2)
    assert mask.tolist() == [[True, True]] * 2 + [[True, False], [True, True], [False] * 2,
                                                  [True, True]]  # fmt: skip
    with torch_seed(0):
        tokens = encoder.build().eval()(prepared.tensors)
    assert tokens.values.shape[1] == 2
    assert torch.equal(tokens.mask, mask)


def test_voxels_lie_where_they_are_in_mm(X: pd.DataFrame) -> None:
    whole = VolumeEncoder("stir", shape=(6, 40, 40)).fit(X)
    voxels = whole.prepare(X).tensors["voxels"][1, 0]
    assert torch.nonzero(voxels > 200).float().mean(dim=0).tolist() == [3.0, 15.5, 10.5]
    fine = VolumeEncoder("stir", shape=(6, 32, 32), spacing=(4.0, 0.5, 0.5)).fit(X)
    voxels = fine.prepare(X).tensors["voxels"][1, 0]  # the middle 16 mm, twice as fine
    bright = torch.nonzero(voxels > 128)
    assert bright[:, 1].min() == 0 and 18 <= bright[:, 1].max() <= 20
    far = VolumeEncoder("stir", shape=(6, 32, 32), spacing=(4.0, 5.0, 5.0)).fit(X)
    rows = (far.prepare(X).tensors["voxels"][1, 0] > 0).any(dim=0).any(dim=1)
    assert rows.sum() == 8  # 40 mm of 160; the rest is black


def test_a_window_in_the_units_of_the_file(X: pd.DataFrame) -> None:
    auto, fixed = VolumeEncoder("stir").fit(X), VolumeEncoder("stir", window=(0, 1800)).fit(X)
    volume = read_series(X.loc[1, "stir"])
    assert auto.on_grid(volume).max() == 255
    assert 120 <= fixed.on_grid(volume).max() <= 128
    quiet = read_series(X.loc[0, "stir"])
    assert auto.on_grid(quiet).max() == 255 and fixed.on_grid(quiet).max() < 20


def test_long_stacks_are_shortened_and_short_ones_read_as_they_are(
    X: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "short").mkdir()
    write_stack(
        tmp_path / "short", np.full((3, 40, 40), 5, dtype=np.uint16) + np.eye(40, dtype=np.uint16)
    )
    X.loc[0, "stir"] = str(tmp_path / "short")
    encoder = SliceEncoder("stir", size=32, n_slices=4).fit(X)
    prepared = encoder.prepare(X)
    assert prepared.tensors["mask"].sum(dim=2).ravel().tolist() == [3, 4, 4, 4, 4, 4]
    assert not prepared.tensors["voxels"][0, 0, 3].any()
    assert encoder.attention(X)[0, 0].round(6).tolist()[3] == 0
    np.testing.assert_allclose(encoder.attention(X).sum(axis=2), 1.0, atol=1e-6)


@both
def test_series_that_cannot_be_read_are_named_by_position(
    described: Any, X: pd.DataFrame, tmp_path: Path
) -> None:
    encoder = described.fit(X)
    shutil.rmtree(X.loc[3, "stir"])
    with pytest.raises(ImageReadError, match=r"Column 'stir', row 3: expected") as caught:
        encoder.prepare(X)
    assert str(tmp_path) not in str(caught.value)
    lenient = type(described)(**{**described.get_params(), "on_error": "missing"}).fit(X)
    with pytest.warns(AsfusionWarning, match=r"1 of 11 series cannot be read") as said:
        prepared = lenient.prepare(X)
    assert str(tmp_path) not in str(said[0].message)
    assert prepared.present.all() and not prepared.tensors["voxels"][3, 0].any()


@both
def test_gaps_are_an_error_or_filled(described: Any, X: pd.DataFrame) -> None:
    slices = sorted(Path(X.loc[3, "stir"]).iterdir())
    slices[2].unlink()
    encoder = described.fit(X)
    with pytest.raises(ImageReadError, match=r"row 3: .*missing"):
        encoder.prepare(X)
    filled = type(described)(**{**described.get_params(), "on_gap": "fill"}).fit(X)
    assert filled.prepare(X).present.all()


@both
def test_a_wrong_folder_is_said_on_fit(described: Any, X: pd.DataFrame) -> None:
    wrong = X.assign(stir="nowhere", t1="nowhere")
    with pytest.raises(ImageReadError, match=r"Column 'stir', row 0"):
        described.fit(wrong)
    lenient = type(described)(**{**described.get_params(), "on_error": "missing"})
    with pytest.raises(ImageReadError, match=r"None of the 12 series can be read"):
        lenient.fit(wrong)
    with pytest.raises(InputError, match=r"expected a series in at least one training row"):
        described.fit(X.assign(stir=None, t1=None))
    with pytest.raises(ColumnError, match=r"expected paths to series of slices, got a number"):
        described.fit(X.assign(stir=1.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": []}, "columns: expected a non-empty str or a list"),
        ({"columns": ["stir", "stir"]}, "expected each column once"),
        ({"backbone": "resnet18"}, "backbone: expected one of"),
        ({"shape": (8, 32)}, "shape: expected three numbers of voxels"),
        ({"shape": (8, 16, 32)}, "shape: expected an integer of at least 32"),
        ({"spacing": (1.0, 2.0)}, "spacing: expected 3 numbers"),
        ({"spacing": (1.0, 0.0, 1.0)}, "spacing: expected distances above 0 mm"),
        ({"window": (5.0, 5.0)}, "window: expected"),
        ({"mode": "frozen"}, "mode: expected 'auto' or 'full'"),
        ({"norm": "frozen"}, "norm: expected 'batch' or 'group'"),
        ({"norm": "layer"}, "norm: expected one of"),
        ({"on_gap": "skip"}, "on_gap: expected one of"),
    ],
)
def test_unusable_parameters(change: dict[str, Any], message: str, X: pd.DataFrame) -> None:
    with pytest.raises(ConfigurationError, match=message):
        VolumeEncoder("stir").set_params(**change).fit(X)


def test_unusable_parameters_of_slices(X: pd.DataFrame) -> None:
    with pytest.raises(ConfigurationError, match="backbone: expected a non-empty str, got int"):
        SliceEncoder("stir", backbone=3).fit(X)
    with pytest.raises(ConfigurationError, match="n_slices: expected an integer"):
        SliceEncoder("stir", n_slices=0).fit(X)


def test_too_many_rows_at_once_are_refused(X: pd.DataFrame, monkeypatch: Any) -> None:
    monkeypatch.setattr(_series, "_MAX_BYTES", 100_000)
    encoder = VolumeEncoder("stir", shape=(8, 64, 64)).fit(X)
    with pytest.raises(InputError, match=r"6 rows of 0\.0 MiB. Use a smaller shape"):
        encoder.prepare(X)


# -- frozen and pretrained -------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path, X: pd.DataFrame) -> str:
    """Return a file with weights for the compact network."""
    with torch_seed(5):
        network = VolumeEncoder("stir", shape=(8, 32, 32)).fit(X).build()
    save_file(network.backbone.body.state_dict(), tmp_path / "ours.safetensors")
    return str(tmp_path / "ours.safetensors")


def test_a_frozen_network_embeds_each_series_once_in_portions(
    X: pd.DataFrame, weights: str, cache: EmbeddingCache, monkeypatch: Any
) -> None:
    seen: list[int] = []
    read = VolumeEncoder._prepare_rows

    def counted(self: Any, frame: Any, rows: Any) -> Any:
        seen.append(len(rows))
        return read(self, frame, rows)

    monkeypatch.setattr(VolumeEncoder, "_prepare_rows", counted)
    monkeypatch.setattr(VolumeEncoder, "_chunk_rows", 4)
    encoder = VolumeEncoder(["stir", "t1"], shape=(8, 32, 32), weights=weights).fit(X)
    assert encoder.is_frozen
    first = encoder.transform(X)
    assert seen == [4, 2]
    np.testing.assert_array_equal(encoder.transform(X.iloc[::-1]), first[::-1])
    assert seen == [4, 2]
    shutil.copytree(X.loc[0, "stir"], X.loc[0, "stir"] + "copy")
    encoder.transform(X.assign(stir=[X.loc[0, "stir"] + "copy", *X["stir"][1:]]))
    assert seen == [4, 2], "the content counts, not its name"
    sorted(Path(X.loc[0, "stir"]).iterdir())[0].unlink()
    changed = encoder.transform(X)
    assert seen == [4, 2, 1], "a changed series is embedded again, and no other"
    assert not np.allclose(changed[0], first[0])


def test_a_dicomdir_is_as_new_as_the_files_that_it_names(
    X: pd.DataFrame, weights: str, tmp_path: Path
) -> None:
    files = sorted(Path(X.loc[0, "stir"]).iterdir())
    names = [[file.parent.name, file.name] for file in files]
    dicomdir(names).save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    X = pd.DataFrame({"stir": [tmp_path / "DICOMDIR"]})
    encoder = VolumeEncoder("stir", shape=(8, 32, 32), weights=weights).fit(X)
    first = encoder.transform(X)
    write_stack(files[0].parent, np.arange(9600, dtype=np.uint16).reshape(6, 40, 40) % 900)
    assert sorted(files[0].parent.iterdir()) == files
    assert not np.allclose(encoder.transform(X), first)


@pytest.mark.parametrize("mode", ["frozen", "last_block", "full"])
def test_what_learns_of_pretrained_weights(X: pd.DataFrame, weights: str, mode: Any) -> None:
    encoder = VolumeEncoder("stir", shape=(8, 32, 32), weights=weights, mode=mode).fit(X)
    network = encoder.build().train()
    assert network.learning_rate_scale == 0.1 and network.hold_statistics
    learning = [n for n, p in network.backbone.named_parameters() if p.requires_grad]
    n_all = len(list(network.backbone.parameters()))
    assert (len(learning) == 0) == (mode == "frozen") and (len(learning) == n_all) == (
        mode == "full"
    )
    norms = [m for m in network.backbone.modules() if isinstance(m, torch.nn.BatchNorm3d)]
    assert norms and not any(m.training for m in norms)


# -- in estimators ---------------------------------------------------------------------


@both
def test_trains_saves_and_loads(described: Any, X: pd.DataFrame, tmp_path: Path) -> None:
    y = np.arange(6) % 2
    model = af.JointFusionClassifier(
        {"mri": described}, max_epochs=2, random_state=0, verbose=0
    ).fit(X, y)
    again = af.load(model.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    alone = model.predict_proba(X.iloc[[2]])
    np.testing.assert_allclose(alone, model.predict_proba(X)[2:3], rtol=1e-4)


def test_attention_learns_and_is_there_to_be_looked_at(X: pd.DataFrame) -> None:
    encoder = SliceEncoder("stir", size=32, augment=False)
    y = np.arange(6) % 2
    untrained = encoder.fit(X).attention(X)
    model = af.JointFusionClassifier(
        {"mri": encoder}, max_epochs=20, learning_rate=3e-3, random_state=0, verbose=0
    ).fit(X, y)
    assert model.score(X, y) == 1.0
    weights = model.encoders_["mri"].attention(X)
    assert weights.shape == (6, 1, 6)
    np.testing.assert_allclose(weights.sum(axis=2), 1.0, atol=1e-6)
    assert not np.allclose(weights, untrained, atol=1e-3)
