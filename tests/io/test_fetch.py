"""Series of an archive to a folder: from a real one on this machine, and from hostile ones."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pydicom
import pytest

import asfusion as af
from asfusion.exceptions import (
    ArchiveError,
    ColumnError,
    ConfigurationError,
    InputError,
    MissingDependencyError,
)
from asfusion.imaging import quality, read_series
from asfusion.io import Dimse, fetch_series, fetch_studies
from tests.imaging.files import SECRET
from tests.imaging.slices import one_slice, voxels
from tests.io import orthanc
from tests.io.test_index import content, in_study

web = pytest.importorskip("dicomweb_client", reason="dicomweb-client is an extra: dicomweb.")
net = pytest.importorskip("pynetdicom", reason="pynetdicom is an extra: dimse.")
requests = pytest.importorskip("requests")
from urllib3.exceptions import ProtocolError

VALUES = voxels(4, 6, 8)
STUDY, SERIES = "1.2.1", "1.2.1.1"
HERE = "http://127.0.0.1:9/dicom-web"


def slices(study: int = 1, series: int = 1, n: int = 4) -> list[pydicom.Dataset]:
    """Return the slices of a series, whose instances are numbered."""
    made = []
    for level in range(n):
        one = one_slice(VALUES[level], 4.0 * level, **in_study(study, series))
        one.SOPInstanceUID = f"1.2.{study}.{series}.{level + 1}"
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
        one.InstanceNumber = level + 1
        made.append(one)
    return made


def files_below(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


# -- a real archive --------------------------------------------------------------------------


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes and threads of this machine talk, and nobody else."""
    connect = socket.socket.connect

    def here_only(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] != "127.0.0.1":
            return pytest.fail("A test tried to open a network connection.")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", here_only)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[orthanc.Orthanc]:
    if reason := orthanc.absent():
        pytest.skip(reason)
    with orthanc.started(tmp_path_factory.mktemp("orthanc")) as ports:
        yield ports


def client_of(ports: orthanc.Orthanc, user: bool = True) -> Any:
    session = requests.Session()
    session.trust_env = False
    if user:
        session.auth = (orthanc.USER, orthanc.PASSWORD)
    return web.DICOMwebClient(ports.url, session=session)


def dimse_of(ports: orthanc.Orthanc) -> Dimse:
    return Dimse("127.0.0.1", ports.dicom, ae_title="ORTHANC")


