"""ImageStore: what is true of images alone; test_stores.py has what all stores promise."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asfusion.exceptions import ConfigurationError, ImageReadError
from asfusion.imaging import ImageStore, read_image
from asfusion.imaging.stores import _content
from tests.imaging.files import SECRET, write_dicom
from tests.imaging.stores import draw_image


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Return ten different images."""
    folder = tmp_path / SECRET
    folder.mkdir()
    return [draw_image(folder / f"{i}.png", i) for i in range(10)]


def test_images_are_what_read_image_gives(tmp_path: Path, files: list[Path]) -> None:
    store = ImageStore(tmp_path / "store", size=32)
    rows = store.ingest(files)
    assert rows.tolist() == list(range(10))
    assert store.read(rows).dtype == np.uint8
    for file, stored in zip(files, store.read(rows), strict=True):
        assert np.array_equal(stored, read_image(file, size=32))
    assert len(store) == 10
    assert store.info == {"n_images": 10, "size": 32, "channels": 1, "dtype": "uint8",
                          "n_bytes": 10 * 32 * 32}  # fmt: skip
    assert repr(store) == "<ImageStore of 10 images, 1 x 32 x 32 uint8>"


def test_channels_and_sixteen_bits(tmp_path: Path, files: list[Path]) -> None:
    colour = ImageStore(tmp_path / "store", size=32, channels=3)
    assert np.array_equal(colour.read(files[:1])[0], read_image(files[0], size=32, channels=3))
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    dicom = write_dicom(tmp_path / "a.dcm", values, BitsStored=12, HighBit=11)
    deep = ImageStore(tmp_path / "store", size=64, dtype="uint16").read([dicom, files[0]])
    assert deep.dtype == np.uint16
    assert len(np.unique(deep[0])) > 2000
    assert np.abs((deep[0] / 257) - read_image(dicom, size=64)).max() <= 0.51
    assert np.array_equal(deep[1], read_image(files[0], size=64) * np.uint16(257))


def test_settings_do_not_mix(tmp_path: Path, files: list[Path]) -> None:
    small, large = ImageStore(tmp_path / "s", size=32), ImageStore(tmp_path / "s", size=48)
    small.ingest(files[:2])
    assert (len(small), len(large)) == (2, 0)
    assert large.read(files[:1]).shape == (1, 1, 48, 48)


def test_sheet_shows_images_and_no_names(tmp_path: Path, files: list[Path]) -> None:
    for dtype in ("uint8", "uint16"):
        store = ImageStore(tmp_path / "store", size=32, dtype=dtype)
        assert "0 images" in store._repr_html_()
        store.ingest(files)
        page = store._repr_html_()
        assert page.count("data:image/png;base64,") == 10
        assert SECRET not in page
    assert "10 images of 1 x 32 x 32 uint16" in page


def test_file_that_may_not_be_opened(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EACCES, "no", str(files[0]))

    monkeypatch.setattr(_content.hashlib, "file_digest", refuse)
    with pytest.raises(ImageReadError, match="Image 0: expected a readable file") as caught:
        ImageStore(tmp_path / "store", size=32).ingest(files)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size: expected an integer of at least 1"),
        ({"channels": 2}, "channels: expected 1"),
        ({"dtype": "float32"}, "dtype: expected one of"),
    ],
)
def test_unusable_settings(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ImageStore(tmp_path / "store", **options)
