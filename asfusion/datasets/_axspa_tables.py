"""The tables of the synthetic cohort: features, targets and truth of drawn patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from asfusion.clinical._basdai import basdai
from asfusion.clinical._basfi import basfi
from asfusion.clinical._msasss import CERVICAL_CORNERS, LUMBAR_CORNERS
from asfusion.clinical.asdas import asdas_crp
from asfusion.datasets._axspa_maker import Made
from asfusion.datasets._axspa_margins import GROUPS
from asfusion.datasets._axspa_outcomes import Outcome
from asfusion.datasets._axspa_patients import Patients
from asfusion.datasets._axspa_readers import Grades, draw_readings

if TYPE_CHECKING:
    import pandas as pd

_BOOLEANS: Final = frozenset({"smoker", "hla_b27"})
_TEXTS: Final = frozenset(
    {
        *("sex", "clinical_note", "pelvis_xray", "cervical_xray", "lumbar_xray"),
        *("mri_stir", "mri_t1"),
    }
)
_CORNERS: Final = (*CERVICAL_CORNERS, *LUMBAR_CORNERS)


def mentions_of(made: Made) -> pd.DataFrame | None:
    """Return the truth of the notes that are there, a line for each mention."""
    import pandas as pd

    if made.mentions is None:
        return None
    notes = made.columns["clinical_note"]
    lines = [
        (row, mention.concept, mention.start, mention.end, mention.polarity)
        for row, found in enumerate(made.mentions)
        if notes[row] is not None
        for mention in found
    ]
    return pd.DataFrame(lines, columns=["row", "concept", "start", "end", "polarity"])


def annotation_table(lines: list[Any] | None, columns: tuple[str, ...]) -> pd.DataFrame | None:
    """Return true places on films, a line for each, or None where no such films were made."""
    import pandas as pd

    return None if lines is None else pd.DataFrame(lines, columns=list(columns))


def to_frame(columns: dict[str, list[Any]], n: int) -> pd.DataFrame:
    import pandas as pd

    def kind(name: str) -> str:
        return "boolean" if name in _BOOLEANS else "str" if name in _TEXTS else "float64"

    return pd.DataFrame(
        {name: pd.Series(cells, dtype=kind(name)) for name, cells in columns.items()},
        index=pd.RangeIndex(n),
    )


def make_targets(
    patients: Patients,
    items: pd.DataFrame,
    outcomes: dict[str, Outcome],
    rng: np.random.Generator,
) -> pd.DataFrame:
    import pandas as pd

    group = patients.group
    later = patients.corners_later.sum(axis=1)
    now = patients.corners.sum(axis=1)
    return pd.DataFrame(
        {
            "axspa": patients.is_case.astype(np.int64),
            "diagnosis": np.take(np.array(GROUPS, dtype=object), group),
            "as_vs_nr": np.where(group > 0, (group == 2).astype(float), np.nan),
            "basdai": np.round(basdai(*(items[f"basdai_q{i}"].to_numpy() for i in range(1, 7))), 2),
            "basfi": np.round(basfi(items[[f"basfi_q{i}" for i in range(1, 11)]].to_numpy()), 2),
            "basmi": np.round(patients.scores["basmi"], 2),
            "asdas_crp": np.round(_asdas(items, patients.scores["crp"]), 2),
            "mny_right": patients.grades[:, 0],
            "mny_left": patients.grades[:, 1],
            "msasss": now,
            **{f"corner_{name}": patients.corners[:, i] for i, name in enumerate(_CORNERS)},
            "msasss_2y": later,
            "progression_2y": (later - now >= 2).astype(np.int64),
            **{f"{name}_time": outcome.time for name, outcome in outcomes.items()},
            **{f"{name}_event": outcome.event for name, outcome in outcomes.items()},
            **_readings(patients, rng),
        }
    )


def _readings(patients: Patients, rng: np.random.Generator) -> dict[str, Grades]:
    """Return what each reader gave each joint, beside the drawn grades."""
    return {
        f"mny_{side}_reader{number}": grades[:, i]
        for number, grades in enumerate(draw_readings(patients.grades, rng), start=1)
        for i, side in enumerate(("right", "left"))
    }


def _asdas(items: pd.DataFrame, crp: NDArray[np.float64]) -> NDArray[np.float64]:
    answers = ("basdai_q2", "basdai_q6", "patient_global", "basdai_q3")
    pain, stiffness, general, peripheral = (items[name].to_numpy() for name in answers)
    return np.asarray(asdas_crp(pain, stiffness, general, peripheral, crp))


def make_truth(patients: Patients, made: Made, outcomes: dict[str, Outcome]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "patient": np.arange(len(patients)),
            "sex": np.where(patients.male, "male", "female"),
            "onset_age": patients.scores["age"] - patients.scores["duration"],
            "duration": patients.scores["duration"],
            "crp": patients.scores["crp"],
            "esr": patients.scores["esr"],
            "oedema": patients.oedema.sum(axis=1),
            "oedema_quadrants": (patients.oedema > 0.35).sum(axis=1),
            "fat": patients.fat.sum(axis=1),
            "grade_sum": patients.grades.sum(axis=1),
            "grade_right": patients.grades[:, 0],
            "grade_left": patients.grades[:, 1],
            "msasss": patients.corners.sum(axis=1),
            "hla_b27": made.genome.hla_b27.astype(np.int64),
            **{f"{name}_log_risk": outcome.log_risk for name, outcome in outcomes.items()},
            **{f"history_{name}": values for name, values in patients.features.items()},
        }
    )
