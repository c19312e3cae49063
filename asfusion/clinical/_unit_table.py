"""The quantities of this field, their units, and what numbers are plausible in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from asfusion._checks import check_choice, in_words, quoted
from asfusion.exceptions import UnitError

# Factors are exact fractions of the standard unit: 1.4 mg/dL becomes 14.0 mg/L, to the bit.
Factors = Mapping[str, Fraction]


@dataclass(frozen=True)
class Quantity:
    """One quantity.

    Parameters
    ----------
    unit : str
        The standard unit, which has the factor 1.
    factors : mapping of str to Fraction
        What one of each unit is in the standard unit.
    possible : tuple of float
        Range that holds every real measurement, in the standard unit.
    typical : tuple of float, optional
        Range that holds the median of any group of patients, in the standard unit.
    """

    unit: str
    factors: Factors
    possible: tuple[float, float]
    typical: tuple[float, float] | None = None


_LENGTH = {"cm": Fraction(1), "mm": Fraction(1, 10), "m": Fraction(100), "in": Fraction("2.54")}
_ANGLE = {"deg": Fraction(1), "rad": Fraction("57.29577951308232")}
_TIME = {"min": Fraction(1), "h": Fraction(60), "s": Fraction(1, 60)}
_MASS = {"kg": Fraction(1), "g": Fraction(1, 1000), "lb": Fraction("0.45359237")}
_CELLS = {"10^9/L": Fraction(1), "cells/uL": Fraction(1, 1000)}
_RATING = {"0-10": Fraction(1), "0-100": Fraction(1, 10), "0-1": Fraction(10)}
_CRP = {
    "mg/L": Fraction(1),
    "mg/dL": Fraction(10),
    "ug/mL": Fraction(1),
    "g/L": Fraction(1000),
    "nmol/L": Fraction(105, 1000),
}
_ENZYME = {"U/L": Fraction(1), "ukat/L": Fraction(60)}
_MASS_PER_VOLUME = {"g/L": Fraction(1), "g/dL": Fraction(10), "mg/dL": Fraction(1, 100)}
_FERRITIN = {"ug/L": Fraction(1), "ng/mL": Fraction(1)}
_CREATININE = {"umol/L": Fraction(1), "mg/dL": Fraction("88.42"), "mmol/L": Fraction(1000)}
_HAEMOGLOBIN = {
    "g/L": Fraction(1),
    "g/dL": Fraction(10),
    "mmol/L": Fraction("16.114"),
}

# The ranges are wide on purpose: they catch a wrong unit, not an unusual patient.
QUANTITIES: dict[str, Quantity] = {
    "crp": Quantity("mg/L", _CRP, (0.0, 1000.0), (2.0, 60.0)),
    "esr": Quantity("mm/h", {"mm/h": Fraction(1)}, (0.0, 200.0), (2.0, 90.0)),
    "haemoglobin": Quantity("g/L", _HAEMOGLOBIN, (20.0, 260.0), (80.0, 190.0)),
    "white_cells": Quantity("10^9/L", _CELLS, (0.0, 500.0), (3.0, 20.0)),
    "neutrophils": Quantity("10^9/L", _CELLS, (0.0, 400.0), (1.2, 15.0)),
    "lymphocytes": Quantity("10^9/L", _CELLS, (0.0, 400.0), (0.5, 6.0)),
    "platelets": Quantity("10^9/L", _CELLS, (0.0, 3000.0), (90.0, 700.0)),
    "creatinine": Quantity("umol/L", _CREATININE, (5.0, 3000.0), (40.0, 300.0)),
    "alt": Quantity("U/L", _ENZYME, (0.0, 20000.0), (5.0, 150.0)),
    "albumin": Quantity("g/L", _MASS_PER_VOLUME, (5.0, 80.0), (20.0, 55.0)),
    "ferritin": Quantity("ug/L", _FERRITIN, (0.0, 200000.0)),
    "lateral_lumbar_flexion": Quantity("cm", _LENGTH, (0.0, 45.0), (2.0, 28.0)),
    "tragus_to_wall": Quantity("cm", _LENGTH, (4.0, 70.0), (7.0, 40.0)),
    "modified_schober": Quantity("cm", _LENGTH, (0.0, 15.0), (0.5, 9.0)),
    "intermalleolar_distance": Quantity("cm", _LENGTH, (0.0, 220.0), (25.0, 170.0)),
    "chest_expansion": Quantity("cm", _LENGTH, (0.0, 20.0), (0.8, 11.0)),
    "cervical_rotation": Quantity("deg", _ANGLE, (0.0, 120.0), (8.0, 105.0)),
    "height": Quantity("cm", _LENGTH, (40.0, 260.0), (70.0, 200.0)),
    "weight": Quantity("kg", _MASS, (2.0, 400.0), (8.0, 160.0)),
    "stiffness_duration": Quantity("min", _TIME, (0.0, 1440.0)),
    "rating": Quantity("0-10", _RATING, (0.0, 10.0)),
    "length": Quantity("cm", _LENGTH, (0.0, 300.0)),
    "angle": Quantity("deg", _ANGLE, (-360.0, 360.0)),
}

_WORDS = {
    "milligram": "mg", "milligrams": "mg", "microgram": "ug", "micrograms": "ug", "mcg": "ug",
    "gram": "g", "grams": "g", "kilogram": "kg", "kilograms": "kg", "kgs": "kg",
    "pound": "lb", "pounds": "lb", "lbs": "lb", "nanomole": "nmol", "nanomoles": "nmol",
    "micromole": "umol", "micromoles": "umol", "nanogram": "ng", "nanograms": "ng",
    "millimole": "mmol", "millimoles": "mmol", "litre": "l", "liter": "l", "liters": "l",
    "litres": "l", "decilitre": "dl", "deciliter": "dl", "100ml": "dl", "millilitre": "ml",
    "milliliter": "ml", "microlitre": "ul", "microliter": "ul", "mm3": "ul", "mm^3": "ul",
    "cmm": "ul", "centimetre": "cm", "centimeter": "cm", "centimetres": "cm",
    "centimeters": "cm", "millimetre": "mm", "millimeter": "mm", "millimetres": "mm",
    "millimeters": "mm", "metre": "m", "meter": "m", "metres": "m", "meters": "m",
    "inch": "in", "inches": "in", "hour": "h", "hours": "h", "hr": "h", "hrs": "h",
    "1h": "h", "minute": "min", "minutes": "min", "mins": "min", "second": "s",
    "seconds": "s", "sec": "s", "degree": "deg", "degrees": "deg", "°": "deg",
    "radian": "rad", "radians": "rad", "{cells}": "cells", "cell": "cells", "": "cells",
}  # fmt: skip

# Spellings that are not the sum of their parts; keys are as `spell_unit` leaves them.
_ALIASES = {
    "10**9/l": "10^9/l", "10*9/l": "10^9/l", "10e9/l": "10^9/l", "1e9/l": "10^9/l",
    "x10^9/l": "10^9/l", "x109/l": "10^9/l", "109/l": "10^9/l", "giga/l": "10^9/l",
    "g/l": "10^9/l", "gpt/l": "10^9/l", "cells/nl": "10^9/l", "k/ul": "10^9/l",
    "10^3/ul": "10^9/l", "10**3/ul": "10^9/l", "10*3/ul": "10^9/l", "x10^3/ul": "10^9/l",
    "10e3/ul": "10^9/l", "1e3/ul": "10^9/l", "thousand/ul": "10^9/l",
    "iu/l": "u/l", "[iu]/l": "u/l", "units/l": "u/l",
    "nrs": "0-10", "0-10nrs": "0-10", "0-100mm": "0-100", "mm": "0-100", "cm": "0-10",
}  # fmt: skip


def find_quantity(name: object) -> Quantity:
    """Return the quantity of that name, or raise `ConfigurationError`."""
    return QUANTITIES[check_choice(name, "quantity", QUANTITIES)]


def spell_unit(text: str) -> str:
    """Return a unit in lower case, in short words, joined by ``/``."""
    plain = re.sub("[\u00b5\u03bc]", "u", text.strip()).lower()
    plain = re.sub(r"\s+per\s+", "/", plain)
    plain = re.sub(r"[\s.*]*\b([dm]?l|h)\s*\^?-1$", r"/\1", re.sub("[\u2212\u2013]", "-", plain))
    parts = plain.replace(" ", "").split("/")
    return "/".join(_WORDS.get(part, part) for part in parts)


def find_unit(unit: object, name: str) -> str:
    """Return the spelling that the table has for `unit` of the quantity `name`.

    Raises
    ------
    UnitError
        If the quantity has no such unit.
    """
    known = {key.lower(): key for key in find_quantity(name).factors}
    if not isinstance(unit, str) and hasattr(unit, "__len__"):
        # Shown, a column of units would be cells.
        msg = (
            f"Unit of {name!r}: expected one unit, got {type(unit).__name__}. Convert the rows of "
            "each unit by themselves; LabEvents reads a column of units."
        )
        raise UnitError(msg)
    spelled = spell_unit(str(unit)) if unit is not None else ""
    for candidate in (spelled, _ALIASES.get(spelled, "")):
        if candidate in known:
            return known[candidate]
    msg = (
        f"Unit of {name!r}: expected one of {quoted(known.values(), limit=20)}, got "
        f"{in_words(unit)}. State the unit that the laboratory or the form used."
    )
    raise UnitError(msg)


def factor_between(name: str, unit: str, to: str) -> Fraction:
    """Return what one `unit` is in `to`; both as `find_unit` spells them."""
    factors = find_quantity(name).factors
    return factors[unit] / factors[to]
