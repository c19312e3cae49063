"""JSON of strangers: what is too deep, no number, or more than a document holds is refused."""

from __future__ import annotations

import json
import math
from typing import Any

MOST_VALUES = 8_000_000  # a million codings are three


class NotReadable(ValueError):
    """Something that is no JSON, or none that may be read; its words show nothing of it."""


def parsed(data: bytes) -> Any:
    """Return the content of a JSON document.

    Raises
    ------
    NotReadable
        If it is none, or is too deep or too full.
    """
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_VALUES:
        raise NotReadable(f"more than {MOST_VALUES} values")
    try:
        return _DECODER.decode(data.decode("utf-8"))
    except NotReadable:
        raise
    except UnicodeDecodeError:
        raise NotReadable("bytes that are not UTF-8") from None
    except RecursionError:
        raise NotReadable("JSON that is nested too deep") from None
    except ValueError:
        raise NotReadable("something that is no JSON, or not whole") from None


def dumped(content: Any) -> bytes:
    """Return content as JSON on one line.

    Raises
    ------
    NotReadable
        If it is of other types, holds itself, or is too deep.
    """
    try:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise NotReadable("JSON that is nested too deep") from None
    except (TypeError, ValueError):
        raise NotReadable("something that JSON does not know, or that holds itself") from None


def loose(text: str) -> Any:
    """Return what polars wrote of a part: JSON but for control characters; None if it is none."""
    try:
        return _LOOSE.decode(text)
    except (ValueError, RecursionError):
        return None


def _whole(text: str) -> int | float:
    return int(text) if len(text) <= 40 else _decimal(text)


def _decimal(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotReadable("a number that is not finite")
    return number


def _constant(_: str) -> float:
    raise NotReadable("a number that is not finite")


_OPTIONS: dict[str, Any] = {
    "parse_int": _whole, "parse_float": _decimal, "parse_constant": _constant,
}  # fmt: skip
_DECODER = json.JSONDecoder(object_pairs_hook=None, **_OPTIONS)
_LOOSE = json.JSONDecoder(strict=False, **_OPTIONS)
