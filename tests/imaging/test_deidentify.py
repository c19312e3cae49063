"""deidentify: no canary of any attribute that PS3.15 Table E.1-1 lists survives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.uid import BasicTextSRStorage, ImplicitVRLittleEndian, generate_uid

from asfusion.exceptions import ConfigurationError, InputError, MissingDependencyError
from asfusion.imaging import deidentify
from asfusion.imaging._confidential import ACTIONS
from tests.imaging.files import dicom, gradient

pytest.importorskip("dicognito")
KEY = "a secret of the hospital"
CANARY = "CANARY"
STRINGS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}


def patient(pid: str = "4711", **header: Any) -> Dataset:
    dataset = dicom(gradient(64, 64))
    dataset.PatientID, dataset.PatientName = pid, "CANARY^NAME"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def run(folder: Path, *datasets: Dataset, **options: Any) -> tuple[Any, list[Dataset]]:
    """Write data sets, de-identify them, return the report and what was written."""
    files = [save(d, folder / "in" / f"CANARY{i}.dcm") for i, d in enumerate(datasets)]
    report = deidentify(files, folder / "out", **{"key": KEY, **options})
    written = [pydicom.dcmread(folder / "out" / t) for t in report.targets if t is not None]
    return report, written


VALUES: dict[str, Any] = {
    **dict.fromkeys(STRINGS, CANARY),
    **dict.fromkeys(["DA", "DT"], "19870605"),
    **dict.fromkeys(["DS", "IS"], "98765"),
    **dict.fromkeys(["US", "UL"], 4242),
    **dict.fromkeys(["OB", "UN"], b"CANARY"),
    "UI": "1.2.3.987654321",
    "AS": "087Y",
}


def plant(dataset: Dataset, depth: int = 0) -> None:
    """Put a canary into every attribute of the table, in nested sequences too."""
    for tag in ACTIONS:
        if not dictionary_has_tag(tag) or tag >> 16 in (0, 2):
            continue
        vr = dictionary_VR(tag).split(" or ")[0]
        if vr in VALUES:
            dataset.add_new(tag, vr, VALUES[vr])
        elif vr == "SQ" and depth == 0:
            item = Dataset()
            plant(item, depth=1)
            dataset.add_new(tag, vr, [item])


def remains(path: Path) -> list[str]:
    """Return which canaries a file's bytes still hold."""
    data = path.read_bytes()
    marks = [b"CANARY", b"1.2.3.987654321", b"19870605", b"087Y", b"98765"]
    return [mark.decode() for mark in marks if mark in data]


def test_table_is_the_whole_table() -> None:
    assert len(ACTIONS) == 652
    assert set(ACTIONS.values()) == {"X", "Z", "D", "U", "X/D", "X/Z", "X/Z/D", "Z/D", "X/Z/U*"}


@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_no_canary_survives(tmp_path: Path, syntax: str) -> None:
    dataset = patient()
    plant(dataset)
    nest = Dataset()  # a sequence that the table does not name
    nest.add_new(0x00091001, "LO", CANARY)
    inner = Dataset()
    plant(inner, depth=1)
    nest.AnatomicRegionSequence = [inner]
    dataset.AnatomicRegionSequence = [nest]
    dataset.private_block(0x0009, "CANARY MAKER", create=True).add_new(1, "LO", CANARY)
    dataset.add_new(0x50000020, "US", 4242)
    dataset.add_new(0x60004000, "LT", CANARY)
    dataset.add_new(0x60023000, "OW", b"CANARY")
    dataset.add_new(0xFFFCFFFC, "OB", b"CANARY")
    dataset.add_new(0x00181002, "UI", "1.2.3.987654321")
    dataset.OperatorsName = ["CANARY^A", "CANARY^B"]
    dataset.file_meta.SourceApplicationEntityTitle = CANARY
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.3.987654321"
    dataset.file_meta.PrivateInformation = b"CANARY"
    dataset.preamble = b"CANARY".ljust(128, b"\0")
    dataset.BurnedInAnnotation = "NO"
    if syntax == "implicit":
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    report, (out,) = run(tmp_path, dataset, burned_in="keep")
    path = tmp_path / "out" / report.targets[0]
    assert remains(path) == []
    assert CANARY not in path.as_posix().removeprefix(tmp_path.as_posix())
    assert CANARY not in f"{report}{report!r}{report.outcomes}"
    assert KEY not in repr(report)
    assert not any(element.tag.is_private for element in out.iterall())
    assert out.file_meta.MediaStorageSOPInstanceUID == out.SOPInstanceUID != "1.2.3.987654321"
    assert report.actions["private"] >= 3


def test_canaries_would_be_seen(tmp_path: Path) -> None:
    dataset = patient()
    plant(dataset)
    assert len(remains(save(dataset, tmp_path / "a.dcm"))) == 5


