"""Volumes within an explanation: what each voxel of a series adds, on the voxels of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import asfusion as af
from asfusion.exceptions import ConfigurationError
from asfusion.explanation.images import ImageAttribution
from asfusion.explanation.volumes import VolumeAttribution
from tests.contracts.test_encoders import write_stack

CUBE = (slice(1, 4), slice(6, 20), slice(4, 20))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, np.ndarray]:
    """Thirty patients with two sequences; a bright cube in STIR says which class."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("mri")
    y = np.arange(30) % 2
    columns: dict[str, list[str | None]] = {"stir": [], "t1": []}
    for row in range(30):
        for column, paths in columns.items():
            stack = rng.integers(100, 200, (6, 40, 32)).astype(np.uint16)
            if column == "stir" and y[row]:
                stack[CUBE] = 800
            stack[5, 38, 30] = 900  # the window is the same for all
            place = folder / f"{column}{row}"
            place.mkdir()
            write_stack(place, stack)
            paths.append(str(place))
    X = pd.DataFrame({**columns, "age": rng.normal(50, 9, 30)})
    X.loc[3, "t1"] = None
    X.loc[5, ["stir", "t1"]] = None
    return X, y


def fit(cohort: Any, encoder: Any, family: Any = af.JointFusionClassifier, **params: Any) -> Any:
    X, y = cohort
    parts = {"mri": encoder, "body": af.TabularEncoder(["age"], d_out=8)}
    return family(parts, random_state=0, verbose=0, **params).fit(X, y)


@pytest.fixture(scope="module")
def model(cohort: Any) -> Any:
    encoder = af.VolumeEncoder(["stir", "t1"], shape=(6, 32, 32), augment=False, d_out=8)
    # Nothing that keeps a network from being sure: it has to know the cube by heart here.
    sure = af.TrainingOptions(dropout=0.0, mixup=0.0, unimodal_losses=0.0)
    options = {"max_epochs": 12, "batch_size": 8, "learning_rate": 3e-3, "modality_dropout": 0.1}
    fitted = fit(cohort, encoder, label_smoothing=0.0, training=sure, **options)
    assert fitted.score(*cohort) > 0.9
    return fitted


# Grad-CAM says so where evidence cancels in its two positions a side.
@pytest.mark.filterwarnings("default:grad_cam. the evidence:asfusion.exceptions.AsfusionWarning")
@pytest.mark.parametrize("method", ["integrated_gradients", "smoothgrad", "grad_cam", "occlusion"])
def test_voxels_of_the_cube_are_found_in_their_file(cohort: Any, model: Any, method: str) -> None:
    X, y = cohort
    rows = X[(y == 1) & (X.index > 6)].head(1)
    e = af.explain(model, rows, background=X, output=1, image_method=method, verbose=0)
    [part] = e["mri"]
    assert set(part.maps) == {"stir", "t1"} and part.method == method
    assert part["stir"].unit == "probability"
    stir = part["stir"]
    assert stir.values.shape == (6, 40, 32)
    assert stir.spacing_mm == pytest.approx((4.0, 1.0, 1.0))
    assert stir.image[CUBE].mean() > 0.8 > 0.3 > stir.image[0].mean()
    share = np.abs(stir.values[CUBE]).sum() / np.abs(stir.values).sum()
    chance = 3 * 14 * 16 / (6 * 40 * 32)
    if method != "grad_cam":  # its map has two positions a side here
        assert part.strongest == "stir"
        assert share > 2 * chance
    if method == "integrated_gradients":
        assert abs(part.gap) < 0.05
    value = e.values[0, e.names.index("mri")]
    assert part.total + part.elsewhere == pytest.approx(value, abs=1e-6)
    parts = e.to_frame().query("modality == 'mri'").set_index("part")["value"]
    labels = ["", "(voxels of stir)", "(voxels of t1)", "(having it at all)"]
    assert set(parts.index) <= set(labels)  # zeros are left out
    assert parts.drop("").sum() == pytest.approx(value, abs=1e-6)
    assert "In no voxel (having it at all)" in part._repr_html_()


def test_a_missing_sequence_has_no_map_and_a_missing_modality_no_value(
    cohort: Any, model: Any
) -> None:
    X, _ = cohort
    e = af.explain(model, X.iloc[[3, 5]], output=1, verbose=0)
    whole, absent = e["mri"]
    assert list(whole.maps) == ["stir"]
    assert absent is None and e.values[1, e.names.index("mri")] == 0.0
    with pytest.raises(ConfigurationError, match="expected one of 'stir', got 't1'"):
        whole["t1"]


