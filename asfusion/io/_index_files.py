"""The files of a folder, what is known of them from before, and what each says of itself."""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from asfusion._files import write_file
from asfusion.exceptions import ConfigurationError, DicomReadError
from asfusion.imaging._guard import reason
from asfusion.imaging._limits import MAX_BYTES
from asfusion.imaging._profile import pseudonym
from asfusion.imaging.dicom.file import header_of
from asfusion.imaging.dicom.spacing import pixel_spacing
from asfusion.io._facts import FIELDS, Facts, is_uid, read_facts

# Path within the folder, size in bytes, and when it was changed, in nanoseconds.
FileState: TypeAlias = "tuple[str, int, int]"
Answer: TypeAlias = "Facts | str"  # what a file says of itself, or why it does not

_FORMAT = "asfusion.dicom-index/1"
_NO_SERIES = (
    "expected a DICOM file of a series, got one that names none. A DICOMDIR is given by itself."
)
_LINK = "expected an ordinary file or folder, got a link: links are not followed."
_ODD = "expected an ordinary file, got a device, pipe or socket."
_SIZE = f"expected a file of 1 byte to {MAX_BYTES // 2**20} MiB, got another size."
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_SHORTEST_KEY = 16  # characters
_HASHED = re.compile(r"U-[A-Z2-7]{16}", re.ASCII)


@dataclass(frozen=True)
class Found:
    """What lies in a folder: files to look at, and what is passed over, with the reason."""

    files: list[FileState]
    passed: list[tuple[str, str]]


def walk(root: Path, ignored: Path | None = None) -> Found:
    """Return all files below a folder; a link leads nowhere, so that none can lead outside."""
    found = Found([], [])
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            found.passed.append((folder, reason(error, "folder")))
            continue
        below = []
        for entry in inside:
            name = f"{folder}{os.sep}{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                below.append(name)
            elif ignored is None or Path(entry.path) != ignored:
                _sort(name, entry, found)
        folders += reversed(below)
    return found


def named(root: Path, files: Iterable[Path]) -> Found:
    """Return files that a DICOMDIR names, all of which lie below its folder."""
    found = Found([], [])
    for file in files:
        _judge(str(file.relative_to(root)), file.lstat(), found)
    return found


def _sort(name: str, entry: os.DirEntry[str], found: Found) -> None:
    try:
        _judge(name, entry.stat(follow_symlinks=False), found)
    except OSError as error:
        found.passed.append((name, reason(error, "file")))


def _judge(name: str, status: os.stat_result, found: Found) -> None:
    if stat.S_ISLNK(status.st_mode):
        found.passed.append((name, _LINK))
    elif not stat.S_ISREG(status.st_mode):
        found.passed.append((name, _ODD))
    elif not 0 < status.st_size <= MAX_BYTES:
        found.passed.append((name, _SIZE))
    else:
        found.files.append((name, status.st_size, status.st_mtime_ns))


# -- what a file says --------------------------------------------------------------------


def answers_of(files: list[FileState], shared: tuple[str, str | None]) -> list[Answer]:
    """Return what each of some files says of itself.

    Parameters
    ----------
    files : list of (path, size, time)
        Files below the folder.
    shared : (folder, key)
        The folder; the secret by which patients and identifiers are replaced, if they are.
    """
    folder, key = shared
    return [_answer(f"{folder}{os.sep}{name}", size, key) for name, size, _ in files]


def _answer(path: str, size: int, key: str | None) -> Answer:
    try:
        with open(path, "rb", buffering=0, opener=_open) as file:
            facts = read_facts(file, size)
        if facts["series"] is None or facts["sop"] is None or facts["study"] is None:
            raise DicomReadError(_NO_SERIES)
    except Exception as error:
        return reason(error, "DICOM file")
    if facts["spacing_mm"] is None and (facts["frames"] or 1) > 1:
        facts["spacing_mm"] = _spacing_of_frames(path)
    return facts if key is None else _keyed(facts, key)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_FOLLOW)


def _spacing_of_frames(path: str) -> float | None:
    """Return the distance of rows that frames share, which enhanced files nest deep."""
    try:
        spacing = pixel_spacing(header_of(Path(path)))
    except Exception:  # it was read as far as it is needed
        return None
    return None if spacing is None else spacing[0]


