"""The cohort as a hospital would hold it: events on days, some of them after the index date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

# LOINC code and UCUM unit of each lab of the cohort.
LABS = {
    "crp": ("1988-5", "mg/L"),
    "esr": ("30341-2", "mm/h"),
    "wbc": ("6690-2", "10*9/L"),
    "neutrophils": ("751-8", "10*9/L"),
    "lymphocytes": ("731-0", "10*9/L"),
    "platelets": ("777-3", "10*9/L"),
    "haemoglobin": ("718-7", "g/L"),
}
HISTORY = ("uveitis", "psoriasis", "ibd")
_FIRST, _SPREAD_DAYS, _STEP_DAYS = "2022-01-03", 700, 37
_HOURS = {"lab": 8, "visit": 9, "note": 10, "index": 12}
_LATER_DAYS = 30


class Cohort(Protocol):
    """What is read of a cohort."""

    @property
    def X(self) -> pd.DataFrame: ...
    @property
    def groups(self) -> NDArray[np.int64]: ...
    @property
    def targets(self) -> pd.DataFrame: ...
    @property
    def visits(self) -> pd.DataFrame | None: ...
    @property
    def truth(self) -> pd.DataFrame: ...


@dataclass(frozen=True)
class Dated:
    """Tables of a cohort, with patients from 1 and times without a zone.

    Parameters
    ----------
    index : DataFrame
        ``patient`` and ``index_date`` of each row of the cohort, at noon.
    persons : DataFrame
        ``patient``, ``sex`` and ``birth``.
    labs : DataFrame
        ``patient``, ``time``, ``lab``, ``code`` (LOINC), ``value`` and ``unit`` (UCUM), and one
        CRP of each patient a month after the last index date, which nobody may see before.
    notes : DataFrame
        ``patient``, ``time`` and ``text``.
    visits : DataFrame
        ``patient`` and ``time`` of each.
    conditions : DataFrame
        ``patient``, ``time`` and ``name``: history from years before, and the diagnosis of axial
        spondyloarthritis, a month after the index date.
    """

    index: pd.DataFrame
    persons: pd.DataFrame
    labs: pd.DataFrame
    notes: pd.DataFrame
    visits: pd.DataFrame
    conditions: pd.DataFrame


def dated(cohort: Cohort) -> Dated:
    """Return the tables of a cohort."""
    import pandas as pd

    X = cohort.X
    day = X["day"].to_numpy() if "day" in X else np.zeros(len(X))
    patient = cohort.groups + 1
    index = pd.DataFrame({"patient": patient, "index_date": _moments(patient, day, "index")})
    last = day == 0
    return Dated(
        index=index,
        persons=_persons(cohort, patient, last),
        labs=_labs(cohort, patient, day),
        notes=_notes(X, patient, day),
        visits=_visits(cohort, patient, day),
        conditions=_conditions(cohort, patient[last], last),
    )


def _moments(patient: NDArray[np.int64], day: Any, what: str) -> Any:
    """Return times: every patient has an index date of their own, days count from there."""
    import pandas as pd

    first = np.datetime64(_FIRST, "us") + np.timedelta64(_HOURS[what], "h")
    days = (patient * _STEP_DAYS) % _SPREAD_DAYS + np.asarray(day).astype(np.int64)
    return pd.to_datetime(first + days * np.timedelta64(86_400_000_000, "us"))


def _persons(cohort: Cohort, patient: NDArray[np.int64], last: NDArray[np.bool_]) -> pd.DataFrame:
    import pandas as pd

    own = cohort.X[last]
    age = own["age"].to_numpy() if "age" in own else np.full(len(own), np.nan)
    at = _moments(patient[last], 0, "index")
    born = [
        pd.NaT if np.isnan(years) else when - pd.DateOffset(years=int(years))
        for when, years in zip(at, age, strict=True)
    ]
    sex = own["sex"].tolist() if "sex" in own else [None] * len(own)
    return pd.DataFrame(
        {
            "patient": patient[last],
            "sex": sex,
            "birth": pd.Series(born, dtype="datetime64[us]").to_numpy(),
        }
    )


def _labs(cohort: Cohort, patient: NDArray[np.int64], day: Any) -> pd.DataFrame:
    import pandas as pd

    X = cohort.X
    parts = []
    for lab in LABS:
        if lab in X:
            units = X["crp_unit"] if lab == "crp" and "crp_unit" in X else LABS[lab][1]
            parts.append(_events(lab, patient, day, X[lab].to_numpy(), units))
    earlier = None if "day" in X else cohort.visits
    if earlier is not None:
        rows = earlier[earlier["day"] < 0]
        who, when = rows["patient"].to_numpy() + 1, rows["day"].to_numpy()
        parts += [
            _events(lab, who, when, rows[lab].to_numpy(), LABS[lab][1]) for lab in ("crp", "esr")
        ]
    who = np.unique(patient)
    parts.append(_events("crp", who, np.full(len(who), _LATER_DAYS), 99.0, "mg/L"))
    return pd.concat(parts, ignore_index=True).dropna(subset=["value"]).reset_index(drop=True)


def _events(lab: str, patient: NDArray[np.int64], day: Any, value: Any, unit: Any) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "patient": patient,
            "time": _moments(patient, day, "lab"),
            "lab": lab,
            "code": LABS[lab][0],
            "value": value,
            "unit": unit if isinstance(unit, str) else unit.to_numpy(),
        }
    )


def _notes(X: pd.DataFrame, patient: NDArray[np.int64], day: Any) -> pd.DataFrame:
    import pandas as pd

    text = X["clinical_note"].tolist() if "clinical_note" in X else [None] * len(X)
    notes = pd.DataFrame({"patient": patient, "time": _moments(patient, day, "note"), "text": text})
    return notes[notes["text"].notna()].reset_index(drop=True)


def _visits(cohort: Cohort, patient: NDArray[np.int64], day: Any) -> pd.DataFrame:
    import pandas as pd

    if cohort.visits is not None:
        patient, day = cohort.visits["patient"].to_numpy() + 1, cohort.visits["day"].to_numpy()
    return pd.DataFrame({"patient": patient, "time": _moments(patient, day, "visit")})


def _conditions(
    cohort: Cohort, patient: NDArray[np.int64], last: NDArray[np.bool_]
) -> pd.DataFrame:
    import pandas as pd

    truth, parts = cohort.truth[last], []
    for years, name in enumerate(HISTORY, 1):
        who = patient[truth[f"history_{name}"].to_numpy() > 0]
        parts.append((who, -365 * years, name))
    parts.append((patient[cohort.targets["axspa"].to_numpy()[last] == 1], _LATER_DAYS, "axspa"))
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "patient": who,
                    "time": _moments(who, np.full(len(who), day), "visit"),
                    "name": name,
                }
            )
            for who, day, name in parts
        ],
        ignore_index=True,
    )
