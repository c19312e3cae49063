"""What every peer's script shares: the same rows and folds in, one JSON file out.

Each script defines functions ``fit_predict(train, test, task)`` between the marks
``# user code begins: NAME`` and ``# user code ends``; the lines between them are what a user
would have to write, and are counted. Needs numpy and pandas only, since it runs in the
environment of each peer. One process per model and data set: memory is that of the process.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

BEGINS, ENDS = "# user code begins:", "# user code ends"
TORCHVISION = (
    "torchvision of PyPI does not fit the CPU build of torch: its missing operators are declared "
    "before the import"
)
SHORT = 160  # characters of an error that the page shows


@dataclass(frozen=True)
class Task:
    """One data set, and the settings that all networks share."""

    name: str
    frame: pd.DataFrame
    y: np.ndarray
    folds: list[np.ndarray]
    numbers: list[str]
    categories: list[str]
    blocks: dict[str, list[str]]
    seeds: list[int]
    size: int
    embedding: np.ndarray | None
    epochs: int = 4
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 0
    scratch: str = "."  # an empty folder for files that a peer insists on

    @property
    def table(self) -> list[str]:
        """Return the columns of the table."""
        return [*self.numbers, *self.categories]


@dataclass(frozen=True)
class Rows:
    """Some rows of a task; `frame` has the table, ``note``, ``image`` and ``film`` (paths)."""

    frame: Any
    y: np.ndarray
    embedding: np.ndarray | None

    def __len__(self) -> int:
        return len(self.y)


FitPredict = Callable[[Rows, Rows, Task], "tuple[np.ndarray, Any]"]


@dataclass(frozen=True)
class Model:
    """One way of using a peer.

    Parameters
    ----------
    run : callable
        ``run(train, test, task)`` gives probabilities of the test rows and the torch
        network, if there is one to count.
    uses : str
        Modalities that it reads.
    setting : {"same network", "same features", "as it comes"}
        What is held equal.
    on : tuple of str
        Names of the data sets.
    epochs : int, optional
        If not those that networks on images share.
    lines_of : str, optional
        The marks around its code, if they bear another model's name.
    """

    run: FitPredict
    uses: str
    setting: str
    on: tuple[str, ...]
    epochs: int | None = None
    lines_of: str | None = None


@dataclass(frozen=True)
class Peer:
    """A library, its ways and its probes.

    Parameters
    ----------
    package : str
        Distribution whose version is shown.
    models : dict of str to Model
        By the name on the page.
    raw : callable, optional
        Like `Model.run`, but cells go to the library's own preprocessing as they are.
    estimator : callable, optional
        ``estimator(task)`` gives what can be handed to scikit-learn's `cross_val_score`.
    explain : callable, optional
        ``explain(train, test, task)`` gives the kinds of contribution it shows.
    reads : tuple of str
        Which cells it reads; the others are not probed.
    reads_frames : bool
        Whether it takes data frames at all.
    notes : tuple of str
        What a reader must know.
    """

    package: str
    models: dict[str, Model]
    raw: FitPredict | None = None
    estimator: Callable[[Task], Any] | None = None
    explain: Callable[[Rows, Rows, Task], list[str]] | None = None
    reads: tuple[str, ...] = ("image", "note", "number")
    reads_frames: bool = True
    notes: tuple[str, ...] = field(default_factory=tuple)


def read_task(folder: Path, scratch: Path) -> Task:
    """Return the data set in `folder`."""
    told = json.loads((folder / "task.json").read_text())
    embedding = folder / "embedding.npy"
    return Task(
        name=folder.name,
        frame=read_frame(folder / "rows.json", told["numbers"]),
        y=np.array(told["y"]),
        folds=[np.array(fold) for fold in told["folds"]],
        numbers=told["numbers"],
        categories=told["categories"],
        blocks=told["blocks"],
        seeds=told["seeds"],
        size=told["size"],
        embedding=np.load(embedding, allow_pickle=False) if embedding.exists() else None,
        scratch=str(scratch),
    )


def read_frame(file: Path, numbers: list[str]) -> pd.DataFrame:
    """Return the rows: numbers as float with NaN, all else as objects with None."""
    columns = json.loads(file.read_text())
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=float if name in numbers else object)
            for name, values in columns.items()
        }
    )


def take(task: Task, rows: np.ndarray) -> Rows:
    """Return some rows, numbered from 0."""
    embedding = None if task.embedding is None else task.embedding[rows]
    return Rows(task.frame.iloc[rows].reset_index(drop=True), task.y[rows], embedding)


def count_lines(source: str) -> dict[str, int]:
    """Return the number of lines of code between the marks, by name.

    Blank lines and comments do not count; ``shared`` counts for every name that follows it.
    """
    lines: dict[str, int] = {}
    shared, name = 0, None
    for raw in source.splitlines():
        line = raw.strip()
        if line.startswith(BEGINS):
            name = line.removeprefix(BEGINS).strip()
            lines.setdefault(name, shared)
        elif line == ENDS:
            shared, name = (lines["shared"], None) if name == "shared" else (shared, None)
        elif name is not None and line and not line.startswith("#"):
            lines[name] += 1
    return lines


def memory_mb() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0**2 if sys.platform == "darwin" else 1024.0)


def run_model(model: Model, task: Task) -> dict[str, Any]:
    """Return predictions of all test rows, seconds of each fit, and memory."""
    if model.epochs is not None:
        task = replace(task, epochs=model.epochs)
    told = np.full((len(task.seeds), len(task.y)), np.nan)
    wall, cpu, parameters = [], [], None
    begun_mb = memory_mb()
    for s, seed in enumerate(task.seeds):
        for test in task.folds:
            train = np.setdiff1d(np.arange(len(task.y)), test)
            parts = take(task, train), take(task, test)
            clock, processor = time.perf_counter(), time.process_time()
            told[s, test], network = model.run(*parts, replace(task, seed=seed))
            wall.append(time.perf_counter() - clock)
            cpu.append(time.process_time() - processor)
            if network is not None:
                parameters = sum(p.numel() for p in network.parameters())
    return {
        "wall_s": [round(s, 3) for s in wall],
        "cpu_s": [round(s, 3) for s in cpu],
        "memory_mb": round(memory_mb()),
        "memory_before_mb": round(begun_mb),
        "n_parameters": parameters,
        "epochs": task.epochs,
        "predictions": [[None if np.isnan(p) else round(float(p), 6) for p in row] for row in told],
    }


def one_line(error: BaseException) -> str:
    """Return an error as the page shows it."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:SHORT].rstrip()


