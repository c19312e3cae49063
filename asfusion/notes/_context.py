"""How a concept is meant: denied, of a relative, of the past, a plan, a guess."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

Context: TypeAlias = Literal[
    "present", "historical", "possible", "hypothetical", "negated", "family", "family_negated"
]
CONTEXTS: tuple[Context, ...] = (
    "present", "historical", "possible", "hypothetical", "negated", "family", "family_negated",
)  # fmt: skip

_LASTING = frozenset({"hla_b27", "family_history"})  # once true, always true


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

    def mark(
        self, kind: str, cues: Iterable[tuple[int, int]] = (), *, listed: bool = False
    ) -> None:
        """Note what cues of one kind say."""
        if kind == "historical" and self.concept in _LASTING:
            return
        if kind == "family" and self.concept == "family_history":
            return
        if listed and kind not in self.flags:
            self.listed.add(kind)
        elif not listed:
            self.listed.discard(kind)
        self.flags.add(kind)
        self.cues.extend(cues)

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
