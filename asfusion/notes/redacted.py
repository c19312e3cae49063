"""Notes after redaction, and where they were changed."""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


class RedactedSpan(NamedTuple):
    """A stretch of a note that was replaced.

    Parameters
    ----------
    start : int
        Place of the first character in the original note.
    end : int
        Place behind the last one.
    category : str
        What it was taken for, such as ``"NAME"``.
    new_start : int
        Place of what stands there now, in the redacted note.
    new_end : int
        Place behind it.

    Examples
    --------
    >>> from asfusion.notes import redact
    >>> redact("Mr. Smith").spans[0][0]
    RedactedSpan(start=4, end=9, category='NAME', new_start=4, new_end=10)
    """

    start: int
    end: int
    category: str
    new_start: int
    new_end: int


@dataclass(frozen=True, repr=False)
class RedactedNotes:
    """Notes with fewer identifiers; not anonymous ones.

    Parameters
    ----------
    texts : tuple of str or None
        One per note.
    spans : tuple of tuple of RedactedSpan
        What was replaced in each.

    Examples
    --------
    >>> from asfusion.notes import redact
    >>> redacted = redact(["Mr. Smith, seen 2021-03-12.", None])
    >>> redacted.texts, redacted.counts
    (('Mr. [NAME], seen [DATE].', None), {'DATE': 1, 'NAME': 1})
    """

    texts: tuple[str | None, ...]
    spans: tuple[tuple[RedactedSpan, ...], ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many spans of each category were replaced."""
        return dict(sorted(Counter(span.category for row in self.spans for span in row).items()))

    def __repr__(self) -> str:
        said = ", ".join(f"{n} {category}" for category, n in self.counts.items()) or "nothing"
        return f"<RedactedNotes: {len(self.texts)} notes, replaced {said}; not anonymous>"

    def to_frame(self) -> pd.DataFrame:
        """Return one row per replaced span, without the words.

        Returns
        -------
        DataFrame
            With the columns ``note``, ``category``, ``start``, ``end``, ``new_start``, ``new_end``.
        """
        import pandas as pd

        columns = ["note", "category", "start", "end", "new_start", "new_end"]
        rows = [
            (note, s.category, s.start, s.end, s.new_start, s.new_end)
            for note, spans in enumerate(self.spans)
            for s in spans
        ]
        return pd.DataFrame(rows, columns=columns)

    def _repr_html_(self) -> str:
        """Return a table of counts; the notes themselves are not shown."""
        cells = "".join(
            f"<tr><td>{html.escape(category)}</td><td style='text-align:right'>{n}</td></tr>"
            for category, n in self.counts.items()
        )
        return (
            f"<table><caption>{len(self.texts)} notes: identifiers reduced, not anonymous</caption>"
            f"<tr><th>category</th><th>replaced</th></tr>{cells}</table>"
        )
