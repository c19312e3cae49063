"""Clean notes without losing what a clinician wrote."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from html import unescape
from html.entities import html5

from asfusion._door import public

# NFKC turns 10⁹ into 109 and 1½ into 11/2: other numbers. Both are rewritten before it.
POWER = re.compile("(?<=[0-9])([⁺⁻]?[²³¹⁰⁴-⁹]+)")
FRACTION_AFTER_DIGIT = re.compile("(?<=[0-9])(?=[¼-¾⅐-⅞])")
FRACTION_BEFORE_DIGIT = re.compile("(?<=[¼-¾⅐-⅞])(?=[0-9])")

# What keyboards, word processors and hospital systems write for one and the same sign.
BEFORE_NFKC = {0xBA: "°", 0x2DA: "°", 0xB4: "'"}
AFTER_NFKC = {
    **dict.fromkeys([*range(0x2010, 0x2016), 0x2212], "-"),  # hyphens, dashes, minus
    **dict.fromkeys([0x2018, 0x2019, 0x201A, 0x201B, 0x2032], "'"),
    **dict.fromkeys([0x201C, 0x201D, 0x201E, 0x201F, 0x2033], '"'),
    0x2044: "/",
}
UNUSUAL = re.compile("[^ -~\n]")  # the rest is printable ASCII
# What exports of web pages write for a sign, also escaped twice: &nbsp; and &amp;nbsp;.
ENTITY = re.compile(r"&(?:(?:amp|#38|#x26);)*(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]\w{1,31});")
_LINE_ENDS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
# Marks on one letter: more than a Stream-Safe text has (Unicode Annex 15) would be sorted in
# time that grows with the square of their number.
_MOST_MARKS = 30
_MANY_MARKS = re.compile(f"[^\x00-\u02ff]{{{_MOST_MARKS + 1},}}")
_UNKNOWN = "\ufffd"
_DEEPEST = 8  # entities that are written with entities


@public
def clean_note(text: str) -> str:
    """Return one note in one spelling of characters, lines kept.

    Unicode is brought to NFKC (``㎎`` becomes ``mg``, ``ﬁ`` becomes ``fi``), dashes,
    quotes and degree signs to one form, entities of HTML (``&nbsp;``, ``&lt;``) to their
    signs; control and invisible characters go, runs of
    spaces become one, empty lines vanish. Letter case, accents, digits, signs and line
    breaks stay, and numbers keep their value: ``10⁹`` becomes ``10^9``, not ``109``, and
    ``1½`` becomes ``1 1/2``.

    Parameters
    ----------
    text : str
        A note; any string, even one with lone surrogates or NUL.

    Returns
    -------
    str
        The note, empty if nothing visible was in it. Cleaning it again changes nothing.

    Examples
    --------
    >>> clean_note("WBC 12 x 10⁹/L,  temp. 38 ºC")
    'WBC 12 x 10^9/L, temp. 38 °C'
    """
    text = _in_one_spelling(text)
    for sign in ENTITY_SIGNS:
        if (plain := ENTITY.sub(sign, text)) == text:
            break
        # A sign that an entity stood for needs cleaning as any other.
        text = _in_one_spelling(plain)
    return text


def entity_sign(match: re.Match[str]) -> str:
    """Return the sign that an entity of HTML stands for; what is none stays as it is."""
    name = f"{match[1]};"
    return unescape(f"&{name}") if name.startswith("#") else html5.get(name, match[0])


def _no_sign(match: re.Match[str]) -> str:
    return match[0] if entity_sign(match) == match[0] else _UNKNOWN


# By passes: what is still an entity after them was nested to cost time, and stands for nothing.
ENTITY_SIGNS = (*(entity_sign,) * _DEEPEST, _no_sign)


def _in_one_spelling(text: str) -> str:
    lines = (" ".join(line.split()) for line in spell(text).split("\n"))
    return "\n".join(line for line in lines if line)


def spell(text: str) -> str:
    """Return a text in one spelling of characters, with all its spaces.

    Parameters
    ----------
    text : str
        A note, or a part of one.

    Returns
    -------
    str
        The same with each character in its one form.
    """
    text = _fewer_marks(UNUSUAL.sub(visible, text))
    text = POWER.sub(r"^\1", text)
    text = FRACTION_BEFORE_DIGIT.sub(" ", FRACTION_AFTER_DIGIT.sub(" ", text))
    text = unicodedata.normalize("NFKC", text.translate(BEFORE_NFKC))
    return text.translate(AFTER_NFKC)


def _fewer_marks(text: str) -> str:
    surplus = set(surplus_marks(text))
    return "".join(c for place, c in enumerate(text) if place not in surplus) if surplus else text


def surplus_marks(text: str) -> Iterator[int]:
    """Yield the places of combining marks that stand behind thirty others.

    Parameters
    ----------
    text : str
        A note.

    Yields
    ------
    int
        Place of a mark.
    """
    for run in _MANY_MARKS.finditer(text):
        number = 0
        for place in range(*run.span()):
            number = number + 1 if unicodedata.combining(text[place]) else 0
            if number > _MOST_MARKS:
                yield place


def fold_note(text: str) -> str:
    """Return a note in lower case and Latin letters without accents, for counting words.

    Sjögren and Sjogren, Behçet and Behcet are one word. Marks of other scripts are part
    of their letters and stay.

    Parameters
    ----------
    text : str
        A note.

    Returns
    -------
    str
        The folded note.

    Examples
    --------
    >>> fold_note("No SJÖGREN syndrome")
    'no sjogren syndrome'
    """
    if text.isascii():
        return text.lower()
    kept: list[str] = []
    on_latin = False
    for character in unicodedata.normalize("NFD", _fewer_marks(text)):
        if unicodedata.category(character) == "Mn" and on_latin:
            continue
        on_latin = "LATIN" in unicodedata.name(character, "")
        kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept)).lower()


def visible(match: re.Match[str]) -> str:
    """Return what one character outside printable ASCII leaves of itself."""
    character = match[0]
    if character in _LINE_ENDS:
        return "\n"
    category = unicodedata.category(character)
    if category == "Cc":
        return " "  # NUL and tabs stand between words
    if category == "Cf":
        return ""  # soft hyphens, joiners and direction marks stand inside words
    return _UNKNOWN if category == "Cs" else character
