"""What an index of DICOM files holds, and how its rows become series and studies."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asfusion._checks import check_choice
from asfusion._door import public
from asfusion.imaging.dicom.encoding import looks_like_dicom
from asfusion.io._elements import NOT_DICOM
from asfusion.io._facts import FIELDS
from asfusion.io._index_files import Answer, FileState
from asfusion.show.page import Page, paragraph, table

if TYPE_CHECKING:
    import pandas as pd

By = Literal["file", "series", "study"]

_SHARED = ("patient", "study", "series", "modality", "body_part", "view", "laterality", "rows",
           "columns", "spacing_mm", "date", "photometric", "burned_in", "description")  # fmt: skip
_FILES = ("path", *FIELDS, "n_bytes")
_SERIES = ("path", *_SHARED[:9], "frames", *_SHARED[9:], "n_files", "n_bytes")
_STUDIES = ("patient", "study", "date", "modalities", "n_series", "n_files", "n_bytes")
_TYPES = {
    "rows": "Int64", "columns": "Int64", "frames": "Int64", "n_bytes": "int64", "n_files": "int64",
    "n_series": "int64", "spacing_mm": "float64",
}  # fmt: skip
_SHOWN = 12  # lines of a table in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class DicomIndex(Page):
    """What `index_dicom` found in a folder. Printed and shown, it holds counts and no patient.

    Parameters
    ----------
    files : DataFrame
        A row for each DICOM file: ``path``, ``patient``, ``study``, ``series`` and ``sop`` (their
        identifiers), ``modality``, ``body_part``, ``view``, ``laterality``, ``rows`` and
        ``columns`` (pixels), ``frames``, ``spacing_mm`` (mm between rows: in the patient, else
        at the detector, else on a film that was scanned), ``date`` (of the study, else of the
        series, the scan or the content, as 2021-03-09), ``photometric``, ``burned_in`` (what the
        header says of text in the pixels, ``"YES"`` or ``"NO"``), ``description`` (of the series)
        and ``n_bytes``. What a header does not say is missing; a file that is no image has no
        ``rows``.
    skipped : DataFrame
        ``path`` and ``reason`` of files that are not in `files`.
    duplicates : DataFrame
        ``path`` of each file whose SOP instance is in `files` already, the ``first`` path, and
        whether both are of the ``same_size``.

    Examples
    --------
    >>> import tempfile, asfusion as af
    >>> folder = tempfile.TemporaryDirectory()
    >>> cohort = af.datasets.make_axspa_cohort(2, modalities=["xray"], path=folder.name)
    >>> index = af.io.index_dicom(folder.name)
    >>> len(index), len(index.skipped), len(index.duplicates)  # masks are no DICOM files
    (2, 4, 0)
    >>> folder.cleanup()
    """

    files: pd.DataFrame
    skipped: pd.DataFrame
    duplicates: pd.DataFrame

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.files)

    @public
    def to_frame(self, by: By = "series") -> pd.DataFrame:
        """Return a row for each file, series or study.

        Parameters
        ----------
        by : {"file", "series", "study"}
            What a row is. Those of a series have what its first file says (``"YES"`` for
            ``burned_in`` if one does), ``n_files``, all ``frames``, and in ``path`` what
            `VolumeEncoder`, `ImageEncoder` and `read_series` take: the only file, or the folder
            where that holds this series and no other. Where a folder is shared, or a series lies
            in several, the path is missing: `arrange` gives each a folder of its own.

        Returns
        -------
        DataFrame
            In the order of the files.

        Raises
        ------
        ConfigurationError
            If `by` is none of these.
        """
        check_choice(by, "by", ("file", "series", "study"))
        if by == "file":
            return self.files.copy()
        series = self._series()
        if by == "series":
            return _frame(series, _SERIES)
        return _frame(_studies(series), _STUDIES)

    @public
    def arrange(self, folder: str | os.PathLike[str]) -> pd.DataFrame:
        """Give each series a folder of its own, where its files are linked or copied.

        Parameters
        ----------
        folder : str or PathLike
            Where the folders are made, named by the series. Files are hard links, which take no
            room, or copies where the file system has none. What is there already stays.

        Returns
        -------
        DataFrame
            What ``to_frame(by="series")`` returns, each with a path.

        Raises
        ------
        FileError
            If files cannot be written there.
        """
        target, series = Path(folder), self._series()
        for row in series:
            place = target / str(row["study"]) / str(row["series"])
            place.mkdir(parents=True, exist_ok=True)
            for file in row["files"]:
                _link(Path(file["path"]), place / f"{file['sop']}.dcm")
            row["path"] = str(place)
        return _frame(series, _SERIES)

    def _series(self) -> list[dict[str, Any]]:
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        known = self.files.astype(object).where(self.files.notna(), None)
        columns = [known[name].tolist() for name in _FILES]
        rows = [dict(zip(_FILES, cells, strict=True)) for cells in zip(*columns, strict=True)]
        for row in rows:
            groups.setdefault((row["study"], row["series"]), []).append(row)
        shared = _shared_folders(rows, [*self.duplicates["path"], *_damaged(self.skipped)])
        return [_one_series(files, shared) for files in groups.values()]

    # -- what is shown ---------------------------------------------------------------------

    def _title(self) -> str:
        return "DICOM files"

    def _summary(self) -> str:
        counts = {
            "patients": self.files["patient"].nunique(),
            "studies": self.files["study"].nunique(),
            "series": self.files["series"].nunique(),
            "files": len(self.files),
            "skipped": len(self.skipped),
            "duplicates": len(self.duplicates),
        }
        return ", ".join(f"{count} {what}" for what, count in counts.items())

    def _text(self) -> str:
        return f"<DicomIndex of {self._summary()}>"

    def _body(self) -> list[str]:
        parts = [paragraph(self._summary())]
        kinds = Counter(
            (row["modality"] or "unknown", row["body_part"] or "unknown") for row in self._series()
        )
        lines = [[*kind, str(count)] for kind, count in kinds.most_common(_SHOWN)]
        parts.append(table(["Modality", "Body part", "Series"], lines))
        reasons = Counter(self.skipped["reason"]).most_common(_SHOWN)
        if reasons:
            parts.append(table(["Skipped because", "Files"], [[r, str(n)] for r, n in reasons]))
        return parts


def make_index(
    root: Path, pairs: Sequence[tuple[FileState, Answer]], passed: Iterable[tuple[str, str]]
) -> DicomIndex:
    """Return what files say as an index, paths below `root`."""
    import pandas as pd

    folder = f"{root}{os.sep}"
    rows, skipped = [], [(f"{folder}{name}", why) for name, why in passed]
    duplicates: list[tuple[str, str, bool]] = []
    first: dict[str, tuple[str, int]] = {}
    for (name, size, _), answer in pairs:
        path = f"{folder}{name}"
        if isinstance(answer, str):
            skipped.append((path, answer))
        elif answer["sop"] in first:
            earlier, n_bytes = first[answer["sop"]]
            duplicates.append((path, earlier, n_bytes == size))
        else:
            first[answer["sop"]] = path, size
            rows.append((path, *answer.values(), size))
    return DicomIndex(
        pd.DataFrame(rows, columns=list(_FILES)).astype(_types(_FILES)),
        pd.DataFrame(sorted(skipped), columns=["path", "reason"], dtype=object),
        pd.DataFrame(duplicates, columns=["path", "first", "same_size"]),
    )


def _types(columns: Iterable[str]) -> dict[str, str]:
    return {name: _TYPES.get(name, "object") for name in columns}


def _frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    cells = [[row[name] for name in columns] for row in rows]
    return pd.DataFrame(cells, columns=list(columns)).astype(_types(columns))


def _one_series(files: list[dict[str, Any]], shared: Mapping[str, bool]) -> dict[str, Any]:
    row = {name: _first_known(files, name) for name in _SHARED}
    if any(file["burned_in"] == "YES" for file in files):
        row["burned_in"] = "YES"
    folders = {str(Path(file["path"]).parent) for file in files}
    alone = folders.pop() if len(folders) == 1 else None
    path = alone if alone is not None and not shared[alone] else None
    return row | {
        "path": files[0]["path"] if len(files) == 1 else path,
        "frames": sum(file["frames"] or 0 for file in files) or None,
        "n_files": len(files),
        "n_bytes": sum(file["n_bytes"] for file in files),
        "files": files,
    }


def _first_known(files: list[dict[str, Any]], name: str) -> Any:
    return next((file[name] for file in files if file[name] is not None), None)


def _shared_folders(rows: Iterable[Mapping[str, Any]], spoilt: Iterable[str]) -> dict[str, bool]:
    """Return for each folder with files whether a series read from it would be mixed with others.

    A folder is read with all folders in it, so that what lies deeper counts for those above.
    """
    held: dict[str, set[Any]] = {}
    for row in rows:
        _hold(held, row["path"], (row["study"], row["series"]))
    for path in spoilt:
        _hold(held, path, path)
    return {folder: len(series) > 1 for folder, series in held.items()}


def _hold(held: dict[str, set[Any]], path: str, what: Any) -> None:
    for folder in Path(path).parents:
        known = held.setdefault(str(folder), set())
        if what in known:
            return  # then those above know, too
        known.add(what)


def _damaged(skipped: pd.DataFrame) -> list[str]:
    """Return files that were skipped, and that `read_series` would stumble over."""
    others = skipped["reason"] != NOT_DICOM
    return [path for path in skipped["path"][others] if _starts_as_dicom(path)]


def _starts_as_dicom(path: str) -> bool:
    try:
        if not Path(path).is_file():  # a pipe would never end
            return False
        with Path(path).open("rb") as file:
            return looks_like_dicom(file.read(132))
    except OSError:
        return False


def _studies(series: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in series:
        groups.setdefault(row["study"], []).append(row)
    return [
        {
            "patient": rows[0]["patient"],
            "study": study,
            "date": rows[0]["date"],
            "modalities": ", ".join(sorted({row["modality"] or "unknown" for row in rows})),
            "n_series": len(rows),
            "n_files": sum(row["n_files"] for row in rows),
            "n_bytes": sum(row["n_bytes"] for row in rows),
        }
        for study, rows in groups.items()
    ]


def _link(source: Path, target: Path) -> None:
    """Make a file appear at another place too, unless something is there already."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:  # of another file system, or of one without links
        from asfusion._files import write_file

        write_file(target, source.read_bytes(), durable=False, like=source)
