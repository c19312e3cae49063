"""What `look` finds among planted leaks, what it flags on clean tables, and what auto costs.

Run: ``python benchmarks/look.py --data ../shared/data``, or one part with ``--only NAME``

chest: the chest films' table as it is exported, all of its labels, sources and notes in it.
planted: a copy of the target, monotone transforms, identifiers in four types and a date after
the index date, in tables of 60 to 2000 rows, for classes and for numbers, by seed: how many are
found. clean: data sets without a leak; whatever is flagged is wrong. heaps: honest measurements
that part two classes by 3 to 6 standard deviations. cost: seconds that ``encoders="auto"`` takes
for 100,000 rows of 200 columns, and a fit of early fusion beside it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

import asfusion as af
from asfusion._frames import Frame
from asfusion.encoders.infer import choose_encoders

LEAKS = ("label_covid", "label_intubated", "label_died", "finding", "doi", "license", "url")
LEAKS += ("source_domain", "notes")
KEPT = ("age", "sex", "view", "temperature", "pO2_saturation", "leukocyte_count")
KEPT += ("neutrophil_count", "lymphocyte_count", "image", "notes_masked")


def flagged(X: pd.DataFrame, y: object, groups: object = None) -> dict[str, str]:
    overview = af.look(X, y, groups, duplicates=False, verbose=0)
    return {s.column: f"{s.kind}: {s.evidence}" for s in overview.suspects}


def chest(data: Path) -> None:
    cohort = pd.read_csv(data / "cxr" / "cohort.csv")
    cohort = cohort[cohort["label_icu"].notna()].reset_index(drop=True)
    X, y, groups = cohort.drop(columns="label_icu"), cohort["label_icu"], cohort["group"]
    found = flagged(X, y, groups)
    for column, evidence in found.items():
        print(f"  {column:<16} {evidence}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoders = af.infer_encoders(X, y, groups)
    read = {name for encoder in encoders.values() for name in encoder._columns_among(X.columns)}
    both = read & set(LEAKS), set(LEAKS) - set(found), set(KEPT) - read
    print(f"  auto learns from leaks: {sorted(both[0])}; look misses: {sorted(both[1])}")
    # A column of one known cell is left out as empty: there is nothing to learn.
    print(f"  auto leaves out what is honest: {sorted(both[2])}")


def planted_table(seed: int, n: int) -> tuple[pd.DataFrame, dict[str, object], np.ndarray]:
    """Return honest columns, targets and the patient of each row, two rows each."""
    rng = np.random.default_rng([seed, n])
    group = np.repeat(np.arange(n // 2), 2)
    X = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n // 2)[group],
            "sex": rng.choice(["f", "m"], n // 2)[group],
            "crp": rng.lognormal(2, 1, n).round(1),
            "platelets": rng.integers(150, 450, n),
            "bmi": rng.normal(26, 4, n // 2)[group].round(1),
            "site": rng.choice(["a", "b", "c"], n // 2)[group],
        }
    )
    level = np.log(X["crp"]) + 0.05 * X["bmi"] + rng.normal(0, 1, n)
    return X, {"classes": (level > level.median()).astype(int), "numbers": level}, group


def plants(y: pd.Series, group: np.ndarray, rng: np.random.Generator) -> dict[str, object]:
    code = rng.permutation(10**6)[: len(np.unique(group))][group]
    day = pd.Timestamp("2022-05-01")
    return {
        "copy": y,
        "linear": 3 * y - 7,
        "exp": np.exp(y / 2),
        "int_code": code,
        "float_code": code.astype(float),
        "text_code": [f"P{c}" for c in code],
        "category_code": pd.Categorical([str(c) for c in code]),
        "later": day + pd.to_timedelta(rng.integers(-50, 50, len(y)), unit="D"),
    }


def planted(seeds: int) -> None:
    for n in (60, 200, 2000):
        for kind in ("classes", "numbers"):
            hits: dict[str, int] = {}
            wrong = 0
            for seed in range(seeds):
                X, targets, group = planted_table(seed, n)
                y = pd.Series(targets[kind], name="state")
                added = plants(y, group, np.random.default_rng([seed, n, 1]))
                overview = af.look(X.assign(**added), y, group, index_date="2022-05-01")
                found = {s.column for s in overview.suspects}
                wrong += len(found - set(added))
                for name in added:
                    hits[name] = hits.get(name, 0) + (name in found)
            told = ", ".join(f"{name} {count}/{seeds}" for name, count in hits.items())
            print(f"  {n:>5} rows, {kind}: {told}; honest columns flagged: {wrong}")


def clean_tables(data: Path) -> Iterator[tuple[str, pd.DataFrame, object, object]]:
    for name in ("iris", "wine", "breast_cancer", "diabetes", "digits"):
        bunch = getattr(datasets, f"load_{name}")(as_frame=True)
        yield name, bunch.data, bunch.target, None
    iris = datasets.load_iris(as_frame=True)
    yield "iris, two kinds", iris.data[:100], iris.target[:100], None
    X, y = datasets.make_friedman1(2000, random_state=0)
    yield "friedman", pd.DataFrame(X).add_prefix("x"), y, None
    X, y = datasets.make_classification(1000, 20, class_sep=2.0, random_state=0)
    yield "classification", pd.DataFrame(X).add_prefix("x"), y, None
    for seed in (0, 1):
        cohort = af.datasets.make_axspa_cohort(
            300, modalities=("labs", "notes", "genes"), random_state=seed
        )
        yield f"cohort {seed}", cohort.X, pd.Series(cohort.y, name="axspa"), cohort.groups
        yield f"cohort {seed}, BASDAI", cohort.X, cohort.targets["basdai"], cohort.groups
    if not data.is_dir():
        return
    spine = pd.read_csv(data / "vertebral" / "column_3C.dat", sep=" ", header=None)
    yield "vertebral", spine.iloc[:, :6].add_prefix("angle_"), spine[6], None
    labels = pd.read_csv(data / "mogonet" / "labels_tr.csv", header=None)[0]
    for block in (1, 2, 3):
        omics = pd.read_csv(data / "mogonet" / f"{block}_tr.csv", header=None)
        yield f"ROSMAP {block}", omics.add_prefix("f"), labels, None
    hips = pd.read_csv(data / "hips" / "hips.csv")
    yield "hips", hips.drop(columns=["fbef", "person"]), hips["fbef"], hips["person"]
    for cancer in ("kirc", "luad"):
        table = pd.read_csv(data / "tcga" / f"{cancer}.csv").drop(columns="case_id")
        y = table[["event", "survival_months"]].rename(columns={"survival_months": "time"})
        yield cancer, table.drop(columns=["event", "survival_months"]), y, None


def clean(data: Path) -> None:
    wrong = tables = columns = 0
    for name, X, y, groups in clean_tables(data):
        found = flagged(X, y, groups)
        tables, columns, wrong = tables + 1, columns + X.shape[1], wrong + len(found)
        print(f"  {name:<18} {len(X):>5} x {X.shape[1]:<5} flagged: {found or 'nothing'}")
    print(f"  {wrong} of {columns} columns in {tables} tables flagged")


def heaps(seeds: int) -> None:
    for n in (60, 120, 400):
        for apart in (3.0, 4.0, 5.0, 6.0):
            wrong = 0
            for seed in range(seeds):
                rng = np.random.default_rng([seed, n, int(apart)])
                y = rng.integers(0, 2, n)
                marker = rng.normal(apart * y, 1.0)
                X = pd.DataFrame({"marker": marker.round(2), "titre": np.exp(marker).round(2)})
                wrong += len(flagged(X, y))
            print(f"  {n:>4} rows, {apart:g} SD apart: {wrong} of {2 * seeds} flagged")


def cost(n_rows: int, n_columns: int) -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n_rows, n_columns))).add_prefix("x")
    X.iloc[:, ::4] = rng.integers(0, 80, (n_rows, len(X.columns[::4])))
    y = pd.Series(X["x1"] + rng.normal(size=n_rows) > 0, name="state")
    before, after = [], []
    for _ in range(5):
        start = time.perf_counter()
        choose_encoders(Frame.read(X))
        before.append(time.perf_counter() - start)
        start = time.perf_counter()
        choose_encoders(Frame.read(X), y)
        after.append(time.perf_counter() - start)
    start = time.perf_counter()
    af.EarlyFusionClassifier({"table": af.TabularEncoder()}, verbose=0, random_state=0).fit(X, y)
    fit = time.perf_counter() - start
    added = min(after) - min(before)
    print(f"  roles alone {min(before):.2f} s, with judgement {min(after):.2f} s, fit {fit:.1f} s")
    print(f"  judgement adds {100 * added / fit:.1f} % of a fit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", choices=["chest", "planted", "clean", "heaps", "cost"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=200)
    given = parser.parse_args()
    parts = {
        "chest": lambda: chest(given.data),
        "planted": lambda: planted(given.seeds),
        "clean": lambda: clean(given.data),
        "heaps": lambda: heaps(5 * given.seeds),
        "cost": lambda: cost(given.rows, given.columns),
    }
    for name, run in parts.items():
        if given.only in (None, name) and not (name == "chest" and not given.data.is_dir()):
            print(name)
            run()


if __name__ == "__main__":
    main()
