"""quality: what can honestly be said of images, by row, without names."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont

import asfusion as af
from asfusion.exceptions import InputError
from asfusion.imaging import quality, read_image
from asfusion.imaging._burned_in import LETTERS, letters_in_a_row
from tests.imaging.files import SECRET, gradient, write_dicom
from tests.processes import answers_in_lists


def body(height: int = 400, width: int = 480, margin: int = 60) -> np.ndarray:
    """Return a bright oval on black, which leaves the sides free."""
    y, x = np.mgrid[:height, :width]
    inside = ((x - width / 2) / (width / 2 - margin)) ** 2 + ((y - height / 2) / height) ** 2 < 1
    noise = np.random.default_rng(0).normal(0, 6, (height, width))
    return np.clip(np.where(inside, 120 + 60 * np.sin(x / 40) + noise, 3), 0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def row(folder: Path, pixels: np.ndarray, **header: object) -> pd.Series:
    path = folder / "a.dcm"
    window = {"WindowCenter": 127.5, "WindowWidth": 255, "VOILUTFunction": "LINEAR_EXACT"}
    return quality([write_dicom(path, pixels, **window, **header)]).table.iloc[0]


def test_table_has_one_row_per_cell(tmp_path: Path, df_module: ModuleType) -> None:
    (tmp_path / "bad.png").write_bytes(b"nothing")
    files = [str(save(tmp_path / "a.png", body())), None, str(tmp_path / "bad.png")]
    found = quality(df_module.DataFrame({"xray": files})["xray"])
    assert len(found) == 3
    assert found.table["file"].tolist() == ["read", "missing", "unreadable"]
    assert found.table.loc[2, "problem"].startswith("expected a PNG")
    assert found.table.loc[0, ["height", "width"]].tolist() == [400, 480]
    assert repr(found) == "<ImageQuality of 2 images (1 rows without), 1 flagged>"
    assert found.flagged["reasons"].to_dict() == {2: "unreadable"}


def test_nothing_at_all(tmp_path: Path) -> None:
    assert len(quality([])) == 0
    assert quality([None]).table["file"].tolist() == ["missing"]
    assert "0 images" in quality([None])._repr_html_()
    with pytest.raises(InputError, match="got a table of 2 dimensions. Choose its"):
        quality(pd.DataFrame({"xray": ["a.png"]}))
    with pytest.raises(InputError, match="paths: expected paths or missing cells, got int at 0"):
        quality([3])


@pytest.mark.parametrize(
    ("header", "view"),
    [
        ({"BodyPartExamined": "PELVIS", "ViewPosition": "AP"}, "ap pelvis"),
        ({"BodyPartExamined": "PELVIS"}, "unknown"),
        ({"BodyPartExamined": "PELVIS", "ViewPosition": "LL"}, "other"),
        ({"BodyPartExamined": "CHEST", "ViewPosition": "AP"}, "other"),
        ({"ViewPosition": "AP"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_view_is_what_the_header_says(tmp_path: Path, header: dict[str, str], view: str) -> None:
    assert row(tmp_path, body(), **header)["view"] == view


def test_shape_may_contradict_the_header(tmp_path: Path) -> None:
    header = {"BodyPartExamined": "PELVIS", "ViewPosition": "AP"}
    assert row(tmp_path, body(900, 400), **header)["view"] == "unknown"
    spaced = row(tmp_path, body(900, 400), PixelSpacing=[0.1, 0.3], **header)
    assert (spaced["view"], spaced["spacing"]) == ("ap pelvis", 0.1)
    assert np.isnan(row(tmp_path, body())["spacing"])
    assert row(tmp_path, body(), ImagerPixelSpacing=[0.14, 0.14])["spacing"] == 0.14


def test_exposure(tmp_path: Path) -> None:
    burnt = body()
    burnt[:, 200:340] = 255
    found = row(tmp_path, burnt)
    assert found["white"] == pytest.approx(140 / 480, abs=0.01)
    dark = np.zeros((100, 100), dtype=np.uint8)
    dark[40:60, 40:60] = 255
    assert row(tmp_path, dark)["black"] == pytest.approx(0.96)
    pale = (body() // 6 + 100).astype(np.uint8)
    assert row(tmp_path, pale)["contrast"] < 0.15
    files = [save(tmp_path / f"{i}.png", p) for i, p in enumerate([burnt, dark, pale, body()])]
    reasons = quality(files).flagged["reasons"].to_dict()
    assert reasons == {0: "burnt out", 1: "dark, pale", 2: "pale"}


def test_sides_that_are_touched(tmp_path: Path) -> None:
    free, cut = body(), body()[:, 100:]
    found = quality([save(tmp_path / "a.png", free), save(tmp_path / "b.png", cut)])
    assert "left" not in found.table.loc[0, "touching"]
    assert "left" in found.table.loc[1, "touching"].split(", ")
    assert "right" not in found.table.loc[1, "touching"]
    assert found.flagged["reasons"].to_dict() == {1: "reaches the side"}


def test_duplicates_by_pixels(tmp_path: Path) -> None:
    a = save(tmp_path / "a.png", body())
    b = save(tmp_path / "b.tif", body())
    c = save(tmp_path / "c.png", body()[::-1])
    found = quality([a, c, b, None, None])
    assert found.table["duplicate_of"].tolist() == [pd.NA, pd.NA, 0, pd.NA, pd.NA]
    assert found.flagged["reasons"].tolist() == ["same pixels as row 0"]


@pytest.mark.parametrize(
    ("said", "text"), [("YES", "declared"), ("NO", "denied"), (None, "not seen")]
)
def test_text_in_the_header(tmp_path: Path, said: str | None, text: str) -> None:
    header = {} if said is None else {"BurnedInAnnotation": said}
    assert row(tmp_path, body(), **header)["text"] == text


def planted(pixels: np.ndarray, text: str, share: float, grey: int) -> np.ndarray:
    picture = Image.fromarray(pixels)
    font = ImageFont.load_default(round(share * max(pixels.shape)))
    at = (0.03 * picture.width, 0.9 * picture.height)
    ImageDraw.Draw(picture).text(at, text, fill=grey, font=font)
    return np.asarray(picture)


@pytest.mark.parametrize("share", [0.015, 0.02, 0.03])
def test_planted_text_is_suspected(tmp_path: Path, share: float) -> None:
    pixels = planted(body(1200, 1400), "DOE^JANE 1971", share, 255)
    assert row(tmp_path, pixels, BurnedInAnnotation="NO")["text"] == "suspected"


def test_markers_are_no_text() -> None:
    for marker in ("L", "R", "AP"):
        assert letters_in_a_row(planted(body(1200, 1400), marker, 0.05, 255)) < LETTERS


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((300, 300), np.uint8), gradient(200, 300), np.full((1, 1), 7, np.uint8),
     np.random.default_rng(0).integers(0, 256, (400, 400)).astype(np.uint8)],
)  # fmt: skip
def test_no_text_in_no_picture(pixels: np.ndarray) -> None:
    assert letters_in_a_row(pixels) < LETTERS


def test_text_on_synthetic_and_real_radiographs(shared_data: Path, tmp_path: Path) -> None:
    """Real and synthetic films raise few suspicions; planted text raises most."""
    files = sorted((shared_data / "cxr" / "images").iterdir())[::12]
    films = [read_image(file)[0] for file in files]
    assert np.mean([letters_in_a_row(film) >= LETTERS for film in films]) <= 0.05
    large = [
        np.asarray(Image.fromarray(f).resize((1344, 1344), Image.Resampling.BICUBIC))
        for f in films[:12]
    ]
    seen = [letters_in_a_row(planted(f, "ERIKA 1971-03-12", 0.025, 0)) >= LETTERS for f in large]
    assert np.mean(seen) >= 0.6


def test_processes_say_the_same(tmp_path: Path) -> None:
    files = [save(tmp_path / f"{i}.png", body(300, 300 + i)) for i in range(3)]
    pd.testing.assert_frame_equal(quality(files).table, quality(files, n_jobs=2).table)
    with answers_in_lists(2) as backend:
        same = quality(files, n_jobs=2)
    assert backend.n_handed_over == 3
    pd.testing.assert_frame_equal(quality(files).table, same.table)


def test_sheet_shows_flagged_first_and_no_names(tmp_path: Path) -> None:
    folder = tmp_path / SECRET
    folder.mkdir()
    files = [save(folder / f"{i}.png", body(300, 300 + i)) for i in range(3)]
    page = quality([*files, None, files[1]])._repr_html_()
    assert page.count("data:image/png;base64,") == 4
    assert page.index("4: same pixels as row 1") < page.index("0: no finding")
    assert SECRET not in page


def test_synthetic_cohort_has_no_finding(tmp_path: Path) -> None:
    cohort = af.datasets.make_axspa_cohort(
        6, random_state=0, path=tmp_path, modalities=["labs", "xray"]
    )
    found = quality(cohort.X["pelvis_xray"])
    assert set(found.table["file"]) <= {"read", "missing"}
    assert not (found.table["text"] == "suspected").any()
    assert found.table["duplicate_of"].isna().all()
