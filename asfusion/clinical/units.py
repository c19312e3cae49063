"""Declared units: convert them, check that they fit the numbers, find sites that differ.

A CRP in mg/dL read as mg/L moves an ASDAS by a whole disease state, and no number looks
wrong on the way. So a unit is declared, or the numbers are refused where they could be in
another one; it is never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from asfusion._cells import is_missing
from asfusion._door import public
from asfusion.clinical._site_units import Spread, compare_sites, read_sites
from asfusion.clinical._unit_table import Quantity, factor_between, find_quantity, find_unit
from asfusion.clinical._vector import Floats, Inputs
from asfusion.exceptions import UnitError

# With fewer values than this, their median says too little on the group.
_ENOUGH = 8
# Groups of patients differ up to about fourfold in CRP; a unit makes it ten at least.
_FAR = 4.5
# How far a ratio may be from that of two units and still be explained by them.
_NEAR = 2.2


@public
def to_mg_per_l(crp: Any, unit: str | None = None) -> Any:
    """Return C-reactive protein (CRP) in mg/L.

    Parameters
    ----------
    crp : number, sequence, array, Series or quantity with a unit
        CRP. A quantity (of pint, for example) says its own unit.
    unit : str, optional
        ``"mg/L"``, ``"mg/dL"``, ``"ug/mL"``, ``"g/L"`` or ``"nmol/L"``, in any usual
        spelling. Needed unless `crp` says its own.

    Returns
    -------
    same container as crp
        CRP in mg/L; missing stays missing.

    Raises
    ------
    UnitError
        If the unit is unknown, not declared, or contradicts that of the quantity.
    InputError
        If a value is not a number.

    Notes
    -----
    ``nmol/L`` is read as 9.524 nmol/L per mg/L (105 kDa), the factor with which
    journals print it [1]_. The pentamer itself is heavier, about 115 kDa, so a
    value of an assay that was calibrated by that mass comes out 9 % low.

    References
    ----------
    .. [1] Iverson et al., "AMA Manual of Style", 11th ed., 2020, section 17.5.
       https://doi.org/10.1093/jama/9780190246556.001.0001

    Examples
    --------
    >>> from asfusion.clinical.units import to_mg_per_l
    >>> to_mg_per_l(1.4, "mg/dL")
    14.0
    >>> to_mg_per_l([0.6, None], "mg/dL")
    [6.0, None]
    """
    return convert(crp, "crp", unit)


@public
def convert(values: Any, quantity: str, unit: str | None = None, *, to: str | None = None) -> Any:
    """Return measurements in another unit of the same quantity.

    Parameters
    ----------
    values : number, sequence, array, Series or quantity with a unit
        Measurements. A quantity (of pint, for example) says its own unit.
    quantity : str
        What was measured, such as ``"crp"``, ``"haemoglobin"`` or ``"modified_schober"``.
    unit : str, optional
        Unit of the values, in any usual spelling. Needed unless the values say their own.
    to : str, optional
        Unit wanted; by default the standard unit of the quantity (mg/L for CRP, mm/h for
        ESR, g/L for haemoglobin, 10^9/L for cells, cm for lengths, deg for angles).

    Returns
    -------
    same container as values
        Converted measurements as floats; missing stays missing.

    Raises
    ------
    UnitError
        If a unit is unknown, not declared, or contradicts that of the values.
    ConfigurationError
        If the quantity is unknown.
    InputError
        If a value is not a number.

    Notes
    -----
    Haemoglobin in mmol/L counts single chains (16.114 g/mmol), as laboratories that report
    it do: 1 g/dL is 0.6206 mmol/L. A value per whole molecule is four times smaller.

    Examples
    --------
    >>> from asfusion.clinical.units import convert
    >>> convert([13.9, 15.1], "haemoglobin", "g/dL")
    [139.0, 151.0]
    >>> convert(5.0, "modified_schober", "cm", to="mm")
    50.0
    """
    found = find_quantity(quantity)
    bare, own = _split_quantity(values, quantity)
    unit = _agree(quantity, unit, own)
    target = found.unit if to is None else find_unit(to, quantity)
    return _scaled(bare, quantity, factor_between(quantity, unit, target))


@public
def check_units(values: Any, quantity: str, unit: str | None = None) -> str:
    """Check that measurements can be in their unit, and return it.

    Without a declared unit, they must look like the standard unit and like no other: a
    CRP column whose median is below 2 may well be in mg/dL, and is refused until its unit
    is declared.

    Parameters
    ----------
    values : number, sequence, array, Series or quantity with a unit
        Measurements; missing ones are left out of the check.
    quantity : str
        What was measured, such as ``"crp"``.
    unit : str, optional
        Unit of the values, in any usual spelling.

    Returns
    -------
    str
        The unit, in the library's spelling, ready for `convert`.

    Raises
    ------
    UnitError
        If a value is impossible in the declared unit; or, where none is declared, if one
        is impossible or the median untypical in the standard unit.
    ConfigurationError
        If the quantity is unknown.
    InputError
        If a value is not a number.

    Examples
    --------
    >>> from asfusion.clinical.units import check_units
    >>> check_units([4.0, 11.2, 25.0], "crp", "mg/l")
    'mg/L'
    >>> check_units([0.4, 1.1, 2.5, 0.3, 0.9, 0.2, 0.6, 3.1], "crp")
    Traceback (most recent call last):
        ...
    asfusion.exceptions.UnitError: Values of 'crp': expected a declared unit, ...
    """
    found = find_quantity(quantity)
    bare, own = _split_quantity(values, quantity)
    declared = own is not None or unit is not None
    unit = _agree(quantity, unit, own) if declared else found.unit
    known = _read(bare, quantity).ravel()
    known = known[~np.isnan(known)] * float(factor_between(quantity, unit, found.unit))
    low, high = found.possible
    outside = int(np.count_nonzero((known < low) | (known > high)))
    if outside:
        _refuse_impossible(quantity, found, unit, outside, len(known), declared=declared)
    if not declared and _is_untypical(found, known):
        others = ", ".join(key for key in found.factors if key != found.unit)
        msg = (
            f"Values of {quantity!r}: expected a declared unit, because the median of the "
            f"{len(known)} values is outside what groups of patients have in {found.unit}. "
            f"Pass the unit that the values are in ({found.unit}{', ' * bool(others)}{others})."
        )
        raise UnitError(msg)
    return unit


@dataclass(frozen=True)
class SiteUnit:
    """One site's measurements against those of the other sites.

    Parameters
    ----------
    site : object
        The site, as given.
    n : int
        Rows with a value.
    n_missing : int
        Rows without one.
    ratio : float or None
        The site's quantile over that of the other site at the middle distance; None if there
        is too little to say.
    quantile : float or None
        Which quantile was compared: 0.5, or a higher one above a detection limit.
    is_flagged : bool
        Whether the site probably reports in another unit.
    likely_unit : str or None
        The unit that would explain the ratio, if a known one does.

    Examples
    --------
    >>> from asfusion.clinical.units import flag_site_units
    >>> found = flag_site_units([4.0, 9.0, None], ["A", "A", "B"], "crp")
    >>> found.sites[1]
    SiteUnit(site='B', n=0, n_missing=1, ratio=None, ..., is_flagged=False, likely_unit=None)
    """

    site: Any
    n: int
    n_missing: int
    ratio: float | None
    quantile: float | None
    is_flagged: bool
    likely_unit: str | None


@dataclass(frozen=True)
class SiteUnits:
    """What `flag_site_units` found.

    Iterating gives the flagged sites.

    Parameters
    ----------
    sites : tuple of SiteUnit
        Every site, in the order of first appearance.
    n_rows : int
        All rows: those of the sites and those without a site.
    n_without_site : int
        Rows whose site is missing; they are in no `SiteUnit`.

    Examples
    --------
    >>> from asfusion.clinical.units import flag_site_units
    >>> found = flag_site_units([4.0, 9.0, 5.0], ["A", "A", None], "crp")
    >>> len(found), [site.site for site in found.not_judged], found.n_without_site
    (0, ['A'], 1)
    """

    sites: tuple[SiteUnit, ...]
    n_rows: int
    n_without_site: int

    @property
    def flagged(self) -> tuple[SiteUnit, ...]:
        """Sites that probably report in another unit."""
        return tuple(site for site in self.sites if site.is_flagged)

    @property
    def not_judged(self) -> tuple[SiteUnit, ...]:
        """Sites with too few values, or too many at a detection limit, to say."""
        return tuple(site for site in self.sites if site.ratio is None)

    def __iter__(self) -> Iterator[SiteUnit]:
        """Return an iterator over the flagged sites."""
        return iter(self.flagged)

    def __len__(self) -> int:
        """Return the number of flagged sites."""
        return len(self.flagged)


@public
def flag_site_units(values: Any, site: Any, quantity: str, unit: str | None = None) -> SiteUnits:
    """Find sites that probably report a quantity in another unit than the others.

    A site is flagged if its median is at least 4.5 times higher or lower than that of most
    other sites and the 99 % intervals of the medians do not overlap. Where more than half
    of the values sit at a detection limit, the third quartile or ninth decile is compared.
    Fewer than eight values flag nothing. With two sites, or two camps of sites, each differs
    from the other: both are flagged unless only one of them is typical of the unit.

    Parameters
    ----------
    values : sequence, array or Series of shape (N,)
        Measurements of one quantity, some perhaps missing.
    site : sequence, array or Series of shape (N,)
        Site of each row.
    quantity : str
        What was measured, such as ``"crp"``.
    unit : str, optional
        Unit that all sites were asked for; the standard unit of the quantity by default.

    Returns
    -------
    SiteUnits
        Every site with its counts, its ratio and the verdict.

    Raises
    ------
    InputError
        If a value is not a number or sites and values differ in length.
    UnitError
        If the quantity has no such unit.
    ConfigurationError
        If the quantity is unknown.

    Examples
    --------
    >>> from asfusion.clinical.units import flag_site_units
    >>> crp = [4.0, 5.0, 8.0, 9.0, 12.0, 14.0, 15.0, 18.0, 25.0, 30.0]
    >>> values = crp + [v + 1.0 for v in crp] + [v / 10.0 for v in crp]
    >>> found = flag_site_units(values, ["A"] * 10 + ["B"] * 10 + ["C"] * 10, "crp")
    >>> [(s.site, s.n, round(s.ratio, 2), s.likely_unit) for s in found]
    [('C', 10, 0.1, 'mg/dL')]
    """
    found = find_quantity(quantity)
    unit = found.unit if unit is None else find_unit(unit, quantity)
    cells = _read(values, quantity).ravel()
    sites = read_sites(site, len(cells))
    rows: dict[Any, list[int]] = {}
    for row, name in enumerate(sites):
        rows.setdefault(name, []).append(row)
    unplaced = len(rows.pop(None, []))
    known = {name: cells[at][~np.isnan(cells[at])] for name, at in rows.items()}
    spreads = compare_sites(known)
    judged = tuple(
        _judge_site(name, len(known[name]), len(rows[name]), spreads[name], quantity, unit)
        for name in rows
    )
    return SiteUnits(judged, len(cells), unplaced)


def _judge_site(
    site: Any, n: int, n_rows: int, spread: Spread | None, quantity: str, unit: str
) -> SiteUnit:
    if spread is None:
        return SiteUnit(site, n, n_rows - n, None, None, False, None)
    ratio = spread.own / spread.others
    far = abs(math.log(ratio)) >= math.log(_FAR)
    flagged = far and spread.is_apart and not _fits_alone(spread, quantity, unit)
    likely = _explain(ratio, quantity, unit) if flagged else None
    return SiteUnit(site, n, n_rows - n, ratio, spread.quantile, flagged, likely)


def _fits_alone(spread: Spread, quantity: str, unit: str) -> bool:
    """Return whether the site is typical of the unit and the others are not."""
    found = find_quantity(quantity)
    if found.typical is None or spread.quantile != 0.5:
        return False
    factor = float(factor_between(quantity, unit, found.unit))
    low, high = found.typical
    own, others = spread.own * factor, spread.others * factor
    return low <= own <= high and not low <= others <= high


def _explain(ratio: float, quantity: str, unit: str) -> str | None:
    """Return the unit whose numbers would be about `ratio` times those in `unit`."""
    factors = find_quantity(quantity).factors
    misses = {
        other: abs(math.log(ratio) - math.log(float(factor_between(quantity, unit, other))))
        for other in factors
        if factors[other] != factors[unit]
    }
    best = min(misses, key=misses.__getitem__, default=None)
    return best if best is not None and misses[best] < math.log(_NEAR) else None


def _is_untypical(quantity: Quantity, known: Floats) -> bool:
    """Return whether the median in the standard unit is that of no group of patients."""
    if quantity.typical is None or len(known) < _ENOUGH:
        return False
    low, high = quantity.typical
    return not low <= float(np.median(known)) <= high


def _read(values: Any, name: str) -> Floats:
    given = Inputs(f"Values of {name!r}", values=values)
    return given.numbers("values", -math.inf, math.inf, "any unit")


def _split_quantity(values: Any, name: str) -> tuple[Any, str | None]:
    """Return the numbers and the unit that a quantity object carries, if it is one."""
    if not (hasattr(values, "magnitude") and hasattr(values, "units")):
        return values, None
    try:
        return values.magnitude, find_unit(values.units, name)
    except UnitError:
        unit = find_quantity(name).unit
    try:
        return values.to(unit).magnitude, unit
    except Exception as error:
        # Each unit package has errors of its own, and none is imported here.
        msg = (
            f"Values of {name!r}: expected a quantity that can be in {unit}, got one in "
            f"'{values.units}'. Convert it first, or pass numbers and their unit."
        )
        raise UnitError(msg) from error


def _agree(name: str, declared: str | None, own: str | None) -> str:
    """Return the one unit that was declared, by the caller or by the values."""
    if declared is None and own is None:
        unit = find_quantity(name).unit
        msg = (
            f"Values of {name!r}: expected a declared unit, got none. "
            f"Pass the unit that they are in, for example unit={unit!r}."
        )
        raise UnitError(msg)
    if declared is None:
        return str(own)
    unit = find_unit(declared, name)
    if own is not None and own != unit:
        msg = (
            f"Values of {name!r}: expected one unit, got quantities in {own} and "
            f"unit={declared!r}. Leave unit out, because the quantities say their own."
        )
        raise UnitError(msg)
    return unit


def _refuse_impossible(
    name: str, quantity: Quantity, unit: str, outside: int, n: int, *, declared: bool
) -> None:
    factor = float(factor_between(name, quantity.unit, unit))
    low, high = (bound * factor for bound in quantity.possible)
    how = "declared" if declared else "assumed, because none was declared"
    msg = (
        f"Values of {name!r}: expected {low:g} to {high:g} {unit} ({how}), got {outside} of "
        f"{n} outside. Check the unit, and correct or blank out values that are errors of entry."
    )
    raise UnitError(msg)


def _scaled(values: Any, name: str, factor: Fraction) -> Any:
    """Return `values` times `factor` in their own container."""
    given = Inputs(f"Values of {name!r}", values=values)
    cells = given.numbers("values", -math.inf, math.inf, "any unit")
    # One multiplication and one division keep 0.6 mg/dL at 6.0 and 6.0 mg/L at 0.6.
    scaled = cells * float(factor.numerator) / float(factor.denominator)
    if not isinstance(values, list | tuple) or scaled.ndim != 1:
        return given.give_numbers(scaled, name)
    pairs = zip(values, scaled.tolist(), strict=True)
    return type(values)([cell if is_missing(cell) else number for cell, number in pairs])
