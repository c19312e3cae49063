"""read_image on DICOM: grey values as the header means them, guarded, without names."""

from __future__ import annotations

import csv
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from asfusion.exceptions import DicomReadError, ImageReadError
from asfusion.imaging import read_image, read_stored_values
from tests.imaging.files import SECRET, dicom, gradient, raw, write_dicom

RAMP = np.arange(0, 1000, dtype=np.uint16).reshape(25, 40)  # grey values 0 to 999


def show(folder: Path, pixels: np.ndarray, **header: object) -> np.ndarray:
    """Return what `read_image` makes of a DICOM file with these values and entries."""
    return read_image(write_dicom(folder / "a.dcm", pixels, **header))[0].astype(int)


def expected_line(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.rint(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255)


# -- windows ---------------------------------------------------------------------------


def test_window_is_applied_as_the_standard_says(tmp_path: Path) -> None:
    shown = show(tmp_path, RAMP, WindowCenter=500, WindowWidth=401)
    # PS3.3 C.11.2.1.2.1: black up to c - 0.5 - (w - 1) / 2, white from c - 0.5 + (w - 1) / 2
    assert np.abs(shown - expected_line(RAMP, 299.5, 699.5)).max() <= 1


def test_linear_exact_window(tmp_path: Path) -> None:
    shown = show(tmp_path, RAMP, WindowCenter=500, WindowWidth=400, VOILUTFunction="LINEAR_EXACT")
    assert np.abs(shown - expected_line(RAMP, 300, 700)).max() <= 1


def test_sigmoid_window(tmp_path: Path) -> None:
    shown = show(tmp_path, RAMP, WindowCenter=500, WindowWidth=400, VOILUTFunction="SIGMOID")
    expected = 255 / (1 + np.exp(-4 * (RAMP - 500.0) / 400))
    assert np.abs(shown - expected).max() <= 1


def test_first_of_several_windows_counts(tmp_path: Path) -> None:
    one = show(tmp_path, RAMP, WindowCenter=500, WindowWidth=401)
    several = show(tmp_path, RAMP, WindowCenter=[500, 40], WindowWidth=[401, 80])
    assert np.array_equal(one, several)


def test_window_is_in_rescaled_units(tmp_path: Path) -> None:
    header = {"RescaleSlope": 2, "RescaleIntercept": -1024}
    shown = show(tmp_path, RAMP, WindowCenter=0, WindowWidth=401, **header)
    assert np.abs(shown - expected_line(RAMP * 2.0 - 1024, -200.5, 199.5)).max() <= 1


def test_missing_window_leaves_out_the_tails(tmp_path: Path) -> None:
    values = RAMP.copy()
    values[0, 0] = 60000
    shown = show(tmp_path, values)
    assert shown[12, 20] == pytest.approx(128, abs=4)
    assert shown[24, 30] > 245


@pytest.mark.parametrize("width", [0, -5])
def test_impossible_window_counts_as_missing(tmp_path: Path, width: int) -> None:
    shown = show(tmp_path, RAMP, WindowCenter=1, WindowWidth=width)
    assert np.array_equal(shown, show(tmp_path, RAMP))


def test_window_that_misses_the_pixels_counts_as_missing(tmp_path: Path) -> None:
    shown = show(tmp_path, RAMP, WindowCenter=50000, WindowWidth=100)
    assert np.array_equal(shown, show(tmp_path, RAMP))


def broken(folder: Path, **entries: bytes) -> Path:
    """Write an image of which some decimal texts are no numbers."""
    dataset = dicom(RAMP)
    for keyword, value in entries.items():
        dataset[keyword] = raw(keyword, value)
    dataset.save_as(folder / "a.dcm", enforce_file_format=True)
    return folder / "a.dcm"


BROKEN_RESCALES = [
    {"RescaleSlope": b"1,5"}, {"RescaleSlope": b"NaN"}, {"RescaleSlope": b"0"},
    {"RescaleIntercept": b"NaN", "RescaleSlope": b"1"}, {"RescaleIntercept": b"about 5"},
]  # fmt: skip


@pytest.mark.parametrize("entries", BROKEN_RESCALES)
@pytest.mark.parametrize("size", [None, 8])
def test_broken_rescale_is_refused(
    tmp_path: Path, entries: dict[str, bytes], size: int | None
) -> None:
    path = broken(tmp_path, **entries)
    with pytest.raises(DicomReadError, match="slope and intercept that are numbers") as caught:
        read_image(path, size=size)
    assert not any(value.decode() in str(caught.value) for value in (b"1,5", b"about"))
    assert np.array_equal(read_stored_values(path), RAMP)


def test_empty_rescale_is_none(tmp_path: Path) -> None:
    path = broken(tmp_path, RescaleSlope=b"", RescaleIntercept=b"")
    assert np.array_equal(read_image(path)[0], show(tmp_path, RAMP))


@pytest.mark.parametrize("entries", [{"WindowCenter": b"abc"}, {"WindowWidth": b"1,5"}])
def test_unusable_window_is_none(tmp_path: Path, entries: dict[str, bytes]) -> None:
    path = broken(tmp_path, **({"WindowCenter": b"5", "WindowWidth": b"9"} | entries))
    assert np.array_equal(read_image(path)[0], show(tmp_path, RAMP))


def test_padding_is_black_and_sets_no_window(tmp_path: Path) -> None:
    values = RAMP.astype(np.int16)
    values[:5] = -2000
    shown = show(tmp_path, values, PixelPaddingValue=-2000)
    assert shown[:5].max() == 0
    assert shown[5, 0] < 10 < 240 < shown[24, 39]
    high = show(tmp_path, values + 3000, PhotometricInterpretation="MONOCHROME1",
                PixelPaddingValue=1000)  # fmt: skip
    assert high[:5].max() == 0


def test_padding_range(tmp_path: Path) -> None:
    values = RAMP.copy()
    values[:5] = np.arange(5000, 5040)
    shown = show(tmp_path, values, PixelPaddingValue=5000, PixelPaddingRangeLimit=5040)
    assert shown[:5].max() == 0
    assert shown[24, 30] > 245


def test_padding_everywhere_is_not_believed(tmp_path: Path) -> None:
    flat = np.zeros((8, 8), dtype=np.uint16)
    assert show(tmp_path, flat, PixelPaddingValue=0).max() == 0


# -- stored values ---------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian, RLELossless,
])  # fmt: skip
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
@pytest.mark.parametrize("high", [11, 13, 15])
def test_values_at_higher_bits_are_moved_down(
    tmp_path: Path, syntax: str, kind: type[np.generic], high: int
) -> None:
    values = (RAMP.astype(np.int32) - (500 if kind is np.int16 else 0)).astype(kind)
    mask = np.uint16((1 << 12) - 1)
    up = (values.view(np.uint16) & mask) << np.uint16(high - 11)
    up |= np.uint16((1 << (high - 11)) - 1)  # what lies below, such as an overlay
    if high < 15:
        up |= np.uint16(0x8000)
    header = {"BitsStored": 12, "HighBit": high, "PixelRepresentation": int(kind is np.int16)}
    dataset = dicom(up, **header)
    if syntax == RLELossless:
        dataset.compress(RLELossless)
    else:
        stored = up.byteswap() if syntax == ExplicitVRBigEndian else up
        dataset.PixelData, dataset.file_meta.TransferSyntaxUID = stored.tobytes(), syntax
        dataset["PixelData"].VR = "OW"
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert np.array_equal(read_stored_values(tmp_path / "a.dcm"), values)
    low, top = np.percentile(values, [0.5, 99.5])
    shown = read_image(tmp_path / "a.dcm")[0].astype(int)
    assert np.abs(shown - expected_line(values, low, top)).max() <= 1


