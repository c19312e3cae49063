"""Whether columns of new rows are distributed as those of a reference.

Dimensions: N rows, K bins or levels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame
from asfusion.clinical._unit_table import QUANTITIES, factor_between
from asfusion.clinical.provenance import standard_name
from asfusion.exceptions import ColumnError
from asfusion.sites._sums import FEWEST, LevelSums, NumberSums, Sums, cells_of

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_FAR = 3.0  # times as large: nearer, another unit is not to be told from other patients
_NEAR = 1.8  # times what a change of unit would make it
_ALIKE = 0.6  # spreads from the reference, once converted
_POWERS = (10.0, 100.0, 1000.0)


@dataclass(frozen=True)
class Finding:
    """One comparison of new rows with the reference.

    Parameters
    ----------
    name : str
        Column, modality, or what of the outcome.
    kind : {"distribution", "missing", "prevalence", "intercept", "slope", "discrimination"}
        What was compared.
    reference, new : float
        Mean or share of the most changed level; share of missing cells; or the measure itself.
    shift : float
        The difference: of numbers in standard deviations of the reference.
    p_value : float
        Of this comparison alone.
    adjusted : float
        After Holm's correction for all comparisons of its half: inputs, or outcome.
    is_found : bool
        Whether it differs, at 5 % for all comparisons together.
    unit : str
        In which unit the numbers of a column seem to be, or by which factor; empty mostly.
    """

    name: str
    kind: str
    reference: float
    new: float
    shift: float
    p_value: float
    adjusted: float = np.nan
    is_found: bool = False
    unit: str = ""


def compare_columns(columns: Mapping[str, Sums], frame: Frame, n_rows: int) -> list[Finding]:
    """Return what is compared of each column: cells, and how many are missing."""
    found = []
    for name, sums in columns.items():
        known = frame.known(name)
        found.append(_missing(name, sums.n_missing, n_rows, int((~known).sum()), len(frame)))
        if known.sum() < 2 * FEWEST:
            continue
        compare = _numbers if isinstance(sums, NumberSums) else _levels
        finding = compare(name, sums, frame)  # type: ignore[arg-type]
        if finding is not None:
            found.append(finding)
    return found


def compare_presence(
    presence: Mapping[str, int], n_rows: int, there: Mapping[str, Any]
) -> list[Finding]:
    """Return what is compared of each modality: how many rows lack it."""
    return [
        _missing(name, n_rows - n, n_rows, int((~there[name]).sum()), len(there[name]))
        for name, n in presence.items()
        if name in there
    ]


def _missing(name: str, before: int, n_before: int, now: int, n_now: int) -> Finding:
    from scipy.stats import fisher_exact

    before = before or _unseen(now, n_now, n_before)
    table = [[before, n_before - before], [now, n_now - now]]
    p_value = float(fisher_exact(table).pvalue)
    shares = before / n_before, now / n_now
    return Finding(name, "missing", *shares, shares[1] - shares[0], p_value)


def _unseen(now: int, n_now: int, n_before: int) -> int:
    """Return how many of a count that is not told may have been: what would differ least."""
    return min(FEWEST - 1, round(now / n_now * n_before))


def _numbers(name: str, sums: NumberSums, frame: Frame) -> Finding | None:
    values = _read(frame, name)
    values = values[~np.isnan(values)]
    before, now = np.asarray(sums.counts), sums.count(values)
    mean = float(values.mean())
    shift = (mean - sums.mean) / sums.spread if sums.spread > 0 else math.inf * (mean != sums.mean)
    if len(before) < 2:
        differs = not math.isclose(mean, sums.mean, rel_tol=1e-9, abs_tol=1e-12)
        p_value = 0.0 if sums.spread == 0 and differs else 1.0
        return Finding(name, "distribution", sums.mean, mean, shift if differs else 0.0, p_value)
    # Where values lie, and what shape they have: two looks, hence the factor.
    p_value = min(1.0, 2.0 * min(_by_rank(before, now), _by_counts(before, now)))
    return Finding(
        name, "distribution", sums.mean, mean, shift, p_value, unit=_unit(name, sums, values)
    )


def _levels(name: str, sums: LevelSums, frame: Frame) -> Finding:
    cells = [cell for cell in cells_of(frame, name) if cell is not None]
    before, now = np.asarray(sums.counts), sums.count(cells)
    if not before[-1]:
        before[-1] = _unseen(int(now[-1]), int(now.sum()), int(before.sum()))
    shares = before / before.sum(), now / now.sum()
    most = int(np.abs(shares[1] - shares[0]).argmax())
    share = float(shares[0][most]), float(shares[1][most])
    return Finding(name, "distribution", *share, share[1] - share[0], _by_counts(before, now))


def _read(frame: Frame, name: str) -> Floats:
    if frame.kind(name) not in ("number", "boolean"):
        msg = (
            f"Column {name!r}: expected numbers, as in the reference, got another kind of cells. "
            "Convert it, or read the column as it was read there."
        )
        raise ColumnError(msg)
    return frame.numbers(name)


# -- tests on counts -------------------------------------------------------------------


def _by_rank(before: Counts, now: Counts) -> float:
    """Return the p-value of the rank-sum test on bins, ties taken into account."""
    from scipy.stats import norm

    both, m, n = before + now, int(before.sum()), int(now.sum())
    ranks = np.cumsum(both) - (both - 1) / 2.0
    total = m + n
    excess = float(now @ ranks) - n * (total + 1) / 2.0
    ties = float((both.astype(float) ** 3 - both).sum()) / (total * (total - 1))
    variance = m * n / 12.0 * (total + 1 - ties)
    return float(2.0 * norm.sf(abs(excess) / math.sqrt(variance))) if variance > 0 else 1.0


def _by_counts(before: Counts, now: Counts) -> float:
    """Return the p-value of the chi-squared test, rare bins put together."""
    from scipy.stats import chi2_contingency, fisher_exact

    both = before + now
    before, now = before[both > 0], now[both > 0]
    least = min(before.sum(), now.sum()) * (before + now) / (before.sum() + now.sum())
    rare = least < FEWEST
    if rare.sum() > 1:
        before = np.append(before[~rare], before[rare].sum())
        now = np.append(now[~rare], now[rare].sum())
    if len(before) < 2:
        return 1.0
    table = np.stack([before, now])
    if len(before) == 2:
        return float(fisher_exact(table).pvalue)
    return float(chi2_contingency(table, correction=False).pvalue)


# -- units -----------------------------------------------------------------------------


def _unit(name: str, sums: NumberSums, values: Floats) -> str:
    """Return the unit in which numbers seem to be, where one makes them like the reference."""
    middle = float(np.median(values))
    if sums.middle * middle <= 0 or sums.spread <= 0:
        return ""
    ratio = middle / sums.middle
    if abs(math.log(ratio)) < math.log(_FAR):
        return ""
    misses = {
        told: abs(math.log(ratio / factor))
        for told, factor in _candidates(name).items()
        if _fits(sums, values / factor)
    }
    best = min(misses, key=misses.__getitem__, default="")
    return best if best and misses[best] < math.log(_NEAR) else ""


def _fits(sums: NumberSums, converted: Floats) -> bool:
    return abs(float(converted.mean()) - sums.mean) < _ALIKE * sums.spread


def _candidates(name: str) -> dict[str, float]:
    """Return by what numbers are multiplied in another unit, the standard one expected."""
    quantity = standard_name(name) or name.lower()
    found = {f"times {power:g}": power for power in _POWERS}
    found |= {f"divided by {power:g}": 1.0 / power for power in _POWERS}
    if quantity in QUANTITIES:
        own = QUANTITIES[quantity]
        named = {other: float(factor_between(quantity, own.unit, other)) for other in own.factors}
        told = {f"{unit} for {own.unit}": f for unit, f in named.items() if f != 1.0}
        found = told | {k: v for k, v in found.items() if not _among(v, told.values())}
    return found


def _among(value: float, others: Any) -> bool:
    return any(math.isclose(value, other, rel_tol=0.05) for other in others)
