"""Processor time of early fusion on tables of numbers, beside scikit-learn pipelines.

Run: ``python benchmarks/wide_tables.py``, ``--earlier CHECKOUT`` to compare predictions too

Each figure is fit and `predict_proba` on the same rows. Every pass takes all of them in turns, so
that a busy machine slows all; what is shown are medians, and of ratios the median over passes.
*lean* imputes medians with indicators, standardises, and fits the logistic regression that early
fusion is given, one of a fixed penalty. *same* does all that a `TabularEncoder` does: medians and
interquartile ranges, clipping, indicators. Its medians lie between cells, ours are cells, hence the
gap of probabilities where cells are missing. None chooses its penalty, as the default of early
fusion does, which takes longer: what is timed is how tables are read. With ``--earlier`` another
checkout of the library fits the same tables in a process of its own: the largest difference of its
`predict_proba` to ours is printed, and should be 0.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, RobustScaler, StandardScaler

SHAPES = [(200, 20), (200, 200), (200, 2000), (1000, 20), (1000, 200), (1000, 2000), (100_000, 20)]
QUICK = [(200, 20), (200, 2000)]
LIMIT = 3.0
MISSING = 0.05


def make(n_rows: int, n_columns: int, *, missing: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return cells and classes that three columns tell."""
    rng = np.random.default_rng(n_rows + n_columns)
    cells = rng.normal(size=(n_rows, n_columns)) * 10.0 ** rng.integers(-3, 4, n_columns)
    risk = (cells[:, :3] / cells[:, :3].std(axis=0)).sum(axis=1) + rng.normal(size=n_rows)
    if missing:
        cells[rng.random(cells.shape) < MISSING] = np.nan
    return cells, (risk > 0).astype(int)


def unit_variance(features: np.ndarray) -> np.ndarray:
    """Give all features together a variance of one, as early fusion does with a modality."""
    return features / np.sqrt(features.shape[1])


def clip(features: np.ndarray) -> np.ndarray:
    return np.clip(features, -10, 10)


def regression() -> list[Any]:
    return [
        StandardScaler(),
        FunctionTransformer(unit_variance),
        LogisticRegression(max_iter=5000),
    ]


def lean() -> Any:
    return make_pipeline(SimpleImputer(strategy="median", add_indicator=True), *regression())


def same() -> Any:
    filled = SimpleImputer(strategy="constant", fill_value=0.0, add_indicator=True)
    return make_pipeline(RobustScaler(), FunctionTransformer(clip), filled, *regression())


def ours() -> Any:
    import asfusion as af

    return early(af, {"t": af.TabularEncoder()})


def auto() -> Any:
    import asfusion as af

    return early(af, "auto")


def early(af: Any, encoders: Any) -> Any:
    """Return early fusion of the model that pipelines have: the penalty is not chosen here."""
    plain = LogisticRegression(max_iter=5000)
    return af.EarlyFusionClassifier(encoders, plain, scale="blocks", verbose=0, random_state=0)


MODELS: dict[str, Callable[[], Any]] = {"lean": lean, "same": same, "ours": ours, "auto": auto}


def seconds(build: Callable[[], Any], X: Any, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the processor time of fit and prediction, and the probabilities."""
    model, start = build(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = model.fit(X, y).predict_proba(X)[:, 1]
    return time.process_time() - start, found


def tables(shapes: list[tuple[int, int]]) -> list[tuple[str, Any, np.ndarray]]:
    """Return every table with its name and its classes."""
    made = []
    for n_rows, n_columns in shapes:
        for missing in (False, True):
            cells, y = make(n_rows, n_columns, missing=missing)
            frame = pd.DataFrame(cells, columns=[f"p{i}" for i in range(n_columns)])
            gaps = "gaps" if missing else "full"
            made += [
                (f"{n_rows:>7,} x {n_columns:<5,} {gaps} {kind}", X, y)
                for kind, X in (("pandas", frame), ("numpy", cells))
            ]
    return made


def judge(name: str, X: Any, y: np.ndarray, rounds: int) -> float:
    """Print one line; return how many times the lean pipeline early fusion takes."""
    spent: dict[str, list[float]] = {model: [] for model in MODELS}
    found = {}
    for _ in range(rounds):
        for model, build in MODELS.items():
            took, found[model] = seconds(build, X, y)
            spent[model].append(took)
    times = {model: np.asarray(values) for model, values in spent.items()}
    ratios = [np.median(times[a] / times[b]) for a, b in (("ours", "lean"), ("auto", "lean"))]
    beside = np.median(times["ours"] / times["same"])
    shown = " ".join(f"{1000 * np.median(values):>8.1f}" for values in times.values())
    gap = np.abs(found["ours"] - found["same"]).max()
    print(
        f"{name:<30} {shown} {ratios[0]:>9.2f} {ratios[1]:>9.2f} {beside:>9.2f} {gap:>8.1e}",
        flush=True,
    )
    return float(max(ratios))


def predictions(shapes: list[tuple[int, int]]) -> dict[str, np.ndarray]:
    """Return what early fusion predicts for each table."""
    return {
        f"{name} {model}": seconds(MODELS[model], X, y)[1]
        for name, X, y in tables(shapes)
        for model in ("ours", "auto")
    }


def print_differences(checkout: Path, shapes: list[tuple[int, int]]) -> None:
    """Print the largest difference to predictions of another checkout, in its own process."""
    told = ",".join(f"{rows}x{columns}" for rows, columns in shapes)
    variables = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    command = [sys.executable, __file__, "--predict", told]
    done = subprocess.run(command, env=variables, capture_output=True, check=True)
    earlier = np.load(io.BytesIO(done.stdout), allow_pickle=False)
    found = predictions(shapes)
    worst = {name: float(np.abs(found[name] - earlier[name]).max()) for name in found}
    print(
        f"\nlargest difference of predict_proba to the earlier version: {max(worst.values()):.1e}"
    )
    for name, gap in worst.items():
        if gap:
            print(f"  {name}: {gap:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="two shapes only")
    parser.add_argument("--earlier", type=Path, help="checkout whose predictions are compared")
    parser.add_argument("--predict", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.predict:
        asked = [tuple(map(int, shape.split("x"))) for shape in options.predict.split(",")]
        np.savez(sys.stdout.buffer, **predictions(asked))
        return
    shapes = QUICK if options.quick else SHAPES
    for build in MODELS.values():  # warm
        seconds(build, *make(200, 20, missing=True))
    models = " ".join(f"{model:>8}" for model in MODELS)
    print(f"{'':<30} {'milliseconds of processor':^35} {'times lean':>19} {'same':>9}")
    print(f"{'rows x columns':<30} {models} {'ours':>9} {'auto':>9} {'ours':>9} {'gap':>8}")
    highest = max(judge(*table, options.rounds) for table in tables(shapes))
    verdict = "within" if highest <= LIMIT else "ABOVE"
    print(f"\nat most {highest:.2f} times the lean pipeline: {verdict} the goal of {LIMIT:.0f}")
    if options.earlier:
        print_differences(options.earlier, shapes)
    else:
        print("Predictions of an earlier version are compared with --earlier CHECKOUT.")


if __name__ == "__main__":
    main()
