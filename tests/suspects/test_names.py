"""What a name says of a column: labels, relatives of the target, earlier visits."""

from __future__ import annotations

import pytest

from asfusion.suspects.names import names_label, names_measurement, stem_of


@pytest.mark.parametrize(
    ("column", "target"),
    [
        *(("label_covid", "label_icu"), ("LabelCovid", None), ("outcome_30d", "flare")),
        *(("icu_days", "label_icu"), ("days_in_icu", "label_icu"), ("target_2", "flare")),
        *(("target_a", "target_b"), ("flare_confirmed", "flare"), ("ground_truth", None)),
        *(("asdas_m12", "asdas_m6"), ("died_30d", "died"), ("icu_label", None)),
    ],
)
def test_relatives_of_the_target_are_named_so(column: str, target: str | None) -> None:
    assert names_label(column, target)


@pytest.mark.parametrize(
    ("column", "target"),
    [
        *(("crp", "crp_m6"), ("crp_baseline", "crp_m6"), ("asdas_m0", "asdas_m6")),
        *(("previous_flares", "flare"), ("family_history_axspa", "axspa"), ("labelled", None)),
        *(("target_inr", "stroke"), ("disease_duration", "disease"), ("HouseAge", "MedHouseVal")),
        *(("response_time", "response"), ("diabetes_pedigree", "diabetes"), ("class_a", "class")),
        *(("platelets", "label"), ("covid", None), ("age", "target")),
    ],
)
def test_others_are_not(column: str, target: str | None) -> None:
    assert names_label(column, target) == ""


def test_a_stem_is_what_a_target_is_about() -> None:
    assert stem_of("label_icu") == ("icu",)
    assert stem_of("y") == stem_of(None) == stem_of("outcome_30d") == ()
    assert names_measurement("age_years") and not names_measurement("chart")
