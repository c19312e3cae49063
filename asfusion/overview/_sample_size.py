"""How many patients a model of so many features needs, after Riley and others.

References
----------
.. [1] Riley et al., "Calculating the sample size required for developing a clinical prediction
   model", BMJ 2020;368:m441. https://doi.org/10.1136/bmj.m441
.. [2] Riley et al., "Minimum sample size for developing a multivariable prediction model: Part I -
   Continuous outcomes", Stat Med 2019. https://doi.org/10.1002/sim.7993
.. [3] Riley et al., "Minimum sample size for developing a multivariable prediction model: Part II -
   Binary and time-to-event outcomes", Stat Med 2019. https://doi.org/10.1002/sim.7992
.. [4] van Smeden et al., "Sample size for binary logistic prediction models: beyond events per
   variable criteria", Stat Methods Med Res 2019. https://doi.org/10.1177/0962280218784726
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_SHRINKAGE = 0.9
_MARGIN = 0.05
_ERROR = 0.05
_WITHIN = 1.1  # an upper limit of the mean or the residual spread, over the estimate
_EXPLAINED = 0.15  # of what could be explained, where nothing is known beforehand
_Z = 1.959963984540054
_MOST = 10**9
_RESIDUAL_DF = 234  # by which a residual standard deviation is known to 10 %


@dataclass(frozen=True)
class SampleSize:
    """How many patients there are, and how many are needed at least.

    Parameters
    ----------
    outcome : str
        What is predicted.
    n_patients : int
        Patients with a known outcome; rows, if no patients were given.
    n_events : int or None
        Patients of the rarer class, or who had the event; None for a quantity.
    n_candidates : int
        Candidate features of the tables.
    needed : mapping of str to int
        Fewest patients by criterion: ``"shrinkage"`` (coefficients too extreme by at most
        a tenth), ``"optimism"`` (R2 overstated by at most 0.05), ``"overall"`` (overall risk, or
        mean, known well enough), and ``"error"`` (mean absolute error of probabilities of at most
        0.05) or ``"spread"`` (residual standard deviation known to a tenth).
    counted : str
        What `n_events` counts, for a sentence.
    """

    outcome: str
    n_patients: int
    n_events: int | None
    n_candidates: int
    needed: Mapping[str, int]
    counted: str = "of the rarer class"

    @property
    def minimum(self) -> int:
        """Fewest patients by all criteria."""
        return max(self.needed.values(), default=0)

    @property
    def per_candidate(self) -> float:
        """Events, or patients with a known quantity, per candidate feature."""
        counted = self.n_patients if self.n_events is None else self.n_events
        return counted / max(1, self.n_candidates)


def needed_for_classes(share: float, n_candidates: int, r2: float | None = None) -> dict[str, int]:
    """Return the fewest patients for a binary outcome, by criterion.

    Parameters
    ----------
    share : float
        Share of patients with the outcome, between 0 and 1.
    n_candidates : int
        Number of candidate features.
    r2 : float, optional
        R2 of Cox and Snell that a model is expected to reach; 15 % of the largest by default.
    """
    likelihood = share * math.log(share) + (1 - share) * math.log(1 - share)
    rarer = min(share, 1.0 - share)
    logs = 0.259 * math.log(rarer) + 0.504 * math.log(n_candidates)
    return {
        **_for_fit(n_candidates, likelihood, r2),
        "overall": math.ceil((_Z / _MARGIN) ** 2 * share * (1.0 - share)),
        "error": math.ceil(math.exp((-0.508 + logs - math.log(_ERROR)) / 0.544)),
    }


def needed_for_times(
    rate: float, follow_up: float, horizon: float, n_candidates: int, r2: float | None = None
) -> dict[str, int]:
    """Return the fewest patients for a time to an event, by criterion.

    The event is taken to come at one rate throughout.

    Parameters
    ----------
    rate : float
        Events that were seen, over the time under observation.
    follow_up : float
        Mean time under observation of a patient.
    horizon : float
        By when the overall risk is to be known.
    n_candidates : int
        Number of candidate features.
    r2 : float, optional
        R2 of Cox and Snell that a model is expected to reach; 15 % of the largest by default.
    """
    share = rate * follow_up
    # By so much may the rate be off; the risk by the horizon moves farther where it falls.
    width = math.log1p(_MARGIN * math.exp(rate * horizon)) / horizon
    return {
        **_for_fit(n_candidates, share * math.log(share) - share, r2),
        "overall": math.ceil(rate * (_Z / width) ** 2 / follow_up),
    }


def needed_for_numbers(
    mean: float, spread: float, n_candidates: int, r2: float | None = None
) -> dict[str, int]:
    """Return the fewest patients for a quantity, by criterion.

    Parameters
    ----------
    mean, spread : float
        Mean and standard deviation of the quantity.
    n_candidates : int
        Number of candidate features.
    r2 : float, optional
        Adjusted R2 that a model is expected to reach; 0.15 by default.
    """
    r2 = _EXPLAINED if r2 is None else r2
    needed = {
        "shrinkage": _fewest(lambda n: _shrinkage(n, n_candidates, r2) >= _SHRINKAGE, n_candidates),
        "optimism": math.ceil(1 + n_candidates * (1.0 - r2) / _MARGIN),
        "spread": _RESIDUAL_DF + n_candidates,
    }
    # Of a quantity around zero, a share of the mean says nothing.
    if abs(mean) > 0.1 * spread:
        left = spread * math.sqrt(1.0 - r2)
        asked = (_WITHIN - 1.0) * abs(mean)
        needed["overall"] = _fewest(lambda n: _half_width(n, n_candidates, left) <= asked, 1)
    return needed


def _for_fit(n_candidates: int, likelihood: float, r2: float | None) -> dict[str, int]:
    """Return who is needed for coefficients and R2, by the log-likelihood of a row without any."""
    most = 1.0 - math.exp(2.0 * likelihood)
    r2 = _EXPLAINED * most if r2 is None else r2
    optimism = r2 / (r2 + _MARGIN * most)
    return {
        "shrinkage": _for_shrinkage(n_candidates, r2, _SHRINKAGE),
        "optimism": _for_shrinkage(n_candidates, r2, optimism),
    }


def _for_shrinkage(n_candidates: int, r2: float, shrinkage: float) -> int:
    """Return the patients by whom coefficients need to shrink no more than by a factor."""
    return math.ceil(n_candidates / ((shrinkage - 1.0) * math.log(1.0 - r2 / shrinkage)))


def _shrinkage(n: int, n_candidates: int, r2: float) -> float:
    """Return by which factor coefficients of n patients need to shrink, for a quantity."""
    apparent = (r2 * (n - n_candidates - 1) + n_candidates) / (n - 1)
    return 1.0 + (n_candidates - 2) / (n * math.log(1.0 - apparent)) if apparent < 1.0 else 0.0


def _half_width(n: int, n_candidates: int, left: float) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, max(1, n - n_candidates - 1)) * left / math.sqrt(n))


def _fewest(is_enough: Callable[[int], bool], n_candidates: int) -> int:
    """Return the smallest number of patients that is enough, as more are, too."""
    low, high = n_candidates + 1, 2 * n_candidates + 4
    while not is_enough(high) and high < _MOST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
