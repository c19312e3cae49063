"""Series of an archive to a folder, again and again until all of it is there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asfusion._checks import in_words
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._progress import progress
from asfusion.exceptions import InputError
from asfusion.imaging._guard import checked_path
from asfusion.io._facts import is_uid
from asfusion.io.archives.arrivals import Archive, Arrivals
from asfusion.io.archives.web import Web
from asfusion.show.page import Page, paragraph
from asfusion.show.page import table as html_table

if TYPE_CHECKING:
    import pandas as pd

_ROUNDS = 3  # how often a series is listed that grows while it is fetched
_COLUMNS = (
    "study", "series", "modality", "n_listed", "n_there", "n_fetched", "n_refused", "path",
)  # fmt: skip
_NO_STUDY = "expected a study that the archive has, got none by that identifier."


@dataclass(frozen=True, eq=False, repr=False)
class FetchReport(Page):
    """What `fetch_series` or `fetch_studies` did. Printed and shown, it holds counts alone.

    Parameters
    ----------
    series : DataFrame
        A row for each series: ``study``, ``series``, ``modality``, ``n_listed`` (instances that
        the archive says it has), ``n_there`` (complete before), ``n_fetched``, ``n_refused``, and
        the folder in ``path``, which `read_series`, `VolumeEncoder` and the stores take.
    refused : dict of str to int
        How many instances or studies are not there, by the reason.
    n_duplicates : int
        Instances that the archive sent more than once.

    Examples
    --------
    >>> import pandas as pd
    >>> from asfusion.io import FetchReport
    >>> FetchReport(pd.DataFrame({"n_listed": [3], "n_there": [1], "n_fetched": [2]}), {}, 0)
    <FetchReport of 1 series, complete: 2 fetched, 1 there already, 0 refused>
    """

    series: pd.DataFrame
    refused: dict[str, int]
    n_duplicates: int

    @property
    def complete(self) -> bool:
        """Whether everything that the archive lists is there."""
        there = self.series["n_there"] + self.series["n_fetched"]
        return not self.refused and bool((there >= self.series["n_listed"]).all())

    def _title(self) -> str:
        return "Fetched series"

    def _summary(self) -> str:
        state = "complete" if self.complete else "incomplete"
        twice = f", {self.n_duplicates} sent twice" if self.n_duplicates else ""
        return (
            f"{len(self.series)} series, {state}: {self.series['n_fetched'].sum()} fetched, "
            f"{self.series['n_there'].sum()} there already, {sum(self.refused.values())} "
            f"refused{twice}"
        )

    def _text(self) -> str:
        lines = [f"<FetchReport of {self._summary()}>"]
        return "\n".join([*lines, *(f"{n:>7} {why}" for why, n in self.refused.items())])

    def _body(self) -> list[str]:
        lines = [[why, str(n)] for why, n in self.refused.items()]
        parts = [paragraph(self._summary())]
        return [*parts, html_table(["Refused because", "Instances"], lines)] if lines else parts


@public
def fetch_series(
    client: Any, study: str, series: str, folder: str | os.PathLike[str]
) -> FetchReport:
    """Fetch one series of an archive, as far as it is not there yet.

    Parameters
    ----------
    client : dicomweb_client.DICOMwebClient or Dimse
        Where to ask, and as whom: DICOMweb (QIDO-RS and WADO-RS), or C-FIND and C-GET.
    study, series : str
        Their instance UIDs.
    folder : str or PathLike
        Where files are written, as ``study/series/instance.dcm``.

    Returns
    -------
    FetchReport
        What was fetched, what was there, and what was refused, by the reason.

    Raises
    ------
    ArchiveError
        If the archive is not reached, refuses the credentials, or answers with something else.
        What came before is kept: call again to go on.
    InputError
        If an identifier cannot be one, or the archive has no such series.
    MissingDependencyError
        Without the extra ``dicomweb`` or ``dimse``.

    Notes
    -----
    A file is kept if it is a whole DICOM file of the study, series and instance that were asked
    for; names are made here, and nothing that an archive sends leads anywhere else. Files appear
    at once or not at all. One that is there, of the right name and complete, is not fetched again;
    a series that has grown is completed. Files are stored with what they say of patients:
    `asfusion.imaging.deidentify` removes that.

    See Also
    --------
    fetch_studies : All series of many studies.

    Examples
    --------
    >>> import asfusion as af
    >>> archive = af.io.Dimse("127.0.0.1", 1, timeout_s=1)
    >>> af.io.fetch_series(archive, "1.2.3", "../../etc", "images")
    Traceback (most recent call last):
        ...
    asfusion.exceptions.InputError: series: expected an identifier such as '1.2.840.10008', ...
    """
    _check_uid(study, "study")
    _check_uid(series, "series")
    archive, target = _archive_of(client), _folder(folder)
    with progress((), "Fetching", unit="file") as bar:
        arrivals = _fetched(archive, Arrivals(target, study, series), bar)
    if not arrivals.n_listed:
        msg = "series: expected one that the archive has in this study, got none by its name."
        raise InputError(msg)
    return _report([arrivals], Counter())


@public
def fetch_studies(
    client: Any,
    table: Any,
    folder: str | os.PathLike[str],
    *,
    study: str = "study",
    series: str | None = None,
    modality: str | None = None,
) -> FetchReport:
    """Fetch all series of many studies, as far as they are not there yet.

    Parameters
    ----------
    client : dicomweb_client.DICOMwebClient or Dimse
        Where to ask, and as whom, as for `fetch_series`.
    table : DataFrame
        Rows of studies, in pandas or polars; those without an identifier are passed over.
    folder : str or PathLike
        Where files are written, as ``study/series/instance.dcm``.
    study : str
        The column with study instance UIDs.
    series : str, optional
        The column with series instance UIDs: only these are fetched. By default all are.
    modality : str, optional
        Only series of this modality, such as ``"MR"``.

    Returns
    -------
    FetchReport
        A row for each series. A study that the archive does not have is counted in ``refused``.

    Raises
    ------
    ArchiveError
        As for `fetch_series`. What came before is kept: call again to go on.
    ColumnError
        If a column is not there.
    InputError
        If a cell is no identifier.

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> rows = pd.DataFrame({"study": ["1.2.3", None]})
    >>> archive = af.io.Dimse("127.0.0.1", 1, timeout_s=1)
    >>> af.io.fetch_studies(archive, rows, "images", study="StudyInstanceUID")
    Traceback (most recent call last):
        ...
    asfusion.exceptions.ColumnError: fetch_studies: expected the column 'StudyInstanceUID' in X, ...
    """
    asked = _asked(table, study, series)
    archive, target = _archive_of(client), _folder(folder)
    done: list[Arrivals] = []
    refused: Counter[str] = Counter()
    with progress((), "Fetching", unit="file") as bar:
        for uid, only in asked.items():
            listed = [one for one in archive.series_of(uid) if not only or one.uid in only]
            refused[_NO_STUDY] += not listed
            for one in listed:
                if modality is None or one.modality == modality:
                    arrivals = Arrivals(target, uid, one.uid)
                    done.append(_fetched(archive, arrivals, bar))
    return _report(done, +refused)


def _fetched(archive: Archive, arrivals: Arrivals, bar: Any) -> Arrivals:
    """Fetch what is missing of a series, and what comes to it in the meantime."""
    for _ in range(_ROUNDS):
        missing = arrivals.missing(archive.instances_of(arrivals.study, arrivals.series))
        if not missing:
            break
        arrivals.on_arrival = bar.update
        archive.retrieve(missing, arrivals)
    return arrivals


def _archive_of(client: Any) -> Archive:
    own: Archive = client._archive() if hasattr(client, "_archive") else Web(client)
    return own


def _report(done: list[Arrivals], refused: Counter[str]) -> FetchReport:
    import pandas as pd

    rows = [
        (one.study, one.series, one.modality, one.n_listed, len(one.there), len(one.fetched),
         sum(one.refused.values()), str(one.path))
        for one in done
    ]  # fmt: skip
    for one in done:
        refused += one.refused
    n_twice = sum(one.n_duplicates for one in done)
    return FetchReport(pd.DataFrame(rows, columns=list(_COLUMNS)), dict(refused), n_twice)


def _asked(table: Any, study: str, series: str | None) -> dict[str, set[str]]:
    """Return the series that are asked for, by their study; none stands for all."""
    frame = Frame.read(table)
    columns = [study] if series is None else [study, series]
    frame.check_columns(columns, "fetch_studies")
    asked: dict[str, set[str]] = {}
    for row, uids in _rows(frame, columns):
        for name, uid in zip(columns, uids, strict=True):
            if not is_uid(uid):
                msg = (
                    f"Column {name!r}, row {row}: expected an identifier such as "
                    "'1.2.840.10008', got another text. Under a key, identifiers are hashes."
                )
                raise InputError(msg)
        asked.setdefault(uids[0], set()).update(uids[1:])
    return asked


def _rows(frame: Frame, columns: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield position and identifiers of the rows that have them."""
    cells = [frame.strings(name) for name in columns]
    for row, *uids in zip(frame.origin.tolist(), *cells, strict=True):
        if all(uid is not None for uid in uids):
            yield row, [uid.strip() for uid in uids]


def _check_uid(uid: object, name: str) -> None:
    if not is_uid(uid):
        msg = f"{name}: expected an identifier such as '1.2.840.10008', got {_other(uid)}."
        raise InputError(msg)


def _other(uid: object) -> str:
    return "another text" if isinstance(uid, str) else in_words(uid)


def _folder(folder: object) -> Path:
    target = checked_path("folder: ", folder)  # type: ignore[arg-type]
    if target.exists() and not target.is_dir():
        raise InputError("folder: expected a folder, got a file by that name.")
    return target
