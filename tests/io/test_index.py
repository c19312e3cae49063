"""A folder of DICOM files as a table: what is read, what is skipped, what is kept for next time."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

import asfusion as af
from asfusion.exceptions import ConfigurationError, DicomReadError, ImageReadError
from asfusion.imaging import DeidentificationReport, read_series
from asfusion.io import _index_files, index_dicom
from asfusion.io._facts import check_whole, read_facts
from tests.imaging.files import SECRET, dicom
from tests.imaging.slices import dicomdir, enhanced, one_slice, voxels, write_slices

VALUES = voxels(3, 6, 8)
KEY = "a secret of this study"


@pytest.fixture(autouse=True)
def _allow_odd_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pydicom write what no standard allows."""
    mode = pydicom.config.IGNORE
    for name in ("writing_validation_mode", "reading_validation_mode"):
        monkeypatch.setattr(pydicom.config.settings, name, mode)


def in_study(study: int = 1, series: int = 1, **header: Any) -> dict[str, Any]:
    """Return the entries that place a file in a study."""
    return {
        "StudyInstanceUID": f"1.2.{study}",
        "SeriesInstanceUID": f"1.2.{study}.{series}",
        "StudyDate": f"{20210300 + study}",
        **header,
    }


def content(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Return a data set as the bytes of a file."""
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = dataset.pixel_array.astype(">u2").tobytes()
    pydicom.dcmwrite(
        buffer, dataset, implicit_vr=implicit, little_endian=little, enforce_file_format=True
    )
    return buffer.getvalue()


def nested(depth: int, defined: bool) -> Dataset:
    """Return a slice with sequences within sequences before what is looked for."""
    inner = Dataset()
    inner.PatientID, inner.Rows = "another", 7  # nothing that is nested counts
    for _ in range(depth):
        outer = Dataset()
        outer.ReferencedImageSequence = [inner, Dataset()]
        outer["ReferencedImageSequence"].is_undefined_length = not defined
        inner.is_undefined_length_sequence_item = not defined
        inner = outer
    dataset = one_slice(VALUES[1], 0.0, **in_study(), BodyPartExamined="pelvis")
    dataset.ReferencedImageSequence = [inner]
    dataset["ReferencedImageSequence"].is_undefined_length = not defined
    dataset.add_new(0x00091010, "UN", b"x" * 20_000)  # what a maker keeps there
    dataset.Laterality, dataset.ViewPosition, dataset.BurnedInAnnotation = "L", "AP", "NO"
    dataset.SeriesDescription = "Sacroilíaca"
    dataset.SpecificCharacterSet = "ISO_IR 100"
    return dataset


# -- what a header says ----------------------------------------------------------------------


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_facts_are_those_of_pydicom_in_every_encoding(syntax: str, defined: bool) -> None:
    data = content(nested(3, defined), syntax)
    facts, told = read_facts(io.BytesIO(data), len(data)), pydicom.dcmread(io.BytesIO(data))
    assert facts["sop"] == told.SOPInstanceUID
    assert (facts["study"], facts["series"], facts["date"]) == ("1.2.1", "1.2.1.1", "2021-03-01")
    assert (facts["patient"], facts["description"]) == (SECRET, "Sacroilíaca")
    assert (facts["rows"], facts["columns"], facts["frames"]) == (6, 8, 1)
    assert (facts["spacing_mm"], facts["body_part"]) == (0.5, "PELVIS")
    assert (facts["view"], facts["laterality"], facts["burned_in"]) == ("AP", "L", "NO")
    check_whole(io.BytesIO(data), len(data))


def test_a_file_without_preamble_and_one_that_is_not_as_it_says_are_read() -> None:
    data = content(one_slice(VALUES[0], 0.0, **in_study()))
    bare = data[132:]
    assert read_facts(io.BytesIO(bare), len(bare))["series"] == "1.2.1.1"
    # It says explicit and is implicit: pydicom makes it out.
    odd = content(one_slice(VALUES[0], 0.0, **in_study()), ImplicitVRLittleEndian)
    odd = odd.replace(b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2.1\0", 1)
    at = odd.index(b"\x02\0\x10\0UI") + 6
    odd = odd[:at] + b"\x14\0" + odd[at + 2 :]
    assert read_facts(io.BytesIO(odd), len(odd))["rows"] == 6


def test_what_cannot_be_used_is_missing() -> None:
    dataset = one_slice(VALUES[0], 0.0, **in_study(StudyDate="yesterday", BodyPartExamined="<b>"))
    dataset.SeriesDate, dataset.PixelSpacing, dataset.SeriesInstanceUID = (
        "2020.02.03",
        [0, 1],
        "1.2",
    )
    data = content(dataset).replace(b"1.2\0\x20", b"../\0\x20")
    facts = read_facts(io.BytesIO(data), len(data))
    assert (facts["date"], facts["body_part"]) == ("2020-02-03", None)
    assert (facts["spacing_mm"], facts["series"]) == (None, None)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_wherever_a_file_is_cut_or_changed_there_is_one_error_or_an_answer(syntax: str) -> None:
    data = content(nested(2, defined=False), syntax)
    short = data[:600] + data[-1500:]  # what is changed below lies close together
    rng = np.random.default_rng(5)
    for n in range(132, len(data), 397):
        with pytest.raises(DicomReadError, match="expected a"):
            read_facts(io.BytesIO(data[:n]), n)
    for _ in range(300):
        changed = bytearray(short)
        for at in rng.integers(128, len(short), 4):
            changed[at] = rng.integers(256)
        for read in (read_facts, check_whole):
            try:
                read(io.BytesIO(bytes(changed)), len(changed))
            except DicomReadError as error:
                assert SECRET not in str(error)


def test_a_file_is_whole_only_if_its_last_element_is() -> None:
    data = content(one_slice(VALUES[0], 0.0, **in_study()))
    for n in (len(data) - 1, len(data) - 40):
        with pytest.raises(DicomReadError, match="cut short"):
            check_whole(io.BytesIO(data[:n]), n)


# -- a folder --------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two series in folders of their own, two that share one, and what is none."""
    root = tmp_path / "export"
    write_slices(root / "a", VALUES, **in_study(1, 1))
    write_slices(root / "b" / "deep", VALUES, **in_study(2, 1, PatientID="other"))
    write_slices(root / "c", VALUES, prefix="x", **in_study(3, 1))
    write_slices(root / "c", VALUES[:1], prefix="y", **in_study(3, 2, BurnedInAnnotation="YES"))
    (root / "readme.txt").write_text(SECRET)
    (root / "empty.dcm").touch()
    cut = content(one_slice(VALUES[0], 0.0, **in_study(4)))
    (root / "cut.dcm").write_bytes(cut[:-50])
    (root / "report.dcm").write_bytes(content(a_report()).replace(b"nobody", b"somebo"))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.dcm").write_bytes(cut)
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "away.dcm").symlink_to(tmp_path / "outside" / "x.dcm")
    return root


