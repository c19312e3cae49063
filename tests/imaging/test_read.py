"""read_image on PNG, JPEG and TIFF: pixels, or one error that shows nothing of the file."""

from __future__ import annotations

import io
import logging
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from asfusion.exceptions import ConfigurationError, ImageReadError, InputError
from asfusion.imaging import read_image, read_series, read_stored_values
from asfusion.imaging._quiet import quiet_readers
from tests.imaging.files import dicom, gradient, write_dicom


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


# -- what is kept ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_eight_bit_grey_keeps_its_values(tmp_path: Path, name: str) -> None:
    pixels = read_image(save(tmp_path / name, gradient()))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (1, 40, 60)
    assert np.abs(pixels[0].astype(int) - gradient()).max() <= (2 if name == "a.jpg" else 0)


def test_str_and_pathlike_are_the_same(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", gradient())
    assert np.array_equal(read_image(str(path)), read_image(path))


def test_extension_does_not_matter(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", gradient()).rename(tmp_path / "a.dcm")
    assert read_image(path).shape == (1, 40, 60)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_has_the_channels_asked_for(tmp_path: Path, mode: str, channels: int) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(gradient()).convert("RGB").convert(mode).save(path)
    pixels = read_image(path, channels=channels, size=32)
    assert pixels.shape == (channels, 32, 32)
    assert pixels[:, 16, 30].min() > 200 > 60 > pixels[:, 16, 2].max()


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(gradient()).convert("RGB").convert("CMYK").save(path)
    assert read_image(path, size=32)[0, 16, 30] > 200


def test_colours_stay_in_order(tmp_path: Path) -> None:
    red = np.zeros((32, 32, 3), dtype=np.uint8)
    red[..., 0] = 200
    assert read_image(save(tmp_path / "a.png", red), channels=3)[:, 5, 5].tolist() == [200, 0, 0]


def test_transparent_is_black(tmp_path: Path) -> None:
    pixels = np.full((32, 32, 4), 255, dtype=np.uint8)
    pixels[:16, :, 3] = 0
    grey = read_image(save(tmp_path / "a.png", pixels))[0]
    assert grey[0].max() == 0
    assert grey[31].min() == 255


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_stretched_between_percentiles(tmp_path: Path, suffix: str) -> None:
    stored = gradient(50, 50).astype(np.uint16) * 4 + 1000  # twelve bits in sixteen
    stored[0, 0] = 65535  # a burnt-in marker
    pixels = read_image(save(tmp_path / f"a.{suffix}", stored))[0]
    assert pixels[25, 1] < 10
    assert pixels[25, 48] > 245
    assert abs(int(pixels[25, 25]) - 128) < 10


def test_constant_sixteen_bits_are_black(tmp_path: Path) -> None:
    flat = np.full((20, 20), 700, dtype=np.uint16)
    assert read_image(save(tmp_path / "a.png", flat)).max() == 0


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_photos(tmp_path: Path, suffix: str, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    corner = np.zeros((40, 60), dtype=np.uint8)
    corner[:20, :15] = 255
    Image.fromarray(corner).save(path, exif=exif)
    # By name, Pillow maps a plain TIFF file into memory and forgets that sides are swapped.
    with path.open("rb") as file, Image.open(file) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("L"))
    assert expected.shape == ((60, 40) if orientation > 4 else (40, 60))
    pixels = read_image(path)[0]
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).mean() < 1


def test_broken_orientation_is_ignored(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", gradient(), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff\xff")
    assert read_image(path).shape == (1, 40, 60)


# -- size ------------------------------------------------------------------------------


def test_proportions_are_kept_and_the_rest_is_black(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.full((100, 50), 200, dtype=np.uint8))
    pixels = read_image(path, size=64)[0]
    assert pixels.shape == (64, 64)
    assert (pixels[:, 16:48] == 200).all()
    assert pixels[:, :16].max() == pixels[:, 48:].max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 5), (500, 333)])
@pytest.mark.parametrize("size", [1, 2, 33, 64])
def test_any_shape_fits_any_square(tmp_path: Path, shape: tuple[int, int], size: int) -> None:
    path = save(tmp_path / "a.png", np.full(shape, 255, dtype=np.uint8))
    pixels = read_image(path, size=size)
    assert pixels.shape == (1, size, size)
    assert pixels.max() == 255


def test_downsampling_looks_at_every_pixel(tmp_path: Path) -> None:
    """Skipping rows would turn a fine checkerboard into stripes."""
    board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    pixels = read_image(save(tmp_path / "a.png", board), size=50)[0]
    assert pixels[2:-2, 2:-2].min() > 120
    assert pixels[2:-2, 2:-2].max() < 136


def test_large_jpeg_decoded_small_looks_the_same(tmp_path: Path) -> None:
    big = np.asarray(Image.fromarray(gradient()).resize((1200, 800), Image.Resampling.BICUBIC))
    jpeg = read_image(save(tmp_path / "a.jpg", big, quality=95), size=64)[0].astype(int)
    png = read_image(save(tmp_path / "a.png", big), size=64)[0].astype(int)
    inner = slice(12, 52)
    assert np.abs(jpeg - png)[inner].max() <= 6


