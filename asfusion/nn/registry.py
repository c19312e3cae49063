"""Backbones by name: the tables that encoders look in, open to backbones of one's own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Literal

from asfusion._checks import check_choice
from asfusion.exceptions import ConfigurationError

Kind = Literal["table", "image"]

# Our own for tables by where they are: a table is read without a network, too.
_KNOWN: dict[str, dict[str, Callable[..., Any] | str]] = {
    "table": {
        "mlp": "asfusion.nn.tabular:MLPBackbone",
        "tabnet": "asfusion.nn.tabular:make_tabnet",
        "ft_transformer": "asfusion.nn.ft_transformer:FTTransformerBackbone",
        "tabm": "asfusion.nn.tabm:TabMBackbone",
        "resnet": "asfusion.nn.tabular_resnet:TabularResNetBackbone",
    },
    "image": {},
}


def register_backbone(kind: Kind, name: str, make: Callable[..., Any]) -> None:
    """Let encoders know a backbone by name, also after a saved model is loaded.

    Parameters
    ----------
    kind : {"table", "image"}
        ``"table"`` for ``TabularEncoder(network=name)``; ``"image"`` for the ``backbone`` of
        `ImageEncoder` and `SliceEncoder`, to start untrained.
    name : str
        The name; it must not be taken by another backbone.
    make : callable
        For tables: called with the number of features and the keywords ``d_hidden``,
        ``n_layers``, ``dropout`` and ``numbers``, it returns a `Backbone`. For images: called
        with the number of channels, it returns a module from images (B, C, H, W) to a feature
        map (B, D, h, w), with ``d_out`` and ``last_block()``.

    Raises
    ------
    ConfigurationError
        If there is no such kind, or the name stands for another backbone.

    Examples
    --------
    >>> from asfusion.nn.image import CompactCNN
    >>> from asfusion.extend import register_backbone
    >>> register_backbone("image", "tiny", lambda channels: CompactCNN(channels, (8, 16)))
    """
    table = _KNOWN[check_choice(kind, "kind", list(_KNOWN))]
    # The code, not the object: who imports a module again registers the same once more.
    if _code(table.get(name, make)) != _code(make):
        msg = f"name: expected one that no other backbone has, got {name!r}. Choose another."
        raise ConfigurationError(msg)
    table[name] = make


def backbone_names(kind: Kind) -> tuple[str, ...]:
    """Return the names of the backbones of a kind."""
    return tuple(_KNOWN[kind])


def find_backbone(kind: Kind, name: str) -> Callable[..., Any]:
    """Return what makes a backbone that is known."""
    make = _KNOWN[kind][name]
    if not isinstance(make, str):
        return make
    module, _, function = make.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def _code(make: Callable[..., Any] | str) -> str | None:
    """Return the name of the code that makes a backbone."""
    return make.partition(":")[2] if isinstance(make, str) else getattr(make, "__qualname__", None)
