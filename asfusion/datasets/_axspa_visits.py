"""Irregular visits before the index date, for models that read time."""

from __future__ import annotations

from typing import Any

import numpy as np

from asfusion.clinical.basmi import basmi_linear
from asfusion.datasets._axspa_margins import COPULA, Floats
from asfusion.datasets._axspa_patients import Patients

_NAMES = ("basdai", "basfi", "crp", "esr")
_MONTHS = 30
# Inflammatory disease flares and settles within months; other back pain stays what it is.
_MEMORY_DAYS = (900.0, 150.0, 170.0)
# Degrees of cervical rotation and cm of Schober that a year takes, at mean damage.
_STIFFENING = {"cervical_rotation": (0.3, 1.0, 2.2), "schober": (0.01, 0.03, 0.08)}


def draw_visits(patients: Patients, rng: np.random.Generator) -> dict[str, list[Any]]:
    """Return a long table: patient, day (0 is the index date, earlier ones negative), values.

    Each patient has three to eight visits; the last is the index date and repeats the
    values of the cohort. Going back, scores forget the index date at the group's own pace.
    """
    table: dict[str, list[Any]] = {
        name: [] for name in ("patient", "day", *_NAMES, *_STIFFENING, "basmi")
    }
    columns = [list(COPULA).index(name) for name in _NAMES]
    for row in range(len(patients)):
        days = _draw_days(rng)
        group = int(patients.group[row])
        normal = _walk_back(patients.normal[row, columns], days, _MEMORY_DAYS[group], rng)
        table["patient"] += [row] * len(days)
        table["day"] += days.tolist()
        for i, name in enumerate(_NAMES):
            values = COPULA[name].quantile(normal[:, i], np.full(len(days), group))
            values[-1] = patients.scores[name][row]
            table[name] += np.round(values, 0 if name == "esr" else 1).tolist()
        _add_mobility(table, patients, row, days, rng)
    return table


def _draw_days(rng: np.random.Generator) -> Floats:
    n = int(rng.integers(2, 8))
    before = np.round(np.sort(rng.uniform(20, 30.4 * _MONTHS, n)))
    for visit in range(1, n):  # nobody is seen twice on one day
        before[visit] = max(before[visit], before[visit - 1] + 1)
    return np.append(-before[::-1], 0.0)


def _walk_back(at_index: Floats, days: Floats, memory: float, rng: np.random.Generator) -> Floats:
    normal = np.empty((len(days), len(at_index)))
    normal[-1] = at_index
    for visit in range(len(days) - 2, -1, -1):
        kept = np.exp(-(days[visit + 1] - days[visit]) / memory)
        own = rng.standard_normal(len(at_index))
        normal[visit] = kept * normal[visit + 1] + np.sqrt(1 - kept**2) * own
    return normal


def _add_mobility(
    table: dict[str, list[Any]],
    patients: Patients,
    row: int,
    days: Floats,
    rng: np.random.Generator,
) -> None:
    years = -days / 365.25
    damage = 1.0 + 0.4 * float(np.clip(patients.normal[row, 7], -2, 3))
    now = {name: float(values[row]) for name, values in patients.mobility.items()}
    at = {}
    for name, by_group in _STIFFENING.items():
        noise, digits = (2.5, 0) if name == "cervical_rotation" else (0.25, 1)
        lost = by_group[int(patients.group[row])] * damage * years
        values = np.maximum(now[name] + lost + rng.normal(0, noise, len(days)), 0)
        values[-1] = now[name]
        at[name] = np.round(values, digits)
        table[name] += at[name].tolist()
    same = np.ones(len(days))
    index = basmi_linear(
        now["lateral_flexion"] * same,
        now["tragus_to_wall"] * same,
        np.minimum(at["schober"], 15.0),
        now["intermalleolar"] * same,
        np.minimum(at["cervical_rotation"], 120.0),
    )
    table["basmi"] += np.round(index.total, 2).tolist()