def test_high_bit_beyond_what_is_allocated(tmp_path: Path) -> None:
    refuse(tmp_path, "expected a high bit below the 16 bits that are allocated, got 16", HighBit=16)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    window = {"WindowCenter": 500, "WindowWidth": 1000}
    dark = show(tmp_path, RAMP, **window)
    bright = show(tmp_path, RAMP, PhotometricInterpretation="MONOCHROME1", **window)
    assert np.abs(dark + bright - 255).max() <= 1


def test_letterbox_of_an_inverted_image_is_black(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="MONOCHROME1")
    pixels = read_image(path, size=64)[0]
    assert pixels[:10].max() == 0
    assert pixels[32].max() > 100


def test_signed_values(tmp_path: Path) -> None:
    values = RAMP.astype(np.int16) - 500
    shown = show(tmp_path, values, WindowCenter=0, WindowWidth=1001)
    assert np.abs(shown - expected_line(values, -500.5, 499.5)).max() <= 1


def test_eight_bits_without_a_window(tmp_path: Path) -> None:
    shown = show(tmp_path, gradient())
    assert (shown[0, 0], shown[0, -1]) == (0, 255)


def test_thirty_two_bits(tmp_path: Path) -> None:
    shown = show(tmp_path, RAMP.astype(np.uint32) * 4_000_000)
    assert np.abs(shown - show(tmp_path, RAMP)).max() <= 2


