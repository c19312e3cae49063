"""Label images and COCO files become annotations, or one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asfusion.anatomy.coco import read_coco
from asfusion.anatomy.masks import read_masks
from asfusion.exceptions import ConfigurationError, ImageReadError, InputError

NAMES = {7: "left", 6: "right"}


def mask(**boxes: tuple[int, int, int, int]) -> np.ndarray:
    drawn = np.zeros((20, 30), np.uint8)
    for name, (x0, y0, x1, y1) in boxes.items():
        drawn[y0:y1, x0:x1] = {"left": 7, "right": 6, "other": 3}[name]
    return drawn


def test_boxes_are_around_codes(tmp_path: Path) -> None:
    one, two = mask(left=(3, 2, 9, 5), other=(0, 0, 30, 1)), mask(right=(29, 19, 30, 20))
    Image.fromarray(two).save(tmp_path / "two.png")
    table = read_masks(["a", "b", "c"], [one, str(tmp_path / "two.png"), None], NAMES)
    assert table.drop(columns="mask").to_numpy().tolist() == [
        ["a", "left", 3.0, 2.0, 9.0, 5.0, 7],
        ["b", "right", 29.0, 19.0, 30.0, 20.0, 6],
    ]
    assert table["mask"][0] is one and table["mask"][1] == str(tmp_path / "two.png")


def test_masks_that_are_none_are_refused(tmp_path: Path) -> None:
    whole = mask(left=(1, 1, 3, 3))
    with pytest.raises(InputError, match="names: expected every region .* code 6 for 'right'"):
        read_masks(["a"], [whole], NAMES)
    with pytest.raises(InputError, match="masks: expected one per film, 2, got 1"):
        read_masks(["a", "b"], [whole], NAMES)
    (tmp_path / "secret.png").write_bytes(b"\x89PNG")
    with pytest.raises(ImageReadError, match="masks, row 1: ") as caught:
        read_masks(["a", "b"], [whole, str(tmp_path / "secret.png")], NAMES)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("names", [{}, ["left"], {0: "left"}, {256: "left"}, {7: 3}, {"7": "left"}])
def test_names_of_codes_are_checked(names: Any) -> None:
    with pytest.raises(ConfigurationError, match="names: expected a mapping of codes"):
        read_masks(["a"], [mask(left=(1, 1, 3, 3))], names)


def test_a_name_goes_to_one_code() -> None:
    with pytest.raises(ConfigurationError, match="a name of its own for each code"):
        read_masks(["a"], [mask(left=(1, 1, 3, 3))], {6: "left", 7: "left"})


# -- COCO --------------------------------------------------------------------------------


def coco(annotation: Any = None, **changes: Any) -> dict[str, Any]:
    said = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 3, "name": "lung"}],
        "annotations": [{"image_id": 1, "category_id": 3, **(annotation or {})}],
    }
    return {**said, **changes}


def written(folder: Path, said: Any) -> Path:
    file = folder / "coco.json"
    file.write_text(said if isinstance(said, str) else json.dumps(said))
    return file


@pytest.mark.parametrize(
    ("annotation", "box"),
    [
        ({"bbox": [1, 2, 3, 4.5]}, [1, 2, 4, 6.5]),
        ({"segmentation": [[1, 2, 5, 2, 3, 7]], "bbox": [0, 0, 9, 9]}, [1, 2, 5, 7]),
        ({"segmentation": [[1, 2, 5, 2, 3, 7], [8, 1, 9, 1, 9, 3]]}, [1, 1, 9, 7]),
        ({"segmentation": [], "bbox": [0, 0, 9, 9]}, [0, 0, 9, 9]),
        # Down the columns: 5 rows of 4 columns, rows 1 and 2 of the second column.
        ({"segmentation": {"size": [5, 4], "counts": [6, 2, 12]}}, [1, 1, 2, 3]),
        ({"segmentation": {"size": [5, 4], "counts": [6, 2, 7, 5, 0]}}, [1, 0, 4, 5]),
        ({"segmentation": {"size": [5, 4], "counts": [0, 1, 18, 0, 1]}}, [0, 0, 1, 1]),
    ],
)
def test_coco_gives_boxes(annotation: Any, box: list[float], tmp_path: Path) -> None:
    table = read_coco(written(tmp_path, coco(annotation)), root="films")
    assert table.to_numpy().tolist() == [[str(Path("films", "a.png")), "lung", *box]]


HOSTILE = {
    "no JSON": "{",
    "deep": "[" * 100_000,
    "a list": [],
    "no images": coco(images=None),
    "images of numbers": coco(images=[1]),
    "an id twice": coco(images=[{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]),
    "an id that is true": coco(images=[{"id": True, "file_name": "a"}]),
    "a name that is none": coco(categories=[{"id": 3, "name": {}}]),
    "an image that is not there": coco({"image_id": 9, "bbox": [0, 0, 1, 1]}),
    "an image that is a list": coco({"image_id": [1], "bbox": [0, 0, 1, 1]}),
    "no box": coco(),
    "a box of three": coco({"bbox": [1, 2, 3]}),
    "an empty box": coco({"bbox": [1, 2, 0, 3]}),
    "a box of text": coco({"bbox": "1234"}),
    "a box of NaN": json.dumps(coco({"bbox": [float("nan"), 0, 1, 1]})),
    "a box beyond all": coco({"bbox": [0, 0, 1e300, 1]}),
    "a polygon of two corners": coco({"segmentation": [[1, 2, 3, 4]]}),
    "an odd polygon": coco({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}),
    "a flat polygon": coco({"segmentation": [[1, 2, 3, 2, 5, 2]]}),
    "a polygon of objects": coco({"segmentation": [[{}]]}),
    "compressed runs": coco({"segmentation": {"size": [5, 4], "counts": "PPYo0"}}),
    "runs that do not fill": coco({"segmentation": {"size": [5, 4], "counts": [6, 2]}}),
    "negative runs": coco({"segmentation": {"size": [5, 4], "counts": [26, -6]}}),
    "runs of nothing": coco({"segmentation": {"size": [5, 4], "counts": [20]}}),
    "runs of a huge picture": coco({"segmentation": {"size": [10**6, 10**6], "counts": [10**12]}}),
    "a size of nothing": coco({"segmentation": {"size": [0, 4], "counts": [0]}}),
    "runs without a size": coco({"segmentation": {"counts": [20]}}),
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_one_clear_error(said: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="read_coco: .*expected"):
        read_coco(written(tmp_path, said))


def test_a_file_that_is_not_there_or_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="read_coco: expected a JSON file"):
        read_coco(tmp_path / "secret.json")
    monkeypatch.setattr("asfusion.anatomy.coco._MAX_BYTES", 10)
    with pytest.raises(InputError, match="at most 0 MB"):
        read_coco(written(tmp_path, coco()))
