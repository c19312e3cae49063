"""Columns that tell patients apart, whatever they are called and however they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import looks_measured
from asfusion._frames import Frame
from asfusion.suspects.names import may_identify, names_measurement
from asfusion.suspects.suspect import Suspect

_SAMPLE = 1000
# Of fewer, all may differ by chance: twenty patients have twenty ages.
_FEWEST = 20
_FEWEST_TEXTS = 10
# Numbers that were drawn from a range and all differ: the odds by which that is no coincidence.
_ODDS = 1000.0
_LONG_CODE = 10_000
_FEWEST_DRAWN = 50  # numbers that may have been drawn at random; patients with several rows: 20
_ROLES = frozenset({"table", "number_text", "identifier"})


def find_identifiers(
    frame: Frame, roles: Mapping[str, str], patients: NDArray[np.int64] | None
) -> list[Suspect]:
    """Return columns that have one value for each patient, and another one for each other.

    Parameters
    ----------
    frame : Frame
        N rows.
    roles : mapping of str to str
        What each column is taken for.
    patients : ndarray of shape (N,) or None
        Number of the patient of each row, in the order of their names.
    """
    found = []
    names = [name for name, role in roles.items() if role in _ROLES]
    possible = _possible(frame, names, patients)
    for name in names:
        evidence = _told_by_name(name) if roles[name] == "identifier" else ""
        if name in possible:
            is_measured = roles[name] == "number_text"
            evidence = _told_by_cells(frame, name, patients, is_measured) or evidence
        if evidence:
            found.append(Suspect(name, "identifier", evidence))
    return found


def _told_by_name(name: str) -> str:
    if may_identify(name):
        return "it is named like what tells patients apart"
    return "its text differs in nearly every row"


def _possible(frame: Frame, names: Iterable[str], patients: NDArray[np.int64] | None) -> set[str]:
    """Return columns that no few rows show to be measurements: fractions, or shared by patients."""
    rows = np.arange(min(len(frame), _SAMPLE))
    people = rows if patients is None else patients[rows]
    some = frame.take(rows)
    plain = [name for name in names if name in frame.plain]
    possible = {name for name in names if name not in frame.plain}
    for part, cells in some.blocks(plain):
        whole = (np.isnan(cells) | (cells == np.round(cells))).all(axis=0)
        for name, values, is_whole in zip(part, cells.T, whole, strict=True):
            if is_whole and _is_apart(values, people):
                possible.add(name)
    return {n for n in possible if frame.kind(n) in ("number", "category", "text")}


def _is_apart(values: NDArray[np.float64], people: NDArray[np.int64]) -> bool:
    """Return whether no two patients share a number."""
    known = ~np.isnan(values)
    order = np.argsort(values[known], kind="stable")
    numbers, owners = values[known][order], people[known][order]
    return not ((numbers[1:] == numbers[:-1]) & (owners[1:] != owners[:-1])).any()


def _told_by_cells(
    frame: Frame, name: str, patients: NDArray[np.int64] | None, is_measured: bool
) -> str:
    """Return the evidence that a column tells patients apart, empty if there is none."""
    read = _codes(frame, name, is_measured)
    if read is None:
        return ""
    codes, levels = read
    shape = _whole_part(levels) if is_measured else levels
    known = codes >= 0
    n_known, n_levels = int(known.sum()), len(levels)
    if 2 * n_known < len(codes) or n_levels < _FEWEST_TEXTS:
        return ""
    if patients is None:
        if n_levels < max(n_known, _FEWEST) or not _is_code(name, shape, _FEWEST_DRAWN):
            return ""
        return f"it differs in all of {n_known} rows"
    people = patients[known]
    n_people = len(np.unique(people))
    pairs = len(np.unique(people * n_levels + codes[known]))
    if not n_levels == n_people == pairs:
        return ""
    fewest = _FEWEST if n_known > n_people else _FEWEST_DRAWN
    if not (_is_code(name, shape, fewest) or _is_copy(people, codes[known], levels)):
        return ""
    return f"it has one value for each of {n_people} patients, and no two share one"


def _codes(
    frame: Frame, name: str, is_measured: bool
) -> tuple[NDArray[np.int64], NDArray[Any]] | None:
    """Return the number of each cell's level, -1 where missing, and the levels.

    Levels are whole numbers, or texts; None for fractions, and for measurements as text.
    """
    kind = frame.kind(name)
    if kind == "number":
        values = frame.numbers(name)
        known = ~np.isnan(values)
        if not known.any() or (values[known] != np.round(values[known])).any():
            return None
    else:
        texts = frame.strings(name)
        known = np.asarray([text is not None for text in texts], dtype=bool)
        values = np.asarray([text or "" for text in texts], dtype=object)
        there = [text.strip() for text in texts if text is not None]
        if is_measured or (kind == "text" and all(map(looks_measured, there))):
            if not all(_is_whole(text) for text in there if looks_measured(text)):
                return None
            if all(map(_is_whole, there)):
                values = np.full(len(texts), np.nan)
                values[known] = np.asarray(there, dtype=np.float64)
    levels, numbers = np.unique(values[known], return_inverse=True)
    codes = np.full(len(values), -1)
    codes[known] = numbers
    return codes, levels


def _whole_part(levels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the levels that are whole numbers, of numbers with some text among them."""
    if levels.dtype.kind == "f":
        return levels
    return np.unique([float(level) for level in levels if _is_whole(level.strip())])


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_code(name: str, levels: NDArray[Any], fewest_drawn: int) -> bool:
    """Return whether levels that all differ are codes rather than measurements."""
    if levels.dtype.kind != "f":
        return True
    if len(levels) < _FEWEST or names_measurement(name):
        return False
    drawn = len(levels) >= fewest_drawn and _is_drawn(levels)
    return may_identify(name) or _is_numbering(levels) or _is_long_code(levels) or drawn


def _is_numbering(levels: NDArray[np.float64]) -> bool:
    """Return whether numbers lie so close that measurements would have met each other."""
    n, span = len(levels), float(levels[-1] - levels[0]) + 1.0
    return bool(n * (n - 1) / (2.0 * span) > np.log(_ODDS))


def _is_long_code(levels: NDArray[np.float64]) -> bool:
    """Return whether numbers have one length of five digits or more, and are not rounded."""
    if levels[0] < _LONG_CODE:
        return False
    digits = np.floor(np.log10(levels))
    return bool(digits[0] == digits[-1]) and float(np.mean(levels % 10 != 0)) > 0.5


def _is_drawn(levels: NDArray[np.float64]) -> bool:
    """Return whether numbers are spread evenly over a wide range, and are not rounded.

    As codes are that are dealt at random; measurements gather.
    """
    n, span = len(levels), float(levels[-1] - levels[0])
    if span < _LONG_CODE or float(np.mean(levels % 10 != 0)) <= 0.5:
        return False
    even = (levels - levels[0]) / span
    distance = np.abs(even - np.linspace(0.0, 1.0, n)).max()  # of Kolmogorov and Smirnov
    return bool(distance < 1.63 / np.sqrt(n))


def _is_copy(people: NDArray[np.int64], codes: NDArray[np.int64], levels: NDArray[Any]) -> bool:
    """Return whether levels come in the very order of the names of the patients."""
    numeric = levels.dtype.kind == "f"
    texts = np.asarray([str(int(x)) if numeric else x for x in levels.tolist()], dtype=str)
    place = np.empty(len(levels), dtype=np.int64)
    place[np.argsort(texts, kind="stable")] = np.arange(len(levels))
    own = np.unique(people, return_inverse=True)[1]
    return bool((place[codes] == own).all() or (codes == own).all())
