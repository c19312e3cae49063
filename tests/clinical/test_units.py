"""Units: declared and converted, or refused; sites in another unit are found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asfusion import clinical
from asfusion.clinical._unit_table import QUANTITIES
from asfusion.clinical.units import check_units, convert, flag_site_units, to_mg_per_l
from asfusion.exceptions import AsfusionError, ConfigurationError, InputError, UnitError

# One standard unit of each, in every other spelling that a laboratory uses.
SAME = {
    "crp": {
        "mg/L": ["mg/l", " MG/L ", "mg L-1", "mg per litre", "milligram / liter", "mg.L^-1"],
        "mg/dL": ["mg/dl", "mg/100 mL", "milligram / deciliter", "mg dL-1"],
        "ug/mL": ["µg/mL", "μg/ml", "mcg/mL", "microgram / milliliter"],
        "nmol/L": ["nmol/l", "nanomole / liter"],
    },
    "esr": {"mm/h": ["mm/hr", "mm/1h", "mm/hour", "millimeter / hour", "mm h-1"]},
    "white_cells": {
        "10^9/L": ["10*9/L", "x10^9/L", "G/L", "10^3/uL", "K/µL", "10E9/l", "1e9/L"],
        "cells/uL": ["/uL", "/mm3", "cells/mm^3", "{cells}/uL", "cells per µL"],
    },
    "haemoglobin": {"g/L": ["g/l", "gram / liter"], "g/dL": ["g/100ml", "G/DL"]},
    "cervical_rotation": {"deg": ["degrees", "°"], "rad": ["radian"]},
    "modified_schober": {"cm": ["centimeter"], "mm": ["Millimetres"], "m": ["metre"]},
    "rating": {"0-100": ["mm", "0-100 mm"], "0-10": ["NRS", "cm"]},
}
SPELLINGS = [
    (quantity, unit, other)
    for quantity, units in SAME.items()
    for unit, others in units.items()
    for other in others
]
PAIRS = [(name, unit) for name, found in QUANTITIES.items() for unit in found.factors]


class Quantity:
    """A number with a unit, as the unit packages have it."""

    def __init__(self, magnitude: Any, units: str, factors: dict[str, float]) -> None:
        self.magnitude, self.units, self._factors = magnitude, units, factors

    def to(self, unit: str) -> Quantity:
        if unit not in self._factors:
            raise TypeError("no such conversion")
        return Quantity(self.magnitude * self._factors[unit], unit, {})


# --- conversion -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "quantity", "unit", "expected"),
    [
        (1.4, "crp", "mg/dL", 14.0),
        (0.6, "crp", "mg/dL", 6.0),
        (2.5, "crp", "mg/dL", 25.0),
        (7.3, "crp", "ug/mL", 7.3),
        (0.012, "crp", "g/L", 12.0),
        (14.2, "haemoglobin", "g/dL", 142.0),
        (7200, "white_cells", "cells/uL", 7.2),
        (45, "modified_schober", "mm", 4.5),
        (1.745, "height", "m", 174.5),
        (34, "rating", "0-100", 3.4),
        (1.5, "stiffness_duration", "h", 90.0),
    ],
)
def test_decimal_units_convert_to_the_bit(
    value: float, quantity: str, unit: str, expected: float
) -> None:
    assert convert(value, quantity, unit) == expected


def test_molar_crp_is_that_of_the_laboratories() -> None:
    assert to_mg_per_l(122.57, "nmol/L") == pytest.approx(12.87, abs=0.005)
    assert convert(1.0, "crp", "mg/L", to="nmol/L") == pytest.approx(9.524, abs=0.0005)


def test_angle_and_molar_haemoglobin() -> None:
    assert convert(math.pi / 2, "cervical_rotation", "rad") == pytest.approx(90.0)
    assert convert(8.7, "haemoglobin", "mmol/L") == pytest.approx(140.2, abs=0.05)


@pytest.mark.parametrize(("quantity", "unit", "other"), SPELLINGS)
def test_spellings_of_one_unit(quantity: str, unit: str, other: str) -> None:
    assert convert(3.0, quantity, other) == convert(3.0, quantity, unit)


@settings(deadline=None)
@given(st.sampled_from(PAIRS), st.data(), st.floats(1e-3, 1e4))
def test_there_and_back(pair: tuple[str, str], data: st.DataObject, value: float) -> None:
    quantity, unit = pair
    other = data.draw(st.sampled_from(sorted(QUANTITIES[quantity].factors)))
    there = convert(value, quantity, unit, to=other)
    assert convert(there, quantity, other, to=unit) == pytest.approx(value, rel=1e-12)
    assert convert(value, quantity, unit, to=unit) == value


# --- containers -----------------------------------------------------------------------


def test_container_and_missing_are_kept() -> None:
    assert to_mg_per_l([1.4, None, math.nan], "mg/dL")[:2] == [14.0, None]
    assert math.isnan(to_mg_per_l([1.4, None, math.nan], "mg/dL")[2])
    assert to_mg_per_l((0.6, 2), "mg/dL") == (6.0, 20.0)
    assert type(to_mg_per_l(np.float32(0.5), "mg/dL")) is float
    assert math.isnan(to_mg_per_l(None, "mg/dL"))
    table = to_mg_per_l(np.array([[1, 2], [3, 4]], np.int8) * 20, "mg/dL")
    np.testing.assert_array_equal(table, [[200.0, 400.0], [600.0, 800.0]])


@pytest.mark.parametrize("dtype", ["float64", "Float64", "object"])
def test_pandas_keeps_index_name_and_missing(dtype: str) -> None:
    column = pd.Series([1.4, None, 0.6], index=list("abc"), name="crp_dl", dtype=dtype)
    got = to_mg_per_l(column, "mg/dL")
    expected = pd.Series([14.0, np.nan, 6.0], index=list("abc"), name="crp_dl")
    pd.testing.assert_series_equal(got, expected)


def test_polars_keeps_name_and_null() -> None:
    got = to_mg_per_l(pl.Series("crp_dl", [1.4, None, 0.6]), "mg/dL")
    assert got.name == "crp_dl"
    assert got.to_list() == [14.0, None, 6.0]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 50)), min_size=1, max_size=20))
def test_containers_agree(cells: list[float | None]) -> None:
    def filled(values: Any) -> list[float | None]:
        return [None if v is None or v != v else v for v in values]

    as_list = to_mg_per_l(cells, "mg/dL")
    array = np.array([np.nan if cell is None else cell for cell in cells])
    assert filled(to_mg_per_l(array, "mg/dL").tolist()) == as_list
    assert filled(to_mg_per_l(pd.Series(cells, dtype="float64"), "mg/dL")) == as_list
    assert to_mg_per_l(pl.Series(cells, dtype=pl.Float64), "mg/dL").to_list() == as_list


# --- quantities that say their own unit -----------------------------------------------


def test_quantity_says_its_own_unit() -> None:
    crp = Quantity(1.4, "milligram / deciliter", {})
    assert to_mg_per_l(crp) == 14.0
    assert to_mg_per_l(crp, "mg/dL") == 14.0
    assert check_units(crp, "crp") == "mg/dL"


def test_quantity_in_a_unit_of_its_own_package_is_converted_by_it() -> None:
    assert to_mg_per_l(Quantity(3.0, "grain / gallon", {"mg/L": 17.118})) == pytest.approx(51.354)
    with pytest.raises(UnitError, match="expected a quantity that can be in mg/L"):
        to_mg_per_l(Quantity(3.0, "kelvin", {}))


def test_quantity_that_contradicts_the_declared_unit() -> None:
    with pytest.raises(UnitError, match="got quantities in mg/dL and unit='mg/L'"):
        to_mg_per_l(Quantity(1.4, "mg/dL", {}), "mg/L")


# --- refusals -------------------------------------------------------------------------


def test_unit_error_is_a_value_error_of_this_library() -> None:
    assert issubclass(UnitError, AsfusionError)
    assert issubclass(UnitError, ValueError)


def test_undeclared_unknown_and_misplaced_units() -> None:
    with pytest.raises(UnitError, match="expected a declared unit, got none"):
        to_mg_per_l(2.5)
    with pytest.raises(UnitError, match="expected one of 'mg/L', 'mg/dL'.*got 'mg'"):
        to_mg_per_l(2.5, "mg")
    with pytest.raises(UnitError, match="Unit of 'esr'.*got 'mg/L'"):
        convert(20.0, "esr", "mg/L")
    with pytest.raises(UnitError, match="Unit of 'crp'.*got 'stone'"):
        convert(20.0, "crp", "mg/L", to="stone")
    with pytest.raises(ConfigurationError, match="quantity: expected one of.*Did you mean 'crp'"):
        convert(20.0, "crp_", "mg/L")


@pytest.mark.parametrize("values", [["<5", 3.0], pd.Series(["<5", "3.0"]), pl.Series(["<5"])])
def test_text_is_no_number_and_is_not_shown(values: Any) -> None:
    with pytest.raises(InputError, match="expected numbers or missing cells") as caught:
        to_mg_per_l(values, "mg/L")
    assert "<5" not in str(caught.value)


def test_truth_values_are_no_measurements() -> None:
    with pytest.raises(InputError, match="got booleans"):
        to_mg_per_l([True, False], "mg/L")


# --- check_units ----------------------------------------------------------------------


def cohort(rng: np.random.Generator, n: int = 120, middle: float = 8.0) -> Any:
    """Return log-normal CRP in mg/L."""
    return rng.lognormal(math.log(middle), 1.0, n)


@pytest.mark.parametrize("middle", [3.5, 5.5, 10.0])
def test_crp_in_mg_per_dl_is_not_taken_for_mg_per_l(middle: float) -> None:
    crp = cohort(np.random.default_rng(0), middle=middle)
    assert check_units(crp, "crp") == "mg/L"
    assert check_units(crp / 10, "crp", "mg/dl") == "mg/dL"
    with pytest.raises(UnitError, match="expected a declared unit.*120 values.*mg/dL"):
        check_units(crp / 10, "crp")


@pytest.mark.parametrize(
    ("values", "quantity", "unit"),
    [
        ([13.1, 14.9, 15.2] * 4, "haemoglobin", "g/dL"),
        ([6100.0, 7200.0, 9900.0] * 4, "white_cells", "cells/uL"),
        ([41.0, 38.0, 55.0] * 4, "modified_schober", "mm"),
        ([0.62, 1.05, 1.3] * 4, "cervical_rotation", "rad"),
        ([1.62, 1.75, 1.9] * 4, "height", "m"),
        ([35.0, 60.0, 12.0], "rating", "0-100"),
    ],
)
def test_other_units_must_be_declared(values: list[float], quantity: str, unit: str) -> None:
    with pytest.raises(UnitError, match="declared"):
        check_units(values, quantity)
    assert check_units(values, quantity, unit) == unit
    assert check_units(convert(values, quantity, unit), quantity) == QUANTITIES[quantity].unit


def test_impossible_values_in_a_declared_unit() -> None:
    with pytest.raises(UnitError, match=r"0 to 100 mg/dL \(declared\), got 2 of 3 outside") as e:
        check_units([250.5, None, -1.0, 3.0], "crp", "mg/dL")
    assert "250" not in str(e.value)
    with pytest.raises(UnitError, match=r"0 to 10 0-10 \(assumed, because none was declared\)"):
        check_units([35.0], "rating")


def test_few_values_tell_no_unit() -> None:
    assert check_units([0.4, 0.7], "crp") == "mg/L"
    assert check_units(0.4, "crp") == "mg/L"
    assert check_units([None, math.nan], "crp") == "mg/L"
    assert check_units([0.1] * 3 + [None] * 30, "crp") == "mg/L"


@pytest.mark.parametrize("name", QUANTITIES)
def test_table_of_quantities_is_sound(name: str) -> None:
    found = QUANTITIES[name]
    assert found.factors[found.unit] == 1
    low, high = found.possible
    assert low < high
    if found.typical is not None:
        assert low <= found.typical[0] < found.typical[1] <= high


# --- flag_site_units ------------------------------------------------------------------


def sites_of(columns: dict[str, Any]) -> tuple[list[float], list[str]]:
    values = [float(v) for column in columns.values() for v in column]
    return values, [name for name, column in columns.items() for _ in column]


def test_site_in_mg_per_dl_is_found() -> None:
    rng = np.random.default_rng(0)
    columns = {name: cohort(rng) for name in "ABCD"}
    columns["C"] = columns["C"] / 10
    values, site = sites_of(columns)
    found = flag_site_units(values, site, "crp")
    (flag,) = found
    assert (flag.site, flag.n, flag.n_missing, flag.likely_unit) == ("C", 120, 0, "mg/dL")
    assert flag.ratio == pytest.approx(0.1, rel=0.4)
    assert [s.site for s in found.sites] == list("ABCD")
    assert len(found) == 1


@pytest.mark.parametrize(
    ("quantity", "middle", "spread", "factor", "unit"),
    [
        ("crp", 8.0, 1.0, 9.524, "nmol/L"),
        ("haemoglobin", 140.0, 0.1, 0.1, "g/dL"),
        ("white_cells", 7.0, 0.25, 1000.0, "cells/uL"),
        ("modified_schober", 4.2, 0.4, 10.0, "mm"),
        ("height", 172.0, 0.06, 0.01, "m"),
        ("cervical_rotation", 65.0, 0.3, 1 / 57.29578, "rad"),
    ],
)
def test_unit_that_explains_the_ratio(
    quantity: str, middle: float, spread: float, factor: float, unit: str
) -> None:
    rng = np.random.default_rng(1)
    columns = {name: rng.lognormal(math.log(middle), spread, 40) for name in "ABC"}
    columns["B"] = columns["B"] * factor
    found = flag_site_units(*sites_of(columns), quantity)
    assert [(s.site, s.likely_unit) for s in found] == [("B", unit)]


def test_ratio_that_no_unit_explains_has_none() -> None:
    rng = np.random.default_rng(1)
    columns = {name: rng.lognormal(2.0, 0.2, 40) for name in "ABC"}
    columns["B"] = columns["B"] * 5000.0
    (flag,) = flag_site_units(*sites_of(columns), "esr")
    assert (flag.site, flag.likely_unit) == ("B", None)


@pytest.mark.parametrize("seed", range(8))
def test_case_mix_raises_no_flag(seed: int) -> None:
    """Referral clinics and inception cohorts differ threefold in CRP, in one unit."""
    rng = np.random.default_rng(seed)
    middles = rng.uniform(3.5, 10.0, 6)
    columns = {f"site{i}": cohort(rng, 60, m) for i, m in enumerate(middles)}
    assert len(flag_site_units(*sites_of(columns), "crp")) == 0


def test_small_sites_are_named_as_not_judged() -> None:
    rng = np.random.default_rng(2)
    columns = {"A": cohort(rng), "B": cohort(rng), "small": cohort(rng, 5) / 10}
    found = flag_site_units(*sites_of(columns), "crp")
    assert len(found) == 0
    (small,) = found.not_judged
    assert (small.site, small.n, small.ratio, small.quantile) == ("small", 5, None, None)


def test_detection_limits_are_no_other_unit() -> None:
    """An assay that starts at 5 mg/L beside one that starts at 0.3 is no change of unit."""
    rng = np.random.default_rng(3)
    columns = {name: cohort(rng, 200, 2.5) for name in "ABC"}
    columns["A"] = np.maximum(columns["A"], 5.0)
    columns["B"] = np.where(columns["B"] < 1.0, 0.0, columns["B"])
    columns["C"] = columns["C"] / 10
    found = flag_site_units(*sites_of(columns), "crp")
    assert [s.site for s in found] == ["C"]
    by_name = {s.site: s for s in found.sites}
    quantile = by_name["A"].quantile
    assert quantile is not None
    assert quantile > 0.5


def test_site_with_nothing_above_its_limit_is_not_judged() -> None:
    rng = np.random.default_rng(3)
    columns = {"A": cohort(rng), "B": cohort(rng), "C": [0.5] * 40}
    found = flag_site_units(*sites_of(columns), "crp")
    assert [s.site for s in found.not_judged] == ["C"]


def test_every_row_is_accounted_for() -> None:
    rng = np.random.default_rng(4)
    values: list[float | None] = [*cohort(rng, 30), None, None, *cohort(rng, 30)]
    site = ["A"] * 32 + ["B"] * 20 + [None] * 10
    found = flag_site_units(values, site, "crp")
    assert found.n_rows == 62
    assert found.n_without_site == 10
    assert [(s.site, s.n, s.n_missing) for s in found.sites] == [("A", 30, 2), ("B", 20, 0)]
    assert sum(s.n + s.n_missing for s in found.sites) + found.n_without_site == found.n_rows


def test_two_sites_are_told_apart_by_what_is_typical() -> None:
    rng = np.random.default_rng(5)
    columns = {"A": cohort(rng), "B": cohort(rng) / 10}
    assert [s.site for s in flag_site_units(*sites_of(columns), "crp")] == ["B"]
    # Asked for mg/dL, it is the other one.
    found = flag_site_units(*sites_of(columns), "crp", "mg/dL")
    assert [(s.site, s.likely_unit) for s in found] == [("A", "mg/L")]


def test_frames_give_the_same_flags() -> None:
    rng = np.random.default_rng(6)
    values, site = sites_of({"A": cohort(rng), "B": cohort(rng) / 10, "C": cohort(rng)})
    expected = flag_site_units(values, site, "crp")
    table = pd.DataFrame({"crp": values, "site": site}).sample(frac=1, random_state=0)
    shuffled = flag_site_units(table["crp"], table["site"], "crp")
    assert set(shuffled.sites) == set(expected.sites)
    other = pl.DataFrame({"crp": values, "site": site})
    assert flag_site_units(other["crp"], other["site"], "crp") == expected
    assert flag_site_units(np.array(values), np.array(site), "crp") == expected


def test_one_site_and_no_rows() -> None:
    rng = np.random.default_rng(7)
    alone = flag_site_units(cohort(rng), ["A"] * 120, "crp")
    assert [s.site for s in alone.not_judged] == ["A"]
    assert flag_site_units([], [], "crp").sites == ()


def test_lengths_must_match() -> None:
    with pytest.raises(InputError, match="site: expected one for each of the 3 values, got 2"):
        flag_site_units([1.0, 2.0, 3.0], ["A", "B"], "crp")
    with pytest.raises(InputError, match="site: expected one for each of the 3 values, got 1"):
        flag_site_units([1.0, 2.0, 3.0], "Oslo", "crp")


def test_names_of_sites_stay_as_they_are() -> None:
    rng = np.random.default_rng(8)
    found = flag_site_units([*cohort(rng, 30), *cohort(rng, 30)], [1] * 30 + ["B"] * 30, "crp")
    assert [site.site for site in found.sites] == [1, "B"]


def test_sites_are_flagged_or_not() -> None:
    rng = np.random.default_rng(2)
    columns = {"A": cohort(rng), "B": cohort(rng), "C": cohort(rng) / 10, "few": cohort(rng, 5)}
    found = flag_site_units(*sites_of(columns), "crp")
    assert [site.is_flagged for site in found.sites] == [False, False, True, False]


@pytest.mark.parametrize(("least", "flagged"), [(5.0, []), (5.1, ["low"])])
def test_sites_whose_intervals_touch_are_not_apart(least: float, flagged: list[str]) -> None:
    # Of twelve values the interval of the median is from the second to the last but one.
    low = [*np.linspace(0.4, 0.5, 10), 5.0, 6.0]
    high = [4.0, least, *np.linspace(45.0, 55.0, 10)]
    found = flag_site_units(*sites_of({"low": low, "high": high}), "crp")
    assert [site.site for site in found] == flagged


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(InputError, match="^Values of 'crp': values: expected numbers or missing"):
        flag_site_units(["<5", 2.0], ["A", "B"], "crp")


def test_a_column_of_units_is_no_unit() -> None:
    units = pd.Series(["mg/L", "mg/dL"])
    fix = "Convert the rows of each unit by themselves; LabEvents reads a column of units.$"
    with pytest.raises(UnitError, match=f"expected one unit, got Series. {fix}"):
        convert(pd.Series([10.0, 1.0]), "crp", units)
    with pytest.raises(UnitError, match="expected one unit, got list"):
        clinical.asdas_crp(5, 5, 5, 5, crp=[10.0, 1.0], crp_unit=["mg/L", "mg/dL"])  # type: ignore[arg-type]
    with pytest.raises(UnitError, match="expected one unit, got Series"):
        clinical.asdas_crp(5, 5, 5, 5, crp=[10.0, 1.0], crp_unit=units)  # type: ignore[arg-type]
