"""What each score is made of, and what columns of a table call the parts."""

from __future__ import annotations

# Direct ingredients. A name that is no key is a measurement, an answer or a reading.
_BASDAI = (
    "fatigue", "back_pain", "peripheral_pain", "enthesis_pain",
    "stiffness_severity", "stiffness_duration",
)  # fmt: skip
_BASFI = tuple(f"basfi_q{i}" for i in range(1, 11))
_BASMI = (
    "lateral_lumbar_flexion", "tragus_to_wall", "modified_schober",
    "intermalleolar_distance", "cervical_rotation",
)  # fmt: skip
_ASAS_DOMAINS = ("patient_global", "back_pain", "basfi", "inflammation")
_SIJ_GRADES = ("sij_grade_left", "sij_grade_right")
SPA_FEATURES = (
    "inflammatory_back_pain", "arthritis", "heel_enthesitis", "uveitis", "dactylitis",
    "psoriasis", "inflammatory_bowel_disease", "nsaid_response", "family_history",
)  # fmt: skip
_CORNERS = tuple(
    f"{vertebra}_{edge}"
    for vertebra, edge in (
        ("c2", "lower"), *((f"c{i}", e) for i in range(3, 8) for e in ("upper", "lower")),
        ("t1", "upper"), ("t12", "lower"),
        *((f"l{i}", e) for i in range(1, 6) for e in ("upper", "lower")), ("s1", "upper"),
    )
)  # fmt: skip
PARTS: dict[str, tuple[str, ...]] = {
    "inflammation": ("stiffness_severity", "stiffness_duration"),
    "basdai": _BASDAI,
    "basdai_active": ("basdai",),
    "basdai50": ("basdai",),
    "basfi": _BASFI,
    "basmi": _BASMI,
    "asdas_crp": ("back_pain", "stiffness_duration", "patient_global", "peripheral_pain", "crp"),
    "asdas_esr": ("back_pain", "stiffness_duration", "patient_global", "peripheral_pain", "esr"),
    "asdas": ("asdas_crp", "asdas_esr"),
    "asdas_state": ("asdas",),
    "asdas_response": ("asdas",),
    "msasss": _CORNERS,
    "msasss_progression": ("msasss",),
    "mny_radiographic": _SIJ_GRADES,
    "mny_clinical": ("mny_back_pain", "mny_limited_motion", "mny_limited_chest_expansion"),
    "mny_as": ("mny_radiographic", "mny_clinical"),
    "asas_positive_mri": ("mri_sij_lesions",),
    "sacroiliitis": ("mny_radiographic", "asas_positive_mri"),
    "crp_elevated": ("crp",),
    "asas_axspa_2009": ("sacroiliitis", "hla_b27", "crp_elevated", *SPA_FEATURES),
    "asas_spartan_2025": (
        "sacroiliitis", "hla_b27", "crp_elevated", "inflammatory_back_pain", "arthritis",
        "inflammatory_bowel_disease", "uveitis", "heel_enthesitis", "psoriasis",
    ),
    "asas20": _ASAS_DOMAINS,
    "asas40": _ASAS_DOMAINS,
    "asas_partial_remission": _ASAS_DOMAINS,
    "asas5of6": (*_ASAS_DOMAINS, "crp", "lateral_lumbar_flexion"),
    "asas_hi": tuple(f"asas_hi_q{i}" for i in range(1, 18)),
    "asas_hi_state": ("asas_hi",),
    "mri_active_typical": ("mri_sij_lesions",),
    "mri_structural_typical": ("mri_sij_structural_lesions",),
    "sparcc_sij": ("mri_sij_lesions",),
    "sparcc_sss": ("mri_sij_structural_lesions",),
    "berlin_sij": ("mri_sij_lesions",),
    "basri_spine": (*_SIJ_GRADES, "basri_lumbar", "basri_cervical"),
    "basri_total": ("basri_spine", "basri_hip"),
    "inflammatory_back_pain": ("ibp_asas", "ibp_calin", "ibp_berlin"),
    "ibp_asas": (
        "onset_before_40", "insidious_onset", "better_with_exercise", "no_better_with_rest",
        "night_pain",
    ),
    "ibp_calin": (
        "onset_before_40", "insidious_onset", "better_with_exercise", "pain_over_3_months",
        "morning_stiffness",
    ),
    "ibp_berlin": (
        "better_with_exercise", "morning_stiffness", "night_waking", "alternating_buttock_pain",
    ),
}  # fmt: skip