def test_header_says_what_was_done(tmp_path: Path) -> None:
    _, (out,) = run(tmp_path, patient())
    assert out.PatientIdentityRemoved == "YES"
    assert "PS3.15" in out.DeidentificationMethod
    codes = [item.CodeValue for item in out.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107"]
    assert out.LongitudinalTemporalInformationModified == "MODIFIED"


def test_characteristics_stay_if_asked_for(tmp_path: Path) -> None:
    header = {"PatientSex": "F", "PatientAge": "044Y", "PatientSize": "1.7", "PatientWeight": "61"}
    _, (out,) = run(tmp_path / "a", patient(**header))
    assert out.get("PatientSex", "") in ("", None)
    assert "PatientAge" not in out
    _, (kept,) = run(tmp_path / "b", patient(**header), keep_characteristics=True)
    assert (kept.PatientSex, kept.PatientAge, kept.PatientWeight) == ("F", "044Y", 61)
    codes = [item.CodeValue for item in kept.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107", "113108"]


def days(dataset: Dataset, keyword: str = "StudyDate") -> np.datetime64:
    text = str(getattr(dataset, keyword))
    return np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:8]}")


def test_intervals_of_a_patient_stay(tmp_path: Path) -> None:
    first = patient(
        StudyDate="20200228", StudyTime="235959.5", AcquisitionDateTime="20200301120000"
    )
    later = patient(StudyDate="20210301", ContentDate="20210302")
    other = patient("0815", StudyDate="20200228")
    _, (a, b, c) = run(tmp_path, first, later, other)
    assert days(b) - days(a) == days(later) - days(first)
    assert days(b, "ContentDate") - days(b) == np.timedelta64(1, "D")
    assert days(a, "AcquisitionDateTime") - days(a) == np.timedelta64(2, "D")
    assert a.StudyTime == "235959.5"
    shift = (days(first) - days(a)).astype(int)
    assert 62 <= shift <= 729
    assert (days(other) - days(c)).astype(int) != shift
    assert a.PatientID == b.PatientID != c.PatientID


@pytest.mark.parametrize("date", ["CANARY", "2020-02-28", "00000000"])
def test_unreadable_dates_are_emptied(tmp_path: Path, date: str) -> None:
    dataset = patient()
    dataset.add_new("StudyDate", "LO", date)
    dataset["StudyDate"].VR = "DA"
    report, written = run(tmp_path, dataset)
    assert report.outcomes in (("written",), ("unreadable",))
    assert all(str(out.get("StudyDate") or "") != date for out in written)


def test_references_lead_to_the_same_images(tmp_path: Path) -> None:
    first, second = patient(), patient()
    item = Dataset()
    item.ReferencedSOPClassUID = first.SOPClassUID
    item.ReferencedSOPInstanceUID = first.SOPInstanceUID
    second.SourceImageSequence = [item]
    second.FrameOfReferenceUID = first.FrameOfReferenceUID = "1.2.3.4"
    _, (a, b) = run(tmp_path, first, second)
    assert b.SourceImageSequence[0].ReferencedSOPInstanceUID == a.SOPInstanceUID
    assert b.SourceImageSequence[0].ReferencedSOPClassUID == first.SOPClassUID
    assert a.FrameOfReferenceUID == b.FrameOfReferenceUID != "1.2.3.4"
    assert a.SOPClassUID == first.SOPClassUID


def test_same_key_same_files(tmp_path: Path) -> None:
    dataset = patient(StudyDate="20200228")
    save(dataset, tmp_path / "in" / "CANARY.dcm")
    reports = [
        deidentify(tmp_path / "in", tmp_path / name, key=key)
        for name, key in (("a", KEY), ("b", KEY), ("a", KEY), ("c", None))
    ]
    a, b, again, other = (r.targets[0] for r in reports)
    assert a == b == again != other
    assert (tmp_path / "a" / a).read_bytes() == (tmp_path / "b" / b).read_bytes()
    assert sum(p.is_file() for p in (tmp_path / "a").rglob("*")) == 1
    assert len(reports[3].key) == 64
    assert reports[0].pseudonym("4711") == a.split("/")[0]
    assert not any(KEY.encode() in p.read_bytes() for p in (tmp_path / "a").rglob("*.dcm"))


@pytest.mark.parametrize("frames", [1, 3])
def test_pixels_are_untouched(tmp_path: Path, frames: int) -> None:
    dataset = patient()
    if frames > 1:
        dataset.NumberOfFrames = frames
        dataset.PixelData = np.repeat(gradient(64, 64)[None], frames, axis=0).tobytes()
    _, (out,) = run(tmp_path, dataset)
    assert out.PixelData == dataset.PixelData


