"""Finders that draw masks: what they find, what they take, and what they refuse."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from asfusion.anatomy._films import key_of
from asfusion.anatomy._mask_network import _around, loss_of_masks
from asfusion.anatomy._outlined import read_outlines
from asfusion.anatomy._square import squared
from asfusion.anatomy.masks import read_masks
from asfusion.anatomy.region_finder import RegionFinder
from asfusion.anatomy.saved import read_finder
from asfusion.exceptions import (
    BundleError,
    ColumnError,
    ConfigurationError,
    ImageReadError,
    InputError,
    MissingDependencyError,
    UnfittedError,
)
from asfusion.imaging.original import Original

from .conftest import QUICK
from .drawn import draw
from .test_finders import overlap

NAMES = {1: "right_block", 2: "left_block"}
SHORT: dict[str, Any] = {**QUICK, "method": "masks", "size": 32, "epochs": 1, "views": 2}


def label_images(films: list[np.ndarray], boxes: np.ndarray) -> list[np.ndarray]:
    images = []
    for film, pair in zip(films, boxes.astype(int), strict=True):
        labels = np.zeros(film.shape, np.uint8)
        for code, (x0, y0, x1, y1) in enumerate(pair, start=1):
            labels[y0:y1, x0:x1] = code
        images.append(labels)
    return images


@pytest.fixture(scope="module")
def table(films: list[str], truth: np.ndarray, folder: Path) -> pd.DataFrame:
    """Annotations of which each names the file of a label image."""
    paths = []
    for number, labels in enumerate(label_images([np.zeros((56, 72))] * 24, truth)):
        Image.fromarray(labels).save(folder / f"mask{number}.png")
        paths.append(str(folder / f"mask{number}.png"))
    return read_masks(films, paths, NAMES)


@pytest.fixture(scope="module")
def painter(films: list[str], table: pd.DataFrame) -> RegionFinder:
    pytest.importorskip("monai")
    one = table[table["region"] == "right_block"]
    return RegionFinder(one, **{**SHORT, "epochs": 40}).fit(films)


def test_boxes_around_masks_are_found_on_other_films(
    painter: RegionFinder, truth: np.ndarray
) -> None:
    films, true = draw(12, seed=1)
    found = painter.find(films)
    assert found.names == ("right_block",)
    shared = overlap(found.boxes[:, 0], true[:, 0])
    usual = np.median(overlap(np.median(truth, axis=0)[0], true[:, 0]))
    assert np.nanmedian(shared) > usual + 0.1
    assert (found.status == "found").mean() > 0.5
    assert not np.isfinite(found.boxes[found.status == "lost"]).any()
    assert len(painter.weights_) == 3 and not painter.window_weights_
    assert found.plot(range(2)).axes


def test_a_saved_finder_draws_the_same(painter: RegionFinder, tmp_path: Path) -> None:
    again = read_finder(painter.save(tmp_path / "finder.asf"))
    films = draw(2, seed=7)[0]
    assert again.digest_ == painter.digest_
    np.testing.assert_array_equal(again.find(films).boxes, painter.find(films).boxes)
    alone = painter.find(films[1:]).boxes
    np.testing.assert_allclose(alone[0], painter.find(films).boxes[1], atol=1e-3)


def test_what_draws_is_what_was_learned(painter: RegionFinder, tmp_path: Path) -> None:
    film = draw(1)[0]
    with pytest.raises(UnfittedError, match="expected method='masks', as it was fitted"):
        copy.copy(painter).set_params(method="heat").find(film)
    other = copy.copy(painter)
    other.weights_ = [{"heat.weight": torch.zeros(1)}]
    with pytest.raises(UnfittedError, match="expected method='heat', as it was fitted"):
        other.find(film)
    forged = copy.copy(painter).set_params(method="heat")
    with pytest.raises(BundleError, match="load: "):
        read_finder(forged.save(tmp_path / "forged.asf"))


def test_without_monai_it_says_what_to_install(
    films: list[str], table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(name="monai")

    monkeypatch.setattr("asfusion._optional.importlib.import_module", absent)
    with pytest.raises(MissingDependencyError, match=r"method='masks' needs .*asfusion\[monai\]"):
        RegionFinder(table, **SHORT).fit(films)


def changed(table: pd.DataFrame, **cells: Any) -> pd.DataFrame:
    table = table.astype(object)
    for name, cell in cells.items():
        table.at[3, name] = cell
    return table


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"mask": None}, "annotations, row 3: expected a label image in 'mask', got none"),
        ({"mask": np.ones((5, 5), np.uint8)}, "row 3: .* the size of its film, 56 x 72, got 5 x 5"),
        ({"code": 9}, "annotations, row 3: expected a mask with its code, got one without"),
        ({"code": None}, "annotations, row 3: expected a mask with its code, got one without"),
    ],
)
def test_a_wrong_mask_is_refused(
    cells: dict[str, Any], said: str, films: list[str], table: pd.DataFrame
) -> None:
    with pytest.raises(InputError, match=said):
        RegionFinder(changed(table, **cells), **SHORT).fit(films)


def test_masks_that_cannot_be_used_are_refused(
    films: list[str], table: pd.DataFrame, boxes: pd.DataFrame, folder: Path
) -> None:
    with pytest.raises(ColumnError, match="method='masks'.*'mask', 'code'"):
        RegionFinder(boxes, **SHORT).fit(films)
    (folder / "hidden.png").write_bytes(b"\x89PNG")
    cut = changed(table, mask=str(folder / "hidden.png"))
    with pytest.raises(ImageReadError, match="annotations, row 3: ") as caught:
        RegionFinder(cut, **SHORT).fit(films)
    assert "hidden" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="augment: expected True with method='masks'"):
        RegionFinder(table, **SHORT, augment="photograph").fit(films)
    with pytest.raises(ConfigurationError, match="method: expected one of"):
        RegionFinder(table, **{**SHORT, "method": "outline"}).fit(films)


def test_masks_stand_where_their_films_do() -> None:
    film = np.zeros((40, 80), np.uint8)
    film[10:20, 8:24] = 200
    square, place = squared(Original(film[None]), 32)
    table = read_masks([film], [(film > 0).astype(np.uint8)], {1: "block"})
    [[mask]] = read_outlines(table, [str(key_of(film))], ["block"], [place], 32, None)
    np.testing.assert_array_equal(mask > 127, square > 100)
    assert mask.max() == 255


def test_the_box_is_around_the_largest_whole() -> None:
    mask = np.zeros((20, 20))
    mask[4:9, 3:15], mask[16:18, 2:4] = 1.0, 0.9
    mask[9, 3:15] = 0.25  # covered by a quarter
    x0, y0, x1, y1, sure = _around(mask)
    assert (x0, y0, x1, y1) == pytest.approx((3.0, 4.0, 15.0, 9.25))
    assert sure == pytest.approx(60 / (60 + 3.6 + 3.0))
    assert _around(np.full((4, 4), 0.1))[4] < 0.01


def test_what_nobody_drew_is_not_learned_from() -> None:
    pytest.importorskip("monai")
    logits, masks = torch.randn(2, 2, 8, 8), torch.zeros(2, 2, 8, 8)
    known = torch.tensor([[True, True], [True, False]])
    other = logits.clone()
    other[1, 1] += 5
    assert torch.equal(loss_of_masks(logits, masks, known), loss_of_masks(other, masks, known))
    assert loss_of_masks(logits, masks, ~known) != loss_of_masks(other, masks, ~known)
    assert loss_of_masks(logits, masks, torch.zeros_like(known)) == 0
