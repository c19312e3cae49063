"""Observations of a FHIR bulk export to wide features, beside loops that a competent user writes.

`read_fhir` beside objects of fhir.resources, and beside plain loops over orjson and the standard
library's json, each of which picks the LOINC code, the comparator, the UCUM unit and the moment of
every line into pandas; all hand their events to the same `LabEvents`. The loops check nothing,
take no component and see no resource twice. Each way runs in a process of its own, which reports
its seconds and by how much its memory grew at most; results are compared. The limit is processor
time of reading 100,000 observations.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != HERE]  # "fhir" is not this
sys.path.insert(0, str(HERE.parent))
import lab_events as known

ROWS, QUICK, LIMIT_S = 100_000, 2_000, 2.0
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
_LABORATORY = {
    "system": "http://terminology.hl7.org/CodeSystem/observation-category",
    "code": "laboratory",
}


def fill(folder: Path, n: int) -> None:
    """Write the events of `lab_events` with LOINC codes as observations, and their patients."""
    known.write_events(folder, n, max(1, n // 100))
    events = pl.read_parquet(folder / "events.parquet")
    export = folder / "export"
    export.mkdir()
    with (export / "Observation.ndjson").open("w") as file:
        for number, row in enumerate(events.iter_rows(named=True)):
            file.write(json.dumps(observation(number, row)) + "\n")
    with (export / "Patient.ndjson").open("w") as file:
        for patient in range(max(1, n // 100)):
            file.write(json.dumps({"resourceType": "Patient", "id": str(patient)}) + "\n")


def observation(number: int, row: dict[str, Any]) -> dict[str, Any]:
    value, time_of = row["value"], row["time"].isoformat() + "+00:00"
    code = "1988-5" if row["code"] == "CRP" else row["code"]
    quantity = {"value": float(value.strip("<")), "unit": row["unit"], "system": UCUM}
    quantity |= {"code": row["unit"]} | ({"comparator": "<"} if value.startswith("<") else {})
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "meta": {"versionId": "1", "lastUpdated": time_of},
        "status": "final",
        "category": [{"coding": [_LABORATORY]}],
        "code": {"coding": [{"system": LOINC, "code": code, "display": code}], "text": code},
        "subject": {"reference": f"Patient/{row['patient']}"},
        "effectiveDateTime": time_of,
        "issued": time_of,
        "valueQuantity": quantity,
    }


def labs() -> Any:
    import asfusion as af

    codes = {lab: [c for c in codes if c != "CRP"] for lab, (codes, _) in known.LABS.items()}
    return af.LabEvents(codes, window="365d")


def by_read_fhir(folder: Path, index: pd.DataFrame) -> Callable[[], Any]:
    import asfusion as af

    records = af.io.read_fhir(folder, index=index, labs=labs())
    return lambda: records.to_frame().drop(columns=["age", "sex"])


def by_loop(load: Callable[[bytes], Any]) -> Callable[[Path, pd.DataFrame], Callable[[], Any]]:
    def read(folder: Path, index: pd.DataFrame) -> Callable[[], Any]:
        rows = []
        with (folder / "Observation.ndjson").open("rb") as file:
            for line in file:
                one = load(line)
                if one["status"] in ("entered-in-error", "cancelled"):
                    continue
                quantity = one["valueQuantity"]
                codings = one["code"]["coding"]
                rows.append(
                    (
                        int(one["subject"]["reference"].partition("/")[2]),
                        one["effectiveDateTime"],
                        next(c["code"] for c in codings if c["system"] == LOINC),
                        f"{quantity.get('comparator', '')}{quantity['value']}",
                        quantity["code"],
                    )
                )
        return _events(rows, index)

    return read


def by_objects(folder: Path, index: pd.DataFrame) -> Callable[[], Any]:
    from fhir.resources.R4B.observation import Observation

    rows = []
    with (folder / "Observation.ndjson").open("rb") as file:
        for line in file:
            one = Observation.model_validate_json(line)
            if one.status in ("entered-in-error", "cancelled"):
                continue
            quantity = one.valueQuantity
            rows.append(
                (
                    int(one.subject.reference.partition("/")[2]),
                    one.effectiveDateTime,
                    next(c.code for c in one.code.coding if c.system == LOINC),
                    f"{quantity.comparator or ''}{float(quantity.value)}",
                    quantity.code,
                )
            )
    return _events(rows, index)


def _events(rows: list[Any], index: pd.DataFrame) -> Callable[[], Any]:
    events = pd.DataFrame(rows, columns=["patient", "time", "code", "value", "unit"])
    events["time"] = pd.to_datetime(events["time"], utc=True)
    return lambda: labs().transform(events, index)


def _orjson() -> Any:
    import orjson

    return orjson.loads


WAYS: dict[str, tuple[Callable[[], Any], str]] = {
    "read_fhir": (lambda: by_read_fhir, "polars"),
    "loop over orjson": (lambda: by_loop(_orjson()), "orjson"),
    "loop over json": (lambda: by_loop(json.loads), "json"),
    "objects of fhir.resources": (lambda: by_objects, "fhir"),
}


def measure(which: str, folder: Path, out: Path) -> None:
    """Run one of them and print its seconds and by how many MB its memory grew at most."""
    import asfusion.io.fhir

    del asfusion
    index = pd.read_parquet(folder / "index.parquet")
    index["index_date"] = index["index_date"].dt.tz_localize("UTC")
    way = WAYS[which][0]()
    if which.startswith("objects"):
        importlib.import_module("fhir.resources.R4B.observation")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, used = time.perf_counter(), time.process_time()
    features = way(folder / "export", index)
    seconds, read = time.perf_counter() - start, time.process_time() - used
    wide = features()
    both = time.process_time() - used
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    wide[sorted(wide.columns)].to_parquet(out)
    print(json.dumps({"seconds": seconds, "read": read, "both": both, "MB": grown}))


def run(args: argparse.Namespace) -> None:
    n = args.rows or (QUICK if args.quick else ROWS)
    ways = [
        name
        for name, (_, package) in WAYS.items()
        if importlib.util.find_spec(package) and (not args.only or name in args.only)
    ]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name), n)
        size = (Path(name) / "export" / "Observation.ndjson").stat().st_size / 1e6
        for _ in range(args.rounds or (1 if args.quick else 3)):
            for number, (which, found) in enumerate(runs.items()):
                command = [sys.executable, __file__, which, name, f"{name}/{number}"]
                said = subprocess.run(
                    command, check=True, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
                )
                found.append(json.loads(said.stdout))
        print(f"{n} observations, {size:.0f} MB; limit for {ROWS}: {LIMIT_S:.0f} s of processor\n")
        first = pd.read_parquet(f"{name}/0")
        for number, (which, found) in enumerate(runs.items()):
            wall, read, both = (
                np.median([r[of] for r in found]) for of in ("seconds", "read", "both")
            )
            print(
                f"{which:<26} read {wall:6.2f} s, {read:6.2f} s of processor; with features "
                f"{both:6.2f} s of processor; {max(r['MB'] for r in found):5.0f} MB more"
            )
            other = pd.read_parquet(f"{name}/{number}")
            pd.testing.assert_frame_equal(first, other, check_dtype=False, rtol=1e-9, atol=1e-9)
        print(f"\nequal: {first.shape[0]} rows of {first.shape[1]} features")


if __name__ == "__main__":
    measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
