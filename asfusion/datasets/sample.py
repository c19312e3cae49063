"""A small synthetic cohort with images, notes and labs, to try everything on."""

from __future__ import annotations

import atexit
import io
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer, check_number
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion.datasets._notes import write_note
from asfusion.datasets._radiograph import draw_pelvis

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

LABS = ("age", "sex", "crp", "esr", "hla_b27")
_TWO_VISITS = 0.35  # share of patients
_DESCRIPTION = """\
Synthetic patients with back pain, one row per visit; nothing here is, or is derived from, a
person. y: structural progression within two years (1 yes, 0 no).
xray: path of a drawn pelvic radiograph (PNG, 128 x 128 px, bright is dense). note: what the
patient tells. age in years; sex; crp in mg/L; esr in mm/h; hla_b27: carrier or not.
Structural damage shows in the radiograph, inflammation in the blood and symptoms in the note,
each in part; all three drive y. Cells and whole modalities are missing at random.
groups: number of the patient; some come twice."""


@dataclass(frozen=True, eq=False)
class SampleCohort:
    """What `make_sample` returns.

    Parameters
    ----------
    X : DataFrame of n rows
        Columns ``xray`` (path), ``note`` (text), ``age`` (years), ``sex``, ``crp`` (mg/L),
        ``esr`` (mm/h) and ``hla_b27`` (bool).
    y : ndarray of shape (n,), int
        1 for structural progression within two years, else 0.
    groups : ndarray of shape (n,), int
        Patient of each row.
    description : str
        What the columns are, and that all of it is synthetic.

    Examples
    --------
    >>> import asfusion as af
    >>> af.datasets.make_sample(20, random_state=0)
    SampleCohort(synthetic, 20 rows of 15 patients, 9 positive)
    """

    X: pd.DataFrame
    y: NDArray[np.int64]
    groups: NDArray[np.int64]
    description: str = _DESCRIPTION

    def __repr__(self) -> str:
        """Return the size, and that it is synthetic."""
        patients = len(np.unique(self.groups))
        return (
            f"SampleCohort(synthetic, {len(self.y)} rows of {patients} patients, "
            f"{int(self.y.sum())} positive)"
        )


@dataclass(frozen=True, eq=False)
class _Latent:
    """What drives everything of a visit and stands in no column; all (N,), in SD."""

    patient: NDArray[np.int64]
    damage: Floats
    inflammation: Floats
    burden: Floats


def make_sample(
    n: int = 200,
    *,
    random_state: RandomState = 0,
    path: str | os.PathLike[str] | None = None,
    missing: float = 0.1,
) -> SampleCohort:
    """Make synthetic patients with a radiograph, a note and labs.

    One latent process per visit (structural damage, inflammation, burden) causes a
    drawn radiograph, a short note, lab values and the outcome, each in part: modalities
    complement each other, so that a fused model can beat each single one.

    Parameters
    ----------
    n : int
        Number of rows (visits), at least 1. About a third of patients have two.
    random_state : int, RandomState, Generator or None
        Seeds everything; an int gives the same patients every time.
    path : path, optional
        Folder for the PNG files, made if it is not there. By default a temporary folder
        that is removed when the process ends.
    missing : float
        Share of cells, and of whole modalities, that are missing; from 0 to 0.9. Every
        row keeps at least one modality.

    Returns
    -------
    SampleCohort
        ``X``, ``y``, ``groups`` and ``description``.

    Raises
    ------
    ConfigurationError
        If a parameter is unusable.

    Notes
    -----
    The radiographs are drawings: grades 0 to 4 after the modified New York criteria [1]_
    set the width of the joint line, sclerosis and erosions. No clinical conclusion can be
    drawn from this cohort.

    References
    ----------
    .. [1] van der Linden, Valkenburg, Cats, "Evaluation of diagnostic criteria for
       ankylosing spondylitis", Arthritis Rheum 1984. https://doi.org/10.1002/art.1780270401

    Examples
    --------
    >>> import asfusion as af
    >>> cohort = af.datasets.make_sample(20, random_state=0)
    >>> cohort.X.columns.tolist()
    ['xray', 'note', 'age', 'sex', 'crp', 'esr', 'hla_b27']
    """
    check_integer(n, "n", minimum=1)
    check_number(missing, "missing", minimum=0.0, maximum=0.9)
    seed = draw_seed(random_state)
    latent = _draw_latent(n, _stream(seed, "latent"))
    y = _draw_outcome(latent, _stream(seed, "outcome"))
    folder = _temporary_folder() if path is None else Path(path).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    columns: dict[str, Any] = {
        "xray": _draw_images(latent, folder, seed),
        "note": _write_notes(latent, seed),
        **_measure_labs(latent, _stream(seed, "labs")),
    }
    _hide(columns, missing, _stream(seed, "missing"))
    return SampleCohort(_to_frame(columns), y, latent.patient)


def _stream(seed: int, *keys: object) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, "sample", *keys))