def a_report() -> Dataset:
    dataset = dicom(VALUES[0].astype(np.uint8), Modality="SR", SOPClassUID=BasicTextSRStorage)
    for keyword in ("Rows", "Columns", "PixelData", "BitsAllocated"):
        delattr(dataset, keyword)
    dataset.update(in_study(5, 1))
    return dataset


def test_files_and_what_is_skipped(folder: Path) -> None:
    index = index_dicom(folder)
    assert len(index) == 11  # with the report
    reasons = {Path(path).name: why for path, why in index.skipped.itertuples(index=False)}
    assert set(reasons) == {"readme.txt", "empty.dcm", "cut.dcm", "loop", "away.dcm"}
    assert "of another kind" in reasons["readme.txt"]
    assert "another size" in reasons["empty.dcm"]
    assert "cut short" in reasons["cut.dcm"]
    assert "links are not followed" in reasons["loop"]
    assert reasons["loop"] == reasons["away.dcm"]
    assert not index.files["path"].str.contains("outside").any()
    for shown in (repr(index), index._repr_html_()):
        assert SECRET not in shown
        assert "1.2.1" not in shown


def test_series_have_the_path_that_readers_take(folder: Path) -> None:
    index = index_dicom(folder)
    series = index.to_frame(by="series").set_index("series")
    assert series["n_files"].to_dict() == {
        "1.2.1.1": 3, "1.2.2.1": 3, "1.2.3.1": 3, "1.2.3.2": 1, "1.2.5.1": 1,
    }  # fmt: skip
    assert pd.isna(series.loc["1.2.3.1", "path"])  # its folder holds another series, too
    assert series.loc["1.2.3.2", "burned_in"] == "YES"
    for uid in ("1.2.1.1", "1.2.2.1"):
        assert np.array_equal(read_series(series.loc[uid, "path"]).values, VALUES)
    studies = index.to_frame(by="study")
    assert studies["n_series"].tolist() == [1, 1, 1, 2]
    assert studies["modalities"].tolist() == ["SR", "MR", "MR", "MR"]
    with pytest.raises(ConfigurationError, match="by: expected one of"):
        index.to_frame(by="patient")  # type: ignore[arg-type]


