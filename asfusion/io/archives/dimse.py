"""Series over DIMSE: C-FIND to list, C-GET to fetch, with a bound on what is sent."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from asfusion._optional import import_optional
from asfusion.exceptions import ArchiveError
from asfusion.imaging._limits import MAX_BYTES
from asfusion.imaging._quiet import quiet_readers
from asfusion.io._facts import is_uid
from asfusion.io.archives.arrivals import (
    MOST_FILES,
    NOTHING,
    Arrivals,
    Listing,
    SeriesListed,
    listing_of,
)

_FIND, _GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"  # of the study root
# What an instance may be sent as: each by itself, so that none is compressed anew.
_SYNTAXES = (
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.81",
)  # fmt: skip
# Films, CT, MR (also enhanced), ultrasound and secondary captures, where no class is told.
_USUAL = (
    "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.7",
)  # fmt: skip
_MOST_CONTEXTS = 127  # of an association, one of which asks
_AT_ONCE = 64  # instances that are asked for together
_PDU = 2**17  # bytes of a piece of a message
_PENDING, _SUCCESS = (0xFF00, 0xFF01), 0x0000
_REFUSED = 0xA900  # data set does not match

_TIMES = 4  # as many files as were asked for, before an archive is cut off
_ENDLESS = "the archive: expected the files that were asked for, got several times as many."
_BROKEN = (
    "the archive: expected an answer to its end, got a connection that broke. What came is kept: "
    "call again to go on."
)


class DimseArchive:
    """An archive that is asked over DIMSE, a connection for each question.

    Parameters
    ----------
    host, port : str, int
        Where it listens.
    titles : (str, str)
        Of the archive, and of this side.
    timeout_s : float
        Seconds without an answer.
    tls : ssl.SSLContext or None
        For TLS.
    """

    def __init__(
        self,
        host: str,
        port: int,
        titles: tuple[str, str],
        timeout_s: float,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._address = host, port
        self._called, self._calling = titles
        self._timeout_s, self._tls = timeout_s, tls

    def series_of(self, study: str) -> list[SeriesListed]:
        """Return the series of a study; none where there is no such study."""
        with self._association([], _Meter(None)) as association:
            return _series_of(association, study)

    def instances_of(self, study: str, series: str) -> Listing:
        """Return the instances of a series; none where there is no such series."""
        keys = {
            "StudyInstanceUID": study,
            "SeriesInstanceUID": series,
            "SOPInstanceUID": "",
            "SOPClassUID": "",
        }
        with self._association([], _Meter(None)) as association:
            there = [one for one in _series_of(association, study) if one.uid == series]
            found = _found(association, "IMAGE", keys)
        pairs = [(_word(one, "SOPInstanceUID"), _word(one, "SOPClassUID") or "") for one in found]
        return listing_of(pairs, there[0] if there else None)

    def retrieve(self, classes: dict[str, str], arrivals: Arrivals) -> None:
        """Hand over instances as they come."""
        arrivals.wanted = set(classes)
        kinds = {kind for kind in classes.values() if is_uid(kind)} or set(_USUAL)
        meter = _Meter(arrivals)
        with self._association(sorted(kinds), meter) as association:
            sops = list(classes)
            for start in range(0, len(sops), _AT_ONCE):
                _get(association, meter, sops[start : start + _AT_ONCE])
            # Not every archive knows a question for several; of one it is known why it is refused.
            for sop in sops:
                if sop not in arrivals.fetched:
                    meter.asked = sop
                    _get(association, meter, [sop])
                if sop not in arrivals.fetched | arrivals.lost:
                    arrivals.refuse(sop, NOTHING)

    @contextmanager
    def _association(self, classes: list[str], meter: _Meter) -> Iterator[Any]:
        """Yield a connection on which questions can be asked, and files come to the meter."""
        net = import_optional("pynetdicom", needed_for="Dimse", extra="dimse")
        entity = net.AE(ae_title=self._calling)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self._timeout_s
        entity.connection_timeout = self._timeout_s
        entity.maximum_pdu_size = _PDU
        entity.add_requested_context(_FIND if meter.arrivals is None else _GET)
        pairs = [(kind, syntax) for kind in classes for syntax in _SYNTAXES][:_MOST_CONTEXTS]
        for kind, syntax in pairs:
            entity.add_requested_context(kind, syntax)
        association = entity.associate(
            *self._address,
            ae_title=self._called,
            ext_neg=[net.build_role(kind, scp_role=True) for kind in {kind for kind, _ in pairs}],
            evt_handlers=[
                (net.evt.EVT_C_STORE, meter.store),
                (net.evt.EVT_CONN_OPEN, meter.watch),
            ],
            tls_args=None if self._tls is None else (self._tls, self._address[0]),
        )
        if not association.is_established:
            raise ArchiveError(_why_not(association))
        try:
            with quiet_readers():  # identifiers that are none are warned of with what they are
                yield association
        finally:
            if association.is_established:
                association.release()


def _series_of(association: Any, study: str) -> list[SeriesListed]:
    keys = {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": "",
        "Modality": "",
        "NumberOfSeriesRelatedInstances": "",
    }
    found = _found(association, "SERIES", keys)
    pairs = [(_word(one, "SeriesInstanceUID") or "", one) for one in found]
    return [
        SeriesListed(uid, _word(one, "Modality"), _number(one)) for uid, one in pairs if is_uid(uid)
    ]


def _found(association: Any, level: str, keys: Mapping[str, str]) -> list[Any]:
    """Return what an archive lists, each as a data set."""
    found: list[Any] = []
    answers = association.send_c_find(_asked(level, keys), _FIND)
    for number, (status, identifier) in enumerate(answers):
        code = _code_of(status)
        if code in _PENDING and identifier is not None:
            found.append(identifier)
        elif code != _SUCCESS and code not in _PENDING:
            msg = f"the archive: expected a list, got status 0x{code:04X}."
            raise ArchiveError(msg)
        if number > MOST_FILES:
            msg = f"the archive: expected at most {MOST_FILES} entries, got more."
            raise ArchiveError(msg)
    return found


class _Meter:
    """Hands over what is stored, and lets nobody send without end."""

    def __init__(self, arrivals: Arrivals | None) -> None:
        self.arrivals = arrivals
        self.asked: str | None = None
        self.n_bytes = self.n_stored = 0
        self.fault: Exception | None = None

    def watch(self, event: Any) -> None:
        """Count what is read from a connection that has been opened."""
        carrier = event.assoc.dul.socket
        read = carrier.recv

        def recv(n: int) -> Any:
            self.n_bytes += n
            if n > 8 * _PDU or self.n_bytes > MAX_BYTES + _PDU or self.fault is not None:
                raise OSError("more than was asked for")  # which ends the connection
            return read(n)

        carrier.recv = recv

    def store(self, event: Any) -> int:
        """Take a file; return the status that the archive is told."""
        self.n_bytes = 0
        self.n_stored += 1
        if self.arrivals is None or self.fault is not None:
            return _REFUSED
        if self.n_stored > _TIMES * len(self.arrivals.wanted) + _TIMES:
            self.fault = ArchiveError(_ENDLESS)
            return _REFUSED
        try:
            kept = self.arrivals.take(self.asked, event.encoded_dataset())
        except Exception as fault:  # pynetdicom would log it, and go on
            self.fault = fault
            return _REFUSED
        return _SUCCESS if kept else _REFUSED


def _get(association: Any, meter: _Meter, sops: list[str]) -> None:
    """Ask for some instances, which go to the meter."""
    arrivals = meter.arrivals
    if arrivals is None or not association.is_established:
        raise ArchiveError(_BROKEN)
    keys = {
        "StudyInstanceUID": arrivals.study,
        "SeriesInstanceUID": arrivals.series,
        "SOPInstanceUID": "\\".join(sops),
    }
    for status, _ in association.send_c_get(_asked("IMAGE", keys), _GET):
        if meter.fault is not None:
            raise meter.fault
        _code_of(status)  # what came is counted by what came


def _asked(level: str, keys: Mapping[str, str]) -> Any:
    from pydicom import Dataset

    question = Dataset()
    question.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(question, keyword, value)
    return question


def _code_of(status: Any) -> int:
    """Return the code of a status; raise where the connection broke instead."""
    code = getattr(status, "Status", None)
    if code is None:
        raise ArchiveError(_BROKEN)
    return int(code)


def _word(dataset: Any, keyword: str) -> str | None:
    """Return one word of an answer."""
    try:
        return str(dataset.get(keyword) or "").strip() or None
    except Exception:  # pydicom converts what it reads when it is asked for
        return None


def _number(dataset: Any) -> int | None:
    count = _word(dataset, "NumberOfSeriesRelatedInstances") or ""
    return int(count) if count.isdigit() and len(count) < 10 else None


def _why_not(association: Any) -> str:
    if association.is_rejected:
        return (
            "the archive: expected to be let in, got a refusal. Check the titles (ae_title, "
            "calling_ae_title) and whether the archive knows this machine."
        )
    return (
        "the archive: expected an answer, got none. Check its address and port, and whether this "
        "machine may reach it."
    )
