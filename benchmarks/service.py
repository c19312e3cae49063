"""How many requests a served model answers, how quickly, and what malformed ones do to it.

``python benchmarks/service.py`` starts ``asfusion serve`` on this machine and asks it from another
process over kept connections. Clients and server share the cores. Limits of the design: 300
requests a second of a table at 16 clients, a 99th percentile of 150 ms for a table and a note.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import asfusion as af

_SECRET = "Zyzzyva-4711"


def main() -> None:
    """Measure throughput, then attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--malformed", type=int, default=10_000, help="requests")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kills", type=int, default=3)
    words = "of steady load, in the place of all else: whether memory grows"
    parser.add_argument("--minutes", type=float, default=0.0, help=words)
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second of that load")
    options = parser.parse_args()
    cohort = af.datasets.make_axspa_cohort(400, modalities=["labs", "notes"], random_state=0)
    labs = af.TabularEncoder([name for name in cohort.X if name != "clinical_note"])
    note = af.TextEncoder("clinical_note", backbone="tfidf")
    kinds = {"table": {"labs": labs}, "table and note": {"labs": labs, "note": note}}
    if options.minutes:
        _endure(cohort, kinds["table and note"], options)
        return
    print("model                    clients  requests/s   p50 ms   p99 ms  failures  MB (growth)")
    with tempfile.TemporaryDirectory() as folder:
        for name, encoders in kinds.items():
            model = af.EarlyFusionClassifier(encoders, random_state=0, verbose=0)
            model.fit(cohort.X, cohort.y, groups=cohort.groups)
            path = model.save(Path(folder) / "model.asf")
            rows = _rows(cohort.X, labs.columns if name == "table" else None)
            truth = model.predict_proba(cohort.X)[:, 1]
            _judge(name, path, rows, truth, options)
            file = af.export(model, Path(folder) / f"{name}.onnx")
            _judge(f"{name}, exported", file, rows, truth, options)
        with _served(path, options.workers) as (port, server):
            _until_ready(port)
            before = _memory(server.pid)
            print(_attacked(port, rows, options.malformed), end="; ")
            print(f"memory {before:.0f} MB ({_memory(server.pid) - before:+.1f})")
        print(_killed(path, rows, truth, options.kills, options.workers))


def _endure(cohort: Any, encoders: dict[str, Any], options: argparse.Namespace) -> None:
    """Print what memory a service takes that answers for a long time, and how that grows.

    One request in twenty is malformed. The line is fitted by least squares to what was held every
    ten seconds after the first quarter, in which caches fill.
    """
    model = af.EarlyFusionClassifier(encoders, random_state=0, verbose=0)
    model.fit(cohort.X, cohort.y, groups=cohort.groups)
    rows, truth = _rows(cohort.X, None), model.predict_proba(cohort.X)[:, 1]
    with tempfile.TemporaryDirectory() as folder:
        path = model.save(Path(folder) / "model.asf")
        with _served(path, options.workers) as (port, server):
            _until_ready(port)
            held, asked, wrong = _steadily(port, server.pid, rows, truth, options)
    times, sizes = np.asarray(held).T
    late = times >= 0.25 * 60 * options.minutes
    slope, _ = np.polyfit(times[late] / 3600, sizes[late], 1)
    print(
        f"{options.minutes:g} minutes, {asked} requests, {wrong} wrong answers; memory "
        f"{sizes[0]:.0f} MB at first, {sizes[late][0]:.0f} after a quarter, {sizes[-1]:.0f} at the "
        f"end: {slope:+.1f} MB an hour by a line through {int(late.sum())} points"
    )


def _steadily(
    port: int, pid: int, rows: list[bytes], truth: np.ndarray, options: argparse.Namespace
) -> tuple[list[tuple[float, float]], int, int]:
    """Return seconds and megabytes, requests, and answers that were wrong."""
    rng = random.Random(0)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    begun, held, asked, wrong = time.perf_counter(), [], 0, 0
    while (now := time.perf_counter() - begun) < 60 * options.minutes:
        if now >= 10 * len(held):
            held.append((now, _memory(pid)))
        row = rng.randrange(len(rows))
        if asked % 20 == 19:
            status, _ = _post(connection, _malformed(rng, rows))
            wrong += status >= 500
        else:
            status, answer = _post(connection, rows[row])
            wrong += not (status == 200 and abs(_said(answer) - truth[row]) < 1e-6)
        asked += 1
        time.sleep(max(0.0, asked / options.rate - (time.perf_counter() - begun)))
    return held, asked, wrong


def _judge(
    name: str, path: Path, rows: list[bytes], truth: np.ndarray, options: argparse.Namespace
) -> None:
    """Print how a service does that answers for the model at a path."""
    with _served(path, options.workers) as (port, server):
        _until_ready(port)
        for n_clients in options.clients:
            _ask(port, rows, truth, 1.0, n_clients)  # warm
            before = _memory(server.pid)
            found = _ask(port, rows, truth, options.seconds, n_clients)
            grown = _memory(server.pid) - before
            print(f"{name:<24} {n_clients:>7}  {found}  {before:>6.0f} ({grown:+.1f})", flush=True)