def test_pictures_and_pages(cohort: Any, model: Any, tmp_path: Path) -> None:
    X, y = cohort
    e = af.explain(model, X[y == 1].iloc[[0]], background=X, output=1, verbose=0)
    part = e["mri"][0]
    assert "slice" in part.plot().get_title()
    figure = part.montage(4, column="t1")
    assert len([ax for ax in figure.axes if "slice" in ax.get_title()]) == 4
    assert figure.get_suptitle() == "t1"
    assert "<figure" in part._repr_html_() or "<img" in part._repr_html_()
    e.plot_patient(0)
    assert e.to_html(tmp_path / "page.html").stat().st_size > 10_000
    assert "mri: pixels add up" in e.check().index
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.mark.filterwarnings("default:grad_cam. the evidence:asfusion.exceptions.AsfusionWarning")
def test_slices_by_gradient_and_their_attention(cohort: Any) -> None:
    X, y = cohort
    encoder = af.SliceEncoder(["stir", "t1"], size=32, augment=False, d_out=8)
    model = fit(cohort, encoder, max_epochs=12, batch_size=8, learning_rate=3e-3)
    rows = X[(y == 1) & (X.index > 6)].head(1)
    [part] = af.explain(model, rows, output=1, verbose=0)["mri"]
    assert part["stir"].values.shape == (6, 40, 32)
    per_slice = np.abs(part["stir"].values).sum(axis=(1, 2))
    assert per_slice[1:4].mean() > per_slice[[0, 4, 5]].mean()
    for weights in part.attention.values():
        assert weights.shape == (6,) and weights.sum() == pytest.approx(1.0)
    [coarse] = af.explain(model, rows, output=1, image_method="grad_cam", verbose=0)["mri"]
    stir = coarse["stir"]
    assert coarse.method == "grad_cam" and stir.values.shape == (6, 40, 32)
    per_slice = np.abs(stir.values).sum(axis=(1, 2))
    assert per_slice[1:4].mean() > per_slice[[0, 4, 5]].mean()


def test_slices_read_by_patches_have_no_grad_cam(cohort: Any) -> None:
    encoder = af.SliceEncoder("stir", backbone="vit_tiny", size=32, augment=False, d_out=8)
    model = fit(cohort, encoder, max_epochs=1, batch_size=8)
    with pytest.raises(ConfigurationError, match=r"image_method: 'grad_cam' .* one of patches"):
        af.explain(model, cohort[0].head(1), output=1, image_method="grad_cam", verbose=0)["mri"]


def test_early_and_late_fusion_are_asked_by_occlusion(cohort: Any) -> None:
    X, _ = cohort
    encoder = af.VolumeEncoder("stir", shape=(6, 32, 32), augment=False, d_out=8)
    network = af.JointFusionClassifier(max_epochs=2)
    model = fit(cohort, encoder, af.EarlyFusionClassifier, network=network)
    [part] = af.explain(model, X.head(1), output=1, verbose=0)["mri"]
    assert part.method == "occlusion" and list(part.maps) == ["stir"]


def test_the_strongest_sequence_and_the_sum() -> None:
    one = ImageAttribution(np.full((2, 3, 3), 0.5), np.zeros((2, 3, 3)), "occlusion")
    two = ImageAttribution(np.full((2, 3, 3), -1.0), np.zeros((2, 3, 3)), "occlusion")
    both = VolumeAttribution({"one": one, "two": two})
    assert both.strongest == "two" and both.total == -9.0 and both.gap is None


def test_black_blocks_move_the_output_as_their_voxels_say(cohort: Any, model: Any) -> None:
    X, y = cohort
    rows = X[(y == 1) & (X.index > 6)].iloc[[0, 2]].assign(t1=[None, X["t1"][9]])
    e = af.explain(model, rows, background=X, output=1, verbose=0)
    checks = e.check()
    assert checks["value"]["mri: deletion beats random order"] > 0.01
    assert checks["value"]["mri: insertion beats random order"] > 0.01
    axes = e.plot_curves("mri")
    assert axes[0].get_xlabel() == "Share of mri taken away"
    # With every block in place the row is worth what it is; with none, a black series.
    part = next(iter(e.details.parts("mri", e["mri"])))
    full, black = part.play(np.array([[True], [False]]).repeat(len(part.values), axis=1))
    base = e.details.game.without(0, "mri")
    assert full - base == pytest.approx(e.modalities["mri"][0], abs=1e-6)
    assert black != pytest.approx(full, abs=0.01)
    assert len(part.values) == 6 * 8 * 8  # one sequence: the other is not there
