"""How a concept is meant: denied, of a relative, of the past, a plan, a guess.

ConText (Harkema 2009, doi:10.1016/j.jbi.2009.05.002): cue words reach forward or backward until
a word stops them, and the longest of overlapping cues wins. NOTE[DIFF]: the reach of a denial
or doubt goes on over an enumeration only ("no uveitis, psoriasis or colitis"), not to the end
of the sentence; headings such as "Family history:" are cues of their own; and a relative named
behind a preposition ("psoriasis in his father") reaches backward.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TypeAlias

from asfusion.notes._context import Cue, Mention
from asfusion.notes._gaps import Gaps
from asfusion.notes._patterns import compile_pattern, read_groups
from asfusion.notes._scanner import Scanner

# First and last mention, the last one that is a claim, and the cue that reaches them; by kind
# of the cue and whether it comes over an enumeration.
_Range: TypeAlias = tuple[int, int, int, tuple[int, int]]
_Ranges: TypeAlias = dict[tuple[str, bool], list[_Range]]

_CLAIMS = frozenset({"better_with_exercise", "nsaid_response", "smoking"})  # said as clauses
_FIRST_WITHIN = {"negated": 8, "possible": 8, "historical": 6, "affirmed": 8, "hypothetical": 14}
_BACK_WITHIN = 6
# Between items of an enumeration: commas, slashes, "or", and at most two words more.
_LISTED = re.compile(r"[\s,/&+]*(?:(?:and|or|nor|no|any|of|a|an)\b\s*)*(?:[\w'-]+\s+){0,2}")
_JOINED = re.compile(r"[\s,/&+]*(?:\b(?:and|or|nor)\b\s*)?")
_AMOUNT = re.compile(
    r"\s*(?:[:=~]|of|for|>|<)?\s*(?:about )?\d+\s*(?:min|h\b|hours?|hrs?|mg|/10|x)"
)
_PREPOSED = re.compile(
    r"(?:\b(?:in|of|by|on)\s+(?:(?:an?|his|her|their|the|one)\s+)?|\()\s*$", re.I
)
_SILENT = ("stop", "stop_family", "pseudo")
_ANSWERS = ("negated", "affirmed")
_MOST_CUES = 16  # of one kind that a mention names; the nearest ones
_FARTHEST = 80  # characters before a relative in which a preposition is looked for


class Sentence:
    """One sentence with its mentions and cues, offsets in the whole text.

    Every look is by bisection and a reach is a range of mentions that is marked once for all,
    so that a sentence of any length takes time in proportion.
    """

    def __init__(self, text: str, start: int, mentions: Sequence[Mention]) -> None:
        self.text, self.start, self.mentions = text, start, mentions
        self.starts = [m.start for m in mentions]
        self.ends = [m.end for m in mentions]
        self.gaps = Gaps(text, start)
        cues = list(self._cues())
        stops = [cue for cue in cues if cue.kind.startswith("stop")]
        # What stops others says nothing itself, and takes no words away from what does.
        said = [cue for cue in cues if not cue.kind.startswith("stop")]
        self.cues = sorted(_longest(said, start, len(text)) + stops)
        self.answers = [cue for cue in self.cues if cue.kind in _ANSWERS]
        self.answer_starts = [cue.start for cue in self.answers]
        breaks = [start + m.start() for m in re.finditer(";", text)]
        stops = [stop for stop in stops if self._does_stop(stop)]
        self.stops = {
            kind: _Stops(breaks, [stop for stop in stops if stop.kind == kind])
            for kind in ("stop", "stop_family")
        }
        self.is_listed = self._links(_LISTED)
        self.plain_to = _run_ends(self.is_listed)
        self.listed_to = _run_ends([self._goes_on(n) for n in range(1, len(mentions))])
        self.joined_from = _run_starts(self._links(_JOINED))
        self.forward: _Ranges = {}
        self.backward: _Ranges = {}

    def _cues(self) -> Iterator[Cue]:
        kinds, scanner = _cue_scanner()
        for number, first, last in scanner.find(self.text):
            while first < last and self.text[first].isspace():
                first += 1
            start, end = self.start + first, self.start + last
            place = bisect_right(self.ends, start)
            is_apart = place == len(self.mentions) or self.starts[place] >= end
            if is_apart or (self.starts[place] <= start and end <= self.ends[place]):
                yield Cue(start, end, *kinds[number])

    def between(self, start: int, end: int) -> str:
        return self.text[max(0, start - self.start) : max(0, end - self.start)]

    def _links(self, pattern: re.Pattern[str]) -> list[bool]:
        """Return for each two neighbours whether what stands between them joins them."""
        return [
            pattern.fullmatch(self.between(a.end, b.start)) is not None
            for a, b in pairwise(self.mentions)
        ]

    def _goes_on(self, number: int) -> bool:
        """Return whether an enumeration goes on from the mention before to this one."""
        mention, before = self.mentions[number], self.mentions[number - 1]
        claims = mention.concept in _CLAIMS and self.gaps.has_comma(before.end, mention.start)
        return self.is_listed[number - 1] and not claims

    def _holder(self, cue: Cue) -> Mention | None:
        """Return the mention that holds a cue."""
        place = bisect_right(self.starts, cue.start) - 1
        return self.mentions[place] if place >= 0 and cue.end <= self.ends[place] else None

    def resolve(self) -> None:
        """Let every cue say what it says."""
        spans: dict[tuple[int, int], list[Cue]] = {}
        for cue in self.cues:
            spans.setdefault((cue.start, cue.end), []).append(cue)
        for cues in spans.values():
            self._apply(cues)
        _mark_ranges(self.mentions, self.forward)
        _mark_ranges(self.mentions[::-1], {k: r[::-1] for k, r in self.backward.items()})
        for mention in self.mentions:
            if mention.listed and _AMOUNT.match(self.between(mention.end, mention.end + 20)):
                mention.flags -= mention.listed  # "no uveitis, morning stiffness 20 min"

    def _apply(self, cues: list[Cue]) -> None:
        said = [c for c in cues if c.kind not in _SILENT]
        if (own := self._holder(cues[0])) is not None:
            for cue in said:
                own.mark(cue.kind, [(cue.start, cue.end)])
            return
        ways = {c.direction: c for c in said if c.direction != "inside"}
        if self.between(cues[0].start, cues[0].end) == "?":
            apart = not self.between(cues[0].start - 1, cues[0].start).strip()
            ways.pop("backward" if apart else "forward", None)  # "? uveitis", "uveitis?"
        if "both" in ways:
            self._relative(ways["both"])
        elif not ("backward" in ways and self._backward(ways["backward"])) and "forward" in ways:
            self._forward(ways["forward"])

    def _reached_after(self, cue: Cue) -> tuple[int, int]:
        """Return the range of mentions between a cue and what stops it."""
        stops = self.stops["stop_family" if cue.kind == "family" else "stop"]
        end = stops.after(cue.end, self.start + len(self.text))
        return bisect_left(self.starts, cue.end), bisect_left(self.starts, end)

    def _reached_before(self, cue: Cue) -> tuple[int, int]:
        stops = self.stops["stop_family" if cue.kind == "family" else "stop"]
        start = stops.before(cue.start, self.start)
        return bisect_left(self.starts, start), bisect_right(self.ends, cue.start)

    def _does_stop(self, stop: Cue) -> bool:
        """Return whether a stop word stands for itself, or opens a clause as a concept."""
        holder = self._holder(stop)
        if holder is None:
            return True
        place = holder.start - self.start
        while place > 0 and self.text[place - 1].isspace():
            place -= 1
        return self.text[max(0, place - 1) : place] == ","

    def _forward(self, cue: Cue) -> None:
        first, last = self._reached_after(cue)
        if first >= last:
            return
        mention, plans = self.mentions[first], cue.kind == "hypothetical"
        gap = cue.end, mention.start
        comma = self.gaps.has_comma(*gap)
        if not self.gaps.is_short(*gap, most=_FIRST_WITHIN[cue.kind], lists=not plans):
            return
        if mention.concept in _CLAIMS and comma and not plans:
            return
        mention.mark(cue.kind, [(cue.start, cue.end)], listed=comma)
        last = last if plans else min(last, self.listed_to[first])
        self._mark_after(cue, first + 1, last, listed=True)

    def _backward(self, cue: Cue) -> bool:
        first, last = self._reached_before(cue)
        if first >= last:
            return False
        mention = self.mentions[last - 1]
        gap = mention.end, cue.start
        comma = self.gaps.has_comma(*gap) and cue.kind != "historical"
        if comma or self.gaps.words(*gap) > _BACK_WITHIN or self._is_answered(mention, cue):
            return False
        mention.mark(cue.kind, [(cue.start, cue.end)])
        if cue.kind != "affirmed":  # "uveitis, B27 pos": the answer is to the last one
            self._mark_before(cue, max(first, self.joined_from[last - 1]), last - 1, listed=True)
        return True

    def _is_answered(self, mention: Mention, cue: Cue) -> bool:
        """Return whether another answer stands between a mention and a cue."""
        place = bisect_left(self.answer_starts, mention.end)
        return (
            cue.kind in _ANSWERS
            and place < len(self.answers)
            and self.answers[place].end <= cue.start
        )

    def _relative(self, cue: Cue) -> None:
        first, last = self._reached_before(cue)
        if first < last and self._points_back(cue):
            comma = self.gaps.last_comma(cue.start)
            clause = max(first, min(bisect_right(self.ends, comma), last - 1))
            is_list = self.plain_to[first] >= last
            self._mark_before(cue, first if is_list else clause, last, listed=False)
            return
        first, last = self._reached_after(cue)
        claims_last = bisect_left(self.starts, self.gaps.next_comma(cue.end))
        self._mark_after(cue, first, last, listed=False, claims_last=min(last, claims_last))

    def _points_back(self, cue: Cue) -> bool:
        """Return whether a relative is named behind a preposition: "psoriasis in his father"."""
        words, place = self.between(cue.start, cue.end), cue.start - self.start
        ahead = _PREPOSED.search(self.text, max(0, place - _FARTHEST), place)
        return ahead is not None or words.startswith("in") or "runs" in words

    def _mark_after(
        self, cue: Cue, first: int, last: int, *, listed: bool, claims_last: int | None = None
    ) -> None:
        if first < last:
            until = last if claims_last is None else claims_last
            span = (cue.start, cue.end)
            self.forward.setdefault((cue.kind, listed), []).append((first, last, until, span))

    def _mark_before(self, cue: Cue, first: int, last: int, *, listed: bool) -> None:
        if first < last:
            n, span = len(self.mentions), (cue.start, cue.end)
            ranges = self.backward.setdefault((cue.kind, listed), [])
            ranges.append((n - last, n - first, n - first, span))


def _mark_ranges(mentions: Sequence[Mention], ranges: _Ranges) -> None:
    """Mark mentions by the cues whose ranges they are in, of many the nearest."""
    for (kind, listed), own in ranges.items():
        active: deque[_Range] = deque(maxlen=_MOST_CUES)
        number = 0
        for place in range(own[0][0], len(mentions)):
            while number < len(own) and own[number][0] <= place:
                active.append(own[number])
                number += 1
            # Of two ranges the one that begins later never ends earlier.
            while active and active[0][1] <= place:
                active.popleft()
            claims = mentions[place].concept in _CLAIMS
            if claims:
                spans = [span for _, _, until, span in active if place < until]
            else:
                spans = [span for _, last, _, span in active if place < last]
            if spans:
                mentions[place].mark(kind, spans, listed=listed)


class _Stops:
    """Places where the reach of cues ends."""

    def __init__(self, breaks: list[int], stops: list[Cue]) -> None:
        self._starts = sorted([*breaks, *(stop.start for stop in stops)])
        ended = sorted([*((b + 1, b + 1) for b in breaks), *((s.end, s.start) for s in stops)])
        self._ends = [end for end, _ in ended]
        self._latest = list(accumulate((start for _, start in ended), max))

    def after(self, place: int, end: int) -> int:
        number = bisect_left(self._starts, place)
        return self._starts[number] if number < len(self._starts) else end

    def before(self, place: int, start: int) -> int:
        number = bisect_right(self._ends, place)
        return self._latest[number - 1] if number else start


def _run_ends(links: Sequence[bool]) -> list[int]:
    """Return for each item the place behind the last one that links lead to."""
    ends = [len(links) + 1]
    for place in range(len(links), 0, -1):
        ends.append(ends[-1] if links[place - 1] else place)
    return ends[::-1]


def _run_starts(links: Sequence[bool]) -> list[int]:
    """Return for each item the first one from which links lead to it."""
    starts = [0]
    for place, link in enumerate(links, start=1):
        starts.append(starts[-1] if link else place)
    return starts


def _longest(cues: list[Cue], start: int, length: int) -> list[Cue]:
    """Return the cues that no longer one overlaps."""
    taken = bytearray(length)
    kept: list[Cue] = []
    spans: set[tuple[int, int]] = set()
    for cue in sorted(cues, key=lambda c: (c.start - c.end, c.start)):
        first, last = cue.start - start, cue.end - start
        if (first, last) in spans or taken.find(1, first, last) < 0:
            taken[first:last] = b"\1" * (last - first)
            spans.add((first, last))
            kept.append(cue)
    return kept


@lru_cache(maxsize=1)
def _cue_scanner() -> tuple[list[tuple[str, str]], Scanner]:
    """Return kind and direction of each cue pattern, and what finds them."""
    groups, _ = read_groups("context_cues.txt")
    lines = [(heading.split()[:2], line) for heading, own in groups for line in own]
    kinds = [(kind, direction) for (kind, direction), _ in lines]
    return kinds, Scanner([compile_pattern(line) for _, line in lines])