@pytest.mark.parametrize("size", [0, -3, 2.5, "64", True])
def test_unusable_size(tmp_path: Path, size: object) -> None:
    with pytest.raises(ConfigurationError, match="size: expected an integer of at least 1"):
        read_image(tmp_path / "a.png", size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [0, 2, 4, "1", True])
def test_unusable_channels(tmp_path: Path, channels: object) -> None:
    with pytest.raises(ConfigurationError, match=r"channels: expected 1 \(grey\) or 3"):
        read_image(tmp_path / "a.png", channels=channels)  # type: ignore[arg-type]


# -- what is refused -------------------------------------------------------------------


def test_error_is_one_that_everyone_catches(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match="expected an existing file"):
        read_image(tmp_path / "none.png")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match="got a folder"):
        read_image(tmp_path)


def test_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.touch()
    with pytest.raises(ImageReadError, match="got an empty file"):
        read_image(path)


def test_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageReadError, match="expected an ordinary file"):
        read_image(tmp_path / "pipe.png")


def test_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", forbid)
    with pytest.raises(ImageReadError, match="without permission"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("read", [read_image, read_series, read_stored_values])
@pytest.mark.parametrize(
    ("path", "words"),
    [
        (None, "expected the path of a file as str or PathLike, got NoneType"),
        (3, "expected the path of a file as str or PathLike, got int"),
        (b"a.png", "expected the path of a file as str or PathLike, got bytes"),
        ("", "expected an existing file, got an empty path"),
        ("a\x00b.png", "expected an existing file, got an empty path, one of bytes or with a null"),
        ("x" * 5000, "expected an existing file, got a path that is longer than this system"),
    ],
)
def test_what_is_no_path_is_refused(read: Callable[[Any], object], path: Any, words: str) -> None:
    with pytest.raises(ImageReadError, match=f"(Image file|DICOM file|Series): {words}"):
        read(path)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    for name in ("a.bmp", "a.gif", "a.webp"):
        with pytest.raises(ImageReadError, match="got another kind"):
            read_image(save(tmp_path / name, gradient()))


def test_several_images_in_one_file_are_refused(tmp_path: Path) -> None:
    first, second = Image.fromarray(gradient()), Image.fromarray(gradient()[:, ::-1])
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    with pytest.raises(ImageReadError, match="got a TIFF file of 2 images"):
        read_image(tmp_path / "a.tif")


def test_photo_with_a_second_picture_inside_gives_the_first(tmp_path: Path) -> None:
    """Phones put a depth map behind the photo."""
    first, second = Image.fromarray(gradient()), Image.fromarray(gradient()[:, ::-1])
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert read_image(tmp_path / "a.jpg")[0, 20, 55] > 200


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    end = b"\x00\x00\x00\x00IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\r" + body + zlib.crc32(body).to_bytes(4, "big") + end


@pytest.mark.parametrize("side", [10_001, 13_000, 60_000])
def test_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(side, side))
    with pytest.raises(ImageReadError, match="expected at most 100 million pixels and 512 MiB"):
        read_image(path, size=32)


def test_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(513 * 2**20)  # a hole: takes no disk
    with pytest.raises(ImageReadError, match="expected a file of at most 512 MiB"):
        read_image(path)


def test_out_of_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    path = save(tmp_path / "a.png", gradient())
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ImageReadError, match="fits into memory"):
        read_image(path)


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_cut_files_give_one_error(tmp_path: Path, kind: str) -> None:
    content = encoded(kind)
    path = tmp_path / "Jane_Doe_1971.png"
    for share in (0.05, 0.2, 0.5, 0.8):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ImageReadError, match="Image file: expected") as caught:
            read_image(path, size=32)
        assert "Jane" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


SOURCES = [encoded("PNG"), encoded("JPEG"), encoded("TIFF")]


@given(
    source=st.sampled_from(SOURCES),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
)
def test_damaged_files_give_pixels_or_one_error(
    source: bytes, changes: list[tuple[float, int]]
) -> None:
    content = bytearray(source)
    for place, byte in changes:
        content[min(int(place * len(content)), len(content) - 1)] = byte
    check_bytes(bytes(content))


@given(
    st.binary(min_size=1, max_size=300), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"II*\x00"])
)
def test_any_bytes_give_pixels_or_one_error(content: bytes, start: bytes) -> None:
    check_bytes(start + content)


