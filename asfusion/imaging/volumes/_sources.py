"""Where slices come from: a file, a folder of them, or a DICOMDIR."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from asfusion.exceptions import DicomReadError, ImageReadError
from asfusion.imaging._guard import first_bytes
from asfusion.imaging._limits import MAX_BYTES, MAX_FRAMES
from asfusion.imaging.dicom.declared import NO_PIXELS
from asfusion.imaging.dicom.encoding import looks_like_dicom
from asfusion.imaging.dicom.file import directory_of, header_of
from asfusion.imaging.dicom.header import Header
from asfusion.imaging.volumes._nifti import is_nifti
from asfusion.imaging.volumes._slices import Slice, slices_of

_MOST_FILES = 20_000


def find_slices(path: Path) -> tuple[list[Slice], list[str], int]:
    """Return slices, notes on what was left out, and how many files a DICOMDIR misses.

    Parameters
    ----------
    path : Path
        A folder, a DICOMDIR or a DICOM file.
    """
    if path.is_dir():
        return *_from_files(_walk(path)), 0
    if not looks_like_dicom(first_bytes(path)):
        msg = (
            "expected a folder of DICOM slices, a DICOM file or a NIfTI file, got another kind. "
            "`read_image` reads a single picture."
        )
        raise ImageReadError(msg)
    header = header_of(path)
    if header.pixels is not None:
        return _frames_of(path, header), [], 0
    parts = directory_of(path)
    if not parts:
        raise DicomReadError(NO_PIXELS)
    files = referenced(path.parent, parts)
    return *_from_files(files), len(parts) - len(files)


def members(path: Path) -> list[Path]:
    """Return the files that a series would be read from, in the order of `find_slices`.

    Parameters
    ----------
    path : Path
        A folder, or any file; a DICOMDIR is followed by the files that it names.
    """
    if path.is_dir():
        return _walk(path)
    if is_nifti(path):
        return [path]
    if looks_like_dicom(first_bytes(path)) and header_of(path).pixels is None:
        return [path, *referenced(path.parent, directory_of(path))]
    return [path]


def is_read(status: os.stat_result) -> bool:
    """Return whether a file of a folder is one whose bytes are looked at."""
    return stat.S_ISREG(status.st_mode) and 0 < status.st_size <= MAX_BYTES


def _frames_of(path: Path, header: Header) -> list[Slice]:
    if header.n_frames > MAX_FRAMES:
        msg = f"expected at most {MAX_FRAMES} frames, got {header.n_frames}."
        raise DicomReadError(msg)
    return slices_of(path, header)


def _walk(folder: Path) -> list[Path]:
    files: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        files += [Path(root, name) for name in sorted(names)]
        if len(files) > _MOST_FILES:
            msg = f"expected at most {_MOST_FILES} files, got more. Give the folder of one series."
            raise DicomReadError(msg)
    return files


def referenced(folder: Path, parts: list[list[str]]) -> list[Path]:
    """Return the files that a DICOMDIR names; none of them may lie outside its folder."""
    root, files = folder.resolve(), []
    for names in parts:
        choices = [root.joinpath(*names), root.joinpath(*(name.lower() for name in names))]
        if any(not choice.resolve().is_relative_to(root) for choice in choices):
            msg = "expected a DICOMDIR that names files beside it, got one that leads elsewhere."
            raise DicomReadError(msg)
        files += [choice for choice in choices if choice.is_file()][:1]
    return files


def _from_files(files: Iterable[Path]) -> tuple[list[Slice], list[str]]:
    slices: list[Slice] = []
    n_files = n_others = n_empty = n_damaged = 0
    for path in files:
        n_files += 1
        try:
            start = first_bytes(path)
        except ImageReadError:
            n_others += 1
            continue
        if not looks_like_dicom(start):
            n_others += 1
            continue
        try:
            header = header_of(path)
        except Exception:
            n_damaged += 1
            continue
        if header.pixels is None:
            n_empty += 1
        else:
            slices += _frames_of(path, header)
    if n_damaged:
        msg = (
            f"expected readable DICOM files, got {n_damaged} of {n_files} that are damaged, cut "
            "short or images without pixels. Copy them again, or move them out of the folder."
        )
        raise DicomReadError(msg)
    if not slices:
        msg = (
            f"expected a folder of DICOM slices, got {n_files} files: {n_empty} DICOM files "
            f"without pixels and {n_others} that are no DICOM files."
        )
        raise DicomReadError(msg)
    notes = []
    if n_others:
        notes.append(f"{n_others} files that are no DICOM files were left out")
    if n_empty:
        notes.append(f"{n_empty} DICOM files without pixels were left out")
    return slices, notes
