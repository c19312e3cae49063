"""Scores against values worked out by hand from the published definitions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asfusion.clinical import (
    ASAS_DOMAINS,
    ASAS_SIX_DOMAINS,
    CERVICAL_CORNERS,
    LUMBAR_CORNERS,
)
from tests.clinical.adapters import ADAPTERS

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "clinical" / "vectors.json"

NORMAL = dict.fromkeys(CERVICAL_CORNERS + LUMBAR_CORNERS, 0)
BEFORE = {"patient_global": 6, "back_pain": 6, "basfi": 5, "inflammation_mean_q5_q6": 6}

BETTER = {"patient_global": 4.8, "back_pain": 4.8, "inflammation_mean_q5_q6": 4.8}
MUCH_BETTER = {"patient_global": 3.6, "back_pain": 3.6, "basfi": 3, "inflammation_mean_q5_q6": 3.6}
SIX = dict.fromkeys(ASAS_SIX_DOMAINS, 20)
# One below each of the thresholds.
ALMOST = {
    "quadrants_erosion": 2, "quadrants_fat": 4, "erosion_consecutive_slices": 1,
    "fat_consecutive_slices": 2, "deep_fat_gt_1cm": False,
}  # fmt: skip


def yes_no(yes: str, no: str) -> dict[str, bool]:
    """Return criteria that are met and criteria that are not, by names with blanks between."""
    return dict.fromkeys(yes.split(), True) | dict.fromkeys(no.split(), False)


BASDAI = {
    "q1_fatigue": 4, "q2_back_pain": 4, "q3_peripheral": 4, "q4_tenderness": 4,
    "q5_stiffness_severity": 4, "q6_stiffness_duration": 4,
}  # fmt: skip

BY_HAND: list[tuple[str, dict[str, Any], Any, float]] = [
    # (5 + 6 + 4 + 3 + (7 + 5) / 2) / 5; the mean of the six answers would be 5.0.
    ("basdai_not_simple_mean", {"q": [5, 6, 4, 3, 7, 5], "wrong_mean_of_six": 5.0}, 4.8, 1e-9),
    ("basfi", {"items": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}, 5.5, 1e-9),
    (
        "basmi_linear",
        {
            "lateral_flexion_cm": 12.7,
            "tragus_to_wall_cm": 12.5,
            "schober_cm": 3.9,
            "intermalleolar_cm": 97.0,
            "cervical_rotation_deg": 58.7,
        },
        {"total": 3.37, "components": [4.0, 1.5, 5.0, 2.75, 3.6]},
        1e-9,
    ),
    # The cut-points themselves belong to the middle class.
    (
        "basmi_2step",
        {
            "lateral_flexion_cm": 5.0,
            "tragus_to_wall_cm": 30.0,
            "schober_cm": 2.0,
            "intermalleolar_cm": 70.0,
            "cervical_rotation_deg": 20.0,
        },
        {"total": 5, "components": [1, 1, 1, 1, 1]},
        1e-9,
    ),
    # A public guide works out 30 degrees of rotation as 7 points.
    (
        "basmi_10step",
        {
            "lateral_flexion_cm": 1.0,
            "tragus_to_wall_cm": 40.0,
            "schober_cm": 0.5,
            "intermalleolar_cm": 25.0,
            "cervical_rotation_deg": 30.0,
        },
        {"total": 9.4, "components": {"cervical_rotation_deg": 7, "schober_cm": 10}},
        1e-9,
    ),
    # 0.121*6 + 0.058*5 + 0.110*6 + 0.073*4 + 0.579*ln 11
    (
        "asdas_crp",
        {
            "back_pain": 6,
            "morning_stiffness_duration": 5,
            "patient_global": 6,
            "peripheral": 4,
            "crp_mg_l": 10,
        },
        3.356381,
        1e-6,
    ),
    ("asdas_crp_minimum", {}, 0.636097, 1e-6),
    (
        "asdas_crp_unit_trap",
        {
            "back_pain": 7,
            "morning_stiffness_duration": 6,
            "patient_global": 7,
            "peripheral": 3,
            "crp_mg_dl": 2.5,
        },
        4.070438,
        1e-6,
    ),
    # 0.079*6 + 0.069*5 + 0.113*6 + 0.086*4 + 0.293*5
    (
        "asdas_esr",
        {
            "back_pain": 6,
            "morning_stiffness_duration": 5,
            "patient_global": 6,
            "peripheral": 4,
            "esr_mm_h": 25,
        },
        3.306,
        1e-9,
    ),
    # In floating point 2.9 - 2.0 is below 0.9, and 3.6 - 1.6 is 2.0 only by luck.
    (
        "asdas_response",
        {"baseline": 2.0, "followup": 2.9},
        ["clinically_important_worsening"],
        0.0,
    ),
    (
        "asdas_response",
        {"baseline": 3.4, "followup": 2.3},
        ["clinically_important_improvement"],
        0.0,
    ),
    ("asdas_response", {"baseline": 2.5, "followup": 2.5}, [], 0.0),
    (
        "msasss",
        {"corners": NORMAL | {"T12L": 3, "L1U": 3, "L1L": 2, "L2U": 1, "C5L": 2, "C6U": 2}},
        {"total": 13, "cervical": 4, "lumbar": 9},
        1e-9,
    ),
    ("basdai", BASDAI | {"q6_stiffness_duration": None}, None, 0.0),
    ("basfi", {"items": [1] * 9 + [None]}, None, 0.0),
    ("asdas_response", {"baseline": None, "followup": 2.0}, None, 0.0),
    # In floating point 3.3 - 2.2 is below 1.1.
    (
        "asdas_response",
        {"baseline": 3.3, "followup": 2.2},
        ["clinically_important_improvement"],
        0.0,
    ),
    (
        "asdas_response",
        {"baseline": 3.6, "followup": 1.6},
        ["clinically_important_improvement", "major_improvement"],
        0.0,
    ),
    ("asdas_state", {"asdas": 2.1}, "high", 0.0),
    ("asdas_state", {"asdas": 3.5}, "high", 0.0),
    # Three missing corners of a segment are the most that the others stand for.
    (
        "msasss_missing",
        {"corners": dict.fromkeys(NORMAL, 1) | dict.fromkeys(CERVICAL_CORNERS[:3])},
        {"total": 24, "cervical": 12, "lumbar": 12},
        1e-9,
    ),
    (
        "msasss_missing",
        {"corners": dict.fromkeys(NORMAL, 1) | dict.fromkeys(CERVICAL_CORNERS[:4])},
        {"total": None, "cervical": None, "lumbar": 12},
        1e-9,
    ),
    # Eleven corners with a sum of 3 and one missing: 3 + 3/11.
    (
        "msasss_missing",
        {"corners": NORMAL | {"T12L": None, "L1U": 1, "L1L": 1, "L2U": 1}},
        {"total": 36 / 11, "cervical": 0, "lumbar": 36 / 11},
        1e-9,
    ),
    ("mny_radiographic", {"left": 2, "right": 1}, False, 0.0),
    ("mny_radiographic", {"left": 3, "right": 0}, True, 0.0),
    (
        "mny_as",
        {
            "left": 0,
            "right": 1,
            "back_pain_stiffness_3mo": True,
            "limited_lumbar_motion": True,
            "limited_chest_expansion": True,
        },
        "probable",
        0.0,
    ),
    # HLA-B27 and one feature: too few for the clinical arm, and no imaging.
    (
        "asas_axspa_2009",
        {
            "age_at_onset": 30,
            "back_pain_months": 6,
            "sacroiliitis_xray_mny": False,
            "sacroiliitis_mri": False,
            "features": ["hla_b27", "inflammatory_back_pain"],
        },
        {"axspa": False, "arm": None, "entry": True},
        0.0,
    ),
    # Onset at 45 is too late for the criteria, whatever else is present.
    (
        "asas_axspa_2009",
        {
            "age_at_onset": 45,
            "back_pain_months": 6,
            "sacroiliitis_xray_mny": True,
            "sacroiliitis_mri": True,
            "features": ["hla_b27", "uveitis", "psoriasis"],
        },
        {"axspa": False, "arm": None, "entry": False},
        0.0,
    ),
    # 8 for MRI, not 8 + 7 for both kinds of imaging.
    (
        "asas_spartan_2025_proposal",
        {"present": ["mri_axspa", "xray_sacroiliitis", "elevated_crp"]},
        {"points": 9, "classified": False},
        0.0,
    ),
    # 5 to 4.1 is 18 %: only two domains improve.
    (
        "asas20",
        {"baseline": BEFORE, "followup": BEFORE | {"patient_global": 4, "back_pain": 4}},
        False,
        0.0,
    ),
    # ASAS40 allows no worsening at all, not even by half a unit.
    (
        "asas40",
        {
            "baseline": BEFORE,
            "followup": {
                "patient_global": 3,
                "back_pain": 3,
                "basfi": 2,
                "inflammation_mean_q5_q6": 6.5,
            },
        },
        False,
        0.0,
    ),
    # Three domains down by 20 %, which is more than one unit, and the fourth as it was.
    ("asas20", {"baseline": BEFORE, "followup": BETTER | {"basfi": 5}}, True, 0.0),
    ("asas20", {"baseline": BEFORE, "followup": BETTER | {"basfi": 6}}, False, 0.0),
    ("asas20", {"baseline": BEFORE, "followup": BETTER | {"basfi": 5.9}}, True, 0.0),
    ("asas20", {"baseline": BEFORE, "followup": BETTER | {"back_pain": 4.9, "basfi": 5}}, False, 0),
    ("asas40", {"baseline": BEFORE, "followup": MUCH_BETTER | {"back_pain": 6}}, True, 0.0),
    ("asas40", {"baseline": BEFORE, "followup": MUCH_BETTER | {"back_pain": 6.1}}, False, 0.0),
    ("asas40", {"baseline": BEFORE, "followup": MUCH_BETTER | {"basfi": 3.1}}, True, 0.0),
    (
        "asas40",
        {"baseline": BEFORE, "followup": MUCH_BETTER | {"basfi": 3.1, "back_pain": 3.7}},
        False,
        0.0,
    ),
    ("asas5of6", {"percent_improvement": SIX | {"crp": -50}}, True, 0.0),
    ("asas5of6", {"percent_improvement": SIX | {"crp": 19.9, "basfi": 19.9}}, False, 0.0),
    ("asas_partial_remission", dict.fromkeys(ASAS_DOMAINS, 2), True, 0.0),
    ("asas_partial_remission", dict.fromkeys(ASAS_DOMAINS, 2) | {"basfi": 2.1}, False, 0.0),
    ("basdai_active", {"basdai": 4}, True, 0.0),
    ("basdai_active", {"basdai": 3.9}, False, 0.0),
    ("basdai50", {"baseline": 6, "followup": 3}, True, 0.0),
    ("basdai50", {"baseline": 6, "followup": 3.1}, False, 0.0),
    ("ibp_calin", yes_no("age_onset_lt_40 duration_ge_3mo insidious_onset morning_stiffness",
                         "improves_exercise"), True, 0.0),
    ("ibp_calin", yes_no("age_onset_lt_40 duration_ge_3mo insidious_onset",
                         "morning_stiffness improves_exercise"), False, 0.0),
    ("ibp_berlin", yes_no("improves_exercise_not_rest alternating_buttock_pain",
                          "morning_stiffness_gt_30min second_half_night_awakening"), True, 0.0),
    ("ibp_berlin", yes_no("alternating_buttock_pain",
                          "improves_exercise_not_rest morning_stiffness_gt_30min "
                          "second_half_night_awakening"), False, 0.0),
    ("ibp_asas", yes_no("age_onset_lt_40 insidious_onset improves_exercise night_pain",
                        "no_improvement_rest"), True, 0.0),
    ("ibp_asas", yes_no("insidious_onset improves_exercise night_pain",
                        "age_onset_lt_40 no_improvement_rest"), False, 0.0),
    # Two lesions in one slice, or one at the same place in the next.
    ("asas_positive_mri_count_rule", {"bme_lesions_per_slice": [0, 2, 0],
                                      "same_location_consecutive": False}, True, 0.0),
    ("asas_positive_mri_count_rule", {"bme_lesions_per_slice": [1, 1, 0],
                                      "same_location_consecutive": False}, False, 0.0),
    ("asas_positive_mri_count_rule", {"bme_lesions_per_slice": [1, 1, 0],
                                      "same_location_consecutive": True}, True, 0.0),
    ("mri_active_typical_2021", {"quadrants_bme": 4,
                                 "max_consecutive_slices_same_location": 0}, True, 0.0),
    ("mri_active_typical_2021", {"quadrants_bme": 3,
                                 "max_consecutive_slices_same_location": 3}, True, 0.0),
    ("mri_active_typical_2021", {"quadrants_bme": 3,
                                 "max_consecutive_slices_same_location": 2}, False, 0.0),
    ("mri_structural_typical_2021", ALMOST, False, 0.0),
    ("mri_structural_typical_2021", ALMOST | {"quadrants_erosion": 3}, True, 0.0),
    ("mri_structural_typical_2021", ALMOST | {"quadrants_fat": 5}, True, 0.0),
    ("mri_structural_typical_2021", ALMOST | {"erosion_consecutive_slices": 2}, True, 0.0),
    ("mri_structural_typical_2021", ALMOST | {"fat_consecutive_slices": 3}, True, 0.0),
    ("mri_structural_typical_2021", ALMOST | {"deep_fat_gt_1cm": True}, True, 0.0),
    ("sparcc_sij_inflammation", {"quadrants_positive": 11, "slices_joints_intense": 3,
                                 "slices_joints_deep": 2}, 16, 1e-9),
    ("sparcc_sss", {"fat": 10, "erosion": 5, "backfill": 3, "ankylosis": 2}, 20, 1e-9),
    # Joints and hips are means of their sides.
    ("basri_spine", {"sij_left": 3, "sij_right": 2, "lumbar": 1, "cervical": 0}, 3.5, 1e-9),
    ("basri_total", {"sij_left": 3, "sij_right": 2, "lumbar": 1, "cervical": 0,
                     "hip_left": 2, "hip_right": 1}, 5.0, 1e-9),
    ("msasss_progression", {"baseline": 5, "followup": 7, "years": 2}, True, 0.0),
    ("msasss_progression", {"baseline": 5, "followup": 6.9, "years": 2}, False, 0.0),
    ("msasss_progression", {"baseline": 5, "followup": 9, "years": 4}, True, 0.0),
    ("msasss_progression", {"baseline": 5, "followup": 8.9, "years": 4}, False, 0.0),
    ("msasss_progression", {"baseline": 5, "followup": 8, "years": 2, "threshold_per_2y": 4},
     False, 0.0),
    # (0.4 / 0.6) / (0.2 / 0.8)
    ("hla_b27_or", {"case_freq": 0.4, "control_freq": 0.2}, 8 / 3, 1e-9),
    ("asas_hi", {"n_agree": 6, "n_missing_or_na": 2}, 6.8, 1e-9),
    ("asas_hi_state", {"asas_hi": 5}, "good", 0.0),
    ("asas_hi_state", {"asas_hi": 12}, "poor", 0.0),
    ("asas_hi", {"n_agree": 6, "n_missing_or_na": 4}, None, 0.0),
    (
        "berlin_sij",
        {"quadrant_bme_fraction": [[0, 0.2, 0.5, 0.9], [0, 0, 0.34, 0.67]]},
        11,
        1e-9,
    ),
    (
        "prs_log_or_sum",
        {
            "snps": [
                {"rsid": "rs1", "risk_allele": "G", "odds_ratio": 1.61, "dosage": 2},
                {"rsid": "rs2", "risk_allele": "C", "odds_ratio": 1.29, "dosage": 1},
            ]
        },
        1.207110,
        1e-6,
    ),
    ("crp_units", {"mg_dl": 1.4}, 14.0, 1e-9),
    (
        "metric_coherence",
        {"sensitivity": 1.0, "specificity": 0.956, "accuracy": 0.847},
        {"coherent": False},
        0.0,
    ),
    # (0.8 * 0.1) / (0.8 * 0.1 + 0.1 * 0.9)
    (
        "binary_test",
        {"sensitivity": 0.8, "specificity": 0.9, "prevalence": 0.1},
        {"auc": 0.85, "ppv": 8 / 17, "npv": 81 / 83},
        1e-9,
    ),
    ("f1", {"precision": 0.9, "recall": 0.89}, 0.894972, 1e-6),
    ("net_benefit", {"tp": 80, "fp": 30, "n": 400, "threshold": 0.2}, 0.18125, 1e-9),
    ("net_benefit_treat_all", {"prevalence": 0.3, "threshold": 0.2}, 0.125, 1e-9),
    ("wilson_ci", {"k": 4, "n": 6}, [0.3, 0.9032], 1e-3),
    # 80 % agreement, 50 % of it by chance.
    ("cohen_kappa", {"both_pos": 40, "r1_only": 10, "r2_only": 10, "both_neg": 40}, 0.6, 1e-9),
]  # fmt: skip


def check(got: Any, expected: Any, tol: float) -> None:
    """Assert that a result is what a vector holds; a dict may name only some of the keys."""
    if isinstance(expected, Mapping):
        for name, value in expected.items():
            check(got[name], value, tol)
    elif isinstance(expected, list):
        assert len(got) == len(expected)
        for one, value in zip(got, expected, strict=True):
            check(one, value, tol)
    elif expected is None or isinstance(expected, bool | str):
        assert got == expected
        assert type(got) is type(expected)
    else:
        assert got == pytest.approx(expected, abs=max(tol, 1e-9), rel=0)


@pytest.mark.parametrize(
    ("score", "inputs", "expected", "tol"),
    BY_HAND,
    ids=[f"{i}-{vector[0]}" for i, vector in enumerate(BY_HAND)],
)
def test_scores_give_what_a_hand_gives(
    score: str, inputs: dict[str, Any], expected: Any, tol: float
) -> None:
    check(ADAPTERS[score](**inputs), expected, tol)


def test_every_score_is_worked_out_by_hand() -> None:
    by_property = {"basmi_linear_lr"}  # of the means of both sides: see `test_scores`
    assert set(ADAPTERS) - {vector[0] for vector in BY_HAND} == by_property


def read_vectors() -> list[dict[str, Any]]:
    """Return the vectors beside the repository, if they are there."""
    if not VECTORS.is_file():
        return []
    vectors: list[dict[str, Any]] = json.loads(VECTORS.read_text(encoding="utf-8"))
    return vectors


SHARED = read_vectors()


@pytest.mark.skipif(not SHARED, reason="test vectors are not on this machine")
@pytest.mark.parametrize(
    "vector", SHARED, ids=[f"{i}-{vector['score']}" for i, vector in enumerate(SHARED)]
)
def test_scores_give_what_the_vectors_hold(vector: dict[str, Any]) -> None:
    got = ADAPTERS[vector["score"]](**vector["inputs"])
    check(got, vector["expected"], vector.get("tol", 1e-9))
