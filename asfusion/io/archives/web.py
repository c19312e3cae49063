"""Series over DICOMweb: QIDO-RS to list, WADO-RS to fetch, with a bound on every answer.

The client of `dicomweb-client` knows the address and the credentials. It would take whatever
comes into memory, and parse it: so its session is asked here, and what comes is counted.
"""

from __future__ import annotations

import json
from email.message import Message
from typing import Any

from asfusion.exceptions import ArchiveError, ConfigurationError
from asfusion.imaging._limits import MAX_BYTES
from asfusion.io._facts import is_uid
from asfusion.io.archives.arrivals import (
    MOST_FILES,
    NOTHING,
    TOO_LARGE,
    Arrivals,
    Listing,
    SeriesListed,
    listing_of,
)

_PAGE = 1000
_MOST_JSON = 2**26  # bytes of one page of a listing
_CHUNK = 2**18
_SPARE = 2**16  # what stands around a file in an answer
_SERIES, _SOP, _CLASS = "0020000E", "00080018", "00080016"
_MODALITY, _COUNT = "00080060", "00201209"
_FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_IN_A_ROW = 3  # connections that break before the archive is given up

_NO_LIST = "the archive: expected a list in DICOM JSON, got something else."
_BROKEN = "expected an answer to its end, got a connection that broke."
_ENDLESS = f"the archive: expected at most {MOST_FILES} instances of a series, got more."


class _Unusable(Exception):
    """An answer that is none to this question; its words are ours."""


class Web:
    """An archive that is asked over DICOMweb.

    Parameters
    ----------
    client : dicomweb_client.DICOMwebClient
        Where to ask, and as whom.
    """

    def __init__(self, client: Any) -> None:
        session: Any = getattr(client, "_session", None)
        address = getattr(client, "base_url", None)
        if not callable(getattr(session, "get", None)) or not isinstance(address, str):
            msg = (
                "client: expected a dicomweb_client.DICOMwebClient or an asfusion.io.Dimse, got "
                f"{type(client).__name__}."
            )
            raise ConfigurationError(msg)
        self._session = session
        self._timeout = getattr(client, "_timeout", 20)
        prefixes = (getattr(client, f"{name}_url_prefix", None) for name in ("qido", "wado"))
        root = address.rstrip("/")
        self._qido, self._wado = (f"{root}/{p.strip('/')}" if p else root for p in prefixes)

    def series_of(self, study: str) -> list[SeriesListed]:
        """Return the series of a study; none where there is no such study."""
        found = self._listed(f"/studies/{study}/series", _SERIES, {"includefield": _COUNT})
        return [
            SeriesListed(_value(one, _SERIES), _value(one, _MODALITY), _count(one))
            for one in found
            if is_uid(_value(one, _SERIES))
        ]

    def instances_of(self, study: str, series: str) -> Listing:
        """Return the instances of a series; none where there is no such series."""
        there = [one for one in self.series_of(study) if one.uid == series]
        found = self._listed(f"/studies/{study}/series/{series}/instances", _SOP, {})
        pairs = [(_value(one, _SOP), _value(one, _CLASS) or "") for one in found]
        return listing_of(pairs, there[0] if there else None)

    def retrieve(self, classes: dict[str, str], arrivals: Arrivals) -> None:
        """Hand over instances, one after the other."""
        path = f"{self._wado}/studies/{arrivals.study}/series/{arrivals.series}/instances"
        n_broken = 0
        for sop in classes:
            try:
                answer = self._get(f"{path}/{sop}", {}, _FILES, MAX_BYTES + _SPARE)
                arrivals.take(sop, _only_part(*answer))
                n_broken = 0
            except _Unusable as problem:
                arrivals.refuse(sop, str(problem))
                n_broken = n_broken + 1 if str(problem) == _BROKEN else 0
            if n_broken == _IN_A_ROW:
                msg = f"the archive: {_BROKEN} What came is kept: call again to go on."
                raise ArchiveError(msg)

    def _listed(self, path: str, tag: str, fields: dict[str, str]) -> list[dict[str, Any]]:
        """Return all entries of a listing, page by page, as long as a page brings new ones."""
        found: dict[str, dict[str, Any]] = {}
        n_seen = 0
        while True:
            page = self._page(path, {**fields, "limit": _PAGE, "offset": n_seen})
            new = {str(_value(one, tag)): one for one in page} if page else {}
            n_seen += len(page)
            if not new.keys() - found.keys():
                return list(found.values())
            found |= new
            if len(found) > MOST_FILES:
                raise ArchiveError(_ENDLESS)
            if len(page) < _PAGE:
                return list(found.values())

    def _page(self, path: str, params: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            content, kind = self._get(
                f"{self._qido}{path}", params, "application/dicom+json", _MOST_JSON
            )
        except _Unusable as problem:
            if str(problem) == NOTHING:
                return []
            raise ArchiveError(f"the archive: {problem}") from None
        if not content:
            return []
        try:
            page = json.loads(content) if "json" in kind else None
        except (ValueError, RecursionError):
            page = None
        if not isinstance(page, list) or not all(isinstance(one, dict) for one in page):
            raise ArchiveError(_NO_LIST)
        return page

    def _get(self, url: str, params: dict[str, Any], accept: str, most: int) -> tuple[bytes, str]:
        """Return an answer and its kind, if it is one and no larger than `most` bytes."""
        import requests
        from urllib3.exceptions import ProtocolError

        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        try:
            with self._session.get(
                url, params=params, headers=headers, stream=True, timeout=self._timeout,
                allow_redirects=False,
            ) as answer:  # fmt: skip
                _check_status(answer.status_code)
                return _content(answer, most), str(answer.headers.get("Content-Type", ""))
        except ArchiveError:  # an OSError, too
            raise
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ReadTimeout):
            raise _Unusable(_BROKEN) from None
        except requests.exceptions.SSLError:
            msg = (
                "the archive: expected a certificate that this machine trusts, got another. Name "
                "its authority in the session of the client (verify=)."
            )
            raise ArchiveError(msg) from None
        except requests.exceptions.ConnectionError as error:
            if error.args and isinstance(error.args[0], ProtocolError):  # it had been there
                raise _Unusable(_BROKEN) from None
        except (requests.exceptions.RequestException, OSError, ValueError):
            pass
        msg = (
            "the archive: expected an answer, got none. Check its address, and whether this "
            "machine may reach it."
        )
        raise ArchiveError(msg)


