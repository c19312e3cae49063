"""Columns that alone determine the target: a copy, a code, a rule or a monotone function of it.

Rows are screened a block of columns at a time on a sample; what is left is judged on patients
that it was not learned from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame
from asfusion.suspects import _rules
from asfusion.suspects.after_index import dates_of
from asfusion.suspects.outcome import Outcome
from asfusion.suspects.suspect import Suspect

_SAMPLE = 2000
_JUDGED = 20_000
_FEW_LEVELS = 50
_ALL_BUT_FEW = 0.98
_CODED = 0.9  # below, cuts tell nothing near what levels do
_CURVE = 0.999
_FEWEST_CURVE = 100
_ROLES = frozenset({"table", "gene", "number_text", "note", "identifier"})
_PRESENCE = frozenset({*_ROLES, "image", "series"})

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Column:
    """A column as numbers, or as numbers of its levels; NaN where it is missing."""

    values: Numbers
    is_number: bool


def find_determiners(
    frame: Frame,
    roles: Mapping[str, str],
    outcomes: Sequence[Outcome],
    patients: Codes,
    *,
    is_grouped: bool,
    presence: bool = True,
) -> list[Suspect]:
    """Return columns that alone tell an outcome, or that an outcome alone tells.

    Parameters
    ----------
    frame : Frame
        N rows.
    roles : mapping of str to str
        What each column is taken for.
    outcomes : sequence of Outcome
        What is predicted.
    patients : ndarray of shape (N,)
        Number of the patient of each row.
    is_grouped : bool
        Whether patients were given; each row is one otherwise.
    presence : bool
        Whether cells that are known only for some classes count, too.
    """
    found = []
    for outcome in outcomes:
        rows = _drawn(np.flatnonzero(outcome.known), _JUDGED)
        if len(rows) < 2:
            continue
        search = _Search(frame.take(rows), outcome.take(rows), patients[rows], roles, is_grouped)
        for name in search.candidates():
            evidence = search.judge(name)
            if evidence:
                found.append(Suspect(name, "determines", evidence))
        told = {suspect.column for suspect in found}
        for name in search.tellingly_missing() if presence else ():
            if name not in told:
                found.append(Suspect(name, "determines", search.judge_presence(name)))
    return [suspect for suspect in found if suspect.evidence]


class _Search:
    """The rows of one outcome, all of them known."""

    def __init__(
        self,
        frame: Frame,
        outcome: Outcome,
        patients: Codes,
        roles: Mapping[str, str],
        is_grouped: bool,
    ) -> None:
        self.frame, self.outcome, self.roles = frame, outcome, roles
        self.patients = np.unique(patients, return_inverse=True)[1]
        self.names = [name for name, role in roles.items() if role in _ROLES]
        self.others = "patients" if is_grouped else "rows"
        self.sample = _drawn(np.arange(len(frame)), _SAMPLE)
        self._some = frame.take(self.sample)

    def candidates(self) -> Iterator[str]:
        """Yield columns that are worth a closer look."""
        plain = [name for name in self.names if name in self.frame.plain]
        for part, cells in self._some.blocks(plain):
            near = _screen(cells, self.outcome.take(self.sample))
            yield from (name for name, is_near in zip(part, near, strict=True) if is_near)
        yield from (name for name in self.names if name not in self.frame.plain)

    def judge(self, name: str) -> str:
        """Return the evidence that a column and the outcome are one, empty if there is none."""
        column = _read(self.frame, name)
        if column is None:
            return ""
        known = ~np.isnan(column.values)
        if known.sum() < 0.1 * len(known):
            return ""
        column = _Column(column.values[known], column.is_number)
        outcome, people = self.outcome.take(known), self.patients[known]
        if outcome.levels:
            return self._of_classes(column, outcome, people)
        return self._of_numbers(column, outcome, people)

    def tellingly_missing(self) -> list[str]:
        """Return columns whose cells are known for some classes only."""
        if not self.outcome.levels:
            return []
        found = []
        plain = [n for n, role in self.roles.items() if role in _PRESENCE and n in self.frame.plain]
        for part, cells in self._some.blocks(plain):
            known = ~np.isnan(cells)
            found += [n for n, k in zip(part, known.T, strict=True) if self._is_split(k)]
        for name, role in self.roles.items():
            rest = role in _PRESENCE and name not in self.frame.plain
            if rest and self._is_split(self._some.known(name)):
                found.append(name)
        return found

    def judge_presence(self, name: str) -> str:
        """Return the evidence that an outcome is told by which cells of a column are known."""
        known = self.frame.known(name).astype(np.int64)
        classes = self.outcome.values.astype(np.int64)
        told = _rules.told_by_levels(known, classes, self.patients, len(self.roles))
        enough = _rules.is_enough(known, self.patients, len(self.roles))
        if not enough or _rules.skill(*told) < _ALL_BUT_FEW:
            return ""
        return f"which of its cells are known tells {self._right(*told)}"

    def _is_split(self, known: NDArray[np.bool_]) -> bool:
        """Return whether in the sample one class has nearly all known cells, another none."""
        classes = self.outcome.values[self.sample].astype(np.int64)
        if known.all() or not known.any():
            return False
        n = int(classes.max()) + 1
        there = np.bincount(classes[known], minlength=n).max()
        gone = np.bincount(classes[~known], minlength=n).max()
        right = float(there + gone) / len(classes)
        return _rules.skill(right, _rules.chance(classes)) >= _ALL_BUT_FEW - 0.02

    def _of_classes(self, column: _Column, outcome: Outcome, people: Codes) -> str:
        classes = np.unique(outcome.values, return_inverse=True)[1]
        if not _rules.is_enough(classes, people, len(self.names)):
            return ""
        levels, codes = np.unique(column.values, return_inverse=True)
        n_outcomes = int(classes.max()) + 1
        if not column.is_number or len(levels) <= n_outcomes:
            if len(levels) > max(_FEW_LEVELS, len(codes) // 5):
                return ""
            told = _rules.told_by_levels(codes, classes, people, len(self.names))
            if _rules.skill(*told) >= _ALL_BUT_FEW:
                return f"alone it tells {self._right(*told)}"
            return self._coarser(codes, classes, people) if n_outcomes > 2 else ""
        is_told, right = _rules.is_told_by_cuts(column.values, classes, people)
        by_chance = _rules.chance(classes)
        if not is_told and len(levels) <= _FEW_LEVELS and _rules.skill(right, by_chance) < _CODED:
            # Numbers of wards or codes: what each says follows from no order.
            right, by_chance = _rules.told_by_levels(codes, classes, people, len(self.names))
            is_told = _rules.skill(right, by_chance) >= _ALL_BUT_FEW
        return f"alone it tells {self._right(right, by_chance)}" if is_told else ""

    def _coarser(self, codes: Codes, classes: Codes, people: Codes) -> str:
        """Return the evidence that a column is the outcome with some of its classes joined."""
        told = _rules.told_by_levels(classes, codes, people, len(self.names))
        if _rules.skill(*told) < _ALL_BUT_FEW:
            return ""
        return f"it is {self.outcome.label} with classes joined"

    def _of_numbers(self, column: _Column, outcome: Outcome, people: Codes) -> str:
        levels, codes = np.unique(column.values, return_inverse=True)
        if column.is_number and len(levels) > 2:
            agreement = _rules.order_agreement(column.values, outcome.values)
            if _rules.is_ordered_alike(agreement, people):
                return (
                    f"it orders rows as {self.outcome.label} does (rank correlation "
                    f"{agreement:.3f})"
                )
            n_people = len(np.unique(people))
            if n_people >= _FEWEST_CURVE and len(levels) > _FEW_LEVELS:
                curve = _rules.follows_curve(column.values, outcome.values, people)
                if curve >= _CURVE:
                    return (
                        f"{self.outcome.label} is a curve of it (R2 {curve:.3f} in other "
                        f"{self.others})"
                    )
        if len(levels) > 10 or not _rules.is_enough(codes, people, len(self.names)):
            return ""
        if not _rules.is_told_by_cuts(outcome.values, codes, people, is_target=True)[0]:
            return ""
        return f"it is {self.outcome.label} cut into {len(levels)} levels"

    def _right(self, right: float, by_chance: float) -> str:
        return (
            f"{self.outcome.label} (right in {100 * right:.0f} % of {self.others} that it was not "
            f"learned from, {100 * by_chance:.0f} % by chance)"
        )


def _screen(cells: Numbers, outcome: Outcome) -> NDArray[np.bool_]:
    """Return which columns (n, C) may tell an outcome, or be told by it."""
    order = np.argsort(cells, axis=0)
    n_known = (~np.isnan(cells)).sum(axis=0)
    # Neighbours in the order of the column, both of them known.
    inside = np.arange(1, len(cells))[:, None] < n_known
    told = outcome.values[order]
    by_outcome = cells[np.argsort(outcome.values)]
    changes = (np.diff(by_outcome, axis=0) != 0).sum(axis=0)
    few = 25 + 0.03 * len(cells)
    if outcome.levels:
        found = ((np.diff(told, axis=0) != 0) & inside).sum(axis=0)
        shares = np.bincount(outcome.values.astype(np.int64)) / len(cells)
        expected = n_known * (1.0 - float((shares**2).sum()))
        n_outcomes = len(shares)
        near = found <= np.maximum(n_outcomes + 1, np.minimum(few, 0.35 * expected))
        return np.asarray(near | (changes <= few) if n_outcomes > 2 else near)
    ranks = np.argsort(np.argsort(outcome.values)).astype(np.float64) / len(cells)
    steps = np.where(inside, np.abs(np.diff(ranks[order], axis=0)), 0.0).sum(axis=0)
    smooth = steps / np.maximum(1, n_known - 1) <= 0.05 + 1.0 / len(cells)
    return np.asarray(smooth | (changes <= few))


def _drawn(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def _read(frame: Frame, name: str) -> _Column | None:
    """Return a column to compare with the outcome; None for what cannot be a copy of it."""
    kind = frame.kind(name)
    if kind in ("number", "boolean"):
        return _Column(frame.numbers(name), True)
    days = dates_of(frame, name)
    if days is not None:
        return _Column(days, True)
    texts = frame.strings(name)
    numbers = _as_numbers(texts)
    if numbers is not None:
        return _Column(numbers, True)
    distinct = sorted({text for text in texts if text is not None})
    if len(distinct) > max(_FEW_LEVELS, len(texts) // 5):
        return None
    place: dict[Any, float] = {text: float(number) for number, text in enumerate(distinct)}
    return _Column(np.asarray([np.nan if t is None else place[t] for t in texts]), False)


def _as_numbers(texts: list[str | None]) -> Numbers | None:
    """Return texts as numbers if all of them are some."""
    out = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        if text is None:
            continue
        try:
            out[row] = float(text.replace(",", "."))
        except ValueError:
            return None
    return out if np.isfinite(out[~np.isnan(out)]).all() else None
