"""What holds for every score: containers, rows, missing cells, ranges, order."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asfusion import clinical
from asfusion.clinical import (
    ASAS_DOMAINS,
    ASAS_SIX_DOMAINS,
    ASAS_SPARTAN_WEIGHTS,
    CERVICAL_CORNERS,
    LUMBAR_CORNERS,
    SPA_FEATURES,
)
from asfusion.exceptions import ConfigurationError, InputError

NRS = ("float", 0.0, 10.0)
TRUTH = ("truth", 0.0, 1.0)
CORNERS = CERVICAL_CORNERS + LUMBAR_CORNERS


@dataclass(frozen=True)
class Score:
    """A score as a function of plain columns: their kinds and ranges, and the result's range."""

    call: Callable[..., Any]
    columns: dict[str, tuple[str, float, float]]
    low: float = -math.inf
    high: float = math.inf
    # Columns of which more never lowers the score (+1) or never raises it (-1).
    rising: tuple[str, ...] = ()
    falling: tuple[str, ...] = ()


def _grade(high: int) -> tuple[str, float, float]:
    return ("grade", 0.0, float(high))


def _by_columns(function: Callable[..., Any], *argument: str) -> Callable[..., Any]:
    """Return a function of keywords that passes them on as one or two mappings."""

    def call(**columns: Any) -> Any:
        if len(argument) == 1:
            return function(columns)
        tables = [
            {k.removeprefix(f"{name}_"): v for k, v in columns.items() if k.startswith(f"{name}_")}
            for name in argument
        ]
        return function(*tables)

    return call