def test_single_bits(tmp_path: Path) -> None:
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[4:8] = 1
    packed = np.packbits(mask.ravel(), bitorder="little").tobytes()
    shown = show(tmp_path, mask, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed)
    assert np.array_equal(shown, mask * 255)


def test_floating_values_with_gaps(tmp_path: Path) -> None:
    values = RAMP.astype(np.float32)
    values[0, :4] = [np.nan, np.inf, -np.inf, np.nan]
    dataset = dicom(RAMP, BitsAllocated=32)
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.FloatPixelData = values.tobytes()
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    shown = read_image(tmp_path / "a.dcm")[0].astype(int)
    assert shown[0, :4].max() == 0
    assert shown[24, 30] > 240


def test_unused_high_bits_are_ignored(tmp_path: Path) -> None:
    overlay = RAMP | 0x8000  # old files keep an overlay there
    header = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 500, "WindowWidth": 1000}
    assert np.array_equal(show(tmp_path, overlay, **header), show(tmp_path, RAMP, **header))


def lut(values: np.ndarray, first: int, bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first, bits])
    item.add_new("LUTData", "OW", values.astype("<u2").tobytes())
    return item


def test_modality_table(tmp_path: Path) -> None:
    item = lut(np.arange(1000)[::-1], 0, 16)
    item.ModalityLUTType = "US"
    header = {"WindowCenter": 500, "WindowWidth": 1001}
    shown = show(tmp_path, RAMP, ModalityLUTSequence=[item], **header)
    assert np.abs(shown - expected_line(999.0 - RAMP, -0.5, 999.5)).max() <= 1


def test_voi_table(tmp_path: Path) -> None:
    squares = (np.arange(1000) ** 2 / 999**2 * 4095).astype(int)
    shown = show(tmp_path, RAMP, VOILUTSequence=[lut(squares, 0, 12)], WindowCenter=1,
                 WindowWidth=2)  # fmt: skip
    assert np.abs(shown - np.rint(squares[RAMP] / 4095 * 255)).max() <= 1


def test_voi_table_after_rescale(tmp_path: Path) -> None:
    table = lut(np.arange(1000) * 4, 0, 12)
    table.add_new("LUTDescriptor", "SS", [1000, -500, 12])
    shown = show(tmp_path, RAMP, RescaleSlope=1, RescaleIntercept=-500, VOILUTSequence=[table])
    assert np.abs(shown - expected_line(RAMP * 4.0, 0, 4095)).max() <= 1


# -- colours ---------------------------------------------------------------------------


