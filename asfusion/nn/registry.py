"""Backbones by name: the tables that encoders look in, open to backbones of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from asfusion._checks import check_choice
from asfusion.exceptions import ConfigurationError

Kind = Literal["table", "image"]

_KNOWN: dict[str, dict[str, Callable[..., Any]]] = {"table": {}, "image": {}}


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
    >>> from asfusion.nn.registry import register_backbone
    >>> register_backbone("image", "tiny", lambda channels: CompactCNN(channels, (8, 16)))
    """
    table = _KNOWN[check_choice(kind, "kind", list(_KNOWN))]
    # The code, not the object: who imports a module again registers the same once more.
    known = getattr(table.get(name, make), "__qualname__", None)
    if known != getattr(make, "__qualname__", None):
        msg = f"name: expected one that no other backbone has, got {name!r}. Choose another."
        raise ConfigurationError(msg)
    table[name] = make


def backbone_names(kind: Kind) -> tuple[str, ...]:
    """Return the names of the backbones of a kind."""
    return tuple(_KNOWN[kind])


def find_backbone(kind: Kind, name: str) -> Callable[..., Any]:
    """Return what makes a backbone that is known."""
    return _KNOWN[kind][name]
