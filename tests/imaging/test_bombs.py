"""Small files that ask for a great deal: refused, or decoded by a worker, before they cost it."""

from __future__ import annotations

import gzip
import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import asfusion.imaging.dicom._workers as workers
import asfusion.imaging.read as read_module
from asfusion.exceptions import AsfusionError, ImageReadError
from asfusion.imaging import read_image, read_series
from asfusion.imaging._in_memory import content_digest, read_content
from asfusion.imaging.extent import read_extent
from tests.forging.images import BOMBS, bomb, damaged, nifti, tiff, valid
from tests.imaging.files import gradient


def refuse(path: Path, content: bytes, match: str) -> None:
    path.write_bytes(content)
    begun = time.process_time()
    for read in (lambda file: read_image(file, size=16), read_extent):
        with pytest.raises(ImageReadError, match=match) as caught:
            read(path)
        assert str(path.parent) not in str(caught.value)
    assert time.process_time() - begun < 5.0
    with pytest.raises(ImageReadError, match=match):
        read_content(content, 16, 1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with every picture that a worker is asked for."""
    found: list[str] = []
    fill = read_module.fill

    def counted(values: Any, question: Any, *rest: Any, **options: Any) -> None:
        found.append(question["do"])
        fill(values, question, *rest, **options)

    monkeypatch.setattr(read_module, "fill", counted)
    return found


# -- JPEG ------------------------------------------------------------------------------


def progressive(side: int, n_scans: int) -> bytes:
    """Return a progressive JPEG with its last scan so many times more."""
    buffer = io.BytesIO()
    Image.fromarray(gradient(side, side)).save(buffer, "JPEG", progressive=True)
    code = buffer.getvalue()
    start, end = code.rindex(b"\xff\xda"), code.rindex(b"\xff\xd9")
    return code[:end] + code[start:end] * n_scans + code[end:]


def test_scans_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    refuse(path, progressive(1500, 1000), "at most 128 scans, got more")
    hidden = progressive(64, 1000)
    at = hidden.index(b"\xff\xda", hidden.index(b"\xff\xda") + 2)
    refuse(path, hidden[:at] + b"\xff\xfe\0\4\xff\xd9" + hidden[at:], "at most 128 scans")


def test_ordinary_progressive_photo_is_read_here(tmp_path: Path, asked: list[str]) -> None:
    content = progressive(300, 0)
    (tmp_path / "a.jpg").write_bytes(content + b"\xff\xda" * 500)  # behind the end
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image)
    assert np.array_equal(read_image(tmp_path / "a.jpg")[0], expected)
    assert asked == []


def test_many_scans_of_many_pixels_go_to_a_worker(tmp_path: Path, asked: list[str]) -> None:
    (tmp_path / "a.jpg").write_bytes(progressive(1000, 60))
    quick = read_image(tmp_path / "a.jpg", size=20)
    (tmp_path / "b.jpg").write_bytes(progressive(1000, 0))
    assert np.array_equal(quick, read_image(tmp_path / "b.jpg", size=20))
    assert asked == ["picture"]


def test_picture_that_takes_too_long(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(progressive(2500, 100))
    monkeypatch.setattr(workers, "_TIME_S", 0.001)  # no machine is that quick
    with pytest.raises(ImageReadError, match="that decode within 0 s, got data that take longer"):
        read_image(tmp_path / "a.jpg", size=20)
    assert asked == ["picture"]


@pytest.mark.parametrize(
    "more",
    [
        b"\xff\xfe\0\2" * 5000,
        b"\0" * 5000,
        b"\xff" * 5000,
        b"\xff\xc0\0\x0b\x08\0\x40\0\x40\1\1\x11\0",
    ],
)
def test_segments_of_no_use(tmp_path: Path, more: bytes) -> None:
    code = progressive(16, 0)
    at = code.index(b"\xff\xc4")
    refuse(tmp_path / "a.jpg", code[:at] + more + code[at:], "expected a readable JPEG file")


# -- what stands beside the pixels -----------------------------------------------------


@pytest.mark.parametrize("name", ["EXIF in JPEG", "EXIF in PNG", "texts in PNG"])
def test_what_is_no_picture_is_bounded(tmp_path: Path, name: str) -> None:
    drawn = (bomb(name, np.random.default_rng(seed)) for seed in range(20))
    content, suffix = next(one for one in drawn if len(one[0]) > 18_000)
    refuse(tmp_path / f"a{suffix}", content, r"at most (4|16) MiB of texts, profiles and tables")


def test_a_chunk_that_is_no_picture(tmp_path: Path) -> None:
    content = png((b"prVt", bytes(17 * 2**20)))
    refuse(tmp_path / "a.png", content, "at most 16 MiB of texts, profiles and tables")


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG with chunks before its pixels."""
    buffer = io.BytesIO()
    Image.fromarray(gradient()).save(buffer, "PNG")
    more = b"".join(
        struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))
        for name, data in chunks
    )
    return buffer.getvalue()[:33] + more + buffer.getvalue()[33:]


