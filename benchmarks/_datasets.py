"""Data sets by which defaults are chosen and judged: one list for all studies.

``DATASETS[name]()`` returns a `Task`, or raises `NotThereError` with the reason where its files are
not on this disk; `tasks` yields those that are there. Images are read by EfficientNet-Lite0
(ImageNet weights, frozen), each once per process, so that a study runs in minutes.

A default may be chosen by `training_part` of a task only: three of four patients, by a seed that
never changes, or the official training part where there is one. What judges a default splits all
rows, and says so; `other_rows` are those that had no part in the choice.
"""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import GroupShuffleSplit

import asfusion as af

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
CXR_TABLE = [
    "offset",
    "age",
    "sex",
    "view",
    "temperature",
    "pO2_saturation",
    "leukocyte_count",
    "neutrophil_count",
    "lymphocyte_count",
]
HORIZON = 36.0  # months
_TEST_SHARE = 0.25
_SEED = 20260

Kind = Literal["binary", "classes", "numbers", "survival"]


class NotThereError(Exception):
    """A data set whose files or packages are not on this disk; the reason is the message."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be predicted, from what.

    Parameters
    ----------
    name : str
        As in `DATASETS`.
    X : DataFrame
        One row per patient or visit.
    y : ndarray or DataFrame
        Labels, numbers, or event and time.
    groups : ndarray or None
        Patient of each row, where patients have several.
    parts : dict of str to Encoder
        Unfitted; `encoders` gives copies.
    kind : {"binary", "classes", "numbers", "survival"}
        What y is.
    remarks : str
        What whoever reads a figure has to know.
    n_official : int
        How many of the first rows are an official training part; 0 where there is none.
    """

    name: str
    X: pd.DataFrame
    y: Any
    groups: np.ndarray | None
    parts: dict[str, Any]
    kind: Kind
    remarks: str = ""
    n_official: int = 0

    def encoders(self) -> dict[str, Any]:
        """Return unfitted copies of the encoders, by modality."""
        return {name: clone(encoder) for name, encoder in self.parts.items()}

    def take(self, rows: np.ndarray) -> Task:
        """Return the rows at the given positions, numbered anew."""
        y = self.y.iloc[rows].reset_index(drop=True) if hasattr(self.y, "iloc") else self.y[rows]
        groups = None if self.groups is None else self.groups[rows]
        X = self.X.iloc[rows].reset_index(drop=True)
        return replace(self, X=X, y=y, groups=groups, n_official=0)


def training_part(task: Task) -> Task:
    """Return the rows by which a default may be chosen: those of three in four patients."""
    return task.take(_parts(task)[0])


def other_rows(task: Task) -> np.ndarray:
    """Return positions of the rows that are not in `training_part`."""
    return _parts(task)[1]


def _parts(task: Task) -> tuple[np.ndarray, np.ndarray]:
    if task.n_official:
        rows = np.arange(len(task.X))
        return rows[: task.n_official], rows[task.n_official :]
    patients = np.arange(len(task.X)) if task.groups is None else task.groups
    splitter = GroupShuffleSplit(1, test_size=_TEST_SHARE, random_state=_SEED)
    learn, rest = next(splitter.split(task.X, groups=patients))
    return learn, rest


def tasks(names: Sequence[str] | None = None, data: Path = DATA) -> Iterator[Task]:
    """Yield the data sets of these names (all by default), and say which are left out."""
    for name in DATASETS if names is None else names:
        try:
            yield DATASETS[name](data)
        except NotThereError as reason:
            print(f"{name} is left out: {reason}", flush=True)


# -- real patients -----------------------------------------------------------------------


def cxr(data: Path = DATA) -> Task:
    """Intensive care by a frontal chest radiograph, a table and a note."""
    rows = _read_csv(data / "cxr" / "cohort.csv")
    rows = rows[rows["is_frontal"] & rows["label_icu"].notna()].reset_index(drop=True)
    rows["image"] = [str(data / "cxr" / name) for name in rows["image"]]
    parts = {
        "image": _frozen("image"),
        "table": af.TabularEncoder(CXR_TABLE),
        "notes": af.TextEncoder("notes_masked", backbone="tfidf"),
    }
    return Task(
        "cxr",
        rows[["image", "notes_masked", *CXR_TABLE]],
        rows["label_icu"].to_numpy().astype(int),
        _numbers(rows["group"]),
        parts,
        "binary",
        "real films; the view alone gives .70; half of the notes are missing",
    )