def _draw_latent(n: int, rng: np.random.Generator) -> _Latent:
    """Return visits of patients; a second visit resembles the first."""
    visits = 1 + (rng.random(n) < _TWO_VISITS)
    patient = np.repeat(np.arange(n), visits)[:n]
    first = np.append(True, patient[1:] != patient[:-1])
    own = rng.normal(size=(n, 3))[patient]
    new = rng.normal(size=(n, 3))
    damage = own[:, 0] + np.where(first, 0.0, np.abs(0.3 * new[:, 0]))
    inflammation = 0.3 * own[:, 0] + 0.75 * own[:, 1] + 0.59 * new[:, 1]
    burden = 0.35 * inflammation + 0.75 * own[:, 2] + 0.56 * new[:, 2]
    return _Latent(patient, damage, inflammation, burden)


def _draw_outcome(latent: _Latent, rng: np.random.Generator) -> NDArray[np.int64]:
    risk = 1.9 * latent.damage + 1.4 * latent.inflammation + 1.7 * latent.burden - 0.4
    return (risk + rng.logistic(size=len(risk)) > 0).astype(np.int64)


def _draw_images(latent: _Latent, folder: Path, seed: int) -> list[str]:
    """Write a PNG per visit and return the paths."""
    from PIL import Image

    paths = []
    visit = 0
    for row, patient in enumerate(latent.patient.tolist()):
        visit = visit + 1 if row and patient == latent.patient[row - 1] else 1
        anatomy = _stream(seed, "anatomy", patient)
        exposure = _stream(seed, "exposure", row)
        grades = _grades(float(latent.damage[row]), exposure)
        buffer = io.BytesIO()
        Image.fromarray(draw_pelvis(grades, anatomy, exposure)).save(buffer, format="PNG")
        file = folder / f"patient{patient + 1:04d}_visit{visit}.png"
        file.write_bytes(buffer.getvalue())
        paths.append(str(file))
    return paths


def _grades(damage: float, rng: np.random.Generator) -> tuple[int, int]:
    noisy = 1.9 + 1.15 * damage + 0.35 * rng.normal(size=2)
    left, right = np.clip(np.round(noisy), 0, 4).astype(int).tolist()
    return left, right


def _write_notes(latent: _Latent, seed: int) -> list[str | None]:
    return [
        write_note(burden, _stream(seed, "note", row))
        for row, burden in enumerate(latent.burden.tolist())
    ]


def _measure_labs(latent: _Latent, rng: np.random.Generator) -> dict[str, Any]:
    n = len(latent.patient)
    n_patients = int(latent.patient.max()) + 1
    # What does not change between visits is drawn per patient.
    male = (rng.random(n_patients) < 0.65)[latent.patient]
    age = rng.normal(38.0, 9.0, n_patients)[latent.patient] + 2.0 * latent.damage
    carrier_odds = rng.logistic(1.2, 1.0, n_patients)[latent.patient] + 0.4 * latent.inflammation
    carrier = carrier_odds > 0
    same = np.append(False, latent.patient[1:] == latent.patient[:-1])
    for row in np.flatnonzero(same):
        carrier[row] = carrier[row - 1]
    crp = np.exp(1.5 + 0.85 * latent.inflammation + 0.75 * rng.normal(size=n))
    esr = np.exp(2.6 + 0.5 * latent.inflammation + 0.5 * rng.normal(size=n))
    return {
        "age": np.clip(np.round(age), 18, 80).tolist(),
        "sex": np.where(male, "male", "female").tolist(),
        "crp": np.clip(np.round(crp, 1), 0.2, 250).tolist(),
        "esr": np.clip(np.round(esr), 1, 130).tolist(),
        "hla_b27": carrier.tolist(),
    }


def _hide(columns: dict[str, list[Any]], share: float, rng: np.random.Generator) -> None:
    """Set cells of labs, and whole modalities, to None."""
    n = len(columns["note"])
    lost = np.stack([rng.random(n) < share for _ in LABS])
    # Labs that are there have a cell that is there: all cells missing is another thing.
    lost[0] &= ~lost.all(axis=0)
    for name, rows in zip(LABS, lost, strict=True):
        _clear(columns[name], rows)
    absent = rng.random((n, 3)) < share
    absent[np.arange(n), rng.integers(3, size=n)] = False
    blocks: Sequence[Sequence[str]] = (("xray",), ("note",), LABS)
    for block, rows in zip(blocks, absent.T, strict=True):
        for name in block:
            _clear(columns[name], rows)


def _clear(cells: list[Any], rows: NDArray[np.bool_]) -> None:
    for row in np.flatnonzero(rows):
        cells[row] = None


def _to_frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    import pandas as pd

    numbers = {"age": "float64", "crp": "float64", "esr": "float64", "hla_b27": "boolean"}
    return pd.DataFrame(
        {name: pd.Series(cells, dtype=numbers.get(name, "str")) for name, cells in columns.items()}
    )


def _temporary_folder() -> Path:
    """Return a new folder that is removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="asfusion-sample-"))
    owner = os.getpid()

    def remove() -> None:
        # A forked child runs this too when it ends, and must not.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder
