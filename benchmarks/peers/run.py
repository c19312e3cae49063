"""All peers side by side: environments from PyPI, then the same rows, folds and core.

Run: ``python benchmarks/peers/run.py`` (or ``make bench-peers``), in the environment of asfusion

Each peer gets an environment of its own in ``.peers`` from its pinned requirements, installed
without dependencies (they are complete). Torch on Linux should be the CPU build: give pip where
to find it with ``--pip``. What is finished is kept in ``.peers/out`` and not run again;
``--fresh`` runs it again. Results go to ``benchmarks/peers/results``, of which ``report.py``
makes ``docs/peers.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = ("asfusion", "sklearn", "widedeep", "fusilli", "toolkit", "autogluon")
TASKS = ("cxr", "axspa", "rosmap")
PROBES_ON = "cxr"
LIMIT_S = 900.0  # of one model on one data set
QUIET = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "WANDB_MODE": "disabled"}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def environment(peer: str, cache: Path, pip: list[str]) -> str:
    """Return the Python of a peer's environment, made if it is not there."""
    if peer == "asfusion":
        return sys.executable
    folder = cache / peer
    python = folder / "bin" / "python"
    stamp, wanted = folder / "installed.txt", HERE / f"requirements-{peer}.txt"
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        return str(python)
    print(f"{peer}: making its environment", flush=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [python, "-m", "pip", "install", "-q", "--no-deps", "-r", wanted, *pip]
    subprocess.run(install, check=True)
    stamp.write_text(wanted.read_text())
    return str(python)


def slug(name: str) -> str:
    """Return a name as a file has it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def settings() -> dict[str, str]:
    """Return the environment variables of every run: one thread, nothing from the network."""
    return {**os.environ, **QUIET, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": str(ROOT)}


def call(python: str, peer: str, options: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a peer's script in its environment."""
    variables = settings()
    if peer != "asfusion":
        del variables["PYTHONPATH"]
    return subprocess.run(
        [python, str(HERE / f"{peer}_task.py"), *options],
        env=variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def run_one(python: str, peer: str, task: str, model: str, cache: Path) -> dict[str, Any]:
    """Run one model on one data set in a process of its own; a failure is a result."""
    out = cache / "out" / peer / f"{task}-{slug(model)}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    told: dict[str, Any] = {"model": model, "task": task}
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        options = ["--task", str(cache / "data" / task), "--model", model]
        options += ["--out", str(out), "--scratch", scratch]
        try:
            done = call(python, peer, options)
        except subprocess.TimeoutExpired:
            told["error"] = f"stopped after {LIMIT_S:.0f} s"
        else:
            if out.exists():
                told = json.loads(out.read_text())
            else:
                told["error"] = last_line(done.stderr) or f"ended with {done.returncode}"
    told["process_s"] = round(time.perf_counter() - begun, 1)
    out.write_text(json.dumps(told))
    return told


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else ""


def processor() -> str:
    """Return the name of the processor, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def collect(peer: str, cache: Path, results: Path) -> None:
    """Write what is known of a peer into one file, one run a line; earlier runs stay."""
    file = results / f"{peer}.json"
    known = json.loads(file.read_text())["runs"] if file.exists() else []
    made = [json.loads(out.read_text()) for out in (cache / "out" / peer).glob("*.json")]
    by_job = {(run["task"], run["model"]): run for run in [*known, *made]}
    runs = [by_job[job] for job in sorted(by_job)]
    machine = {"processor": processor(), "python": platform.python_version()}
    lines = ",\n".join(json.dumps(run) for run in runs)
    results.mkdir(parents=True, exist_ok=True)
    text = f'{{"peer": "{peer}", "machine": {json.dumps(machine)}, "runs": [\n{lines}\n]}}\n'
    file.write_text(text)


def prepare(cache: Path, data: Path) -> None:
    """Write the inputs once, and what judging needs beside the results."""
    if not (cache / "data" / TASKS[-1] / "task.json").exists():
        options = ["--data", str(data), "--out", str(cache / "data")]
        command = [sys.executable, str(HERE / "prepare.py"), *options]
        subprocess.run(command, env=settings(), cwd=ROOT, check=True)
    truth = {}
    for task in TASKS:
        told = json.loads((cache / "data" / task / "task.json").read_text())
        truth[task] = {name: told[name] for name in ("y", "groups", "folds", "seeds")}
        truth[task]["embedding_s"] = told.get("embedding_s")
    (HERE / "results" / "tasks.json").write_text(json.dumps(truth) + "\n")


def jobs_of(peer: str, python: str, tasks: list[str], cache: Path) -> list[tuple[str, str]]:
    """Return (task, model) of everything that a peer is asked for."""
    source = (HERE / f"{peer}_task.py").read_bytes()
    # Importing a peer takes seconds: what it offers is kept until its script changes.
    kept = cache / "models" / f"{peer}-{hashlib.sha256(source).hexdigest()[:12]}.json"
    if not kept.exists():
        done = call(python, peer, ["--list"])
        if done.returncode:
            print(f"{peer}: {last_line(done.stderr)}")
            return []
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(done.stdout.splitlines()[-1])
    models: dict[str, list[str]] = json.loads(kept.read_text())
    jobs = [(task, name) for name, on in models.items() for task in on if task in tasks]
    return jobs + ([(PROBES_ON, "probes")] if PROBES_ON in tasks else [])


def run_peer(peer: str, arguments: argparse.Namespace) -> None:
    """Run what a peer has not yet run, and collect."""
    cache = arguments.cache
    try:
        python = environment(peer, cache, shlex.split(arguments.pip))
    except subprocess.CalledProcessError as error:
        print(f"{peer}: its environment cannot be made ({error})")
        return
    asked = jobs_of(peer, python, arguments.task or list(TASKS), cache)
    for task, model in (job for job in asked if re.search(arguments.match, job[1])):
        out = cache / "out" / peer / f"{task}-{slug(model)}.json"
        if out.exists() and not arguments.fresh and "error" not in json.loads(out.read_text()):
            continue
        told = run_one(python, peer, task, model, cache)
        state = told.get("error") or f"{sum(told.get('cpu_s', [])):.1f} s of processor"
        print(f"{peer:<10} {task:<7} {model:<45} {told['process_s']:6.1f} s  {state}", flush=True)
    collect(peer, cache, HERE / "results")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path(".peers"))
    parser.add_argument("--only", nargs="+", choices=PEERS, help="these peers")
    parser.add_argument("--task", nargs="+", choices=TASKS, help="these data sets")
    parser.add_argument("--match", default="", help="models whose name this pattern finds")
    parser.add_argument("--fresh", action="store_true", help="also what was run before")
    parser.add_argument("--pip", default="", help="further options for pip")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    prepare(arguments.cache, arguments.data)
    for peer in arguments.only or PEERS:
        run_peer(peer, arguments)


if __name__ == "__main__":
    main()
