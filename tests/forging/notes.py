"""Notes and patterns made to cost time, by seed: what an attacker or an export may hand over."""

from __future__ import annotations

import random

_PIECES = (
    "no ", "no uveitis, ", "uveitis, ", "uveitis; ", "? uveitis ", "?", "mother uveitis in his ",
    "if psoriasis ", "not yet been ", "isn't been ", "crp is was ", "family history of a ",
    "improves a b with ", "wakes a b c d ", "on 1/1/", "jan", "cannot be a excluded ", "- ", "-ve ",
    "(neg) ", ", ", ",,", "a", "A", "1", "\n", " ", "\t", "\r\n", ". ", "Family history: ",
    "Dr Smith Aa. ", "Aa Bb, ", "A-", "12 Aa Street ", "tel 0123 456 ", "a.b@c-d.", "http://a",
    "012 345 ", "1/1/2011 ", "3rd of May 2011 ",
    "\u0301", "\u0316\u0301", "e\u0301", "\u1e0b\u0323",
    "\u00ad", "\u200d", "\xa0", "\u80cc", "\U0001f600", "1\u2079\xbd", "\ud800", "\x00", "&amp;",
    "&#0038;", "&#17", "&#173;", "3;", "&lt;", "&nbsp;", "\ufb03", "\u0130", "\u212a", "\ufdfa",
)  # fmt: skip
_ATOMS = ("a", "b", "ab", r"\w", r"\d", ".", "[ab]", "[^b]", r"[\w-]", "(?:ab)", "a ", "(?i:A)")
_TIMES = ("*", "+", "?", "{2,}", "{0,9}", "{1,60}", "{5}", "*?", "+?", "")


def hostile_note(seed: int, size: int = 20_000) -> str:
    """Return a note of about `size` characters: few pieces, many times, in one of four orders."""
    draw = random.Random(seed)
    pieces = draw.sample(_PIECES, draw.choice((1, 1, 2, 3, 8)))
    order = draw.choice(("repeat", "blocks", "random", "nest"))
    length = max(1, sum(map(len, pieces)))
    if order == "repeat":
        return ("".join(pieces) * (size // length + 1))[:size]
    if order == "blocks":
        return "".join(piece * (size // len(pieces) // len(piece)) for piece in pieces)
    if order == "nest":
        half = size // 2
        outer = pieces[0] * (half // len(pieces[0]))
        return outer + pieces[-1] * (half // len(pieces[-1]))
    return "".join(draw.choice(pieces) for _ in range(size * len(pieces) // length))[:size]


def hostile_pattern(seed: int) -> str:
    """Return a regular expression of a few nested, repeated and ambiguous parts."""
    draw = random.Random(seed)
    return _part(draw, draw.randint(1, 4)) + draw.choice(("", "", "b", "!", "c", "(?=b)", "$"))


def attacked_text(seed: int, size: int = 2_000) -> str:
    """Return a text of the signs that `hostile_pattern` repeats, which never ends as it asks."""
    draw = random.Random(seed)
    unit = draw.choice(("a", "ab", "aab", "a b", "a-", "1", "a1 ", "b", "ba ", "a a\n"))
    return (unit * (size // len(unit) + 1))[:size] + draw.choice(("", "!", "x", "\n"))


def _part(draw: random.Random, depth: int) -> str:
    if depth == 0:
        return draw.choice(_ATOMS[:9]) + draw.choice(("", "", "*", "+", "{0,3}", "{1,}?"))
    parts = [_part(draw, depth - 1) for _ in range(draw.randint(1, 3))]
    kind = draw.choice(("row", "row", "either", "look"))
    body = "|".join(parts) if kind == "either" else "".join(parts)
    if kind == "look":
        return f"(?={body}){draw.choice(_ATOMS)}"
    return f"(?:{body}){draw.choice(_TIMES)}"
