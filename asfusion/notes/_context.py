"""How a concept is meant: denied, of a relative, of the past, a plan, a guess.

ConText (Harkema 2009, doi:10.1016/j.jbi.2009.05.002): cue words reach forward or backward until
a word stops them, and the longest of overlapping cues wins. NOTE[DIFF]: the reach of a denial
or doubt goes on over an enumeration only ("no uveitis, psoriasis or colitis"), not to the end
of the sentence; headings such as "Family history:" are cues of their own; and a relative named
behind a preposition ("psoriasis in his father") reaches backward.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

from asfusion.notes._patterns import compile_pattern, read_groups

Context: TypeAlias = Literal[
    "present", "historical", "possible", "hypothetical", "negated", "family", "family_negated"
]
CONTEXTS: tuple[Context, ...] = (
    "present", "historical", "possible", "hypothetical", "negated", "family", "family_negated",
)  # fmt: skip

_LASTING = frozenset({"hla_b27", "family_history"})  # once true, always true
_CLAIMS = frozenset({"better_with_exercise", "nsaid_response", "smoking"})  # said as clauses
_FIRST_WITHIN = {"negated": 8, "possible": 8, "historical": 6, "affirmed": 8, "hypothetical": 14}
_BACK_WITHIN = 6
# Between items of an enumeration: commas, slashes, "or", and at most two words more.
_LISTED = re.compile(r"[\s,/&+]*(?:(?:and|or|nor|no|any|of|a|an)\b\s*)*(?:[\w'-]+\s+){0,2}")
_JOINED = re.compile(r"[\s,/&+]*(?:\b(?:and|or|nor)\b\s*)?")
_AMOUNT = re.compile(
    r"\s*(?:[:=~]|of|for|>|<)?\s*(?:about )?\d+\s*(?:min|h\b|hours?|hrs?|mg|/10|x)"
)
_BREAK = re.compile(r"(?<=[.!?])\s+(?=[^a-z])|\n+(?![a-z])")
_HEADING = re.compile(r"\s*[-*•]?\s*([A-Za-z][A-Za-z /()]{0,40}?)\s*(?::|\s[-\u2013]\s)(?!\d)")
_HEADED = {
    "family": re.compile(r"(?:family(?: medical)? (?:history|hx)|fam\.? ?hx|fhx?)$", re.I),
    "historical": re.compile(
        r"(?:past|previous|prior)(?: medical)? (?:history|hx|illness(?:es)?)$|pmhx?$", re.I
    ),
    "hypothetical": re.compile(
        r"(?:plans?|safety net(?:ting)?|recommendations?|advice|to do|next steps?)$", re.I
    ),
}
_PREPOSED = re.compile(
    r"(?:\b(?:in|of|by|on)\s+(?:(?:an?|his|her|their|the|one)\s+)?|\()\s*$", re.I
)


class Cue(NamedTuple):
    """A cue word: where it is, what it says, and which way it reaches."""

    start: int
    end: int
    kind: str
    direction: str


@dataclass
class Mention:
    """A concept that was found, and what cues say of it so far."""

    concept: str
    start: int
    end: int
    flags: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)  # flags that came over an enumeration
    headed: set[str] = field(default_factory=set)  # flags of a heading
    cues: list[tuple[int, int]] = field(default_factory=list)

    def mark(self, cue: Cue, *, listed: bool = False) -> None:
        """Note what a cue says."""
        if cue.kind == "historical" and self.concept in _LASTING:
            return
        if cue.kind == "family" and self.concept == "family_history":
            return
        if listed and cue.kind not in self.flags:
            self.listed.add(cue.kind)
        elif not listed:
            self.listed.discard(cue.kind)
        self.flags.add(cue.kind)
        if cue.end > cue.start:
            self.cues.append((cue.start, cue.end))

    def context(self) -> Context:
        """Return the one context that the flags amount to."""
        flags = set(self.flags)
        if "affirmed" in flags:
            flags -= self.listed
        if flags & {"possible", "negated"}:  # "Plan: IBP cannot be excluded"
            flags -= self.headed & {"hypothetical"}
        if "hypothetical" in flags:
            return "hypothetical"
        if "family" in flags:
            return "family_negated" if "negated" in flags else "family"
        for kind in ("negated", "possible", "historical"):
            if kind in flags:
                return kind
        return "present"


def resolve_contexts(text: str, mentions: Sequence[Mention]) -> None:
    """Mark each mention, in the order of the text, by the cues of its sentence."""
    waiting = list(mentions)
    for start, end, heading in _sentences(text):
        inside = []
        while waiting and waiting[0].start < end:
            inside.append(waiting.pop(0))
        if not inside:
            continue
        _Sentence(text[start:end], start, inside).resolve()
        for mention in inside:
            if heading is not None and heading not in mention.flags:
                mention.mark(Cue(start, start, heading, "forward"))
                mention.headed.add(heading)


class _Sentence:
    """One sentence with its mentions and cues, offsets in the whole text."""

    def __init__(self, text: str, start: int, mentions: list[Mention]) -> None:
        self.text, self.start, self.mentions = text, start, mentions
        cues = list(self._cues())
        stops = [cue for cue in cues if cue.kind.startswith("stop")]
        # What stops others says nothing itself, and takes no words away from what does.
        self.cues = sorted(_longest([cue for cue in cues if cue not in stops]) + stops)
        self.breaks = [start + m.start() for m in re.finditer(";", text)]

    def _cues(self) -> Iterator[Cue]:
        for pattern, kind, direction in _cue_patterns():
            for match in pattern.finditer(self.text):
                first, last = match.start(), match.end()
                while first < last and self.text[first].isspace():
                    first += 1
                cue = Cue(self.start + first, self.start + last, kind, direction)
                over = [m for m in self.mentions if m.start < cue.end and cue.start < m.end]
                if all(m.start <= cue.start and cue.end <= m.end for m in over):
                    yield cue

    def between(self, start: int, end: int) -> str:
        return self.text[max(0, start - self.start) : max(0, end - self.start)]

    def resolve(self) -> None:
        """Let every cue say what it says."""
        spans: dict[tuple[int, int], list[Cue]] = {}
        for cue in self.cues:
            spans.setdefault((cue.start, cue.end), []).append(cue)
        for cues in spans.values():
            self._apply(cues)
        for mention in self.mentions:
            if _AMOUNT.match(self.between(mention.end, mention.end + 20)):
                mention.flags -= mention.listed  # "no uveitis, morning stiffness 20 min"

    def _apply(self, cues: list[Cue]) -> None:
        own = [m for m in self.mentions if m.start <= cues[0].start and cues[0].end <= m.end]
        said = [c for c in cues if c.kind not in ("stop", "stop_family", "pseudo")]
        if own:
            for cue in said:
                own[0].mark(cue)
            return
        ways = {c.direction: c for c in said if c.direction != "inside"}
        if self.between(cues[0].start, cues[0].end) == "?":
            apart = not self.between(cues[0].start - 1, cues[0].start).strip()
            ways.pop("backward" if apart else "forward", None)  # "? uveitis", "uveitis?"
        if "both" in ways:
            self._relative(ways["both"])
        elif not ("backward" in ways and self._backward(ways["backward"])) and "forward" in ways:
            self._forward(ways["forward"])

    def _stop_after(self, cue: Cue) -> int:
        """Return where the reach of a cue ends."""
        kinds = ("stop_family",) if cue.kind == "family" else ("stop",)
        ends = [b for b in self.breaks if b >= cue.end]
        for stop in self.cues:
            if stop.kind in kinds and stop.start >= cue.end and self._does_stop(stop):
                ends.append(stop.start)
        return min(ends, default=self.start + len(self.text))

    def _stop_before(self, cue: Cue) -> int:
        kinds = ("stop_family",) if cue.kind == "family" else ("stop",)
        starts = [b + 1 for b in self.breaks if b < cue.start]
        for stop in self.cues:
            if stop.kind in kinds and stop.end <= cue.start and self._does_stop(stop):
                starts.append(stop.start)
        return max(starts, default=self.start)

    def _does_stop(self, stop: Cue) -> bool:
        """Return whether a stop word stands for itself, or opens a clause as a concept."""
        holders = [m for m in self.mentions if m.start <= stop.start and stop.end <= m.end]
        return not holders or self.between(self.start, holders[0].start).rstrip().endswith(",")

    def _forward(self, cue: Cue) -> None:
        end = self._stop_after(cue)
        reached = [m for m in self.mentions if cue.end <= m.start < end]
        for number, mention in enumerate(reached):
            if number == 0:
                gap = self.between(cue.end, mention.start)
                if not _within(gap, _FIRST_WITHIN[cue.kind], lists=cue.kind != "hypothetical"):
                    return
            else:
                gap = self.between(reached[number - 1].end, mention.start)
                if cue.kind != "hypothetical" and not _LISTED.fullmatch(gap):
                    return
            if mention.concept in _CLAIMS and "," in gap and cue.kind != "hypothetical":
                return
            mention.mark(cue, listed=number > 0 or "," in gap)

    def _backward(self, cue: Cue) -> bool:
        start = self._stop_before(cue)
        reached = [m for m in self.mentions if start <= m.start and m.end <= cue.start][::-1]
        for number, mention in enumerate(reached):
            if number == 0:
                gap = self.between(mention.end, cue.start)
                comma = "," in gap and cue.kind != "historical"
                if comma or len(gap.split()) > _BACK_WITHIN or self._is_answered(mention, cue):
                    return False
            elif not _JOINED.fullmatch(self.between(mention.end, reached[number - 1].start)):
                return True
            if cue.kind == "affirmed" and number:
                return True  # "uveitis, B27 pos": the answer is to the last one
            mention.mark(cue, listed=number > 0)
        return bool(reached)

    def _is_answered(self, mention: Mention, cue: Cue) -> bool:
        """Return whether another answer stands between a mention and a cue."""
        return any(
            mention.end <= other.start and other.end <= cue.start
            and other.kind in ("negated", "affirmed") and cue.kind in ("negated", "affirmed")
            for other in self.cues
        )  # fmt: skip

    def _relative(self, cue: Cue) -> None:
        first, end = self._stop_before(cue), self._stop_after(cue)
        before = [m for m in self.mentions if first <= m.start and m.end <= cue.start]
        after = [
            m
            for m in self.mentions
            if cue.end <= m.start < end
            and not (m.concept in _CLAIMS and "," in self.between(cue.end, m.start))
        ]
        ahead = self.between(self.start, cue.start)
        if before and (_PREPOSED.search(ahead) or self.between(cue.start, cue.end).startswith("in")
                       or "runs" in self.between(cue.start, cue.end)):  # fmt: skip
            clause = [m for m in before if "," not in self.between(m.end, cue.start)] or before[-1:]
            after = before if _lists(self, clause, before) else clause
        for mention in after:
            mention.mark(cue)


def _lists(sentence: _Sentence, clause: list[Mention], before: list[Mention]) -> bool:
    """Return whether all of `before` is one enumeration that ends in `clause`."""
    gaps = [sentence.between(a.end, b.start) for a, b in pairwise(before)]
    return bool(clause) and all(_LISTED.fullmatch(gap) for gap in gaps)


def _within(gap: str, most: int, *, lists: bool) -> bool:
    """Return whether a gap is short enough, and a plain enumeration where it has commas."""
    words = len(gap.split())
    if "," in gap and lists:
        return words <= 3 * most and all(len(piece.split()) <= 3 for piece in gap.split(","))
    return words <= most


def _longest(cues: list[Cue]) -> list[Cue]:
    """Return the cues that no longer one overlaps."""
    kept: list[Cue] = []
    for cue in sorted(cues, key=lambda c: (c.start - c.end, c.start)):
        clash = [k for k in kept if k.start < cue.end and cue.start < k.end]
        if all((k.start, k.end) == (cue.start, cue.end) for k in clash):
            kept.append(cue)
    return kept


def _sentences(text: str) -> Iterator[tuple[int, int, str | None]]:
    """Yield start, end and heading of each sentence."""
    active: str | None = None
    alone = False
    start = 0
    for end in [*(m.end() for m in _BREAK.finditer(text)), len(text)]:
        if end <= start:
            continue
        sentence = text[start:end]
        match = _HEADING.match(sentence)
        if match:
            found = (k for k, known in _HEADED.items() if known.search(match[1].strip()))
            active = next(found, None)
            alone = not sentence[match.end() :].strip()
        elif not alone and active != "hypothetical":
            active = None
        yield start, end, active
        start = end


@lru_cache(maxsize=1)
def _cue_patterns() -> list[tuple[re.Pattern[str], str, str]]:
    groups, _ = read_groups("context_cues.txt")
    return [
        (compile_pattern(line), *heading.split()[:2])  # type: ignore[misc]
        for heading, lines in groups
        for line in lines
    ]
