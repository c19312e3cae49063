"""Show a note with the values of its words: HTML, terminal, bars.

A note may hold anything, markup and escape codes too. Nothing of it reaches a page or a
terminal but as visible text.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from asfusion._checks import check_integer, check_number
from asfusion.explanation._attribution import GAP, PRESENCE, Floats, RowAttribution
from asfusion.explanation.spans import Span
from asfusion.explanation.views.bars import Pairs
from asfusion.explanation.views.findings import sentences_of
from asfusion.explanation.views.visible import visible
from asfusion.show import colours
from asfusion.show.figures import given_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Colour = tuple[int, int, int]

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


class TextView(RowAttribution):
    """The pictures of a note and its words."""

    _parts_are: ClassVar[str] = "words"

    text: str
    spans: tuple[Span, ...]
    total: float
    gap: float
    method: str
    elsewhere: float
    standard_errors: tuple[float, ...]

    def word(self, span: Span) -> str:
        """Return the text of a span.

        Parameters
        ----------
        span : Span
            One of `spans`.

        Returns
        -------
        str
            Its characters.
        """
        return self.text[span.start : span.end]

    def top(self, n: int = 10) -> tuple[Span, ...]:
        """Return the spans with the largest absolute values.

        Parameters
        ----------
        n : int, default=10
            How many at most.

        Returns
        -------
        tuple of Span
            The largest first; of equals the first in the text.

        Raises
        ------
        ConfigurationError
            If `n` is below one.
        """
        n = check_integer(n, "n", minimum=1)
        return tuple(sorted(self.spans, key=lambda span: -abs(span.value))[:n])

    def to_html(self, limit: float | None = None) -> str:
        """Return the note as HTML, each word behind the colour of its value.

        Orange raises the output, purple lowers it; the number stands in the tooltip. All
        characters of the note are escaped, and those that cannot be seen are replaced one
        by one, so that a note can neither add to the page nor turn its text around.

        Parameters
        ----------
        limit : float, optional
            Absolute value with the full colour, the same for both signs; the largest of
            the note by default. Give one limit to compare notes.

        Returns
        -------
        str
            One ``div`` element, with no script, no link and no identifier.

        Raises
        ------
        ConfigurationError
            If `limit` is not a finite number above zero.
        """
        return _as_html(self, limit)

    def render(self, *, colour: bool = True) -> str:
        """Return the note and its top words for a terminal.

        Parameters
        ----------
        colour : bool, default=True
            Whether to colour the words by ANSI escape codes; without, a top word is
            followed by its value in braces. Control characters of the note are replaced
            either way.

        Returns
        -------
        str
            Some lines of text.
        """
        return _as_terminal(self, colour=colour)

    def plot(self, ax: Axes | None = None, n: int = 12) -> Axes:
        """Draw the values of the top words, the largest on top.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        n : int, default=12
            How many words at most.

        Returns
        -------
        matplotlib Axes
            The axes drawn into.

        Raises
        ------
        ConfigurationError
            If `n` is below one.
        """
        spans = self.top(n)
        ax = given_or_new(ax, (6.0, 1.2 + 0.28 * len(spans)))
        _draw(self, spans, ax)
        return ax

    def __str__(self) -> str:
        """Return the note and its top words without escape codes."""
        return self.render(colour=False)

    def _repr_html_(self) -> str:
        """Return the coloured note for a notebook."""
        return self.to_html()

    # -- what lies within the note -----------------------------------------------------

    def _named_parts(self) -> Pairs:
        words = [(self.text[s.start : s.end], float(s.value)) for s in self.spans]
        gap = self.gap if abs(self.gap) > _ROUNDING * max(1.0, abs(self.total)) else 0.0
        return [*words, (PRESENCE, self.elsewhere), (GAP, gap)]

    def _read_parts(self) -> Pairs:
        own = {PRESENCE, GAP}
        apart = [(label, value) for label, value in self._named_parts() if label in own]
        return [*sentences_of(self), *apart]

    def _on_page(self, limit: float) -> str:
        return self.to_html(limit=limit)

    def _left_open(self) -> float | None:
        return None if self.method == "shapley" else abs(self.gap)

    def _vector(self) -> Floats | None:
        return np.asarray([span.value for span in self.spans])


def _as_html(attribution: TextView, limit: float | None) -> str:
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


def _html_legend(attribution: TextView, limit: float) -> str:
    ends = (
        f'<span style="{_style(sign * limit, limit)}">{word} {sign * limit:+.3g}</span>'
        for sign, word in ((1, "raises"), (-1, "lowers"))
    )
    return f"{' '.join(ends)} {html.escape(_sums(attribution))}"


def _sums(attribution: TextView) -> str:
    """Return what the words add up to, and what they leave open."""
    parts = [f"total {attribution.total:+.4g}", attribution.method.replace("_", " ")]
    if attribution.elsewhere:
        parts.insert(1, f"outside words {attribution.elsewhere:+.3g}")
    if abs(attribution.gap) > _ROUNDING * max(1.0, abs(attribution.total)):
        parts.insert(1, f"not explained {attribution.gap:+.3g}")
    if any(attribution.standard_errors):
        parts.append(f"largest standard error {max(attribution.standard_errors):.2g}")
    return "; ".join(parts)


def _limit_of(attribution: TextView, limit: float | None) -> float:
    if limit is not None:
        return check_number(limit, "limit", minimum=0.0, exclusive=True)
    return max((abs(span.value) for span in attribution.spans), default=0.0) or 1.0


def _background(value: float, limit: float) -> Colour:
    """Return the colour of a value: white at zero, full at the limit and beyond."""
    share = min(abs(value) / limit, 1.0)
    end = bytes.fromhex((colours.RAISES if value > 0 else colours.LOWERS)[1:])
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


def _as_terminal(attribution: TextView, *, colour: bool) -> str:
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
        f"{_number(span.value, limit):>10}  {_label(attribution.word(span))}" for span in listed
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


def _label(word: str) -> str:
    """Return a word or chunk of words as one short line."""
    line = " ".join(visible(word).split())
    return line if len(line) <= _LONGEST_LABEL else f"{line[: _LONGEST_LABEL - 1]}…"


def _draw(attribution: TextView, spans: Sequence[Span], ax: Axes) -> None:
    """Draw one bar per span, the first on top; the line on a bar is two standard errors."""
    errors = dict(zip(attribution.spans, attribution.standard_errors, strict=False))
    places = list(range(len(spans)))
    ax.barh(
        places,
        [span.value for span in spans],
        xerr=[2 * errors[span] for span in spans] if any(errors.values()) else None,
        color=[colours.RAISES if span.value > 0 else colours.LOWERS for span in spans],
        ecolor="#404040",
    )
    ax.axvline(0.0, color="black", linewidth=0.8)
    ax.set_yticks(places, [_label(attribution.word(span)) for span in spans])
    for tick in ax.get_yticklabels():
        tick.set_parse_math(False)  # a dollar sign of the note is no formula
    ax.invert_yaxis()
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel("adds to the output (its units)")
    ax.spines[["top", "right", "left"]].set_visible(False)
