"""read_stored_values, and what keeps hostile files from the process that reads them."""

from __future__ import annotations

import csv
import gc
import hashlib
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

import asfusion.imaging.dicom._workers as workers
from asfusion.exceptions import DicomReadError, ImageReadError
from asfusion.imaging import read_image, read_series, read_stored_values
from tests.imaging.files import dicom, gradient
from tests.imaging.slices import one_slice

GREY = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint16)
CANARY = "CANARYQQ"


def compressed(pixels: np.ndarray, syntax: str = RLELossless, **header: Any) -> Dataset:
    """Return an image compressed without loss; later entries lie about it."""
    dataset = dicom(pixels)
    dataset.compress(syntax)
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    return dataset


def wrapped(frames: list[bytes], rows: int, columns: int, **header: Any) -> Dataset:
    """Return an image of eight bits around compressed frames."""
    dataset = dicom(np.zeros((1, 1), np.uint8), **header)
    dataset.Rows, dataset.Columns = rows, columns
    dataset.PixelData = pydicom.encaps.encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    return dataset


def save(path: Path, dataset: Dataset) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def refuse(path: Path, match: str) -> None:
    for read in (read_stored_values, lambda file: read_image(file, size=16)):
        with pytest.raises(DicomReadError, match=match) as caught:
            read(path)
        assert str(path.parent) not in str(caught.value)


# -- values ----------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_values_are_as_stored(tmp_path: Path, syntax: str) -> None:
    path = save(
        tmp_path / "a.dcm",
        dicom(GREY, syntax=syntax, RescaleSlope=3, WindowCenter=9, WindowWidth=9,
              PhotometricInterpretation="MONOCHROME1"),
    )  # fmt: skip
    assert np.array_equal(read_stored_values(path), GREY)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16])
