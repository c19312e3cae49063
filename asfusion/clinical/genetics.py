"""Arithmetic of genetic risk: sums of log odds, and the odds ratio of carriage."""

from __future__ import annotations

from typing import Any

import numpy as np

from asfusion._door import public
from asfusion.clinical._vector import Inputs, Values, read_items
from asfusion.exceptions import InputError


@public
def risk_score_log_odds(dosages: Any, odds_ratios: Any) -> Any:
    """Return the weighted sum of risk alleles: ``sum(dosage * ln(odds ratio))``.

    Arithmetic only. Which allele carries the risk, whether the weights suit a patient's
    ancestry and whether HLA-B27 is counted twice is for the caller to settle.

    Parameters
    ----------
    dosages : sequence, array of shape (..., n_variants) or DataFrame
        Copies of the risk allele of each variant, 0 to 2; imputed dosages may be fractions.
    odds_ratios : sequence of n_variants numbers
        Odds ratio of one copy of each variant, above 0 to 1000.

    Returns
    -------
    float, list, array or Series
        Log odds relative to no risk allele; missing where a dosage is missing.

    Raises
    ------
    InputError
        If the two differ in length, a dosage lies outside 0 to 2, or an odds ratio is not
        above 0.

    Notes
    -----
    Units: log odds (natural logarithm).

    References
    ----------
    Li Z, Wu X, Leo PJ, et al. Polygenic risk scores have high diagnostic capacity in
    ankylosing spondylitis. Ann Rheum Dis 2021;80:1168-1174.
    doi:10.1136/annrheumdis-2020-219446

    Examples
    --------
    >>> from asfusion.clinical import risk_score_log_odds
    >>> round(risk_score_log_odds([2, 1], [1.61, 1.29]), 3)
    1.207
    """
    score = "risk_score_log_odds"
    variants = read_items(score, "dosages", dosages)
    ratios = read_items(score, "odds_ratios", odds_ratios, len(variants))
    given = Inputs(score, **{f"dosage_{i}": item for i, item in enumerate(variants, start=1)})
    weights = Inputs(score, **{f"odds_ratio_{i}": item for i, item in enumerate(ratios, start=1)})
    total = np.zeros(given.shape)
    for i in range(1, len(variants) + 1):
        ratio = weights.numbers(f"odds_ratio_{i}", 0, 1000, "unitless")
        if np.isnan(ratio).any() or (ratio == 0).any():
            msg = (
                f"{score}: odds_ratio_{i}: expected a number above 0, got 0 or a missing one. "
                "Leave out the variant, or pass its odds ratio."
            )
            raise InputError(msg)
        total = total + given.numbers(f"dosage_{i}", 0, 2, "copies") * np.log(ratio)
    return given.give_numbers(total, score)


@public
def odds_ratio(case_freq: Values, control_freq: Values) -> Any:
    """Return the odds ratio of carriage from its frequency in cases and in controls.

    Parameters
    ----------
    case_freq, control_freq : number, list, array, pandas or polars Series
        Share of carriers, 0 to 1.

    Returns
    -------
    float, list, array or Series
        ``(p / (1 - p)) / (q / (1 - q))``; missing where a frequency is missing, or where the
        ratio is undefined because a group has no carriers or no others.

    Raises
    ------
    InputError
        If a frequency lies outside 0 to 1, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Cornfield J. A method of estimating comparative rates from clinical data. J Natl Cancer
    Inst 1951;11:1269-1275. doi:10.1093/jnci/11.6.1269

    Examples
    --------
    >>> from asfusion.clinical import odds_ratio
    >>> round(odds_ratio(0.8, 0.5), 6)
    4.0
    """
    given = Inputs("odds_ratio", case_freq=case_freq, control_freq=control_freq)
    case = given.numbers("case_freq", 0, 1, "share")
    control = given.numbers("control_freq", 0, 1, "share")
    defined = (case > 0) & (case < 1) & (control > 0) & (control < 1)
    p, q = np.where(defined, case, 0.5), np.where(defined, control, 0.5)
    ratio = p * (1 - q) / ((1 - p) * q)
    return given.give_numbers(np.where(defined, ratio, np.nan), "odds_ratio")