def test_entries_that_point_at_the_same_bytes(tmp_path: Path) -> None:
    entries = [(50_000 + i, 7, 2**20, 8) for i in range(40)]
    words = "at most 16 MiB of texts, profiles and tables"
    refuse(tmp_path / "a.tif", tiff(4, 4, bytes(2**20), strips=[(0, 16)], more=entries), words)
    block = struct.pack("<H", 4000) + b"".join(
        struct.pack("<HHLL", 40_000 + i, 7, 60_000, 8) for i in range(4000)
    )
    inside = [(34665, 4, 1, 24)]
    data = bytes(16) + block + bytes(60_000)
    refuse(tmp_path / "a.tif", tiff(4, 4, data, strips=[(0, 16)], more=inside), words)


def test_photo_with_ordinary_texts(tmp_path: Path) -> None:
    for number, (content, suffix) in enumerate(valid()):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(content)
        if suffix in (".png", ".jpg"):
            assert read_image(path, size=16).shape == (1, 16, 16)


def test_tiny_chunks(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    content, _ = bomb("tiny chunks", rng)
    refuse(tmp_path / "a.png", content, "expected a readable PNG file")


# -- TIFF ------------------------------------------------------------------------------


def test_pages_are_not_counted_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    refuse(path, tiff(4, 4, bytes(16), pages=100_000), "TIFF file of 1000 or more images")
    refuse(path, tiff(4, 4, bytes(16), pages=3), "TIFF file of 3 images")
    refuse(path, tiff(4, 4, bytes(16), pages=3, follow=1), "expected a readable TIFF file")
    refuse(path, tiff(4, 4, bytes(16), follow=0), "expected a readable TIFF file")


def test_pages_of_an_image_that_somebody_holds(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(4, 4, bytes(range(16)), pages=20_000))
    with Image.open(tmp_path / "a.tif") as image:
        begun = time.process_time()
        with pytest.raises(ImageReadError, match="expected a single image"):
            read_content(image, 16, 1)
        assert time.process_time() - begun < 10.0
    (tmp_path / "b.tif").write_bytes(tiff(4, 4, bytes(range(16))))
    with Image.open(tmp_path / "b.tif") as image:
        before = content_digest(image)
        assert read_content(image, 4, 1)[0].ravel().tolist() == list(range(16))
        assert content_digest(image) == before


def test_strips_that_share_their_bytes(tmp_path: Path) -> None:
    strips = [(0, 2**16)] * 64
    content = tiff(64, 64, bytes(2**16), packing=5, rows=1, strips=strips)
    refuse(tmp_path / "a.tif", content, "whose strips lie beside each other")


def test_strips_without_number(tmp_path: Path) -> None:
    content = tiff(1, 101_000, bytes(101_000), rows=1, strips=[(i, 1) for i in range(101_000)])
    refuse(tmp_path / "a.tif", content, "1 to 100000 strips or tiles")
    refuse(tmp_path / "a.tif", tiff(8, 8, bytes(64), rows=0), "expected a readable TIFF file")


@pytest.mark.parametrize("packing", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "group4"])
def test_packed_pages(tmp_path: Path, asked: list[str], packing: str) -> None:
    """What is packed in a way of which the cost is not known goes to a worker."""
    picture = Image.fromarray(gradient()).convert("1" if packing == "group4" else "L")
    picture.save(tmp_path / "a.tif", compression=packing)
    with Image.open(tmp_path / "a.tif") as image:
        expected = np.asarray(image.convert("L"))
    assert np.array_equal(read_image(tmp_path / "a.tif")[0], expected)
    assert np.array_equal(
        read_content((tmp_path / "a.tif").read_bytes(), 64, 1)[0, 11:51, 2:62].shape, (40, 60)
    )
    assert len(asked) == (2 if packing in ("jpeg", "group4") else 0)


