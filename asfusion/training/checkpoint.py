"""A training checkpoint: one file, complete or not there, readable without running code."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asfusion._files import clear_leftovers, write_file
from asfusion.exceptions import CheckpointError

_FORMAT = "asfusion-checkpoint-1"


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: dict[str, Any]) -> None:
    """Write tensors and a JSON-able state into one file, replacing what is there at once.

    Parameters
    ----------
    path : Path
        The file; its folder exists.
    tensors : mapping of str to Tensor
        On the CPU, of any dtype and shape.
    state : dict
        Values that JSON knows; floats are kept exactly.

    Raises
    ------
    CheckpointError
        If the file cannot be written; an older checkpoint is then still whole.
    """
    from safetensors.torch import save

    text = json.dumps(state, sort_keys=True)
    # Own memory for each: safetensors refuses tensors that share some.
    owned = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": _FORMAT, "state": text, "sha256": _digest(owned, text)}
    try:
        clear_leftovers(path)
        write_file(path, save(owned, metadata))
    except OSError as error:
        msg = f"Checkpoint: it could not be written ({error.strerror}). Free space, or move it."
        raise CheckpointError(msg) from error


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the state of a checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or something else.
    """
    try:
        raw = path.read_bytes()
        tensors, metadata = _parse(raw)
        text = metadata["state"]
        state = json.loads(text)
        sound = metadata["format"] == _FORMAT and metadata["sha256"] == _digest(tensors, text)
    except FileNotFoundError:
        raise CheckpointError("Checkpoint: there is no file at the given path.") from None
    except Exception as error:  # whatever the bytes are, the answer is one error
        raise CheckpointError(_DAMAGED) from error
    if not sound or not isinstance(state, dict):
        raise CheckpointError(_DAMAGED)
    return tensors, state


_DAMAGED = (
    "Checkpoint: the file is damaged, or not a checkpoint of asfusion. Delete it and fit with "
    "resume=False."
)


def _parse(raw: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors.torch import load

    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    return load(raw), header["__metadata__"]


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        if math.prod(tensor.shape):
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
