"""All benchmarks of the library, one after the other, and one report.

Run: ``python benchmarks/run.py`` (or ``make bench``), ``--quick`` for a smoke run of minutes,
``--only NAME ...`` for some, ``--list`` to see them

Each script keeps its own command line and runs in a process of its own; what it prints is what the
report shows. One that fails, runs too long or lacks its data is in the report as that, and
the exit status is 1 if one failed. The report goes to ``bench-output/report.md``, which git
ignores: figures belong to the machine and the load of one run. Those that were looked at
and compared stand in ``docs/measured.md``, with their commands.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LIMIT_S = 3600.0
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Bench:
    """One script with its settings.

    Parameters
    ----------
    name : str
        As `--only` takes it.
    claim : str
        What its figures are about.
    script : str
        File in this folder.
    options : tuple of str
        Of the full run; ``{data}`` is the folder of real data.
    quick : tuple of str or None
        Of the smoke run; None where the full one is quick.
    needs : tuple of str
        Files or folders below the data without which it is left out.
    full_only : bool
        Whether no smoke run of it would say anything, so that it is left out there.
    """

    name: str
    claim: str
    script: str
    options: tuple[str, ...] = ()
    quick: tuple[str, ...] | None = None
    needs: tuple[str, ...] = ()
    full_only: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of one script."""

    bench: Bench
    command: str
    state: str
    seconds: float = 0.0
    printed: str = ""