def test_arrange_gives_each_series_a_folder(folder: Path, tmp_path: Path) -> None:
    arranged = index_dicom(folder).arrange(tmp_path / "series").set_index("series")
    assert np.array_equal(read_series(arranged.loc["1.2.3.1", "path"]).values, VALUES)
    again = index_dicom(tmp_path / "series")
    assert len(again) == 11
    assert again.to_frame()["path"].notna().all()


def test_duplicates_are_listed_and_not_counted(folder: Path) -> None:
    first = next(iter(sorted((folder / "a").iterdir())))
    (folder / "a" / "zz.dcm").write_bytes(first.read_bytes())
    index = index_dicom(folder)
    assert index.duplicates.to_dict("list") == {
        "path": [str(folder / "a" / "zz.dcm")], "first": [str(first)], "same_size": [True],
    }  # fmt: skip
    series = index.to_frame().set_index("series")
    assert series.loc["1.2.1.1", "n_files"] == 3
    assert pd.isna(series.loc["1.2.1.1", "path"])  # read from there, a slice would be repeated


def test_frames_of_an_enhanced_file_share_their_spacing(tmp_path: Path) -> None:
    dataset = enhanced(VALUES)
    dataset.update(in_study())
    (tmp_path / "a.dcm").write_bytes(content(dataset))
    files = index_dicom(tmp_path).files
    assert files[["frames", "spacing_mm"]].values.tolist() == [[3, 0.5]]


def test_nobody_is_named_under_a_key(folder: Path) -> None:
    index = index_dicom(folder, key=KEY)
    plain = index_dicom(folder)
    pseudonym = DeidentificationReport((), (), {}, key=KEY).pseudonym
    expected = plain.files["patient"].map(pseudonym, na_action="ignore")
    assert index.files["patient"].dropna().tolist() == expected.dropna().tolist()
    for column in ("study", "series", "sop"):
        assert index.files[column].nunique() == plain.files[column].nunique()
        assert not set(index.files[column]) & set(plain.files[column])
    assert index.files["description"].isna().all()
    for key in ("short", b"as bytes, which are no text"):
        with pytest.raises(ConfigurationError, match="key: expected a text of at least 16"):
            index_dicom(folder, key=key)  # type: ignore[arg-type]


# -- DICOMDIR --------------------------------------------------------------------------------


def test_dicomdir(tmp_path: Path) -> None:
    files = write_slices(tmp_path / "IMAGES", VALUES, **in_study())
    write_slices(tmp_path / "OTHER", VALUES, **in_study(2))
    path = tmp_path / "DICOMDIR"
    path.write_bytes(content(dicomdir([["IMAGES", file.name] for file in files] + [["NO"]])))
    index = index_dicom(path)
    assert index.files["series"].tolist() == ["1.2.1.1"] * 3
    assert index.skipped["reason"].tolist() == [
        "expected a file that the DICOMDIR names, got none there."
    ]


@pytest.mark.parametrize("parts", [["..", "private.dcm"], ["IMAGES", "..", "..", "private.dcm"]])
def test_dicomdir_that_leads_elsewhere(tmp_path: Path, parts: list[str]) -> None:
    (tmp_path / "private.dcm").write_bytes(b"DICM")
    files = write_slices(tmp_path / "disc" / "IMAGES", VALUES, **in_study())
    path = tmp_path / "disc" / "DICOMDIR"
    path.write_bytes(content(dicomdir([["IMAGES", files[0].name], parts])))
    with pytest.raises(DicomReadError, match="leads elsewhere"):
        index_dicom(path)


