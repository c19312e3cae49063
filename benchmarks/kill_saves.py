"""Whether a save or a checkpoint survives SIGKILL at any moment.

Usage: python benchmarks/kill_saves.py [--kills 200] [--seed 0] (with asfusion installed)

Half of the kills hit a process that saves models over and over (three of four over one
another, the rest to new paths), half one that trains and writes a checkpoint every epoch.
After each kill the model or checkpoint must be readable and be one of the versions that
were written; every tenth killed training is resumed and must end as if nothing had
happened. Exits with 1 otherwise. Needs `fork`, so Linux or macOS.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import asfusion.estimators._joint as joint_module
from asfusion.encoders.tabular import TabularEncoder
from asfusion.estimators.joint import JointFusionClassifier
from asfusion.exceptions import AsfusionError
from asfusion.persistence import load
from asfusion.training import loop as loop_module
from asfusion.training.checkpoint import read_checkpoint
from asfusion.training.settings import TrainingSettings

_LONGEST_DELAY_S = 0.15
_EPOCHS = 40
_RESUME_EVERY = 10


@dataclass
class Tally:
    """What was counted over the kills of one kind."""

    kills: int = 0
    written: int = 0
    unreadable: int = 0
    foreign: int = 0
    leftovers: int = 0
    resumed: int = 0
    resumed_differently: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, mixed up or changed."""
        return not (self.unreadable or self.foreign or self.resumed_differently)


def kill_while_saving(folder: Path, kills: int, rng: random.Random) -> Tally:
    """Kill a process that saves two models in turns, and load what it left."""
    tally = Tally()
    models = [_fitted(seed) for seed in (1, 2)]
    expected = {_answer(model) for model in models}
    path = folder / "model.asf"
    models[0].save(path)
    for number in range(kills):
        fresh = number % 4 == 3
        target = folder / f"fresh{number}" if fresh else folder
        target.mkdir(exist_ok=True)
        tally.written += _kill(functools.partial(_save_forever, models, target, fresh), rng)
        tally.kills += 1
        for saved in target.glob("*.asf"):
            try:
                tally.foreign += _answer(load(saved)) not in expected
            except AsfusionError:
                tally.unreadable += 1
        tally.leftovers += sum(1 for _ in target.rglob(".*.tmp"))
    # The next save to a path clears what a killed one left behind.
    models[0].save(path)
    tally.unreadable += any(path.rglob(".*.tmp"))
    return tally


def kill_while_training(folder: Path, kills: int, rng: random.Random) -> Tally:
    """Kill a process that trains with checkpoints, read them, and resume some."""
    tally = Tally()
    X, y = _table()
    with _checkpoints_every_epoch() as seen:
        straight = _trainer(folder / "straight").fit(X, y)
        known = set(seen)
        for number in range(kills):
            trainer = _trainer(folder / "killed")
            tally.written += _kill(functools.partial(_train_forever, trainer), rng)
            tally.kills += 1
            file = Path(str(trainer.checkpoint)) / "joint.ckpt"
            try:
                tally.foreign += _fingerprint(*read_checkpoint(file)) not in known
            except AsfusionError:
                tally.unreadable += 1
            tally.leftovers += sum(1 for _ in file.parent.glob(".*.tmp"))
            if number % _RESUME_EVERY == _RESUME_EVERY - 1:
                again = trainer.fit(X, y, resume=True)
                tally.resumed += 1
                tally.resumed_differently += _answer(again) != _answer(straight)
                file.unlink()
    return tally


def _save_forever(models: list[JointFusionClassifier], folder: Path, fresh: bool, out: int) -> None:
    number = 0
    while True:
        name = f"{number}.asf" if fresh else "model.asf"
        models[number % 2].save(folder / name)
        os.write(out, b".")
        number += 1


def _train_forever(trainer: JointFusionClassifier, out: int) -> None:
    """Go on from the last checkpoint, reporting each new one, and then from the start again."""
    write = loop_module.write_checkpoint

    def report(path: Path, tensors: dict[str, Tensor], state: dict[str, object]) -> None:
        write(path, tensors, state)
        os.write(out, b".")

    loop_module.write_checkpoint = report  # type: ignore[assignment]
    X, y = _table()
    trainer.fit(X, y, resume=True)
    while True:
        trainer.fit(X, y)


def _kill(work: Callable[[int], None], rng: random.Random) -> int:
    """Fork a child that works, kill it after a random while, return how much it reported."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of others, which are idle
        child = os.fork()
    if child == 0:
        try:
            os.close(read)
            work(write)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        pipe.read(1)  # it is at work
        time.sleep(rng.uniform(0.0, _LONGEST_DELAY_S))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        written = 1 + len(pipe.read())
    if not os.WIFSIGNALED(status):
        raise SystemExit("The child ended before it was killed.")
    return written


@contextlib.contextmanager
def _checkpoints_every_epoch() -> Iterator[set[str]]:
    """Write a checkpoint after every epoch; yield the set of all contents written here."""
    seen: set[str] = set()
    write = loop_module.write_checkpoint

    def note(path: Path, tensors: dict[str, Tensor], state: dict[str, object]) -> None:
        seen.add(_fingerprint(tensors, state))
        write(path, tensors, state)

    every = functools.partial(TrainingSettings, checkpoint_every_s=0.0)
    loop_module.write_checkpoint = note  # type: ignore[assignment]
    joint_module.TrainingSettings = every  # type: ignore[assignment,misc]
    try:
        yield seen
    finally:
        loop_module.write_checkpoint = write
        joint_module.TrainingSettings = TrainingSettings  # type: ignore[misc]


def _fingerprint(tensors: dict[str, Tensor], state: dict[str, object]) -> str:
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()


def _table() -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(60, 4))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def _encoders() -> dict[str, TabularEncoder]:
    return {
        "labs": TabularEncoder(["x0", "x1"], d_hidden=8, d_out=8),
        "genes": TabularEncoder(["x2", "x3"], d_hidden=8, d_out=8),
    }


def _fitted(seed: int) -> JointFusionClassifier:
    model = JointFusionClassifier(_encoders(), max_epochs=2, verbose=0, random_state=seed)
    return model.fit(*_table())


def _trainer(folder: Path) -> JointFusionClassifier:
    return JointFusionClassifier(
        _encoders(),
        max_epochs=_EPOCHS,
        early_stopping=False,
        checkpoint=folder,
        verbose=0,
        random_state=0,
    )


def _answer(model: JointFusionClassifier) -> bytes:
    return model.predict_proba(_table()[0]).tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(options.seed)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        saves = kill_while_saving(Path(folder), options.kills - options.kills // 2, rng)
        training = kill_while_training(Path(folder), options.kills // 2, rng)
    columns = ("kills", "written", "unreadable", "foreign", "leftovers")
    print(f"{'':<12}" + "".join(f"{name:>12}" for name in columns))
    for name, tally in (("bundles", saves), ("checkpoints", training)):
        print(f"{name:<12}" + "".join(f"{getattr(tally, key):>12}" for key in columns))
    print(f"resumed {training.resumed}, of which ended differently: {training.resumed_differently}")
    print(f"{time.monotonic() - start:.0f} s")
    if not (saves.is_clean and training.is_clean):
        sys.exit(1)


if __name__ == "__main__":
    main()
