"""Ten million lab events to wide features: `LabEvents` beside polars and vectorised pandas.

Run: ``python benchmarks/lab_events.py [--rows 10000000]``

All read the same Parquet file and give the same seven statistics per lab, in one unit, of the
year before each patient's date; detection limits are read, repeats at one moment become one.
polars is the best rival: one lazy query with the same steps, on all cores, as `LabEvents` is; it
checks nothing, knows the units that there are, and names no lab that is missing. pandas works on
whole columns (no loop, no apply) and reads only the columns that it needs. Each runs in a process
of its own, which reports its time and its largest memory; results are compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from asfusion import LabEvents

LABS = {
    "crp": (["1988-5", "CRP"], {"mg/L": 1.0, "mg/dL": 10.0}),
    "esr": (["30341-2"], {"mm/h": 1.0}),
    "haemoglobin": (["718-7"], {"g/L": 1.0, "g/dL": 10.0}),
    "white_cells": (["6690-2"], {"10*9/L": 1.0}),
    "platelets": (["777-3"], {"10*9/L": 1.0}),
    "creatinine": (["2160-0"], {"umol/L": 1.0, "mg/dL": 88.42}),
}
TYPICAL = {
    "crp": 12.0, "esr": 25.0, "haemoglobin": 138.0, "white_cells": 7.5, "platelets": 270.0,
    "creatinine": 75.0,
}  # fmt: skip
DAY = np.timedelta64(1, "D")


def write_events(folder: Path, n: int, n_patients: int) -> None:
    """Write events of patients over four years, a tenth of them of labs that nobody asked for."""
    rng = np.random.default_rng(0)
    choices = [
        (code, unit, TYPICAL[lab] / factor)
        for lab, (codes, units) in LABS.items()
        for code in codes
        for unit, factor in units.items()
    ]
    choices += [("2951-2", "mmol/L", 140.0)]
    which = rng.integers(len(choices), size=n)
    codes, units, centres = (np.array(part) for part in zip(*choices, strict=True))
    numbers = np.round(centres[which] * rng.lognormal(0, 0.1, n), 2)
    start = np.datetime64("2020-01-01T00:00", "us")
    when = start + rng.integers(0, 4 * 365 * 24 * 60, n) * np.timedelta64(60_000_000, "us")
    table = pl.DataFrame(
        {
            "patient": rng.integers(n_patients, size=n),
            "time": when,
            "code": codes[which],
            "value": pl.Series(numbers).cast(pl.String),
            "unit": units[which],
        }
    )
    below = pl.lit("<") + pl.col("value")
    table = table.with_columns(
        pl.when(pl.Series(rng.random(n) < 0.03)).then(below).otherwise("value").alias("value")
    )
    # One event in fifty comes twice.
    table = pl.concat([table, table.sample(n // 50, seed=0)]).sample(
        fraction=1, shuffle=True, seed=1
    )
    table.head(n).write_parquet(folder / "events.parquet")
    dates = start + rng.integers(400, 4 * 365, n_patients) * DAY
    pl.DataFrame({"patient": np.arange(n_patients), "index_date": dates}).write_parquet(
        folder / "index.parquet"
    )


def by_asfusion(folder: Path) -> pd.DataFrame:
    labs = LabEvents({lab: codes for lab, (codes, _) in LABS.items()}, window="365d")
    index = pl.read_parquet(folder / "index.parquet")
    wide = labs.transform(folder / "events.parquet", index)
    return pd.DataFrame(wide.to_numpy(), columns=wide.columns)


def by_polars(folder: Path) -> pd.DataFrame:
    index = pl.scan_parquet(folder / "index.parquet")
    return wide_by_polars(pl.scan_parquet(folder / "events.parquet"), index)


def wide_by_polars(events: pl.LazyFrame, index: pl.LazyFrame) -> pd.DataFrame:
    lab_of = {code: lab for lab, (codes, _) in LABS.items() for code in codes}
    factors = pl.LazyFrame(
        [(lab, unit, f) for lab, (_, units) in LABS.items() for unit, f in units.items()],
        schema={"lab": pl.String, "unit": pl.String, "factor": pl.Float64},
        orient="row",
    )
    time, date, value = pl.col("time"), pl.col("index_date"), pl.col("value")
    below = value.str.starts_with("<")
    number = value.str.strip_prefix("<").cast(pl.Float64)
    year = 365.25 * 86400e6
    t, v, n = pl.col("t"), pl.col("number"), pl.len()
    spread = n * (t * t).sum() - t.sum() ** 2
    slope = (n * (t * v).sum() - t.sum() * v.sum()) / spread
    long = t.max() - t.min() >= 1 / 365.25 - 1e-12
    query = (
        events.filter(pl.col("code").is_in(list(lab_of)))
        .join(index, on="patient")
        .filter((time <= date) & (time > date - pl.duration(days=365)))
        .with_columns(pl.col("code").replace_strict(lab_of).alias("lab"))
        .join(factors, on=["lab", "unit"])
        .select(
            "patient", "lab", "time",
            ((time - date).dt.total_microseconds() / year).alias("t"),
            (pl.when(below).then(number / 2).otherwise(number) * pl.col("factor")).alias("number"),
        )
        .group_by("patient", "lab", "time")
        .agg(v.mean(), t.first())
        .group_by("patient", "lab")
        .agg(
            v.sort_by("t").last().alias("last"), v.mean().alias("mean"), v.min().alias("min"),
            v.max().alias("max"), pl.when(long).then(slope).alias("slope_per_year"),
            n.cast(pl.Float64).alias("count"), (-t.max() * 365.25).alias("days_since"),
        )
    )  # fmt: skip
    found = query.collect()
    wide = found.pivot("lab", index="patient", values=found.columns[2:], sort_columns=True)
    rows = index.select("patient").collect()
    wide = rows.join(wide, on="patient", how="left", maintain_order="left").drop("patient")
    # polars names them last_crp, and so on.
    names = {f"{s}_{lab}": f"{lab}_{s}" for s in found.columns[2:] for lab in LABS}
    wide = wide.rename(names).with_columns(pl.col("^.*_count$").fill_null(0.0))
    return wide.to_pandas()


def by_pandas(folder: Path) -> pd.DataFrame:
    index = pd.read_parquet(folder / "index.parquet")
    return wide_by_pandas(pd.read_parquet(folder / "events.parquet"), index)


def wide_by_pandas(events: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    lab_of = {code: lab for lab, (codes, _) in LABS.items() for code in codes}
    factors = pd.Series(
        {(lab, unit): factor for lab, (_, units) in LABS.items() for unit, factor in units.items()}
    )
    events["lab"] = events["code"].map(lab_of)
    events = events.dropna(subset=["lab"]).merge(index, on="patient")
    events = events[
        (events["time"] <= events["index_date"])
        & (events["time"] > events["index_date"] - pd.Timedelta(days=365))
    ]
    below = events["value"].str.startswith("<")
    number = pd.to_numeric(events["value"].str.lstrip("<"))
    factor = factors.reindex(pd.MultiIndex.from_frame(events[["lab", "unit"]])).to_numpy()
    events["value"] = np.where(below, number / 2, number) * factor
    keys = ["patient", "lab", "time", "index_date"]
    rows = events.groupby(keys, sort=False)["value"].mean().reset_index()
    rows = rows.sort_values("time")
    rows["t"] = (rows["time"] - rows["index_date"]).dt.total_seconds() / (365.25 * 86400)
    rows["tt"], rows["tv"] = rows["t"] ** 2, rows["t"] * rows["value"]
    groups = rows.groupby(["patient", "lab"], sort=False)
    out = groups["value"].agg(["last", "mean", "min", "max", "count", "sum"])
    out = out.join(groups[["t", "tt", "tv"]].sum()).join(
        groups["t"].agg(first_t="first", last_t="last")
    )
    slope = (out["count"] * out["tv"] - out["t"] * out["sum"]) / (
        out["count"] * out["tt"] - out["t"] ** 2
    )
    out["slope"] = slope.where(out["last_t"] - out["first_t"] >= 1 / 365.25 - 1e-12)
    out["time_since"] = -out["last_t"] * 365.25
    names = {"slope": "slope_per_year", "time_since": "days_since"}
    kept = ["last", "mean", "min", "max", "slope", "count", "time_since"]
    wide = out[kept].unstack("lab")
    wide.columns = [f"{lab}_{names.get(name, name)}" for name, lab in wide.columns]
    counts = [name for name in wide.columns if name.endswith("_count")]
    wide[counts] = wide[counts].fillna(0)
    return wide.reindex(index["patient"]).reset_index(drop=True)


WAYS = {"asfusion": by_asfusion, "polars": by_polars, "pandas": by_pandas}


def measure(which: str, folder: Path, out: Path) -> None:
    """Run one of them, write its result, and print seconds and the largest memory in GB."""
    before, used = time.perf_counter(), time.process_time()
    wide = WAYS[which](folder)
    seconds, processor = time.perf_counter() - before, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    wide[sorted(wide.columns)].to_parquet(out)
    print(json.dumps({"seconds": seconds, "processor": processor, "GB": memory}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--patients", type=int)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        measure(options.run[0], Path(options.run[1]), Path(options.run[2]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_events(folder, options.rows, options.patients or max(1, options.rows // 100))
        size = (folder / "events.parquet").stat().st_size / 1024**2
        print(f"{options.rows} events, {size:.0f} MB of Parquet")
        runs: dict[str, list[dict[str, float]]] = {which: [] for which in WAYS}
        for _ in range(options.repeat):
            for which, found in runs.items():
                arguments = [sys.executable, __file__, "--run", which, name, f"{name}/{which}"]
                said = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
                found.append(json.loads(said.stdout))
        own, left = runs["asfusion"], pd.read_parquet(f"{name}/asfusion")
        for which, found in runs.items():
            seconds, processor = (
                np.median([run[of] for run in found]) for of in ("seconds", "processor")
            )
            ratio, work = (
                np.median([p[of] / a[of] for a, p in zip(own, found, strict=True)])
                for of in ("seconds", "processor")
            )
            print(
                f"{which:<9} {seconds:6.1f} s  {processor:6.1f} s of processor  "
                f"{max(run['GB'] for run in found):5.2f} GB  ratio {ratio:.1f}, {work:.1f}"
            )
            other = pd.read_parquet(f"{name}/{which}")
            pd.testing.assert_frame_equal(left, other, check_dtype=False, rtol=1e-6, atol=1e-6)
        print(f"equal: {left.shape[0]} rows of {left.shape[1]} features")


if __name__ == "__main__":
    main()
