"""read_series: slices in order with their geometry, and the name of what is wrong."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pydicom
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from pydicom.uid import BasicTextSRStorage, DeflatedExplicitVRLittleEndian

from asfusion.datasets import make_axspa_cohort
from asfusion.exceptions import ConfigurationError, DicomReadError, ImageReadError
from asfusion.imaging import Volume, read_image, read_series
from tests.imaging.files import SECRET, gradient, raw, write_dicom
from tests.imaging.slices import (
    AXIAL,
    SAGITTAL,
    dicomdir,
    enhanced,
    one_slice,
    tilted,
    voxels,
    write_slices,
)

VALUES = voxels()


def save(dataset: object, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)  # type: ignore[attr-defined]
    return path


def refuse(path: Path, match: str, **options: object) -> str:
    with pytest.raises(DicomReadError, match=match) as caught:
        read_series(path, **options)
    assert SECRET not in str(caught.value)
    assert str(path) not in str(caught.value)
    return str(caught.value)


# -- what a volume is ------------------------------------------------------------------


def test_slices_are_sorted_by_place(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES)
    volume = read_series(tmp_path)
    assert np.array_equal(volume.values, VALUES)
    assert volume.values.dtype == np.uint16
    assert volume.spacing == pytest.approx((4.0, 0.5, 0.75))
    assert (volume.orientation, volume.modality, volume.n_slices) == ("axial", "MR", 6)
    assert np.allclose(volume.directions, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    assert np.allclose(volume.origin, [-10, -20, 0])
    assert volume.notes == ()


def test_sagittal(tmp_path: Path) -> None:
    for level in range(4):
        place = [-3.0 * level, 5.0, 6.0]
        save(
            one_slice(VALUES[level], 0, ImageOrientationPatient=SAGITTAL,
                      ImagePositionPatient=place),
            tmp_path / f"{level}.dcm",
        )  # fmt: skip
    volume = read_series(tmp_path)
    assert volume.orientation == "sagittal"
    assert np.allclose(volume.directions[0], [-1, 0, 0])
    assert np.array_equal(volume.values, VALUES[:4])


@pytest.mark.parametrize(("degrees", "name"), [(30, "axial"), (45, "oblique"), (60, "coronal")])
def test_plane_is_the_nearest(tmp_path: Path, degrees: float, name: str) -> None:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    for level in range(3):
        place = (4.0 * level * np.array([0.0, -sine, cosine])).round(6).tolist()
        direction = [1, 0, 0, 0, round(float(cosine), 6), round(float(sine), 6)]
        save(
            one_slice(VALUES[level], 0, ImageOrientationPatient=direction,
                      ImagePositionPatient=place),
            tmp_path / f"{level}.dcm",
        )  # fmt: skip
    assert read_series(tmp_path).orientation == name


def test_rescale_gives_float(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES, RescaleSlope=2, RescaleIntercept=-1000, Modality="CT")
    volume = read_series(tmp_path)
    assert volume.values.dtype == np.float32
    assert np.array_equal(volume.values, VALUES * 2.0 - 1000)


def test_window_of_the_header_if_all_share_it(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES, WindowCenter=300, WindowWidth=401)
    assert read_series(tmp_path).window == (99.5, 499.5)
    save(one_slice(VALUES[0], -4.0, WindowCenter=9, WindowWidth=9), tmp_path / "other.dcm")
    low, high = read_series(tmp_path).window
    assert 0 <= low < 60 < 480 < high <= VALUES.max()


def test_single_file_is_a_volume_of_one_slice(tmp_path: Path) -> None:
    path = save(one_slice(VALUES[2], 8.0), tmp_path / "a.dcm")
    volume = read_series(path)
    assert volume.values.shape == (1, 20, 24)
    assert volume.spacing == (3.0, 0.5, 0.75)
    path = save(one_slice(VALUES[2], 8.0, SliceThickness=None), tmp_path / "a.dcm")
    assert "1 mm is made up" in read_series(path).notes[0]


def test_enhanced_file(tmp_path: Path) -> None:
    order = [3, 0, 5, 1, 4, 2]
    path = save(enhanced(VALUES, order=order), tmp_path / "a.dcm")
    volume = read_series(path)
    assert np.array_equal(volume.values, VALUES * (1.0 + np.arange(6))[:, None, None])
    assert volume.spacing == pytest.approx((4.0, 0.5, 0.75))
    with pytest.raises(DicomReadError, match="multi-frame .* 6 frames.* `read_series`"):
        read_image(path)


def test_enhanced_file_with_a_large_header_is_read_by_a_worker(tmp_path: Path) -> None:
    many = np.repeat(VALUES[:1, :2, :2], 2500, axis=0)
    path = save(enhanced(many, gap_mm=1.0), tmp_path / "a.dcm")
    assert path.stat().st_size > 2**18
    assert read_series(path).values.shape == (2500, 2, 2)


def test_colours_become_grey(tmp_path: Path) -> None:
    colours = np.zeros((3, 8, 8, 3), np.uint8)
    colours[..., 1] = 200
    write_slices(tmp_path, colours)
    volume = read_series(tmp_path)
    assert volume.values.shape == (3, 8, 8)
    assert (volume.values == 117).all()
    assert volume.notes == ("colours were turned to grey",)


def test_inverted_values_are_noted(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES, PhotometricInterpretation="MONOCHROME1")
    assert "MONOCHROME1" in read_series(tmp_path).notes[0]


def test_cohort_folders_read(tmp_path: Path) -> None:
    cohort = make_axspa_cohort(3, random_state=0, path=tmp_path, modalities=["labs", "mri"])
    folders = cohort.X[["mri_stir", "mri_t1"]].stack().dropna()
    assert len(folders)
    for folder in folders:
        volume = read_series(folder)
        assert volume.orientation == "coronal"
        assert volume.modality == "MR"
        assert volume.notes == ()


# -- what is wrong with a series -------------------------------------------------------


def test_gantry_tilt(tmp_path: Path) -> None:
    tilted(tmp_path, VALUES, 14.0)
    refuse(tmp_path, r"got a gantry tilt of 14\.0 degrees")


def test_missing_slice(tmp_path: Path) -> None:
    files = write_slices(tmp_path, VALUES)
    files[2].unlink()
    refuse(tmp_path, "got 5 slices and 1 missing between them")
    volume = read_series(tmp_path, on_gap="fill")
    assert np.array_equal(volume.values, VALUES)  # each slice lies between its neighbours
    assert volume.notes == ("1 missing slices were filled in between their neighbours",)


def test_every_second_slice_missing(tmp_path: Path) -> None:
    files = write_slices(tmp_path, VALUES, SpacingBetweenSlices=4)
    for file in files[1::2]:
        file.unlink()
    refuse(tmp_path, "got 3 slices and 2 missing")


def test_empty_space_between_slices_is_not_their_distance(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES, SpacingBetweenSlices=1)
    assert read_series(tmp_path).spacing[0] == 4.0


def test_more_missing_than_there(tmp_path: Path) -> None:
    files = write_slices(tmp_path, np.concatenate([VALUES, VALUES]))
    for file in files[2:-1]:
        file.unlink()
    refuse(tmp_path, "got 3 slices and 9 missing .* Complete the folder.$", on_gap="fill")


def test_repeated_slices(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES)
    write_slices(tmp_path, VALUES[:2], prefix="again")
    refuse(tmp_path, "got 8 slices at 6 places: repeated slices")


def test_mixed_orientation(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES)
    save(one_slice(VALUES[0], 0, ImageOrientationPatient=SAGITTAL), tmp_path / "s.dcm")
    refuse(tmp_path, "got mixed orientation: 6 axial, 1 sagittal|1 sagittal, 6 axial")


def test_uneven_distances(tmp_path: Path) -> None:
    for level in (0.0, 4.0, 8.0, 13.5):
        save(one_slice(VALUES[0], level), tmp_path / f"{level}.dcm")
    refuse(tmp_path, r"got distances of 4\.00 to 5\.50 mm")


def test_shifted_slices(tmp_path: Path) -> None:
    for level in range(5):
        place = [9.0 if level == 2 else 0.0, 0.0, 4.0 * level]
        save(one_slice(VALUES[0], 0, ImagePositionPatient=place), tmp_path / f"{level}.dcm")
    refuse(tmp_path, r"shifted by up to 9\.0 mm")


def test_several_spacings(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES)
    save(one_slice(VALUES[0], -4.0, PixelSpacing=[1, 1]), tmp_path / "other.dcm")
    refuse(tmp_path, "slices of one pixel spacing")


def test_directions_that_are_none(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES, ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    refuse(tmp_path, "at right angles")


def test_slices_without_a_place(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES, ImagePositionPatient=None)
    refuse(tmp_path, "got 6 of 6 without. .* `read_stored_values`")


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slices(tmp_path, VALUES)
    monkeypatch.setattr("asfusion.imaging.volumes.series.MAX_VOLUME_BYTES", 2**10)
    refuse(tmp_path, "expected a volume of at most 0 MiB")


def test_broken_rescale_of_one_slice_is_refused(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES, RescaleSlope=2, RescaleIntercept=-1024)
    file = sorted(tmp_path.iterdir())[2]
    dataset = pydicom.dcmread(file)
    dataset["RescaleSlope"] = raw("RescaleSlope", b"1,5")
    dataset.save_as(file)
    assert "1,5" not in refuse(tmp_path, "slope and intercept that are numbers")


@pytest.mark.parametrize("said", [("SS", -2000), ("US", 63536)])
@pytest.mark.parametrize("colour", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_dark_and_sets_no_window(
    tmp_path: Path, said: tuple[str, int], colour: str
) -> None:
    values = VALUES.astype(np.int16)
    values[:, :3] = -2000
    values[5] = -2000
    for level, pixels in enumerate(values):
        dataset = one_slice(pixels, 4.0 * level, Modality="CT", RescaleSlope=1,
                            RescaleIntercept=-1024, PhotometricInterpretation=colour)  # fmt: skip
        dataset.add_new("PixelPaddingValue", *said)
        save(dataset, tmp_path / f"{level}.dcm")
    volume = read_series(tmp_path)
    inside = values[values != -2000] - 1024.0
    assert np.array_equal(volume.values[values != -2000], inside)
    dark = inside.max() if colour == "MONOCHROME1" else inside.min()
    assert (volume.values[values == -2000] == dark).all()
    assert volume.window == pytest.approx(np.percentile(inside, [0.5, 99.5]), abs=3.0)
    assert "padding outside the scanned field got the darkest value inside it" in volume.notes


def test_padding_everywhere_is_not_believed(tmp_path: Path) -> None:
    write_slices(tmp_path, np.full((3, 8, 8), 7, np.uint16), PixelPaddingValue=7)
    volume = read_series(tmp_path)
    assert (volume.values == 7).all()
    assert volume.notes == ()


# -- which series ----------------------------------------------------------------------


def two_series(folder: Path) -> None:
    write_slices(folder, VALUES, prefix="stir", SeriesNumber=2, RepetitionTime=4000,
                 EchoTime=60, InversionTime=150, SeriesDescription=SECRET)  # fmt: skip
    write_slices(folder, VALUES[:4] + 1, prefix="t1", SeriesInstanceUID="1.2.3.5", SeriesNumber=1,
                 RepetitionTime=500, EchoTime=11)  # fmt: skip


def test_several_series_are_listed_and_chosen(tmp_path: Path) -> None:
    two_series(tmp_path)
    words = refuse(tmp_path, "expected one series, got 2. Choose one by its number: series=0")
    assert "0: MR, 4 slices of 20 x 24, axial, TR 500 ms, TE 11 ms\n" in words
    assert "1: MR, 6 slices of 20 x 24, axial, TR 4000 ms, TE 60 ms, TI 150 ms" in words
    assert np.array_equal(read_series(tmp_path, series=1).values, VALUES)
    assert np.array_equal(read_series(tmp_path, series=0).values, VALUES[:4] + 1)
    refuse(tmp_path, "expected series=2 to exist, got 2 series", series=2)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({}, {"PhotometricInterpretation": "MONOCHROME1"}, "low is bright"),
        ({"FrameOfReferenceUID": "1.9.1"}, {"FrameOfReferenceUID": "1.9.2"}, ""),
        ({"SeriesInstanceUID": "", "StudyInstanceUID": "1.8.1"},
         {"SeriesInstanceUID": "", "StudyInstanceUID": "1.8.2"}, ""),
        ({"SeriesInstanceUID": "", "SeriesNumber": 1},
         {"SeriesInstanceUID": "", "SeriesNumber": 2}, ""),
        ({}, {"Modality": "PT"}, "PT, 3 slices"),
    ],
)  # fmt: skip
def test_slices_that_differ_under_one_uid_are_not_stacked(
    tmp_path: Path, first: dict[str, object], second: dict[str, object], words: str
) -> None:
    for level, pixels in enumerate(VALUES):
        header = first if level < 3 else second
        save(one_slice(pixels, 4.0 * level, **header), tmp_path / f"{level}.dcm")
    assert words in refuse(tmp_path, "expected one series, got 2")
    parts = [read_series(tmp_path, series=i).values for i in (0, 1)]
    assert sorted(int(part[0, 0, 0]) for part in parts) == [0, 300]
    assert [len(part) for part in parts] == [3, 3]


def test_slices_of_another_depth_are_not_stacked(tmp_path: Path) -> None:
    for level, pixels in enumerate(VALUES):
        stored = (pixels >> 4).astype(np.uint8) if level == 5 else pixels
        save(one_slice(stored, 4.0 * level), tmp_path / f"{level}.dcm")
    words = refuse(tmp_path, "expected one series, got 2")
    assert "5 slices of 20 x 24, axial, 16 bits" in words
    assert "1 slices of 20 x 24, axial, 8 bits" in words


def test_series_in_folders_below(tmp_path: Path) -> None:
    write_slices(tmp_path / "DICOM" / "ST000", VALUES)
    assert read_series(tmp_path).n_slices == 6


def test_localizers_are_left_out(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES)
    for level in range(3):
        save(
            one_slice(VALUES[0, :10, :10], level, SeriesInstanceUID="1.2.3.5",
                      ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
            tmp_path / f"scout{level}.dcm",
        )  # fmt: skip
    volume = read_series(tmp_path)
    assert np.array_equal(volume.values, VALUES)
    assert volume.notes == ("3 slices of localizers were left out",)


@pytest.mark.parametrize(
    "difference", [{"EchoTime": 90}, {"TemporalPositionIdentifier": 2}, {"ImageType": ["M", "P"]}]
)
def test_echoes_and_times_of_one_series_are_told_apart(
    tmp_path: Path, difference: dict[str, object]
) -> None:
    write_slices(tmp_path, VALUES, prefix="a", EchoTime=10, TemporalPositionIdentifier=1,
                 ImageType=["M", "O"])  # fmt: skip
    second = {"EchoTime": 10, "TemporalPositionIdentifier": 1, "ImageType": ["M", "O"]}
    write_slices(tmp_path, VALUES + 5, prefix="b", **(second | difference))
    refuse(tmp_path, "expected one series, got 2")
    both = [read_series(tmp_path, series=i).values for i in (0, 1)]
    assert {int(values.min()) for values in both} == {0, 5}


def test_other_files_are_counted(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES)
    (tmp_path / "note.txt").write_text(SECRET)
    (tmp_path / "empty").touch()
    report = one_slice(VALUES[0], 0, SOPClassUID=BasicTextSRStorage)
    del report.PixelData, report.Rows
    save(report, tmp_path / "report.dcm")
    assert read_series(tmp_path).notes == (
        "2 files that are no DICOM files were left out",
        "1 DICOM files without pixels were left out",
    )


def test_folder_without_images(tmp_path: Path) -> None:
    refuse(tmp_path, "got 0 files")
    (tmp_path / "note.txt").write_text(SECRET)
    refuse(tmp_path, "got 1 files: 0 DICOM files without pixels and 1 that are no DICOM files")


def test_damaged_file_of_a_folder(tmp_path: Path) -> None:
    files = write_slices(tmp_path, VALUES)
    files[0].write_bytes(files[0].read_bytes()[:1000])
    refuse(tmp_path, "ends before its pixel data")
    files[0].write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0\x10\0UI\x06\0" + b"9.9.9\0" + bytes(40))
    refuse(tmp_path, "got 1 of 6 that are damaged")


@pytest.mark.parametrize("level", [0, 2])
def test_slice_that_is_cut_anywhere_does_not_vanish(tmp_path: Path, level: int) -> None:
    files = write_slices(tmp_path, VALUES)
    whole = files[level].read_bytes()
    for n_bytes in range(133, 720, 1 if level else 7):
        files[level].write_bytes(whole[:n_bytes])
        refuse(tmp_path, "got 1 of 6 that are damaged, cut short|ends before its pixel data")
    refuse(files[level], "ends before its pixel data")
    files[level].write_bytes(whole[:400])
    refuse(files[level], "without pixel data: it is damaged or cut short inside its header")
    with pytest.raises(DicomReadError, match="damaged or cut short inside its header"):
        read_image(files[level])


def test_deflated_slice_that_is_cut_does_not_vanish(tmp_path: Path) -> None:
    files = write_slices(tmp_path, VALUES, syntax=DeflatedExplicitVRLittleEndian)
    whole = files[0].read_bytes()
    assert np.array_equal(read_series(tmp_path).values, VALUES)
    for n_bytes in (len(whole) // 2, len(whole) - 5):
        files[0].write_bytes(whole[:n_bytes])
        refuse(tmp_path, "got 1 of 6 that are damaged, cut short")
        refuse(files[0], "a deflated DICOM file that is cut short")


def test_other_kinds_of_path(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match="^Series: expected an existing file, got a path"):
        read_series(tmp_path / SECRET)
    from PIL import Image

    Image.fromarray(gradient()).save(tmp_path / "a.png")
    with pytest.raises(ImageReadError, match="`read_image` reads a single picture"):
        read_series(tmp_path / "a.png")
    with pytest.raises(ImageReadError, match="`read_series` reads a folder"):
        read_image(tmp_path)
    refuse(write_dicom(tmp_path / "a.dcm", gradient()), "1 of 1 without")


def test_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slices(tmp_path, VALUES)
    monkeypatch.setattr("asfusion.imaging.volumes._sources._MOST_FILES", 5)
    refuse(tmp_path, "expected at most 5 files")


def test_parameters(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES)
    with pytest.raises(ConfigurationError, match="on_gap: expected one of 'raise' and|on_gap"):
        read_series(tmp_path, on_gap="guess")
    with pytest.raises(ConfigurationError, match="series: expected an integer"):
        read_series(tmp_path, series=-1)
    for size in (0, (4, 0, 4), (4, 4), "96"):
        with pytest.raises(ConfigurationError, match="size: expected"):
            read_series(tmp_path, size=size)


# -- DICOMDIR --------------------------------------------------------------------------


def test_dicomdir(tmp_path: Path) -> None:
    files = write_slices(tmp_path / "IMAGES", VALUES)
    (tmp_path / "IMAGES" / "stranger.dcm").write_bytes(files[0].read_bytes())
    path = save(dicomdir([["IMAGES", file.name] for file in files]), tmp_path / "DICOMDIR")
    assert np.array_equal(read_series(path).values, VALUES)


def test_dicomdir_without_its_files(tmp_path: Path) -> None:
    files = write_slices(tmp_path, VALUES)
    path = save(dicomdir([[file.name] for file in files]), tmp_path / "DICOMDIR")
    files[-1].unlink()
    refuse(path, "got 5 and 1 that are not there")
    volume = read_series(path, series=0)
    assert volume.n_slices == 5
    assert volume.notes == ("1 files that the DICOMDIR names are not there",)


def test_dicomdir_that_leads_elsewhere(tmp_path: Path) -> None:
    write_slices(tmp_path / "private", VALUES)
    (tmp_path / "disc").mkdir()
    (tmp_path / "disc" / "LINK").symlink_to(tmp_path / "private")
    path = save(dicomdir([["LINK", "00-0.dcm"]]), tmp_path / "disc" / "DICOMDIR")
    refuse(path, "leads elsewhere")
    path = save(dicomdir([["..", "private", "00-0.dcm"]]), tmp_path / "disc" / "DICOMDIR")
    refuse(path, "leads elsewhere")
    path = save(
        dicomdir([[str(tmp_path / "private" / "00-0.dcm")]]), tmp_path / "disc" / "DICOMDIR"
    )
    refuse(path, "leads elsewhere")


# -- size, and how it looks ------------------------------------------------------------


def test_size_keeps_proportions_and_the_centre(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES)
    whole, small = read_series(tmp_path), read_series(tmp_path, size=12)
    assert small.values.shape == (6, 12, 12)
    assert small.values.dtype == np.uint16
    # 10 mm x 18 mm: rows take 7 of 12 pixels, the rest is as low as it gets.
    assert (small.values[3, :2] == small.values.min()).all()
    assert small.values[3, 6].min() > 300
    for volume in (whole, small):
        middle = 0.5 * (np.array(volume.values.shape) - 1) * volume.spacing
        centre = volume.origin + middle @ volume.directions
        # Rows are a whole number of pixels: 5 of 12 are left over, one more below.
        assert np.allclose(centre, [-10 + 8.625, -20 + 4.75, 10], atol=0.8)


def test_box(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES)
    volume = read_series(tmp_path, size=(12, 10, 18))
    assert volume.values.shape == (12, 10, 18)
    assert volume.spacing == pytest.approx((2.0, 1.0, 1.0))
    assert volume.values.mean() == pytest.approx(VALUES.mean(), rel=0.02)
    fewer = read_series(tmp_path, size=(3, 20, 24))
    assert fewer.spacing[0] == 8.0


def test_notebook_and_plot(tmp_path: Path) -> None:
    write_slices(tmp_path, VALUES)
    (tmp_path / "note.txt").write_text(SECRET)
    volume = read_series(tmp_path)
    assert repr(volume) == "Volume(6 x 20 x 24 uint16, 4 x 0.5 x 0.75 mm, axial, MR)"
    page = volume._repr_html_()
    assert "data:image/png;base64," in page
    assert "1 files that are no DICOM files" in page
    axes = volume.plot(n_slices=4)
    assert isinstance(axes, Axes)
    assert [text.get_text() for text in axes.texts] == ["0", "2", "3", "5"]
    assert volume.plot(ax=axes, n_slices=1) is axes
    plt.close(axes.figure)
    with pytest.raises(ConfigurationError, match="n_slices"):
        volume.plot(n_slices=0)


def test_volume_is_a_plain_value() -> None:
    volume = Volume(VALUES, (4.0, 0.5, 0.75), "axial", np.eye(3), np.zeros(3))
    assert volume.window == (0.0, 1.0)
    with pytest.raises(AttributeError):
        volume.modality = "CT"  # type: ignore[misc]


def test_order_of_files_does_not_matter(tmp_path: Path) -> None:
    rng = random.Random(0)
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        names = rng.sample("abcdef", 6)
        for level, name in enumerate(names):
            save(one_slice(VALUES[level], 4.0 * level, InstanceNumber=6 - level), folder / name)
        assert np.array_equal(read_series(folder).values, VALUES)
    assert AXIAL == [1, 0, 0, 0, 1, 0]


# -- real series -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "match"),
    [
        ("gantrytilting", "gantry tilt of 14.0 degrees"),
        ("sliceincrement", "4 slices and 1 missing"),
        ("sliceorientation", "mixed orientation: 2 sagittal, 2 axial"),
    ],
)
def test_real_series_that_fail(shared_data: Path, folder: str, match: str) -> None:
    refuse(shared_data / "dicom/series/dicom2nifti/failing" / folder, match)


def test_real_series(shared_data: Path) -> None:
    root = shared_data / "dicom/series"
    ramp = read_series(root / "dicom2nifti/generic/anatomical/001")
    for kind in ("compressed", "compressed_jpeg"):
        volume = read_series(root / "dicom2nifti/generic" / kind)
        assert volume.values.shape == ramp.values.shape
        assert volume.orientation == "sagittal"
    frames = read_series(root / "dicom2nifti/siemens_multiframe")
    assert frames.values.shape == (8, 256, 256)
    assert frames.spacing == pytest.approx((0.9, 0.9375, 0.9375), abs=1e-3)
    assert read_series(root / "t1w_7T_32slices").spacing[0] == pytest.approx(0.6667, abs=1e-3)
    assert read_series(root / "dicom2nifti/generic/rgb").values.shape == (4, 77, 52)
    disc = next(root.rglob("DICOMDIR"))
    refuse(disc, "got 19 and 12 that are not there")
    assert read_series(disc, series=7).n_slices == 5
