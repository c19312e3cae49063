"""``encoders="auto"``: from columns to encoders, and the words to say what was chosen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from asfusion._checks import quoted
from asfusion._frames import Frame
from asfusion.encoders._base import Encoder
from asfusion.encoders.tabular import TabularEncoder
from asfusion.exceptions import InputError
from asfusion.tabular.preprocess import looks_like_date

Role: TypeAlias = Literal["table", "image", "note", "identifier", "series", "empty"]

_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
_MOSTLY = 0.9
_LONG_TEXT_WORDS = 4.0
_FEW_LEVELS = 20
_IDENTIFIER_NAME = re.compile(
    r"(^|_)(id|ids|uid|uuid|mrn|patient|subject|case|accession|identifier|key|pid)(_|$)|id$", re.I
)


def infer_encoders(X: Any) -> dict[str, Encoder]:
    """Choose an encoder for each modality that the columns hold.

    Numbers, booleans, dates and categories make one table; each column of image paths
    and each column of free text is a modality of its own. Identifiers, series folders and
    empty columns are left out: `describe_encoders` says so.

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
    table = [name for name, role in roles.items() if role == "table"]
    if table:
        encoders["table"] = TabularEncoder(table)
    for column, role in roles.items():
        if role == "image":
            encoders[_modality_name(column, encoders)] = _image_encoder(column)
        elif role == "note":
            encoders[_modality_name(column, encoders)] = _text_encoder(column)
    if not encoders:
        msg = (
            f"encoders='auto': expected at least one column to learn from, got only identifiers, "
            f"folders or empty columns: {quoted(roles)}. Pass encoders={{...}} to name them."
        )
        raise InputError(msg)
    return encoders


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
    for name, encoder in encoders.items():
        params = encoder.get_params(deep=False)
        columns = params.get("columns", params.get("column"))
        names = (
            frame.columns if columns is None else [columns] if isinstance(columns, str) else columns
        )
        lines.append(f"  {name:<12} {type(encoder).__name__:<15} {quoted(names, limit=8)}")
    left_out = (
        {name: role for name, role in column_roles(frame).items() if role not in _USED}
        if not frame.is_array
        else {}
    )
    for role, why in _REASONS.items():
        names = [name for name, found in left_out.items() if found == role]
        if names:
            lines.append(f"  left out: {quoted(names)} ({why})")
    return "\n".join(lines)


_USED = ("table", "image", "note")
_REASONS = {
    "identifier": "identifiers would leak; name them in a TabularEncoder to use them",
    "series": "folders of slices are volumes, which 'auto' does not read yet",
    "empty": "no known cell, or the same in every row",
}


def column_roles(frame: Frame) -> dict[str, Role]:
    """Return what each column is taken for."""
    return {name: _role(frame, name) for name in frame.columns}


def _role(frame: Frame, name: str) -> Role:
    kind = frame.kind(name)
    cells = [cell for cell in frame.strings(name) if cell is not None]
    n_distinct = len(set(cells))
    if n_distinct == 0 or (n_distinct == 1 and len(cells) == len(frame)):
        return "empty"
    if kind == "number":
        return "identifier" if _is_numbering(frame, name, n_distinct) else "table"
    if kind != "text":
        return "table"
    return _role_of_text(cells, n_distinct)


def _role_of_text(cells: list[str], n_distinct: int) -> Role:
    if _share(cells, lambda cell: cell.strip().lower().endswith(_IMAGE_ENDINGS)) >= _MOSTLY:
        return "image"
    if all(looks_like_date(cell) for cell in cells):
        return "table"
    some = cells[:20]
    if all("/" in cell or "\\" in cell for cell in some) and all(_is_folder(c) for c in some):
        return "series"
    mean_words = float(np.mean([len(cell.split()) for cell in cells]))
    few = n_distinct <= _FEW_LEVELS or n_distinct < 0.1 * len(cells)
    if mean_words >= _LONG_TEXT_WORDS and (not few or mean_words >= 2 * _LONG_TEXT_WORDS):
        return "note"
    # Two rows of anything are two levels: few rows do not make a category of a name.
    return (
        "table"
        if few and n_distinct < max(2, len(cells))
        else "note"
        if (mean_words >= _LONG_TEXT_WORDS)
        else "identifier"
    )


def _is_numbering(frame: Frame, name: str, n_distinct: int) -> bool:
    """Return whether a number column counts patients: whole, all distinct, and named so."""
    values = frame.numbers(name)
    known = values[~np.isnan(values)]
    whole = bool((known == np.round(known)).all())
    return whole and n_distinct == len(known) > 2 and bool(_IDENTIFIER_NAME.search(name))


def _share(cells: list[str], holds: Any) -> float:
    return float(sum(map(holds, cells))) / len(cells)


def _is_folder(cell: str) -> bool:
    try:
        return Path(cell).is_dir()
    except (OSError, ValueError):
        return False


def _modality_name(column: str, taken: dict[str, Encoder]) -> str:
    name = re.sub(r"\W+", "_", column).strip("_").lower()
    name = re.sub(r"_+", "_", name) or "modality"
    name = name if name[0].isalpha() else f"m_{name}"
    number, unique = 2, name
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique


def _image_encoder(column: str) -> Encoder:
    # Imported here: a user of tables alone needs no image package.
    from asfusion.encoders.image import ImageEncoder

    return ImageEncoder(column)


def _text_encoder(column: str) -> Encoder:
    from asfusion.encoders.text import TextEncoder

    return TextEncoder(column)
