"""Parameters as a reader sees them: short, and nothing of a patient, nor of this machine.

Parts may be anybody's. Whatever they do when they are asked, something is shown.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from asfusion.show.graph import Parameter

_ITEMS, _SIGNS = 4, 48
_UNSET = inspect.Parameter.empty


def asked(question: Callable[[], Any], otherwise: Any) -> Any:
    """Return what a part says, or something else where it cannot say."""
    try:
        return question()
    except Exception:  # a picture of a model is no place to find out what is wrong with it
        return otherwise


def parameters_of(part: Any, drawn: Collection[str] = ()) -> tuple[Parameter, ...]:
    """Return the parameters of a part, without those that are `drawn` elsewhere."""
    given = asked(lambda: dict(part.get_params(deep=False)), {})
    if not given:  # heads and options take no word
        given = asked(lambda: dict(part.get_params()), {})
    defaults = defaults_of(type(part))
    hidden = {*drawn, *asked(lambda: set(part._unsaid), set())}
    return tuple(
        Parameter(
            name=str(name),
            value=value_text(value),
            is_set=is_other(value, defaults.get(name, _UNSET)),
            became=_became(part, name, value),
        )
        for name, value in given.items()
        if name not in hidden
    )


def defaults_of(kind: type) -> dict[str, Any]:
    """Return the defaults of a constructor."""
    known = asked(lambda: dict(inspect.signature(kind.__init__).parameters), {})  # type: ignore[misc]
    return {name: parameter.default for name, parameter in known.items()}


def is_other(value: Any, default: Any) -> bool:
    """Return whether a value is not the default."""
    if value is default:
        return False
    if type(value) is not type(default) and not isinstance(value, int | float):
        return True
    return bool(asked(lambda: not bool(value == default), True))


def _became(part: Any, name: str, value: Any) -> str:
    """Return what a fitted part has made of ``"auto"``, where it keeps that."""
    found = asked(lambda: vars(part).get(f"{name}_"), None)
    is_plain = isinstance(found, str | int | float | tuple | list)
    return value_text(found) if isinstance(value, str) and value == "auto" and is_plain else ""


def value_text(value: Any, depth: int = 0) -> str:
    """Return a value as a few words: what is large by its size, what is a path as one."""
    if value is None or isinstance(value, bool | np.bool_):
        return str(value)
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.number):
        return str(asked(lambda: f"{value:.6g}", type(value).__name__))
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, os.PathLike):
        return "a path"
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, Mapping):
        pairs = (f"{_of_text(str(k))}: {value_text(v, depth + 1)}" for k, v in value.items())
        return _listed(pairs, len(value), "{}", depth)
    if isinstance(value, list | tuple | set | frozenset):
        ends = "()" if isinstance(value, tuple) else "[]"
        return _listed((value_text(one, depth + 1) for one in value), len(value), ends, depth)
    return _of_object(value, depth)


def _of_text(text: str) -> str:
    if "/" in text or "\\" in text:
        return "a path"
    line = " ".join(text.split())
    return repr(line if len(line) <= _SIGNS else f"{line[: _SIGNS - 1]}…")


def _listed(items: Iterable[str], n_items: int, ends: str, depth: int) -> str:
    if depth > 1:
        return f"{ends[0]}{n_items} items{ends[1]}"
    shown = list(islice(items, _ITEMS))
    more = [f"… {n_items} in all"] if n_items > _ITEMS else []
    return f"{ends[0]}{', '.join([*shown, *more])}{ends[1]}"


def _of_object(value: Any, depth: int) -> str:
    """Return the class of an object, with what was set of it; of arrays and tables, their size."""
    name = asked(lambda: str(getattr(value, "__name__", "")), "") or type(value).__name__
    shape = asked(lambda: tuple(int(n) for n in value.shape), None)
    if shape is not None:
        return f"{type(value).__name__} of {' x '.join(map(str, shape)) or 'one value'}"
    if depth > 1 or not asked(lambda: callable(value.get_params), False):
        return name
    chosen = [one for one in parameters_of(value) if one.is_set]
    told = ", ".join(f"{one.name}={one.value}" for one in chosen[:_ITEMS])
    return f"{name}({told}{', …' if len(chosen) > _ITEMS else ''})"