def check_key(key: object) -> str | None:
    """Return a secret that is long enough, or None for none."""
    if key is None or (isinstance(key, str) and len(key) >= _SHORTEST_KEY):
        return key
    got = f"{len(key)}" if isinstance(key, str) else type(key).__name__
    msg = f"key: expected a text of at least {_SHORTEST_KEY} characters, got {got}."
    raise ConfigurationError(msg)


def keyed_patient(key: str, patient: str) -> str:
    """Return the name that a patient has under a key, as `deidentify` gives it."""
    return pseudonym(key.encode(), patient.strip())


def _keyed(facts: Facts, key: str) -> Facts:
    """Return what a file says, without what leads to its patient."""
    replaced: Facts = {name: _keyed_uid(key, facts[name]) for name in ("study", "series", "sop")}
    if facts["patient"] is not None:
        replaced["patient"] = keyed_patient(key, facts["patient"])
    return facts | replaced | {"description": None}


def _keyed_uid(key: str, uid: str) -> str:
    digest = hmac.digest(key.encode(), b"uid:" + uid.encode("ascii"), "sha256")
    return "U-" + base64.b32encode(digest[:10]).decode("ascii")


# -- what is known from before -----------------------------------------------------------


class Known:
    """A file of what was read before: a line for each file, added as they are read.

    A line that a crash has cut is passed over, and so is what is not as it was written: a file
    whose size or time has changed is read again.

    Parameters
    ----------
    file : Path or None
        Where lines are kept; None keeps none.
    key : str or None
        The secret of this index. What was read under another is not taken over.
    """

    def __init__(self, file: Path | None, key: str | None) -> None:
        self.file = file
        check = hmac.digest((key or "").encode(), _FORMAT.encode(), "sha256").hex()
        self.head = {"format": _FORMAT, "key": check[:32] if key else None}
        self.answers: dict[FileState, Answer] = {}
        if file is not None and file.exists():
            self._read(file)
        elif file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, _line(self.head))

    def _read(self, file: Path) -> None:
        with file.open("rb") as lines:
            head = _parsed(lines.readline())
            if not isinstance(head, dict) or head.get("format") != _FORMAT:
                msg = (
                    "resume: expected an index that index_dicom wrote, or a file that is not there "
                    "yet, got another file. Give another path: nothing was changed."
                )
                raise ConfigurationError(msg)
            if head == self.head:
                for line in lines:
                    self._take(_parsed(line))
                return
        write_file(file, _line(self.head))

    def _take(self, record: Any) -> None:
        if not isinstance(record, list) or len(record) != 4:
            return
        name, size, time, answer = record
        if not (isinstance(name, str) and isinstance(size, int) and isinstance(time, int)):
            return
        if isinstance(answer, list) and len(answer) == len(FIELDS) and all(map(_is_plain, answer)):
            facts = dict(zip(FIELDS, answer, strict=True))
            if all(_is_name(facts[level]) for level in ("study", "series", "sop")):
                self.answers[name, size, time] = facts
        elif isinstance(answer, str):
            self.answers[name, size, time] = answer

    def add(self, files: list[FileState], answers: list[Answer]) -> None:
        """Keep what some files say, at once, so that it is there if the process ends."""
        self.answers |= zip(files, answers, strict=True)
        if self.file is None:
            return
        lines = b"".join(
            _line([*state, answer if isinstance(answer, str) else list(answer.values())])
            for state, answer in zip(files, answers, strict=True)
        )
        with self.file.open("ab") as file:
            # After a line that was cut, the next one starts anew.
            file.write(b"\n" * (not _ends_whole(self.file)) + lines)

    def keep(self, files: Iterable[FileState]) -> None:
        """Write the lines of files that are there, and no others, in one step."""
        if self.file is not None and len(self.answers) > len(found := list(files)):
            self.answers = {state: self.answers[state] for state in found}
            write_file(self.file, b"".join([_line(self.head), *self._lines()]))

    def _lines(self) -> Iterator[bytes]:
        for state, answer in self.answers.items():
            yield _line([*state, answer if isinstance(answer, str) else list(answer.values())])


def _is_name(uid: object) -> bool:
    """Return whether this is an identifier, or its hash: folders are named by them."""
    return is_uid(uid) or (isinstance(uid, str) and _HASHED.fullmatch(uid) is not None)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _line(record: Any) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as end:
        if not end.seek(0, os.SEEK_END):
            return True
        end.seek(-1, os.SEEK_END)
        return end.read(1) == b"\n"