def rosmap(data: Path = DATA) -> Task:
    """Alzheimer's disease by three blocks of omics; the official training part comes first."""
    X: list[pd.DataFrame] = []
    y: list[np.ndarray] = []
    for part in ("tr", "te"):
        blocks = [_read_csv(data / "mogonet" / f"{i}_{part}.csv", header=None) for i in (1, 2, 3)]
        for i, block in enumerate(blocks, start=1):
            block.columns = [f"omics{i}_{j}" for j in range(block.shape[1])]
        X.append(pd.concat(blocks, axis=1))
        y.append(_read_csv(data / "mogonet" / f"labels_{part}.csv", header=None)[0].to_numpy())
    table = pd.concat(X, ignore_index=True)
    parts = {f"omics{i}": _starting(table, f"omics{i}_") for i in (1, 2, 3)}
    remarks = "features were selected upstream, on all rows"
    labels = np.concatenate(y).astype(int)
    return Task("rosmap", table, labels, None, parts, "binary", remarks, n_official=len(X[0]))


def vertebral(data: Path = DATA) -> Task:
    """Hernia, spondylolisthesis or normal, by six parameters of pelvis and spine."""
    rows = _read_csv(data / "vertebral" / "column_3C.dat", sep=" ", header=None)
    rows.columns = ["incidence", "tilt", "lordosis", "slope", "radius", "grade", "class"]
    parts = {
        "pelvis": af.TabularEncoder(["incidence", "tilt", "slope"]),
        "spine": af.TabularEncoder(["lordosis", "radius", "grade"]),
    }
    y = rows["class"].to_numpy().astype(str)
    return Task("vertebral", rows.drop(columns="class"), y, None, parts, "classes")


def tcga_survival(cancer: str, data: Path = DATA) -> Task:
    """Months to death by clinical data, expression, copy number and mutations."""
    rows = _read_csv(data / "tcga" / f"{cancer}.csv")
    y = pd.DataFrame({"event": rows["event"] == 1, "time": rows["survival_months"].clip(0.03)})
    parts = {"clinical": af.TabularEncoder(["age", "is_female", "oncotree_code"])}
    for name in ("rnaseq", "cnv", "mut"):
        parts[name] = af.TabularEncoder([c for c in rows.columns if c.endswith(f"_{name}")])
    known = {column for part in parts.values() for column in part.columns}
    X = rows[[column for column in rows.columns if column in known]]
    return Task(f"tcga_{cancer}_survival", X, y, None, parts, "survival", "several hospitals")


def tcga_3y(cancer: str, data: Path = DATA) -> Task:
    """Death within three years; who was censored before that is left out."""
    whole = tcga_survival(cancer, data)
    event, time = whole.y["event"].to_numpy(), whole.y["time"].to_numpy()
    died = event & (time <= HORIZON)
    part = whole.take(np.flatnonzero(died | (time > HORIZON)))
    y = (part.y["time"] <= HORIZON).to_numpy().astype(int)
    remarks = "patients censored within three years are left out"
    return replace(part, name=f"tcga_{cancer}3y", y=y, kind="binary", remarks=remarks)


# -- shipped with scikit-learn and lifelines ---------------------------------------------


def breast_cancer(data: Path = DATA) -> Task:
    """Malignant or not: means, standard errors and worst values of ten measurements."""
    from sklearn.datasets import load_breast_cancer

    made = load_breast_cancer(as_frame=True)
    parts = {
        "mean": _starting(made.data, "mean "),
        "error": af.TabularEncoder([c for c in made.data.columns if c.endswith(" error")]),
        "worst": _starting(made.data, "worst "),
    }
    return Task("breast_cancer", made.data, made.target.to_numpy(), None, parts, "binary")


def wine(data: Path = DATA) -> Task:
    """Three cultivars by chemistry and phenols."""
    from sklearn.datasets import load_wine

    made = load_wine(as_frame=True)
    names = list(made.data.columns)
    parts = {"chemistry": af.TabularEncoder(names[:5]), "phenols": af.TabularEncoder(names[5:])}
    return Task("wine", made.data, made.target.to_numpy(), None, parts, "classes")


