"""Words and commas of a sentence, counted between any two places at once."""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import accumulate, pairwise

_IN_A_LIST = 3  # words of an item of an enumeration


class Gaps:
    """What stands between two places of a sentence, offsets in the whole text."""

    def __init__(self, text: str, start: int) -> None:
        self._text, self._start = text, start
        self._words = [start + m.start() for m in re.finditer(r"\S+", text)]
        self._commas = [start + m.start() for m in re.finditer(",", text)]
        wordy = (self.words(a + 1, b) > _IN_A_LIST for a, b in pairwise(self._commas))
        self._wordy = [0, *accumulate(wordy)]  # items of too many words, before each comma

    def words(self, start: int, end: int) -> int:
        """Return how many words, or ends of words, stand between two places."""
        if start >= end:
            return 0
        first, last = bisect_left(self._words, start), bisect_left(self._words, end)
        begins = first < len(self._words) and self._words[first] == start
        inside = self._text[start - self._start : start - self._start + 1]
        return last - first + (not begins and bool(inside.strip()))

    def has_comma(self, start: int, end: int) -> bool:
        return start <= self.last_comma(end)

    def last_comma(self, end: int) -> int:
        """Return the last comma before a place, -1 without any."""
        number = bisect_left(self._commas, end)
        return self._commas[number - 1] if number else -1

    def next_comma(self, start: int) -> int:
        """Return the first comma from a place on, else the end of the sentence."""
        number = bisect_left(self._commas, start)
        behind = self._start + len(self._text)
        return self._commas[number] if number < len(self._commas) else behind

    def is_short(self, start: int, end: int, *, most: int, lists: bool) -> bool:
        """Return whether a gap is short enough, and a plain enumeration where it has commas."""
        words = self.words(start, end)
        if not lists or not self.has_comma(start, end):
            return words <= most
        first, last = bisect_left(self._commas, start), bisect_left(self._commas, end) - 1
        return (
            words <= 3 * most
            and self.words(start, self._commas[first]) <= _IN_A_LIST
            and self._wordy[last] == self._wordy[first]
            and self.words(self._commas[last] + 1, end) <= _IN_A_LIST
        )