def complete_rows(task: Task) -> np.ndarray:
    """Return rows that lack nothing a probe takes away, both classes in turn."""
    # Few rows have every lab; numbers are filled so that only the probe's cell is missing.
    usable = task.frame["note"].notna() & task.frame["image"].notna()
    rows = [np.flatnonzero(usable & (task.y == k)) for k in (0, 1)]
    n = min(len(rows[0]), len(rows[1]), 24)
    return np.column_stack([r[:n] for r in rows]).ravel()


def _complete(task: Task) -> Task:
    frame = task.frame.copy()
    frame[task.numbers] = frame[task.numbers].fillna(frame[task.numbers].median())
    for name in task.categories:
        frame[name] = frame[name].fillna(frame[name].mode().iloc[0])
    return replace(task, frame=frame, epochs=1)


def probes(peer: Peer, task: Task) -> dict[str, str]:
    """Return what the library does with what its user will sooner or later give it."""
    task = _complete(task)
    rows = complete_rows(task)
    train, test = take(task, rows[:-8]), take(task, rows[-8:])
    number = task.numbers[1]

    def lacking(part: Rows, column: str) -> Rows:
        frame = part.frame.copy()
        embedding = None if part.embedding is None else part.embedding.copy()
        frame.loc[0, column] = np.nan if column in task.numbers else None
        if column == "image":
            frame.loc[0, "film"] = None
            if embedding is not None:
                embedding[0] = np.nan
        return replace(part, frame=frame, embedding=embedding)

    answers = {"as it should be": outcome(peer.raw, train, test, task)}
    for name, column in (("image", "image"), ("note", "note"), ("number", number)):
        for moment, parts in {
            "predict": (train, lacking(test, column)),
            "fit": (lacking(train, column), test),
        }.items():
            told = outcome(peer.raw, *parts, task) if name in peer.reads else "reads none"
            answers[f"{name} missing at {moment}"] = told
    answers["polars"] = _with_polars(peer, train, test, task)
    answers["cross_val_score"] = _in_sklearn(peer, train, task)
    answers["explains"] = _explains(peer, train, test, task)
    return answers