BENCHES = (
    Bench("import", "`import asfusion` takes less than 0.1 s", "import_time.py"),
    Bench(
        "service",
        "a served model answers 300 requests a second, and tells malformed ones where they err",
        "service.py",
        quick=("--seconds", "2", "--malformed", "300", "--kills", "1"),
    ),
    Bench(
        "connectors-dicom",
        "10,000 DICOM files as a table, beside loops over pydicom",
        "connectors.py",
        ("--part", "dicom"),
        ("--part", "dicom", "--quick"),
    ),
    Bench(
        "cohort",
        "the synthetic cohort in seconds, and how much each modality tells",
        "cohort.py",
        quick=("--patients", "40"),
    ),
    Bench(
        "cohort-fusion",
        "fusion finds what the synthetic cohort has planted",
        "cohort_fusion.py",
        ("--threads", "1"),
        ("--threads", "1", "--patients", "60", "--folds", "2"),
    ),
    Bench(
        "cxr",
        "image, table and note of real patients against each alone",
        "cxr_fusion.py",
        ("--data", "{data}/cxr", "--threads", "1"),
        ("--data", "{data}/cxr", "--threads", "1", "--seeds", "1"),
        needs=("cxr/cohort.csv",),
    ),
    Bench(
        "tables",
        "omics in blocks and spinal parameters against scikit-learn",
        "tables.py",
        ("--data", "{data}"),
        ("--data", "{data}", "--seeds", "1"),
        needs=("mogonet/1_tr.csv", "vertebral/column_3C.dat"),
    ),
    Bench(
        "choose-defaults",
        "by what the defaults of early and late fusion were chosen, on training rows",
        "choose_defaults.py",
        ("--data", "{data}"),
        ("--data", "{data}", "--only", "wine"),
        needs=(),
    ),
    Bench(
        "choose-joint",
        "what joint fusion does by default, chosen inside training folds",
        "choose_joint.py",
        ("--data", "{data}"),
        ("--data", "{data}", "--quick", "--fusions", "concat", "--folds", "2"),
        needs=("vertebral/column_3C.dat",),
    ),
    Bench(
        "pretrain",
        "whether patients without a label help joint fusion",
        "pretrain.py",
        ("--data", "{data}"),
        ("--data", "{data}", "--seeds", "1", "--only", "synthetic", "--unlabelled", "100"),
        needs=("cxr/cohort.csv",),
    ),
    Bench(
        "wide-tables",
        "thousands of columns within three times scikit-learn",
        "wide_tables.py",
        quick=("--quick", "--rounds", "2"),
    ),
    Bench(
        "survival",
        "time to an event: Cox against lifelines, fusion against Cox on the table",
        "survival.py",
        ("--data", "{data}"),
        ("--data", "{data}", "--quick"),
        needs=("tcga/kirc.csv",),
    ),
    Bench(
        "grades",
        "what the order of grades is worth, beside the same models without it",
        "grades.py",
        quick=("--patients", "200", "--seeds", "1", "--families", "early"),
    ),
    Bench(
        "lab-events",
        "ten million lab events against vectorised pandas",
        "lab_events.py",
        quick=("--rows", "200000", "--repeat", "1"),
    ),
    Bench(
        "leakage",
        "a split by rows flatters, a split by patients does not",
        "leakage.py",
        quick=("--seeds", "2"),
    ),
    Bench(
        "images",
        "reading, storing and serving radiographs against the usual way",
        "images.py",
        quick=("--files", "40", "--rounds", "3"),
    ),
    Bench(
        "tree-shap",
        "exact tree Shapley values against shap",
        "tree_shap.py",
        quick=("--rows", "50", "--trees", "50", "--rounds", "1"),
    ),
    Bench("explain", "values of modalities against Captum and shap", "explain.py"),
    Bench(
        "planted-causes",
        "explanations find what was planted",
        "planted_causes.py",
        quick=("--part", "tables", "--patients", "200"),
    ),
    Bench(
        "notes",
        "concepts, redaction and readings of notes",
        "notes.py",
        ("--data", "{data}/cxr", "--threads", "1"),
        ("--part", "context", "--threads", "1"),
        needs=("cxr/cohort.csv",),
    ),
    Bench(
        "look",
        "leaks found, columns flagged wrongly, and what the judgement costs",
        "look.py",
        ("--data", "{data}"),
        ("--data", "{data}", "--seeds", "2", "--rows", "20000"),
        needs=("cxr/cohort.csv",),
    ),
    Bench(
        "bootstrap",
        "the clustered bootstrap against a loop over scikit-learn",
        "bootstrap.py",
        quick=("--replicates", "200", "--looped", "5", "--rounds", "1"),
    ),
    Bench(
        "coverage",
        "how many 95 % intervals hold the truth",
        "interval_coverage.py",
        quick=("--studies", "20", "--patients", "100", "--replicates", "200"),
    ),
    Bench(
        "thresholds",
        "what learning a threshold costs",
        "thresholds.py",
        quick=("--patients", "100", "--rounds", "1"),
    ),
    Bench(
        "conformal",
        "sets and intervals cover as often as they say",
        "conformal.py",
        ("--studies", "500"),
        ("--studies", "20"),
    ),
    Bench(
        "architectures",
        "every network trains, is saved and exported",
        "architectures.py",
        ("--part", "epoch", "--patients", "12", "--size", "64"),
    ),
    Bench(
        "mri-fusion",
        "MRI, radiograph and labs beat each alone",
        "architectures.py",
        ("--part", "fusion", "--patients", "800"),
        ("--part", "epoch", "--patients", "12", "--size", "32"),
    ),
    Bench(
        "ensemble",
        "networks averaged and stacked against each alone",
        "architectures.py",
        ("--part", "ensemble", "--patients", "500", "--size", "96"),
        ("--part", "epoch", "--patients", "12", "--size", "32"),
    ),
    Bench(
        "defaults",
        "every default, before and now, beside the best of scikit-learn and XGBoost",
        "defaults.py",
        ("--data", "{data}"),
        ("--data", "{data}", "--quick"),
        needs=("cxr/cohort.csv", "mogonet/1_tr.csv", "tcga/kirc.csv", "vertebral/column_3C.dat"),
    ),
    Bench(
        "choose-members",
        "from how many rows on boosting and a network help an automatic fusion",
        "choose_members.py",
        quick=("--quick",),
    ),
    Bench(
        "heads",
        "every fusion head beside early fusion and the best single modality",
        "heads.py",
        ("--data", "{data}"),
        ("--data", "{data}", "--quick"),
        needs=("cxr/cohort.csv", "mogonet/1_tr.csv", "tcga/kirc.csv"),
    ),
    Bench(
        "visits",
        "a recurrent network on visits beats the last visit alone",
        "visits.py",
        ("--patients", "5000", "--seeds", "2", "--only", "gru summary hand logistic"),
        ("--patients", "200", "--seeds", "1", "--folds", "2", "--only", "summary hand"),
    ),
    Bench(
        "genome",
        "a risk score of 100,000 variants against bed-reader and numpy",
        "genome.py",
        quick=("--variants", "5000", "--people", "500", "--repeat", "1"),
    ),
    Bench(
        "anatomy-joints",
        "sacroiliac joints are found on another seed, turned, zoomed and exposed",
        "anatomy.py",
        ("--part", "joints"),
        ("--part", "joints", "--patients", "40", "--epochs", "8"),
    ),
    Bench(
        "anatomy-lungs",
        "lungs on real films, against radiologists' boxes",
        "anatomy.py",
        ("--part", "lungs", "--data", "{data}"),
        ("--part", "lungs", "--data", "{data}", "--epochs", "8"),
        needs=("lungs/boxes.csv", "cxr/cohort.csv"),
    ),
    Bench(
        "anatomy-masks",
        "lungs on real films by masks of MONAI and by heat maps",
        "anatomy.py",
        ("--part", "masks", "--data", "{data}"),
        ("--part", "masks", "--data", "{data}", "--epochs", "8"),
        needs=("lungs/boxes.csv", "cxr/cohort.csv"),
    ),
    Bench(
        "anatomy-fine",
        "grades of joints on fine films: where they are found, at true places, on whole films",
        "anatomy.py",
        ("--part", "fine"),
        ("--part", "fine", "--patients", "40", "--epochs", "1"),
    ),
    Bench(
        "anatomy-icu",
        "intensive care from real films: whole, the lungs alone, both, and without lungs",
        "anatomy.py",
        ("--part", "icu", "--data", "{data}"),
        ("--part", "icu", "--data", "{data}", "--epochs", "15"),
        needs=("lungs/boxes.csv", "cxr/cohort.csv"),
    ),
    Bench(
        "anatomy-mri",
        "slices cut around the joints against whole ones",
        "anatomy.py",
        ("--part", "mri"),
        ("--part", "mri", "--patients", "40", "--epochs", "2"),
    ),
    Bench(
        "anatomy-corners",
        "corners of the spine found, graded and added up on another seed",
        "anatomy.py",
        ("--part", "corners"),
        full_only=True,  # what learns for minutes only loses every corner
    ),
    Bench(
        "anatomy-photographs",
        "photographs of real films: rectifying and learning bring back part of what they cost",
        "anatomy.py",
        ("--part", "photographs", "--data", "{data}"),
        ("--part", "photographs", "--data", "{data}", "--epochs", "2"),
        needs=("cxr/cohort.csv",),
    ),
    Bench(
        "anatomy-photographed-joints",
        "sacroiliac joints are found on photographs by another model than the one learned from",
        "anatomy.py",
        ("--part", "photographed_joints"),
        ("--part", "photographed_joints", "--patients", "40", "--epochs", "8"),
    ),
    Bench(
        "scale-tables",
        "early and late fusion of numeric tables within two to three times scikit-learn",
        "scale.py",
        ("--part", "tables"),
        ("--part", "tables", "--quick"),
    ),
    Bench(
        "scale-start",
        "a saved table model from a cold start, and one row on a warm one",
        "scale.py",
        ("--part", "start"),
        ("--part", "start", "--quick"),
    ),
    Bench(
        "scale-workers",
        "n_jobs=2, Dask and Ray against the serial run",
        "scale.py",
        ("--part", "workers"),
        ("--part", "workers", "--quick"),
    ),
    Bench(
        "scale-steps",
        "a step of training against the bare step",
        "scale.py",
        ("--part", "steps"),
        ("--part", "steps", "--quick"),
    ),
    Bench(
        "scale-ranks",
        "two ranks against one",
        "scale.py",
        ("--part", "ranks"),
        ("--part", "ranks", "--quick"),
    ),
    Bench(
        "scale-large",
        "tables larger than memory: peak memory against the data",
        "scale.py",
        ("--part", "large"),
        ("--part", "large", "--quick"),
    ),
    Bench(
        "scale-straw",
        "ratios against the best rival instead of a straw man",
        "scale.py",
        ("--part", "straw"),
        ("--part", "straw", "--quick"),
    ),
    Bench(
        "connectors-fhir",
        "observations of a FHIR export to features, beside loops over fhir.resources and JSON",
        "connectors.py",
        ("--part", "fhir"),
        ("--part", "fhir", "--quick"),
    ),
    Bench(
        "connectors-omop",
        "a million lab events of an OMOP database to wide features, beside pandas and polars",
        "connectors.py",
        ("--part", "omop"),
        ("--part", "omop", "--quick"),
    ),
    Bench(
        "gpu",
        "the benchmark of GPUs runs: here on the CPU, where it measures nothing",
        "gpu.py",
        ("--quick", "--device", "cpu", "--compare", "--threads", "1"),
    ),
    Bench(
        "federated-cohort",
        "four hospitals together: against all rows in one place, and against each alone",
        "federated.py",
        ("--part", "cohort"),
        ("--part", "cohort", "--seeds", "2", "--rounds", "2", "--patients", "900"),
    ),
    Bench(
        "federated-poison",
        "one bad hospital of four costs little",
        "federated.py",
        ("--part", "poison"),
        (
            "--part",
            "poison",
            "--seeds",
            "2",
            "--rounds",
            "2",
            "--patients",
            "900",
            "--how",
            "guarded",
            "--bad",
            "a",
        ),
    ),
    Bench(
        "external-shifts",
        "planted shifts between hospitals are found, and nothing where nothing was planted",
        "external.py",
        quick=("--repeats", "2", "--patients", "4000", "--new", "300"),
    ),
    Bench(
        "external-sites",
        "one site left out at a time, with and without harmonised sites",
        "external.py",
        ("--part", "sites", "--data", "{data}"),
        ("--part", "sites", "--data", "{data}", "--patients", "400"),
    ),
    Bench("network-memory", "the largest network fits", "architectures.py", ("--part", "memory")),
    Bench(
        "export-equal",
        "an exported file answers as its model, over all subsets of the modalities",
        "latency.py",
        ("--part", "equal"),
        ("--part", "equal", "--quick"),
    ),
    Bench(
        "latency",
        "one patient by the model and by its exported file",
        "latency.py",
        ("--part", "time"),
        ("--part", "time", "--quick", "--only", "tables"),
    ),
    Bench(
        "latency-cold",
        "a new process to its first answer",
        "latency.py",
        ("--part", "cold"),
        ("--part", "cold", "--quick"),
    ),
    Bench("bombs", "hostile files cost next to nothing", "bombs.py"),
    Bench(
        "fuzz-dicom",
        "any bytes give pixels or one error",
        "fuzz_dicom.py",
        quick=("--n", "200"),
    ),
    Bench(
        "red-team",
        "forged models, pictures, tables and notes end in an answer or in one error",
        "red_team.py",
        quick=("--share", "0.01"),
    ),
    Bench("kill-saves", "a save survives being killed", "kill_saves.py", quick=("--kills", "10")),
    Bench(
        "peers",
        "the peers beside asfusion, from results that are already there",
        "peers/report.py",
        needs=(),
    ),
)


