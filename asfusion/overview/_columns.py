"""What each column is, and how its cells are spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import is_missing
from asfusion._frames import Frame
from asfusion.clinical._unit_table import QUANTITIES
from asfusion.clinical.provenance import standard_name
from asfusion.clinical.units import check_units
from asfusion.evaluation._small_cells import FEWEST
from asfusion.exceptions import AsfusionError
from asfusion.suspects.after_index import dates_of
from asfusion.suspects.names import words_of

_NEARLY = 0.99
_A_YEAR = 365.2425

_SAID: Mapping[str, tuple[str, str]] = {
    "gene": ("genotype", "named like a variant, with 0, 1 or 2 in each cell"),
    "image": ("image", "paths of images, or images themselves"),
    "note": ("note", "free text"),
    "visits": ("visits", "tables of visits in its cells"),
    "series": ("series", "folders of slices, or NIfTI files"),
    "identifier": ("identifier", "named so, or text that differs in nearly every row"),
    "number_text": ("text", "numbers or dates that are written as text: convert them"),
    "empty": ("nothing", "no known cell, or the same in every row"),
}
_OF_TABLES: Mapping[str, tuple[str, str]] = {
    "number": ("number", "stored as numbers"),
    "boolean": ("yes or no", "stored as true and false"),
    "date": ("date", "stored as dates"),
    "category": ("category", "stored as a category"),
    "text": ("category", "text with few levels"),
}
# Usual names of quantities that stand beside the standard ones, a word each.
_QUANTITIES = {
    **dict.fromkeys(("wbc", "leukocyte", "leukocytes", "leucocytes"), "white_cells"),
    **dict.fromkeys(("hb", "hgb", "hemoglobin", "haemoglobin"), "haemoglobin"),
    **dict.fromkeys(("neutrophil", "neutrophils"), "neutrophils"),
    **dict.fromkeys(("lymphocyte", "lymphocytes"), "lymphocytes"),
    **dict.fromkeys(("plt", "platelet", "platelets", "thrombocytes"), "platelets"),
    **{word: word for word in ("crp", "esr", "creatinine", "albumin", "ferritin", "alt")},
    **{word: word for word in ("height", "weight")},
}
_BESIDE = frozenset(
    {
        *("count", "counts", "level", "value", "serum", "blood", "baseline", "mg", "g", "l", "dl"),
        *("mm", "h", "hr", "per", "ul", "cm", "kg", "umol", "u", "mean", "last", "hs", "ml", "bl"),
    }
)
_OTHER_UNITS = {"age": "years", "bmi": "kg/m2"}


@dataclass(frozen=True)
class ColumnFacts:
    """One column of a table.

    Parameters
    ----------
    name : str
        Its name.
    taken_for : str
        What it is taken for: number, category, yes or no, date, genotype, image, note, ...
    why : str
        The reason.
    n_known : int or None
        Rows with a known cell; None where they, or those without one, are fewer than 10.
    missing : float or None
        Share of rows without one; None likewise.
    n_distinct : int
        Different cells that are known.
    low, median, high : float or None
        Smallest, middle and largest number; years for dates. None for fewer than 10 patients.
    unit : str
        Standard unit of the quantity that the name says; empty if it is not known.
    remark : str
        What is odd about it: constant, nearly so, or not in its standard unit.
    """

    name: str
    taken_for: str
    why: str
    n_known: int | None
    missing: float | None
    n_distinct: int
    low: float | None = None
    median: float | None = None
    high: float | None = None
    unit: str = ""
    remark: str = ""

    @property
    def is_numeric(self) -> bool:
        """Whether it has a range."""
        return self.median is not None


def describe_column(frame: Frame, name: str, role: str, patients: NDArray[np.int64]) -> ColumnFacts:
    """Return what a column is and how its cells are spread.

    Parameters
    ----------
    frame : Frame
        N rows.
    name : str
        The column.
    role : str
        What it is taken for by ``encoders="auto"``.
    patients : ndarray of shape (N,)
        Number of the patient of each row.
    """
    known = frame.known(name)
    taken_for, why = _taken_for(frame, name, role)
    counts = _counts(frame, name, role, known)
    n_known = int(known.sum())
    few = _few(n_known, len(known))
    facts = ColumnFacts(
        name,
        taken_for,
        why,
        None if few else n_known,
        None if few else 1.0 - n_known / len(known),
        len(counts),
    )
    odd = ", ".join(text for text in (_oddity(counts), few) if text)
    is_shown = np.count_nonzero(np.bincount(patients[known])) >= FEWEST
    numbers = _numbers(frame, name, taken_for) if is_shown else None
    if numbers is None:
        return _with(facts, remark=odd)
    low, median, high = (float(q) for q in np.quantile(numbers[known], (0.0, 0.5, 1.0)))
    facts = _with(facts, low=low, median=median, high=high, remark=odd)
    return facts if taken_for == "date" else _with_unit(facts, numbers)


def quantity_of(name: str) -> str | None:
    """Return the quantity of the unit table that a name says, None for another one."""
    standard = standard_name(name)
    if standard in QUANTITIES:
        return standard
    words = [word for word in words_of(name) if word not in _BESIDE and not word.isdigit()]
    joined = "_".join(words)
    if joined in QUANTITIES and joined not in ("length", "angle", "rating"):
        return joined
    return _QUANTITIES.get(words[0]) if len(words) == 1 else None


def _taken_for(frame: Frame, name: str, role: str) -> tuple[str, str]:
    if role in _SAID:
        return _SAID[role]
    kind = frame.kind(name)
    if kind == "text" and dates_of(frame, name) is not None:
        return "date", "text that is YYYY-MM-DD in every cell"
    return _OF_TABLES[kind]


def _counts(frame: Frame, name: str, role: str, known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how often each different cell is there."""
    if not known.any():
        return np.empty(0, dtype=np.int64)
    if role == "visits" or (role == "image" and not _are_texts(frame, name)):
        return np.ones(int(known.sum()), dtype=np.int64)  # contents, which nobody compares here
    if frame.kind(name) in ("number", "boolean"):
        return np.asarray(np.unique(frame.numbers(name)[known], return_counts=True)[1])
    texts = [text for text in frame.strings(name) if text is not None]
    return np.asarray(np.unique(np.asarray(texts, dtype=object), return_counts=True)[1])