def outcome(run: FitPredict | None, train: Rows, test: Rows, task: Task) -> str:
    """Return "predicts", "predicts NaN" or the error, in one line."""
    if run is None:
        return "not tried"
    try:
        told = np.asarray(run(train, test, task)[0], dtype=float)
    except Exception as error:
        return one_line(error)
    if len(told) != len(test):
        return f"{len(told)} predictions for {len(test)} rows"
    lost = int((~np.isfinite(told)).sum())
    return "predicts" if not lost else f"predicts NaN for {lost} of {len(told)} rows"


def _with_polars(peer: Peer, train: Rows, test: Rows, task: Task) -> str:
    if not peer.reads_frames:
        return "reads files"
    try:
        import polars as pl
    except ImportError:
        return "not tried: no polars in its environment"
    parts = [
        replace(part, frame=pl.DataFrame({str(n): part.frame[n].tolist() for n in part.frame}))
        for part in (train, test)
    ]
    return outcome(peer.raw, *parts, task)


def _in_sklearn(peer: Peer, train: Rows, task: Task) -> str:
    if peer.estimator is None:
        return "no estimator"
    from sklearn.model_selection import cross_val_score

    try:
        scores = cross_val_score(
            peer.estimator(task), train.frame[task.table], train.y, cv=2, error_score="raise"
        )
    except Exception as error:
        return one_line(error)
    return "works" if np.isfinite(scores).all() else "scores NaN"


def _explains(peer: Peer, train: Rows, test: Rows, task: Task) -> str:
    if peer.explain is None:
        return "nothing"
    try:
        return ", ".join(peer.explain(train, test, task))
    except Exception as error:
        return one_line(error)


def allow_torchvision() -> None:
    """Let torchvision be imported whose compiled operators do not fit the torch that is here.

    Builds of PyPI are linked to CUDA. The operators are declared and never called: no
    network that is compared here uses them.
    """
    import torch

    try:
        torch.ops.torchvision.nms  # noqa: B018 (asks whether it is there)
    except (AttributeError, RuntimeError):
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor boxes, Tensor scores, float limit) -> Tensor")
        _KEPT.append(library)


_KEPT: list[Any] = []  # a torch library unregisters itself when it is collected


def main(script: str, make: Callable[[], Peer]) -> None:
    """Run one model of a peer, or its probes, as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", type=Path, help="folder of the data set")
    parser.add_argument("--model", help="name of the model, or 'probes'")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--scratch", type=Path, default=Path())
    parser.add_argument("--list", action="store_true", help="print models and data sets")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    peer = make()
    if arguments.list:
        print(json.dumps({name: model.on for name, model in peer.models.items()}))
        return
    one_thread()
    imports = round(time.process_time(), 2)  # of this process so far
    task = read_task(arguments.task, arguments.scratch)
    told: dict[str, Any] = {"package": peer.package, "version": _version(peer.package)}
    told |= {"model": arguments.model, "task": task.name, "import_cpu_s": imports}
    try:
        if arguments.model == "probes":
            told |= {"probes": probes(peer, task), "notes": list(peer.notes)}
        else:
            model = peer.models[arguments.model]
            lines = count_lines(Path(script).read_text())
            told |= {
                "uses": model.uses,
                "setting": model.setting,
                "lines": lines[model.lines_of or arguments.model],
            }
            told |= run_model(model, task)
    except Exception as error:
        traceback.print_exc()
        told["error"] = one_line(error)
    arguments.out.write_text(json.dumps(told, indent=1) + "\n")


def one_thread() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        import asfusion

        return asfusion.__version__
