"""Rows that are larger than memory: peak of the process, processor time, and whether it is equal.

Each run is a process of its own, whose peak is the system's (``VmHWM``), imports included. "in
memory" is asfusion on the same file, collected; "in pieces" is asfusion on the file; "by hand" is
what a competent user writes without asfusion: XGBoost's external memory, or scikit-learn's
``partial_fit``, over batches of the file. Rows are numbers in single precision, a twentieth of
them missing. ``--sizes 1000000x50`` chooses rows and columns, ``--only large`` fits XGBoost to
2,000,000 x 120 in double precision (1.9 GB decoded), gaps in ten columns, within 1 GB; it needs
2 GB of disk in `TMPDIR`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

BOUND_GB = 1.0
TREES, EPOCHS = 50, 1
JUDGED = 50_000  # rows, the last ones of the file
MOST_OF_MEMORY, MOST_OF_DATA, DIFFERENCE = 0.6, 6.0, 1e-6
WAYS = ("in memory", "in pieces", "by hand")
Floats = np.ndarray


def run(args: argparse.Namespace) -> None:
    only = args.only or ["xgboost", "linear", "joint", "predict"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "large" in only:
            _large(folder, "20000x20" if args.quick else "2000000x120")
            only = [part for part in only if part != "large"]
        sizes = args.sizes or (["20000x20"] if args.quick else ["1000000x50"])
        for size in sizes if only else ():
            n_rows, n_columns = map(int, size.split("x"))
            _make(folder / "rows.parquet", n_rows, n_columns, np.float32)
            gigabytes = n_rows * n_columns * 4 / 1e9
            print(f"{n_rows} x {n_columns}: {gigabytes:.2f} GB in single precision")
            for model in only:
                _compare(folder, model, gigabytes)


def _compare(folder: Path, model: str, gigabytes: float) -> None:
    """Print one line for each way to fit a model."""
    ways = {"joint": WAYS[:2], "predict": ("in pieces",)}.get(model, WAYS)
    found: dict[str, dict[str, Any]] = {}
    for way in ways:
        found[way] = _child(folder, model, way)
        own = found[way]
        line = (
            f"  {model:8} {way:10} peak {own['peak']:5.2f} GB (imports {own['base']:.2f})  "
            f"CPU {own['cpu']:6.1f} s  AUC {own['auc']:.4f}"
        )
        if way == "in pieces":
            line += f"  [peak <= {BOUND_GB:g}, the bound]"
            if "in memory" in found:
                line += _beside(found["in memory"], own)
        if "epoch" in own:
            line += f"  {own['epoch']:.0f} CPU s per epoch"
        if model == "joint" and way == "in pieces":
            line += f"  {own['peak'] / gigabytes:.1f} times the data [<= {MOST_OF_DATA:g}]"
        print(line, flush=True)


def _beside(memory: dict[str, Any], pieces: dict[str, Any]) -> str:
    apart = np.abs(np.asarray(memory["said"]) - np.asarray(pieces["said"])).max()
    return (
        f"  {pieces['peak'] / memory['peak']:.2f} of in memory [<= {MOST_OF_MEMORY}], "
        f"probabilities at most {apart:.1e} apart"
    )


def _large(folder: Path, size: str) -> None:
    n_rows, n_columns = map(int, size.split("x"))
    file = folder / "rows.parquet"
    _make(file, n_rows, n_columns, np.float64, n_gaps=10)
    on_disk = file.stat().st_size / 1e9
    print(f"{n_rows} x {n_columns}: {n_rows * n_columns * 8 / 1e9:.2f} GB, {on_disk:.2f} on disk")
    own = _child(folder, "xgboost", "in pieces")
    print(
        f"  xgboost  in pieces  peak {own['peak']:.2f} GB [<= {BOUND_GB:g}]  CPU {own['cpu']:.0f} s"
        f"  AUC {own['auc']:.4f}"
    )
    file.unlink()


def _make(file: Path, n_rows: int, n_columns: int, dtype: Any, n_gaps: int | None = None) -> None:
    """Write rows in groups of 65,536: numbers with two decimals, and an outcome.

    Of `n_gaps` columns, or of all, a twentieth is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    names = [f"lab{number}" for number in range(n_columns)]
    writer = None
    for start in range(0, n_rows, 2**16):
        n_group = min(2**16, n_rows - start)
        cells = np.round(rng.normal(size=(n_group, n_columns)), 2).astype(dtype)
        risk = cells[:, 0] - cells[:, 1] * cells[:, 2] + 0.5 * cells[:, 3]
        columns = {name: cells[:, number] for number, name in enumerate(names)}
        masks = {name: rng.random(n_group) < 0.05 for name in names[:n_gaps]}
        table = pa.table(
            {name: pa.array(column, mask=masks.get(name)) for name, column in columns.items()}
            | {"died": pa.array((risk + rng.normal(size=n_group) > 0.5).astype(np.int64))}
        )
        writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()


