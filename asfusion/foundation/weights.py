"""Weights of foundation models: known by what is in them, never by where they lie."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from asfusion._door import public
from asfusion.exceptions import ConfigurationError

_KNOWN: dict[str, Path] = {}
_CHUNK = 1 << 20


@public
def use_weights(path: str | os.PathLike[str]) -> str:
    """Say where a file of weights lies, so that saved models that need it can be loaded.

    A saved model names its weights by their SHA-256 and holds neither them nor a path. Models
    that were fitted in this process have said where theirs are.

    Parameters
    ----------
    path : str or PathLike
        A safetensors file.

    Returns
    -------
    str
        The SHA-256 of the file, in hexadecimal digits.

    Raises
    ------
    ConfigurationError
        If there is no such file, or it is no safetensors file.

    Examples
    --------
    >>> use_weights("no-such-file.safetensors")
    Traceback (most recent call last):
    asfusion.exceptions.ConfigurationError: weights: expected a safetensors file, ...
    """
    found = check_weights(path)
    digest = hashlib.sha256()
    with found.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    name = digest.hexdigest()
    _KNOWN[name] = found.resolve()
    return name


def check_weights(path: Any) -> Path:
    """Return the file; a checkpoint in another format could run code when it is read."""
    is_path = isinstance(path, str | os.PathLike)
    if not is_path or Path(path).suffix != ".safetensors" or not Path(path).is_file():
        kind = "one in another format or that is not there" if is_path else type(path).__name__
        msg = (
            f"weights: expected a safetensors file, got {kind}. Other checkpoints can run code "
            "when they are read, and are not: the page 'Medical weights' of the documentation says "
            "how to convert them."
        )
        raise ConfigurationError(msg)
    return Path(path)


def weights_of(digest: str) -> Path:
    """Return where the weights with that SHA-256 lie, unchanged.

    Raises
    ------
    ConfigurationError
        If nobody has said where, or the file is another by now.
    """
    path = _KNOWN.get(digest)
    if path is None or not path.is_file() or use_weights(path) != digest:
        msg = (
            f"weights: expected the file with SHA-256 {digest}, by which this model was fitted, "
            "got none here. Call asfusion.foundation.use_weights(path) with it first."
        )
        raise ConfigurationError(msg)
    return path
