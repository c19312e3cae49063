"""What lies in a folder of DICOM files: patients, series, sizes and dates, as a table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from asfusion._checks import check_jobs
from asfusion._door import public
from asfusion._processes import side_by_side
from asfusion._progress import progress
from asfusion.exceptions import DicomReadError, ImageReadError
from asfusion.imaging._guard import checked_path, guarded
from asfusion.imaging.dicom.file import directory_of
from asfusion.imaging.volumes._sources import referenced
from asfusion.io._index_files import (
    Answer,
    FileState,
    Found,
    Known,
    answers_of,
    check_key,
    named,
    walk,
)
from asfusion.io.dicom_index import DicomIndex, make_index

_WHO = "Index: "
_AT_ONCE = 128  # files whose lines are written together


@public
def index_dicom(
    path: str | os.PathLike[str],
    *,
    resume: str | os.PathLike[str] | None = None,
    key: str | None = None,
    n_jobs: int | None = None,
) -> DicomIndex:
    """Read what DICOM files say of themselves: whose they are, of which series, of what and when.

    Parameters
    ----------
    path : str or PathLike
        A folder, read with all folders in it, or a ``DICOMDIR``, whose files are read. Links
        are not followed.
    resume : str or PathLike, optional
        A file where what was read is kept, line by line: a run that was ended goes on there, and
        only files that are new or have changed (by path, size and time) are read again.
    key : str, optional
        A secret of at least 16 characters. With it the table has no patient: patients have the
        names that `asfusion.imaging.deidentify` gives them under this key, studies, series and
        instances keyed hashes [1]_, descriptions are left out. Dates and paths stay as they are.
    n_jobs : int, optional
        Processes of joblib; one by default, -1 for all processors. They are started where that
        is worth it.

    Returns
    -------
    DicomIndex
        ``files``, a row each; ``skipped``, with the reason; ``duplicates``; and
        ``to_frame(by="series")``.

    Raises
    ------
    ImageReadError
        If there is no such folder or file.
    DicomReadError
        If a DICOMDIR cannot be read, or names files that lie elsewhere.
    ConfigurationError
        If the key is too short, `n_jobs` is unusable, or `resume` is another file.

    Notes
    -----
    Headers are read as far as they say what the table holds, never pixels. A file that is cut
    short is told by its size where its pixels are not compressed.

    References
    ----------
    .. [1] Krawczyk, Bellare, Canetti, "HMAC: Keyed-Hashing for Message Authentication", RFC 2104.
       https://doi.org/10.17487/RFC2104

    Examples
    --------
    >>> import tempfile, asfusion as af
    >>> folder = tempfile.TemporaryDirectory()
    >>> cohort = af.datasets.make_axspa_cohort(2, modalities=["xray"], path=folder.name)
    >>> index = af.io.index_dicom(folder.name)
    >>> index.to_frame(by="series")[["modality", "body_part", "view"]].to_dict("list")
    {'modality': ['DX', 'CR'], 'body_part': ['PELVIS', 'PELVIS'], 'view': ['AP', 'AP']}
    >>> folder.cleanup()
    """
    secret, workers = check_key(key), check_jobs(n_jobs)
    source = checked_path(_WHO, path)
    log = None if resume is None else checked_path("resume: ", resume)
    with guarded(_WHO, "folder of DICOM files or DICOMDIR", DicomReadError):
        root, found = _found(source, log)
    known = Known(log, secret)
    for files, answers in _read(root, found, known, secret, workers):
        known.add(files, answers)
    known.keep(found.files)
    pairs = [(state, known.answers[state]) for state in found.files]
    return make_index(root, pairs, found.passed)


def _found(source: Path, log: Path | None) -> tuple[Path, Found]:
    """Return the folder that paths start at, and the files below it."""
    if source.is_dir():
        return source, walk(source, None if log is None else source / _below(log, source))
    if not source.is_file():
        msg = "expected a folder of DICOM files or a DICOMDIR, got a path where there is none."
        raise ImageReadError(msg)
    parts = directory_of(source)
    if not parts:
        msg = "expected a folder of DICOM files or a DICOMDIR, got a file that names no others."
        raise DicomReadError(msg)
    root = source.parent.resolve()
    files = referenced(root, parts)
    found = named(root, files)
    absent = len(parts) - len(files)
    found.passed.extend([("", "expected a file that the DICOMDIR names, got none there.")] * absent)
    return root, found


def _below(log: Path, folder: Path) -> str:
    return os.path.relpath(log.resolve(), folder.resolve())


def _read(
    root: Path, found: Found, known: Known, key: str | None, n_jobs: int | None
) -> Iterator[tuple[list[FileState], list[Answer]]]:
    """Yield files that are not known yet, some at once, with what they say."""
    new = [state for state in found.files if state not in known.answers]
    batches = [new[i : i + _AT_ONCE] for i in range(0, len(new), _AT_ONCE)]
    with progress((), "Indexing", total=len(new), unit="file") as bar:
        answers = side_by_side(answers_of, batches, n_jobs, shared=(str(root), key))
        for files, said in zip(batches, answers, strict=True):
            yield files, said
            bar.update(len(files))
