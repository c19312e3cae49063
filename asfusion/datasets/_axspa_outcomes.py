"""What happens to synthetic patients after the index date, and how much of it a study sees.

Hazards are proportional and known, so that an oracle is. Ratios are of the size that
cohorts of early disease report; times and shares are assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asfusion.datasets._axspa_margins import Floats
from asfusion.datasets._axspa_patients import Patients

_DAYS = 365.25
# Patients come over three years; the study ends three years after the last of them.
_FOLLOW_UP = (3.0, 6.0)
_DROP_OUT = 0.06  # a year, whatever the disease does


@dataclass(frozen=True, eq=False)
class Outcome:
    """The time to one event.

    Parameters
    ----------
    log_risk : ndarray of shape (N,)
        Log hazard ratio of each patient.
    time : ndarray of shape (N,)
        Years from the index date to the event, or to the end of follow-up.
    event : ndarray of shape (N,), bool
        Whether the event was seen.
    """

    log_risk: Floats
    time: Floats
    event: NDArray[np.bool_]


def draw_outcomes(patients: Patients, rng: np.random.Generator) -> dict[str, Outcome]:
    """Return the outcomes by name, with one follow-up for all of them."""
    n = len(patients)
    planned = rng.uniform(*_FOLLOW_UP, n)
    end = np.minimum(planned, rng.exponential(1.0 / _DROP_OUT, n))
    draws = rng.exponential(size=(2, n))
    progression = _progression_risk(patients)
    biologic = _biologic_risk(patients)
    return {
        # Damage takes its time: the hazard rises.
        "progression": _seen(progression, (draws[0] / (0.03 * np.exp(progression))) ** 0.7, end),
        "biologic": _seen(biologic, draws[1] / (0.09 * np.exp(biologic)), end),
    }


def _seen(log_risk: Floats, time: Floats, end: Floats) -> Outcome:
    """Return what a study sees, to the day; nobody leaves on the first."""
    years = np.maximum(np.round(np.minimum(time, end) * _DAYS), 1.0) / _DAYS
    return Outcome(log_risk, years, time <= end)


def _progression_risk(patients: Patients) -> Floats:
    """Return log hazard ratios of radiographic progression of the spine [1]_.

    Each doubling of CRP counts 1.35, syndesmophytes 3.3, smoking 1.65, being male 1.5.

    References
    ----------
    .. [1] Poddubnyy et al., "Baseline radiographic damage, elevated acute-phase reactant levels,
       and cigarette smoking status predict spinal radiographic progression in early axial
       spondylarthritis", Arthritis Rheum 2012. https://doi.org/10.1002/art.33465
    """
    syndesmophytes = (patients.corners >= 2).any(axis=1)
    return np.asarray(
        0.30 * _doublings(patients)
        + 1.2 * syndesmophytes
        + 0.5 * patients.scores["smoker"]
        + 0.4 * patients.male
        - 2.5 * ~patients.is_case
    )


def _biologic_risk(patients: Patients) -> Floats:
    """Return log hazard ratios of a first biologic, given for activity that stays high."""
    return np.asarray(
        0.35 * (patients.scores["basdai"] - 4.0)
        + 0.25 * _doublings(patients)
        + 0.04 * (patients.oedema.sum(axis=1) - 1.0)
        - 4.0 * ~patients.is_case
    )


def _doublings(patients: Patients) -> Floats:
    """Return by how many doublings CRP is above 6 mg/L."""
    return np.asarray(np.log2(np.maximum(patients.scores["crp"], 0.3) / 6.0))
