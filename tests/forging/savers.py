"""Processes that save to one path and load from it at once, some of them killed.

    contend(folder, savers=4, readers=3, each=25, kills=10, seed=0)

runs them in a process of its own, since one with threads is not to be forked, and counts what
became of each save and load. Linux and macOS.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from asfusion.bundle.objects import load_bundle, save_bundle
from asfusion.exceptions import BundleError

ROOT = Path(__file__).resolve().parents[2]
_MOST = 1 << 30
_LONGEST_S = 0.3  # until a saver is killed


@dataclass
class Contest:
    """What was counted.

    Parameters
    ----------
    saved, refused : int
        Saves that ended, and that raised `BundleError`.
    loaded, failed : int
        Loads of a whole model, and that raised.
    mixed : int
        Loads of a model that nobody saved.
    killed : int
        Savers that were killed.
    unreadable : int
        Paths that could not be loaded in the end, or were left without a model.
    leftovers : int
        Files beside and within the models after a last save, but those of the models.
    messages : list of str
        Of what was raised, each once.
    """

    saved: int = 0
    refused: int = 0
    loaded: int = 0
    failed: int = 0
    mixed: int = 0
    killed: int = 0
    unreadable: int = 0
    leftovers: int = 0
    messages: list[str] = dataclasses.field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost."""
        return not (self.refused or self.failed or self.mixed or self.unreadable or self.leftovers)


def contend(
    folder: Path, *, savers: int, readers: int, each: int, kills: int = 0, seed: int = 0
) -> Contest:
    """Let processes save and load at once, `each` times each, over one model and to new paths.

    Parameters
    ----------
    folder : Path
        Where; it holds nothing else.
    savers, readers, each : int
        How many processes, and how often each of them acts.
    kills : int
        Savers that are started besides, one after another, and killed after a random while.
    seed : int
        Of sizes and times.
    """
    options = {"savers": savers, "readers": readers, "each": each, "kills": kills, "seed": seed}
    words = [f"--{name}={value}" for name, value in options.items()]
    run = subprocess.run(
        [sys.executable, "-m", "tests.forging.savers", str(folder), *words],
        check=True, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return Contest(**json.loads(run.stdout))


def _nothing(name: str) -> type:
    raise BundleError("load: no class is allowed here.")


def _model(number: int) -> dict[str, Any]:
    """Return a model whose parts tell that they belong together."""
    size = random.Random(number).choice([10, 1_000, 50_000])
    return {"number": number, "x": np.full(size, number), "texts": [str(number)] * 10}


def _is_whole(model: dict[str, Any]) -> bool:
    number = model["number"]
    return bool((model["x"] == number).all()) and set(model["texts"]) == {str(number)}


def _save(path: Path, start: int, each: int, out: int) -> None:
    for number in range(start, start + each):
        try:
            save_bundle(_model(number), path)
            _tell(out, "saved")
        except BundleError as error:
            _tell(out, "refused", str(error))


def _load(path: Path, start: int, each: int, out: int) -> None:
    for _ in range(each):
        try:
            model = load_bundle(path, _nothing, max_bytes=_MOST)
            _tell(out, "loaded" if _is_whole(model) else "mixed")
        except BundleError as error:
            _tell(out, "failed", str(error))


def _tell(out: int, what: str, message: str = "") -> None:
    os.write(out, f"{what}\t{message[:200]}\n".encode())


def _fork(
    work: Callable[[Path, int, int, int], None], path: Path, start: int, each: int, out: int
) -> int:
    child = os.fork()
    if child == 0:
        _work(work, path, start, each, out)
    return child


def _work(work: Callable[[Path, int, int, int], None], *what: Any) -> NoReturn:
    try:
        work(*what)
    finally:
        os._exit(0)


def _run(options: argparse.Namespace) -> Contest:
    rng, folder = random.Random(options.seed), Path(options.folder)
    shared = folder / "shared.asf"
    fresh = [folder / f"fresh{i}.asf" for i in range(options.each)]
    save_bundle(_model(0), shared)
    with tempfile.TemporaryFile("a+b", buffering=0) as told:  # a pipe would fill up
        _let_them(options, shared, fresh, rng, told.fileno())
        told.seek(0)
        contest = _counted(told.read().decode())
    contest.killed = options.kills
    save_bundle(_model(1), shared)  # which clears what the killed ones left
    for path in [shared, *fresh]:
        try:
            contest.unreadable += not _is_whole(load_bundle(path, _nothing, max_bytes=_MOST))
        except BundleError:
            contest.unreadable += 1
    names = {path.name for path in folder.iterdir()} - {path.name for path in [shared, *fresh]}
    contest.leftovers = len(names) + len(list(shared.iterdir())) - 3
    return contest


def _let_them(
    options: argparse.Namespace, shared: Path, fresh: list[Path], rng: random.Random, out: int
) -> None:
    """Run all processes, and wait for them."""
    n = 10_000
    children = [_fork(_save, shared, (i + 1) * n, options.each, out) for i in range(options.savers)]
    children += [_fork(_load, shared, 0, options.each, out) for _ in range(options.readers)]
    for number, path in enumerate(fresh):  # where neither of two finds a model
        pair = [_fork(_save, path, (90 + i) * n + number, 1, out) for i in range(2)]
        for child in pair:
            os.waitpid(child, 0)
    for number in range(options.kills):
        child = _fork(_save, shared, 10**6 + number * n, n, out)
        time.sleep(rng.uniform(0.0, _LONGEST_S))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    for child in children:
        os.waitpid(child, 0)


def _counted(told: str) -> Contest:
    contest = Contest()
    for line in told.splitlines():
        what, _, message = line.partition("\t")
        setattr(contest, what, getattr(contest, what) + 1)
        if message and message not in contest.messages:
            contest.messages.append(message)
    return contest


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    for name in ("savers", "readers", "each", "kills", "seed"):
        parser.add_argument(f"--{name}", type=int, default=0)
    print(json.dumps(dataclasses.asdict(_run(parser.parse_args()))))


if __name__ == "__main__":
    main()