def command_of(bench: Bench, data: Path, *, quick: bool) -> list[str]:
    """Return the command line of a script, without the interpreter."""
    options = bench.quick if quick and bench.quick is not None else bench.options
    return [f"benchmarks/{bench.script}", *(option.format(data=data) for option in options)]


def run(bench: Bench, data: Path, *, quick: bool, limit_s: float = LIMIT_S) -> Outcome:
    """Run one script; whatever happens is an outcome."""
    command = command_of(bench, data, quick=quick)
    shown = " ".join(["python", *command])
    if quick and bench.full_only:
        return Outcome(bench, shown, "left out: a short run of it says nothing")
    lacking = [name for name in bench.needs if not (data / name).exists()]
    if lacking:
        return Outcome(bench, shown, f"left out: no {', '.join(lacking)} in the data")
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    variables = {**dict.fromkeys(THREADS, "1"), "HF_HUB_OFFLINE": "1", **os.environ}
    variables["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    begun = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, *command],
            env=variables,
            cwd=ROOT,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as stopped:
        printed = (stopped.stdout or b"").decode(errors="replace")
        return Outcome(bench, shown, f"failed: longer than {limit_s:.0f} s", limit_s, printed)
    seconds = time.perf_counter() - begun
    printed = done.stdout.decode(errors="replace")
    if done.returncode == 0:
        return Outcome(bench, shown, "ran", seconds, printed)
    said = printed + last_lines(done.stderr.decode(errors="replace"))
    return Outcome(bench, shown, f"failed: exit status {done.returncode}", seconds, said)


def last_lines(text: str, n: int = 5) -> str:
    """Return the last lines of what a failed script wrote to stderr."""
    return "".join(f"{line}\n" for line in text.strip().splitlines()[-n:])


def tidy(text: str) -> str:
    """Return printed text without what progress bars overwrote."""
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
    return "\n".join(lines).strip("\n")


def write_report(outcomes: Sequence[Outcome], *, quick: bool) -> str:
    """Return the report as Markdown: one table of all, then what each printed."""
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        "# Benchmarks",
        "",
        f"{when}, Python {platform.python_version()}, {os.cpu_count()} processors, "
        f"{platform.system()}. "
        + ("A smoke run: its figures mean little." if quick else "The full run."),
        "",
        "| benchmark | about | state | s |",
        "|---|---|---|---|",
    ]
    for o in outcomes:
        row = [f"[{o.bench.name}](#{o.bench.name})", o.bench.claim, o.state, f"{o.seconds:.0f}"]
        lines.append(f"| {' | '.join(row)} |")
    for o in outcomes:
        lines += ["", f"## {o.bench.name}", "", f"`{o.command}`: {o.state}, {o.seconds:.0f} s"]
        if o.printed.strip():
            lines += ["", "```text", tidy(o.printed), "```"]
    return "\n".join(lines) + "\n"


def chosen(names: Sequence[str] | None) -> list[Bench]:
    """Return the benchmarks of these names, all by default."""
    return [bench for bench in BENCHES if not names or bench.name in names]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [bench.name for bench in BENCHES]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="these alone")
    parser.add_argument("--quick", action="store_true", help="small settings, for a smoke run")
    parser.add_argument("--list", action="store_true", help="print names and commands")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("bench-output/report.md"))
    arguments = parser.parse_args(argv)
    benches = chosen(arguments.only)
    if arguments.list:
        for bench in benches:
            shown = " ".join(command_of(bench, arguments.data, quick=arguments.quick))
            print(f"{bench.name:<16} {bench.claim}\n{'':<16} python {shown}")
        return 0
    outcomes: list[Outcome] = []
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for bench in benches:
        outcomes.append(run(bench, arguments.data, quick=arguments.quick))
        print(f"{bench.name:<16} {outcomes[-1].state}, {outcomes[-1].seconds:.0f} s", flush=True)
        # After each one, so that what ran is not lost if the rest is stopped.
        arguments.out.write_text(write_report(outcomes, quick=arguments.quick))
    print(f"Report: {arguments.out}")
    return int(any(outcome.state.startswith("failed") for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