def test_rgb(tmp_path: Path) -> None:
    colours = np.zeros((20, 20, 3), dtype=np.uint8)
    colours[..., 1] = 180
    path = write_dicom(tmp_path / "a.dcm", colours)
    assert read_image(path, channels=3)[:, 3, 3].tolist() == [0, 180, 0]
    assert read_image(path)[0, 3, 3] == pytest.approx(180 * 0.587, abs=1)


def test_deep_rgb_keeps_its_upper_bits(tmp_path: Path) -> None:
    colours = np.full((20, 20, 3), 200 * 256, dtype=np.uint16)
    path = write_dicom(tmp_path / "a.dcm", colours)
    assert read_image(path, channels=3)[:, 3, 3].tolist() == [200, 200, 200]


def test_ybr_becomes_rgb(tmp_path: Path) -> None:
    ybr = np.zeros((20, 20, 3), dtype=np.uint8)
    ybr[:] = (76, 85, 255)  # pure red
    path = write_dicom(tmp_path / "a.dcm", ybr, PhotometricInterpretation="YBR_FULL")
    red, green, blue = read_image(path, channels=3)[:, 3, 3].tolist()
    assert red > 250 > 5 > max(green, blue)


@pytest.mark.parametrize(("bits", "big_endian"), [(8, False), (16, False), (16, True)])
def test_palette(tmp_path: Path, bits: int, big_endian: bool) -> None:
    """16-bit tables of big-endian files are read in the machine's order by pydicom 3.0."""
    index = np.tile(np.arange(20, dtype=np.uint8), (20, 1))
    dataset = dicom(index, PhotometricInterpretation="PALETTE COLOR")
    entry = {8: "u1", 16: ">u2" if big_endian else "<u2"}[bits]
    for colour, factor in (("Red", 10), ("Green", 5), ("Blue", 0)):
        table = np.arange(256) * factor % 256 * (256 if bits == 16 else 1)
        stem = f"{colour}PaletteColorLookupTable"
        dataset.add_new(f"{stem}Descriptor", "US", [256, 0, bits])
        dataset.add_new(f"{stem}Data", "OW", table.astype(entry).tobytes())
    if big_endian:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.save_as(
        tmp_path / "a.dcm",
        implicit_vr=False,
        little_endian=not big_endian,
        enforce_file_format=True,
    )
    assert read_image(tmp_path / "a.dcm", channels=3)[:, 0, 7].tolist() == [70, 35, 0]


def test_eight_bit_entries_in_sixteen(tmp_path: Path) -> None:
    dataset = dicom(np.full((9, 9), 3, dtype=np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        stem = f"{colour}PaletteColorLookupTable"
        dataset.add_new(f"{stem}Descriptor", "US", [256, 0, 8])
        dataset.add_new(
            f"{stem}Data", "OW", (np.arange(256) * 2).clip(max=255).astype("<u2").tobytes()
        )
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert read_image(tmp_path / "a.dcm")[0, 4, 4] == 6


# -- geometry and encodings ------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ({}, 32),
        ({"PixelSpacing": [2.0, 1.0]}, 64),
        ({"ImagerPixelSpacing": [0.5, 1.0]}, 16),
        ({"PixelAspectRatio": [2, 1]}, 64),
        ({"PixelSpacing": [0.0, 1.0]}, 32),
        ({"PixelSpacing": [1000.0, 1.0]}, 32),
    ],
)
def test_proportions_are_kept_in_millimetres(
    tmp_path: Path, header: dict[str, object], rows: int
) -> None:
    values = np.full((50, 100), 900, dtype=np.uint16)
    values[:, :2] = 0
    path = write_dicom(tmp_path / "a.dcm", values, WindowCenter=500, WindowWidth=1000, **header)
    lit = (read_image(path, size=64)[0] > 0).any(axis=1).sum()
    assert abs(int(lit) - rows) <= 1


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_encodings_give_the_same(tmp_path: Path, syntax: str) -> None:
    assert np.array_equal(show(tmp_path, RAMP, syntax=syntax), show(tmp_path, RAMP))