# -- one run, in a process of its own ----------------------------------------------------


def _child(folder: Path, model: str, way: str) -> dict[str, Any]:
    asked = [sys.executable, __file__, str(folder), model, way]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _one(folder: Path, model: str, way: str) -> dict[str, Any]:
    import polars as pl
    import xgboost  # noqa: F401
    from sklearn.metrics import roc_auc_score

    if model == "joint":
        import torch

        torch.set_num_threads(1)
    rows = pl.scan_parquet(folder / "rows.parquet")
    judged = rows.tail(JUDGED).collect()
    began, base = time.process_time(), _memory("VmRSS")
    made: dict[str, Any] = {}
    if way == "by hand":
        said = _by_hand(folder / "rows.parquet", judged, model)
    else:
        said, made = _by_asfusion(folder, rows, judged, model, way)
    auc = float(roc_auc_score(judged["died"].to_numpy(), said))
    shown = [float(f"{value:.12g}") for value in said[:5000]]
    cpu = time.process_time() - began
    return {"peak": _memory("VmHWM"), "base": base, "cpu": cpu, "auc": auc, "said": shown} | made


def _by_asfusion(
    folder: Path, rows: Any, judged: Any, model: str, way: str
) -> tuple[Floats, dict[str, Any]]:
    import xgboost as xgb

    import asfusion as af

    labs = [name for name in rows.collect_schema().names() if name != "died"]
    encoders = {"labs": af.TabularEncoder(labs)}
    epochs = _timed_epochs() if model == "joint" else []
    settings: dict[str, Any] = {"random_state": 0, "verbose": 0, "memory_gb": BOUND_GB}
    if model == "joint":
        made: Any = af.JointFusionClassifier(encoders, max_epochs=EPOCHS, device="cpu", **settings)
    else:
        trees = xgb.XGBClassifier(n_estimators=TREES, n_jobs=1)
        made = af.EarlyFusionClassifier(
            encoders, "linear" if model == "linear" else trees, **settings
        )
    if model == "predict":
        made.fit(rows.head(20_000).collect(), rows.head(20_000).collect()["died"])
    elif way == "in memory":
        table = rows.collect()
        made.fit(table.drop("died"), table["died"])
        del table
    else:
        made.fit(rows, "died")
    if model == "predict":
        made.predict_to(rows, folder / "said.parquet")
    return made.predict_proba(judged)[:, 1], {"epoch": epochs[-1]} if epochs else {}


def _timed_epochs() -> list[float]:
    """Let training note the processor time of each epoch in the list that is returned."""
    from asfusion.training import loop

    times: list[float] = []
    run_epoch = loop._Run.run_epoch

    def timed(self: Any, epoch: int) -> dict[str, float]:
        began = time.process_time()
        record = run_epoch(self, epoch)
        times.append(time.process_time() - began)
        return record

    loop._Run.run_epoch = timed  # type: ignore[method-assign]
    return times


def _by_hand(file: Path, judged: Any, model: str) -> Floats:
    cells = judged.drop("died").to_numpy()
    if model == "linear":
        return _sgd(file, cells)
    import xgboost as xgb

    class Batches(xgb.DataIter):  # type: ignore[misc]
        def __init__(self, folder: str) -> None:
            super().__init__(cache_prefix=f"{folder}/pages")
            self.reset()

        def reset(self) -> None:
            self.left = _batches(file)

        def next(self, input_data: Any) -> bool:
            for cells, died in self.left:
                input_data(data=cells, label=died)
                return True
            return False

    with tempfile.TemporaryDirectory() as folder:
        data = xgb.ExtMemQuantileDMatrix(Batches(folder), nthread=1)
        params = {"objective": "binary:logistic", "nthread": 1}
        booster = xgb.train(params, data, TREES)
        del data
    return np.asarray(booster.predict(xgb.DMatrix(cells)))


def _sgd(file: Path, cells: Floats) -> Floats:
    """Return what logistic regression says that saw each batch once, scaled by what was seen."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.preprocessing import StandardScaler

    scaler, model = StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)
    for batch, _ in _batches(file):
        scaler.partial_fit(np.nan_to_num(batch))
    for batch, died in _batches(file):
        model.partial_fit(scaler.transform(np.nan_to_num(batch)), died, classes=[0, 1])
    return np.asarray(model.predict_proba(scaler.transform(np.nan_to_num(cells)))[:, 1])


def _batches(file: Path) -> Iterator[tuple[Floats, Floats]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(file).iter_batches(batch_size=2**16):
        died = batch.column("died").to_numpy()
        names = [name for name in batch.schema.names if name != "died"]
        columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in names]
        yield np.column_stack(columns).astype(np.float32), died


def _memory(what: str) -> float:
    """Return a size of this process in GB, as Linux tells it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024 / 1e9
    return float("nan")


if __name__ == "__main__":
    print(json.dumps(_one(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
