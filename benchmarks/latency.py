"""How long one patient takes, by the model and by its exported file; and whether both say the same.

Run: ``python benchmarks/latency.py --part equal`` (or ``time``, ``cold``; ``--quick`` for less)

Rows are drawn, since time does not depend on what they mean. Every film is asked once: a frozen
backbone remembers what it has seen. Both sides take turns, so that a machine that others use, too,
makes both long; ratios are what counts. Times are wall clock in ms, one thread.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import asfusion as af

HEADS = (
    "concat", "gated", "attention", "bottleneck", "low_rank", "film", "adaptation_gate", "latents",
    "evidential", "gaussian_experts", "mixture",
)  # fmt: skip
TABLES = ("mlp", "tabnet", "ft_transformer", "tabm", "resnet")
WORDS = ("back", "pain", "uveitis", "no", "stiff", "morning", "hip", "severe", "since", "years")
QUIET: dict[str, Any] = {"random_state": 0, "verbose": 0}
LIMIT = 1e-6


def table(n_rows: int, seed: int = 0) -> pd.DataFrame:
    """Return laboratory values, a person and a note, with gaps."""
    rng = np.random.default_rng(seed)
    labs = {name: rng.gamma(2.0, 5.0, n_rows) for name in ("crp", "esr", "wbc", "hb")}
    X = pd.DataFrame(labs)
    X["age"], X["sex"] = rng.normal(50.0, 9.0, n_rows), rng.choice(["f", "m"], n_rows)
    X["note"] = [" ".join(rng.choice(WORDS, 60)) for _ in range(n_rows)]
    X.loc[::7, "crp"] = np.nan
    return X


def labels(X: pd.DataFrame) -> Any:
    noise = np.random.default_rng(1).normal(size=len(X)) * 5.0
    return (X["crp"].fillna(9.0) + noise > 9.0).to_numpy().astype(int)


def tables(network: str = "mlp") -> dict[str, Any]:
    return {
        "labs": af.TabularEncoder(["crp", "esr", "wbc", "hb"], network=network),
        "person": af.TabularEncoder(["age", "sex"]),
    }


def note(backbone: str = "tfidf") -> dict[str, Any]:
    return {"note": af.TextEncoder("note", backbone=backbone, max_tokens=64, vocab_size=400)}


def film(backbone: str) -> dict[str, Any]:
    return {"film": af.ImageEncoder("film", backbone=backbone)}


def films(folder: Path, n_films: int, *, dicom: bool = False, seed: int = 0) -> list[str]:
    """Return the files of films that all differ."""
    if dicom:
        cohort = af.datasets.make_axspa_cohort(
            n_films, random_state=seed, path=folder, modalities=["xray"], missing=0.0
        )
        column = next(name for name in cohort.X.columns if "xray" in name)
        return [str(cell) for cell in cohort.X[column]]
    from PIL import Image

    folder.mkdir(exist_ok=True, parents=True)
    rng = np.random.default_rng(seed)
    made = []
    for n in range(n_films):
        grey = np.asarray(
            Image.fromarray(rng.integers(0, 256, (9, 8), np.uint8)).resize((400, 480))
        )
        Image.fromarray(grey).save(folder / f"{n}.png")
        made.append(str(folder / f"{n}.png"))
    return made


# -- equal -----------------------------------------------------------------------------


def equal(args: argparse.Namespace) -> None:
    """Export each head, backbone and family, and print the largest difference over all subsets."""
    X = table(40)
    y = labels(X)
    print(f"{'model':<38}{'rows':>6}{'subsets':>9}{'difference':>12}{'export s':>10}{'MB':>7}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        X["film"] = films(folder / "films", len(X))
        for what, model in _models(args):
            if args.only and not any(part in what for part in args.only):
                continue
            _show_equal(what, model.fit(X.head(24), y[:24]), X.tail(16), folder)


def _models(args: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    joint = partial(af.JointFusionClassifier, max_epochs=1, **QUIET)
    early, late = af.EarlyFusionClassifier, af.LateFusionClassifier
    for head in HEADS[:2] if args.quick else HEADS:
        yield f"joint {head}", joint({**tables(), **note()}, head)
    yield "early linear", early({**tables(), **note()}, **QUIET)
    yield "early forest", early({**tables(), **note()}, "forest", **QUIET)
    yield "early xgboost", early({**tables(), **note()}, "xgboost", **QUIET)
    yield "late product", late({**tables(), **note()}, combine="product", **QUIET)
    yield "late stacking", late({**tables(), **note()}, combine="stacking", **QUIET)
    yield "automatic", af.AutoFusionClassifier({**tables(), **note()}, cv=2, **QUIET)
    if args.quick:
        return
    for network in TABLES:
        yield f"joint concat, table {network}", joint(tables(network))
    yield "joint concat, note transformer", joint({**tables(), **note("transformer")})
    yield "late mean, note transformer", late({**tables(), **note("transformer")}, **QUIET)
    yield "joint concat, film compact", joint({**tables(), **film("compact")})
    yield "joint concat, film efficientnet_lite0", joint({**tables(), **film("efficientnet_lite0")})
    yield (
        "early linear, film efficientnet_lite0",
        early({**tables(), **film("efficientnet_lite0")}, **QUIET),
    )


def _show_equal(what: str, model: Any, rows: pd.DataFrame, folder: Path) -> None:
    begun = time.perf_counter()
    try:
        file = af.export(model, folder / "model.onnx", rows)
    except af.exceptions.AsfusionError as error:
        print(f"{what:<38}{str(error)[:90]}", flush=True)
        return
    took = time.perf_counter() - begun
    told = af.serving.OnnxModel(file).schema["checked"]
    size = file.stat().st_size / 1e6
    row = f"{what:<38}{told['rows']:>6}{told['subsets']:>9}{told['largest_difference']:>12.1e}"
    print(f"{row}{took:>10.1f}{size:>7.1f}", flush=True)


# -- time ------------------------------------------------------------------------------


def timed(args: argparse.Namespace) -> None:
    """Print how long one patient takes by the model, by the file, and by the file from a dict."""
    heads = ("model p50", "p99", "file p50", "p99", "dict p50", "times", "limit")
    print(f"{'one patient':<34}" + "".join(f"{head:>10}" for head in heads))
    with tempfile.TemporaryDirectory() as name:
        for what, make, dicom, limit in _timed_models():
            if not args.only or any(part in what for part in args.only):
                _show_time(what, make, dicom, limit, Path(name), args)


def _timed_models() -> list[tuple[str, Callable[[], Any], bool | None, float]]:
    joint = partial(af.JointFusionClassifier, max_epochs=2, **QUIET)
    early = partial(af.EarlyFusionClassifier, **QUIET)
    frozen = film("efficientnet_lite0")
    return [
        ("early linear, tables", lambda: early(tables()), None, 5),
        ("early linear, + note", lambda: early({**tables(), **note()}), None, 5),
        ("late, + note", lambda: af.LateFusionClassifier({**tables(), **note()}, **QUIET), None, 5),
        ("joint concat, tables", lambda: joint(tables()), None, 5),
        ("joint attention, + note", lambda: joint({**tables(), **note()}, "attention"), None, 5),
        ("early linear, + frozen film", lambda: early({**tables(), **note(), **frozen}), False, 3),
        ("joint concat, + frozen film", lambda: joint({**tables(), **note(), **frozen}), False, 3),
        ("joint concat, + DICOM film", lambda: joint({**tables(), **note(), **frozen}), True, 3),
    ]


def _show_time(
    what: str, make: Callable[[], Any], dicom: bool | None, limit: float, folder: Path,
    args: argparse.Namespace,
) -> None:  # fmt: skip
    n_asked = (20 if args.quick else 60) if dicom is not None else (60 if args.quick else 300)
    X = table(40 + n_asked)
    if dicom is not None:
        X["film"] = films(folder / what.replace(" ", "_"), len(X), dicom=dicom)
    model = make().fit(X.head(40), labels(X)[:40])
    try:
        file = af.export(model, folder / "model.onnx")
    except af.exceptions.ConfigurationError as error:
        print(f"{what:<34}{str(error)[:120]}", flush=True)
        return
    served = af.serving.OnnxModel(file, n_threads=1)
    rows = [X.iloc[n : n + 1] for n in range(40, len(X))]
    dicts = [row.to_dict("records") for row in rows]
    spent: dict[str, list[float]] = {"model": [], "file": [], "dict": []}
    for row, one in zip(rows, dicts, strict=True):
        for side, ask, given in (
            ("model", model.predict_proba, row),
            ("file", served.predict_proba, row),
            ("dict", served.predict_proba, one),
        ):
            begun = time.perf_counter()
            ask(given)
            spent[side].append(1e3 * (time.perf_counter() - begun))
    (m50, m99), (f50, f99), (d50, _) = (
        np.percentile(spent[side][3:], [50, 99]) for side in ("model", "file", "dict")
    )
    shown = "".join(f"{ms:>10.2f}" for ms in (m50, m99, f50, f99, d50))
    print(f"{what:<34}{shown}{m50 / f50:>10.1f}{limit:>10.0f}", flush=True)


# -- cold ------------------------------------------------------------------------------

_COLD = {
    "model": "import asfusion as af; ask = af.load({path!r}).predict_proba; import pandas as pd; "
    "row = pd.DataFrame([{row!r}])",
    "file": "from asfusion.serving import OnnxModel; ask = OnnxModel({path!r}).predict_proba; "
    "row = [{row!r}]",
}


def cold(args: argparse.Namespace) -> None:
    """Print how long a new process takes to its first answer, and what memory it then has."""
    X = table(60)
    model = af.JointFusionClassifier({**tables(), **note()}, max_epochs=2, **QUIET)
    model.fit(X, labels(X))
    row = {key: value for key, value in X.iloc[3].to_dict().items() if value == value}
    print(f"{'joint concat, tables + note':<34}{'first answer s':>16}{'memory MB':>12}")
    with tempfile.TemporaryDirectory() as name:
        paths = {
            "model": str(model.save(Path(name) / "model.asf")),
            "file": str(af.export(model, Path(name) / "model.onnx")),
        }
        for side, code in _COLD.items():
            seconds, memory = [], []
            for _ in range(1 if args.quick else 5):
                # Not by `getrusage`, which knows the peak of who started the process as well.
                script = code.format(path=paths[side], row=row) + (
                    "; ask(row); told = open('/proc/self/status').read(); "
                    "print(float(told.split('VmHWM:')[1].split()[0]) / 1024)"
                )
                begun = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-c", script], capture_output=True, text=True, check=True
                )
                seconds.append(time.perf_counter() - begun)
                memory.append(float(done.stdout))
            print(f"{side:<34}{np.median(seconds):>16.2f}{np.median(memory):>12.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("equal", "time", "cold"), required=True)
    parser.add_argument("--only", nargs="+", help="models whose name holds one of these")
    parser.add_argument("--quick", action="store_true", help="the smallest run that says something")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    {"equal": equal, "time": timed, "cold": cold}[args.part](args)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process: {peak:.0f} MB")


if __name__ == "__main__":
    main()
