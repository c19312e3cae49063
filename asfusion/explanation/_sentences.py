"""What a prediction rests on, in sentences that are read aloud at a bedside."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_SMALLEST = 0.005  # half a percentage point: less is not worth a sentence
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|$~:])")

# Of this nothing in a line makes Markdown: no list, no address, no emphasis.
_HARMLESS = re.compile(
    r"(?!.*www\.)(?!\d+[.)])[^\W_](?:[^\W_]|[ ().,/%]|[-_](?=[^\W_]))*", re.IGNORECASE
)


def plain(text: str) -> str:
    """Return a text that Markdown shows as it is: no tag, no link, no formula."""
    return _MARKDOWN.sub(r"\\\1", text.replace("\n", " "))


def heard(text: str) -> str:
    """Return the name of an entry: as it is where that is harmless, since it is read aloud, too."""
    return text if _HARMLESS.fullmatch(text) else plain(text)


def points(value: float) -> str:
    """Return a difference of probabilities as percentage points."""
    n = round(100 * abs(value))
    return f"{n} point" if n == 1 else f"{n} points"


def share(value: float) -> str:
    """Return a probability as a percentage."""
    return f"{100 * value:.0f}\N{NO-BREAK SPACE}%"


def moved(
    values: Mapping[str, float],
    cells: Mapping[str, Any],
    units: Mapping[str, str],
    most: int = 6,
    *,
    amount: Callable[[float], str] = points,
    smallest: float = _SMALLEST,
) -> list[str]:
    """Return a sentence for each part that raised or lowered an output, the largest first.

    Parameters
    ----------
    values : mapping of str to float
        What each part added.
    cells : mapping of str to object
        The value of a part, where it has one.
    units : mapping of str to str
        The unit of a part.
    most : int
        Sentences; what is left is added up in one more, the last.
    amount : callable
        How much in words; percentage points by default.
    smallest : float
        What is less is not worth a sentence.
    """
    order = sorted(values, key=lambda name: -abs(values[name]))
    told = [name for name in order if abs(values[name]) >= smallest][:most]

    def sentence(name: str, value: float, cell: Any = None, unit: str | None = None) -> str:
        shown = "" if cell is None else f" {_cell(cell)}" + (f" {unit}" if unit else "")
        if amount(value) == amount(0.0):
            return f"{name}{shown} hardly moved it."
        way = "raised" if value > 0 else "lowered"
        return f"{name}{shown} {way} it by {amount(value)}."

    sentences = [sentence(n, values[n], cells.get(n), units.get(n)) for n in told]
    rest = sum(values[name] for name in order if name not in told)
    if len(told) < len(order) and abs(rest) >= smallest:
        sentences.append(sentence(f"Everything else ({len(order) - len(told)})", rest))
    least = "a point" if amount is points else amount(smallest)
    return sentences or [f"Nothing moved it by {least} or more."]


def _cell(cell: Any) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:g}" if isinstance(cell, float) else str(cell)


def concluded(answer: Mapping[str, Any], labels: Sequence[Any]) -> list[str]:
    """Return what is predicted, and how sure that is, in sentences."""
    sentences = []
    if "probabilities" in answer:
        shares = answer["probabilities"]
        best = max(shares, key=lambda name: shares[name])
        sentences.append(f"{best} has the highest probability: {100 * shares[best]:.0f} %.")
    elif answer.get("predicted") is not None:
        sentences.append(f"Predicted: {_cell(answer['predicted'])}.")
    if answer.get("interval"):
        low, high = answer["interval"]
        sentences.append(f"Between {low:.3g} and {high:.3g}, as often as the model promises.")
    if "set" in answer:
        sentences.append(_set_in_words(answer["set"], labels))
    if answer.get("missing"):
        sentences.append(f"Without: {', '.join(answer['missing'])}.")
    return sentences


def _set_in_words(found: Sequence[Any], labels: Sequence[Any]) -> str:
    if len(found) == 1:
        return f"All but {found[0]} can be ruled out, as often as the model promises."
    if not found:
        return "The model abstains: the patient is unlike those that it was calibrated on."
    if len(found) == len(labels):
        return "The model abstains: nothing can be ruled out."
    return f"The model abstains between {', '.join(str(one) for one in found)}."
