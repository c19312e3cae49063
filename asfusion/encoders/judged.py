"""Which columns should not be learned from: every judgement of them, in one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted
from asfusion._frames import Frame, group_labels
from asfusion.encoders._telling_notes import find_later_notes, find_telling_notes
from asfusion.suspects.after_index import find_after_index
from asfusion.suspects.determines import find_determiners
from asfusion.suspects.identifier import find_identifiers
from asfusion.suspects.outcome import Outcome, column_outcome, with_own_name
from asfusion.suspects.provenance import find_provenance
from asfusion.suspects.sibling import find_siblings
from asfusion.suspects.suspect import Suspect, by_column

_SHOWN = 20
_FEW_LEVELS = 20


def find_suspects(
    frame: Frame,
    roles: Mapping[str, str],
    outcomes: Sequence[Outcome] = (),
    groups: NDArray[Any] | None = None,
    index: NDArray[np.float64] | None = None,
) -> list[Suspect]:
    """Return the columns that may give the target away, or tell patients apart.

    Parameters
    ----------
    frame : Frame
        N rows.
    roles : mapping of str to str
        What each column is taken for.
    outcomes : sequence of Outcome
        What is predicted.
    groups : ndarray of shape (N,) or None
        Number of the patient of each row, as `patient_numbers` gives it.
    index : ndarray of shape (N,) or None
        Index dates as days since 1970-01-01.
    """
    found = find_identifiers(frame, roles, groups) + find_provenance(frame, roles)
    apart = {suspect.column for suspect in found}
    rest = {name: role for name, role in roles.items() if name not in apart}
    if index is not None:
        found += find_after_index(frame, rest, index) + find_later_notes(frame, rest, index)
    outcomes = [with_own_name(outcome, frame) for outcome in outcomes]
    patients = np.arange(len(frame)) if groups is None else groups
    is_grouped = groups is not None
    if outcomes:
        siblings = find_siblings(rest, outcomes)
        found += siblings
        found += find_determiners(frame, rest, outcomes, patients, is_grouped=is_grouped)
        labels = [suspect.column for suspect in siblings]
        known = {suspect.column for suspect in found}
        found += _relatives(frame, rest, labels, known, patients, is_grouped=is_grouped)
        found += find_telling_notes(frame, rest, outcomes, labels)
    return found


def patient_numbers(groups: Any, n_rows: int) -> NDArray[np.int64] | None:
    """Return the number of each row's patient, in the order of their names; None for none."""
    if groups is None:
        return None
    labels = group_labels(groups, n_rows)
    return np.asarray(np.unique(labels.astype(str), return_inverse=True)[1], dtype=np.int64)


def words_of_warning(suspects: list[Suspect]) -> str:
    """Return what was left out and why, and how to bring it back; empty for nothing."""
    reasons: dict[str, list[str]] = {}
    for name, about in by_column(suspects).items():
        reasons.setdefault(about[0].evidence, []).append(name)
    if not reasons:
        return ""
    told = "; ".join(f"{quoted(names, _SHOWN)} ({why})" for why, names in reasons.items())
    one = next(iter(reasons.values()))[0]
    return (
        "encoders='auto' leaves out what may give the target away, or tell patients apart: "
        f"{told}. To learn from such a column all the same, name it in an encoder, for example "
        f"encoders={{'table': asfusion.TabularEncoder([{one!r}, ...])}}; asfusion.look(X, y) "
        "shows the evidence."
    )


def _relatives(
    frame: Frame,
    roles: Mapping[str, str],
    labels: Sequence[str],
    known: set[str],
    patients: NDArray[np.int64],
    *,
    is_grouped: bool,
) -> list[Suspect]:
    """Return columns that alone tell another label: what that was made of, or a copy of it."""
    rest = {name: role for name, role in roles.items() if name not in known}
    found: dict[str, Suspect] = {}
    for label in labels:
        outcome = column_outcome(frame, label)
        if not 2 <= len(outcome.levels) <= _FEW_LEVELS:
            continue
        asked = {name: role for name, role in rest.items() if name not in found}
        alike = find_determiners(
            frame, asked, [outcome], patients, is_grouped=is_grouped, presence=False
        )
        for suspect in alike:
            told = f"alone it tells {label!r}, a label itself"
            found.setdefault(suspect.column, Suspect(suspect.column, "sibling", told))
    return list(found.values())
