"""Checks of parameters and names that many rooms share: one phrasing each."""

from __future__ import annotations

import difflib
import math
import numbers
import re
from collections.abc import Collection, Iterable
from typing import Any

from asfusion.exceptions import ConfigurationError, InputError

# A name, or a unit such as mg/dL: neither a path nor text of several words.
_NAME = re.compile(r"[^\s/\\]{1,40}(/[^\s/\\]{1,12})?")
# What a torch dictionary of networks calls its own: none of it can name one of its networks.
_WORDS_OF_NETWORKS = """
T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda
double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
get_submodule half ipu items keys load_state_dict modules mtia named_buffers named_children
named_modules named_parameters parameters pop register_backward_hook register_buffer
register_forward_hook register_forward_pre_hook register_full_backward_hook
register_full_backward_pre_hook register_load_state_dict_post_hook
register_load_state_dict_pre_hook register_module register_parameter
register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
set_submodule share_memory state_dict to to_empty train type update values xpu zero_grad
"""
_OF_NETWORKS = frozenset(_WORDS_OF_NETWORKS.split())


def in_words(value: object) -> str:
    """Return a parameter as a message may show it; what can hold data is its type alone."""
    if value is None or isinstance(value, numbers.Number):
        return repr(value)
    if isinstance(value, str) and _NAME.fullmatch(value):
        return repr(str(value))
    return f"a {type(value).__name__}"


def quoted(names: Iterable[object], limit: int = 5) -> str:
    """Return names as ``'a', 'b' and 3 more``."""
    items = [repr(str(n)) if isinstance(n, str) else in_words(n) for n in names]
    some = ", ".join(items[:limit])
    return some if len(items) <= limit else f"{some} and {len(items) - limit} more"


def suggestion(name: str, known: Collection[str]) -> str:
    """Return ``" Did you mean 'x'?"`` when one of `known` is close, else ``""``."""
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def check_choice(value: object, name: str, choices: Collection[str]) -> str:
    """Return `value` if it is one of `choices`, else raise `ConfigurationError`."""
    if isinstance(value, str) and value in choices:
        return value
    hint = suggestion(value, choices) if isinstance(value, str) else ""
    msg = f"{name}: expected one of {quoted(choices, limit=20)}, got {in_words(value)}.{hint}"
    raise ConfigurationError(msg)


def check_integer(value: object, name: str, *, minimum: int) -> int:
    """Return `value` as an int that is at least `minimum`."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        number = int(value)
        if number >= minimum:
            return number
    msg = f"{name}: expected an integer of at least {minimum}, got {in_words(value)}."
    raise ConfigurationError(msg)


def check_jobs(n_jobs: object) -> int | None:
    """Return a number of processes: None, -1 for all processors, or at least 1."""
    if n_jobs is not None and check_integer(n_jobs, "n_jobs", minimum=-1) == 0:
        raise ConfigurationError("n_jobs: expected None, -1 or at least 1, got 0.")
    return n_jobs  # type: ignore[return-value]


def check_number(
    value: object,
    name: str,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    exclusive: bool = False,
) -> float:
    """Return `value` as a finite float in ``[minimum, maximum]`` (open if `exclusive`)."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        number = float(value)
        inside = minimum < number < maximum if exclusive else minimum <= number <= maximum
        if math.isfinite(number) and inside:
            return number
    left, right = ("(", ")") if exclusive else ("[", "]")
    span = f"{left}{minimum:g}, {maximum:g}{right}"
    msg = f"{name}: expected a number in {span}, got {in_words(value)}."
    raise ConfigurationError(msg)


def check_row_labels(X: Any, what: str = "X", /, **columns: Any) -> None:
    """Raise when a column carries the row labels of X in another order.

    Labels may repeat, as those of visits do. Columns with other labels go by place.

    Parameters
    ----------
    X : object
        The rows, with or without an index of their own.
    what : str
        What the rows are called.
    **columns : object
        What belongs to the rows, by the name of the argument; None for nothing.
    """
    own = getattr(X, "index", None)
    for name, column in columns.items():
        other = getattr(column, "index", None)
        if own is None or other is None or callable(own) or callable(other):
            continue
        if len(own) == len(other) and not own.equals(other) and set(own) == set(other):
            by_label = f"{name} = {name}.loc[{what}.index], or "
            msg = (
                f"{what} and {name}: expected rows in one order, got the same index labels in "
                f"another order. Use {by_label if own.is_unique and other.is_unique else ''}"
                f"{name}.to_numpy() if the rows are right as they stand."
            )
            raise InputError(msg)


def check_modality_name(name: object) -> str:
    """Return `name` if it can name a modality: a lower-snake identifier without ``__``."""
    valid = isinstance(name, str) and name.isidentifier() and "__" not in name
    if not valid:
        msg = (
            f"Modality name {quoted([name])}: expected an identifier without a double underscore, "
            "such as 'labs' or 'pelvis_xray' (the double underscore separates nested parameters)."
        )
        raise ConfigurationError(msg)
    if name in _OF_NETWORKS:
        msg = (
            f"encoders: expected names that networks can have, got {name!r}, which torch needs "
            "itself. Name the modality otherwise."
        )
        raise ConfigurationError(msg)
    return str(name)