def diabetes(data: Path = DATA) -> Task:
    """Progression of diabetes, a number, by body and serum."""
    from sklearn.datasets import load_diabetes

    made = load_diabetes(as_frame=True)
    names = ["age", "sex", "bmi", "bp"]
    serum = [c for c in made.data.columns if c not in names]
    parts = {"body": af.TabularEncoder(names), "serum": af.TabularEncoder(serum)}
    return Task("diabetes", made.data, made.target.to_numpy(), None, parts, "numbers")


def diabetes_above_median(data: Path = DATA) -> Task:
    """Progression above the median."""
    whole = diabetes(data)
    y = (whole.y > np.median(whole.y)).astype(int)
    return replace(whole, name="diabetes_above_median", y=y, kind="binary")


def gbsg2(data: Path = DATA) -> Task:
    """Recurrence of breast cancer."""
    rows = _lifelines("load_gbsg2")
    y = pd.DataFrame({"event": rows["cens"] == 1, "time": rows["time"].astype(float)})
    parts = {
        "patient": af.TabularEncoder(["age", "menostat", "horTh"]),
        "tumour": af.TabularEncoder(["tsize", "tgrade", "pnodes", "progrec", "estrec"]),
    }
    return Task("gbsg2", rows.drop(columns=["cens", "time"]), y, None, parts, "survival")


def rossi(data: Path = DATA) -> Task:
    """Arrest after release."""
    rows = _lifelines("load_rossi")
    y = pd.DataFrame({"event": rows["arrest"] == 1, "time": rows["week"].astype(float)})
    parts = {
        "person": af.TabularEncoder(["age", "race", "mar", "wexp"]),
        "record": af.TabularEncoder(["fin", "paro", "prio"]),
    }
    return Task("rossi", rows.drop(columns=["arrest", "week"]), y, None, parts, "survival")


# -- synthetic patients ------------------------------------------------------------------


def cohort(n: int, data: Path = DATA) -> Task:
    """AxSpA or back pain of synthetic patients, by labs, note, genes and pelvic film."""
    made = _made_cohort(n)
    parts = {**af.infer_encoders(made.X), "pelvis_xray": _frozen("pelvis_xray")}
    return Task(f"cohort{n}", made.X, made.y, made.groups, parts, "binary", "synthetic")


def cohort_survival(n: int, data: Path = DATA) -> Task:
    """Years to radiographic progression of the same patients."""
    whole = cohort(n, data)
    return replace(
        whole, name=f"cohort{n}_survival", y=_made_cohort(n).times("progression"), kind="survival"
    )


DATASETS: dict[str, Callable[..., Task]] = {
    "cxr": cxr,
    "cohort200": partial(cohort, 200),
    "cohort400": partial(cohort, 400),
    "cohort800": partial(cohort, 800),
    "rosmap": rosmap,
    "vertebral": vertebral,
    "tcga_kirc3y": partial(tcga_3y, "kirc"),
    "tcga_luad3y": partial(tcga_3y, "luad"),
    "breast_cancer": breast_cancer,
    "wine": wine,
    "diabetes_above_median": diabetes_above_median,
    "diabetes": diabetes,
    "tcga_kirc_survival": partial(tcga_survival, "kirc"),
    "tcga_luad_survival": partial(tcga_survival, "luad"),
    "gbsg2": gbsg2,
    "rossi": rossi,
    "cohort400_survival": partial(cohort_survival, 400),
}


# -- helpers -----------------------------------------------------------------------------


@cache
def _made_cohort(n: int) -> Any:
    folder = tempfile.TemporaryDirectory()  # films are there until the process ends
    atexit.register(folder.cleanup)
    return af.datasets.make_axspa_cohort(
        n, random_state=0, path=folder.name, modalities=["labs", "notes", "genes", "xray"]
    )


def _frozen(column: str) -> Any:
    return af.ImageEncoder(column, backbone="efficientnet_lite0")


def _starting(table: pd.DataFrame, stem: str) -> Any:
    return af.TabularEncoder([str(c) for c in table.columns if str(c).startswith(stem)])


def _numbers(labels: pd.Series) -> np.ndarray:
    return np.unique(labels.astype(str), return_inverse=True)[1]


def _read_csv(path: Path, **options: Any) -> pd.DataFrame:
    if not path.exists():
        raise NotThereError(f"no {path.parent.name}/{path.name} in the data")
    return pd.read_csv(path, **options)


def _lifelines(name: str) -> pd.DataFrame:
    try:
        from lifelines import datasets
    except ImportError:
        raise NotThereError("lifelines is not installed") from None
    loaded: pd.DataFrame = getattr(datasets, name)()
    return loaded
