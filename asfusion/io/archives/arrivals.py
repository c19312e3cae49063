"""What comes from an archive becomes files, if it is what was asked for, and all of it."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from asfusion._files import clear_leftovers, temporary_of, write_file
from asfusion.exceptions import DicomReadError
from asfusion.imaging._limits import MAX_BYTES
from asfusion.io._facts import Facts, check_whole, is_uid, read_facts

MOST_FILES = 20_000  # of a series: as many as `read_series` takes

TOO_LARGE = f"expected a file of at most {MAX_BYTES // 2**20} MiB, got a larger one."
NOTHING = "expected what was listed, got nothing by that name."
_NO_UID = "expected identifiers of numbers and points, got another one."
_ANOTHER_SERIES = "expected a file of the series that was asked for, got one of another."
_ANOTHER_FILE = "expected the instance that was asked for, got another one."
_NO_FILE = "expected a DICOM file with its preamble, got something else."
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True)
class SeriesListed:
    """A series as an archive lists it."""

    uid: str
    modality: str | None = None
    n_instances: int | None = None


@dataclass(frozen=True)
class Listing:
    """Instances of a series: of which class each is, and what is said of the series itself."""

    classes: dict[str, str]
    series: SeriesListed
    n_odd: int = 0  # entries that are no identifiers


class Archive(Protocol):
    """Where series come from, whatever the protocol."""

    def series_of(self, study: str) -> list[SeriesListed]:
        """Return the series of a study; none where there is no such study."""

    def instances_of(self, study: str, series: str) -> Listing:
        """Return the instances of a series; none where there is no such series."""

    def retrieve(self, classes: dict[str, str], arrivals: Arrivals) -> None:
        """Hand over instances, by their identifiers, as they come."""


@dataclass
class Arrivals:
    """The folder of one series, and what became of what came.

    Parameters
    ----------
    folder : Path
        Where folders of studies are made. A file is named by its study, series and instance, all
        of which are checked to be numbers with points between them.
    study, series : str
        What was asked for.
    """

    folder: Path
    study: str
    series: str
    modality: str | None = None
    n_listed: int = 0
    on_arrival: Callable[[], object] = lambda: None
    there: set[str] = field(default_factory=set)
    fetched: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    lost: set[str] = field(default_factory=set)
    n_duplicates: int = 0
    wanted: set[str] = field(default_factory=set)

    @property
    def path(self) -> Path:
        """Return the folder of the series."""
        return self.folder / self.study / self.series

    def missing(self, listing: Listing) -> dict[str, str]:
        """Return those of a listing that neither are there nor were asked for before."""
        self.n_listed = max(len(listing.classes), listing.series.n_instances or 0)
        self.modality = listing.series.modality
        known = self.there | self.fetched | self.lost
        new = {sop: kind for sop, kind in listing.classes.items() if sop not in known}
        if listing.n_odd:
            self.refused[_NO_UID] = listing.n_odd
        self._clear()
        complete = {sop for sop in new if self._is_there(sop)}
        self.there |= complete
        return {sop: kind for sop, kind in new.items() if sop not in complete}

    def take(self, asked: str | None, content: bytes) -> bool:
        """Keep what came, if it is what was asked for; return whether it is.

        What is not, is noted where one was asked for: of several it is asked for again, alone.

        Parameters
        ----------
        asked : str or None
            The instance that was asked for; None where several were.
        content : bytes
            What came: all of a DICOM file.
        """
        try:
            sop = self._checked(asked, content)
        except DicomReadError as error:
            if asked is not None:
                self.refuse(asked, str(error))
            return False
        if sop in self.fetched:
            self.n_duplicates += 1
            return True
        self.path.mkdir(parents=True, exist_ok=True)
        write_file(self._file(sop), content)
        self.fetched.add(sop)
        self.on_arrival()
        return True

    def refuse(self, asked: str, reason: str) -> None:
        """Note that something did not come, or that something else did."""
        self.refused[reason] += 1
        self.lost.add(asked)

    def _checked(self, asked: str | None, content: bytes) -> str:
        if content[128:132] != b"DICM":
            raise DicomReadError(_NO_FILE)
        if len(content) > MAX_BYTES:
            raise DicomReadError(TOO_LARGE)
        facts = read_facts(io.BytesIO(content), len(content))
        check_whole(io.BytesIO(content), len(content))
        sop: str | None = facts["sop"]
        if sop is None:
            raise DicomReadError(_NO_UID)
        if not self._is_of_series(facts):
            raise DicomReadError(_ANOTHER_SERIES)
        if sop != asked and (asked is not None or sop not in self.wanted):
            raise DicomReadError(_ANOTHER_FILE)
        return sop

    def _is_of_series(self, facts: Facts) -> bool:
        return bool(facts["study"] == self.study and facts["series"] == self.series)

    def _file(self, sop: str) -> Path:
        if not (is_uid(self.study) and is_uid(self.series) and is_uid(sop)):
            raise DicomReadError(_NO_UID)
        return self.path / f"{sop}.dcm"

    def _clear(self) -> None:
        """Remove what a run that was killed has left half written."""
        for entry in list(self.path.iterdir()) if self.path.is_dir() else []:
            if name := temporary_of(entry.name):
                clear_leftovers(self.path / name)

    def _is_there(self, sop: str) -> bool:
        """Return whether the file is there, is the one of its name, and is complete."""
        try:
            with open(self._file(sop), "rb", buffering=0, opener=_open) as file:
                size = os.fstat(file.fileno()).st_size
                facts = read_facts(file, size)
                file.seek(0)
                check_whole(file, size)
        except (OSError, DicomReadError):
            return False
        return facts["sop"] == sop and self._is_of_series(facts)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_FOLLOW)


def listing_of(pairs: Sequence[tuple[object, object]], series: SeriesListed | None) -> Listing:
    """Return instances of a listing that can be asked for; what is no identifier is refused."""
    classes = {str(sop): str(kind) for sop, kind in pairs if is_uid(sop)}
    n_odd = sum(not is_uid(sop) for sop, _ in pairs)
    return Listing(classes, series or SeriesListed(""), n_odd)