def send(ports: orthanc.Orthanc, datasets: list[pydicom.Dataset]) -> None:
    """Send files by C-STORE."""
    entity = net.AE()
    entity.add_requested_context(datasets[0].SOPClassUID, datasets[0].file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", ports.dicom, ae_title="ORTHANC")
    for dataset in datasets:
        assert association.send_c_store(dataset).Status == 0
    association.release()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("cohort")
    return af.datasets.make_axspa_cohort(1, modalities=["mri"], path=folder, missing=0.0)


@pytest.mark.parametrize(("column", "way"), [("mri_stir", "web"), ("mri_t1", "dimse")])
def test_voxels_are_equal_through_the_archive(
    archive: orthanc.Orthanc, cohort: Any, column: str, way: str, tmp_path: Path
) -> None:
    source = Path(cohort.X[column][0])
    datasets = [pydicom.dcmread(file) for file in sorted(source.iterdir())]
    study, series = datasets[0].StudyInstanceUID, datasets[0].SeriesInstanceUID
    client = client_of(archive) if way == "web" else dimse_of(archive)
    if way == "web":
        client.store_instances(datasets)
    else:
        send(archive, datasets)
    report = fetch_series(client, study, series, tmp_path / "images")
    assert report.complete
    assert report.series["n_fetched"].tolist() == [len(datasets)]
    assert report.series["modality"].tolist() == ["MR"]
    fetched, was = read_series(report.series["path"][0]), read_series(source)
    assert np.array_equal(fetched.values, was.values)
    assert fetched.spacing == was.spacing
    first = sorted(Path(report.series["path"][0]).iterdir())[:1]
    assert quality(first).table["file"].tolist() == ["read"]
    for shown in (repr(report), report._repr_html_()):
        assert series not in shown
    # All studies of a table, and what is there stays.
    table = pl.DataFrame({"study": [study, None], "series": [series, series]})
    again = fetch_studies(client, table, tmp_path / "images", series="series", modality="MR")
    assert again.complete
    assert again.series[["n_there", "n_fetched"]].values.tolist() == [[len(datasets), 0]]


@pytest.mark.parametrize(("study", "way"), [(11, "web"), (12, "dimse")])
def test_a_series_that_grows_is_completed_and_a_cut_file_fetched_anew(
    archive: orthanc.Orthanc, study: int, way: str, tmp_path: Path
) -> None:
    datasets = slices(study)
    client = client_of(archive) if way == "web" else dimse_of(archive)
    send(archive, datasets[:2])
    uid = datasets[0].StudyInstanceUID
    assert fetch_studies(client, pd.DataFrame({"study": [uid]}), tmp_path).complete
    file = tmp_path / uid / f"{uid}.1" / f"{uid}.1.1.dcm"
    file.write_bytes(file.read_bytes()[:-30])
    leftover = file.with_name(f".{file.name}.0a1b2c3d.tmp")
    leftover.write_bytes(b"half")
    send(archive, datasets + datasets[:1])  # one of them twice: the archive keeps one
    report = fetch_studies(client, pd.DataFrame({"study": [uid, uid]}), tmp_path)
    assert report.complete
    assert report.series[["n_listed", "n_there", "n_fetched"]].values.tolist() == [[4, 1, 3]]
    assert not leftover.exists()
    assert np.array_equal(read_series(file.parent).values, VALUES)


def test_what_is_not_there_and_who_is_not_let_in(
    archive: orthanc.Orthanc, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for client in (client_of(archive), dimse_of(archive)):
        with pytest.raises(InputError, match="series: expected one that the archive has"):
            fetch_series(client, "1.2.99", "1.2.99.1", tmp_path)
        report = fetch_studies(client, pd.DataFrame({"study": ["1.2.99"]}), tmp_path)
        assert not report.complete
        assert list(report.refused.values()) == [1]
        assert "expected a study that the archive has" in repr(report)
    with pytest.raises(ArchiveError, match="credentials that it accepts, got status 401"):
        fetch_series(client_of(archive, user=False), STUDY, SERIES, tmp_path)
    wrong = web.DICOMwebClient(archive.url.replace("//", "//reader:hunter2@"))
    with pytest.raises(ArchiveError, match="status 401") as caught:
        fetch_series(wrong, STUDY, SERIES, tmp_path)
    assert "hunter2" not in str(caught.value)
    assert orthanc.PASSWORD not in caplog.text
    assert "hunter2" not in caplog.text
    assert files_below(tmp_path) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of pynetdicom
def test_nobody_listens(tmp_path: Path) -> None:
    for client in (web.DICOMwebClient(HERE), Dimse("127.0.0.1", 9, timeout_s=2)):
        with pytest.raises(ArchiveError, match="the archive: expected an answer, got none"):
            fetch_series(client, STUDY, SERIES, tmp_path)


# -- hostile archives over HTTP --------------------------------------------------------------


class Stub(requests.adapters.BaseAdapter):
    """Answers as a test says, by the end of the path; what it is not told, it does not have."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[str] = []

    def send(self, request: Any, **_: Any) -> Any:
        from urllib3 import HTTPResponse

        path = request.url.partition("?")[0].partition("/dicom-web")[2]
        self.asked.append(path)
        answer = self.answers.get(path, (404, {}, b""))
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(request)
        status, headers, body = answer
        response = requests.Response()
        response.status_code, response.url, response.request = status, request.url, request
        response.headers.update(headers)
        response.raw = HTTPResponse(
            body if hasattr(body, "read") else io.BytesIO(body), headers=headers, status=status,
            preload_content=False,
        )  # fmt: skip
        return response

    def close(self) -> None:
        """Nothing is open."""


LIST = f"/studies/{STUDY}/series/{SERIES}/instances"


def listed(*sops: object, tag: str = "00080018") -> tuple[int, dict[str, str], bytes]:
    body = json.dumps([{tag: {"vr": "UI", "Value": [sop]}} for sop in sops])
    return 200, {"Content-Type": "application/dicom+json"}, body.encode()


def part(data: bytes, kind: str = "application/dicom", end: bytes = b"--") -> Any:
    body = b"--b\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + data + b"\r\n--b" + end
    return 200, {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}, body


DATA = [content(one) for one in slices()]


def hostile(answer: Any, n: int = 1, **others: Any) -> tuple[Any, Stub]:
    """Return a client of an archive that lists `n` slices, and has one answer for each."""
    sops = [f"{SERIES}.{level + 1}" for level in range(n)]
    answers = {LIST: listed(*sops), **{f"{LIST}/{sop}": answer for sop in sops}, **others}
    stub, session = Stub(answers), requests.Session()
    session.mount("http://", stub)
    return web.DICOMwebClient(HERE, session=session), stub


def test_what_is_asked_for_is_kept(tmp_path: Path) -> None:
    client, _ = hostile(part(DATA[0]))
    report = fetch_series(client, STUDY, SERIES, tmp_path)
    assert report.complete
    assert files_below(tmp_path) == [f"{STUDY}/{SERIES}/{SERIES}.1.dcm"]
    assert (tmp_path / STUDY / SERIES / f"{SERIES}.1.dcm").read_bytes() == DATA[0]
    # As it is, without parts around it, is as good.
    client, _ = hostile((200, {"Content-Type": "application/dicom"}, DATA[0]))
    assert fetch_series(client, STUDY, SERIES, tmp_path / "plain").complete


class Endless(io.RawIOBase):
    """A body that never ends."""

    n_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.n_read += len(buffer)
        return len(buffer)


HTML = (200, {"Content-Type": "text/html"}, b"<h1>Sign in</h1>")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (HTML, "expected a DICOM file, got a page"),
        (part(b"<html>" + bytes(300)), "DICOM file with its preamble"),
        (part(DATA[1]), "expected the instance that was asked for"),
        (part(content(slices(2)[0])), "file of the series that was asked for"),
        (part(DATA[0][:-20]), "cut short"),
        (part(DATA[0], end=b""), "several, or an end that is none"),
        (part(DATA[0] + b"\r\n--b\r\n\r\n" + DATA[1]), "several, or an end that is none"),
        ((200, part(b"")[1], DATA[0]), "a connection that broke"),
        ((200, {**part(b"")[1], "Content-Length": "9999"}, DATA[0]), "a connection that broke"),
        ((200, {"Content-Type": "multipart/related"}, DATA[0]), "another kind of content"),
        ((200, {**part(b"")[1], "Content-Length": "9" * 15}, b""), "at most .* MiB"),
        ((500, {}, SECRET.encode()), "got status 500"),
        (requests.exceptions.ReadTimeout(SECRET), "a connection that broke"),
        (requests.exceptions.ChunkedEncodingError(SECRET), "a connection that broke"),
        (requests.exceptions.ConnectionError(ProtocolError(SECRET)), "a connection that broke"),
        ((404, {}, b""), "got nothing by that name"),
        (part(bytes(128) + b"DICM" + DATA[0][132:].replace(b"1.2.1.1.1", b"../../../x")), "DICOM"),
    ],
)
def test_what_is_something_else_is_refused(answer: Any, reason: str, tmp_path: Path) -> None:
    client, _ = hostile(answer)
    report = fetch_series(client, STUDY, SERIES, tmp_path / "images")
    assert not report.complete
    assert sum(report.refused.values()) == 1
    assert re.search(reason, next(iter(report.refused)))
    assert SECRET not in repr(report)
    assert files_below(tmp_path) == []


def test_an_answer_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asfusion.io.archives.web.MAX_BYTES", 2**20)
    body = Endless()
    client, _ = hostile((200, part(b"")[1], body))
    report = fetch_series(client, STUDY, SERIES, tmp_path)
    assert "at most" in next(iter(report.refused))
    assert body.n_read < 2**22


def test_a_connection_that_breaks_again_and_again_is_given_up(tmp_path: Path) -> None:
    client, stub = hostile(requests.exceptions.ChunkedEncodingError("x"), n=4)
    with pytest.raises(ArchiveError, match="broke. What came is kept: call again"):
        fetch_series(client, STUDY, SERIES, tmp_path)
    assert len([path for path in stub.asked if "/instances/" in path]) == 3


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ((302, {"Location": "http://elsewhere"}, b""), "redirection .302., which is not followed"),
        (HTML, "expected a list in DICOM JSON"),
        ((200, {"Content-Type": "application/json"}, b"[" * 100_000), "a list in DICOM JSON"),
        ((200, {"Content-Type": "application/json"}, b'{"a": 1}'), "a list in DICOM JSON"),
        ((200, {"Content-Type": "application/json"}, b"[1]"), "a list in DICOM JSON"),
        ((403, {}, b""), "credentials that it accepts, got status 403"),
        ((503, {}, b""), "the archive: expected an answer, got status 503"),
        (requests.exceptions.SSLError(SECRET), "a certificate that this machine trusts"),
        (requests.exceptions.ConnectTimeout(SECRET), "expected an answer, got none"),
        (requests.exceptions.InvalidURL(SECRET), "expected an answer, got none"),
    ],
)
def test_listings_that_are_none(answer: Any, match: str, tmp_path: Path) -> None:
    client, _ = hostile(part(DATA[0]), **{LIST: answer})
    with pytest.raises(ArchiveError, match=match) as caught:
        fetch_series(client, STUDY, SERIES, tmp_path)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_identifiers_that_lead_elsewhere_are_never_asked_for(tmp_path: Path) -> None:
    odd = ["../../x", "1.2/../../y", "1..2", ".", "", "1.2\n", "9" * 80, None, 7, {"a": 1}]
    client, stub = hostile(part(DATA[0]), **{LIST: listed(*odd, f"{SERIES}.1")})
    report = fetch_series(client, STUDY, SERIES, tmp_path / "images")
    assert not report.complete
    assert report.series["n_fetched"].tolist() == [1]
    assert "identifiers of numbers and points" in next(iter(report.refused))
    assert files_below(tmp_path) == [f"images/{STUDY}/{SERIES}/{SERIES}.1.dcm"]
    assert {path for path in stub.asked if "/instances/" in path} == {f"{LIST}/{SERIES}.1"}
    client, stub = hostile(HTML, **{f"/studies/{STUDY}/series": listed("../..", tag="0020000E")})
    assert len(fetch_studies(client, pd.DataFrame({"study": [STUDY]}), tmp_path).series) == 0


def test_a_listing_without_end_is_given_up(tmp_path: Path) -> None:
    numbers = iter(range(10**9))

    def more(_: Any) -> Any:
        return listed(*(f"1.2.{next(numbers)}" for _ in range(1000)))

    client, _ = hostile(HTML, **{LIST: more})
    with pytest.raises(ArchiveError, match="at most 20000 instances"):
        fetch_series(client, STUDY, SERIES, tmp_path)
    # One that knows no pages sends the same again, and is done.
    client, _ = hostile(part(DATA[0]), **{LIST: listed(*[f"{SERIES}.1"] * 1000)})
    assert fetch_series(client, STUDY, SERIES, tmp_path).complete


def test_fewer_than_the_archive_says_is_incomplete(tmp_path: Path) -> None:
    count = {"0020000E": {"Value": [SERIES]}, "00201209": {"Value": [3]}}
    answer = (200, {"Content-Type": "application/dicom+json"}, json.dumps([count]).encode())
    client, _ = hostile(part(DATA[0]), **{f"/studies/{STUDY}/series": answer})
    report = fetch_series(client, STUDY, SERIES, tmp_path)
    assert not report.complete
    assert report.series["n_listed"].tolist() == [3]


# -- hostile archives over DIMSE -------------------------------------------------------------


@pytest.fixture
def scp() -> Iterator[Callable[..., Dimse]]:
    """Start archives in threads, which list one instance and send what a test says."""
    servers = []

    def start(sent: list[pydicom.Dataset], status: int = 0x0000) -> Dimse:
        def find(event: Any) -> Iterator[Any]:
            found = pydicom.Dataset()
            found.SOPInstanceUID, found.SOPClassUID = f"{SERIES}.1", sent[0].SOPClassUID
            found.SeriesInstanceUID, found.QueryRetrieveLevel = SERIES, "IMAGE"
            if status:
                yield status, None
            yield 0xFF00, found

        def get(event: Any) -> Iterator[Any]:
            yield len(sent)
            for one in sent:
                yield 0xFF00, one

        entity = net.AE(ae_title="HOSTILE")
        entity.add_supported_context("1.2.840.10008.5.1.4.1.2.2.1")
        entity.add_supported_context("1.2.840.10008.5.1.4.1.2.2.3")
        entity.add_supported_context(sent[0].SOPClassUID, scu_role=True, scp_role=True)
        handlers = [(net.evt.EVT_C_FIND, find), (net.evt.EVT_C_GET, get)]
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        servers.append(server)
        return Dimse("127.0.0.1", server.server_address[1], timeout_s=20)

    yield start
    for server in servers:
        server.shutdown()


def implicit(dataset: pydicom.Dataset) -> pydicom.Dataset:
    """Return a data set as an archive without another encoding sends it."""
    data = content(dataset, pydicom.uid.ImplicitVRLittleEndian)
    return pydicom.dcmread(io.BytesIO(data))


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (slices()[1:2], "expected the instance that was asked for"),
        (slices(2)[:1], "file of the series that was asked for"),
    ],
)
def test_other_files_by_c_get_are_refused(
    sent: list[pydicom.Dataset], reason: str, scp: Callable[..., Dimse], tmp_path: Path
) -> None:
    report = fetch_series(scp([implicit(one) for one in sent]), STUDY, SERIES, tmp_path)
    assert not report.complete
    assert reason in next(iter(report.refused))
    assert files_below(tmp_path) == []


def test_what_is_sent_twice_or_without_being_asked_for(
    scp: Callable[..., Dimse], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sent = [implicit(one) for one in [slices()[0], slices()[0], slices()[1], slices(2)[0]]]
    report = fetch_series(scp(sent), STUDY, SERIES, tmp_path)
    assert report.n_duplicates == 1
    assert report.complete
    assert files_below(tmp_path) == [f"{STUDY}/{SERIES}/{SERIES}.1.dcm"]
    assert "1 sent twice" in repr(report)
    ours = [one for one in caplog.records if one.threadName == "MainThread"]
    assert not [one for one in ours if STUDY in one.getMessage()]


def test_more_than_was_agreed_on_ends_the_connection(
    scp: Callable[..., Dimse], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asfusion.io.archives.dimse.MAX_BYTES", -(2**17) + 800)
    with pytest.raises(ArchiveError, match="the archive: expected an answer"):
        fetch_series(scp([implicit(slices()[0])]), STUDY, SERIES, tmp_path)
    assert files_below(tmp_path) == []


def test_files_without_end_are_cut_off(scp: Callable[..., Dimse], tmp_path: Path) -> None:
    sent = [implicit(slices()[0])] * 60
    with pytest.raises(ArchiveError, match="several times as many"):
        fetch_series(scp(sent), STUDY, SERIES, tmp_path)
    assert files_below(tmp_path) == [f"{STUDY}/{SERIES}/{SERIES}.1.dcm"]


def test_a_list_that_fails(scp: Callable[..., Dimse], tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="expected a list, got status 0xA700"):
        fetch_series(scp(slices(), 0xA700), STUDY, SERIES, tmp_path)


def test_a_disc_that_is_full_is_told(
    scp: Callable[..., Dimse], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asfusion.io.archives.arrivals.write_file", full)
    with pytest.raises(af.exceptions.FileError, match="No space left"):
        fetch_series(scp([implicit(slices()[0])]), STUDY, SERIES, tmp_path)
    client, _ = hostile(part(DATA[0]))
    with pytest.raises(af.exceptions.FileError, match="No space left"):
        fetch_series(client, STUDY, SERIES, tmp_path)


# -- what is asked wrongly -------------------------------------------------------------------


@pytest.mark.parametrize("uid", ["../x", "1.2.", "", "1.2/3", "1..2", 5, "1." + "2" * 64])
def test_identifiers_that_are_none(uid: Any, tmp_path: Path) -> None:
    client, stub = hostile(HTML)
    for pair, name in (((uid, SERIES), "study"), ((STUDY, uid), "series")):
        with pytest.raises(InputError, match=f"{name}: expected an identifier such as"):
            fetch_series(client, *pair, tmp_path)
    if uid:
        table = pd.DataFrame({"study": [STUDY, uid]})
        with pytest.raises(InputError, match="row 1: expected an identifier such as"):
            fetch_studies(client, table, tmp_path)
    assert stub.asked == []


def test_other_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="client: expected a dicomweb_client"):
        fetch_series("http://user:word@archive", STUDY, SERIES, tmp_path)
    client, _ = hostile(HTML)
    with pytest.raises(ColumnError, match="expected the column 'uid'"):
        fetch_studies(client, pd.DataFrame({"study": [STUDY]}), tmp_path, study="uid")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="folder: expected a folder, got a file"):
        fetch_series(client, STUDY, SERIES, tmp_path / "file")
    with pytest.raises(ConfigurationError, match="host: expected the name"):
        Dimse("http://user:word@archive", 104)
    with pytest.raises(ConfigurationError, match="port: expected"):
        Dimse("archive", 0)
    with pytest.raises(ConfigurationError, match="ae_title: expected 1 to 16"):
        Dimse("archive", 104, ae_title="x" * 17)
    monkeypatch.setitem(__import__("sys").modules, "pynetdicom", None)
    with pytest.raises(MissingDependencyError, match=r"asfusion\[dimse\]"):
        fetch_series(Dimse("127.0.0.1", 9), STUDY, SERIES, tmp_path)