def test_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match="got a path where there is none"):
        index_dicom(tmp_path / "nowhere")
    file = write_slices(tmp_path, VALUES[:1], **in_study())[0]
    with pytest.raises(DicomReadError, match="names no others"):
        index_dicom(file)


# -- again -----------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="This system has no named pipes.")
def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    write_slices(tmp_path / "a", VALUES, **in_study())
    os.mkfifo(tmp_path / "a" / "pipe")
    (tmp_path / "a" / "twin.dcm").symlink_to(next((tmp_path / "a").glob("*.dcm")))
    index = index_dicom(tmp_path)
    assert sorted(index.skipped["reason"]) == [
        "expected an ordinary file or folder, got a link: links are not followed.",
        "expected an ordinary file, got a device, pipe or socket.",
    ]
    assert index.to_frame()["path"].isna().all()  # `read_series` would follow the link


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return how many files were read since it was asked last."""
    read, seen = _index_files.read_facts, [0]

    def count(*args: Any) -> Any:
        seen[0] += 1
        return read(*args)

    def since() -> int:
        n, seen[0] = seen[0], 0
        return n

    monkeypatch.setattr(_index_files, "read_facts", count)
    return since


def test_what_was_read_is_not_read_again(
    folder: Path, counted: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asfusion.io.index._AT_ONCE", 4)
    log = folder / "index.jsonl"
    first = index_dicom(folder, resume=log)
    assert counted() == 13
    again = index_dicom(folder, resume=log)
    assert counted() == 0
    assert first.files.equals(again.files)
    assert first.skipped.equals(again.skipped)
    # What changed is read, what is gone is forgotten, a line that was cut is read anew.
    file = sorted((folder / "a").iterdir())[0]
    os.utime(file, (1, 1))
    (folder / "cut.dcm").unlink()
    assert len(index_dicom(folder, resume=log).skipped) == 4
    assert counted() == 1
    assert b"cut.dcm" not in log.read_bytes()
    log.write_bytes(log.read_bytes()[:-20])
    assert index_dicom(folder, resume=log).files.equals(again.files)
    assert counted() == 1
    assert index_dicom(folder, resume=log).files.equals(again.files)
    assert counted() == 0
    # Under a key nothing of a patient is kept.
    index_dicom(folder, resume=log, key=KEY)
    assert counted() == 12
    assert SECRET.encode() not in log.read_bytes()


def test_what_was_read_before_the_end_is_kept(
    folder: Path, counted: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asfusion.io.index._AT_ONCE", 2)
    read, log = _index_files.read_facts, folder / "index.jsonl"

    def stop(file: Any, size: int) -> Any:
        if Path(file.name).name.startswith("y"):
            raise KeyboardInterrupt
        return read(file, size)

    monkeypatch.setattr(_index_files, "read_facts", stop)
    with pytest.raises(KeyboardInterrupt):
        index_dicom(folder, resume=log)
    monkeypatch.setattr(_index_files, "read_facts", read)
    counted()
    assert len(index_dicom(folder, resume=log)) == 11
    assert counted() < 7


@pytest.mark.parametrize("text", ["patient,age\n", "[]\n", "", "[" * 100_000])
def test_another_file_is_left_alone(folder: Path, text: str) -> None:
    log = folder / "table.csv"
    log.write_text(text)
    with pytest.raises(ConfigurationError, match="resume: expected an index"):
        index_dicom(folder, resume=log)
    assert log.read_text() == text


def test_a_log_with_other_cells_is_read_anew(folder: Path) -> None:
    log = folder / "index.jsonl"
    expected = index_dicom(folder, resume=log)
    lines = log.read_text().splitlines(keepends=True)
    moved = lines[3].replace('"1.2.', '"../')  # where a folder would be named by it
    odd = [moved, '{"a": 1}\n', '["x", 1, 2, [1]]\n', "[1, 2, 3, 4]\n", "\n", "null\n"]
    log.write_text("".join([lines[0], *odd, *lines[3:]]))
    assert index_dicom(folder, resume=log).files.equals(expected.files)


def test_workers_read_the_same(folder: Path, eager_workers: None) -> None:
    from joblib import parallel_config

    with parallel_config("threading", n_jobs=2):
        assert index_dicom(folder).files.equals(index_dicom(folder, n_jobs=1).files)


def test_jobs(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="n_jobs: expected"):
        af.io.index_dicom(folder, n_jobs=0)