def test_run_lengths(tmp_path: Path) -> None:
    plain = dicom(RAMP)
    plain.compress(RLELossless)
    plain.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert np.array_equal(read_image(tmp_path / "a.dcm")[0], show(tmp_path, RAMP))


def test_file_without_preamble(tmp_path: Path) -> None:
    dataset = dicom(RAMP)
    del dataset.file_meta
    dataset.save_as(tmp_path / "bare", implicit_vr=True, little_endian=True)
    assert np.array_equal(read_image(tmp_path / "bare")[0], show(tmp_path, RAMP))


# -- what is refused -------------------------------------------------------------------


def refuse(folder: Path, match: str, pixels: np.ndarray = RAMP, **header: object) -> None:
    path = write_dicom(folder / "a.dcm", pixels, **header)
    with pytest.raises(ImageReadError, match=match) as caught:
        read_image(path, size=32)
    assert SECRET not in str(caught.value)
    assert str(folder) not in str(caught.value)


def test_multi_frame_is_named(tmp_path: Path) -> None:
    refuse(
        tmp_path, "multi-frame DICOM file of 3 frames", NumberOfFrames=3,
        PixelData=RAMP.tobytes() * 3,
    )  # fmt: skip


def test_no_pixels(tmp_path: Path) -> None:
    dataset = dicom(RAMP)
    del dataset.PixelData, dataset.Rows
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(ImageReadError, match="DICOM file without pixel data"):
        read_image(tmp_path / "a.dcm")


def test_no_pixels_although_declared(tmp_path: Path) -> None:
    dataset = dicom(RAMP, ImageComments="x" * 4000)
    del dataset.PixelData
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(ImageReadError, match="DICOM file without pixel data"):
        read_image(tmp_path / "a.dcm")


@pytest.mark.parametrize("side", [20_000, 65_535])
def test_declared_size_is_checked_first(tmp_path: Path, side: int) -> None:
    refuse(tmp_path, "expected at most 100 million pixels", Rows=side, Columns=side)


def test_declared_depth_is_checked_first(tmp_path: Path) -> None:
    refuse(tmp_path, "and 512 MiB", Rows=9000, Columns=9000, BitsAllocated=64)


def test_no_rows(tmp_path: Path) -> None:
    refuse(tmp_path, "expected at least one row and one column", Rows=0)


def test_short_pixel_data(tmp_path: Path) -> None:
    refuse(tmp_path, "ends before its pixel data", Rows=3000, Columns=3000)
    refuse(tmp_path, "ends before its pixel data", Rows=26, ImageComments="x" * 4000)


def test_four_samples(tmp_path: Path) -> None:
    words = "of 1 or 3 samples of 1, 8, 16, 32 or 64 bits, got 4 of 8"
    pixels = np.zeros((9, 9, 3), np.uint8)
    refuse(tmp_path, words, pixels, SamplesPerPixel=4, PixelData=bytes(9 * 9 * 4))


@pytest.mark.parametrize("stored", [0, 20])
def test_more_bits_stored_than_allocated(tmp_path: Path, stored: int) -> None:
    refuse(tmp_path, f"expected 1 to 16 bits stored of 16 that are allocated, got {stored}",
           BitsStored=stored)  # fmt: skip


