"""Show a note with the values of its words: HTML, terminal, bars.

A note may hold anything, markup and escape codes too. Nothing of it reaches a page or a
terminal but as visible text.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asfusion._checks import check_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from asfusion.explanation.text import Span, TextAttribution

# The ends of ColorBrewer's PuOr, which colour-blind eyes tell apart.
_RAISES = (230, 97, 1)
_LOWERS = (94, 60, 153)
_WHITE = (255, 255, 255)
# From the 256 colours that terminals share, all of them light enough for black letters.
_TERMINAL_RAISES = (223, 216, 209, 202)
_TERMINAL_LOWERS = (189, 147, 105, 99)
_LEGEND_STYLE = "font-family:sans-serif;font-size:0.8em;margin-top:0.6em"
_NOTE_STYLE = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.7;unicode-bidi:isolate"
_BOX_STYLE = "background:#ffffff;color:#000000;padding:0.6em"
_ROUNDING = 1e-9
_N_LISTED = 5
_LONGEST_LABEL = 40

Colour = tuple[int, int, int]


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


def as_html(attribution: TextAttribution, limit: float | None) -> str:
    limit = _limit_of(attribution, limit)
    parts: list[str] = []
    edge = 0
    for span in attribution.spans:
        parts.append(_escaped(attribution.text[edge : span.start]))
        parts.append(_mark(attribution.word(span), span.value, limit))
        edge = span.end
    parts.append(_escaped(attribution.text[edge:]))
    return (
        f'<div style="{_BOX_STYLE}"><div style="{_NOTE_STYLE}">{"".join(parts)}</div>'
        f'<div style="{_LEGEND_STYLE}">{_html_legend(attribution, limit)}</div></div>'
    )


def _escaped(text: str) -> str:
    return html.escape(visible(text), quote=True)


def _mark(word: str, value: float, limit: float) -> str:
    style, number = _style(value, limit), _number(value, limit)
    return f'<mark style="{style}" title="{number}">{_escaped(word)}</mark>'


def _number(value: float, limit: float) -> str:
    """Return a value with its sign; what rounding has left of a zero is one."""
    return f"{value if abs(value) > _ROUNDING * limit else 0.0:+.4g}"


def _style(value: float, limit: float) -> str:
    colour = _background(value, limit)
    return f"background:{_hex(colour)};color:{_hex(_ink(colour))}"


def _html_legend(attribution: TextAttribution, limit: float) -> str:
    ends = (
        f'<span style="{_style(sign * limit, limit)}">{word} {sign * limit:+.3g}</span>'
        for sign, word in ((1, "raises"), (-1, "lowers"))
    )
    return f"{' '.join(ends)} {html.escape(_sums(attribution))}"


def _sums(attribution: TextAttribution) -> str:
    """Return what the words add up to, and what they leave open."""
    parts = [f"total {attribution.total:+.4g}", attribution.method.replace("_", " ")]
    if attribution.elsewhere:
        parts.insert(1, f"outside words {attribution.elsewhere:+.3g}")
    if abs(attribution.gap) > _ROUNDING * max(1.0, abs(attribution.total)):
        parts.insert(1, f"not explained {attribution.gap:+.3g}")
    if any(attribution.standard_errors):
        parts.append(f"largest standard error {max(attribution.standard_errors):.2g}")
    return "; ".join(parts)


def _limit_of(attribution: TextAttribution, limit: float | None) -> float:
    if limit is not None:
        return check_number(limit, "limit", minimum=0.0, exclusive=True)
    return max((abs(span.value) for span in attribution.spans), default=0.0) or 1.0


def _background(value: float, limit: float) -> Colour:
    """Return the colour of a value: white at zero, full at the limit and beyond."""
    share = min(abs(value) / limit, 1.0)
    end = _RAISES if value > 0 else _LOWERS
    red, green, blue = (round(w + share * (e - w)) for w, e in zip(_WHITE, end, strict=True))
    return red, green, blue


def _ink(background: Colour) -> Colour:
    """Return black or white, whichever stands out more (WCAG contrast)."""
    return (0, 0, 0) if _luminance(background) > 0.179 else _WHITE


def _luminance(colour: Colour) -> float:
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (part / 255 for part in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def as_terminal(attribution: TextAttribution, *, colour: bool) -> str:
    limit = _limit_of(attribution, None)
    listed = attribution.top(_N_LISTED)
    parts: list[str] = []
    edge = 0
    for span in attribution.spans:
        parts.append(visible(attribution.text[edge : span.start]))
        word = visible(attribution.word(span))
        if colour:
            parts.append(_painted(word, span.value, limit))
        else:
            parts.append(f"{word}{{{_number(span.value, limit)}}}" if span in listed else word)
        edge = span.end
    parts.append(visible(attribution.text[edge:]))
    lines = ["".join(parts), "", _sums(attribution)]
    lines += [
        f"{_number(span.value, limit):>10}  {label(attribution.word(span))}" for span in listed
    ]
    return "\n".join(lines)


def _painted(word: str, value: float, limit: float) -> str:
    """Return a word behind its colour, which ends with each line."""
    step = round(len(_TERMINAL_RAISES) * min(abs(value) / limit, 1.0))
    if not step:
        return word
    back = (_TERMINAL_RAISES if value > 0 else _TERMINAL_LOWERS)[step - 1]
    codes = f"\x1b[48;5;{back};38;5;16m"
    return "\n".join(f"{codes}{line}\x1b[0m" for line in word.split("\n"))


def label(word: str) -> str:
    """Return a word or chunk of words as one short line."""
    line = " ".join(visible(word).split())
    return line if len(line) <= _LONGEST_LABEL else f"{line[: _LONGEST_LABEL - 1]}…"


def draw(attribution: TextAttribution, spans: Sequence[Span], ax: Axes) -> None:
    """Draw one bar per span, the first on top; the line on a bar is two standard errors."""
    errors = dict(zip(attribution.spans, attribution.standard_errors, strict=False))
    places = list(range(len(spans)))
    ax.barh(
        places,
        [span.value for span in spans],
        xerr=[2 * errors[span] for span in spans] if any(errors.values()) else None,
        color=[_hex(_RAISES if span.value > 0 else _LOWERS) for span in spans],
        ecolor="#404040",
    )
    ax.axvline(0.0, color="black", linewidth=0.8)
    ax.set_yticks(places, [label(attribution.word(span)) for span in spans])
    for tick in ax.get_yticklabels():
        tick.set_parse_math(False)  # a dollar sign of the note is no formula
    ax.invert_yaxis()
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel("adds to the output (its units)")
    ax.spines[["top", "right", "left"]].set_visible(False)
