"""What a laboratory value is called: LOINC codes, usual names, and units to one standard."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from asfusion._checks import quoted, suggestion
from asfusion.clinical._unit_table import QUANTITIES, find_unit, spell_unit
from asfusion.exceptions import ConfigurationError, UnitError

# Codes of LOINC (loinc.org, Regenstrief Institute) for blood, serum and plasma: mass and molar
# ones side by side, because the unit of each event is read anyway. Differential counts in
# percent are left out: a share is not a concentration.
LOINC: Mapping[str, tuple[str, ...]] = {
    "crp": ("1988-5", "30522-7"),
    "esr": ("30341-2", "4537-7"),
    "haemoglobin": ("718-7", "59260-0"),
    "white_cells": ("6690-2", "26464-8"),
    "neutrophils": ("751-8", "26499-4"),
    "lymphocytes": ("731-0", "26474-7"),
    "platelets": ("777-3", "26515-7"),
    "creatinine": ("2160-0", "14682-9"),
    "alt": ("1742-6",),
    "albumin": ("1751-7",),
    "ferritin": ("2276-4",),
}
_USUAL_NAMES = {
    "hs_crp": "crp",
    "hb": "haemoglobin",
    "hgb": "haemoglobin",
    "hemoglobin": "haemoglobin",
    "wbc": "white_cells",
    "leukocytes": "white_cells",
    "plt": "platelets",
}


@dataclass(frozen=True)
class Lab:
    """One laboratory value: its codes, its unit, and what is possible in that unit.

    Parameters
    ----------
    name : str
        Name of the lab, which its features begin with.
    codes : tuple of str
        Codes of its events.
    quantity : str or None
        Quantity of the unit table, or None where only the unit as declared is understood.
    unit : str
        Unit of the features.
    low, high : float
        Possible range in that unit; infinite where nothing is known.
    """

    name: str
    codes: tuple[str, ...]
    quantity: str | None
    unit: str
    low: float
    high: float

    def factor(self, unit: str | None) -> Fraction | None:
        """Return what one `unit` is in the lab's own, or None if it is not known."""
        if unit is None:
            return None
        if self.quantity is None:
            return Fraction(1) if spell_unit(unit) == spell_unit(self.unit) else None
        factors = QUANTITIES[self.quantity].factors
        try:
            return factors[find_unit(unit, self.quantity)] / factors[self.unit]
        except UnitError:
            return None

    def units_in_words(self) -> str:
        """Return the units that are understood, for a message."""
        if self.quantity is None:
            return self.unit
        return ", ".join(QUANTITIES[self.quantity].factors)


def read_labs(
    codes: Any, units: Mapping[str, str] | None, ranges: Mapping[str, Any] | None
) -> tuple[Lab, ...]:
    """Return the labs that were asked for, or raise `ConfigurationError`."""
    wanted = _read_codes(codes)
    units, ranges = dict(units or {}), dict(ranges or {})
    for name, given in (("units", units), ("ranges", ranges)):
        check_known(given, wanted, name)
    labs = tuple(
        _make_lab(name, codes, units.get(name), ranges.get(name)) for name, codes in wanted.items()
    )
    taken: dict[str, str] = {}
    for lab in labs:
        for code in lab.codes:
            if taken.setdefault(code, lab.name) != lab.name:
                msg = (
                    f"codes: expected each code in one lab, got {code!r} in {taken[code]!r} and "
                    f"{lab.name!r}. Leave it out of one of them."
                )
                raise ConfigurationError(msg)
    return labs


def check_known(names: Mapping[str, Any], labs: Mapping[str, Any], what: str) -> None:
    """Raise `ConfigurationError` unless every key of `names` is a lab."""
    strangers = [name for name in names if name not in labs]
    if strangers:
        hint = suggestion(strangers[0], labs)
        msg = f"{what}: expected names of labs in codes, got {quoted(strangers)}.{hint}"
        raise ConfigurationError(msg)


def _read_codes(codes: Any) -> dict[str, tuple[str, ...] | None]:
    if isinstance(codes, str):
        codes = [codes]
    if isinstance(codes, Sequence):
        codes = dict.fromkeys(codes)
    if not isinstance(codes, Mapping) or not codes:
        msg = (
            "codes: expected labs with their codes such as {'crp': ['1988-5', 'CRP']}, or names of "
            f"known labs, got {type(codes).__name__}."
        )
        raise ConfigurationError(msg)
    return {_check_name(name): _check_codes(name, own) for name, own in codes.items()}


def _check_name(name: Any) -> str:
    if isinstance(name, str) and name.strip():
        return name
    raise ConfigurationError("codes: expected names of labs that are text and not blank.")


def _check_codes(name: str, codes: Any) -> tuple[str, ...] | None:
    if codes is None:
        return None
    own = tuple(codes) if isinstance(codes, Iterable) and not isinstance(codes, str) else (codes,)
    texts = tuple(_code_as_text(code) for code in own)
    if not texts or not all(texts):
        msg = (
            f"codes[{name!r}]: expected a code or a list of them as text or whole numbers, as they "
            "stand in the events, or None for the LOINC codes of a known lab."
        )
        raise ConfigurationError(msg)
    return texts


def _code_as_text(code: Any) -> str:
    """Return a code as events hold it, a whole number as its digits; empty if it is none."""
    if isinstance(code, numbers.Integral) and not isinstance(code, bool):
        return str(int(code))
    return str(code) if isinstance(code, str) else ""


def _make_lab(name: str, codes: tuple[str, ...] | None, unit: str | None, span: Any) -> Lab:
    quantity = _USUAL_NAMES.get(name.lower(), name.lower())
    known = QUANTITIES.get(quantity)
    if codes is None:
        if quantity not in LOINC:
            msg = (
                f"codes[{name!r}]: expected codes for a lab that is not known by name. Known are "
                f"{quoted(LOINC, limit=20)}.{suggestion(name, LOINC)}"
            )
            raise ConfigurationError(msg)
        codes = LOINC[quantity]
    if known is None:
        if unit is None:
            msg = (
                f"units: expected the unit of {name!r}, which is not a known quantity. "
                f"Pass for example units={{{name!r}: 'U/L'}}, in which all of its events must be."
            )
            raise ConfigurationError(msg)
        return Lab(name, codes, None, unit, *_read_span(name, span))
    own = known.unit if unit is None else find_unit(unit, quantity)
    if span is not None:
        return Lab(name, codes, quantity, own, *_read_span(name, span))
    factor = float(known.factors[known.unit] / known.factors[own])
    low, high = (bound * factor for bound in known.possible)
    return Lab(name, codes, quantity, own, low, high)


def _read_span(name: str, span: Any) -> tuple[float, float]:
    if span is None:
        return float("-inf"), float("inf")
    try:
        low, high = (float(bound) for bound in span)
    except (TypeError, ValueError):
        low, high = 1.0, 0.0
    if low < high:
        return low, high
    msg = f"ranges[{name!r}]: expected the lowest and the highest possible value, rising."
    raise ConfigurationError(msg)