# Scores of a change: made of two visits, of which the earlier may well be a feature.
CHANGES = frozenset(
    {
        "basdai50", "asdas_response", "msasss_progression", "asas20", "asas40", "asas5of6",
    }
)  # fmt: skip

# Other names of each standard name, in lower case with single underscores. Words that a
# table uses for other things too (pain, global, mri, spine, diagnosis) are left out.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "fatigue": ("q1_fatigue", "basdai_fatigue"),
    "back_pain": (
        "q2_back_pain", "basdai_back_pain", "total_back_pain", "spinal_pain", "axial_pain",
        "pain_back", "asdas_back_pain",
    ),
    "peripheral_pain": (
        "q3_peripheral", "q3_peripheral_pain", "peripheral", "peripheral_pain_swelling",
        "peripheral_joint_pain", "joint_pain", "basdai_peripheral", "asdas_peripheral",
    ),
    "enthesis_pain": ("q4_tenderness", "tenderness", "enthesitis_pain", "basdai_tenderness"),
    "stiffness_severity": (
        "q5_stiffness_severity", "morning_stiffness_severity", "stiffness_intensity",
    ),
    "stiffness_duration": (
        "q6_stiffness_duration", "morning_stiffness_duration", "duration_of_morning_stiffness",
        "duration_morning_stiffness", "asdas_stiffness_duration",
    ),
    "inflammation": ("inflammation_mean_q5_q6", "basdai_inflammation", "mean_q5_q6"),
    "patient_global": (
        "pga", "ptga", "ptgl", "pgda", "patient_global_assessment", "global_assessment_patient",
        "patient_global_score", "bas_g", "basg", "asdas_patient_global",
    ),
    "crp": (
        "c_reactive_protein", "hscrp", "hs_crp", "crp_level", "serum_crp",
    ),
    "esr": ("erythrocyte_sedimentation_rate", "sed_rate", "sedimentation_rate", "bsr", "vsg"),
    "crp_elevated": (
        "elevated_crp", "raised_crp", "crp_raised", "crp_positive", "crp_high", "high_crp",
        "crp_above_uln", "abnormal_crp",
    ),
    "hla_b27": ("b27", "hlab27", "hla_b_27", "hla_b27_positive", "b27_positive"),
    "basdai_active": ("active_basdai", "basdai_ge_4", "basdai_high"),
    "basdai50": ("basdai_50", "basdai50_response", "basdai_response"),
    "asdas_crp": ("asdascrp", "asdas_c"),
    "asdas_esr": ("asdasesr", "asdas_e"),
    "asdas_state": ("asdas_category", "asdas_class", "asdas_disease_activity", "asdas_status"),
    "asdas_response": (
        "asdas_cii", "asdas_mi", "asdas_major_improvement", "asdas_improvement", "asdas_change",
    ),
    "basfi": ("bath_functional_index",),
    "basmi": ("basmi_linear", "basmi_lin", "basmi_10step", "basmi_2step", "basmi_3point"),
    "lateral_lumbar_flexion": (
        "lateral_flexion", "lateral_spinal_flexion", "lumbar_lateral_flexion", "lsf",
    ),
    "tragus_to_wall": ("tragus_wall", "ttw", "tragus_to_wall_distance", "tragus_wall_distance"),
    "modified_schober": ("schober", "schober_test", "mschober", "m_schober", "lumbar_flexion"),
    "intermalleolar_distance": ("intermalleolar", "imd"),
    "cervical_rotation": ("neck_rotation",),
    "msasss": ("m_sasss", "msasss_total"),
    "msasss_progression": ("msasss_change", "delta_msasss"),
    "sij_grade_left": ("sij_left", "left_sij", "left_sij_grade", "mny_left", "mny_grade_left"),
    "sij_grade_right": (
        "sij_right", "right_sij", "right_sij_grade", "mny_right", "mny_grade_right",
    ),
    "mny_radiographic": (
        "mny", "mny_positive", "mny_criterion", "mny_radiographic_criterion",
        "sacroiliitis_xray", "sacroiliitis_xray_mny", "xray_sacroiliitis",
        "radiographic_sacroiliitis",
    ),
    "mny_as": (
        "mny_criteria", "modified_new_york", "modified_new_york_criteria", "new_york_as",
        "mny_definite_as",
    ),
    "mny_back_pain": ("back_pain_stiffness_3mo",),
    "mny_limited_motion": ("limited_lumbar_motion",),
    "mny_limited_chest_expansion": ("limited_chest_expansion",),
    "asas_positive_mri": (
        "mri_positive", "positive_mri", "sacroiliitis_mri", "mri_sacroiliitis", "asas_mri",
        "asas_mri_positive", "active_sacroiliitis_mri", "mri_active_sacroiliitis",
        "asas_positive_mri_count_rule", "mri_axspa",
    ),
    "mri_sij_lesions": (
        "bme_quadrants", "quadrants_bme", "sij_bme", "bme_lesions", "bme_lesions_per_slice",
    ),
    "mri_sij_structural_lesions": ("quadrants_erosion", "quadrants_fat"),
    "mri_active_typical": ("mri_active_typical_2021",),
    "mri_structural_typical": ("mri_structural_typical_2021",),
    "asas_axspa_2009": (
        "asas_axspa", "asas_2009", "asas_criteria", "asas_axspa_criteria", "asas_classification",
    ),
    "asas_spartan_2025": ("asas_spartan", "asas_spartan_2025_proposal"),
    "inflammatory_back_pain": ("ibp",),
    "inflammatory_bowel_disease": (
        "ibd", "crohn", "crohns", "crohn_disease", "ulcerative_colitis", "crohn_uc",
    ),
    "heel_enthesitis": ("enthesitis_heel", "enthesitis"),
    "arthritis": ("peripheral_arthritis",),
    "uveitis": ("anterior_uveitis", "aau"),
    "nsaid_response": ("good_nsaid_response", "response_to_nsaids", "nsaid_good_response"),
    "family_history": ("family_history_spa", "fh_spa", "family_history_of_spa"),
    "onset_before_40": ("age_onset_lt_40", "onset_lt_40"),
    "better_with_exercise": (
        "improves_exercise", "improves_with_exercise", "improves_exercise_not_rest",
    ),
    "no_better_with_rest": ("no_improvement_rest", "no_improvement_with_rest"),
    "pain_over_3_months": ("duration_ge_3mo",),
    "morning_stiffness": ("morning_stiffness_gt_30min",),
    "night_waking": ("second_half_night_awakening", "second_half_night_waking"),
    "asas20": ("asas_20", "asas20_response"),
    "asas40": ("asas_40", "asas40_response"),
    "asas5of6": ("asas_5_6", "asas5_6", "asas_5of6", "asas_5_of_6"),
    "asas_partial_remission": ("partial_remission", "asas_pr"),
    "sparcc_sij": ("sparcc_sij_inflammation", "sparcc", "sparcc_mri", "sparcc_sij_score"),
    "sparcc_sss": ("sss", "sparcc_structural"),
    "berlin_sij": ("berlin_mri", "berlin_sij_score"),
    "basri_spine": ("basri_s",),
    "basri_total": ("basri", "basri_t"),
    "basri_hip": ("hip_left", "hip_right", "basri_hips"),
    **{f"basfi_q{i}": (f"basfi_{i}", f"basfi{i}", f"basfi_item_{i}") for i in range(1, 11)},
    **{f"asas_hi_q{i}": (f"asas_hi_{i}", f"asas_hi_item_{i}") for i in range(1, 18)},
    **{
        f"{vertebra}_{edge}": tuple(
            f"{prefix}{name}"
            for prefix in ("", "msasss_")
            for name in (
                f"{vertebra}_{edge}", f"{vertebra}{edge[0]}", f"{vertebra}_{edge[0]}",
                f"{edge}_{vertebra}",
            )
        )
        for vertebra, _, edge in (corner.partition("_") for corner in _CORNERS)
    },
}  # fmt: skip

# BASDAI questions by number alone; "q2" may be that of any other questionnaire.
BASDAI_BY_NUMBER: dict[str, str] = {
    f"{prefix}{i}": name
    for i, name in enumerate(_BASDAI, start=1)
    for prefix in ("basdai_q", "basdai_", "basdai", "basdaiq", "basdai_item_")
}
BARE_QUESTIONS: dict[str, str] = {f"q{i}": name for i, name in enumerate(_BASDAI, start=1)}
