"""Pictures that are in memory: read as their files are, and known by content."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asfusion.exceptions import DicomReadError, ImageReadError
from asfusion.imaging import read_image
from asfusion.imaging._cells import is_content
from asfusion.imaging._in_memory import content_digest, extent_of, read_content
from asfusion.imaging.extent import Extent
from tests.imaging.files import write_dicom

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (50, 40), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (50, 40, 3), dtype=np.uint8)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Return files of every kind that is read."""
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    Image.fromarray(COLOURS).save(tmp_path / "colours.png")
    Image.fromarray(COLOURS).save(tmp_path / "photo.jpg")
    Image.fromarray(GREY.astype(np.uint16) * 200).save(tmp_path / "deep.png")
    Image.fromarray(GREY).save(tmp_path / "film.tif", tiffinfo={262: 0})
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(COLOURS).save(tmp_path / "turned.jpg", exif=turned)
    clear = np.dstack([COLOURS, RNG.integers(0, 256, GREY.shape, dtype=np.uint8)])
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray(GREY).convert("P").save(tmp_path / "palette.png", transparency=7)
    write_dicom(tmp_path / "film.dcm", GREY, WindowCenter=128, WindowWidth=256)
    return sorted(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_are_read_and_named_as_their_file_is(files: list[Path], channels: int) -> None:
    from asfusion.encoders._cache import file_digest

    for file in files:
        content = file.read_bytes()
        expected = read_image(file, size=32, channels=channels)
        for given in (content, bytearray(content), memoryview(content)):
            assert is_content(given)
            np.testing.assert_array_equal(read_content(given, 32, channels), expected)
            assert content_digest(given) == file_digest(file)


def test_nothing_is_left_of_dicom_bytes(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    content = (tmp_path / "film.dcm").read_bytes()
    read_content(content, 32, 1)
    with pytest.raises(DicomReadError):
        read_content(content[:400], 32, 1)
    assert extent_of(content) == extent_of(str(tmp_path / "film.dcm"))
    assert not list((tmp_path / "temp").iterdir())


@pytest.mark.parametrize("channels", [1, 3])
def test_pillow_images_are_read_as_their_file_is(files: list[Path], channels: int) -> None:
    for file in files:
        if file.suffix == ".dcm":
            continue
        expected = read_image(file, size=32, channels=channels)
        with Image.open(file) as image:
            before = image.mode, image.size
            assert is_content(image)
            read = read_content(image, 32, channels)
            if file.suffix == ".jpg":  # a large photo's file is decoded at a fraction
                assert np.abs(read.astype(int) - expected).mean() < 2
            else:
                np.testing.assert_array_equal(read, expected)
            assert (image.mode, image.size) == before
            assert extent_of(image) == extent_of(str(file))


def test_arrays_are_read_as_pictures_of_their_type_are(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    Image.fromarray(COLOURS).save(tmp_path / "colours.png")
    deep = GREY.astype(np.uint16) * 200
    Image.fromarray(deep).save(tmp_path / "deep.png")
    for channels in (1, 3):
        for given, name in (
            (GREY, "grey"), (GREY[..., None], "grey"), (GREY[None], "grey"),
            (COLOURS, "colours"), (COLOURS.transpose(2, 0, 1), "colours"),
            (deep, "deep"), (deep.astype(np.float64), "deep"), (deep.astype(np.int64), "deep"),
            (deep.astype(">u2"), "deep"), (np.asfortranarray(deep), "deep"),
        ):  # fmt: skip
            expected = read_image(tmp_path / f"{name}.png", size=32, channels=channels)
            found = read_content(given, 32, channels)
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, expected)
            assert extent_of(given) == Extent(50, 40)
    mask = read_content(GREY > 128, 50, 1)
    assert set(np.unique(mask)) == {0, 255}


def test_what_an_encoder_reads_comes_back(tmp_path: Path) -> None:
    write_dicom(tmp_path / "film.dcm", GREY, WindowCenter=128, WindowWidth=256)
    pixels = read_image(tmp_path / "film.dcm", size=32)
    np.testing.assert_array_equal(read_content(pixels, 32, 1), pixels)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "expected an image, got an empty file"),
        (b"Jane Doe", "expected a PNG, JPEG, TIFF or single-frame DICOM file, got another kind"),
        (np.zeros(5), r"expected an array of shape \(H, W\) or \(H, W, 3\), got 1 dimension"),
        (np.zeros((4, 5, 7)), r"got \(4, 5, 7\)"),
        (np.zeros((0, 5)), "expected at least one row and one column"),
        (np.zeros((5, 4, 3)), "expected colours as uint8, from 0 to 255, got float64"),
        (np.full((4, 4), "Jane"), "expected an array of numbers, got dtype <U4"),
        (np.zeros((4, 4), complex), "expected an array of numbers, got dtype complex128"),
        (np.broadcast_to(np.uint8(0), (30_000, 30_000)), "expected at most 100 million pixels"),
    ],
)
def test_content_that_is_no_picture(content: Any, match: str) -> None:
    with pytest.raises(ImageReadError, match=match) as caught:
        read_content(content, 32, 1)
    assert "Jane" not in str(caught.value)


def test_several_images_are_none(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(GREY)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageReadError, match="got a TIFF file of 2 images"):
        read_content(buffer.getvalue(), 32, 1)
    with Image.open(buffer) as image, pytest.raises(ImageReadError, match="of 2 images"):
        read_content(image, 32, 1)


def test_content_names_what_would_be_read() -> None:
    grey, colours = Image.fromarray(GREY), Image.fromarray(COLOURS)
    clear = Image.fromarray(GREY).convert("P")
    clear.info["transparency"] = 7
    names = {
        content_digest(c)
        for c in (GREY, GREY.T, GREY.astype(np.int16), GREY.reshape(25, 80), grey, colours,
                  grey.convert("P"), clear, GREY.tobytes(), COLOURS)
    }  # fmt: skip
    assert len(names) == 10
    assert content_digest(GREY.copy()) == content_digest(np.asfortranarray(GREY))
    assert content_digest(grey.copy()) == content_digest(grey)


def test_images_that_cannot_be_decoded_have_no_name() -> None:
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, "PNG")
    with Image.open(io.BytesIO(buffer.getvalue()[:200])) as cut:
        assert content_digest(cut) is None
        with pytest.raises(ImageReadError, match="damaged, cut short"):
            read_content(cut, 32, 1)


def test_other_cells_are_no_content() -> None:
    assert not any(map(is_content, ("a.png", Path("a.png"), None, 1.0, [1, 2], {"day": 1})))
