"""Text of notes in which nothing acts."""

from __future__ import annotations

import unicodedata


def visible(text: str) -> str:
    """Return a text of the same length in which nothing acts: no control, no turned direction.

    Line breaks and tabs stay. Control characters become their pictures (U+2400 and on),
    what has no picture becomes U+FFFD: other controls, marks that reorder or hide text,
    halves of surrogate pairs and places that Unicode keeps empty.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible_sign, text))


def _visible_sign(sign: str) -> str:
    if sign in "\n\t" or sign.isprintable():
        return sign
    code = ord(sign)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    # Spaces and joiners change no order, and words of many scripts need them.
    return sign if unicodedata.category(sign) == "Zs" or sign in "\u200c\u200d\u00ad" else "\ufffd"
