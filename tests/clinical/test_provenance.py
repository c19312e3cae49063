"""What scores are made of: circular predictions are refused, honest ones are not."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asfusion.clinical._ingredients import PARTS, SYNONYMS
from asfusion.clinical.provenance import check_circularity, ingredients, standard_name
from asfusion.exceptions import AsfusionError, CircularityError, ConfigurationError
from tests.work import count_calls

HARMLESS = [
    "age", "sex", "bmi", "note", "clinical_note", "xray", "pelvis_xray", "mri", "mri_stir",
    "mri_t1", "site", "scanner", "smoker", "rs30187", "rs11209026", "prs", "wbc", "hb",
    "age_at_onset", "symptom_duration", "patient_id", "visit_date", "n_tender_joints",
    "physician_global", "q10", "x0", "pain", "global", "spine", "hip", "index", "score", "c2",
    "l5", "t1", "height_cm", "weight", "crp_missing", "note_about_basdai_form", "diagnosis",
]  # fmt: skip
MEASUREMENTS = sorted({p for parts in PARTS.values() for p in parts if p not in PARTS})


def offenders(features: Any, target: Any) -> set[str]:
    """Return the columns that the error names."""
    try:
        check_circularity(features, target)
    except CircularityError as error:
        listed = str(error).split("got ", 1)[1].split(" ('", 1)[0]
        return set(re.findall(r"'([^']*)'", listed))
    return set()


# --- the map --------------------------------------------------------------------------


def test_ingredients_of_asdas() -> None:
    assert {"back_pain", "stiffness_duration", "patient_global", "peripheral_pain"} < set(
        ingredients("asdas")
    )
    assert {"crp", "esr"} < set(ingredients("asdas"))
    assert "esr" not in ingredients("asdas_crp")
    assert "crp" not in ingredients("asdas_esr")


def test_ingredients_are_transitive() -> None:
    found = ingredients("asas_axspa_2009")
    assert {"sacroiliitis", "mny_radiographic", "sij_grade_left", "asas_positive_mri"} < set(found)
    assert {"hla_b27", "crp_elevated", "crp", "uveitis"} < set(found)
    assert {"mny_radiographic", "sij_grade_right", "mny_limited_motion"} < set(
        ingredients("mny_as")
    )
    assert {"stiffness_severity", "basfi_q10"} < set(ingredients("asas20"))
    assert len(found) == len(set(found))


def test_counts_of_items() -> None:
    assert len(ingredients("msasss")) == 24
    assert len(ingredients("basdai")) == 6
    assert len(ingredients("basfi")) == 10
    assert len(ingredients("asas_hi")) == 17
    assert len(ingredients("basmi")) == 5
    assert ingredients("crp") == ()


@pytest.mark.parametrize("score", PARTS)
def test_no_score_is_made_of_itself(score: str) -> None:
    assert score not in ingredients(score)
    assert any(part not in PARTS for part in ingredients(score))


def test_names_have_one_meaning() -> None:
    every = [other for others in SYNONYMS.values() for other in set(others)]
    assert sorted(every) == sorted(set(every))
    assert not {other for other in every if other in PARTS and other not in SYNONYMS.get(other, ())}
    assert set(SYNONYMS) <= set(PARTS) | set(MEASUREMENTS)


def test_unknown_score() -> None:
    with pytest.raises(ConfigurationError, match="score: expected one of.*Did you mean 'basdai'"):
        ingredients("basday")


# --- names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("CRP", "crp"), ("crp_mg_l", "crp"), ("CRP (mg/L)", "crp"), ("CRP [mg/dL]", "crp"),
        ("log_crp", "crp"), ("hsCRP", "crp"), ("labs__crp", "crp"), ("crp_baseline", "crp"),
        ("bl_CRP_mg_dl", "crp"), ("ESR mm/h", "esr"), ("BASDAI", "basdai"),
        ("BASDAI score", "basdai"), ("basdaiTotal", "basdai"), ("ASDAS-CRP", "asdas_crp"),
        ("BASDAI_Q2", "back_pain"), ("basdai6", "stiffness_duration"),
        ("q2_back_pain", "back_pain"), ("backPain", "back_pain"), ("PGA", "patient_global"),
        ("HLA-B27", "hla_b27"), ("hlaB27", "hla_b27"), ("mSASSS", "msasss"), ("C5L", "c5_lower"),
        ("msasss_L1_upper", "l1_upper"), ("T12L", "t12_lower"), ("basfi_3", "basfi_q3"),
        ("schober_cm", "modified_schober"), ("cervical_rotation_deg", "cervical_rotation"),
        ("sacroiliitis_xray_mny", "mny_radiographic"), ("ibd", "inflammatory_bowel_disease"),
        ("basdai_m6", "basdai"), ("12mo_basdai", "basdai"), ("basdai50", "basdai50"),
        ("q2", None), ("crp_missing", None), ("age", None), ("", None), (3, None), (None, None),
    ],
)  # fmt: skip
def test_standard_name(column: Any, expected: str | None) -> None:
    assert standard_name(column) == expected


@given(st.text(max_size=30))
def test_any_text_can_be_a_name(text: str) -> None:
    standard_name(text)
    check_circularity([text], "unheard_of_label")


KNOWN = sorted({*PARTS, *SYNONYMS}.union(*SYNONYMS.values()))


@given(st.sampled_from(KNOWN), st.sampled_from(["", " (mg/L)", "_m6", " Baseline"]))
def test_a_standard_name_is_its_own(name: str, ending: str) -> None:
    found = standard_name(name + ending)
    assert found is not None
    assert standard_name(found) == found


# --- circular predictions -------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "target", "expected"),
    [
        (["age", "crp", "esr"], "asdas", {"crp", "esr"}),
        (["age", "crp", "esr"], "asdas_crp", {"crp"}),
        (["CRP (mg/L)", "PGA", "bmi"], "ASDAS", {"CRP (mg/L)", "PGA"}),
        (["back_pain", "patient_global", "peripheral"], "basdai", {"back_pain", "peripheral"}),
        (["asdas", "age"], "basdai", {"asdas"}),
        (["asdas_state"], "basdai_active", {"asdas_state"}),
        (["basdai_q1", "basdai_q4"], "basdai", {"basdai_q1", "basdai_q4"}),
        (["basdai"], "basdai_active", {"basdai"}),
        (["basdai_active"], "basdai", {"basdai_active"}),
        (["basdai", "bmi"], "basdai", {"basdai"}),
        (["sij_grade_left", "xray"], "mny_as", {"sij_grade_left"}),
        (["basri", "xray"], "mny_radiographic", {"basri"}),
        (["hla_b27", "crp", "ibp", "esr", "mri"], "asas_axspa_2009", {"hla_b27", "crp", "ibp"}),
        (["mri_positive", "mny_positive"], "asas_axspa", {"mri_positive", "mny_positive"}),
        (["sparcc"], "asas_positive_mri", {"sparcc"}),
        (["C5L", "T12L", "crp"], "msasss", {"C5L", "T12L"}),
        (["basfi_q3", "basfi_q10"], "basfi", {"basfi_q3", "basfi_q10"}),
        (["schober", "ttw"], "basmi_linear", {"schober", "ttw"}),
        (["basfi", "q5_stiffness_severity"], "asas40", {"basfi", "q5_stiffness_severity"}),
        (["asdas_crp"], "crp", {"asdas_crp"}),
        (["num__crp", "num__age"], "asdas", {"num__crp"}),
    ],
)  # fmt: skip
def test_columns_that_define_the_label(
    features: list[str], target: str, expected: set[str]
) -> None:
    assert offenders(features, target) == expected


def test_error_names_columns_reason_and_fix() -> None:
    assert issubclass(CircularityError, AsfusionError)
    assert issubclass(CircularityError, ValueError)
    with pytest.raises(CircularityError, match="Target 'asdas'.*'crp' is an ingredient.*Drop"):
        check_circularity(["age", "crp"], "asdas")
    with pytest.raises(CircularityError, match="'asdas' shares 'back_pain'"):
        check_circularity(["asdas"], "basdai")
    with pytest.raises(CircularityError, match="'asdas_state' is computed from asdas"):
        check_circularity(["asdas_state"], "asdas")
    with pytest.raises(CircularityError, match="'basdai' is the target"):
        check_circularity(["basdai"], "basdai")


@pytest.mark.parametrize("score", sorted(PARTS))
def test_every_ingredient_is_refused(score: str) -> None:
    for part in ingredients(score):
        with pytest.raises(CircularityError, match="expected features that do not define it"):
            check_circularity(["age", part], score)


# --- honest predictions ---------------------------------------------------------------


def test_inflammation_may_predict_basdai() -> None:
    check_circularity(["crp", "esr", "hla_b27", "age", "basfi", "basmi", "msasss"], "basdai")


@pytest.mark.parametrize("target", [*sorted(PARTS), *MEASUREMENTS])
def test_common_columns_raise_no_alarm(target: str) -> None:
    check_circularity(HARMLESS, target)


@pytest.mark.parametrize(
    "target",
    ["axspa", "diagnosis", "label", "y", "progression", "progressed", "responder", "AS", "", None],
)
def test_unknown_targets_raise_no_objection(target: Any) -> None:
    check_circularity(["crp", "hla_b27", "basdai", "sij_grade_left", *HARMLESS], target)


def test_earlier_visits_may_predict_later_ones() -> None:
    check_circularity(["basdai_baseline", "crp_bl", "age"], "basdai_m6")
    check_circularity(["basdai_m3", "crp_m3"], "asdas_m6")
    check_circularity(["basdai", "crp"], "asdas_m12")
    check_circularity(["basdai_prev", "crp_baseline"], "asdas")
    check_circularity(["basdai_baseline", "crp_v0"], "basdai50")
    check_circularity(["basdai_prev", "previous_basdai"], "basdai50")
    assert offenders(["crp_m6", "crp_baseline"], "asdas_m6") == {"crp_m6"}
    assert offenders(["crp", "age"], "asdas_baseline") == {"crp"}
    assert offenders(["basdai_w24", "basdai_w0"], "basdai50") == {"basdai_w24"}
    assert offenders(["basdai"], "basdai50") == {"basdai"}


def test_numbered_questions_are_those_of_basdai_only_where_they_can_be() -> None:
    assert offenders(["q1", "q2", "q6", "age"], "basdai") == {"q1", "q2", "q6"}
    assert offenders(["Q1", "Q2", "Q3"], "asdas") == {"Q2", "Q3"}
    check_circularity([f"q{i}" for i in range(1, 11)], "basdai")
    check_circularity([f"q{i}" for i in range(1, 7)], "msasss")


# --- what can be passed ---------------------------------------------------------------


def test_tables_and_named_targets() -> None:
    table = pd.DataFrame({"age": [40.0], "crp": [5.0]})
    y = pd.Series([2.5], name="ASDAS")
    assert offenders(table, y) == {"crp"}
    assert offenders(pl.from_pandas(table), pl.Series("ASDAS", [2.5])) == {"crp"}
    assert offenders(table.columns, y.to_frame()) == {"crp"}
    assert offenders("crp", "asdas") == {"crp"}
    assert offenders((name for name in ["crp"]), "asdas") == {"crp"}
    check_circularity(table, y.rename(None))
    check_circularity(table, np.array([2.5]))
    check_circularity([0, 1, 2], "asdas")


def test_many_columns_cost_little() -> None:
    names = [f"rs{i}" for i in range(5000)]
    check_circularity(names, "asdas")
    assert count_calls(lambda: check_circularity(names, "asdas")) < 20 * len(names)