def test_real_files_keep_their_pixels(shared_data: Path, tmp_path: Path) -> None:
    files = sorted((shared_data / "dicom" / "single").iterdir())[::3]
    report = deidentify(files, tmp_path / "out", key=KEY, burned_in="keep")
    written = [(f, t) for f, t in zip(files, report.targets, strict=True) if t is not None]
    assert len(written) > 15
    for file, name in written:
        before, after = pydicom.dcmread(file), pydicom.dcmread(tmp_path / "out" / name)
        assert before.get("PixelData") == after.get("PixelData")
        assert not before.get("PatientName") or str(before.PatientName) not in str(after)
        assert not any(element.tag.is_private for element in after.iterall())


# -- text in pixels --------------------------------------------------------------------


def with_text() -> Dataset:
    picture = Image.fromarray((gradient(900, 900) // 3).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.text((40, 700), "DOE^JANE 1971-03-12", fill=255, font=ImageFont.load_default(32))
    dataset = patient()
    dataset.Rows = dataset.Columns = 900
    dataset.PixelData = np.asarray(picture).tobytes()
    return dataset


def test_burned_in_text_is_refused_with_a_way_out(tmp_path: Path) -> None:
    report, written = run(tmp_path, patient(BurnedInAnnotation="YES"), with_text(), patient())
    assert report.outcomes == ("text declared", "text suspected", "written")
    assert report.targets[:2] == (None, None)
    assert len(written) == 1
    assert "1 file(s) text suspected" in str(report)
    kept, _ = run(tmp_path / "kept", with_text(), burned_in="keep")
    assert kept.outcomes == ("written",)


def test_text_on_one_of_many_frames(tmp_path: Path) -> None:
    dataset = with_text()
    clean = (gradient(900, 900) // 3).astype(np.uint8).tobytes()
    dataset.NumberOfFrames = 3
    dataset.PixelData = clean + dataset.PixelData + clean
    assert run(tmp_path, dataset)[0].outcomes == ("text suspected",)


# -- files -----------------------------------------------------------------------------


def test_other_files_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    good = save(patient(), folder / "deep" / "a.dcm")
    (folder / "b.txt").write_text(CANARY)
    report_ = patient(SOPClassUID=BasicTextSRStorage)
    del report_.PixelData, report_.Rows
    save(report_, folder / "c.dcm")
    (folder / "d.dcm").write_bytes(good.read_bytes()[:400])
    broken = patient()
    broken.PixelData = b"\0" * 10
    save(broken, folder / "e.dcm")
    (folder / "link.dcm").symlink_to(good)
    (folder / "z.dcm").write_bytes(good.read_bytes())
    report = deidentify(folder, tmp_path / "out", key=KEY)
    # b.txt, c.dcm, d.dcm, deep/a.dcm, e.dcm, z.dcm
    assert report.outcomes[0] == report.outcomes[1] == "no image"
    assert report.outcomes[2:] == ("unreadable", "written", "unreadable", "copy")


def test_one_uid_with_two_contents_is_said(tmp_path: Path) -> None:
    first = patient()
    second = pydicom.dcmread(save(first, tmp_path / "a.dcm"))
    second.PixelData = bytes(64 * 64)
    report, _ = run(tmp_path, first, second)
    assert report.outcomes == ("written", "changed copy")


def test_links_in_the_target_lead_nowhere(tmp_path: Path) -> None:
    report, _ = run(tmp_path, patient())
    name = report.targets[0].split("/")[0]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / name).symlink_to(elsewhere)
    with pytest.raises(InputError, match="expected plain folders, got a link inside"):
        deidentify(tmp_path / "in", tmp_path / "new", key=KEY)
    assert not any(p.is_file() for p in elsewhere.rglob("*"))
    (tmp_path / "direct").symlink_to(elsewhere)
    with pytest.raises(InputError, match="got a link or a file"):
        deidentify(tmp_path / "in", tmp_path / "direct", key=KEY)


def test_unusable_arguments(tmp_path: Path) -> None:
    save(patient(), tmp_path / "in" / "a.dcm")
    with pytest.raises(ConfigurationError, match="key: expected a secret of at least 16"):
        deidentify(tmp_path / "in", tmp_path / "out", key="short")
    with pytest.raises(ConfigurationError, match="apart from the source"):
        deidentify(tmp_path / "in", tmp_path / "in" / "out")
    with pytest.raises(InputError, match="source: expected a folder with files, or files, got 1"):
        deidentify(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(ConfigurationError, match="burned_in: expected one of"):
        deidentify(tmp_path / "in", tmp_path / "out", burned_in="blur")


def test_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "dicognito.uianonymizer", None)
    with pytest.raises(MissingDependencyError, match=r"asfusion\[deid\]"):
        deidentify(tmp_path, tmp_path / "out")


def test_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be written must not pass as one that was refused."""
    save(patient(), tmp_path / "in" / "a.dcm")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(OSError, match="No space left"):
        deidentify(tmp_path / "in", tmp_path / "out", key=KEY)