def _check_status(status: int) -> None:
    if status in (401, 403, 407):
        msg = (
            f"the archive: expected credentials that it accepts, got status {status}. Give the "
            "client a session with them: dicomweb_client.session_utils."
        )
        raise ArchiveError(msg)
    if 300 <= status < 400:
        msg = (
            f"the archive: expected an answer, got a redirection ({status}), which is not "
            "followed. Give the client the address that it leads to."
        )
        raise ArchiveError(msg)
    if status in (204, 404, 410):
        raise _Unusable(NOTHING)
    if status != 200:
        raise _Unusable(f"expected an answer, got status {status}.")


def _content(answer: Any, most: int) -> bytes:
    """Return what is sent, as long as it is within its bound."""
    length = str(answer.headers.get("Content-Length", ""))
    if length.isdigit() and int(length) > most:
        raise _Unusable(TOO_LARGE)
    content = bytearray()
    for chunk in answer.iter_content(_CHUNK):
        content += chunk
        if len(content) > most:
            raise _Unusable(TOO_LARGE)
    return bytes(content)


def _only_part(content: bytes, kind: str) -> bytes:
    """Return the one file in an answer."""
    head = Message()
    head["Content-Type"] = kind
    if head.get_content_type() == "application/dicom":
        return content
    try:
        boundary = head.get_boundary()
    except (ValueError, LookupError):  # of a character set that nobody knows
        boundary = None
    if head.get_content_maintype() != "multipart" or not boundary:
        raise _Unusable(f"expected a DICOM file, got {_kind_in_words(head)}.")
    mark = b"--" + boundary.encode("utf-8", "replace")
    begin = content.find(mark)
    start = content.find(b"\r\n\r\n", begin)
    end = content.find(b"\r\n" + mark, start + 4)
    if begin < 0 or start < 0 or end < 0:
        raise _Unusable(_BROKEN)
    if not content[end + 2 + len(mark) :].startswith(b"--"):
        raise _Unusable("expected one file in an answer, got several, or an end that is none.")
    return content[start + 4 : end]


def _kind_in_words(head: Message) -> str:
    known = {"text/html": "a page (HTML)", "application/json": "JSON", "text/plain": "text"}
    return known.get(head.get_content_type(), "another kind of content")


def _value(entry: dict[str, Any], tag: str) -> Any:
    """Return the first value of an entry in DICOM JSON, if it is a text or a number."""
    cell = entry.get(tag)
    values = cell.get("Value") if isinstance(cell, dict) else None
    value = values[0] if isinstance(values, list) and values else None
    return value if isinstance(value, str | int) else None


def _count(entry: dict[str, Any]) -> int | None:
    count = _value(entry, _COUNT)
    return int(count) if str(count).isdigit() and len(str(count)) < 10 else None