def _total(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **columns: function(**columns)[0]


BASDAI = dict.fromkeys(
    (
        "q1_fatigue",
        "q2_back_pain",
        "q3_peripheral",
        "q4_tenderness",
        "q5_stiffness_severity",
        "q6_stiffness_duration",
    ),
    NRS,
)
ANSWERS = dict.fromkeys(
    ("back_pain", "morning_stiffness_duration", "patient_global", "peripheral"), NRS
)
BASMI = {
    "lateral_flexion_cm": ("float", 0.0, 60.0),
    "tragus_to_wall_cm": ("float", 0.0, 80.0),
    "schober_cm": ("float", 0.0, 20.0),
    "intermalleolar_cm": ("float", 0.0, 250.0),
    "cervical_rotation_deg": ("float", 0.0, 180.0),
}
STIFFER = ("tragus_to_wall_cm",)
LOOSER = ("lateral_flexion_cm", "schober_cm", "intermalleolar_cm", "cervical_rotation_deg")
VISITS = {f"{visit}_{domain}": NRS for visit in ("baseline", "followup") for domain in ASAS_DOMAINS}
AFTER = tuple(f"followup_{domain}" for domain in ASAS_DOMAINS)
JOINTS = {"left": _grade(4), "right": _grade(4)}
SPINE = {name: _grade(4) for name in ("sij_left", "sij_right", "lumbar", "cervical")}
HIPS = {name: _grade(4) for name in ("hip_left", "hip_right")}
CALIN = dict.fromkeys(
    (
        "age_onset_lt_40",
        "duration_ge_3mo",
        "insidious_onset",
        "morning_stiffness",
        "improves_exercise",
    ),
    TRUTH,
)
BERLIN_IBP = dict.fromkeys(
    (
        "morning_stiffness_gt_30min",
        "improves_exercise_not_rest",
        "second_half_night_awakening",
        "alternating_buttock_pain",
    ),
    TRUTH,
)
ASAS_IBP = dict.fromkeys(
    (
        "age_onset_lt_40",
        "insidious_onset",
        "improves_exercise",
        "no_improvement_rest",
        "night_pain",
    ),
    TRUTH,
)
FAT = {
    "quadrants_erosion": _grade(40),
    "quadrants_fat": _grade(40),
    "erosion_consecutive_slices": _grade(10),
    "fat_consecutive_slices": _grade(10),
    "deep_fat_gt_1cm": TRUTH,
}


def _asas_2009(**columns: Any) -> Any:
    features = {name: columns.pop(name) for name in SPA_FEATURES}
    return clinical.asas_axspa_2009(**columns, features=features)[0]


def _berlin(**columns: Any) -> Any:
    items = list(columns.values())
    return clinical.berlin_sij([items[:4], items[4:]])


def _mri_count(**columns: Any) -> Any:
    same = columns.pop("same")
    return clinical.asas_positive_mri_count_rule(list(columns.values()), same)


def _risk(**columns: Any) -> Any:
    return clinical.risk_score_log_odds(list(columns.values()), [1.61, 1.29, 0.8])


def _items(count: int, kind: tuple[str, float, float]) -> dict[str, tuple[str, float, float]]:
    return {f"item_{i:02d}": kind for i in range(count)}


SCORES: dict[str, Score] = {
    "basdai": Score(clinical.basdai, BASDAI, 0, 10, rising=tuple(BASDAI)),
    "basdai_active": Score(clinical.basdai_active, {"basdai": NRS}, 0, 1, rising=("basdai",)),
    "basfi": Score(
        lambda **c: clinical.basfi(list(c.values())),
        _items(10, NRS),
        0,
        10,
        rising=tuple(_items(10, NRS)),
    ),
    "basmi_linear": Score(_total(clinical.basmi_linear), BASMI, 0, 10, STIFFER, LOOSER),
    "basmi_2step": Score(_total(clinical.basmi_2step), BASMI, 0, 10, STIFFER, LOOSER),
    "basmi_10step": Score(_total(clinical.basmi_10step), BASMI, 0, 10, STIFFER, LOOSER),
    "asdas_crp": Score(
        clinical.asdas_crp,
        ANSWERS | {"crp": ("float", 0.0, 1000.0)},
        clinical.ASDAS_CRP_MINIMUM,
        8,
        rising=(*ANSWERS, "crp"),
    ),
    "asdas_esr": Score(
        clinical.asdas_esr,
        ANSWERS | {"esr_mm_h": ("float", 0.0, 200.0)},
        0,
        8,
        rising=(*ANSWERS, "esr_mm_h"),
    ),
    "asdas_change": Score(
        clinical.asdas_change,
        {"baseline": ("float", 0.0, 8.0), "followup": ("float", 0.0, 8.0)},
        -8,
        8,
        rising=("followup",),
        falling=("baseline",),
    ),
    "asdas_response": Score(
        _total(clinical.asdas_response),
        {"baseline": ("float", 0.0, 8.0), "followup": ("float", 0.0, 8.0)},
        0,
        1,
        rising=("baseline",),
        falling=("followup",),
    ),
    "msasss": Score(
        lambda **c: clinical.msasss(c).total,
        dict.fromkeys(CORNERS, _grade(3)),
        0,
        72,
        rising=CORNERS,
    ),
    "msasss_progression": Score(
        clinical.msasss_progression,
        {"baseline": ("float", 0.0, 72.0), "followup": ("float", 0.0, 72.0)},
        0,
        1,
        rising=("followup",),
        falling=("baseline",),
    ),
    "mny_radiographic": Score(clinical.mny_radiographic, JOINTS, 0, 1, rising=("left", "right")),
    "basri_spine": Score(clinical.basri_spine, SPINE, 0, 12, rising=tuple(SPINE)),
    "basri_total": Score(clinical.basri_total, SPINE | HIPS, 0, 16, rising=tuple(SPINE | HIPS)),
    "ibp_calin": Score(clinical.ibp_calin, CALIN, 0, 1, rising=tuple(CALIN)),
    "ibp_berlin": Score(clinical.ibp_berlin, BERLIN_IBP, 0, 1, rising=tuple(BERLIN_IBP)),
    "ibp_asas": Score(clinical.ibp_asas, ASAS_IBP, 0, 1, rising=tuple(ASAS_IBP)),
    "basdai50": Score(
        clinical.basdai50, {"baseline": NRS, "followup": NRS}, 0, 1, falling=("followup",)
    ),
    "basdai_response": Score(
        clinical.basdai_response, {"baseline": NRS, "followup": NRS}, 0, 1, falling=("followup",)
    ),
    "asas20": Score(
        _by_columns(clinical.asas20, "baseline", "followup"), VISITS, 0, 1, falling=AFTER
    ),
    "asas40": Score(
        _by_columns(clinical.asas40, "baseline", "followup"), VISITS, 0, 1, falling=AFTER
    ),
    "asas5of6": Score(
        _by_columns(clinical.asas5of6, "percent_improvement"),
        dict.fromkeys(ASAS_SIX_DOMAINS, ("float", -100.0, 100.0)),
        0,
        1,
        rising=ASAS_SIX_DOMAINS,
    ),
    "asas_partial_remission": Score(
        clinical.asas_partial_remission,
        dict.fromkeys(ASAS_DOMAINS, NRS),
        0,
        1,
        falling=ASAS_DOMAINS,
    ),
    "percent_improvement": Score(
        clinical.percent_improvement,
        {"baseline": ("float", 1.0, 10.0), "followup": ("float", 0.0, 10.0)},
        -900,
        100,
        falling=("followup",),
    ),
    "asas_hi": Score(clinical.asas_hi, {"n_agree": _grade(17)}, 0, 17, rising=("n_agree",)),
    "sparcc_sij_inflammation": Score(
        clinical.sparcc_sij_inflammation,
        {
            "quadrants_positive": _grade(48),
            "slices_joints_intense": _grade(12),
            "slices_joints_deep": _grade(12),
        },
        0,
        72,
        rising=("quadrants_positive", "slices_joints_intense", "slices_joints_deep"),
    ),
    "sparcc_sss": Score(
        clinical.sparcc_sss,
        {"fat": _grade(40), "erosion": _grade(40), "backfill": _grade(20), "ankylosis": _grade(20)},
        0,
        120,
        rising=("fat", "erosion", "backfill", "ankylosis"),
    ),
    "berlin_sij": Score(
        _berlin,
        _items(8, ("float", 0.0, 1.0)),
        0,
        24,
        rising=tuple(_items(8, NRS)),
    ),
    "asas_positive_mri_count_rule": Score(
        _mri_count,
        _items(6, _grade(8)) | {"same": TRUTH},
        0,
        1,
        rising=(*_items(6, NRS), "same"),
    ),
    "mri_active_typical_2021": Score(
        clinical.mri_active_typical_2021,
        {"quadrants_bme": _grade(40), "max_consecutive_slices_same_location": _grade(10)},
        0,
        1,
        rising=("quadrants_bme", "max_consecutive_slices_same_location"),
    ),
    "mri_structural_typical_2021": Score(
        clinical.mri_structural_typical_2021, FAT, 0, 1, rising=tuple(FAT)
    ),
    "asas_axspa_2009": Score(
        _asas_2009,
        {
            "age_at_onset": ("float", 0.0, 120.0),
            "back_pain_months": ("float", 0.0, 1440.0),
            "sacroiliitis_xray_mny": TRUTH,
            "sacroiliitis_mri": TRUTH,
        }
        | dict.fromkeys(SPA_FEATURES, TRUTH),
        0,
        1,
        rising=("back_pain_months", "sacroiliitis_xray_mny", "sacroiliitis_mri", *SPA_FEATURES),
        falling=("age_at_onset",),
    ),
    "asas_spartan_2025_proposal": Score(
        lambda **c: clinical.asas_spartan_2025_proposal(c).points,
        dict.fromkeys(ASAS_SPARTAN_WEIGHTS, TRUTH),
        0,
        21,
        rising=tuple(ASAS_SPARTAN_WEIGHTS),
    ),
    "risk_score_log_odds": Score(
        _risk,
        _items(3, ("float", 0.0, 2.0)),
        rising=("item_00", "item_01"),
        falling=("item_02",),
    ),
    "odds_ratio": Score(
        clinical.odds_ratio,
        {"case_freq": ("float", 0.01, 0.99), "control_freq": ("float", 0.01, 0.99)},
        0,
        math.inf,
        rising=("case_freq",),
        falling=("control_freq",),
    ),
}
# In these, known cells can decide where others are missing.
THREE_VALUED = {
    "asas20",
    "asas40",
    "asas5of6",
    "asas_axspa_2009",
    "asas_partial_remission",
    "asas_positive_mri_count_rule",
    "ibp_asas",
    "ibp_berlin",
    "ibp_calin",
    "mny_radiographic",
    "mri_active_typical_2021",
    "mri_structural_typical_2021",
}

# Each example holds many rows already.
few = settings(max_examples=8)
every_score = pytest.mark.parametrize("score", list(SCORES.values()), ids=list(SCORES))


def draw_rows(score: Score, n: int, seed: int) -> dict[str, np.ndarray]:
    """Return complete random columns for a score."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, (kind, low, high) in score.columns.items():
        if kind == "float":
            # Half the rows on a coarse grid, where thresholds and ties are.
            exact = rng.uniform(low, high, n)
            rough = np.clip(np.round(exact * 2) / 2, low, high)
            out[name] = np.where(rng.random(n) < 0.5, rough, exact)
        elif kind == "grade":
            out[name] = rng.integers(int(low), int(high) + 1, n).astype(float)
        else:
            out[name] = rng.random(n) < 0.5
    return out


def as_floats(result: Any) -> np.ndarray:
    """Return numbers or truth values in any container as floats, missing as NaN."""
    if isinstance(result, pl.Series | pd.Series):
        result = result.to_list() if isinstance(result, pl.Series) else result.tolist()
    cells = np.asarray(result, dtype=object).ravel()
    return np.array([np.nan if c is None or pd.isna(c) else float(c) for c in cells])


def same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(as_floats(a), as_floats(b), equal_nan=True))


@every_score
@few
@given(seed=st.integers(0, 2**31))
def test_scores_stay_in_their_range(score: Score, seed: int) -> None:
    values = as_floats(score.call(**draw_rows(score, 20, seed)))
    assert not np.isnan(values).any()
    assert (values >= score.low - 1e-9).all()
    assert (values <= score.high + 1e-9).all()


@every_score
@few
@given(seed=st.integers(0, 2**31), data=st.data())
def test_worse_is_never_scored_better(score: Score, seed: int, data: st.DataObject) -> None:
    before = draw_rows(score, 20, seed)
    column = data.draw(st.sampled_from([*score.rising, *score.falling]))
    other = draw_rows(score, 20, seed + 1)[column]
    more = np.maximum(before[column], other)
    change = as_floats(score.call(**before | {column: more})) - as_floats(score.call(**before))
    assert (change >= -1e-9).all() if column in score.rising else (change <= 1e-9).all()


@every_score
@few
@given(seed=st.integers(0, 2**31))
def test_rows_are_scored_each_on_their_own(score: Score, seed: int) -> None:
    rows = draw_rows(score, 6, seed)
    order = np.random.default_rng(seed).permutation(6)
    together = as_floats(score.call(**rows))
    moved = as_floats(score.call(**{name: values[order] for name, values in rows.items()}))
    alone = [score.call(**{name: v[i].item() for name, v in rows.items()}) for i in range(6)]
    np.testing.assert_array_equal(moved, together[order])
    np.testing.assert_array_equal(as_floats(alone), together)


@every_score
@few
@given(seed=st.integers(0, 2**31))
def test_every_container_gives_the_same_with_and_without_gaps(score: Score, seed: int) -> None:
    rows = draw_rows(score, 8, seed)
    rng = np.random.default_rng(seed)
    holes = {name: rng.random(8) < 0.2 for name in rows}
    lists = {
        name: [None if hole else cell for cell, hole in zip(v.tolist(), holes[name], strict=True)]
        for name, v in rows.items()
    }
    index = [f"patient {i}" for i in range(8)]
    pandas = {name: pd.Series(v, index=index) for name, v in lists.items()}
    arrays = {
        name: np.array([np.nan if c is None else float(c) for c in v])
        for name, v in lists.items()
        if score.columns[name][0] != "truth"
    } | {
        name: np.array(v, dtype=object)
        for name, v in lists.items()
        if score.columns[name][0] == "truth"
    }
    from_list = score.call(**lists)
    from_pandas = score.call(**pandas)
    from_polars = score.call(**{name: pl.Series(name, v) for name, v in lists.items()})
    from_array = score.call(**arrays)
    assert isinstance(from_list, list)
    assert isinstance(from_pandas, pd.Series)
    assert from_pandas.index.tolist() == index
    assert isinstance(from_polars, pl.Series)
    assert isinstance(from_array, np.ndarray)
    assert same(from_list, from_pandas)
    assert same(from_list, from_polars)
    assert same(from_list, from_array)


@pytest.mark.parametrize("name", sorted(set(SCORES) - THREE_VALUED))
def test_one_missing_cell_makes_a_sum_missing_and_never_zero(name: str) -> None:
    score = SCORES[name]
    rows = draw_rows(score, 5, 0)
    for column in rows:
        gap: list[Any] = rows[column].tolist()
        gap[2] = None
        values = as_floats(score.call(**rows | {column: gap}))
        if name != "asas_spartan_2025_proposal":
            assert np.isnan(values).tolist() == [False, False, True, False, False]
        else:
            whole = as_floats(score.call(**rows))
            assert np.isnan(values[2]) or values[2] == whole[2]


@pytest.mark.parametrize("name", sorted(THREE_VALUED))
@few
@given(seed=st.integers(0, 2**31), data=st.data())
def test_a_missing_cell_is_decided_only_where_every_value_of_it_agrees(
    name: str, seed: int, data: st.DataObject
) -> None:
    score = SCORES[name]
    rows = draw_rows(score, 20, seed)
    column = data.draw(st.sampled_from(list(rows)))
    kind, low, high = score.columns[column]
    unknown = as_floats(score.call(**rows | {column: None}))
    tried = [low, high] if kind != "truth" else [False, True]
    known = np.stack([as_floats(score.call(**rows | {column: value})) for value in tried])
    decided = ~np.isnan(unknown)
    assert (known[:, decided] == unknown[decided]).all()


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, np.nan])
def test_a_lone_missing_value_stays_missing(missing: Any) -> None:
    assert math.isnan(clinical.basdai(missing, 0, 0, 0, 0, 0))
    assert clinical.basdai_active(missing) is None
    assert clinical.asdas_state(missing) is None


def test_scalars_give_plain_python_values() -> None:
    assert type(clinical.basdai(5, 6, 4, 3, 7, 5)) is float
    assert type(clinical.basdai_active(4.0)) is bool
    assert type(clinical.asdas_state(4.0)) is str


def test_a_series_keeps_its_name_and_several_get_that_of_the_score() -> None:
    states = clinical.asdas_state(pd.Series([1.0, 4.0], name="asdas_v1"))
    assert states.name == "asdas_v1"
    q1, q2 = pl.Series("a", [1.0, 2.0]), pl.Series("b", [3.0, 4.0])
    assert clinical.basdai(q1, q2, 0, 0, 0, 0).name == "basdai"
    assert clinical.basdai_active(pd.Series([1.0])).name == "basdai_active"


# What a result is called that is one of several of its function.
FIELDS = {
    "asdas_response": "clinically_important_improvement",
    "asas_axspa_2009": "axspa",
    "asas_spartan_2025_proposal": "points",
}


@pytest.mark.parametrize("name", SCORES)
def test_several_series_give_one_with_the_name_of_the_score(
    name: str, df_module: ModuleType
) -> None:
    rows = draw_rows(SCORES[name], 4, 0)
    series = {column: df_module.Series(values) for column, values in rows.items()}
    for column, one in series.items():
        series[column] = one.rename(column)
    if len(series) == 1:
        series = {column: one.rename("") for column, one in series.items()}
    assert SCORES[name].call(**series).name == FIELDS.get(name, name)


def test_parts_of_a_result_have_names_of_their_own(df_module: ModuleType) -> None:
    def series(values: list[float]) -> Any:
        return df_module.Series(values).rename("")

    response = clinical.asdas_response(series([4.0]), 2.0)
    parts = response._asdict()
    criteria = clinical.asas_axspa_2009(series([30.0]), 6, False, True, ["uveitis"])
    parts |= criteria._asdict()
    parts |= clinical.asas_spartan_2025_proposal({"hla_b27": series([1.0])})._asdict()
    basmi = clinical.basmi_linear(series([10.0]), 12, 4, 90, 60)
    parts |= {"basmi_linear": basmi.total, **basmi.components}
    spine = clinical.msasss(dict.fromkeys(CORNERS, series([1.0])))
    parts |= {"msasss": spine.total, "msasss_cervical": spine.cervical}
    parts |= {"msasss_lumbar": spine.lumbar, "asdas_state": clinical.asdas_state(series([1.0]))}
    parts |= {"asas_hi_state": clinical.asas_hi_state(series([1.0]))}
    parts |= {"mny_as": clinical.mny_as(series([1.0]), 2, True, None, None)}
    assert {name: part.name for name, part in parts.items()} == {name: name for name in parts}


def test_a_column_without_a_value_keeps_its_type() -> None:
    nothing = pl.Series("crp", [None, None], dtype=pl.Float64)
    assert clinical.basdai(nothing, 1, 1, 1, 1, 1).dtype == pl.Float64
    assert clinical.basdai_active(nothing).dtype == pl.Boolean
    assert clinical.asdas_state(nothing).dtype == pl.String


def test_missing_truth_values_are_never_false() -> None:
    from_pandas = clinical.basdai_active(pd.Series([3.0, None, 4.0]))
    assert from_pandas.dtype == "boolean"
    assert from_pandas.isna().tolist() == [False, True, False]
    from_polars = clinical.basdai_active(pl.Series([3.0, None, 4.0]))
    assert from_polars.to_list() == [False, None, True]
    from_array = clinical.basdai_active(np.array([3.0, np.nan, 4.0]))
    assert from_array.dtype == object
    assert from_array.tolist() == [False, None, True]
    assert clinical.basdai_active(np.array([3.0, 4.0])).dtype == bool


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "int8[pyarrow]", "object"])
def test_pandas_extension_types_are_read(dtype: str) -> None:
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    answers = pd.Series([1, None, 4], dtype=dtype)
    assert same(clinical.basdai(answers, 0, 0, 0, 0, 0), [0.2, None, 0.8])


def test_boolean_columns_with_gaps_are_read(df_module: ModuleType) -> None:
    dtype = {"dtype": "boolean"} if df_module is pd else {}
    yes = df_module.Series([True, None, False], **dtype)
    assert same(clinical.ibp_berlin(yes, True, False, False), [True, None, False])


def test_masked_arrays_are_read() -> None:
    answers = np.ma.MaskedArray([1.0, 99.0], mask=[False, True])
    assert same(clinical.basdai(answers, 0, 0, 0, 0, 0), [0.2, None])
    yes = np.ma.MaskedArray([True, True], mask=[False, True])
    assert same(clinical.ibp_berlin(yes, True, False, False), [True, None])


def test_a_data_frame_of_items_is_read(df_module: ModuleType) -> None:
    items = df_module.DataFrame({f"basfi_{i}": [float(i), 10.0] for i in range(1, 11)})
    assert same(clinical.basfi(items), [5.5, 10.0])
    corners = df_module.DataFrame({name: [0, 3] for name in CORNERS} | {"visit": [1, 2]})
    assert same(clinical.msasss(corners).total, [0, 72])


def test_arrays_hold_items_on_the_last_axis() -> None:
    items = np.array([[1.0] * 10, [3.0] * 10])
    assert clinical.basfi(items).tolist() == [1.0, 3.0]
    shares = np.zeros((3, 2, 4))
    shares[1, 0, 0] = 0.9
    assert clinical.berlin_sij(shares).tolist() == [0.0, 3.0, 0.0]
    assert clinical.berlin_sij(shares[1]) == 3.0


@given(st.floats(0, 8), st.sampled_from([-2.0, -1.1, 0.9]))
def test_a_change_by_the_threshold_counts_whatever_the_rounding(before: float, step: float) -> None:
    after = before + step
    if not 0 <= after <= 8:
        return
    response = clinical.asdas_response(before, after)
    assert response[{-2.0: 1, -1.1: 0, 0.9: 2}[step]]


@given(st.floats(0, 2))
def test_crp_below_two_counts_as_two(crp: float) -> None:
    assert clinical.asdas_crp(1, 1, 1, 1, crp) == clinical.asdas_crp(1, 1, 1, 1, 2.0)


def test_units_of_crp_are_converted() -> None:
    in_mg_l = clinical.asdas_crp(7, 6, 7, 3, [25.0, None])
    assert same(clinical.asdas_crp(7, 6, 7, 3, [2.5, None], crp_unit="mg/dL"), in_mg_l)


def test_the_lowest_asdas_can_be_a_major_improvement() -> None:
    lowest = clinical.ASDAS_CRP_MINIMUM
    assert not clinical.asdas_response(2.0, lowest).major_improvement
    major = clinical.asdas_response([2.0, lowest, None], lowest, lowest_is_major=True)
    assert major.major_improvement == [True, False, None]


@given(st.floats(0.1, 60.0), st.floats(0.1, 60.0))
def test_sides_are_averaged_before_they_are_scored(left: float, right: float) -> None:
    both = clinical.basmi_linear_lr((left, right), (10, 10), 4, 100, (60, 60)).total
    assert both == pytest.approx(clinical.basmi_linear((left + right) / 2, 10, 4, 100, 60).total)
    assert math.isnan(clinical.basmi_linear_lr((left, None), (10, 10), 4, 100, (60, 60)).total)


@given(st.integers(0, 5), st.integers(0, 12))
def test_msasss_fills_gaps_only_on_request_and_only_three(n_missing: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners: dict[str, Any] = dict(zip(CORNERS, rng.integers(0, 4, 24).tolist(), strict=True))
    full = clinical.msasss(corners)
    for name in LUMBAR_CORNERS[:n_missing]:
        corners[name] = None
    refused = clinical.msasss(corners)
    filled = clinical.msasss(corners, missing="segment_mean")
    assert refused.cervical == filled.cervical == full.cervical
    assert math.isnan(refused.total) == (n_missing > 0)
    assert math.isnan(filled.total) == (n_missing > 3)
    if n_missing <= 3:
        known = [corners[name] for name in LUMBAR_CORNERS[n_missing:]]
        assert filled.lumbar == pytest.approx(12 * np.mean(known))


def test_a_health_index_with_gaps_is_missing_unless_prorated() -> None:
    assert math.isnan(clinical.asas_hi(6, 2))
    assert clinical.asas_hi(6, 2, missing="prorate") == pytest.approx(6.8)
    assert clinical.asas_hi(0, [0, 3, 4], missing="prorate") == [0.0, 0.0, None]


def test_features_in_a_list_are_complete_and_in_a_mapping_are_not() -> None:
    listed = clinical.asas_axspa_2009(30, 6, False, True, features=[])
    assert listed.axspa is False
    mapped = clinical.asas_axspa_2009(30, 6, False, True, features={"uveitis": False})
    assert mapped.axspa is None
    assert mapped.arm is None


@pytest.mark.parametrize(
    ("features", "mri", "arm"),
    [
        (["hla_b27"], True, "imaging"),
        (["hla_b27", "uveitis", "ibd"], False, "clinical"),
        (["hla_b27", "uveitis", "ibd"], True, "both"),
        (["uveitis", "ibd", "psoriasis"], False, "none"),
    ],
)
def test_the_arm_that_classifies_is_named(features: list[str], mri: bool, arm: str) -> None:
    assert clinical.asas_axspa_2009(30, 6, False, mri, features).arm == arm


def test_points_are_enough_also_where_some_are_unknown() -> None:
    known = {"mri_axspa": True, "hla_b27": True}
    found = clinical.asas_spartan_2025_proposal(known)
    assert math.isnan(found.points)
    assert found.classified is True
    hopeless = dict.fromkeys(ASAS_SPARTAN_WEIGHTS, False) | {"uveitis": None}
    assert clinical.asas_spartan_2025_proposal(hopeless).classified is False
    open_ = dict.fromkeys(ASAS_SPARTAN_WEIGHTS, False) | {"mri_axspa": True, "hla_b27": None}
    assert clinical.asas_spartan_2025_proposal(open_).classified is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((2, 2, True, None, None), "definite"),
        ((2, 2, False, False, False), "probable"),
        ((1, 1, True, True, True), "probable"),
        ((1, 1, True, True, False), "not_classified"),
        ((1, 1, False, None, None), "not_classified"),
        ((2, 2, None, None, None), None),
        ((2, None, True, True, True), None),
        ((3, None, True, False, False), "definite"),
    ],
)
def test_new_york_classes(arguments: tuple[Any, ...], expected: str | None) -> None:
    assert clinical.mny_as(*arguments) == expected


def test_states_change_at_their_bounds() -> None:
    just_below = [1.3 - 1e-6, 2.1 - 1e-6, 3.5]
    at = [1.3, 2.1, 3.5 + 1e-6]
    assert clinical.asdas_state(just_below) == ["inactive", "low", "high"]
    assert clinical.asdas_state(at) == ["low", "high", "very_high"]
    assert clinical.asdas_state([0.7 + 0.6, 3.0 + 0.5 + 1e-12]) == ["low", "high"]
    assert clinical.asas_hi_state([5, 5.1, 11.9, 12]) == ["good", "moderate", "moderate", "poor"]


def test_improvement_in_percent() -> None:
    assert clinical.percent_improvement([10.0, 0.0], 5.0) == [50.0, None]
    assert clinical.percent_improvement(10.0, 12.0, higher_is_better=True) == pytest.approx(20.0)


def test_partial_remission_by_either_comparison() -> None:
    assert clinical.asas_partial_remission(2, 2, 2, 2) is True
    assert clinical.asas_partial_remission(2, 2, 2, 2, comparison="below") is False


def test_an_undefined_odds_ratio_is_missing() -> None:
    assert same(clinical.odds_ratio([1.0, 0.0], [0.5, 0.5]), [None, None])
    assert same(clinical.odds_ratio([0.5, 0.5], [0.0, 1.0]), [None, None])


def test_two_points_less_are_a_response_too() -> None:
    assert clinical.basdai_response([8.0, 8.0, 3.0, 3.0], [6.0, 6.1, 1.5, 1.6]) == [
        True, False, True, False,
    ]  # fmt: skip


# What is refused.


@every_score
def test_values_out_of_range_are_refused_without_being_shown(score: Score) -> None:
    rows = draw_rows(score, 5, 0)
    for column in rows:
        wrong = rows[column].astype(float)
        wrong[[1, 3]] = 98765432.0
        with pytest.raises(
            InputError, match=r"expected .*, got 2 other value\(s\), the first at position 1\."
        ) as caught:
            score.call(**rows | {column: wrong})
        assert "98765432" not in str(caught.value)


# What is accepted where that is more than what is drawn above.
MRI = {"quadrants": (0.0, 400.0), "slices": (0.0, 100.0)}
WIDER = {
    **{(score, visit): (0.0, 12.0) for score in ("asdas_change", "asdas_response")
       for visit in ("baseline", "followup")},
    ("percent_improvement", "baseline"): (0.0, 1e6),
    ("percent_improvement", "followup"): (0.0, 1e6),
    ("odds_ratio", "case_freq"): (0.0, 1.0),
    ("odds_ratio", "control_freq"): (0.0, 1.0),
    **{("asas5of6", domain): (-1e5, 1e5) for domain in ASAS_SIX_DOMAINS},
    **{("asas_positive_mri_count_rule", f"item_{i:02d}"): MRI["quadrants"] for i in range(6)},
    ("mri_active_typical_2021", "quadrants_bme"): MRI["quadrants"],
    ("mri_active_typical_2021", "max_consecutive_slices_same_location"): MRI["slices"],
    **{("mri_structural_typical_2021", name): MRI["quadrants" if "quad" in name else "slices"]
       for name in FAT},
}  # fmt: skip
UNITS = {
    "age_at_onset": "years", "back_pain_months": "months", "crp": "mg/L", "esr_mm_h": "mm/h",
    "case_freq": "share", "control_freq": "share", "lateral_flexion_cm": "cm",
    "tragus_to_wall_cm": "cm", "schober_cm": "cm", "intermalleolar_cm": "cm",
    "cervical_rotation_deg": "degrees", "berlin_sij": "share of area",
    "risk_score_log_odds": "copies", "percent_improvement": "one unit", "asas5of6": "percent",
}  # fmt: skip


@pytest.mark.parametrize("name", SCORES)
def test_the_ends_of_a_range_are_taken_and_the_next_value_is_refused(name: str) -> None:
    """The error says whose value it is, of which score, what is taken and in which unit."""
    score, rows = SCORES[name], draw_rows(SCORES[name], 3, 0)
    for column, (kind, *drawn) in score.columns.items():
        if kind == "truth":
            continue
        low, high = WIDER.get((name, column), drawn)
        score.call(**rows | {column: np.array([low, high, low])})
        unit = UNITS.get(name, UNITS.get(column, "unitless"))
        told = re.escape(f"expected numbers from {low:g} to {high:g} ({unit}), got 1 other value")
        owner = re.escape(column) if "item" not in column else r"\w+"
        for wrong in (low - 1e-6 * max(1.0, high), high * (1 + 1e-6)):
            with pytest.raises(InputError, match=f"^{name}: {owner}: {told}"):
                score.call(**rows | {column: np.array([low, wrong, low])})


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: clinical.asdas_state(13), "^asdas_state: asdas: expected numbers from 0 to 12"),
        (lambda: clinical.asas_hi_state(18), r"^asas_hi_state: asas_hi: .* 0 to 17 \(unitless\)"),
        (lambda: clinical.mny_as(5, 0, True, True, True), "^mny_as: left: expected numbers from 0"),
        (lambda: clinical.mean_of_sides((1, -1)), r"^sides: right: .* 0 to 250 \(one unit\), got"),
        (lambda: clinical.mean_of_sides((-1, 1), name="tragus"), "^tragus: left: expected numbers"),
        (lambda: clinical.msasss_progression(1, 2, -1), r": years: .* from 0 to 100 \(years\)"),
        (lambda: clinical.risk_score_log_odds([1], [1001]),
         r"^risk_score_log_odds: odds_ratio_1: .* from 0 to 1000 \(unitless\)"),
        (lambda: clinical.risk_score_log_odds(1, [2]), "^risk_score_log_odds: dosages: expected a"),
        (lambda: clinical.asas_hi(1, 18), "^asas_hi: n_missing_or_na: expected numbers from 0 to"),
        (lambda: clinical.asas_positive_mri_count_rule(0, False),
         "^asas_positive_mri_count_rule: bme_lesions_per_slice: expected a sequence"),
        (lambda: clinical.berlin_sij([[2] + [0] * 3, [0] * 4]), r"Divide by 100 if .* percent\.$"),
        (lambda: clinical.asdas_crp(1, 1, 1, 1, 1001), r"position 0\. Check the unit of CRP\.$"),
        (lambda: clinical.odds_ratio(2, 0.1), r"got 1 other value\(s\), the first at position 0\.$"
         ),
        (lambda: clinical.asas5of6({}), "^asas5of6: percent_improvement: expected 'patient_global'"
         ),
        (lambda: clinical.msasss({"C2X": 0}), "^msasss: corners: expected only 'C2L'"),
        (lambda: clinical.basdai(np.array(["5"], object), 1, 1, 1, 1, 1),
         "^basdai: q1_fatigue: expected numbers or missing cells, got str at position 0"),
    ],
)  # fmt: skip
def test_errors_name_the_score_the_argument_and_the_fix(call: Callable[[], Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        call()


SCALES_OF_TEN = [
    name
    for name, score in SCORES.items()
    if NRS in score.columns.values() and name != "percent_improvement"  # of any measurement
]


@pytest.mark.parametrize("name", SCALES_OF_TEN)
def test_a_scale_of_100_is_explained_wherever_it_may_come_from(name: str) -> None:
    rows = draw_rows(SCORES[name], 2, 0)
    for column in (c for c, kind in SCORES[name].columns.items() if kind == NRS):
        with pytest.raises(InputError, match=r"Divide by 10 if the scale was 0 to 100 mm\.$"):
            SCORES[name].call(**rows | {column: 50.0})


@pytest.mark.parametrize("wrong", [-0.001, 10.001, math.inf, -math.inf])
def test_an_answer_out_of_range_is_refused(wrong: float) -> None:
    with pytest.raises(InputError, match=r"basdai: q1_fatigue: expected numbers from 0 to 10"):
        clinical.basdai(wrong, 1, 1, 1, 1, 1)


def test_a_scale_of_100_is_explained() -> None:
    with pytest.raises(InputError, match="Divide by 10 if the scale was 0 to 100 mm"):
        clinical.basfi([50] * 10)


def test_grades_must_be_whole() -> None:
    with pytest.raises(InputError, match="mny_radiographic: left: expected whole numbers"):
        clinical.mny_radiographic(1.5, 2)


def test_truth_values_must_be_true_or_false() -> None:
    with pytest.raises(InputError, match="morning_stiffness: expected True, False or missing"):
        clinical.ibp_calin(True, True, True, 2, True)


def test_booleans_are_no_numbers() -> None:
    with pytest.raises(InputError, match=r"q1_fatigue: expected numbers \(unitless\), got bool"):
        clinical.basdai(True, 1, 1, 1, 1, 1)


@pytest.mark.parametrize("text", ["5", b"5", {"a": 1}])
def test_texts_and_mappings_are_no_numbers(text: Any) -> None:
    with pytest.raises(InputError, match="expected a number, a list, an array or a Series"):
        clinical.basdai(text, 1, 1, 1, 1, 1)


def test_texts_in_a_column_are_refused_by_position(df_module: ModuleType) -> None:
    with pytest.raises(InputError, match="got str at position 0") as caught:
        clinical.basdai(df_module.Series(["severe", "5"]), 1, 1, 1, 1, 1)
    assert "severe" not in str(caught.value)


def test_ragged_lists_are_refused() -> None:
    with pytest.raises(InputError, match="got list at position 0"):
        clinical.basdai([[1, 2], [3]], 1, 1, 1, 1, 1)
    with pytest.raises(InputError, match="expected one number for each row, got rows of several"):
        clinical.basdai([np.ones((2, 2)), np.ones((2, 3))], 1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1, 2], [1, 2, 3]),
        (np.ones(2), np.ones(3)),
        (pd.Series([1, 2]), np.ones(3)),
        (pd.Series([1, 2]), [1]),
        (pl.Series([1, 2]), np.ones((2, 2))),
    ],
)
def test_rows_must_match(first: Any, second: Any) -> None:
    with pytest.raises(InputError, match="expected arguments with the same number of rows"):
        clinical.basdai(first, second, 1, 1, 1, 1)


def test_pandas_rows_must_be_the_same_patients() -> None:
    first, second = pd.Series([1, 2], index=[1, 2]), pd.Series([1, 2], index=[2, 1])
    with pytest.raises(InputError, match="expected the same index as the other Series"):
        clinical.basdai(first, second, 1, 1, 1, 1)


def test_two_libraries_in_one_call_are_refused() -> None:
    with pytest.raises(InputError, match="expected every Series from one library"):
        clinical.basdai(pd.Series([1]), pl.Series([1]), 1, 1, 1, 1)


@pytest.mark.parametrize("items", [[1.0] * 9, np.ones((4, 11))])
def test_items_must_be_complete(items: Any) -> None:
    with pytest.raises(InputError, match="basfi: items: expected 10 items, got"):
        clinical.basfi(items)


@pytest.mark.parametrize("items", ["0123456789", 5.0, pd.Series([1.0] * 10)])
def test_items_must_be_a_sequence_or_a_table(items: Any) -> None:
    with pytest.raises(InputError, match="basfi: items: expected a sequence of items"):
        clinical.basfi(items)


def test_there_must_be_a_slice() -> None:
    with pytest.raises(InputError, match="expected at least one item, got 0"):
        clinical.asas_positive_mri_count_rule([], False)


def test_corners_must_be_there_and_known() -> None:
    corners = dict.fromkeys(CORNERS, 0)
    with pytest.raises(InputError, match="got none named 'C2L'. Pass what was not measured"):
        clinical.msasss(dict.fromkeys(CORNERS[1:], 0))
    with pytest.raises(InputError, match="got 'C2X'. Did you mean 'C2L'"):
        clinical.msasss(corners | {"C2X": 0})
    with pytest.raises(InputError, match="expected a mapping of names to values or a DataFrame"):
        clinical.msasss([0] * 24)


def test_features_must_be_known() -> None:
    every = ", ".join(f"'{name}'" for name in SPA_FEATURES)
    with pytest.raises(InputError, match=f"{every}, got 'hla_b72'. Did you mean 'hla_b27'"):
        clinical.asas_axspa_2009(30, 6, False, True, features=["hla_b72"])
    with pytest.raises(InputError, match="got 'hla_b72'. Did you mean 'hla_b27'"):
        clinical.asas_axspa_2009(30, 6, False, True, features={"hla_b72": True})
    with pytest.raises(InputError, match="got 'HLA-B27'. Did you mean 'hla_b27'"):
        clinical.asas_axspa_2009(30, 6, False, True, features=["HLA-B27"])
    with pytest.raises(InputError, match="expected a list of names.*got one name. Put it into"):
        clinical.asas_axspa_2009(30, 6, False, True, features="hla_b27")
    with pytest.raises(InputError, match="expected a mapping of names to values or a DataFrame"):
        clinical.asas_axspa_2009(30, 6, False, True, features=3)


def test_counts_must_add_up() -> None:
    with pytest.raises(InputError, match=r"add up to at most 17, got more in 1 row\(s\)"):
        clinical.asas_hi([5, 15], 3, missing="prorate")


def test_time_between_films_must_pass() -> None:
    with pytest.raises(InputError, match="years: expected times above 0, got 1 that are 0"):
        clinical.msasss_progression(1, 2, years=[2, 0])


def test_weights_must_be_odds_ratios() -> None:
    with pytest.raises(InputError, match="odds_ratio_1: expected a number above 0.*Leave out"):
        clinical.risk_score_log_odds([1], [0])
    with pytest.raises(InputError, match="odds_ratios: expected 2 items, got 1"):
        clinical.risk_score_log_odds([1, 1], [1.2])


@pytest.mark.parametrize(
    "call",
    [
        lambda: clinical.msasss(dict.fromkeys(CORNERS, 0), missing="mean"),
        lambda: clinical.asas_hi(5, missing="mean"),
        lambda: clinical.asas_partial_remission(1, 1, 1, 1, comparison="under"),
    ],
)
def test_choices_are_closed(call: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError, match="expected one of"):
        call()


def test_a_threshold_must_be_a_score() -> None:
    with pytest.raises(ConfigurationError, match="threshold_per_2y: expected a number"):
        clinical.msasss_progression(1, 2, threshold_per_2y=-1)


def test_the_best_measurements_score_a_plain_zero() -> None:
    best = clinical.basmi_linear(21.1, 8.0, 7.4, 124.5, 89.3)
    assert [str(score) for score in best.components.values()] == ["0.0"] * 5
    assert clinical.basmi_10step(20, 9.9, 7, 120, 85).total == 0.0
