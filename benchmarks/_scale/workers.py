"""What workers cost and save: beside the serial run, and beside workers that start at once.

Processor time is that of this process and of all its children, those that wait included. On cores
that are shared the wall clock says little, so the longest chain stands beside it: the processor
time of this process plus that of its busiest worker, which is the wall clock of a machine with a
free core for each.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
import psutil
from sklearn.ensemble import RandomForestClassifier

import asfusion as af
from asfusion import _processes

PROCESSOR, WALL = 1.15, 0.65


class Cost(NamedTuple):
    """What a run took, in seconds."""

    processor: float
    chain: float
    wall: float


def run(args: argparse.Namespace) -> None:
    wanted = args.only or ["small", "large", "clusters"]
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    if "small" in wanted:
        small(args.rounds or (1 if args.quick else 3), args.quick)
    if "large" in wanted:
        large(args.quick)
    if "clusters" in wanted:
        clusters()


def small(rounds: int, quick: bool) -> None:
    """Print what `n_jobs=2` costs where the serial run takes seconds."""
    print("| warm compare | serial, s | n_jobs=2 | limit | workers at once |")
    print("|---|---|---|---|---|")
    for n_rows, epochs in [(100, 0), (400, 0)] if quick else [(100, 0), (400, 0), (400, 10)]:
        call = comparison(n_rows, 8, epochs=epochs)
        call(None)
        pairs = [(cost(call, None), cost(call, 2), cost(at_once(call), 2)) for _ in range(rounds)]
        serial, two, rash = (
            statistics.median(c.processor for c in cs) for cs in zip(*pairs, strict=True)
        )
        what = f"{n_rows} rows" + (", a network" if epochs else "")
        print(f"| {what} | {serial:.1f} | {two / serial:.2f} | {PROCESSOR} | {rash / serial:.2f} |")
    print()


def large(quick: bool) -> None:
    """Print what `n_jobs=2` saves where the serial run takes minutes."""
    call = comparison(300 if quick else 3000, 30, epochs=5, forest=100 if quick else 500, cv=10)
    serial, two = cost(call, None), cost(call, 2)
    print("| large compare | serial, s | n_jobs=2, s | ratio | limit |")
    print("|---|---|---|---|---|")
    for name, limit in [("wall", WALL), ("chain", WALL), ("processor", PROCESSOR)]:
        one, other = getattr(serial, name), getattr(two, name)
        print(f"| {name} | {one:.0f} | {other:.0f} | {other / one:.2f} | {limit} |")
    print(f"\nload {os.getloadavg()[0]:.1f}\n")


def clusters() -> None:
    """Print the largest difference of any cell between a serial board and a cluster's."""
    call = comparison(100, 6, epochs=2, cv=2)
    serial = call(None)
    print("| cluster of two local workers | largest difference |")
    print("|---|---|")
    for name, opened in [("dask", on_dask), ("ray", on_ray)]:
        if importlib.util.find_spec("distributed" if name == "dask" else "ray") is None:
            print(f"| {name} | not installed |")
            continue
        with ExitStack() as stack:
            opened(stack)
            board = call(None)
        print(f"| {name} | {difference(serial, board):g} |")


def comparison(
    n_rows: int, n_columns: int, *, epochs: int, forest: int = 0, cv: int = 5
) -> Callable[[int | None], pd.DataFrame]:
    """Return a call of `compare` on two tables, with a network and forests if asked for."""
    rng = np.random.default_rng(0)
    names = [f"c{i}" for i in range(n_columns)]
    X = pd.DataFrame(rng.normal(size=(n_rows, n_columns)), columns=names)
    y = (X["c0"] + X[names[-1]] + rng.normal(size=n_rows) > 0).to_numpy().astype(int)
    half = n_columns // 2
    encoders = {"one": af.TabularEncoder(names[:half]), "two": af.TabularEncoder(names[half:])}
    network = af.JointFusionClassifier(max_epochs=max(epochs, 1), verbose=0)
    families = ["early", "late"] + (["joint"] if epochs else [])
    trees = {"forest": RandomForestClassifier(forest)} if forest else None

    def call(n_jobs: int | None) -> pd.DataFrame:
        board = af.compare(
            X, y, encoders, families=families, fusions=["concat"], combines=["mean"],
            estimators=trees, network=network, cv=cv, n_bootstrap=100, n_jobs=n_jobs, verbose=0,
            random_state=0,
        )  # fmt: skip
        return board.to_frame().drop(columns="seconds")

    return call


def at_once(call: Callable[[int | None], Any]) -> Callable[[int | None], Any]:
    """Return the call with workers that start whatever there is to do, anew each time."""

    def rash(n_jobs: int | None) -> Any:
        before = _processes._START_S, _processes._WAKE_S
        _processes._START_S = _processes._WAKE_S = 0.0
        try:
            return call(n_jobs)
        finally:
            _processes._START_S, _processes._WAKE_S = before
            end_workers()

    return rash


def end_workers() -> None:
    """End the workers that joblib keeps for the next call."""
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
    _processes._warm = (0, 0.0)


def cost(call: Callable[[int | None], Any], n_jobs: int | None) -> Cost:
    """Return what a call takes."""
    before, begun = processor_times(), time.perf_counter()
    call(n_jobs)
    wall, after = time.perf_counter() - begun, processor_times()
    spent = {pid: seconds - before.get(pid, 0.0) for pid, seconds in after.items()}
    here = spent.pop(os.getpid())
    return Cost(here + sum(spent.values()), here + max(spent.values(), default=0.0), wall)


def processor_times() -> dict[int, float]:
    """Return the seconds of this process and of each child, by number."""
    me = psutil.Process()
    family = [me, *me.children(recursive=True)]
    return {process.pid: sum(process.cpu_times()[:4]) for process in family}


def on_dask(stack: ExitStack) -> None:
    """Open two local workers of Dask."""
    from distributed import Client, LocalCluster

    options: dict[str, Any] = {"dashboard_address": None, "host": "127.0.0.1"}
    local = stack.enter_context(LocalCluster(n_workers=2, threads_per_worker=1, **options))
    stack.enter_context(Client(local))
    stack.enter_context(joblib.parallel_config("dask"))


def on_ray(stack: ExitStack) -> None:
    """Open two local workers of Ray."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.util.joblib import register_ray

    ray.init(
        num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False,
        logging_level="error", _temp_dir=tempfile.mkdtemp(prefix="ray-"),
    )  # fmt: skip
    stack.callback(ray.shutdown)
    register_ray()
    stack.enter_context(joblib.parallel_config("ray", n_jobs=2))


def difference(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return the largest difference of two boards; infinity where they differ otherwise."""
    numbers = one.select_dtypes("number").columns
    if not one.drop(columns=numbers).equals(other.drop(columns=numbers)):
        return float("inf")
    return float(np.nanmax(np.abs(one[numbers].to_numpy() - other[numbers].to_numpy())))
