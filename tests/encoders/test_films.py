"""Cells of an image column that hold the pictures themselves, and paths below a root."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image

import asfusion as af
from asfusion._frames import Frame
from asfusion.encoders import _base
from asfusion.encoders._cache import EmbeddingCache
from asfusion.encoders.infer import column_roles
from asfusion.exceptions import (
    AsfusionWarning,
    ColumnError,
    ConfigurationError,
    ForeignError,
    ImageReadError,
)
from tests.imaging.files import write_dicom
from tests.nn.test_image import save_model

N_ROWS = 16
RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, (40, 36), dtype=np.uint8) for _ in range(N_ROWS)]
y = np.arange(N_ROWS) % 2


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> EmbeddingCache:
    fresh = EmbeddingCache()
    monkeypatch.setattr(_base, "EMBEDDINGS", fresh)
    return fresh


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model(tmp_path_factory.mktemp("model"), "resnet")


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    for i, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    return [str(tmp_path / f"{i}.png") for i in range(N_ROWS)]


def forms(paths: list[str]) -> dict[str, list[Any]]:
    """Return the same films as paths, bytes, arrays and images of Pillow."""
    return {
        "paths": list(paths),
        "bytes": [Path(path).read_bytes() for path in paths],
        "arrays": list(PICTURES),
        "pillow": [Image.open(io.BytesIO(Path(path).read_bytes())) for path in paths],
        "mixed": [paths[0], Path(paths[1]), Path(paths[2]).read_bytes(), *PICTURES[3:]],
    }


def table(cells: list[Any]) -> pd.DataFrame:
    X = pd.DataFrame({"crp": np.linspace(1.0, 9.0, len(cells))})
    X["xray"] = pd.Series(cells, dtype=object)
    return X


FORMS = ["paths", "bytes", "arrays", "pillow", "mixed"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("store", [False, True])
def test_pictures_in_memory_are_read_as_their_files_are(
    paths: list[str], form: str, store: bool, tmp_path: Path
) -> None:
    cells = forms(paths)[form]
    cells[4] = None
    options = {"store": tmp_path / "store"} if store else {}
    encoder = af.ImageEncoder("xray", size=32, **options).fit(table(cells))
    prepared = encoder.prepare(table(cells))
    expected = af.ImageEncoder("xray", size=32).fit(table(paths)).prepare(table(paths))
    there = np.arange(N_ROWS) != 4
    np.testing.assert_array_equal(prepared.present.numpy(), there)
    assert torch.equal(prepared.tensors["pixels"][there], expected.tensors["pixels"][there])
    assert not prepared.tensors["pixels"][4].any()


def test_dicom_bytes(tmp_path: Path) -> None:
    write_dicom(tmp_path / "film.dcm", PICTURES[0], WindowCenter=128, WindowWidth=256)
    X = table([(tmp_path / "film.dcm").read_bytes(), str(tmp_path / "film.dcm")])
    pixels = af.ImageEncoder("xray", size=32).fit(X).prepare(X).tensors["pixels"]
    assert torch.equal(pixels[0], pixels[1]) and pixels[0].any()


def test_polars_keeps_bytes_and_objects(paths: list[str]) -> None:
    expected = af.ImageEncoder("xray", size=32).fit(table(paths)).prepare(table(paths))
    for form, dtype in (("bytes", pl.Binary), ("arrays", pl.Object), ("pillow", pl.Object)):
        cells = [*forms(paths)[form], None]
        X = pl.DataFrame({"xray": pl.Series(cells, dtype=dtype)})
        prepared = af.ImageEncoder("xray", size=32).fit(X).prepare(X)
        assert torch.equal(prepared.tensors["pixels"][:-1], expected.tensors["pixels"])
        assert not prepared.present[-1]
    nested = pl.DataFrame({"xray": pl.Series([picture.tolist() for picture in PICTURES])})
    with pytest.raises(ColumnError, match="row 0: expected the path of an image file.*pl.Object"):
        af.ImageEncoder("xray", size=32).fit(nested)


@pytest.mark.parametrize("form", FORMS)
def test_frozen_backbone_knows_a_content_again(
    paths: list[str], resnet: str, cache: EmbeddingCache, form: str
) -> None:
    cells = forms(paths)[form]
    encoder = af.ImageEncoder("xray", backbone=resnet, size=32)
    vectors = encoder.fit(table(cells)).transform(table(cells))
    assert len(cache) == N_ROWS
    again = forms(paths)[form]  # other objects of the same content
    encoder.network_.backbone.register_forward_hook(_fail)
    np.testing.assert_array_equal(encoder.transform(table(again)), vectors)
    changed = [PICTURES[0] // 2, *again[1:]]
    with pytest.raises(ForeignError, match="got RuntimeError in tests.encoders.test_films"):
        encoder.transform(table(changed))


def _fail(*_: Any) -> None:
    raise RuntimeError("the backbone was asked")


@pytest.mark.parametrize("form", FORMS)
def test_films_in_memory_are_fused_and_saved_nowhere(
    paths: list[str], resnet: str, form: str, tmp_path: Path
) -> None:
    X = table(forms(paths)[form])
    parts = {
        "film": af.ImageEncoder("xray", backbone=resnet, size=32),
        "labs": af.TabularEncoder("crp"),
    }
    network = af.JointFusionClassifier(parts, max_epochs=1, verbose=0, random_state=0)
    for model in (network, af.EarlyFusionClassifier(parts, verbose=0, random_state=0)):
        expected = model.fit(X, y).predict_proba(X)
        path = model.save(tmp_path / "model.asf")
        np.testing.assert_array_equal(af.load(path).predict_proba(X), expected)
        saved = b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())
        assert PICTURES[0].tobytes() not in saved and Path(paths[0]).read_bytes() not in saved


@pytest.mark.parametrize("form", ["bytes", "arrays", "pillow"])
def test_films_in_memory_are_compared_and_answers_found_again(
    paths: list[str], form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"film": af.ImageEncoder("xray", size=32), "labs": af.TabularEncoder("crp")}
    network = af.JointFusionClassifier(max_epochs=1, verbose=0)
    options = {"network": network, "families": ["joint"], "cv": 2, "n_bootstrap": 20}
    kept = tmp_path / "kept"
    boards = [
        af.compare(table(forms(paths)[form]), y, parts, checkpoint=kept, verbose=1, **options)
        for _ in range(2)
    ]
    assert "8 of 8 fits are there already" in capsys.readouterr().out
    np.testing.assert_array_equal(*(board.predictions["joint: concat"] for board in boards))
    other = forms(paths)[form]
    other[0] = other[1]
    af.compare(table(other), y, parts, checkpoint=kept, verbose=1, **options)
    assert "are there already" not in capsys.readouterr().out


@pytest.mark.parametrize("form", FORMS)
def test_columns_of_pictures_are_inferred(paths: list[str], form: str) -> None:
    cells = [None, *forms(paths)[form]]
    assert column_roles(Frame.read(table(cells)))["xray"] == "image"


@pytest.mark.parametrize(
    "cells",
    [[b"male", b"female", b"male"], [np.zeros(3), np.ones(3), None]],
    ids=["text", "vectors"],
)
def test_other_bytes_and_arrays_are_no_pictures(cells: list[Any]) -> None:
    assert column_roles(Frame.read(table(cells)))["xray"] != "image"


def test_unreadable_content_is_told_by_row_without_a_word_of_it(paths: list[str]) -> None:
    X = table([PICTURES[0], b"Jane Doe, 1971", np.zeros(4), 7])
    encoder = af.ImageEncoder("xray", size=32)
    with pytest.raises(ColumnError, match="row 3: expected the path of an image file.* got int"):
        encoder.fit(X)
    fitted = encoder.fit(X.head(1))
    with pytest.raises(ImageReadError, match="Column 'xray', row 1: expected a PNG") as caught:
        fitted.prepare(X.head(3))
    assert "Jane" not in str(caught.value) and "root=" not in str(caught.value)
    fitted.set_params(on_error="missing")
    with pytest.warns(AsfusionWarning, match=r"2 of 3 image file\(s\) cannot be read"):
        assert fitted.prepare(X.head(3)).present.tolist() == [True, False, False]


# -- paths below a root ------------------------------------------------------------------


def test_relative_films_start_at_root(paths: list[str], df_module: ModuleType) -> None:
    root = Path(paths[0]).parent
    X = df_module.DataFrame({"xray": [*(Path(p).name for p in paths[:3]), paths[3], None]})
    for given in (root, str(root)):
        encoder = af.ImageEncoder("xray", size=32, root=given).fit(X)
        assert encoder.prepare(X).present.tolist() == [True] * 4 + [False]
    expected = encoder.prepare(X)
    stored = encoder.set_params(store=root / "store").prepare(X)
    assert torch.equal(stored.tensors["pixels"], expected.tensors["pixels"])


@pytest.mark.parametrize("kind", [af.VolumeEncoder, af.SliceEncoder])
def test_relative_series_start_at_root(kind: Any, tmp_path: Path) -> None:
    cohort = af.datasets.make_axspa_cohort(4, random_state=0, path=tmp_path, modalities=["mri"])
    X = cohort.X[["mri_stir"]].dropna()
    relative = X.map(lambda path: str(Path(path).relative_to(tmp_path.absolute())))
    size = {"shape": (8, 32, 32)} if kind is af.VolumeEncoder else {"size": 32}
    expected = kind("mri_stir", **size).fit(X).prepare(X)
    for store in (None, tmp_path / "store"):
        encoder = kind("mri_stir", root=tmp_path, store=store, **size).fit(relative)
        found = encoder.prepare(relative)
        assert torch.equal(found.tensors["voxels"], expected.tensors["voxels"])
    assert encoder._cell_keys(Frame.read(relative)) == kind("mri_stir", **size).fit(X)._cell_keys(
        Frame.read(X)
    )
    with pytest.raises(ImageReadError, match="The path is relative to the working dir.*root=") as e:
        kind("mri_stir", **size).fit(relative)
    assert relative["mri_stir"].iloc[0] not in str(e.value)


def test_a_missing_file_is_told_where_paths_start(paths: list[str], tmp_path: Path) -> None:
    here, there = table([*paths[:1], "Jane_Doe.png"]), table([*paths[:1], "/Jane_Doe.png"])
    start = "The path is relative to the working directory: root= names another folder"
    for X, match, told in (
        (here, f"row 1: expected an existing file.*{start}", {}),
        (here, f"row 1: expected an existing file.*{start}", {"store": tmp_path / "store"}),
        (here, "row 1: .*The path is relative to root=", {"root": tmp_path}),
    ):
        with pytest.raises(ImageReadError, match=match) as caught:
            af.ImageEncoder("xray", size=32, **told).fit(X).prepare(X)
        assert "Jane" not in str(caught.value) and str(tmp_path) not in str(caught.value)
    for options in ({}, {"root": tmp_path}):
        with pytest.raises(ImageReadError, match="row 1: ") as caught:
            af.ImageEncoder("xray", size=32, **options).fit(there).prepare(there)
        assert "root=" not in str(caught.value)
    lenient = af.ImageEncoder("xray", size=32, on_error="missing").fit(here)
    with pytest.warns(AsfusionWarning, match=start):
        lenient.prepare(here)


@pytest.mark.parametrize("kind", [af.ImageEncoder, af.VolumeEncoder, af.SliceEncoder])
def test_root_is_a_folder(kind: Any, paths: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="root: expected a path of a folder or None, got"):
        kind("xray", root=7).fit(table(paths))


def test_a_comparison_below_a_root_is_known_by_its_films(paths: list[str], tmp_path: Path) -> None:
    from asfusion.comparison._store import _column_digest

    root = Path(paths[0]).parent
    X = Frame.read(table([Path(path).name for path in paths]))
    encoder = af.ImageEncoder("xray", root=root)
    before = _column_digest(X, "xray", encoder)
    assert before == _column_digest(Frame.read(table(paths)), "xray", af.ImageEncoder("xray"))
    Image.fromarray(PICTURES[1]).save(root / "0.png")
    assert _column_digest(X, "xray", encoder) != before
    assert "root" not in encoder._folders()


# -- explained ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_films_are_explained_on_their_own_pixels(paths: list[str], form: str) -> None:
    X = table(forms(paths)[form])
    model = af.JointFusionClassifier(
        {"film": af.ImageEncoder("xray", size=32), "labs": af.TabularEncoder("crp")},
        max_epochs=1, verbose=0, random_state=0,
    ).fit(X, y)  # fmt: skip
    found = af.explain(model, X.head(2), image_method="integrated_gradients", verbose=0)["film"]
    assert [(part.extent.rows, part.extent.columns) for part in found] == [(40, 36)] * 2
    assert found[0].at_original().values.shape == (40, 36)


def test_films_and_series_below_a_root_are_explained(tmp_path: Path) -> None:
    cohort = af.datasets.make_axspa_cohort(
        8, random_state=0, path=tmp_path, modalities=["mri", "xray"]
    )
    columns = ["mri_stir", "pelvis_xray"]
    X = cohort.X[columns].dropna()
    relative = X.map(lambda path: str(Path(path).relative_to(tmp_path.absolute())))
    parts = {
        "mri": af.SliceEncoder("mri_stir", size=32, root=tmp_path),
        "film": af.ImageEncoder("pelvis_xray", size=32, root=tmp_path),
    }
    model = af.JointFusionClassifier(parts, max_epochs=1, verbose=0, random_state=0)
    model.fit(relative, np.arange(len(X)) % 2)
    explained = af.explain(model, relative.head(1), image_method="integrated_gradients", verbose=0)
    assert explained["film"][0].extent.rows > 32
    assert explained["mri"][0]["mri_stir"].values.ndim == 3
