"""Checkpoints: exact, and either whole or refused."""

from __future__ import annotations

import errno
import os
import pickle  # noqa: TID251
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from asfusion.estimators.joint import JointFusionClassifier
from asfusion.exceptions import CheckpointError
from asfusion.training.checkpoint import read_checkpoint, write_checkpoint

STATE = {"epoch": 3, "loss": 0.1 + 0.2, "tiny": 5e-324, "none": None, "note": "ä\ud800", "list": []}


def tensors() -> dict[str, torch.Tensor]:
    base = torch.arange(12, dtype=torch.float32)
    return {
        "scalar": torch.tensor(7),
        "half": torch.randn(3, 2).to(torch.bfloat16),
        "double": torch.tensor([np.nan, np.inf, -0.0, 5e-324], dtype=torch.float64),
        "flags": torch.tensor([True, False]),
        "bytes": torch.tensor([0, 255], dtype=torch.uint8),
        "empty": torch.empty(0, 3),
        "view": base[::2],
        "transposed": base.reshape(3, 4).T,
        "same": base,
        "learned": torch.nn.Parameter(base.clone()),
    }


def bits(tensor: torch.Tensor) -> bytes:
    plain = tensor.detach().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "joint.ckpt"
    write_checkpoint(path, tensors(), STATE)
    return path


def test_round_trip_is_exact(tmp_path: Path) -> None:
    written = tensors()
    write_checkpoint(tmp_path / "a.ckpt", written, STATE)
    read, state = read_checkpoint(tmp_path / "a.ckpt")
    assert state == STATE
    assert read.keys() == written.keys()
    for name, tensor in written.items():
        assert read[name].dtype == tensor.dtype
        assert read[name].shape == tensor.shape
        assert bits(read[name]) == bits(tensor)


def test_checkpoint_without_tensors(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.ckpt", {}, {})
    assert read_checkpoint(tmp_path / "a.ckpt") == ({}, {})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no file at the given path"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_every_flipped_byte_is_noticed(file: Path) -> None:
    whole = file.read_bytes()
    rng = random.Random(0)
    for position in [*range(40), *rng.sample(range(len(whole)), 200)]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
            read_checkpoint(file)


def test_every_truncation_is_noticed(file: Path) -> None:
    whole = file.read_bytes()
    for length in random.Random(1).sample(range(len(whole)), 100):
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
            read_checkpoint(file)
    file.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pickle.dumps({"epoch": 1}),
        b"PK\x03\x04" + bytes(100),
        b"\xff" * 64,
        (40_000).to_bytes(8, "little") + b"[" * 40_000,
        (2).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
    ],
    ids=["empty", "pickle", "zip", "ones", "deep", "no metadata", "list"],
)
def test_foreign_content(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_foreign_safetensors(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.ckpt", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("where", [(os, "fsync"), (os, "fdopen"), (Path, "replace")])
def test_full_disk_keeps_the_last_checkpoint(
    file: Path, monkeypatch: pytest.MonkeyPatch, where: tuple[object, str]
) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*where, no_space)
    with pytest.raises(CheckpointError, match="could not be written .No space left on device"):
        write_checkpoint(file, {}, {"epoch": 4})
    monkeypatch.undo()
    assert read_checkpoint(file)[1] == STATE
    assert [entry.name for entry in file.parent.iterdir()] == ["joint.ckpt"]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="could not be written"):
        write_checkpoint(tmp_path / "none" / "a.ckpt", {}, {})


def test_leftover_of_a_killed_write_is_cleared(file: Path) -> None:
    (file.parent / ".joint.ckpt.abcd1234.tmp").write_bytes(b"half")
    write_checkpoint(file, {}, {})
    assert [entry.name for entry in file.parent.iterdir()] == ["joint.ckpt"]


def test_fit_refuses_a_damaged_checkpoint_and_one_of_other_data(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(20, 2))
    y = (X[:, 0] > 0).astype(int)
    model = JointFusionClassifier(
        max_epochs=2, early_stopping=False, checkpoint=tmp_path, verbose=0, random_state=0
    )
    model.fit(X, y)
    with pytest.raises(CheckpointError, match="belongs to a run with other data"):
        model.fit(X + 1e-9, y, resume=True)
    (file,) = tmp_path.glob("*.ckpt")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="Delete it and fit with resume=False"):
        model.fit(X, y, resume=True)
