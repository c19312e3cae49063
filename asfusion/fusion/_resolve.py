"""From the name of a head, or a described head, to an unbuilt head of one's own."""

from __future__ import annotations

import copy
import importlib
import pkgutil
from pathlib import Path

from asfusion._checks import check_choice
from asfusion.exceptions import ConfigurationError
from asfusion.fusion._base import Fusion


def head_names() -> tuple[str, ...]:
    """Return the names of the heads that asfusion ships: one file each."""
    folder = str(Path(__file__).parent)
    names = (module.name for module in pkgutil.iter_modules([folder]))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def head_class(name: str) -> type[Fusion]:
    """Return the one head that the file called `name` defines."""
    module = importlib.import_module(f"asfusion.fusion.{name}")
    defined = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Fusion)
        and value.__module__ == module.__name__
    ]
    if len(defined) != 1:
        msg = f"Fusion file {name!r}: expected exactly one Fusion class, got {len(defined)}."
        raise ConfigurationError(msg)
    return defined[0]


def resolve_head(fusion: str | Fusion) -> Fusion:
    """Return an unbuilt head for a name, or an unbuilt copy of a described head.

    Parameters
    ----------
    fusion : str or Fusion
        One of `head_names`, or a head made by its constructor.

    Returns
    -------
    Fusion
        A head that nobody else holds.

    Raises
    ------
    ConfigurationError
        If the name is unknown, or `fusion` is neither a name nor a head.
    """
    if isinstance(fusion, str):
        return head_class(check_choice(fusion, "fusion", head_names()))()
    if isinstance(fusion, Fusion):
        return type(fusion)(**copy.deepcopy(fusion.get_params()))
    msg = (
        f"fusion: expected one of {', '.join(head_names())} or a head such as "
        f"asfusion.fusion.Gated(d_out=64), got {type(fusion).__name__}."
    )
    raise ConfigurationError(msg)