def test_compressed_values(tmp_path: Path, syntax: str, kind: type) -> None:
    values = (GREY // 2).astype(kind) - (40 if kind is np.int16 else 0)
    values = values.astype(kind)
    got = read_stored_values(save(tmp_path / "a.dcm", compressed(values, syntax)))
    assert got.dtype == kind
    assert np.array_equal(got, values)


def test_frames(tmp_path: Path) -> None:
    dataset = dicom(GREY, NumberOfFrames=3)
    dataset.PixelData = b"".join((GREY + i).astype(np.uint16).tobytes() for i in range(3))
    dataset.compress(RLELossless)
    values = read_stored_values(save(tmp_path / "a.dcm", dataset))
    assert np.array_equal(values, [GREY, GREY + 1, GREY + 2])


def test_big_endian(tmp_path: Path) -> None:
    dataset = dicom(GREY, syntax=ExplicitVRBigEndian)
    dataset.PixelData = GREY.byteswap().tobytes()
    dataset["PixelData"].VR = "OW"
    assert np.array_equal(read_stored_values(save(tmp_path / "a.dcm", dataset)), GREY)


def test_real_files_have_the_recorded_values(shared_data: Path) -> None:
    """Every file of the manifest: all pixels as pydicom or else gdcm decodes them, or one error.

    ``dicom_pixels.csv`` holds the digests of what those two, on their own, made of the files.
    Nothing else is refused but what neither of them decodes.
    """
    folder = shared_data / "dicom"
    with (folder / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    with Path(__file__).with_name("dicom_pixels.csv").open() as file:
        recorded = {row["file"]: row["sha256"] for row in csv.DictReader(file)}
    assert recorded.keys() <= {row["file"] for row in rows}
    assert len(recorded) == 152
    for row in rows:
        try:
            values = read_stored_values(folder / row["file"])
        except DicomReadError as error:
            assert row["file"] not in recorded, row["file"]
            assert str(error).startswith("DICOM file: expected ")
            continue
        assert digest(values) == recorded[row["file"]], row["file"]
        if row["shape"]:
            assert str(values.shape) == row["shape"], row["file"]
            assert values.dtype == np.dtype(row["dtype"]).newbyteorder("="), row["file"]


def digest(values: np.ndarray) -> str:
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()[:32]


def test_other_kinds_of_file(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match="expected an existing file"):
        read_stored_values(tmp_path / "a.dcm")
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(DicomReadError, match="expected a DICOM file, got another kind"):
        read_stored_values(tmp_path / "a.txt")


# -- hostile files ---------------------------------------------------------------------


def jpeg2000(side: int, said: int) -> bytes:
    """Return a codestream of zeros that says it is of another size."""
    codecs = pytest.importorskip("imagecodecs")
    code = codecs.jpeg2k_encode(np.zeros((side, side), np.uint8), level=0, codecformat="j2k")
    size = struct.pack(">2L", said, said)
    return bytes(code[:8] + size + code[16:24] + size + code[32:])


def test_codestream_larger_than_the_header(tmp_path: Path) -> None:
    dataset = wrapped([jpeg2000(64, 32_768)], 64, 64, syntax=JPEG2000Lossless)
    refuse(save(tmp_path / "a.dcm", dataset), "of 64 x 64 pixels as the header declares")


def test_jpeg_of_another_size(tmp_path: Path) -> None:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(gradient(40, 60)).save(buffer, "JPEG")
    good = wrapped([buffer.getvalue()], 40, 60, syntax=JPEGBaseline8Bit)
    assert read_stored_values(save(tmp_path / "a.dcm", good)).shape == (40, 60)
    dataset = wrapped([buffer.getvalue()], 40, 61, syntax=JPEGBaseline8Bit)
    refuse(save(tmp_path / "a.dcm", dataset), "got data of an image of another size")
    code = buffer.getvalue()
    at = code.index(b"\xff\xda") + 2 + 2 + 1 + 2
    dataset = wrapped([code[: at + 1] + b"\x10" + code[at + 2 :]], 40, 60, syntax=JPEGBaseline8Bit)
    refuse(save(tmp_path / "a.dcm", dataset), "a sequential image whose scan says otherwise")


def test_large_image_from_few_bytes(tmp_path: Path) -> None:
    dataset = wrapped([jpeg2000(64, 9_900)], 9_900, 9_900, syntax=JPEG2000Lossless)
    refuse(save(tmp_path / "a.dcm", dataset), "made to exhaust memory")


def test_more_frames_than_stored(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", compressed(GREY, NumberOfFrames=7))
    with pytest.raises(DicomReadError, match="expected 7 frames as the header declares, got 1"):
        read_stored_values(path)
    path = save(tmp_path / "a.dcm", compressed(GREY, NumberOfFrames=10**6))
    with pytest.raises(DicomReadError, match="at most 65536 frames and 2048 MiB"):
        read_stored_values(path)
    with pytest.raises(DicomReadError, match="expected at most 65536 frames"):
        read_series(path)


def test_fragments_that_are_no_frames(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", compressed(GREY))
    path.write_bytes(path.read_bytes().replace(b"\xfe\xff\x00\xe0", b"\x01\x02\x03\x04"))
    refuse(path, "got data that are not divided into frames")


def test_impossible_depth(tmp_path: Path) -> None:
    refuse(save(tmp_path / "a.dcm", dicom(GREY, BitsAllocated=11)), "got 1 of 11")
    refuse(save(tmp_path / "a.dcm", dicom(GREY, SamplesPerPixel=9)), "got 9 of 16")


def test_header_of_many_items_stays_out_of_this_process(tmp_path: Path) -> None:
    """Eight bytes an item become half a kilobyte each: a worker parses them, and says no."""
    path = save(tmp_path / "a.dcm", dicom(GREY))
    content = path.read_bytes()
    at = content.index(b"\xe0\x7f\x10\x00")
    items = b"\xfe\xff\x00\xe0\x00\x00\x00\x00" * 70_000
    head = b"\x00\x52\x30\x92SQ\x00\x00" + struct.pack("<L", len(items))
    path.write_bytes(content[:at] + head + items + content[at:])
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(DicomReadError, match="at most 65536 frames"):
        read_stored_values(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20


def test_deflate_without_a_preamble_is_guarded_too(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", dicom(GREY, syntax=DeflatedExplicitVRLittleEndian))
    content = path.read_bytes()[132:]
    path.write_bytes(content)
    assert np.array_equal(read_stored_values(path), GREY)
    start = 12 + int.from_bytes(content[8:12], "little")
    path.write_bytes(content[:start] + zlib.compress(bytes(2**26), 9, wbits=-15))
    refuse(path, "got a deflated DICOM file that holds more")


def test_empty_picture_of_a_small_png(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (9_000, 9_000)).save(tmp_path / "a.png")
    with pytest.raises(ImageReadError, match="a 250th of what its 9000 x 9000 pixels take"):
        read_image(tmp_path / "a.png", size=16)


# -- workers ---------------------------------------------------------------------------


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a pool of its own, which is closed afterwards."""
    own = workers._Pool()
    monkeypatch.setattr(workers, "_pool", own)
    yield own
    own.close()
    gc.collect()  # an unwaited process would warn now


def test_killed_while_it_waits(tmp_path: Path, pool: Any) -> None:
    path = save(tmp_path / "a.dcm", compressed(GREY))
    read_stored_values(path)
    (worker,) = pool.idle
    worker.process.kill()
    worker.process.wait()
    assert np.array_equal(read_stored_values(path), GREY)
    assert pool.n_started == 1


def test_killed_while_it_decodes(tmp_path: Path, pool: Any, monkeypatch: Any) -> None:
    path = save(tmp_path / "a.dcm", compressed(GREY))
    ask = workers._Worker.ask

    def ask_and_kill(self: Any, question: dict[str, Any]) -> None:
        self.process.send_signal(19)  # SIGSTOP: else it may have answered before it dies
        ask(self, question)
        self.process.kill()

    read_stored_values(path)
    with monkeypatch.context() as patch:
        patch.setattr(workers._Worker, "ask", ask_and_kill)
        with pytest.raises(DicomReadError, match="on which the decoder failed"):
            read_stored_values(path)
    assert pool.n_started == 0
    assert np.array_equal(read_stored_values(path), GREY)


def test_late_worker_is_replaced(tmp_path: Path, pool: Any, monkeypatch: Any) -> None:
    path = save(tmp_path / "a.dcm", compressed(GREY))
    read_stored_values(path)
    (worker,) = pool.idle
    worker.process.send_signal(19)  # SIGSTOP: it neither answers nor dies
    monkeypatch.setattr(workers, "_TIME_S", 0.3)
    with pytest.raises(DicomReadError, match="decode within 0 s, got data that take longer"):
        read_stored_values(path)
    assert worker.process.poll() is not None
    monkeypatch.undo()


def test_memory_of_a_worker_is_capped(tmp_path: Path, pool: Any) -> None:
    """A codestream of 16000 components: right sides, and a gigabyte to decode."""
    code = bytearray(jpeg2000(512, 512))
    size = struct.pack(">H", 16_000)
    marker = b"\xff\x51" + struct.pack(">H", 38 + 3 * 16_000)
    components = b"\x07\x01\x01" * 16_000
    code = code[:2] + marker + code[6:40] + size + components + code[45:]
    path = save(tmp_path / "a.dcm", wrapped([bytes(code)], 512, 512, syntax=JPEG2000Lossless))
    with pytest.raises(DicomReadError, match="expected "):
        read_stored_values(path)
    good = save(tmp_path / "b.dcm", compressed(GREY))
    assert np.array_equal(read_stored_values(good), GREY)


def test_worker_says_that_memory_ran_out() -> None:
    from asfusion.imaging.dicom._worker import _fault

    assert _fault(MemoryError()) == {"kind": "memory"}
    assert _fault(KeyError(CANARY)) == {"kind": "other"}
    assert _fault(DicomReadError("expected so")) == {"kind": "ours", "words": "expected so"}


def test_nonsense_from_a_worker_is_no_answer(tmp_path: Path, pool: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(workers, "_BOOT", "import os; os.write(1, b'x' * 4096)")
    path = save(tmp_path / "a.dcm", compressed(GREY))
    with pytest.raises(DicomReadError, match="this process may start another one"):
        read_stored_values(path)
    assert pool.n_started == 0


def test_no_worker_can_start(tmp_path: Path, pool: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    path = save(tmp_path / "a.dcm", compressed(GREY))
    with pytest.raises(DicomReadError, match="this process may start another one"):
        read_stored_values(path)
    plain = save(tmp_path / "b.dcm", dicom(GREY))
    assert np.array_equal(read_stored_values(plain), GREY)


def test_old_workers_are_replaced(tmp_path: Path, pool: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(workers, "_USES", 2)
    path = save(tmp_path / "a.dcm", compressed(GREY))
    read_stored_values(path)
    first = pool.idle[0].process.pid
    read_stored_values(path)
    read_stored_values(path)
    assert pool.idle[0].process.pid != first


def test_threads_share_workers(tmp_path: Path, pool: Any) -> None:
    paths = [save(tmp_path / f"{i}.dcm", compressed(GREY + i)) for i in range(12)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(read_stored_values, paths * 4))
    assert all(np.array_equal(values, GREY + i % 12) for i, values in enumerate(found))
    assert 1 <= pool.n_started <= workers._MOST
    assert len(pool.idle) == pool.n_started


_SCRIPT = """
import os, sys
import numpy as np
from asfusion.imaging import read_stored_values
first = read_stored_values(sys.argv[1])
child = os.fork()
if child == 0:
    same = np.array_equal(read_stored_values(sys.argv[1]), first)
    os._exit(0 if same else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
same = np.array_equal(read_stored_values(sys.argv[1]), first)
print(code, same, sorted(m for m in sys.modules if m in ("torch", "pandas", "sklearn")))
from asfusion.imaging.dicom import _workers
print([w.process.pid for w in _workers._pool.idle][0])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_processes_and_the_end(tmp_path: Path) -> None:
    """A child has workers of its own; at the end of a process its workers end too."""
    path = save(tmp_path / "a.dcm", compressed(GREY))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _SCRIPT, str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    words, pid = done.stdout.splitlines()
    assert words == "0 True []"
    assert done.stderr == ""
    while is_running(int(pid)):  # the timeout of all tests ends this
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    with suppress(FileNotFoundError, ProcessLookupError):
        return "Z (" not in status.read_text()
    return False


def test_workers_are_light(tmp_path: Path, pool: Any) -> None:
    if not Path("/proc/self/maps").exists():
        pytest.skip("no list of what a process has loaded")
    read_stored_values(save(tmp_path / "a.dcm", compressed(GREY)))
    loaded = Path(f"/proc/{pool.idle[0].process.pid}/maps").read_text()
    assert "numpy" in loaded
    assert "torch" not in loaded
    assert "pandas" not in loaded
    assert "RLIMIT" not in loaded


# -- names -----------------------------------------------------------------------------

_TEXT = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI"}


def with_canaries(dataset: Dataset, keep: set[str]) -> bytes:
    """Return a file with a name in every entry of text that is there or that is looked at."""
    import io

    from asfusion.imaging.dicom.header import _WANTED

    true_forms = {}
    for keyword in {*_WANTED, "PatientName", "PatientID", "PatientBirthDate", "StudyDate",
                    "SeriesDescription", "InstitutionName", "StudyTime"} - keep:  # fmt: skip
        tag = pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(keyword))
        vr = pydicom.datadict.dictionary_VR(tag)
        if vr in _TEXT:
            dataset[tag] = pydicom.DataElement(tag, "LO", CANARY)
            code = struct.pack("<HH", tag.group, tag.element)
            true_forms[code + b"LO"] = code + vr.encode()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    content = buffer.getvalue()
    for written, true in true_forms.items():
        assert content.count(written) == 1
        content = content.replace(written, true)
    assert content.count(CANARY.encode()) > 25
    return content


_DAMAGE: dict[str, dict[str, Any]] = {
    "nothing": {}, "short": {}, "syntax": {}, "compressed": {}, "colours": {},
    "frames": {"NumberOfFrames": 9}, "depth": {"BitsAllocated": 12}, "rows": {"Rows": 0},
}  # fmt: skip


@pytest.mark.parametrize("damage", _DAMAGE)
def test_no_name_in_any_message(
    tmp_path: Path, damage: str, capfd: pytest.CaptureFixture[str], caplog: Any
) -> None:
    dataset = compressed(GREY) if damage == "compressed" else one_slice(GREY, 0.0)
    for keyword, value in _DAMAGE[damage].items():
        setattr(dataset, keyword, value)
    keep = {
        "SOPInstanceUID",
        "SOPClassUID",
        *_DAMAGE[damage],
        *(() if damage == "colours" else ("PhotometricInterpretation",)),
    }
    content = with_canaries(dataset, keep)
    if damage == "short":
        content = content[:-500]
    if damage == "syntax":
        syntax = dataset.file_meta.TransferSyntaxUID.encode()
        content = content.replace(syntax, (CANARY * 3)[: len(syntax)].encode())
    folder = tmp_path / CANARY
    folder.mkdir()
    path = folder / f"{CANARY}.dcm"
    path.write_bytes(content)
    capfd.readouterr()
    caplog.clear()
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for read in (read_image, read_stored_values, read_series):
            for target in (path, folder):
                try:
                    said.append(repr(read(target)))
                except ImageReadError as error:
                    said.append(str(error))
    said += [str(warning.message) for warning in caught]
    said += [*capfd.readouterr(), caplog.text]
    assert len(said) >= 9
    assert not [words for words in said if CANARY in words]


# -- any bytes -------------------------------------------------------------------------

_SOURCES: dict[str, bytes] = {}


def source(kind: str) -> bytes:
    """Return the bytes of a file, made once."""
    if not _SOURCES:
        import io

        enhanced_like = one_slice(GREY, 4.0, PatientName=CANARY)
        files = {
            "plain": enhanced_like,
            "implicit": dicom(GREY, syntax=ImplicitVRLittleEndian, PatientName=CANARY),
            "deflated": dicom(GREY, syntax=DeflatedExplicitVRLittleEndian, PatientName=CANARY),
            "runs": compressed(GREY, PatientName=CANARY),
            "wavelets": compressed(GREY, JPEG2000Lossless, PatientName=CANARY),
        }
        for name, dataset in files.items():
            buffer = io.BytesIO()
            pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
            _SOURCES[name] = buffer.getvalue()
    return _SOURCES[kind]


@settings(max_examples=250)
@given(
    kind=st.sampled_from(["plain", "implicit", "deflated", "runs", "wavelets"]),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=6)), max_size=6
    ),
    cut=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_any_bytes_give_pixels_or_the_one_error(
    kind: str, changes: list[tuple[float, bytes]], cut: float
) -> None:
    import tempfile

    content = bytearray(source(kind))
    for place, piece in changes:
        at = 132 + int(place**2 * (len(content) - 133))
        content[at : at + len(piece)] = piece
    del content[max(133, int(cut * len(content))) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        path.write_bytes(content)
        for read in (read_stored_values, read_series, lambda file: read_image(file, size=8)):
            try:
                read(path)
            except DicomReadError as error:
                assert "expected " in str(error)
                assert folder not in str(error)
                assert CANARY not in str(error)


def test_decoding_does_not_block_other_threads(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", compressed(GREY))
    read_stored_values(path)
    watchdogs = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    assert all(dog.finished.is_set() for dog in watchdogs)  # they end with their question
