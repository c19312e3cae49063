"""write_radiograph and write_series: files that our reader, pydicom and a viewer understand."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom import uid

from asfusion.datasets._phantoms.dicom_files import write_radiograph, write_series
from asfusion.exceptions import ConfigurationError, ShapeError
from asfusion.imaging import read_image

SOURCE: dict[str, Any] = {
    "patient_key": "P0001",
    "site": "Site A",
    "scanner": "Scanner 1",
    "sex": "female",
    "age_years": 34.6,
    "date": datetime.date(2021, 3, 9),
}
RNG = np.random.default_rng(0)
FILM = np.clip(RNG.normal(1800, 600, (60, 48)), 0, 4095).astype(np.uint16)
STACK = np.clip(RNG.normal(700, 250, (5, 20, 24)), 0, 4095).astype(np.uint16)


def film(path: Path, pixels: np.ndarray = FILM, **changes: Any) -> Path:
    write_radiograph(path, pixels, **({"spacing_mm": (0.5, 0.5)} | SOURCE | changes))
    return path


def series(folder: Path, volume: np.ndarray = STACK, **changes: Any) -> list[Path]:
    settings = {"spacing_mm": (4.0, 1.5, 1.25), "sequence": "STIR"}
    return write_series(folder, volume, **(settings | SOURCE | changes))


def check_standard(dataset: pydicom.Dataset) -> None:
    """Check what PS3.10 and the shared modules of PS3.3 ask of every image."""
    meta = dataset.file_meta
    assert meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian
    assert meta.MediaStorageSOPClassUID == dataset.SOPClassUID
    assert meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        assert dataset[keyword].value.is_valid
    present = "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID "
    present += "AccessionNumber ReferringPhysicianName SeriesNumber InstanceNumber Manufacturer"
    assert all(keyword in dataset for keyword in present.split())
    assert dataset.HighBit == dataset.BitsStored - 1
    assert len(dataset.PixelData) == 2 * dataset.Rows * dataset.Columns
    # Every value can be told apart from a real patient's.
    assert str(dataset.PatientName).startswith("SYNTHETIC^")
    assert dataset.PatientID.startswith("SYNTHETIC-")
    assert "not of a person" in dataset.ImageComments
    with pydicom.config.strict_reading():
        for element in dataset.iterall():
            pydicom.valuerep.validate_value(
                element.VR, element.value, pydicom.config.RAISE
            ) if isinstance(element.value, str) else None


# -- radiographs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modality", "sop_class"),
    [
        ("DX", uid.DigitalXRayImageStorageForPresentation),
        ("CR", uid.ComputedRadiographyImageStorage),
    ],
)
def test_radiograph_is_a_valid_file(tmp_path: Path, modality: str, sop_class: str) -> None:
    dataset = pydicom.dcmread(film(tmp_path / "a.dcm", modality=modality, spacing_mm=(0.4, 0.5)))
    check_standard(dataset)
    assert dataset.SOPClassUID == sop_class
    assert dataset.Modality == modality
    assert dataset.PatientName == "SYNTHETIC^P0001"
    assert (dataset.PatientSex, dataset.PatientAge) == ("F", "034Y")
    assert (dataset.StudyDate, dataset.InstitutionName) == ("20210309", "Site A")
    assert dataset.ManufacturerModelName == "Scanner 1"
    assert (dataset.BodyPartExamined, dataset.ViewPosition) == ("PELVIS", "AP")
    assert list(dataset.ImagerPixelSpacing) == list(dataset.PixelSpacing) == [0.4, 0.5]
    assert list(dataset.PatientOrientation) == ["L", "F"]


def test_digital_radiograph_names_region_and_view_in_codes(tmp_path: Path) -> None:
    path = film(tmp_path / "a.dcm", body_part="CSPINE", view="LL")
    dataset = pydicom.dcmread(path)
    assert dataset.AnatomicRegionSequence[0].CodeMeaning == "Cervical spine"
    assert dataset.ViewCodeSequence[0].CodeMeaning == "left lateral"
    assert dataset.PresentationIntentType == "FOR PRESENTATION"
    assert dataset.ImageLaterality == "U"


@pytest.mark.parametrize("window", [None, (500, 3200), (0, 4095)])
def test_both_polarities_read_to_the_same_picture(tmp_path: Path, window: Any) -> None:
    films = {
        name: film(tmp_path / f"{name}.dcm", photometric=name, window=window)
        for name in ("MONOCHROME1", "MONOCHROME2")
    }
    negative, positive = (read_image(path).astype(int) for path in films.values())
    assert np.abs(negative - positive).max() <= 1  # a grey value halfway may round either way
    assert positive.max() - positive.min() > 200
    stored = [pydicom.dcmread(path).pixel_array for path in films.values()]
    assert np.array_equal(stored[0], 4095 - stored[1])
    assert np.array_equal(stored[1], FILM)


def test_dense_is_bright(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 4096, 16, dtype=np.uint16), (20, 1))
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        shown = read_image(film(tmp_path / "a.dcm", ramp, photometric=photometric))[0, 0]
        assert (np.diff(shown.astype(int)) >= 0).all()
        assert (shown[0], shown[-1]) == (0, 255)


def test_polarity_is_said_in_the_header(tmp_path: Path) -> None:
    negative = pydicom.dcmread(film(tmp_path / "a.dcm", photometric="MONOCHROME1"))
    positive = pydicom.dcmread(film(tmp_path / "b.dcm"))
    assert (negative.PresentationLUTShape, positive.PresentationLUTShape) == ("INVERSE", "IDENTITY")
    assert negative.PixelIntensityRelationshipSign == 1
    assert positive.PixelIntensityRelationshipSign == -1
    assert negative.SOPInstanceUID != positive.SOPInstanceUID


def test_pixels_that_are_not_square_keep_their_proportions(tmp_path: Path) -> None:
    flat = np.full((40, 40), 4095, dtype=np.uint16)
    flat[:, ::2] = 0
    shown = read_image(film(tmp_path / "a.dcm", flat, spacing_mm=(0.25, 0.5)), size=32)[0]
    assert (shown[:6] == 0).all()  # twice as wide as high
    assert shown[16].max() > 0


@given(
    bits=st.integers(8, 16),
    photometric=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
    data=st.data(),
)
def test_any_pixels_come_back(
    tmp_path_factory: pytest.TempPathFactory, bits: int, photometric: str, data: st.DataObject
) -> None:
    shape = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)
    grey = st.integers(0, 2**bits - 1)
    pixels = data.draw(hnp.arrays(np.uint16, shape, elements=grey))
    path = tmp_path_factory.mktemp("film") / "a.dcm"
    film(path, pixels, bits_stored=bits, photometric=photometric)
    dataset = pydicom.dcmread(path)
    check_standard(dataset)
    stored = dataset.pixel_array
    assert np.array_equal(2**bits - 1 - stored if photometric == "MONOCHROME1" else stored, pixels)


def test_eight_bit_pixels_are_taken(tmp_path: Path) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = film(tmp_path / "a.dcm", pixels, bits_stored=8, window=(0, 255))
    assert np.array_equal(read_image(path)[0], pixels)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    first, again = film(tmp_path / "a.dcm"), film(tmp_path / "deep" / "down" / "b.dcm")
    assert first.read_bytes() == again.read_bytes()
    film(first, view="PA")
    assert first.read_bytes() != again.read_bytes()  # replaced
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["a.dcm"]


@pytest.mark.parametrize(
    ("change", "same_study"),
    [
        ({"seed": 1}, False),
        ({"patient_key": "P0002"}, False),
        ({"date": datetime.date(2021, 3, 10)}, False),
        ({"view": "LL"}, True),
    ],
)
def test_identifiers_tell_films_apart(
    tmp_path: Path, change: dict[str, Any], same_study: bool
) -> None:
    first = pydicom.dcmread(film(tmp_path / "a.dcm"))
    other = pydicom.dcmread(film(tmp_path / "b.dcm", **change))
    assert first.SOPInstanceUID != other.SOPInstanceUID
    assert (first.StudyInstanceUID == other.StudyInstanceUID) == same_study
    assert first.file_meta.ImplementationClassUID == other.file_meta.ImplementationClassUID


# -- series ----------------------------------------------------------------------------


def place(dataset: pydicom.Dataset) -> float:
    """Return how far along the normal of its plane a slice lies, as PS3.3 C.7.6.2.1.1 says."""
    axes = np.array(dataset.ImageOrientationPatient, dtype=float).reshape(2, 3)
    return float(np.cross(*axes) @ np.array(dataset.ImagePositionPatient, dtype=float))


def test_sorted_places_give_the_volume_back(tmp_path: Path) -> None:
    files = series(tmp_path)
    slices = sorted((pydicom.dcmread(file) for file in reversed(files)), key=place)
    assert np.array_equal(np.stack([one.pixel_array for one in slices]), STACK)
    assert [one.InstanceNumber for one in slices] == [1, 2, 3, 4, 5]
    assert np.allclose(np.diff([place(one) for one in slices]), 4.0)
    assert np.allclose(np.diff([float(one.SliceLocation) for one in slices]), 4.0)


def test_series_is_valid_and_says_its_geometry(tmp_path: Path) -> None:
    slices = [pydicom.dcmread(file) for file in series(tmp_path, slice_thickness_mm=3.5)]
    for one in slices:
        check_standard(one)
        assert one.SOPClassUID == uid.MRImageStorage
        assert list(one.PixelSpacing) == [1.5, 1.25]
        assert (one.SliceThickness, one.SpacingBetweenSlices) == (3.5, 4.0)
        assert one.SeriesDescription == "SIJ semicoronal STIR"
        assert (one.BodyPartExamined, one.PatientPosition) == ("SIJOINT", "HFS")
        assert (one.ScanningSequence, one.InversionTime) == (["SE", "IR"], 150)
    assert len({one.SOPInstanceUID for one in slices}) == 5
    shared = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "WindowCenter")
    assert all(len({str(one[keyword].value) for one in slices}) == 1 for keyword in shared)
    middle = np.mean([one.ImagePositionPatient for one in slices], axis=0)
    axes = np.array(slices[0].ImageOrientationPatient).reshape(2, 3)
    assert np.allclose(middle + 11.5 * 1.25 * axes[0] + 9.5 * 1.5 * axes[1], 0.0, atol=1e-6)


def test_stack_is_tilted_with_the_sacrum(tmp_path: Path) -> None:
    file = series(tmp_path / "a", tilt_degrees=25.0)[0]
    axes = np.array(pydicom.dcmread(file).ImageOrientationPatient).reshape(2, 3)
    assert np.allclose(axes @ axes.T, np.eye(2))
    assert np.allclose(axes[0], [1, 0, 0])  # to the patient's left
    sine, cosine = np.sin(np.radians(25)), np.cos(np.radians(25))
    assert np.allclose(axes[1], [0, sine, -cosine])  # to the foot and to the back
    coronal = pydicom.dcmread(series(tmp_path / "b", tilt_degrees=0.0)[0])
    assert list(coronal.ImageOrientationPatient) == [1, 0, 0, 0, 0, -1]


def test_weightings_of_a_day_share_study_and_frame(tmp_path: Path) -> None:
    stir = pydicom.dcmread(series(tmp_path / "stir")[0])
    t1 = pydicom.dcmread(series(tmp_path / "t1", sequence="T1")[0])
    assert stir.StudyInstanceUID == t1.StudyInstanceUID
    assert stir.FrameOfReferenceUID == t1.FrameOfReferenceUID
    assert stir.SeriesInstanceUID != t1.SeriesInstanceUID
    assert stir.SeriesNumber != t1.SeriesNumber
    assert "InversionTime" not in t1


def test_slices_are_shown_on_one_grey_scale(tmp_path: Path) -> None:
    volume = np.linspace(0, 4000, 4 * 16 * 16).astype(np.uint16).reshape(4, 16, 16)
    shown = [read_image(file).mean() for file in series(tmp_path, volume)]
    assert np.allclose(np.diff(shown), 64, atol=2)


def test_series_is_written_again_over_itself(tmp_path: Path) -> None:
    files = series(tmp_path)
    before = [file.read_bytes() for file in files]
    (tmp_path / ".IM0002.dcm.abcd1234.tmp").write_bytes(b"half a file")
    assert [file.read_bytes() for file in series(tmp_path)] == before
    assert sorted(tmp_path.iterdir()) == files


@given(
    volume=hnp.arrays(
        np.uint16,
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=4),
        elements=st.integers(0, 4095),
    ),
    spacing=st.tuples(*[st.floats(0.1, 20.0)] * 3),
    tilt=st.floats(-90, 90),
)
def test_any_volume_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    volume: np.ndarray,
    spacing: tuple[float, float, float],
    tilt: float,
) -> None:
    folder = tmp_path_factory.mktemp("series")
    files = series(folder, volume, spacing_mm=spacing, tilt_degrees=tilt)
    slices = sorted((pydicom.dcmread(file) for file in files), key=place)
    assert np.array_equal(np.stack([one.pixel_array for one in slices]), volume)
    steps = np.diff([place(one) for one in slices])
    assert np.allclose(steps, spacing[0], rtol=1e-6, atol=1e-6)
    check_standard(slices[0])


# -- errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patient_key": "DOE^JANE"}, "patient_key: expected 1 to 40 letters"),
        ({"patient_key": 7}, "patient_key: expected 1 to 40 letters"),
        ({"site": "a\\b"}, "site: expected 1 to 40 ASCII characters"),
        ({"scanner": "é"}, "scanner: expected 1 to 40 ASCII characters"),
        ({"sex": "F"}, "sex: expected 'female' or 'male', got something else"),
        ({"age_years": float("nan")}, "age_years: expected a number of years"),
        ({"age_years": "34"}, "age_years: expected a number of years"),
        ({"date": "2021-03-09"}, "date: expected a datetime.date"),
        ({"seed": -1}, "seed: expected an integer of at least 0"),
        ({"photometric": "RGB"}, "photometric: expected one of"),
        ({"view": "XX"}, "view: expected one of"),
        ({"body_part": "HAND"}, "body_part: expected one of"),
        ({"modality": "CT"}, "modality: expected one of"),
        ({"bits_stored": 7}, "bits_stored: expected an integer of at least 8"),
        ({"bits_stored": 17}, "bits_stored: expected a number in"),
        ({"spacing_mm": (0.5,)}, "spacing_mm: expected 2 lengths in mm"),
        ({"spacing_mm": 0.5}, "spacing_mm: expected 2 lengths in mm"),
        ({"spacing_mm": (0.5, 0.0)}, "spacing_mm: expected a number in"),
        ({"window": (30, 30)}, "window: expected black below white"),
        ({"window": (-1, 30)}, "window: expected an integer of at least 0"),
        ({"window": (0, 4096)}, "window: expected white below 2 \\*\\* bits_stored"),
    ],
)
def test_unusable_parameters_of_a_film_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        film(tmp_path / "a.dcm", **changes)
    assert "JANE" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((3, 4, 5), np.uint16), r"pixels: .* shape \(H, W\) .* got uint16 of shape"),
        (np.zeros((4, 5), np.float32), "pixels: expected a uint8 or uint16 array"),
        (np.zeros((0, 5), np.uint16), "that is not empty"),
        (np.full((4, 5), 4096, np.uint16), "expected grey values below 2 .. bits_stored = 4096"),
        (np.zeros((1, 2**16), np.uint8), "expected at most 65535 pixels a side"),
    ],
)
def test_other_pixels_are_refused(tmp_path: Path, pixels: np.ndarray, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        film(tmp_path / "a.dcm", pixels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequence": "T2"}, "sequence: expected one of"),
        ({"tilt_degrees": 120.0}, "tilt_degrees: expected a number in"),
        ({"slice_thickness_mm": 5.0}, "slice_thickness_mm: expected a number in"),
        ({"spacing_mm": (1.0, 1.0)}, "spacing_mm: expected 3 lengths in mm"),
    ],
)
def test_unusable_parameters_of_a_series_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        series(tmp_path, **changes)


def test_flat_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"volume: .* shape \(Z, Y, X\)"):
        series(tmp_path, STACK[0])


def test_folder_of_another_series_is_refused(tmp_path: Path) -> None:
    series(tmp_path)
    with pytest.raises(
        ConfigurationError, match="folder: expected an empty folder.* 2 other files"
    ):
        series(tmp_path, STACK[:3])
