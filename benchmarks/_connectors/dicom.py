"""A folder of DICOM files as a table: `index_dicom` beside loops over pydicom.

A few phantoms are drawn and written again and again under identifiers of their own. Each way runs
in a process of its own, once to warm up and then some rounds, and reports processor time (its
workers included) and wall time of the median round. What a table holds is compared. The limit is
that of one pydicom loop in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

FILES, QUICK, ROUNDS = 10_000, 300, 3
LIMIT = 5.0  # times faster than a pydicom loop
FIELDS = {
    "patient": "PatientID", "study": "StudyInstanceUID", "series": "SeriesInstanceUID",
    "sop": "SOPInstanceUID", "modality": "Modality", "body_part": "BodyPartExamined",
    "view": "ViewPosition", "rows": "Rows", "columns": "Columns", "frames": "NumberOfFrames",
    "spacing": "PixelSpacing", "date": "StudyDate", "photometric": "PhotometricInterpretation",
    "burned_in": "BurnedInAnnotation", "description": "SeriesDescription",
}  # fmt: skip
_UID = re.compile(rb"UI(.)\0(1\.2\.826\.[0-9.]{30,})", re.S)


def fill(folder: Path, n: int) -> None:
    """Write `n` slices and films whose studies, series and instances are all different."""
    import asfusion as af

    with tempfile.TemporaryDirectory() as drawn:
        af.datasets.make_axspa_cohort(
            4, modalities=["xray", "mri"], path=drawn, random_state=3, missing=0.0
        )
        files = sorted(Path(drawn).rglob("*.dcm"))
        contents = [(file.relative_to(drawn), file.read_bytes()) for file in files]
    for number in range(n):
        copy, at = divmod(number, len(contents))
        name, content = contents[at]
        target = folder / f"{copy:04d}" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_renamed(content, copy))


def _renamed(content: bytes, copy: int) -> bytes:
    """Return a file whose identifiers end in the number of the copy."""

    def other(match: re.Match[bytes]) -> bytes:
        return b"UI" + match[1] + b"\0" + match[2][:-4] + b"%04d" % copy

    return _UID.sub(other, content)


def walk(folder: Path) -> Iterator[str]:
    for root, _, names in os.walk(folder):
        yield from (os.path.join(root, name) for name in names)  # noqa: PTH118


# -- the ways ----------------------------------------------------------------------------------


def by_index(folder: Path) -> Any:
    import asfusion as af

    return af.io.index_dicom(folder).files


def by_index_two(folder: Path) -> Any:
    import asfusion as af

    return af.io.index_dicom(folder, n_jobs=2).files


def by_loop(folder: Path) -> Any:
    """Read headers, take nothing from them and keep none: the yardstick."""
    import pydicom

    headers = (pydicom.dcmread(file, stop_before_pixels=True) for file in walk(folder))
    return range(sum(1 for _ in headers))


def _row(file: str, **options: Any) -> list[Any]:
    import pydicom

    header = pydicom.dcmread(file, stop_before_pixels=True, **options)
    return [getattr(header, keyword, None) for keyword in FIELDS.values()]


def by_loop_to_table(folder: Path) -> Any:
    return pd.DataFrame([_row(file) for file in walk(folder)], columns=list(FIELDS))


def by_tags(folder: Path) -> Any:
    tags = list(FIELDS.values())
    rows = [_row(file, specific_tags=tags) for file in walk(folder)]
    return pd.DataFrame(rows, columns=list(FIELDS))


def _rows(files: list[str], tags: list[str]) -> list[list[Any]]:
    rows = [_row(file, specific_tags=tags) for file in files]
    return [[None if cell is None else str(cell) for cell in row] for row in rows]


def by_joblib(folder: Path) -> Any:
    from joblib import Parallel, delayed

    files, tags = list(walk(folder)), list(FIELDS.values())
    parts = [files[i : i + 250] for i in range(0, len(files), 250)]
    found = Parallel(n_jobs=2)(delayed(_rows)(part, tags) for part in parts)
    return pd.DataFrame([row for part in found for row in part], columns=list(FIELDS))


WAYS: dict[str, Callable[[Path], Any]] = {
    "index_dicom": by_index,
    "index_dicom, n_jobs=2": by_index_two,
    "pydicom, one loop, headers alone": by_loop,
    "pydicom, one loop, to a table": by_loop_to_table,
    "pydicom, specific_tags, to a table": by_tags,
    "pydicom, specific_tags, joblib, 2 processes": by_joblib,
}


def _processor_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _workers_s() -> float:
    """Return the processor time of workers that are still there."""
    ticks, seconds = os.sysconf("SC_CLK_TCK"), 0.0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            seconds += (int(fields[11]) + int(fields[12])) / ticks
    return seconds


def measure(name: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Return seconds of the median round, and what the table says of identifiers."""
    import pydicom.pixels  # noqa: F401  # as whoever reads files has

    work = WAYS[name]
    found = work(folder)
    wall, processor = [], []
    for _ in range(rounds):
        start, spent = time.perf_counter(), _processor_s() + _workers_s()
        found = work(folder)
        wall.append(time.perf_counter() - start)
        processor.append(_processor_s() + _workers_s() - spent)
    sops = sorted(map(str, found["sop"])) if isinstance(found, pd.DataFrame) else []
    return {
        "wall": statistics.median(wall),
        "processor": statistics.median(processor),
        "n": len(found),
        "sops": hash(tuple(sops)) if sops else None,
    }


def _apart(name: str, folder: Path, rounds: int) -> dict[str, Any]:
    code = (
        "import sys, json; from pathlib import Path; from _connectors import dicom; "
        "print(json.dumps(dicom.measure(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))"
    )
    here = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {
        "PYTHONPATH": paths, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, name, str(folder), str(rounds)],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def run(args: argparse.Namespace) -> None:
    """Measure all ways and print them beside the limit."""
    n = args.rows or (QUICK if args.quick else FILES)
    rounds = args.rounds or (1 if args.quick else ROUNDS)
    ways = args.only or list(WAYS)
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), n)
        found = {name: _apart(name, Path(folder), rounds) for name in ways}
    sops = {one["sops"] for one in found.values() if one["sops"] is not None}
    assert len(sops) <= 1, "expected the same instances in every table"
    assert {one["n"] for one in found.values()} == {n}, "expected every file in every table"
    yardstick = found.get("pydicom, one loop, headers alone")
    print(f"{n} files, {rounds} round(s), {os.cpu_count()} processors; limit: {LIMIT:g} x the loop")
    print(f"{'way':<44}{'processor s':>12}{'wall s':>9}{'times':>8}{'by wall':>9}")
    for name, one in found.items():
        line = f"{name:<44}{one['processor']:>12.2f}{one['wall']:>9.2f}"
        if yardstick is not None:
            line += f"{yardstick['processor'] / one['processor']:>8.1f}"
            line += f"{yardstick['wall'] / one['wall']:>9.1f}"
        print(line)
