"""What an attacker, an accident and a hurried user can do to the library, counted.

    python benchmarks/red_team.py [--seed 0] [--share 1.0] [--only bundles trees ...]

Each topic forges its cases from seeds and hands them to the library in a process of its own,
one after the other. That process is watched from outside: a death by a signal is a crash, ten
seconds (of the process, not of the clock) without an answer are a hang, and the growth of resident
memory, less the bytes of the file or folder that was handed over, is measured case by case. Inside
it, an audit hook counts programs that are started and connections that are opened. Words of every
error, warning, log and print are searched for canaries, which the cases carry where patients' data
would be.

Counted is what must be nought; the exit status is 1 where something is not. Linux only.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import logging
import os
import re
import resource
import selectors
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # the generators are the tests' own

CANARY = "CANARYPATIENT"
HANG_S, MOST_MB = 10.0, 64.0
# What runs a program or asks the network; opening files is looked at where a topic says so.
SEEN_BY_AUDIT = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn",
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request",
)  # fmt: skip


@dataclass
class Tally:
    """What came of the cases of one topic."""

    cases: int = 0
    answers: collections.Counter[str] = field(default_factory=collections.Counter)
    crashes: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    heavy: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    canaries: list[str] = field(default_factory=list)
    acts: list[str] = field(default_factory=list)
    most_mb: float = 0.0
    longest_s: float = 0.0

    @property
    def faults(self) -> dict[str, list[str]]:
        """What must be empty, by name."""
        return {
            "crashes": self.crashes,
            "hangs": self.hangs,
            "heavy": self.heavy,
            "foreign errors": self.foreign,
            "canaries": self.canaries,
            "acts": self.acts,
        }

    def note(self, case: dict[str, object]) -> None:
        """Add one case as the watched process told it."""
        name = f"{case['seed']}: {case['words']}"
        self.cases += 1
        self.answers[str(case["answer"])] += 1
        self.most_mb = max(self.most_mb, float(str(case["mb"])))
        self.longest_s = max(self.longest_s, float(str(case["seconds"])))
        if float(str(case["mb"])) > MOST_MB:
            self.heavy.append(f"{name} ({case['mb']} MB)")
        if float(str(case["seconds"])) > HANG_S:
            self.hangs.append(f"{name} ({case['seconds']} s)")
        if case["answer"] in ("foreign", "lost"):
            self.foreign.append(name)
        if case["canary"]:
            self.canaries.append(name)
        if case["acts"]:
            self.acts.append(f"{name} {case['acts']}")


# ---------------------------------------------------------------- the watched process


def cpu_s() -> float:
    """Return the seconds of processor that this process and its workers have used."""
    own, gone = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return own.ru_utime + own.ru_stime + gone.ru_utime + gone.ru_stime


def peak_mb() -> float:
    """Return the most resident memory since the last `forget_peak`."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def words_of(error: BaseException | None) -> str:
    """Return all that an error and those behind it say."""
    seen: list[str] = []
    while error is not None and len(seen) < 20:
        seen += [str(error), repr(error), "".join(traceback.format_exception_only(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(seen)


@contextlib.contextmanager
def overheard() -> Iterator[io.StringIO]:
    """Collect prints, logs and warnings."""
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    logging.getLogger().addHandler(handler)
    try:
        with (
            contextlib.redirect_stdout(heard),
            contextlib.redirect_stderr(heard),
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always")
            yield heard
            heard.write("\n".join(str(w.message) for w in caught))
    finally:
        logging.getLogger().removeHandler(handler)


def watched(topic: str, seed: int, first: int, last: int) -> None:
    """Run cases and tell about each on the true standard output, one line of JSON."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    acts: list[str] = []

    def listen(event: str, given: tuple[Any, ...]) -> None:
        # A worker of asfusion's own, which decodes under limits, is begun anew when one ended.
        is_worker = event == "subprocess.Popen" and "asfusion.imaging" in str(given[1])
        if event in SEEN_BY_AUDIT and not is_worker:
            acts.append(event)

    sys.addaudithook(listen)
    allowed = frozenset({"subprocess.Popen"} if TOPICS[topic].starts else ())
    with tempfile.TemporaryDirectory(prefix="red-team-") as folder:
        stage = TOPICS[topic].prepare(Path(folder))
        stage(-1)()  # a valid case: imports, workers and the memory that it takes
        out.write(json.dumps({"ready": True}) + "\n")
        for case in range(first, last):
            out.write(json.dumps({"begun": case}) + "\n")
            number = seed * 1_000_003 + case
            try:
                attack = stage(number)
            except (RecursionError, ValueError):  # the forger went too far for itself
                out.write(json.dumps({"unmade": case}) + "\n")
                continue
            acts.clear()
            out.write(json.dumps(one_case(attack, number, acts, allowed)) + "\n")


def one_case(
    attack: Attack, seed: int, acts: list[str], allowed: frozenset[str]
) -> dict[str, object]:
    """Return what came of one case."""
    from asfusion.exceptions import AsfusionError

    forget_peak()
    before, begun, answer, said = peak_mb(), cpu_s(), "done", ""
    with overheard() as heard:
        try:
            said = attack()
            answer = said.split(":")[0]
        except AsfusionError as error:
            answer, said = "refused", words_of(error)
        except Exception as error:  # the point: nothing else may come out
            answer, said = "foreign", f"{type(error).__name__}: {words_of(error)}"
    text = said + heard.getvalue()
    return {
        "seed": seed,
        "answer": answer,
        "words": said.replace("\n", " ")[:200],
        "canary": any(word in text for word in CANARIES),
        "acts": sorted(set(acts) - allowed),
        "mb": round(max(0.0, peak_mb() - before - HANDED_MB[0]), 1),
        "seconds": round(cpu_s() - begun, 2),
    }


# ---------------------------------------------------------------- the watcher


def children_cpu_s(pid: int) -> float:
    """Return the seconds of processor of a process and of what it started."""
    total = 0.0
    for at in [pid, *offspring(pid)]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            cells = Path(f"/proc/{at}/stat").read_text().rsplit(")", 1)[1].split()
            total += sum(map(int, cells[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def offspring(pid: int) -> list[int]:
    """Return the processes below one."""
    with contextlib.suppress(OSError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [one for child in map(int, found) for one in (child, *offspring(child))]
    return []


def watch(topic: str, seed: int, n: int) -> Tally:
    """Run `n` cases of a topic, and go on behind each that kills its process."""
    tally, first = Tally(), 0
    while first < n:
        first = watch_one(topic, seed, first, n, tally)
        print(f"  {topic}: {first} of {n}", file=sys.stderr, flush=True)
    return tally


def watch_one(topic: str, seed: int, first: int, last: int, tally: Tally) -> int:
    """Return the case at which the next process has to begin."""
    command = [sys.executable, __file__, "--watched", topic, str(seed), str(first), str(last)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
    )
    assert process.stdout is not None
    case, is_ready, spent = first, False, 0.0
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    idle = 0.0
    while True:
        if not selector.select(timeout=1.0):
            # Twice the limit of processor time, or ten times that of the clock with nothing done.
            idle += 1.0
            if is_ready and (
                children_cpu_s(process.pid) - spent > 2 * HANG_S or idle > 10 * HANG_S
            ):
                return stopped(process, tally, case)
            continue
        idle = 0.0
        line = process.stdout.readline()
        if not line:
            break
        told = json.loads(line)
        is_ready = is_ready or "ready" in told
        if "begun" in told:
            case, spent = told["begun"], children_cpu_s(process.pid)
        elif "answer" in told:
            tally.note(told)
            case += 1
    code = process.wait()
    if not is_ready:
        raise SystemExit(f"{topic}: the valid case failed (status {code}).")
    if code != 0 and case < last:
        tally.cases += 1
        tally.crashes.append(f"case {case}: status {code}")
        return case + 1
    return last


def stopped(process: subprocess.Popen[str], tally: Tally, case: int) -> int:
    """Kill a process that hangs, and return the case behind it."""
    for at in [*offspring(process.pid), process.pid]:
        with contextlib.suppress(OSError):
            os.kill(at, 9)
    process.wait()
    tally.cases += 1
    tally.hangs.append(f"case {case}")
    return case + 1


# ---------------------------------------------------------------- topics

Attack = Callable[[], str]
Stage = Callable[[int], Attack]


@dataclass(frozen=True)
class Topic:
    """One class of attacks.

    Parameters
    ----------
    cases : int
        How many a full run makes.
    about : str
        What they are.
    prepare : callable
        From a scratch folder to what makes an attack of a seed, and of -1 a harmless one. Making
        it is not measured; calling it returns what came of it.
    starts : bool
        Whether the attack itself starts processes, which then are no acts of the library.
    """

    cases: int
    about: str
    prepare: Callable[[Path], Stage]
    starts: bool = False


def saved_models(folder: Path) -> list[Path]:
    """Return saved models of each family, with every kind of part that a bundle can hold."""
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from xgboost import XGBClassifier

    import asfusion as af

    X, y = table()
    encoders = {
        "labs": af.TabularEncoder(["crp", "esr", "sex"]),
        "notes": af.TextEncoder("note", backbone="tfidf"),
    }
    own = {"verbose": 0, "random_state": 0}
    parts = (
        RandomForestClassifier(5), HistGradientBoostingClassifier(max_iter=5),
        KNeighborsClassifier(algorithm="kd_tree"), XGBClassifier(n_estimators=5),
    )  # fmt: skip
    models = {
        "joint": af.JointFusionClassifier(encoders, max_epochs=1, **own),
        "late": af.LateFusionClassifier(encoders, XGBClassifier(n_estimators=3), **own),
        **{
            f"early{number}": af.EarlyFusionClassifier(encoders, part, **own)
            for number, part in enumerate(parts)
        },
    }
    paths = []
    for name, model in models.items():
        model.fit(X, y)
        paths.append(model.save(folder / f"{name}.asf"))
    assert np.isfinite(models["joint"].predict_proba(X)).all()
    return paths


def table() -> tuple[Any, Any]:
    """Return a small table with notes, and two classes."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 2)), columns=["crp", "esr"])
    X["sex"] = rng.choice(["f", "m"], 60)
    X["note"] = np.where(X["crp"] > 0, "pain at night", "no pain at all")
    return X, (X["crp"] + rng.normal(size=60) > 0).astype(int).to_numpy()


def ask_all(paths: Sequence[Path]) -> str:
    """Load and use each of several folders."""
    for path in paths:
        ask(path)
    return "answered"


def ask(path: Path) -> str:
    """Load a folder and use what comes of it."""
    import asfusion as af

    model = af.load(path)
    model.predict_proba(table()[0].head(3))
    return "answered"


def bundles(folder: Path) -> Stage:
    from tests.forging.bundles import bombs, forged

    sources = saved_models(folder)
    heavy = sorted(bombs(sources[0], folder).values())

    def stage(seed: int) -> Attack:
        if seed < 0:
            return lambda: ask_all(sources)
        if seed % 20 == 0:  # one in twenty is a bomb
            return partial(ask, hand_over(heavy[(seed // 20) % len(heavy)]))
        scratch = folder / "forged"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        (path,) = forged(sources[seed % len(sources)], scratch, 1, seed)
        return partial(ask, hand_over(path))

    return stage


def trees(folder: Path) -> Stage:
    from tests.forging.trees import forge_bundle

    sources = [path for path in saved_models(folder) if "joint" not in path.name]

    def stage(seed: int) -> Attack:
        if seed < 0:
            return lambda: ask_all(sources)
        copy = folder / "forged.asf"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(sources[seed % len(sources)], copy)
        forge_bundle(copy, seed)
        return partial(ask, hand_over(copy))

    return stage


def images(folder: Path) -> Stage:
    from asfusion.exceptions import AsfusionError
    from asfusion.imaging import read_image, read_series
    from tests.forging.images import damaged, valid

    def read(path: Path) -> str:
        # At the size that a network reads: a whole picture is as large as it is.
        made = read_series(path) if ".nii" in path.name else read_image(path, size=224)
        return "pixels" if made is not None else "nothing"

    def read_valid() -> str:
        for content, suffix in valid():
            with contextlib.suppress(AsfusionError):  # some hold several frames
                read(written(content, suffix))
        return "pixels"

    def written(content: bytes, suffix: str) -> Path:
        path = folder / f"picture{suffix}"
        path.write_bytes(content)
        return hand_over(path)

    def stage(seed: int) -> Attack:
        return read_valid if seed < 0 else partial(read, written(*damaged(seed)))

    return stage


def tables(folder: Path) -> Stage:
    import asfusion as af
    from tests.forging.tables import odd_table

    own = {"verbose": 0, "random_state": 0}
    joint = {"max_epochs": 2}
    makers = (
        lambda: af.EarlyFusionClassifier(**own),
        lambda: af.JointFusionClassifier(**joint, **own),
        lambda: af.LateFusionClassifier(network=af.JointFusionClassifier(**joint), **own),
        lambda: af.EarlyFusionRegressor(**own),
        lambda: af.JointFusionRegressor(**joint, **own),
    )

    def stage(seed: int) -> Attack:
        X, y, groups, weight, words = odd_table(max(seed, 0))
        CANARIES[1:] = words

        def attack() -> str:
            if seed < 0:
                for make in makers:
                    make().fit(*table()).predict(table()[0])
                return "fitted"
            model = makers[seed % len(makers)]()
            model.fit(X, y, groups=groups, sample_weight=weight).predict(X)
            return "fitted"

        return attack

    return stage


CANARIES = [CANARY]
HANDED_MB = [0.0]


def hand_over(path: Path) -> Path:
    """Note how large a file or folder is, and return it."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    HANDED_MB[0] = sum(file.stat().st_size for file in files) / 2**20
    return path


def notes(folder: Path) -> Stage:
    from asfusion import notes as room
    from tests.forging.notes import attacked_text, hostile_note, hostile_pattern

    def search(pattern: str, text: str) -> str:
        room.find_concepts(text, {"x": [pattern]}, builtin=False)
        return "searched"

    def read(text: str) -> str:
        room.find_concepts(text)
        room.redact(text)
        return "read"

    def stage(seed: int) -> Attack:
        if seed > 0 and seed % 2:
            return partial(search, hostile_pattern(seed), attacked_text(seed))
        return partial(read, "No uveitis. Pain at night." if seed < 0 else hostile_note(seed))

    return stage


def saves(folder: Path) -> Stage:
    """One case is a contest of processes that save and load; some are killed."""
    from tests.forging.savers import contend

    def contest(seed: int) -> str:
        kills = 0 if seed % 2 else 5
        found = contend(folder, savers=2, readers=2, each=5, kills=kills, seed=max(seed, 0))
        return "whole" if found.is_clean else f"lost: {found}"

    return lambda seed: partial(contest, seed)


TOPICS = {
    "bundles": Topic(5000, "forged and exploding saved models", bundles),
    "trees": Topic(1000, "saved trees with other numbers in them", trees),
    "images": Topic(5000, "damaged and exploding pictures", images),
    "tables": Topic(500, "odd tables, targets, groups and weights", tables),
    "notes": Topic(500, "notes and patterns that take time", notes),
    "saves": Topic(40, "contests of savers, readers and kills", saves, starts=True),
}


def main() -> int:
    """Run the topics, print a table and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="share of the cases to run")
    parser.add_argument("--only", nargs="+", choices=sorted(TOPICS), default=list(TOPICS))
    parser.add_argument("--watched", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watched:
        topic, seed, first, last = options.watched
        watched(topic, int(seed), int(first), int(last))
        return 0
    tallies = {}
    for name in options.only:
        n = max(1, round(options.share * TOPICS[name].cases))
        tallies[name] = watch(name, options.seed, n)
        show(name, tallies[name])
    return int(any(any(tally.faults.values()) for tally in tallies.values()))


def show(name: str, tally: Tally) -> None:
    """Print what came of a topic."""
    answers = ", ".join(f"{n} {answer}" for answer, n in tally.answers.most_common())
    faults = ", ".join(f"{len(cases)} {fault}" for fault, cases in tally.faults.items())
    print(f"{name}: {tally.cases} cases ({TOPICS[name].about}): {answers}")
    print(f"  {faults}; at most +{tally.most_mb:.0f} MB and {tally.longest_s:.1f} s of processor")
    for fault, cases in tally.faults.items():
        for case in cases[:10]:
            print(f"  {fault}: {case}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
