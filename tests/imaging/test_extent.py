"""The size of a picture, from its header alone."""

import numpy as np
import pytest
from PIL import Image

from asfusion.exceptions import ImageReadError
from asfusion.imaging.extent import Extent, read_extent
from asfusion.imaging.read import read_image
from tests.imaging.files import write_dicom


def test_a_photo_is_turned_as_it_is_shown(tmp_path):
    image, exif = Image.new("L", (30, 20)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "hand.jpg", exif=exif)
    found = read_extent(tmp_path / "hand.jpg")
    assert found == Extent(30, 20)
    assert read_image(tmp_path / "hand.jpg").shape == (1, found.rows, found.columns)
    assert found.spacing_at(10) is None


@pytest.mark.parametrize(
    ("header", "spacing", "aspect"),
    [
        ({"PixelSpacing": [0.4, 0.2]}, (0.4, 0.2), 2.0),
        ({"ImagerPixelSpacing": [0.15, 0.15]}, (0.15, 0.15), 1.0),
        ({"PixelSpacing": [0.3, 0.3], "ImagerPixelSpacing": [0.4, 0.4]}, (0.3, 0.3), 1.0),
        ({"PixelAspectRatio": [2, 1]}, None, 2.0),
        ({"PixelSpacing": [0, 0]}, None, 1.0),
        ({}, None, 1.0),
    ],
)
def test_dicom_says_spacing_and_aspect(tmp_path, header, spacing, aspect):
    path = write_dicom(tmp_path / "film.dcm", np.zeros((40, 20), np.uint16), **header)
    found = read_extent(path)
    assert found == Extent(40, 20, aspect, spacing)


def test_spacing_follows_the_fit_into_a_square(tmp_path):
    path = write_dicom(
        tmp_path / "film.dcm", np.zeros((40, 20), np.uint16), PixelSpacing=[0.2, 0.2]
    )
    assert read_extent(path).spacing_at(10) == pytest.approx((0.8, 0.8))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "got an empty file"),
        (b"Doe^John", "got another kind"),
        (b"\0" * 128 + b"DICM", "got a DICOM file without pixel data"),
    ],
)
def test_no_header_is_one_error(tmp_path, content, words):
    path = tmp_path / "Doe_John.dcm"
    path.write_bytes(content)
    with pytest.raises(ImageReadError, match=f"^Image file: expected a.* {words}") as caught:
        read_extent(path)
    assert "Doe" not in str(caught.value)


def test_limits_are_those_of_reading(tmp_path):
    Image.new("L", (9_000, 9_000)).save(tmp_path / "a.png")
    with pytest.raises(ImageReadError, match="a 250th of what its 9000 x 9000 pixels take"):
        read_extent(tmp_path / "a.png")
    path = write_dicom(
        tmp_path / "film.dcm",
        np.zeros((4, 4), np.uint8),
        **dict.fromkeys(("Rows", "Columns"), 60_000),
    )
    with pytest.raises(ImageReadError, match="got a file that declares 60000 x 60000"):
        read_extent(path)
    with pytest.raises(ImageReadError, match="got a path where there is none"):
        read_extent(tmp_path / "nowhere.png")