def check_bytes(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(content)
        try:
            pixels = read_image(path, size=32)
        except ImageReadError as error:
            assert str(error).startswith("Image file: expected ")
            assert folder not in str(error)
        else:
            assert pixels.shape == (1, 32, 32)
            assert pixels.dtype == np.uint8


def white_is_zero(path: Path, values: np.ndarray) -> Path:
    """Write an uncompressed grey TIFF file of which low values are bright."""
    data, (height, width) = values.astype(values.dtype.newbyteorder("<")).tobytes(), values.shape
    entries = [
        (256, 3, width), (257, 3, height), (258, 3, 8 * values.itemsize), (259, 3, 1), (262, 3, 0),
        (273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(data)),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    path.write_bytes(head + data + struct.pack("<H", len(entries)) + table + bytes(4))
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [None, 30])
def test_tiff_whose_low_values_are_bright(
    tmp_path: Path, kind: type[np.generic], size: int | None
) -> None:
    values = gradient().astype(np.uint16) * (1 if kind is np.uint8 else 16)
    pixels = read_image(white_is_zero(tmp_path / "a.tif", values.astype(kind)), size=size)
    row = pixels[0, pixels.shape[1] // 2].astype(int)
    assert row[0] > 240
    assert row[-1] < 15
    assert (np.diff(row) <= 0).all()


@pytest.mark.parametrize("level", [0, 6])
def test_pixels_of_a_png_pass_their_checksum(tmp_path: Path, level: int) -> None:
    """A bit that is wrong may still unpack, to other grey values."""
    content = bytearray(save(tmp_path / "a.png", gradient(), compress_level=level).read_bytes())
    assert np.array_equal(read_image(tmp_path / "a.png")[0], gradient())
    content[content.index(b"IDAT") + 24] ^= 4
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageReadError, match="expected a readable PNG"):
        read_image(tmp_path / "a.png")


def test_tiff_of_32_bits_without_a_sign(tmp_path: Path) -> None:
    values = (gradient().astype(np.uint64) * 16_843_009).astype(np.uint32)
    path = white_is_zero(tmp_path / "a.tif", values)
    content = path.read_bytes()
    path.write_bytes(
        content.replace(struct.pack("<HHII", 262, 3, 1, 0), struct.pack("<HHII", 262, 3, 1, 1))
    )
    assert np.abs(read_image(path)[0].astype(int) - gradient()).max() <= 2


# -- silence ---------------------------------------------------------------------------


def test_readers_neither_warn_nor_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = write_dicom(tmp_path / "a.dcm", gradient())
    dataset = dicom(gradient())
    dataset.add_new("StudyDate", "LO", "Jane Doe, 1971")  # a date that is none
    dataset.save_as(path, enforce_file_format=True)
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_image(path)
    assert caught == []
    assert [r for r in caplog.records if "Jane" in r.getMessage()] == []
    assert "Jane" not in "".join(capfd.readouterr())


def _with_a_bad_date(path: Path) -> Path:
    dataset = dicom(gradient())
    dataset.add_new("StudyDate", "LO", "Jane Doe, 1971")
    dataset.save_as(path, enforce_file_format=True)
    return path


def _reading(path: Path, stop: threading.Event, said: list[str]) -> threading.Thread:
    """Return a started thread that reads a file again and again."""

    def work() -> None:
        while not stop.wait(0.001):
            try:
                read_image(path)
            except Exception as error:
                said.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("action", ["always", "error"])
def test_warnings_of_others_are_theirs_while_a_thread_reads(tmp_path: Path, action: str) -> None:
    path = _with_a_bad_date(tmp_path / "a.dcm")
    read_image(path)
    before, stop, said = list(warnings.filters), threading.Event(), []
    readers = [_reading(path, stop, said) for _ in range(2)]
    seen, foreign = 0, []
    try:
        for _ in range(150):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter(action)
                stop.wait(0.002)
                try:
                    warnings.warn("mine", UserWarning, stacklevel=1)
                except UserWarning:
                    seen += 1
                seen += sum(str(w.message) == "mine" for w in caught)
                foreign += [str(w.message) for w in caught if str(w.message) != "mine"]
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert (seen, foreign, said) == (150, [], [])
    assert list(warnings.filters) == before


def test_silence_is_of_readers_and_of_this_thread_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from pydicom.misc import warn_and_log

    caplog.set_level(logging.WARNING)
    with quiet_readers():
        with quiet_readers():
            pass
        warn_and_log("unheard")
        logging.getLogger("PIL.TiffImagePlugin").warning("unheard")
        with pytest.warns(UserWarning, match="ours"):
            warnings.warn("ours", UserWarning, stacklevel=1)
        heard: list[str] = []

        def other() -> None:
            try:
                warn_and_log("heard")
            except UserWarning as warning:  # as these tests set the filters
                heard.append(str(warning))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert heard == ["heard"]
    assert [record.getMessage() for record in caplog.records] == ["heard"]
    with pytest.warns(UserWarning, match="afterwards") as caught:
        warn_and_log("afterwards")
    assert caught[0].filename == __file__


def test_import_is_light() -> None:
    code = (
        "import sys, asfusion.imaging.read; "
        "print([m for m in ('torch', 'pydicom', 'PIL') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