def test_missing_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers have the decoders that are installed: the question is asked without one."""
    import pydicom.pixels

    from asfusion.imaging.dicom.frames import stored_frames
    from asfusion.imaging.dicom.header import read_header

    dataset = dicom(RAMP)
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)

    def absent(_: str) -> None:
        raise NotImplementedError

    monkeypatch.setattr(pydicom.pixels, "get_decoder", absent)
    with (tmp_path / "a.dcm").open("rb") as file:
        header = read_header(file, None)
        with pytest.raises(DicomReadError, match="got JPEG-LS Lossless .* Install the decoders"):
            list(stored_frames(file, header))


def test_unknown_transfer_syntax_shows_nothing(tmp_path: Path) -> None:
    dataset = dicom(RAMP)
    dataset.file_meta.TransferSyntaxUID = "1.2.826.0.1.3680043.8.498.19710101"
    dataset.save_as(
        tmp_path / "a.dcm", implicit_vr=False, little_endian=True, enforce_file_format=True
    )
    with pytest.raises(ImageReadError, match="an unknown transfer syntax") as caught:
        read_image(tmp_path / "a.dcm")
    assert "19710101" not in str(caught.value)


def encapsulated(folder: Path, frame: bytes, **header: object) -> Path:
    dataset = dicom(RAMP, **header)
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.PixelData = pydicom.encaps.encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(folder / "a.dcm", enforce_file_format=True)
    return folder / "a.dcm"


def test_damaged_compressed_data(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match="got RLE Lossless that is damaged or of a kind"):
        read_image(encapsulated(tmp_path, bytes(100)))


def test_more_compressed_than_plain(tmp_path: Path) -> None:
    path = encapsulated(tmp_path, bytes(17 * 2**20))
    with pytest.raises(ImageReadError, match="got several times what the image would take"):
        read_image(path)


def test_deflated_bomb_is_not_inflated(tmp_path: Path) -> None:
    """Zeros shrink a thousandfold: pydicom would inflate them all before looking at them."""
    import tracemalloc

    path = write_dicom(tmp_path / "a.dcm", RAMP, syntax=DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    start = 132 + 12 + int.from_bytes(content[140:144], "little")
    deflate = zlib.compressobj(9, wbits=-15)
    mebibyte = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(content[:start] + 600 * mebibyte)
    tracemalloc.start()
    with pytest.raises(ImageReadError, match="got a deflated DICOM file that holds more"):
        read_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def base(syntax: str | None = None) -> bytes:
    import io

    buffer = io.BytesIO()
    dataset = dicom(RAMP, WindowCenter=500, WindowWidth=400, RescaleSlope=1, RescaleIntercept=0)
    if syntax is not None:
        dataset.compress(syntax)
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


FILES = [base(), base(RLELossless)]


@given(
    source=st.sampled_from(FILES),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.floats(0.02, 1.0),
)
def test_damaged_files_give_pixels_or_one_error(
    source: bytes, changes: list[tuple[float, int]], cut: float
) -> None:
    import tempfile

    content = bytearray(source)
    for place, byte in changes:
        # Most of a file is pixels; what matters stands in the first part.
        content[min(int(place**3 * len(content)), len(content) - 1)] = byte
    if cut < 0.5:
        del content[int(cut * len(content)) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        path.write_bytes(content)
        try:
            pixels = read_image(path, size=32)
        except ImageReadError as error:
            assert str(error).startswith("Image file: expected ")
            assert folder not in str(error)
            assert "DOE" not in str(error)
        else:
            assert pixels.shape == (1, 32, 32)


DECODED_HERE = {
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.5",
}  # fmt: skip


def test_real_files_give_pixels_or_one_error(shared_data: Path) -> None:
    """Files of many makers: what pydicom decodes here without extras becomes an image."""
    folder = shared_data / "dicom"
    with (folder / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "single"]
    assert len(rows) > 80
    with Path(__file__).with_name("dicom_pixels.csv").open() as file:
        decoded = {row["file"] for row in csv.DictReader(file)}  # by pydicom or gdcm
    shown, refused = 0, 0
    for row in rows:
        try:
            pixels = read_image(folder / row["file"], size=64)
        except ImageReadError as error:
            assert str(folder) not in str(error)
            refused += 1
            single = float(row["frames"] or 1) <= 1
            native = row["ts"] in DECODED_HERE
            assert not (row["expected_decode"] == "yes" and single and native), row["file"]
            continue
        assert pixels.shape == (1, 64, 64)
        flat = row["vmin"] == row["vmax"]
        assert flat or int(pixels.max()) - int(pixels.min()) > 50, row["file"]
        assert row["file"] in decoded
        shown += 1
    assert shown >= 34
    assert shown + refused == len(rows)
