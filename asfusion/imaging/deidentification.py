"""DICOM files without their patients, for those who may see images but not names."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from asfusion._checks import check_choice
from asfusion._door import public
from asfusion._files import write_file
from asfusion._optional import import_optional
from asfusion._progress import progress
from asfusion.exceptions import ConfigurationError, ImageReadError, InputError
from asfusion.imaging._burned_in import LETTERS, letters_in_a_row
from asfusion.imaging._limits import MAX_BYTES
from asfusion.imaging._profile import PatientProfile, patient_of, pseudonym
from asfusion.imaging._quiet import quiet_readers
from asfusion.imaging.dicom.encoding import DEFLATED, inflate, transfer_syntax
from asfusion.imaging.dicom.file import header_of, stored_of
from asfusion.imaging.read import read_image

_SHORTEST_KEY = 16  # bytes


@dataclass(frozen=True)
class DeidentificationReport:
    """What became of each file, by its position; no value, name or path of a source.

    Parameters
    ----------
    outcomes : tuple of str
        One per file, in the order given (sorted by path for a folder): ``"written"``,
        ``"text declared"``, ``"text suspected"``, ``"no image"``, ``"unreadable"``,
        ``"copy"`` of a file before it, or ``"changed copy"``, which shares its UID with
        a file before it but not its content.
    targets : tuple of str or None
        Path within the target folder of each file that was written.
    actions : dict of str to int
        How many header elements were treated, by what was done.
    key : str
        The secret that leads from patients to pseudonyms; not shown by ``repr``. Keep it
        apart from the images, or forget it.

    Examples
    --------
    >>> from asfusion.imaging import DeidentificationReport
    >>> report = DeidentificationReport(("no image",), (None,), {}, key="kept-in-a-safe-place")
    >>> print(report)
          1 file(s) no image
    >>> report.pseudonym("4711") == report.pseudonym(" 4711 ")
    True
    """

    outcomes: tuple[str, ...]
    targets: tuple[str | None, ...]
    actions: dict[str, int]
    key: str = field(repr=False)

    def pseudonym(self, patient_id: str) -> str:
        """Return the name under which a patient's images were written.

        Parameters
        ----------
        patient_id : str
            Patient ID as in the source files.

        Returns
        -------
        str
            The pseudonym, for tables that belong to the images.
        """
        return pseudonym(self.key.encode(), str(patient_id).strip())

    def __str__(self) -> str:
        """Return counts of outcomes and actions."""
        lines = [f"{n:>7} file(s) {what}" for what, n in Counter(self.outcomes).most_common()]
        lines += [f"{n:>7} element(s): {what}" for what, n in sorted(self.actions.items())]
        return "\n".join(lines)


@public
def deidentify(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    *,
    key: str | None = None,
    keep_characteristics: bool = False,
    burned_in: Literal["refuse", "keep"] = "refuse",
) -> DeidentificationReport:
    """Write DICOM images anew, without what their headers say of patients and places.

    Parameters
    ----------
    source : path or iterable of paths
        A folder, read with all folders in it, or files. Links are not followed.
    target : str or PathLike
        A folder outside the source, made if it is not there. Files are named by new UIDs:
        ``pseudonym/series/image.dcm``.
    key : str, optional
        A secret of at least 16 characters. The same key gives the same pseudonyms, UIDs
        and shifts in every run; a random one is made by default, and returned.
    keep_characteristics : bool
        Whether sex, age, height and weight stay in the header.
    burned_in : {"refuse", "keep"}
        What becomes of images whose header declares text in the pixels, or whose pixels
        look like it. Refused ones are not written; look at them, paint the text over, or
        pass ``"keep"`` where it is harmless.

    Returns
    -------
    DeidentificationReport
        Outcomes by position, counts by action, and the key.

    Raises
    ------
    MissingDependencyError
        Without the extra ``deid``.
    ConfigurationError
        If the key is too short, or the target lies in the source or the source in it.
    InputError
        If there is no source, or the target cannot be trusted.

    Notes
    -----
    Follows the Basic Application Level Confidentiality Profile of DICOM PS3.15, Table E.1-1
    (edition 2026c), in nested sequences too, with the option to retain modified dates: all dates
    of a patient but the birth date move by one number of whole days (62 to 729) back, so
    that intervals stay; times of day stay. UIDs and dates are replaced through `dicognito`.
    Private elements, curves, overlays and the preamble are dropped; pixel data stay as they
    are, byte by byte, including what a compressed stream may hold in comments.
    NOTE[DIFF]: where the table leaves a choice by what an object requires (``X/Z/D``), elements
    are emptied or replaced, not removed; nothing with pixels is written without a look
    for burned-in text, which the profile leaves to an option. Faces in head scans are not
    removed. The search for text finds most, not all.

    References
    ----------
    .. [1] DICOM PS3.15, Security and System Management Profiles, Annex E.
       https://dicom.nema.org/medical/dicom/current/output/chtml/part15/chapter_e.html

    Examples
    --------
    >>> import asfusion as af, pathlib, pydicom, tempfile
    >>> from asfusion.imaging import deidentify
    >>> folder = tempfile.TemporaryDirectory()
    >>> home = pathlib.Path(folder.name)
    >>> cohort = af.datasets.make_axspa_cohort(
    ...     3, random_state=0, path=home / "named", modalities=["labs", "xray"]
    ... )
    >>> report = deidentify(home / "named", home / "shared", key="kept-in-the-hospital-safe")
    >>> set(report.outcomes) <= {"written", "no image", "unreadable"}
    True
    >>> folder.cleanup()
    """
    import_optional("dicognito.uianonymizer", needed_for="deidentify", extra="deid")
    check_choice(burned_in, "burned_in", ("refuse", "keep"))
    secret = secrets.token_hex(32) if key is None else key
    if not isinstance(secret, str) or len(secret) < _SHORTEST_KEY:
        msg = f"key: expected a secret of at least {_SHORTEST_KEY} characters, got fewer."
        raise ConfigurationError(msg)
    root = _target_folder(Path(target))
    files = _source_files(source, root)
    run = _Run(root, secret, keep_characteristics, burned_in == "refuse")
    with quiet_readers():
        for file in progress(files, "De-identifying", unit="file"):
            run.take(file)
    return DeidentificationReport(
        tuple(run.outcomes), tuple(run.targets), dict(run.actions), secret
    )


class _Run:
    """One call of `deidentify`: patients and what was written so far."""

    def __init__(self, root: Path, key: str, keep: bool, refuse: bool) -> None:
        self._root, self._key, self._keep, self._refuse = root, key.encode(), keep, refuse
        self._written: dict[str, bytes] = {}
        self.outcomes: list[str] = []
        self.targets: list[str | None] = []
        self.actions: Counter[str] = Counter()

    def take(self, file: Path) -> None:
        """Treat one file; whatever is wrong with it, it is not written."""
        name: str | None = None
        try:
            name, content, actions = self._cleaned(file)
        except _Refusal as refusal:
            outcome = str(refusal)
        except Exception:  # readers raise what they like, with values in it
            outcome = "unreadable"
        else:
            # Outside the net above: a full disk must not pass as a file that was refused.
            outcome = self._keep_new(name, content, actions)
        self.outcomes.append(outcome)
        self.targets.append(name if outcome == "written" else None)

    def _cleaned(self, file: Path) -> tuple[str, bytes, Counter[str]]:
        """Return name and bytes of a file's image without its patient."""
        dataset = _read(file)
        if self._refuse:
            _look_for_text(dataset, file)
        profile = PatientProfile(self._key, patient_of(dataset), self._keep)
        actions = profile.apply(dataset)
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        name = f"{profile.name}/{_short(dataset, 'SeriesInstanceUID')}/{_short(dataset)}.dcm"
        return name, buffer.getvalue(), actions

    def _keep_new(self, name: str, content: bytes, actions: Counter[str]) -> str:
        digest = hashlib.sha256(content).digest()
        if name in self._written:
            return "copy" if self._written[name] == digest else "changed copy"
        _write_inside(self._root, name, content)
        self._written[name] = digest
        self.actions.update(actions)
        return "written"


