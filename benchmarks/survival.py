"""Time to an event: our Cox regression against lifelines, and fusion against Cox on the table.

Run: ``python benchmarks/survival.py --data ../shared/data [--quick] [--seeds 2]``

First the same regression by lifelines, in coefficients and in processor time. Then two cancers
of TCGA (clinical table, expression, copy number and mutations of the same patients), two data sets
that lifelines ships, and the synthetic cohort: Harrell's C of each fusion, of each modality and of
a Cox regression on the table alone, on the same folds by patient, with paired intervals.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import asfusion as af
from asfusion.survival import CoxRegression

OPTIONS: dict[str, Any] = {"verbose": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=("cox", "fusion"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = options.only or ("cox", "fusion")
    if "cox" in parts:
        cox_against_lifelines(2_000 if options.quick else 100_000)
    if "fusion" in parts:
        for name, made in data_sets(options.data, quick=options.quick).items():
            compare(name, *made, seeds=1 if options.quick else options.seeds)


def cox_against_lifelines(n_rows: int) -> None:
    """Print by how much coefficients differ, and the ratio of processor times."""
    import lifelines

    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 50))
    own = rng.exponential(np.exp(-X @ rng.normal(scale=0.2, size=50)))
    end = rng.exponential(2.0, n_rows)
    y = pd.DataFrame({"event": own < end, "time": np.minimum(own, end).round(3) + 0.001})
    table = pd.DataFrame(X, columns=[f"x{k}" for k in range(50)]).join(y)
    begun = time.process_time()
    ours = CoxRegression().fit(X, y)
    between = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = lifelines.CoxPHFitter().fit(table, "time", "event")
    ended = time.process_time()
    apart = np.abs(ours.coef_ - theirs.params_.to_numpy()).max()
    print(
        f"Cox, {n_rows} rows x 50 columns: {between - begun:.1f} s, lifelines "
        f"{ended - between:.1f} s ({(ended - between) / (between - begun):.0f} times); "
        f"coefficients differ by at most {apart:.1g}\n"
    )


def data_sets(data: Path, *, quick: bool) -> dict[str, tuple[Any, Any, Any, dict[str, Any]]]:
    """Return X, y, groups and encoders of each data set."""
    made = {name: tcga(data / "tcga" / f"{name}.csv") for name in ("kirc", "luad")}
    made |= {"gbsg2": gbsg2(), "rossi": rossi()}
    made["cohort"] = cohort(150 if quick else 800)
    return dict(list(made.items())[-2:]) if quick else made


def tcga(path: Path) -> tuple[Any, Any, Any, dict[str, Any]]:
    X = pd.read_csv(path)
    y = pd.DataFrame({"event": X["event"] == 1, "time": X["survival_months"].clip(lower=0.03)})
    blocks = {"rnaseq": "_rnaseq", "cnv": "_cnv", "mutations": "_mut"}
    encoders = {"clinical": af.TabularEncoder(["age", "is_female", "oncotree_code"])}
    for name, ending in blocks.items():
        encoders[name] = af.TabularEncoder([c for c in X.columns if c.endswith(ending)])
    return X, y, X["case_id"], encoders


def gbsg2() -> tuple[Any, Any, Any, dict[str, Any]]:
    from lifelines.datasets import load_gbsg2

    X = load_gbsg2()
    y = pd.DataFrame({"event": X["cens"] == 1, "time": X["time"].astype(float)})
    encoders = {
        "patient": af.TabularEncoder(["age", "menostat", "horTh"]),
        "tumour": af.TabularEncoder(["tsize", "tgrade", "pnodes", "progrec", "estrec"]),
    }
    return X, y, None, encoders


def rossi() -> tuple[Any, Any, Any, dict[str, Any]]:
    from lifelines.datasets import load_rossi

    X = load_rossi()
    y = pd.DataFrame({"event": X["arrest"] == 1, "time": X["week"].astype(float)})
    encoders = {
        "person": af.TabularEncoder(["age", "race", "mar", "wexp"]),
        "record": af.TabularEncoder(["fin", "paro", "prio"]),
    }
    return X, y, None, encoders


def cohort(n: int) -> tuple[Any, Any, Any, dict[str, Any]]:
    made = af.datasets.make_axspa_cohort(n, random_state=0, modalities=["labs", "notes", "genes"])
    labs = [c for c in made.X.columns if c not in ("clinical_note",) and c[:2] not in ("hl", "rs")]
    encoders = {
        "labs": af.TabularEncoder(labs),
        "notes": af.TextEncoder("clinical_note", backbone="tfidf"),
        "hla": af.TabularEncoder(["hla_b27"]),
        "risk": af.GenotypeEncoder(prefix="rs"),
    }
    return made.X, made.times("progression"), made.groups, encoders


def compare(name: str, X: Any, y: Any, groups: Any, encoders: Any, *, seeds: int) -> None:
    """Print the board of one data set."""
    cox = {"cox": CoxRegression(alpha=1.0)}
    begun = time.process_time()
    board = af.compare(
        X, y, encoders, groups=groups, cv=5, seeds=range(seeds), estimators=cox,
        fusions=("concat",), combines=("mean", "product"), n_bootstrap=500, **OPTIONS,
    )  # fmt: skip
    events = int(y["event"].sum())
    print(
        f"== {name}: {len(y)} rows, {events} events, {time.process_time() - begun:.0f} s\n{board}\n"
    )


if __name__ == "__main__":
    main()
