"""Take names, dates, numbers and places out of notes. It reduces identifiers, no more."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asfusion._cells import is_missing
from asfusion._door import public
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.notes._dates import find_dates
from asfusion.notes._identifiers import (
    Found,
    Names,
    find_capitals,
    find_identifiers,
    find_terms,
)
from asfusion.notes._lexicon import build_lexicon
from asfusion.notes.cells import check_one_column
from asfusion.notes.redacted import RedactedNotes, RedactedSpan

_FARTHEST_WEEKS = 52
# Where spans overlap, the longer one stands; of equals, the first here.
_ORDER = ("EMAIL", "URL", "DATE", "PHONE", "ID", "AGE", "INSTITUTION", "PLACE", "NAME")
_GIVEN = {"names": "NAME", "places": "PLACE", "institutions": "INSTITUTION", "identifiers": "ID"}


@public
def redact(
    notes: Any,
    *,
    names: Sequence[str] = (),
    places: Sequence[str] = (),
    institutions: Sequence[str] = (),
    identifiers: Sequence[str] = (),
    terms: Mapping[str, Sequence[str]] | None = None,
    patients: Sequence[Any] | None = None,
    date_key: str | bytes | None = None,
    day_first: bool = True,
    strict: bool = True,
) -> RedactedNotes:
    """Replace names, dates, numbers, places and institutions in notes by tags.

    This **reduces identifiers; the result is not anonymous**. Rules find what titles,
    headings, forms and capitals give away, and miss some of the rest. Give what your system
    knows of the patient (names, address) with the notes, and have people check before anything
    leaves the hospital.

    Parameters
    ----------
    notes : str, list or Series of str
        The notes; missing ones stay missing.
    names : list of str, default=()
        Names that are known, of patients and staff; each word of them is replaced wherever it
        stands with a capital.
    places : list of str, default=()
        Towns, streets and the like that are known.
    institutions : list of str, default=()
        Hospitals, practices and employers that are known.
    identifiers : list of str, default=()
        Numbers that are known.
    terms : mapping of str to list of str, optional
        Other tags and the patterns that they replace, as in `find_concepts`: for instance
        ``{"OUTCOME": ["ankylosing spondylitis"]}`` so that no note names the label.
    patients : list or Series, optional
        Whose note each is. The names found in one note of a patient are then replaced in all
        of them, and dates move alike.
    date_key : str or bytes, optional
        With it, dates are moved instead of tagged: by whole weeks, at most 52 either way,
        the same for all notes of a patient. Keep the key as secret as the notes: with it, and
        the patient's identifier, the shift can be computed again.
    day_first : bool, default=True
        Whether 03/04/2021 is the third of April.
    strict : bool, default=True
        Whether every word with a capital inside a sentence is taken for a name unless it is a
        known plain word. It finds most names that nothing points to, and takes some other
        words with them; right for English, wrong for German, whose nouns all have a capital.

    Returns
    -------
    RedactedNotes
        The texts, and each span that was replaced, with its place before and after.

    Raises
    ------
    InputError
        If a note is not a text, or `patients` has another length than `notes`.
    ConfigurationError
        If a list of known words holds something else, or `date_key` comes without `patients`.

    Notes
    -----
    Tags are ``[NAME]``, ``[DATE]``, ``[ID]``, ``[PHONE]``, ``[EMAIL]``, ``[URL]``, ``[PLACE]``,
    ``[INSTITUTION]`` and, from the ninetieth year on, ``[AGE]``. A bare year stays. The categories
    follow the list of the HIPAA Safe Harbor, 45 CFR 164.514(b)(2), without its guarantee. How
    much is found is measured on synthetic letters; on yours, measure again.

    References
    ----------
    .. [1] Neamatullah et al., "Automated de-identification of free-text medical records", BMC
       Med Inform Decis Mak 2008. https://doi.org/10.1186/1472-6947-8-32

    Examples
    --------
    >>> from asfusion.notes import redact
    >>> redact("Dr. Ann Miller saw him on 12 March 2021. Tel. 0123 456789.").texts[0]
    'Dr. [NAME] saw him on [DATE]. Tel. [PHONE].'
    >>> shifted = redact(["Seen 2021-03-12."], patients=["p1"], date_key="kept secret")
    >>> shifted.texts[0] != "Seen 2021-03-12.", len(shifted.texts[0])
    (True, 16)
    """
    texts = _read_texts(notes)
    given = {"names": names, "places": places, "institutions": institutions}
    known = _check_known({**given, "identifiers": identifiers})
    owners = _check_patients(patients, len(texts), date_key)
    lexicon = build_lexicon(terms, builtin=False) if terms else {}
    tags = {_tag(name): patterns for name, patterns in lexicon.items()}
    seeds: dict[Any, set[str]] = {}
    for text, owner in zip(texts, owners, strict=True):
        known_here = [] if text is None else _find_names(text, strict=strict)
        own = {str(text)[start:end] for start, end, tag in known_here if tag == "NAME"}
        seeds.setdefault(owner, set()).update(own)
    spread = {owner: Names([*own, *known["NAME"]]) for owner, own in seeds.items()}
    spans: list[tuple[RedactedSpan, ...]] = []
    out: list[str | None] = []
    for text, owner in zip(texts, owners, strict=True):
        if text is None:
            out.append(None)
            spans.append(())
            continue
        found_here = list(_find(text, known, spread[owner], day_first=day_first))
        found_here += _find_names(text, strict=strict)
        for tag, patterns in tags.items():
            found_here += [(m.start(), m.end(), tag) for p in patterns for m in p.finditer(text)]
        days = None if date_key is None else _shift(date_key, owner)
        dates = _moved_dates(text, days, day_first=day_first)
        new, replaced = _replace(text, _resolve(found_here, tags), dates)
        out.append(new)
        spans.append(replaced)
    return RedactedNotes(tuple(out), tuple(spans))


def _find(
    text: str, known: Mapping[str, Sequence[str]], names: Names, *, day_first: bool
) -> Iterable[Found]:
    yield from ((d.start, d.end, "DATE") for d in find_dates(text, day_first=day_first))
    yield from names.find(text)
    for category in ("PLACE", "INSTITUTION", "ID"):
        yield from find_terms(text, known[category], category)


def _find_names(text: str, *, strict: bool) -> list[Found]:
    return [*find_identifiers(text), *(find_capitals(text) if strict else ())]


def _resolve(found: Iterable[Found], tags: Mapping[str, Any]) -> list[Found]:
    """Return spans without overlap, in order: the longer first, then by category."""
    order = {name: number for number, name in enumerate([*tags, *_ORDER])}
    spans = sorted(set(found), key=lambda f: (f[0] - f[1], order[f[2]], f[0]))
    taken = bytearray(max((end for _, end, _ in spans), default=0))
    kept: list[Found] = []
    for start, end, category in spans:
        # What sticks out of a longer span is cut off and kept, so that nothing half-shown stays.
        while (first := taken.find(0, start, end)) >= 0:
            last = taken.find(1, first, end)
            start = last if last >= 0 else end
            taken[first:start] = b"\1" * (start - first)
            kept.append((first, start, category))
    return sorted(kept)


def _replace(
    text: str, found: Sequence[Found], dates: Mapping[tuple[int, int], str]
) -> tuple[str, tuple[RedactedSpan, ...]]:
    parts: list[str] = []
    spans: list[RedactedSpan] = []
    place = length = 0
    for start, end, category in found:
        if not text[start:end].strip(" ,.\n"):
            continue
        replacement = dates.get((start, end), f"[{category}]")
        parts += [text[place:start], replacement]
        length += start - place
        spans.append(RedactedSpan(start, end, category, length, length + len(replacement)))
        length += len(replacement)
        place = end
    parts.append(text[place:])
    return "".join(parts), tuple(spans)


def _moved_dates(text: str, days: int | None, *, day_first: bool) -> dict[tuple[int, int], str]:
    if days is None:
        return {}
    moved = {(d.start, d.end): d.shifted(days) for d in find_dates(text, day_first=day_first)}
    return {place: date for place, date in moved.items() if date is not None}


def _shift(key: str | bytes, owner: Any) -> int:
    """Return whole weeks in days, never none, the same for a patient and a key."""
    secret = key.encode() if isinstance(key, str) else key
    drawn = int.from_bytes(hmac.new(secret, str(owner).encode(), hashlib.sha256).digest()[:8])
    weeks = drawn % (2 * _FARTHEST_WEEKS) - _FARTHEST_WEEKS
    return 7 * (weeks if weeks < 0 else weeks + 1)


def _read_texts(notes: Any) -> list[str | None]:
    check_one_column(notes, "redact", "notes")
    cells = [notes] if isinstance(notes, str) or notes is None else list(notes)
    for row, cell in enumerate(cells):
        if not isinstance(cell, str) and not is_missing(cell):
            msg = f"redact: note {row}: expected text, got {type(cell).__name__}. Pass texts alone."
            raise InputError(msg)
    return [cell if isinstance(cell, str) else None for cell in cells]


def _check_known(given: Mapping[str, Any]) -> dict[str, list[str]]:
    for name, words in given.items():
        is_list = not isinstance(words, str) and isinstance(words, Iterable)
        if not is_list or not all(isinstance(word, str) and word.strip() for word in words):
            msg = f"{name}: expected a list of words, none of them blank, got something else."
            raise ConfigurationError(msg)
    return {_GIVEN[name]: list(words) for name, words in given.items()}


def _check_patients(patients: Any, n_notes: int, date_key: Any) -> list[Any]:
    if date_key is not None and (not isinstance(date_key, str | bytes) or not date_key):
        msg = f"date_key: expected a secret as str or bytes, got {type(date_key).__name__}."
        raise ConfigurationError(msg)
    if patients is None:
        if date_key is not None:
            msg = "date_key: expected patients=, so that the dates of a patient move alike."
            raise ConfigurationError(msg)
        return list(range(n_notes))
    owners = [patients] if isinstance(patients, str) else list(patients)
    if len(owners) != n_notes:
        msg = f"patients: expected one per note, {n_notes}, got {len(owners)}."
        raise InputError(msg)
    return owners


def _tag(name: str) -> str:
    return name.upper()