class _Refusal(Exception):
    """Why a file is not written, in two words."""


def _read(file: Path) -> Any:
    """Return a DICOM image; refuse anything else."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    if file.stat().st_size > 4 * MAX_BYTES:
        raise _Refusal("unreadable")
    _check_deflated(file)
    try:
        dataset = pydicom.dcmread(file)
    except InvalidDicomError:
        raise _Refusal("no image") from None
    if not any(k in dataset for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        header_of(file)  # raises for an image that was cut before its pixels
        raise _Refusal("no image")
    return dataset


def _check_deflated(file: Path) -> None:
    """Raise `DicomReadError` for a deflated file that holds far more than it takes."""
    with file.open("rb") as opened:
        syntax, start = transfer_syntax(opened)
        if syntax == DEFLATED:
            inflate(opened, start)


def _look_for_text(dataset: Any, file: Path) -> None:
    """Refuse an image whose header declares text in the pixels, or that looks like it."""
    for keyword in ("BurnedInAnnotation", "RecognizableVisualFeatures"):
        if str(dataset.get(keyword, "")).strip().upper() == "YES":
            raise _Refusal("text declared")
    for frame in _frames(file):
        if letters_in_a_row(frame) >= LETTERS:
            raise _Refusal("text suspected")


def _frames(file: Path) -> list[Any]:
    """Return grey pictures (H, W) of an image: its frame, or some of its frames."""
    try:
        return [read_image(file)[0]]
    except ImageReadError:
        pass
    # What cannot be looked at raises: text can neither be seen nor ruled out.
    header = header_of(file)
    places = np.unique(np.linspace(0, header.n_frames - 1, 8).round().astype(int)).tolist()
    chosen = np.concatenate([stored_of(file, header, place) for place in places])
    if chosen.ndim == 4:
        chosen = chosen.mean(axis=-1)
    low, high = float(chosen.min()), float(chosen.max())
    return [
        np.asarray((frame - low) / max(high - low, 1e-9) * 255.0, dtype=np.uint8)
        for frame in chosen
    ]


def _short(dataset: Any, keyword: str = "SOPInstanceUID") -> str:
    """Return a name made of a UID that was replaced already."""
    uid = str(dataset.get(keyword, "") or "")
    return hashlib.sha256(uid.encode()).hexdigest()[:16]


# -- folders ---------------------------------------------------------------------------


def _target_folder(target: Path) -> Path:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        msg = "target: expected a new path or a folder, got a link or a file."
        raise InputError(msg)
    target.mkdir(parents=True, exist_ok=True)
    return target.resolve()


def _source_files(source: Any, root: Path) -> list[Path]:
    """Return the ordinary files of a source, sorted if it is a folder."""
    if not isinstance(source, str | os.PathLike):
        files = [Path(file) for file in source]
    elif Path(source).is_dir():
        folder = Path(source).resolve()
        if root == folder or folder in root.parents or root in folder.parents:
            msg = "target: expected a folder apart from the source, got one inside the other."
            raise ConfigurationError(msg)
        found = [Path(at) / name for at, _, names in os.walk(folder) for name in names]
        files = sorted(file for file in found if stat.S_ISREG(file.lstat().st_mode))
    else:
        files = [Path(source)]
    n_absent = sum(not file.is_file() for file in files)
    if n_absent or not files:
        msg = f"source: expected a folder with files, or files, got {n_absent} that are not there."
        raise InputError(msg)
    return files


def _write_inside(root: Path, name: str, content: bytes) -> None:
    """Write a file below the root, whatever links somebody has put there."""
    place = root / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.parent.resolve() != place.parent or place.is_symlink():
        msg = "target: expected plain folders, got a link inside. Choose an empty folder."
        raise InputError(msg)
    write_file(place, content, durable=False)
