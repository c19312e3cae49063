"""How long a pattern can take: steps of a backtracking engine from one place, at the most.

Patterns come with bundles and from users, and one of them, such as ``(a+)+b``, can take longer
than anybody waits. A pattern is admitted by a bound on its steps, which is read off its parts: how
often each part can be entered is the product of the ways through the parts before it. A run of
one kind of sign has one way through where what follows begins with another kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

LONGEST_RUN = 60  # signs, or rounds, that * and + stand for in patterns that are not ours
_ENDLESS = 1e9
# Signs: ASCII one by one, of the others whether they are letters or digits, spaces, or neither.
_ASCII = range(128)
_LETTER, _SPACE, _OTHER = 128, 129, 130
_ALL = frozenset(range(131))
_CLASSES = {
    "WORD": frozenset({*(i for i in _ASCII if chr(i).isalnum() or chr(i) == "_"), _LETTER}),
    "DIGIT": frozenset({*(i for i in _ASCII if chr(i).isdigit()), _LETTER}),
    "SPACE": frozenset({*(i for i in _ASCII if chr(i).isspace()), _SPACE}),
}
_FOLDED = frozenset(map(ord, "iIsSkK"))  # what letters beyond ASCII stand for without case
_UNBOUNDED = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[*+]|\{(\d*),\}", re.DOTALL)
_REPEATS = (ops.MAX_REPEAT, ops.MIN_REPEAT)
_LOOKS = (ops.ASSERT, ops.ASSERT_NOT)


class _Cost(NamedTuple):
    ways: float  # ends that a part can have, from one place
    steps: float  # to find them all


class _Begins(NamedTuple):
    signs: frozenset[int]
    or_not: bool  # whether it can be empty


def bounded(pattern: str) -> str:
    """Return a pattern in which ``*``, ``+`` and ``{n,}`` have an end."""

    def bound(match: re.Match[str]) -> str:
        if match[0] in ("*", "+"):
            return f"{{{int(match[0] == '+')},{LONGEST_RUN}}}"
        least = int(match[1] or 0) if match[1] is not None else 0
        return match[0] if match[1] is None else f"{{{least},{max(least, LONGEST_RUN)}}}"

    return _UNBOUNDED.sub(bound, pattern)


def steps(pattern: re.Pattern[str]) -> float:
    """Return the most steps from one place of a text; infinite for what cannot be bounded."""
    tree = parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)
    cost = _cost(list(tree), _ALL)
    return cost.steps if cost.steps < _ENDLESS else float("inf")


def least_width(pattern: re.Pattern[str]) -> int:
    """Return how many characters a match has at the least."""
    return int(parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE).getwidth()[0])


def _cost(items: Sequence[Any], follow: frozenset[int]) -> _Cost:
    """Return the cost of parts in a row; `follow` is what can begin behind them."""
    ways, total = 1.0, 1.0
    for op, value in reversed(items):
        own = _cost_of_one(op, value, follow)
        ways, total = min(own.ways * ways, _ENDLESS), own.steps + own.ways * total
        signs, or_not = _begins_one(op, value)
        follow = signs | follow if or_not else signs
    return _Cost(ways, min(total, _ENDLESS))


def _cost_of_one(op: Any, value: Any, follow: frozenset[int]) -> _Cost:
    if op is ops.SUBPATTERN:
        return _cost(list(value[-1]), follow)
    if op is ops.BRANCH:
        each = [_cost(list(branch), follow) for branch in value[1]]
        return _Cost(_most_ways(each, value[1]), 1 + sum(c.steps for c in each))
    if op in _LOOKS:
        return _Cost(1, 1 + _cost(list(value[1]), _ALL).steps)
    if op in _REPEATS:
        return _cost_of_rounds(value, follow)
    known = op is ops.AT or _signs(op, value) is not None
    return _Cost(1, 1) if known else _Cost(_ENDLESS, _ENDLESS)


def _most_ways(each: Sequence[_Cost], branches: Sequence[Any]) -> float:
    """Return the ways through branches, of which those are open that begin with the same sign."""
    begins = [_begins(branch) for branch in branches]
    at_once = [
        sum(c.ways for c, b in zip(each, begins, strict=True) if b.or_not or sign in b.signs)
        for sign in _ALL
    ]
    return max(at_once)


def _cost_of_rounds(value: Any, follow: frozenset[int]) -> _Cost:
    least, most, body = value
    if most is ops.MAXREPEAT or most > _ENDLESS:
        return _Cost(_ENDLESS, _ENDLESS)
    parts = list(body)
    alone = _signs(*parts[0]) if len(parts) == 1 else None
    if alone is not None:
        ways = most - least + 1 if alone & follow else 1
        return _Cost(ways, 1 + 2 * most)
    one = _cost(parts, follow | _begins(parts).signs)
    entered, ways, total = 1.0, float(least == 0), 1.0
    for number in range(1, int(most) + 1):
        total += entered * one.steps
        entered *= one.ways
        ways += entered * (number >= least)
        if total >= _ENDLESS:
            break
    return _Cost(min(ways, _ENDLESS), min(total + ways, _ENDLESS))


def _begins(items: Iterable[Any]) -> _Begins:
    """Return the signs with which parts in a row can begin."""
    signs: frozenset[int] = frozenset()
    for op, value in items:
        own = _begins_one(op, value)
        signs |= own.signs
        if not own.or_not:
            return _Begins(signs, or_not=False)
    return _Begins(signs, or_not=True)


def _begins_one(op: Any, value: Any) -> _Begins:
    if op is ops.SUBPATTERN:
        return _begins(value[-1])
    if op is ops.BRANCH:
        each = [_begins(branch) for branch in value[1]]
        return _Begins(frozenset().union(*(b.signs for b in each)), any(b.or_not for b in each))
    if op in _REPEATS:
        own = _begins(value[2])
        return _Begins(own.signs, own.or_not or value[0] == 0)
    if op is ops.AT or op in _LOOKS:
        return _Begins(frozenset(), or_not=True)
    return _Begins(_signs(op, value) or _ALL, or_not=False)


def _signs(op: Any, value: Any) -> frozenset[int] | None:
    """Return the signs that one character of a pattern can be, or more; None for other parts."""
    if op in (ops.ANY, ops.NOT_LITERAL):
        return _ALL
    if op is ops.LITERAL:
        return _range(value, value)
    if op is ops.RANGE:
        return _range(*value)
    if op is ops.CATEGORY:
        name = str(value).removeprefix("CATEGORY_")
        known = _CLASSES.get(name.removeprefix("NOT_"))
        if known is None or name == "NOT_DIGIT":
            return _ALL
        return known if name in _CLASSES else _ALL - known
    if op is ops.IN:
        return _signs_of_class(value)
    return None


def _signs_of_class(parts: Sequence[Any]) -> frozenset[int]:
    if parts[0][0] is not ops.NEGATE:
        return frozenset().union(*(_signs(*part) or _ALL for part in parts))
    # Of what is left out only what is sure, so that nothing is missing.
    out: set[int] = set()
    for op, value in parts[1:]:
        if op is ops.LITERAL and value < 128:
            out.add(value)
        elif op is ops.CATEGORY and value is not ops.CATEGORY_DIGIT:
            out |= _signs(op, value) or set()
    return _ALL - out


def _range(first: int, last: int) -> frozenset[int]:
    """Return the signs from one to another, whatever their case."""
    own = {sign for code in range(first, min(last, 127) + 1) for sign in _cases(chr(code))}
    if last > 127:
        own |= {_LETTER, _SPACE, _OTHER, *_FOLDED}
    return frozenset(own)


def _cases(letter: str) -> set[int]:
    both = {ord(letter.lower()), ord(letter.upper())}
    return both | {_LETTER} if both & _FOLDED else both
