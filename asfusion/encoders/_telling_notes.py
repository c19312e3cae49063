"""Notes that name what is to be predicted, or a later day."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame
from asfusion.notes._lexicon import Lexicon, axspa_lexicon, build_lexicon
from asfusion.notes.concepts import mentions_of
from asfusion.notes.leaks import check_notes
from asfusion.suspects.names import stem_of
from asfusion.suspects.outcome import Outcome
from asfusion.suspects.suspect import Suspect

_READ = 2000  # notes
_SHARE = 0.05  # one note in twenty
_FEWEST = 5
_CLEAR = 0.01
_SHORTEST = 3  # letters of a word that is looked for
_LEVELS = frozenset(
    {
        *("abnormal", "absent", "case", "control", "controls", "false", "female", "high", "low"),
        *("male", "medium", "mild", "moderate", "negative", "none", "normal", "other", "patient"),
        *("positive", "present", "severe", "true", "unknown", "healthy", "large", "small"),
    }
)
_ALSO_SAID = {
    "icu": ("intensive care",),
    **dict.fromkeys(("death", "died", "mortality", "deceased"), ("died", "deceased", "death")),
}


def find_telling_notes(
    frame: Frame,
    roles: Mapping[str, str],
    outcomes: Sequence[Outcome],
    labels: Sequence[str] = (),
) -> list[Suspect]:
    """Return columns of notes that name the target, more often in some of its classes.

    Parameters
    ----------
    frame : Frame
        N rows.
    roles : mapping of str to str
        What each column is taken for.
    outcomes : sequence of Outcome
        What is predicted.
    labels : sequence of str
        Names of columns that are labels, too.
    """
    lexicon = _lexicon(outcomes, labels)
    found = []
    for name in [name for name, role in roles.items() if role == "note"] if lexicon else ():
        texts = frame.strings(name)
        there = [row for row, text in enumerate(texts) if text is not None]
        if len(there) > _READ:
            drawn = np.random.default_rng(0).choice(there, _READ, replace=False)
            there = np.sort(drawn).tolist()
        named = np.asarray([_names(str(texts[row]), lexicon) for row in there], dtype=bool)
        count = int(named.sum())
        if count < max(_FEWEST, _SHARE * len(there)):
            continue
        rows = np.asarray(there)
        if any(_differs(named, outcome.values[rows], outcome) for outcome in outcomes):
            told = f"{100 * count / len(there):.0f} % of its notes name the target or another label"
            found.append(Suspect(name, "note_tells", told))
    return found


def find_later_notes(
    frame: Frame, roles: Mapping[str, str], index: NDArray[np.float64]
) -> list[Suspect]:
    """Return columns of notes of which more than a few name a day after the index date."""
    days = [None if np.isnan(day) else _date(day) for day in index]
    found = []
    for name in [name for name, role in roles.items() if role == "note"]:
        check = check_notes(frame.strings(name), index_date=days)
        count = len(check.later_dates)
        if count >= max(_FEWEST, _SHARE * max(1, check.n_notes)):
            told = (
                f"{100 * count / check.n_notes:.0f} % of its notes name a day after the index date"
            )
            found.append(Suspect(name, "after_index", told))
    return found


def _date(day: float) -> Any:
    return np.datetime64(int(np.floor(day)), "D")


def _names(text: str, lexicon: Lexicon) -> bool:
    """Return whether a note names an outcome of the patient, also to deny it."""
    return any(not m.context.startswith("family") for m in mentions_of(text, lexicon))


def _lexicon(outcomes: Sequence[Outcome], labels: Sequence[str]) -> Lexicon:
    known = axspa_lexicon()
    found: Lexicon = {}
    wanted: dict[str, None] = {}
    for name in [*(outcome.name for outcome in outcomes), *labels]:
        stem = stem_of(name)
        if "_".join(stem) in known:
            found["_".join(stem)] = known["_".join(stem)]
        if len("".join(stem)) >= _SHORTEST:
            wanted[" ".join(stem)] = None
        wanted |= dict.fromkeys(also for word in stem for also in _ALSO_SAID.get(word, ()))
    for outcome in outcomes:
        wanted |= dict.fromkeys(level for level in outcome.levels if _is_telling(level))
    own = {words: [re.escape(words).replace(r"\ ", " ")] for words in wanted}
    return found | (build_lexicon(own, builtin=False) if own else {})


def _is_telling(level: str) -> bool:
    """Return whether the name of a class is a word that a note would only use of that class."""
    return re.fullmatch(r"[^\W\d_]{4,30}", level) is not None and level.lower() not in _LEVELS


def _differs(named: NDArray[np.bool_], values: NDArray[np.float64], outcome: Outcome) -> bool:
    """Return whether notes of some classes, or of high numbers, name it more often."""
    from scipy.stats import chi2_contingency, spearmanr

    known = ~np.isnan(values)
    named, values = named[known], values[known]
    if named.all() or not named.any() or len(np.unique(values)) < 2:
        return False
    if not outcome.levels:
        return bool(spearmanr(named, values).pvalue < _CLEAR)
    counts = [[((values == v) & (named == n)).sum() for v in np.unique(values)] for n in (0, 1)]
    return bool(chi2_contingency(np.asarray(counts)).pvalue < _CLEAR)
