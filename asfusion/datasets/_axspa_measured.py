"""What hospitals measure and write down of what is true: units, limits, gaps, notes."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._random import derive_seed
from asfusion.datasets._axspa_margins import Floats
from asfusion.datasets._axspa_patients import Bools, Patients
from asfusion.datasets._phantoms.notes import Mention, NoteFacts, write_note_with_mentions

_FIRST_DAY = datetime.date(2015, 1, 5)
_DAYS = 3000
_AUTHORS_PER_SITE = 3
_ALWAYS_TOLD = (
    *("insidious", "better_exercise", "night_pain", "alternating_buttock"),
    *("trauma", "lifting_job"),
)
_TOLD_IF_ASKED = (
    *("uveitis", "psoriasis", "ibd", "enthesitis", "heel", "dactylitis"),
    *("arthritis", "family_history"),
)


@dataclass(frozen=True)
class Assay:
    """How a hospital reports CRP.

    Parameters
    ----------
    unit : str
        Unit of its reports.
    limit_mg_l : float
        Detection limit in mg/L; lower values are reported as the limit itself.
    error : float
        Standard deviation of the logarithm of a measurement.
    """

    unit: str
    limit_mg_l: float
    error: float


ASSAYS = (
    Assay("mg/L", 0.3, 0.05),
    Assay("mg/L", 1.0, 0.08),
    Assay("mg/dL", 0.5, 0.06),
    Assay("mg/L", 2.0, 0.10),
)
LABS = (
    *("age", "sex", "bmi", "smoker", "crp", "esr", "wbc", "neutrophils", "lymphocytes"),
    *("platelets", "haemoglobin", "cervical_rotation", "schober", "lateral_flexion"),
    *("tragus_to_wall", "intermalleolar", "chest_expansion"),
)
_DIGITS = {"age": 0, "bmi": 1, "esr": 0, "wbc": 1, "neutrophils": 1, "lymphocytes": 1}
_DIGITS |= {"platelets": 0, "haemoglobin": 0}
_RARELY_MISSING, _OFTEN_MISSING = 0.03, {"esr": 0.12, "chest_expansion": 0.15, "smoker": 0.08}


def measure_labs(patients: Patients, rng: np.random.Generator) -> dict[str, list[Any]]:
    """Return what each hospital measured, in standard units, complete."""
    scores = patients.scores
    table: dict[str, list[Any]] = {
        name: np.round(scores[name], digits).tolist() for name, digits in _DIGITS.items()
    }
    table["sex"] = np.where(patients.male, "male", "female").tolist()
    table["smoker"] = (scores["smoker"] > 0).tolist()
    table["crp"] = _measure_crp(scores["crp"], patients.site, rng).tolist()
    table |= {name: values.tolist() for name, values in patients.mobility.items()}
    return {name: table[name] for name in LABS}


def in_units_of_site(crp: list[float], site: NDArray[np.int64]) -> tuple[list[float], list[str]]:
    """Return CRP as each hospital reports it, and its unit in each row."""
    units = [ASSAYS[s].unit for s in site.tolist()]
    values = [
        round(value / 10, 2) if unit == "mg/dL" else value
        for value, unit in zip(crp, units, strict=True)
    ]
    return values, units


def _measure_crp(true: Floats, site: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    limit = np.array([assay.limit_mg_l for assay in ASSAYS])[site]
    error = np.array([assay.error for assay in ASSAYS])[site]
    found = np.maximum(true * np.exp(error * rng.standard_normal(len(true))), limit)
    return np.asarray(np.round(found, 1))


def draw_gaps(
    patients: Patients, missing: float, rng: np.random.Generator
) -> tuple[dict[str, Bools], dict[str, Bools]]:
    """Return which cells of labs, and which whole modalities, are missing.

    Costly tests are ordered on suspicion: who has more features of the disease more often
    has an MRI and a genotype. The pattern tells a little of the diagnosis, as it does in
    hospitals, and is kept from telling much.
    """
    n = len(patients)
    told = ("insidious", "better_exercise", "no_better_rest", "night_pain", "arthritis", "uveitis")
    count = np.sum([patients.features[name] for name in told], axis=0)
    suspicion = (count - 3.3) / 1.4

    def hidden(share: float, slope: float = 0.0) -> Bools:
        odds = np.log(share / (1 - share)) - slope * suspicion
        return np.asarray(rng.random(n) < missing / (1 + np.exp(-odds)))

    cells = {name: hidden(_OFTEN_MISSING.get(name, _RARELY_MISSING)) for name in LABS}
    cells["age"][:] = cells["sex"][:] = False
    modalities = {
        "labs": hidden(0.03),
        "xray": hidden(0.05, 0.1),
        "spine": hidden(0.30, 0.1),
        "mri": hidden(0.40, 0.22),
        "genes": hidden(0.12, 0.22),
        "notes": hidden(0.04),
    }
    # Every row keeps something: who lacks all else has the note.
    modalities["notes"] &= ~np.all([rows for k, rows in modalities.items() if k != "notes"], axis=0)
    return cells, modalities


def draw_dates(n: int, rng: np.random.Generator) -> list[datetime.date]:
    """Return the index date of each patient."""
    return [_FIRST_DAY + datetime.timedelta(days=int(d)) for d in rng.integers(0, _DAYS, n)]


def write_notes(
    patients: Patients, dates: list[datetime.date], seed: int
) -> tuple[list[str], list[list[Mention]]]:
    """Return a clinical note of each patient, and what it mentions where."""
    notes, mentions = [], []
    for row in range(len(patients)):
        rng = np.random.default_rng(derive_seed(seed, "axspa", "note", row))
        text, found = write_note_with_mentions(_facts(patients, dates[row], row, rng), rng)
        notes.append(text)
        mentions.append(found)
    return notes, mentions


def _facts(
    patients: Patients, date: datetime.date, row: int, rng: np.random.Generator
) -> NoteFacts:
    features = {name: values[row] for name, values in patients.features.items()}
    age, duration = (float(patients.scores[name][row]) for name in ("age", "duration"))
    site = int(patients.site[row])

    def asked(value: Any, share: float = 0.93) -> bool | None:
        return bool(value) if rng.random() < share else None

    told: dict[str, Any] = {name: asked(features[name]) for name in _TOLD_IF_ASKED}
    return NoteFacts(
        age=int(age),
        sex="m" if patients.male[row] else "f",
        index_date=date,
        onset_age=age - duration,
        duration_months=12 * duration,
        better_rest=not features["no_better_rest"],
        morning_stiffness_min=float(features["stiffness_min"]),
        nsaid_response=asked(features["nsaid_response"], 0.75),
        smoker=asked(patients.scores["smoker"][row], 0.85),
        pain_nrs=float(patients.items["basdai_q2"][row]),
        fatigue_nrs=float(patients.items["basdai_q1"][row]),
        site=site,
        author=_AUTHORS_PER_SITE * site + int(rng.integers(_AUTHORS_PER_SITE)),
        **{name: bool(features[name]) for name in _ALWAYS_TOLD},
        **told,
    )