def test_large_empty_pictures_take_no_memory_here(tmp_path: Path, asked: list[str]) -> None:
    """An LZW page of 52 MB in a file of 400 KB, and a PNG of 12 MB in 15 KB."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no account of memory")

    def peak() -> int:
        return int(status.read_text().partition("VmHWM:")[2].split()[0])

    Image.new("L", (7_200, 7_200)).save(tmp_path / "a.tif", compression="tiff_lzw")
    with (tmp_path / "a.tif").open("ab") as file:
        file.write(bytes(300_000))
    Image.new("L", (3_500, 3_500)).save(tmp_path / "b.png")
    Image.new("L", (9, 9)).save(tmp_path / "c.png")
    read_image(tmp_path / "c.png", size=9)
    before = peak()
    for name in ("a.tif", "b.png"):
        assert read_image(tmp_path / name, size=64).max() == 0
    assert peak() - before < 32 * 1024, peak() - before
    assert asked == ["picture"] * 2


def test_worker_gives_every_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asfusion.imaging._pillow as pillow_module

    deep = Image.fromarray(gradient().astype(np.uint16) * 256)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gradient()).save(tmp_path / "a.png", exif=exif)
    deep.save(tmp_path / "b.png")
    Image.fromarray(gradient()).convert("RGB").save(tmp_path / "c.jpg")
    for path in sorted(tmp_path.iterdir()):
        for size in (None, 20):
            for channels in (1, 3):
                for bits in (8, 16):
                    here = read_module.read_pixels(path, size, channels, bits)
                    with monkeypatch.context() as patch:
                        patch.setattr(pillow_module.Opened, "is_hard", True)
                        there = read_module.read_pixels(path, size, channels, bits)
                    assert here.dtype == there.dtype
                    assert np.array_equal(here, there), (path.name, size, channels, bits)


# -- NIfTI -----------------------------------------------------------------------------

VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def refuse_volume(path: Path, content: bytes, match: str) -> None:
    pytest.importorskip("nibabel")
    path.write_bytes(content)
    with pytest.raises(ImageReadError, match=match) as caught:
        read_series(path)
    assert str(path.parent) not in str(caught.value)


def test_extension_that_says_it_is_long(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    content = nifti(VOXELS, extension=struct.pack("<2i", 2**30, 6) + bytes(8))
    for path, data in (
        (tmp_path / "a.nii", content),
        (tmp_path / "a.nii.gz", gzip.compress(content)),
    ):
        path.write_bytes(data)
        assert np.array_equal(read_series(path).values, VOXELS)
    far = bytearray(content)
    struct.pack_into("<f", far, 108, 2.0**28)
    refuse_volume(tmp_path / "b.nii.gz", gzip.compress(far), "at most 16 MiB of extensions")
    struct.pack_into("<f", far, 108, 100.0)
    refuse_volume(tmp_path / "b.nii", far, "damaged or cut short")


def test_volume_of_more_voxels_than_the_header_says(tmp_path: Path) -> None:
    words = "of the 5 x 4 x 3 voxels that its header declares, got one of more"
    for more, name in ((VOXELS.tobytes(), "a"), (VOXELS[0].tobytes(), "b")):
        content = nifti(VOXELS) + more
        refuse_volume(tmp_path / f"{name}.nii", content, words)
        refuse_volume(tmp_path / f"{name}.nii.gz", gzip.compress(content), words)


def test_members_of_a_packed_file(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    content, path = nifti(VOXELS), tmp_path / "a.nii.gz"
    blocks = [gzip.compress(content[i : i + 100]) for i in range(0, len(content), 100)]
    path.write_bytes(b"".join(blocks) + bytes(30))
    assert np.array_equal(read_series(path).values, VOXELS)
    path.write_bytes(gzip.compress(b"") * 2000 + gzip.compress(content))
    begun = time.process_time()
    with pytest.raises(ImageReadError, match="expected a NIfTI file"):
        read_series(path)
    assert time.process_time() - begun < 10.0


def test_packed_voxels_pass_their_checksum(tmp_path: Path) -> None:
    """A bit that is wrong may still unpack, to other voxels."""
    packed = zlib.compressobj(0, wbits=31)
    content = bytearray(packed.compress(nifti(VOXELS)) + packed.flush())
    content[content.index(VOXELS.tobytes()) + 8] ^= 1
    refuse_volume(tmp_path / "a.nii.gz", bytes(content), "damaged or cut short")


@pytest.mark.parametrize(
    ("at", "form", "values", "words"),
    [
        (72, "<h", (32,), "whose bitpix is that of its data type, 16, got 32"),
        (112, "<2f", (np.inf, 0.0), "whose scale is a number"),
        (112, "<2f", (2.0, np.nan), "whose scale is a number"),
        (42, "<h", (-5,), "expected a "),
        (108, "<f", (np.nan,), "damaged or cut short"),
    ],
)
def test_numbers_of_the_header(
    tmp_path: Path, at: int, form: str, values: tuple[float, ...], words: str
) -> None:
    content = bytearray(nifti(VOXELS))
    struct.pack_into(form, content, at, *values)
    refuse_volume(tmp_path / "a.nii", bytes(content), words)


@pytest.mark.parametrize("slope", [np.nan, 0.0])
def test_no_scale(tmp_path: Path, slope: float) -> None:
    pytest.importorskip("nibabel")
    for order in "<>":
        (tmp_path / "a.nii").write_bytes(nifti(VOXELS, slope=slope, order=order))
        assert np.array_equal(read_series(tmp_path / "a.nii").values, VOXELS)


# -- anything --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [name for name in BOMBS if name not in ("large TIFF", "large PNG")]
)
def test_bombs_give_pixels_or_one_error(tmp_path: Path, name: str) -> None:
    content, suffix = bomb(name, np.random.default_rng(1))
    (tmp_path / f"a{suffix}").write_bytes(content)
    begun = time.process_time()
    check(tmp_path / f"a{suffix}")
    assert time.process_time() - begun < 5.0


@pytest.mark.parametrize("first", [0, 50])
def test_damaged_pictures_give_pixels_or_one_error(tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 50):
        content, suffix = damaged(seed)
        path = tmp_path / f"a{suffix}"
        path.write_bytes(content)
        check(path)


def check(path: Path) -> None:
    try:
        read_series(path) if ".nii" in path.name else read_image(path, size=16)
    except AsfusionError as error:
        assert "expected " in str(error)
        assert str(path.parent) not in str(error)