def _rows(X: Any, columns: Any) -> list[bytes]:
    kept = X if columns is None else X[list(columns)]
    cells = kept.astype(object).where(kept.notna(), None).to_dict("records")
    return [json.dumps([row]).encode() for row in cells]


@contextlib.contextmanager
def _served(path: Path, workers: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-c", "import sys; from asfusion.cli.commands import main; main()"]
    words += ["serve", str(path), "--port", str(port), "--workers", str(workers)]
    server = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        yield port, server
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def _until_ready(port: int) -> float:
    begun = time.perf_counter()
    while time.perf_counter() - begun < 120:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return time.perf_counter() - begun
        time.sleep(0.1)
    raise SystemExit("The service did not start.")


def _ask(port: int, rows: list[bytes], truth: np.ndarray, seconds: float, n_clients: int) -> str:
    """Return requests a second and times, each answer compared with the model's own."""
    times: list[float] = []
    failures: list[int] = []
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        rng = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.perf_counter() < end:
            row = rng.randrange(len(rows))
            begun = time.perf_counter()
            status, answer = _post(connection, rows[row])
            times.append(time.perf_counter() - begun)
            right = status == 200 and abs(_said(answer) - truth[row]) < 1e-6
            if not right:
                failures.append(status)

    _together(client, n_clients)
    p50, p99 = np.quantile(times, [0.5, 0.99]) * 1e3
    return f"{len(times) / seconds:>10.0f}  {p50:>7.1f}  {p99:>7.1f}  {len(failures):>8}"


def _together(client: Any, n_clients: int) -> None:
    threads = [threading.Thread(target=client, args=[number]) for number in range(n_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _post(connection: http.client.HTTPConnection, body: bytes, **headers: str) -> tuple[int, bytes]:
    kinds = {"Content-Type": "application/json", **headers}
    connection.request("POST", "/predict", body, kinds)
    response = connection.getresponse()
    return response.status, response.read()


def _said(answer: bytes) -> float:
    shares = json.loads(answer)["rows"][0]["probabilities"]
    return float(list(shares.values())[1])


def _attacked(port: int, rows: list[bytes], n_requests: int) -> str:
    """Return what malformed requests ended in; none may be a failure, or come back."""
    rng = random.Random(0)
    statuses: dict[int, int] = {}
    echoed = 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(n_requests):
        try:
            status, answer = _post(connection, _malformed(rng, rows))
        except (http.client.HTTPException, OSError):
            status, answer = 0, b""
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        statuses[status] = statuses.get(status, 0) + 1
        echoed += _SECRET.encode() in answer
    told = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
    return f"{n_requests} malformed requests: {told}; echoed {echoed}"


def _malformed(rng: random.Random, rows: list[bytes]) -> bytes:
    row = rng.choice(rows)
    way = rng.randrange(6)
    if way == 0:  # cut
        return row[: rng.randrange(len(row))]
    if way == 1:  # bytes turned
        turned = bytearray(row)
        for _ in range(rng.randrange(1, 6)):
            turned[rng.randrange(len(turned))] = rng.randrange(256)
        return bytes(turned)
    cells = json.loads(row)[0]
    name = rng.choice(list(cells))
    odd: list[Any] = [_SECRET, [], {}, [[_SECRET]], True, -1e308, 10**400, {"part": _SECRET}, ""]
    if way == 2:  # another type
        return json.dumps([{**cells, name: rng.choice(odd)}]).encode()
    if way == 3:  # another column
        return json.dumps([{**cells, _SECRET: 1}]).encode()
    if way == 4:  # no list of rows
        return json.dumps(
            rng.choice([*odd, None, 1, {"rows": _SECRET}, [_SECRET], [None]])
        ).encode()
    return b"[" * rng.randrange(1, 50_000) + rng.choice([b"", b"NaN", b"Infinity"])


def _killed(path: Path, rows: list[bytes], truth: np.ndarray, n_kills: int, workers: int) -> str:
    """Kill the server while it is asked; count answers that were given and wrong."""
    given = wrong = lost = 0
    for number in range(n_kills):
        with _served(path, workers) as (port, server):
            _until_ready(port)
            threading.Timer(1.0, server.kill).start()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            rng = random.Random(number)
            while True:
                row = rng.randrange(len(rows))
                try:
                    status, answer = _post(connection, rows[row])
                except (http.client.HTTPException, OSError):
                    lost += 1
                    break
                given += 1
                wrong += not (status == 200 and abs(_said(answer) - truth[row]) < 1e-6)
    return f"{n_kills} kills: {given} answers before, {wrong} wrong, {lost} requests without one"


def _memory(pid: int) -> float:
    """Return megabytes that a process and its children hold."""
    pids = [str(pid)]
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if children.exists():
        pids += children.read_text().split()
    total = 0.0
    for one in pids:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{one}/status").read_text()
            total += next(int(x.split()[1]) for x in status.splitlines() if "VmRSS" in x) / 1024
    return total


if __name__ == "__main__":
    main()
