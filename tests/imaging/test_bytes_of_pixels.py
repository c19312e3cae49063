"""What the bytes of a DICOM file mean: depth, sign, byte order, planes, frames, colours."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGExtended12Bit, RLELossless

from asfusion.exceptions import DicomReadError
from asfusion.imaging import read_image, read_series, read_stored_values
from tests.forging.dicom_files import BIG, EXPLICIT, IMPLICIT, assembled, case
from tests.imaging.files import dicom

GREY = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint16)


def save(path: Path, dataset: pydicom.Dataset) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def refuse(path: Path, match: str) -> None:
    for read in (read_stored_values, lambda file: read_image(file, size=16)):
        with pytest.raises(DicomReadError, match=match) as caught:
            read(path)
        assert str(path.parent) not in str(caught.value)


# -- every plain kind ------------------------------------------------------------------


@pytest.mark.parametrize("first", range(0, 90, 30))
def test_values_are_those_that_were_written(tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 30):
        content, values, kind = case(seed)
        path = tmp_path / "a.dcm"
        path.write_bytes(content)
        expected = values if kind["frames"] > 1 else values[0]
        got = read_stored_values(path)
        assert got.dtype == expected.dtype, (seed, kind)
        assert np.array_equal(got, expected), (seed, kind)
        # pydicom leaves values at their high bit, and single bits in words as they are.
        if kind["high"] == kind["stored"] - 1 and not (
            kind["allocated"] == 1 and kind["VR"] == "OW"
        ):
            theirs = pydicom.dcmread(path).pixel_array
            assert np.array_equal(got, theirs.reshape(expected.shape)), (seed, kind)


KIND: dict[str, Any] = {
    "syntax": BIG, "VR": "OW", "samples": 1, "allocated": 8, "stored": 8, "high": 7, "planar": 0,
}  # fmt: skip


def entries(rows: int, columns: int, **more: Any) -> list[tuple[int, str, Any]]:
    """Return the entries of an image of eight bits."""
    plain = {
        0x00080016: ("UI", "1.2.840.10008.5.1.4.1.1.7"), 0x00280002: ("US", 1),
        0x00280004: ("CS", "MONOCHROME2"), 0x00280010: ("US", rows), 0x00280011: ("US", columns),
        0x00280100: ("US", 8), 0x00280101: ("US", 8), 0x00280102: ("US", 7),
        0x00280103: ("US", 0),
    }  # fmt: skip
    plain |= {int(tag, 16): entry for tag, entry in more.items()}
    return [(tag, *entry) for tag, entry in plain.items()]


def test_bytes_in_words_are_not_swapped_twice(tmp_path: Path) -> None:
    """Three columns: in a word stand pixels of two rows."""
    path = tmp_path / "a.dcm"
    for vr, data in (("OW", b"\2\1\4\3\6\5\x08\7\0\x09"), ("OB", bytes(range(1, 10)) + b"\0")):
        path.write_bytes(assembled(entries(3, 3), data, KIND | {"VR": vr}))
        assert read_stored_values(path).ravel().tolist() == list(range(1, 10))


def test_twelve_bits_packed(tmp_path: Path) -> None:
    twelve = {"00280100": ("US", 12), "00280101": ("US", 12), "00280102": ("US", 11)}
    path = tmp_path / "a.dcm"
    path.write_bytes(
        assembled(entries(1, 3, **twelve), b"\x21\x43\x65\x87\x09\0", KIND | {"syntax": IMPLICIT})
    )
    assert read_stored_values(path).tolist() == [[0x321, 0x654, 0x987]]
    path.write_bytes(assembled(entries(1, 3, **twelve), bytes(6), KIND))
    refuse(path, "got 1 of 12")


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG])
@pytest.mark.parametrize("packed", [True, False])
def test_palettes_in_words(tmp_path: Path, syntax: str, packed: bool) -> None:
    """Entries of one byte stand two in a word; the first value mapped may be negative."""
    order = ">" if syntax == BIG else "<"
    tables = {}
    for number in range(3):
        values = [10 * number + i for i in range(1, 7)]
        data = bytes(values) if packed else struct.pack(f"{order}6H", *values)
        if packed and syntax == BIG:
            data = np.frombuffer(data, np.uint16).byteswap().tobytes()
        tables[f"0028110{number + 1}"] = ("US", (6, 2**16 - 2, 8))
        tables[f"0028120{number + 1}"] = ("OW", data)
    look = {"00280004": ("CS", "PALETTE COLOR"), "00280103": ("US", 1)}
    path = tmp_path / "a.dcm"
    data = np.array([-2, -1, 0, 3], np.int8).tobytes()
    kind = KIND | {"syntax": syntax, "VR": "OB"}
    path.write_bytes(assembled(entries(2, 2, **look, **tables), data, kind))
    colours = read_image(path, channels=3)
    assert colours[:, 0, 0].tolist() == [1, 11, 21]
    assert colours[:, 1].tolist() == [[3, 6], [13, 16], [23, 26]]


# -- lengths and frames ----------------------------------------------------------------


@pytest.mark.parametrize("said", [None, "1A", "0", "2", "-3"])
def test_frames_that_the_header_does_not_count(tmp_path: Path, said: str | None) -> None:
    more = {} if said is None else {"00280008": ("IS", said)}
    path = tmp_path / "a.dcm"
    kind = KIND | {"syntax": EXPLICIT, "VR": "OB"}
    path.write_bytes(assembled(entries(4, 4, **more), bytes(48), kind))
    words = "bytes of pixel data as the header declares .* got 48"
    if said in ("1A", "-3"):
        words = "NumberOfFrames is one whole number"
    with pytest.raises(DicomReadError, match=words):
        read_stored_values(path)
    path.write_bytes(
        assembled(entries(4, 4, **more), bytes(48), kind | {"syntax": "1.2.840.10008.1.2.1.99"})
    )
    with pytest.raises(DicomReadError, match=words):
        read_stored_values(path)


@pytest.mark.parametrize("length", [9, 10])
def test_a_byte_of_padding_may_be_there(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.dcm"
    kind = KIND | {"syntax": EXPLICIT, "VR": "OB"}
    path.write_bytes(assembled(entries(3, 3), bytes(length), kind))
    assert read_stored_values(path).shape == (3, 3)
    path.write_bytes(assembled(entries(3, 3), bytes(12), kind))
    refuse(path, r"expected 9 bytes of pixel data as the header declares 1 frame\(s\), got 12")


def test_plain_data_of_undefined_length(tmp_path: Path) -> None:
    content = assembled(entries(3, 3), b"\7" * 10, KIND | {"syntax": EXPLICIT, "VR": "OB"})
    at = content.index(b"\xe0\x7f\x10\x00OB") + 8
    path = tmp_path / "a.dcm"
    path.write_bytes(content[:at] + b"\xff\xff\xff\xff" + content[at + 4 :])
    refuse(path, "plain pixel data of a stated length, got data of an undefined one")


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("offsets", [True, False])
def test_compressed_frames_that_the_header_does_not_count(
    tmp_path: Path, syntax: str, offsets: bool
) -> None:
    dataset = dicom(GREY, NumberOfFrames=3)
    dataset.PixelData = np.stack([GREY, GREY + 1, GREY + 2]).astype(np.uint16).tobytes()
    dataset.compress(syntax)
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=3))
    dataset.PixelData = pydicom.encaps.encapsulate(frames, has_bot=offsets)
    assert read_stored_values(save(tmp_path / "a.dcm", dataset)).shape == (3, 64, 64)
    dataset.NumberOfFrames = 2
    with pytest.raises(DicomReadError, match="expected 2 frames as the header declares, got 3"):
        read_stored_values(save(tmp_path / "a.dcm", dataset))
    del dataset.NumberOfFrames
    refuse(save(tmp_path / "a.dcm", dataset), "expected 1 frames as the header declares, got 3")


def test_a_frame_in_many_fragments(tmp_path: Path) -> None:
    dataset = dicom(GREY)
    dataset.compress(JPEG2000Lossless)
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = pydicom.encaps.encapsulate(frames, fragments_per_frame=4, has_bot=False)
    assert np.array_equal(read_stored_values(save(tmp_path / "a.dcm", dataset)), GREY)


# -- what decides ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "entry", "words"),
    [
        ("00280103", ("US", 2), "PixelRepresentation is 0 or 1"),
        ("00280006", ("US", 7), "PlanarConfiguration is 0 or 1"),
        ("00280101", ("CS", "EIGHT"), "BitsStored is one whole number"),
        ("00280010", ("DS", "3.5"), "Rows is one whole number"),
        ("00280011", ("US", (3, 3)), "Columns is one whole number"),
        ("00280004", ("CS", "RGB"), r"interpretation of 1 sample\(s\) per pixel"),
        ("00280004", ("CS", "MONOCHROME7"), r"interpretation of 1 sample\(s\) per pixel"),
        ("00280004", ("CS", "Jane Doe"), r"interpretation of 1 sample\(s\) per pixel"),
    ],
)
def test_entries_that_decide_are_believed_only_if_they_can_be(
    tmp_path: Path, tag: str, entry: tuple[str, Any], words: str
) -> None:
    path = tmp_path / "a.dcm"
    kind = KIND | {"syntax": EXPLICIT, "VR": "OB"}
    path.write_bytes(assembled(entries(3, 3, **{tag: entry}), bytes(10), kind))
    refuse(path, words)


@pytest.mark.parametrize(
    ("keyword", "tag"),
    [
        ("BitsAllocated", 0x00280100), ("BitsStored", 0x00280101),
        ("PixelRepresentation", 0x00280103), ("PlanarConfiguration", 0x00280006),
    ],
)  # fmt: skip
def test_entries_without_which_bytes_mean_this_or_that(
    tmp_path: Path, keyword: str, tag: int
) -> None:
    colours = {"00280002": ("US", 3), "00280004": ("CS", "RGB"), "00280006": ("US", 0)}
    rest = [entry for entry in entries(3, 3, **colours) if entry[0] != tag]
    n_bytes = 54 if keyword == "BitsAllocated" else 28
    path = tmp_path / "a.dcm"
    path.write_bytes(assembled(rest, bytes(n_bytes), KIND | {"syntax": EXPLICIT, "VR": "OW"}))
    refuse(path, f"got one without {keyword}")


def test_samples_deeper_than_the_header_says(tmp_path: Path) -> None:
    dataset = dicom(GREY * 16)
    dataset.compress(JPEG2000Lossless)
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    refuse(save(tmp_path / "a.dcm", dataset), "expected ")


def test_reduced_wavelets_of_another_depth(tmp_path: Path) -> None:
    """Pillow moves samples up as far as the codestream says, not the header."""
    values = np.kron(GREY, np.ones((8, 8))).astype(np.uint16)
    dataset = dicom(values, BitsStored=12, HighBit=11, WindowCenter=64, WindowWidth=128)
    dataset.compress(JPEG2000Lossless)
    whole = read_image(save(tmp_path / "a.dcm", dataset), size=64)
    for stored in (10, 16):
        dataset.BitsStored, dataset.HighBit = stored, stored - 1
        other = read_image(save(tmp_path / "a.dcm", dataset), size=64)
        assert np.abs(other.astype(int) - whole).mean() < 3


def test_scan_of_twelve_bits_that_says_zeros(tmp_path: Path) -> None:
    """Some encoders leave the range of coefficients of a sequential scan empty."""
    codecs = pytest.importorskip("imagecodecs")
    code = bytes(codecs.jpeg_encode(GREY, level=95, bitspersample=12))
    scan = code.index(b"\xff\xda")
    assert code[scan + 7 : scan + 10] == b"\0\x3f\0"
    found = []
    for stream in (code, code[: scan + 8] + b"\0" + code[scan + 9 :]):
        dataset = dicom(GREY, BitsStored=12, HighBit=11, syntax=JPEGExtended12Bit)
        dataset.PixelData = pydicom.encaps.encapsulate([stream])
        dataset["PixelData"].is_undefined_length = True
        found.append(read_stored_values(save(tmp_path / "a.dcm", dataset)))
    assert np.array_equal(*found)
    assert np.abs(found[0].astype(int) - GREY).max() < 9


def test_modality_table_that_cannot_be_read(tmp_path: Path) -> None:
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [64, 0, 16])
    dataset = dicom(GREY, ModalityLUTSequence=[table], ImagePositionPatient=[0, 0, 0],
                    ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[1, 1])  # fmt: skip
    path = save(tmp_path / "a.dcm", dataset)
    for read in (read_image, read_series):
        with pytest.raises(DicomReadError, match="expected a modality table that can be read"):
            read(path)
