"""Messages as bytes: numbers in JSON, weights in the safetensors format. None is trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import InputError

_LARGEST = 64_000_000  # bytes of JSON: sums of a million words are smaller
_ODD = "Message: expected {what}, got something else. Do both sides run the same version?"


def read_json(data: bytes, expected: str) -> dict[str, Any]:
    """Return the fields of a JSON message of the expected format."""
    if len(data) > _LARGEST:
        msg = f"Message: expected at most {_LARGEST} bytes, got {len(data)}."
        raise InputError(msg)
    try:
        state = json.loads(data)
    except (UnicodeDecodeError, ValueError, RecursionError):
        state = None
    if not isinstance(state, dict) or state.pop("format", None) != expected:
        raise odd(expected)
    return state


def pack(kind: str, told: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> bytes:
    """Return fields and weights as one message, the same bytes for the same content."""
    from safetensors.numpy import save

    header = {kind: json.dumps(told)}  # one key: the format does not order them
    return bytes(save({k: np.asarray(v, order="C") for k, v in weights.items()}, header))


def unpack(data: bytes, kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the fields and weights of a message; an `InputError` for anything else."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        weights = load(data)
        length = int.from_bytes(data[:8], "little")
        told = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][kind])
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        raise odd(kind) from None
    if not isinstance(told, dict):
        raise odd(kind)
    return told, weights


def as_bytes(data: Any) -> bytes:
    """Return what came as bytes; a number is none, though `bytes` makes as many of it."""
    if not isinstance(data, bytes):
        raise InputError("Message: expected bytes, got something else.")
    return data


def odd(expected: str) -> InputError:
    """Return the error for a message that is not what was expected."""
    return InputError(_ODD.format(what=expected))
