"""ImageEncoder: files to pixels to tokens; what is missing, and what cannot be read."""

from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn

from asfusion._random import torch_seed
from asfusion.encoders import _base
from asfusion.encoders._cache import EmbeddingCache
from asfusion.encoders.image import ImageEncoder
from asfusion.exceptions import (
    AsfusionWarning,
    ColumnError,
    ConfigurationError,
    ImageReadError,
    InputError,
)
from asfusion.imaging import RadiographAugment
from asfusion.nn.network import EncoderNetwork
from tests.imaging.files import write_dicom
from tests.nn.test_image import save_model


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> EmbeddingCache:
    fresh = EmbeddingCache()
    monkeypatch.setattr(_base, "EMBEDDINGS", fresh)
    return fresh


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Return five images of different kinds, each of another grey."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(40 * i, 40 * i + 60, (50, 40), dtype=np.uint8) for i in range(5)]
    paths = [tmp_path / f"{i}.png" for i in range(3)] + [tmp_path / "3.jpg", tmp_path / "4.dcm"]
    for path, picture in zip(paths[:4], pictures, strict=False):
        Image.fromarray(picture).save(path)
    write_dicom(paths[4], pictures[4], WindowCenter=128, WindowWidth=256)
    return paths


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder with a tiny pretrained network that has batch statistics."""
    return save_model(tmp_path_factory.mktemp("resnet"), "resnet")


def table(*cells: Any) -> pd.DataFrame:
    return pd.DataFrame({"xray": list(cells)}, dtype=object)


def encoder(**options: Any) -> ImageEncoder:
    return ImageEncoder("xray", **{"size": 64, **options})


# -- rows ------------------------------------------------------------------------------


def test_rows_become_pixels_in_order(files: list[Path]) -> None:
    X = table(files[0], None, str(files[1]), float("nan"), files[4], pd.NA, "  ")
    prepared = encoder().fit(X).prepare(X)
    pixels = prepared.tensors["pixels"]
    assert pixels.shape == (7, 1, 64, 64)
    assert pixels.dtype == torch.uint8
    assert prepared.present.tolist() == [True, False, True, False, True, False, False]
    means = pixels.double().mean(dim=(1, 2, 3))
    assert means[[0, 2, 4]].diff().min() > 15
    assert means[[1, 3, 5, 6]].max() == 0


def test_pandas_and_polars_are_the_same(df_module: ModuleType, files: list[Path]) -> None:
    X = df_module.DataFrame({"id": [1, 2, 3], "xray": [str(files[0]), None, str(files[2])]})
    prepared = encoder().fit(X).prepare(X)
    expected = encoder().fit(table(files[0])).prepare(table(files[0], None, files[2]))
    assert torch.equal(prepared.tensors["pixels"], expected.tensors["pixels"])
    assert torch.equal(prepared.present, expected.present)


def test_pathlike_in_polars(files: list[Path]) -> None:
    import polars as pl

    X = pl.DataFrame({"xray": pl.Series([files[0], None], dtype=pl.Object)})
    assert encoder().fit(X).prepare(X).present.tolist() == [True, False]


def test_category_column(files: list[Path]) -> None:
    X = table(*map(str, files[:2])).astype("category")
    assert encoder().fit(X).prepare(X).present.all()


def test_relative_paths(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files[0].parent)
    assert encoder().fit(table("0.png")).prepare(table("0.png")).present.all()


def test_three_channels(tmp_path: Path) -> None:
    red = np.zeros((64, 64, 3), dtype=np.uint8)
    red[..., 0] = 90
    Image.fromarray(red).save(tmp_path / "a.png")
    X = table(tmp_path / "a.png")
    pixels = encoder(channels=3).fit(X).prepare(X).tensors["pixels"]
    assert pixels[0, :, 3, 3].tolist() == [90, 0, 0]


def test_all_rows_missing_after_fit(files: list[Path]) -> None:
    fitted = encoder().fit(table(files[0]))
    for empty in (table(None, None), pd.DataFrame({"xray": [np.nan, np.nan]})):
        assert not fitted.prepare(empty).present.any()
        assert np.isnan(fitted.transform(empty)).all()


def test_many_files_in_threads_keep_their_rows(tmp_path: Path) -> None:
    greys = np.random.default_rng(0).permutation(60)
    for i, grey in enumerate(greys):
        Image.fromarray(np.full((32, 32), grey, dtype=np.uint8)).save(tmp_path / f"{i}.png")
    X = table(*(tmp_path / f"{i}.png" for i in range(60)))
    pixels = encoder(size=32).fit(X).prepare(X).tensors["pixels"]
    assert pixels[:, 0, 5, 5].tolist() == greys.tolist()


# -- files that cannot be read ---------------------------------------------------------


def test_unreadable_file_names_row_and_column_only(files: list[Path]) -> None:
    secret = files[0].parent / "Jane_Doe_1971.png"
    secret.write_bytes(files[0].read_bytes()[:60])
    X = table(files[0], None, secret, files[1])
    fitted = encoder().fit(X)
    with pytest.raises(ImageReadError, match="Column 'xray', row 2: expected a readable") as caught:
        fitted.prepare(X)
    assert "Jane" not in str(caught.value)
    assert "on_error='missing'" in str(caught.value)


def test_missing_file_names_row_and_column_only(files: list[Path]) -> None:
    X = table(files[0], "Jane_Doe_1971.png")
    with pytest.raises(ImageReadError, match="Column 'xray', row 1: expected an existing file"):
        encoder().fit(X).transform(X)


def test_position_is_that_of_the_table_also_beside_cached_rows(
    files: list[Path], resnet: str
) -> None:
    fitted = encoder(backbone=resnet).fit(table(files[0]))
    fitted.embed(table(*files[:4]))
    with pytest.raises(ImageReadError, match="row 3: "):
        fitted.embed(table(*files[:3], "nowhere.png", files[3]))


@pytest.mark.parametrize("frozen", [False, True])
def test_unreadable_file_as_a_missing_modality(
    files: list[Path], resnet: str, frozen: bool
) -> None:
    empty = files[0].parent / "empty.png"
    empty.touch()
    X = table(files[0], "nowhere.png", None, empty, files[1], empty)
    options = {"backbone": resnet} if frozen else {}
    fitted = encoder(on_error="missing", **options).fit(X)
    with pytest.warns(AsfusionWarning, match=r"3 of 5 image file\(s\) cannot be read") as caught:
        embedded = fitted.embed(X)
    assert len(caught) == 1
    assert "row 1: expected an existing file" in str(caught[0].message)
    assert "nowhere" not in str(caught[0].message)
    assert embedded.present.tolist() == [True, False, False, False, True, False]
    with pytest.warns(AsfusionWarning, match="3 of 3" if frozen else "3 of 5"):
        again = fitted.embed(X)
    assert torch.equal(again.tensors["values"], embedded.tensors["values"])
    assert np.isnan(fitted_transform(fitted, X)[[1, 2, 3, 5]]).all()


def fitted_transform(fitted: ImageEncoder, X: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AsfusionWarning)
        return fitted.transform(X)


def test_one_unreadable_row_alone_is_missing_as_among_many(files: list[Path]) -> None:
    fitted = encoder(on_error="missing").fit(table(files[0]))
    with pytest.warns(AsfusionWarning, match="1 of 1"):
        assert not fitted.prepare(table("nowhere.png")).present.any()


@pytest.mark.parametrize("on_error", ["raise", "missing"])
def test_wrong_folder_is_an_error_either_way(on_error: str) -> None:
    X = table("a.png", None, "b.png")
    match = (
        "row 0: .* None of the 2 files" if on_error == "missing" else "row 0: .*Correct the path"
    )
    with pytest.raises(ImageReadError, match=match):
        encoder(on_error=on_error).fit(X)


def test_fit_reads_on_until_one_file_is_readable(files: list[Path]) -> None:
    X = table("nowhere.png", files[0])
    assert encoder(on_error="missing").fit(X).size_ == 64
    with pytest.raises(ImageReadError, match="row 0: "):
        encoder().fit(X)


def test_first_error_stops_the_reading(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from asfusion.encoders import image

    calls: list[str] = []
    stopped = threading.Event()
    real, shutdown = image.read_image, ThreadPoolExecutor.shutdown

    def count(path: str, **options: Any) -> Any:
        calls.append(path)
        if len(calls) > 100:  # reads that fail at once could end all before anyone can stop them
            stopped.wait()
        return real(path, **options)

    def stop(pool: ThreadPoolExecutor, *, wait: bool = True, cancel_futures: bool = False) -> None:
        shutdown(pool, wait=False, cancel_futures=cancel_futures)
        stopped.set()
        shutdown(pool, wait=wait)

    X = table(files[0], *["nowhere.png"] * 3000)
    fitted = encoder(size=32).fit(X)
    monkeypatch.setattr(image, "read_image", count)
    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", stop)
    with pytest.raises(ImageReadError, match="row 1: "):
        fitted.prepare(X)
    assert len(calls) < 3000


# -- parameters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"size": 16}, "size: expected an integer of at least 32"),
        ({"size": "big"}, "size: expected an integer"),
        ({"channels": 2}, r"channels: expected 1 \(grey\) or 3 \(RGB\), got 2"),
        ({"mode": "freeze"}, "mode: expected one of .* Did you mean 'frozen'"),
        ({"mode": "frozen"}, "mode: expected 'auto' or 'full' with backbone='compact'"),
        ({"mode": "last_block", "backbone": "resnet18"}, "no pretrained weights to keep"),
        ({"d_out": 0}, "d_out: expected an integer of at least 1"),
        ({"dropout": 1.0}, "dropout: expected a number in"),
        ({"on_error": "skip"}, "on_error: expected one of 'raise', 'missing'"),
        ({"backbone": None}, "backbone: expected a non-empty str, got NoneType"),
        ({"backbone": "resnet81"}, "Did you mean 'resnet18'"),
        ({"column": ["xray"]}, "column: expected a non-empty str, got list"),
    ],
)
def test_unusable_parameter(files: list[Path], options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        ImageEncoder(**{"column": "xray", **options}).fit(table(files[0]))


def test_wrong_column(files: list[Path]) -> None:
    with pytest.raises(ColumnError, match=r"ImageEncoder: expected the column 'xrya' .* 'xray'"):
        ImageEncoder("xrya").fit(table(files[0]))
    with pytest.raises(ColumnError, match="expected paths to image files, got a number column"):
        encoder().fit(pd.DataFrame({"xray": [1.0, 2.0]}))
    fitted = encoder().fit(table(files[0]))
    with pytest.raises(ColumnError, match="got a number column"):
        fitted.prepare(pd.DataFrame({"xray": [1.0, 2.0]}))


def test_no_image_at_all() -> None:
    with pytest.raises(InputError, match=r"at least one training row, got 2 row\(s\) without any"):
        encoder().fit(table(None, "  "))


def test_constructor_keeps_what_it_is_given() -> None:
    made = ImageEncoder("xray", backbone="vit_tiny", size=96, pool=False, d_out=8)
    copy = clone(made)
    assert copy.get_params() == made.get_params()
    assert not [name for name in vars(copy) if name.endswith("_")]


def test_default_sizes(files: list[Path], resnet: str) -> None:
    X = table(files[0])
    assert ImageEncoder("xray").fit(X).size_ == 128
    assert ImageEncoder("xray", backbone="resnet18").fit(X).size_ == 224
    assert ImageEncoder("xray", backbone=resnet).fit(X).size_ == 224


def test_fit_learns_nothing_from_pixels(files: list[Path]) -> None:
    one, other = encoder().fit(table(files[0])), encoder().fit(table(*files))
    state = [{k: v for k, v in vars(e).items() if k.endswith("_")} for e in (one, other)]
    assert state[0] == state[1]


# -- networks --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["compact", "mobilenet_v2", "vit_tiny", "efficientnet_lite0"])
def test_backbone_embeds_and_is_rebuilt(files: list[Path], name: str) -> None:
    X = table(files[0], None, files[1])
    fitted = encoder(backbone=name).fit(X)
    vectors = fitted.transform(X)
    assert vectors.dtype == np.float64
    assert vectors.shape == (3, len(fitted.get_feature_names_out()))
    assert np.isnan(vectors[1]).all()
    assert np.isfinite(vectors[[0, 2]]).all()
    restored = ImageEncoder.__new__(ImageEncoder)
    restored._restore_bundle_state(fitted._bundle_state())
    restored.network_ = restored.build(pretrained=False)
    restored.network_.load_state_dict(fitted.network_.state_dict(), strict=True)
    assert np.array_equal(restored.transform(X), vectors, equal_nan=True)


def test_folder_is_not_needed_to_rebuild(files: list[Path], tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", "resnet")
    fitted = encoder(backbone=folder).fit(table(files[0]))
    vectors = fitted.transform(table(files[0]))
    for file in Path(folder).iterdir():
        file.unlink()
    again = fitted.build(pretrained=False)
    again.load_state_dict(fitted.network_.state_dict(), strict=True)
    fitted.network_ = again
    assert np.array_equal(fitted.transform(table(files[0])), vectors)


def test_fitted_state_is_plain(files: list[Path], resnet: str) -> None:
    import json

    fitted = encoder(backbone=resnet).fit(table(files[0]))
    state = fitted._bundle_state()
    assert json.loads(json.dumps(state["fitted"]["backbone_config_"]))
    assert set(state["fitted"]) == {"columns_", "backbone_config_", "size_"}


@pytest.mark.parametrize(
    ("options", "mode", "rate", "frozen"),
    [
        ({}, "full", 1.0, False),
        ({"backbone": "resnet18", "mode": "full"}, "full", 1.0, False),
        ({"backbone": "folder"}, "frozen", 0.1, True),
        ({"backbone": "folder", "mode": "full"}, "full", 0.1, False),
        ({"backbone": "folder", "mode": "last_block"}, "last_block", 0.1, False),
        ({"backbone": "folder", "mode": "frozen"}, "frozen", 0.1, True),
    ],
)
def test_modes(
    files: list[Path], resnet: str, options: dict[str, Any], mode: str, rate: float, frozen: bool
) -> None:
    if options.get("backbone") == "folder":
        options = {**options, "backbone": resnet}
    made = encoder(**options)
    assert made.is_frozen is frozen
    assert made.needs_training is not frozen
    network = made.fit(table(files[0])).build()
    assert network.training_mode == mode
    assert network.learning_rate_scale == rate
    augmented = any(isinstance(part, RadiographAugment) for part in network.modules())
    assert augmented is not frozen


def test_no_augmentation_when_not_wanted(files: list[Path]) -> None:
    network = encoder(augment=False).fit(table(files[0])).build()
    assert not any(isinstance(part, RadiographAugment) for part in network.modules())


def test_pool_gives_one_token_or_one_per_position(files: list[Path]) -> None:
    X = table(*files[:2])
    assert encoder().fit(X).embed(X).tensors["values"].shape == (2, 1, 128)
    assert encoder(pool=False).fit(X).embed(X).tensors["values"].shape == (2, 16, 128)


def test_grey_images_reach_a_network_that_reads_colours(files: list[Path], resnet: str) -> None:
    X = table(*files[:2])
    grey = encoder(backbone=resnet).fit(X).transform(X)
    colour = encoder(backbone=resnet, channels=3).fit(X).transform(X)
    assert np.allclose(grey, colour, atol=1e-5)


def test_a_seed_gives_the_same_network(files: list[Path]) -> None:
    fitted = encoder().fit(table(files[0]))
    states = []
    for _ in range(2):
        with torch_seed(5):
            states.append(fitted.build().state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_network_learns_from_pixels(tmp_path: Path) -> None:
    """Bars that lie or stand, at random places: augmentation on, one pass of 30 steps."""
    X, y = bars(tmp_path, 32)
    fitted = encoder(size=32, d_out=16).fit(X)
    prepared = fitted.prepare(X)
    with torch_seed(0):
        network: EncoderNetwork = fitted.build()
        head = nn.Linear(16, 2)
        optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=1e-3)
        network.train()
        for _ in range(40):
            optimizer.zero_grad()
            outputs = head(network(dict(prepared.tensors)).pool())
            loss = nn.functional.cross_entropy(outputs, torch.from_numpy(y))
            loss.backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        outputs = head(network(dict(prepared.tensors)).pool())
    assert (outputs.argmax(dim=1).numpy() == y).mean() > 0.9


def bars(folder: Path, n: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    for i, stands in enumerate(y):
        picture = rng.integers(0, 40, (32, 32), dtype=np.uint8)
        top, left = rng.integers(3, 17, 2)
        height, width = (12, 4) if stands else (4, 12)
        picture[top : top + height, left : left + width] = 220
        Image.fromarray(picture).save(folder / f"{i}.png")
    return table(*(folder / f"{i}.png" for i in range(n))), y


# -- embedding once --------------------------------------------------------------------


def test_each_file_is_embedded_once_for_all(
    files: list[Path], resnet: str, cache: EmbeddingCache
) -> None:
    X = table(*files, None, files[0])
    first = encoder(backbone=resnet).fit(X)
    vectors = first.transform(X)
    assert len(cache) == 5
    assert np.array_equal(vectors[0], vectors[6])
    other = encoder(backbone=resnet, d_out=8, dropout=0.5).fit(X)
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    other._network().backbone.register_forward_hook(count)
    assert np.array_equal(other.transform(X), vectors, equal_nan=True)
    assert passes == 0


def test_content_counts_not_the_name(files: list[Path], resnet: str, cache: EmbeddingCache) -> None:
    fitted = encoder(backbone=resnet).fit(table(files[0]))
    before = fitted.transform(table(files[0]))
    copy = files[0].with_name("copy.png")
    copy.write_bytes(files[0].read_bytes())
    assert np.array_equal(fitted.transform(table(copy)), before)
    assert len(cache) == 1
    files[0].write_bytes(files[1].read_bytes())
    assert not np.array_equal(fitted.transform(table(files[0])), before)


@pytest.mark.parametrize("change", [{"size": 96}, {"channels": 3}, {"pool": False}])
def test_settings_that_change_an_embedding_are_part_of_its_name(
    files: list[Path], resnet: str, cache: EmbeddingCache, change: dict[str, Any]
) -> None:
    X = table(files[0])
    encoder(backbone=resnet).fit(X).embed(X)
    encoder(backbone=resnet, **change).fit(X).embed(X)
    assert len(cache) == 2


def test_row_has_the_same_bits_alone_and_among_many(
    files: list[Path], cache: EmbeddingCache
) -> None:
    fitted = encoder(backbone="efficientnet_lite0").fit(table(files[0]))
    together = fitted.transform(table(*files))
    cache.clear()
    alone = np.vstack([fitted.transform(table(file)) for file in files])
    assert np.array_equal(together, alone)


def test_stands_in_a_pipeline(tmp_path: Path, resnet: str) -> None:
    X, y = bars(tmp_path, 12)
    model = make_pipeline(encoder(size=32, backbone=resnet), LogisticRegression())
    assert model.fit(X, y).predict(X).shape == (12,)


def test_real_radiographs_in_a_few_lines(shared_data: Path, resnet: str) -> None:
    folder = shared_data / "cxr"
    cohort = pd.read_csv(folder / "cohort.csv", nrows=8)
    X = pd.DataFrame({"xray": [folder / name for name in cohort["image"]]})
    assert np.isfinite(encoder(backbone=resnet).fit(X).transform(X)).all()


# -- weights from a file, and norms --------------------------------------------------------


def test_weights_of_a_file_are_frozen_saved_and_no_longer_needed(
    files: list[Path], tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    from asfusion.estimators.joint import JointFusionClassifier
    from asfusion.persistence import load

    X, y = pd.DataFrame({"film": [str(f) for f in files]}), [0, 1, 0, 1, 0]
    with torch_seed(7):
        learned = ImageEncoder("film", size=32, channels=3).fit(X).build().backbone.body
    save_file(learned.state_dict(), tmp_path / "w.safetensors")
    encoder = ImageEncoder("film", size=32, weights=str(tmp_path / "w.safetensors"))
    model = JointFusionClassifier({"film": encoder}, max_epochs=1, verbose=0, random_state=0)
    model.fit(X, y)
    assert model.encoders_["film"].is_frozen
    stem = model.network_.encoders["film"].backbone.body.stem[0].weight
    assert torch.allclose(stem, learned.stem[0].weight.sum(dim=1, keepdim=True))
    expected = model.predict_proba(X)
    model.save(tmp_path / "model.asf")
    (tmp_path / "w.safetensors").unlink()
    np.testing.assert_array_equal(load(tmp_path / "model.asf").predict_proba(X), expected)


def test_norms_of_the_network(files: list[Path]) -> None:
    X = pd.DataFrame({"film": [str(f) for f in files]})
    network = ImageEncoder("film", size=32, norm="group").fit(X).build()
    assert not [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    with pytest.raises(ConfigurationError, match="norm: expected 'batch' or 'group'"):
        ImageEncoder("film", norm="frozen").fit(X)
    with pytest.raises(ConfigurationError, match="norm: expected one of"):
        ImageEncoder("film", norm="layer").fit(X)
    tuned = ImageEncoder("film", size=32, backbone="efficientnet_lite0", mode="full").fit(X)
    norms = [m for m in tuned.build().train().modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(m.training for m in norms)


@pytest.mark.parametrize("backbone", ["compact", "resnet18", "vit_tiny"])
def test_networks_export(files: list[Path], backbone: str) -> None:
    X = pd.DataFrame({"film": [str(f) for f in files]})
    encoder = ImageEncoder("film", size=32, backbone=backbone).fit(X)
    network, inputs = encoder.build().eval(), dict(encoder.prepare(X).tensors)
    exported = torch.export.export(network, (inputs,), strict=False).module()
    with torch.no_grad():
        assert torch.allclose(exported(inputs)[0], network(inputs).values, atol=1e-5)