def _are_texts(frame: Frame, name: str) -> bool:
    return all(isinstance(cell, str) or is_missing(cell) for cell in frame.cells(name))


def _few(n_known: int, n_rows: int) -> str:
    """Return which of known and missing cells are so few that they are not told."""
    if 0 < n_known < FEWEST:
        return f"known in fewer than {FEWEST} rows"
    return f"missing in fewer than {FEWEST} rows" if 0 < n_rows - n_known < FEWEST else ""


def _oddity(counts: NDArray[np.int64]) -> str:
    if len(counts) == 1:
        return "constant"
    return "nearly constant" if len(counts) and counts.max() >= _NEARLY * counts.sum() else ""


def _numbers(frame: Frame, name: str, taken_for: str) -> NDArray[np.float64] | None:
    if taken_for in ("number", "genotype"):
        return frame.numbers(name)
    if taken_for != "date":
        return None
    days = dates_of(frame, name)
    return None if days is None else 1970.0 + np.floor(days / _A_YEAR)


def _with_unit(facts: ColumnFacts, numbers: NDArray[np.float64]) -> ColumnFacts:
    quantity = quantity_of(facts.name)
    if quantity is None:
        words = [word for word in words_of(facts.name) if word not in _BESIDE]
        return _with(facts, unit=_OTHER_UNITS.get(words[0], "") if len(words) == 1 else "")
    unit = QUANTITIES[quantity].unit
    try:
        check_units(numbers, quantity)
    except AsfusionError:
        odd = f"not like {unit}: check its unit"
        return _with(facts, unit=unit, remark=f"{facts.remark}, {odd}" if facts.remark else odd)
    return _with(facts, unit=unit)


def _with(facts: ColumnFacts, **changes: object) -> ColumnFacts:
    return replace(facts, **changes)  # type: ignore[arg-type]
