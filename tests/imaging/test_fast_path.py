"""The quick ways to a small image: the same pixels as the ordinary ways."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import (
    JPEG2000,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

import asfusion.imaging._resize as resize_module
import asfusion.imaging.dicom.picture as dicom_module
from asfusion.datasets import make_axspa_cohort
from asfusion.exceptions import ImageReadError
from asfusion.imaging import read_image
from asfusion.imaging._picture import robust_window
from asfusion.imaging._resize import resize
from asfusion.imaging.dicom._jpeg2000 import halvings
from tests.imaging.files import dicom, write_dicom

RNG = np.random.default_rng(0)


def smooth(height: int, width: int, white: int = 4095) -> np.ndarray:
    """Return something like a radiograph: broad shapes, fine grain."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(RNG.standard_normal((height, width)), 12)
    field = (field - field.min()) / np.ptp(field)
    grain = RNG.normal(0, 0.01, field.shape)
    return np.clip((0.1 + 0.8 * field + grain) * white, 0, white).astype(np.uint16)


def area_means(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return means over areas, by repeating each pixel and averaging whole blocks."""
    rows, columns = values.shape
    repeated = values.astype(np.float64).repeat(height, axis=0).repeat(width, axis=1)
    return repeated.reshape(height, rows, width, columns).mean(axis=(1, 3))


# -- resizing --------------------------------------------------------------------------


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_shrinking_is_the_mean_over_the_area(
    shape: tuple[int, int], target: tuple[int, int]
) -> None:
    target = (min(target[0], shape[0]), min(target[1], shape[1]))
    values = np.random.default_rng(1).integers(0, 65536, shape).astype(np.uint16)
    np.testing.assert_allclose(resize(values, *target), area_means(values, *target), rtol=1e-6)


@given(st.integers(1, 20), st.integers(1, 90), st.sampled_from(["u1", "u2", "i2", "f4"]))
def test_flat_stays_flat_and_range_is_kept(source: int, target: int, dtype: str) -> None:
    flat = np.full((source, source + 3), 77, dtype=dtype)
    assert (resize(flat, target, target) == 77).all()
    noise = np.random.default_rng(2).integers(0, 100, (source, source + 3)).astype(dtype)
    grown = resize(noise, target, target)
    assert noise.min() - 1e-3 <= grown.min() <= grown.max() <= noise.max() + 1e-3


def test_growing_draws_straight_lines() -> None:
    line = resize(np.array([[0, 100]], dtype=np.uint8), 1, 8)[0]
    np.testing.assert_allclose(line, [0, 0, 12.5, 37.5, 62.5, 87.5, 100, 100], atol=1e-4)


def test_channels_are_resized_alone() -> None:
    colours = RNG.integers(0, 256, (30, 41, 3)).astype(np.uint8)
    together = resize(colours, 7, 50)
    for channel in range(3):
        assert np.array_equal(together[..., channel], resize(colours[..., channel], 7, 50))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_compiled_loop_gives_the_same_bits(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    info = np.iinfo(dtype)
    values = RNG.integers(info.min, int(info.max) + 1, (701, 913)).astype(dtype)
    values[:50] = info.max
    values[50:90] = info.min
    monkeypatch.setattr(resize_module, "_COMPILE_AFTER", 10**9)
    ways = [resize(values, 224, 301), resize(values, 1, 1)]
    monkeypatch.setattr(resize_module, "_COMPILE_AFTER", -1)
    assert np.array_equal(ways[0], resize(values, 224, 301))
    assert np.array_equal(ways[1], resize(values, 1, 1))


def test_few_images_compile_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resize_module, "_seen", 0)
    monkeypatch.setattr(resize_module, "_COMPILE_AFTER", 3)
    calls = []
    monkeypatch.setattr(resize_module, "_compiled", lambda: lambda *_: calls.append(1))
    values = np.zeros((800, 800), dtype=np.uint16)
    for _ in range(5):
        resize(values, 224, 224)
    assert len(calls) == 2


@given(st.lists(st.integers(-300, 300), min_size=1, max_size=80))
def test_counted_percentiles_are_percentiles(values: list[int]) -> None:
    counted = robust_window(np.array([values], dtype=np.int16))
    sorted_ = robust_window(np.array([values], dtype=np.float64))
    np.testing.assert_allclose(counted, sorted_, atol=1e-9)


# -- plain DICOM files -----------------------------------------------------------------


def ordinary(path: Path, monkeypatch: pytest.MonkeyPatch, **options: int) -> np.ndarray:
    """Return what `read_image` gives without any quick way."""
    with monkeypatch.context() as patch:
        patch.setattr(dicom_module, "plain_rows", lambda *_: None)
        patch.setattr(dicom_module, "reduced_values", lambda *_: None)
        return read_image(path, **options)


HEADERS = {
    "window": {"WindowCenter": 1800, "WindowWidth": 2500},
    "no window": {},
    "rescaled": {"RescaleSlope": 0.5, "RescaleIntercept": -100, "WindowCenter": 700,
                 "WindowWidth": 900},
    "falling": {"RescaleSlope": -1, "RescaleIntercept": 4095},
    "inverted": {"PhotometricInterpretation": "MONOCHROME1"},
    "padded": {"PixelPaddingValue": 0},
    "oblong pixels": {"PixelSpacing": [0.2, 0.1]},
    "sigmoid": {"WindowCenter": 1800, "WindowWidth": 2500, "VOILUTFunction": "SIGMOID"},
}  # fmt: skip


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_plain_files_equal_the_ordinary_way(
    tmp_path: Path, header: dict[str, object], syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = smooth(301, 257)
    values[:30] = 0
    path = write_dicom(
        tmp_path / "a.dcm", values, syntax=syntax, BitsStored=12, HighBit=11, **header
    )
    taken = []
    plain = dicom_module.plain_rows
    monkeypatch.setattr(dicom_module, "plain_rows", lambda *a: taken.append(plain(*a)) or taken[-1])
    quick = read_image(path, size=64)
    assert taken[0] is not None
    assert np.array_equal(quick, ordinary(path, monkeypatch, size=64))
    assert np.array_equal(read_image(path), ordinary(path, monkeypatch))


def test_window_after_the_mean_is_close_to_window_before(tmp_path: Path) -> None:
    """Stated tolerance: where nothing is clipped, order changes rounding only."""
    values = smooth(512, 512)
    path = write_dicom(tmp_path / "a.dcm", values, BitsStored=12, HighBit=11,
                       WindowCenter=2048, WindowWidth=4096)  # fmt: skip
    dataset = pydicom.dcmread(path)
    full = pydicom.pixels.apply_voi_lut(dataset.pixel_array, dataset) / 4095 * 255
    textbook = full.reshape(64, 8, 64, 8).mean(axis=(1, 3))
    assert np.abs(read_image(path, size=64)[0] - textbook).max() <= 1.0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_other_plain_types(tmp_path: Path, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    values = (smooth(101, 99, 255).astype(np.int32) - 100 * (dtype is np.int16)).astype(dtype)
    path = write_dicom(tmp_path / "a.dcm", values)
    assert np.array_equal(read_image(path), ordinary(path, monkeypatch))


def unusual(kind: str) -> pydicom.Dataset:
    values = smooth(64, 64)
    dataset = dicom(values, BitsStored=12, HighBit=11)
    if kind == "overlay bits":
        dataset.PixelData = (values | 0x8000).astype(np.uint16).tobytes()
    elif kind == "high bit":
        dataset.HighBit = 15
    elif kind == "big endian":
        dataset = dicom(values.byteswap(), syntax=ExplicitVRBigEndian)
    return dataset


@pytest.mark.parametrize("kind", ["overlay bits", "high bit", "big endian"])
def test_the_unusual_is_left_to_the_general_decoder(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dcm"
    unusual(kind).save_as(path, enforce_file_format=True)
    assert np.array_equal(read_image(path, size=32), ordinary(path, monkeypatch, size=32))


def test_more_than_an_image_is_refused(tmp_path: Path) -> None:
    dataset = dicom(smooth(64, 64))
    dataset.PixelData += bytes(64)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(ImageReadError, match="expected 8192 bytes of pixel data .* got 8256"):
        read_image(tmp_path / "a.dcm", size=32)


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_cut_plain_files_are_refused(tmp_path: Path, cut: int) -> None:
    path = write_dicom(tmp_path / "a.dcm", smooth(64, 64))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ImageReadError, match="damaged|ends before"):
        read_image(path, size=32)


def test_real_files_equal_the_ordinary_way(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_plain = 0
    plain = dicom_module.plain_rows
    for path in sorted((shared_data / "dicom" / "single").iterdir()):
        taken = []
        with monkeypatch.context() as patch:
            patch.setattr(
                dicom_module, "plain_rows", lambda *a, t=taken: t.append(plain(*a)) or t[-1]
            )
            try:
                quick = read_image(path)
            except ImageReadError:
                continue
        if any(found is not None for found in taken):
            n_plain += 1
            assert np.array_equal(quick, ordinary(path, monkeypatch))
    assert n_plain >= 3


# -- JPEG 2000 -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "columns", "size", "count"),
    [(2048, 2048, 224, 2), (4096, 2048, 224, 3), (448, 448, 224, 0), (2046, 2048, 224, 1),
     (2047, 2048, 224, 0), (896, 896, 224, 1)],
)  # fmt: skip
def test_halvings(rows: int, columns: int, size: int, count: int) -> None:
    assert halvings(rows, columns, size) == count


def jpeg2000(path: Path, values: np.ndarray, bits: int, **header: object) -> Path:
    codecs = pytest.importorskip("imagecodecs")
    lossless = not header.pop("lossy", False)
    code = codecs.jpeg2k_encode(
        values, level=0 if lossless else 60, reversible=lossless, bitspersample=bits,
        codecformat="J2K",
    )  # fmt: skip
    dataset = dicom(values, syntax=JPEG2000Lossless if lossless else JPEG2000,
                    BitsStored=bits, HighBit=bits - 1, **header)  # fmt: skip
    dataset.PixelData = pydicom.encaps.encapsulate([code])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("lossy", [False, True])
def test_reduced_jpeg_2000_is_close_to_the_whole(
    tmp_path: Path, bits: int, lossy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = smooth(512, 768, 2**bits - 1).astype(np.uint8 if bits == 8 else np.uint16)
    path = jpeg2000(tmp_path / "a.dcm", values, bits, lossy=lossy,
                    WindowCenter=2 ** (bits - 1), WindowWidth=2**bits)  # fmt: skip
    whole = ordinary(path, monkeypatch, size=96).astype(int)
    monkeypatch.setattr(dicom_module, "_decode", lambda _: pytest.fail("decoded whole"))
    difference = np.abs(read_image(path, size=96).astype(int) - whole)
    assert difference.mean() < 0.7
    assert difference.max() <= 4


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Return the stored values of a radiograph of a pelvis, of a detector's size."""
    cohort = make_axspa_cohort(
        4,
        random_state=0,
        path=tmp_path_factory.mktemp("cohort"),
        modalities=["labs", "xray"],
        missing=0.0,
    )
    from scipy.ndimage import zoom

    small = pydicom.dcmread(cohort.X["pelvis_xray"].dropna().iloc[0]).pixel_array
    large = zoom(small.astype(float), 8, order=3)
    noise = np.random.default_rng(0).normal(0, 40, large.shape)
    return (large + noise).clip(0, 4095).astype(np.uint16)


@pytest.mark.parametrize(
    ("size", "width"), [(112, 4096), (112, 1500), (112, 600), (64, 300), (112, None), (64, None)]
)
def test_reduced_film_keeps_its_bound_whatever_the_window(
    tmp_path: Path, film: np.ndarray, size: int, width: int | None
) -> None:
    header = {} if width is None else {"WindowCenter": 2000, "WindowWidth": width}
    reduced = read_image(jpeg2000(tmp_path / "a.dcm", film, 12, **header), size=size)
    plain = write_dicom(tmp_path / "b.dcm", film, BitsStored=12, HighBit=11, **header)
    whole = read_image(plain, size=size)
    assert np.abs(reduced.astype(int) - whole).mean() < (1.0 if width == 4096 else 0.6)


@pytest.mark.parametrize(
    "header",
    [
        {"PixelPaddingValue": 0},
        {"PixelRepresentation": 1},
        {"SamplesPerPixel": 0},
        {"BitsStored": 7},
    ],
)
def test_jpeg_2000_that_is_unusual_is_decoded_whole(header: dict[str, int]) -> None:
    from asfusion.imaging.dicom._jpeg2000 import reduced_values

    dataset = dicom(smooth(512, 512), **header)
    assert reduced_values(dataset, str(JPEG2000Lossless), 64) is None
    assert reduced_values(SimpleNamespace(), str(JPEG2000Lossless), 64) is None


def test_damaged_jpeg_2000_is_left_to_the_general_decoder(tmp_path: Path) -> None:
    dataset = dicom(smooth(512, 512), syntax=JPEG2000Lossless)
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(400)])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(ImageReadError, match="expected compressed data of 512 x 512"):
        read_image(tmp_path / "a.dcm", size=64)


# -- other formats ---------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif", "dcm"])
def test_one_meaning_of_smaller(tmp_path: Path, suffix: str) -> None:
    values = RNG.integers(0, 256, (200, 300)).astype(np.uint8)
    path = tmp_path / f"a.{suffix}"
    if suffix == "dcm":
        write_dicom(
            path, values, WindowCenter=127.5, WindowWidth=255, VOILUTFunction="LINEAR_EXACT"
        )
    else:
        Image.fromarray(values).save(path)
    expected = np.rint(area_means(values, 64, 96))
    shown = read_image(path, size=96)[0, 16:80].astype(int)
    assert np.abs(shown - expected).max() <= 1
