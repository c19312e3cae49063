"""What is known of the three groups of patients, as distributions to draw from.

Numbers stand in the order of `GROUPS`. Each margin names its source; what no source gives
is marked as assumed, and the guide to the cohort repeats it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Groups = NDArray[np.int64]
Three = tuple[float, float, float]

GROUPS: Final = ("back pain", "nr-axSpA", "AS")
SHARES: Final[Three] = (0.50, 0.28, 0.22)
_GESPIC = "Rudwaleit 2009, doi:10.1002/art.24483"
_ASAS = "Rudwaleit 2009, doi:10.1136/ard.2009.108233"


@dataclass(frozen=True)
class Margin:
    """The distribution of one quantity in each group.

    Parameters
    ----------
    kind : {"normal", "beta", "lognormal", "counts"}
        Family. ``"beta"`` lies between `low` and `high`, ``"counts"`` is negative binomial.
    mean, sd : tuple of float
        By group, in the unit of the quantity.
    low, high : float
        Range, in the same unit; values beyond are set to its ends.
    source : str
        Where mean and sd come from, or what was assumed.
    """

    kind: Literal["normal", "beta", "lognormal", "counts"]
    mean: Three
    sd: Three
    low: float
    high: float
    source: str

    def quantile(self, normal: Floats, group: Groups) -> Floats:
        """Return values of the given standard normal scores (N,), by the group of each row."""
        out = np.empty(len(normal))
        for number in range(len(GROUPS)):
            rows = group == number
            out[rows] = self._of(normal[rows], self.mean[number], self.sd[number])
        return np.clip(out, self.low, self.high)

    def _of(self, normal: Floats, mean: float, sd: float) -> Floats:
        from scipy import stats

        if self.kind == "normal":
            return mean + sd * normal
        if self.kind == "lognormal":
            variance = np.log1p((sd / mean) ** 2)
            return np.asarray(np.exp(np.log(mean) - variance / 2 + np.sqrt(variance) * normal))
        share = stats.norm.cdf(normal)
        if self.kind == "counts":
            size = mean**2 / (sd**2 - mean)
            return np.asarray(stats.nbinom.ppf(share, size, size / (size + mean)))
        width = self.high - self.low
        centre, spread = (mean - self.low) / width, (sd / width) ** 2
        size = centre * (1 - centre) / spread - 1
        return np.asarray(
            self.low + width * stats.beta.ppf(share, centre * size, (1 - centre) * size)
        )


# The order of the correlation matrix below.
COPULA: Final[dict[str, Margin]] = {
    "age": Margin("normal", (36.5, 36.1, 35.6), (10.9, 10.6, 10.2), 18, 75, _GESPIC),
    "duration": Margin(
        "lognormal", (5.0, 3.1, 5.0), (5.0, 2.2, 2.8), 0.25, 40,
        f"{_GESPIC}; back pain assumed, between 1.2 years (SPACE) and 9.1 years (ASAS)",
    ),
    "basdai": Margin("beta", (4.3, 3.9, 4.0), (2.1, 2.0, 2.1), 0, 10, _GESPIC),
    "basfi": Margin("beta", (2.5, 2.5, 3.1), (2.2, 2.1, 2.5), 0, 10, f"{_GESPIC}; back pain: same"),
    "basmi": Margin(
        "beta", (1.6, 1.1, 2.0), (1.5, 1.3, 1.8), 0, 10, f"{_GESPIC}; back pain assumed, not lower"
    ),
    "crp": Margin(
        "lognormal", (3.9, 5.7, 9.6), (5.1, 6.5, 9.9), 0.1, 250,
        "GESPIC subset, SPACE for back pain; spread of back pain assumed",
    ),
    "esr": Margin(
        "lognormal", (9.5, 12.0, 17.0), (8.0, 11.0, 15.0), 1, 130,
        "assumed between new-onset and treated cohorts",
    ),
    "msasss": Margin(
        "counts", (0.5, 2.3, 5.9), (1.2, 4.3, 10.3), 0, 72, f"{_GESPIC}; back pain assumed low"
    ),
    "bmi": Margin(
        "lognormal", (25.5, 25.0, 26.0), (4.8, 4.5, 4.5), 15, 55, "Dutch cohort; others assumed"
    ),
}  # fmt: skip

# A study of damage takes patients who have some. Over all groups the mean is near the 11.6
# (standard deviation 16.2) of OASIS; the groups are assumed.
STUDY_MSASSS: Final = Margin(
    "counts", (2.0, 14.0, 28.0), (4.0, 12.0, 16.0), 0, 72,
    "Ramiro 2015, doi:10.1136/annrheumdis-2013-204055; by group assumed",
)  # fmt: skip

# Partly published, partly assumed; positive definite.
CORRELATION: Final = np.array(
    [
        [1.00, 0.55, 0.05, 0.25, 0.50, 0.05, 0.15, 0.50, 0.20],
        [0.55, 1.00, 0.00, 0.20, 0.40, 0.05, 0.05, 0.45, 0.10],
        [0.05, 0.00, 1.00, 0.60, 0.25, 0.15, 0.15, 0.05, 0.15],
        [0.25, 0.20, 0.60, 1.00, 0.50, 0.25, 0.25, 0.35, 0.15],
        [0.50, 0.40, 0.25, 0.50, 1.00, 0.25, 0.25, 0.60, 0.15],
        [0.05, 0.05, 0.15, 0.25, 0.25, 1.00, 0.60, 0.20, 0.20],
        [0.15, 0.05, 0.15, 0.25, 0.25, 0.60, 1.00, 0.15, 0.10],
        [0.50, 0.45, 0.05, 0.35, 0.60, 0.20, 0.15, 1.00, 0.10],
        [0.20, 0.10, 0.15, 0.15, 0.15, 0.20, 0.10, 0.10, 1.00],
    ]
)

# Blood counts in 10^9/L, haemoglobin in g/L; back pain assumed between patients and healthy.
_BLOOD = "new-onset AS; nr-axSpA like AS, back pain assumed between AS and healthy"
BLOOD: Final[dict[str, Margin]] = {
    "neutrophils": Margin("lognormal", (4.35, 4.65, 4.78), (1.3, 1.4, 1.42), 1.0, 20, _BLOOD),
    "lymphocytes": Margin("lognormal", (2.05, 1.95, 1.90), (0.5, 0.5, 0.48), 0.4, 8, _BLOOD),
    "platelets": Margin("lognormal", (262.0, 280.0, 289.0), (58.0, 70.0, 80.0), 80, 700, _BLOOD),
}
MALE: Final[Three] = (0.326, 0.429, 0.640)
SMOKER: Final[Three] = (0.25, 0.258, 0.339)
UVEITIS: Final[Three] = (0.07, 0.194, 0.235)

# Share with the feature, axSpA and back pain: Rudwaleit 2009 (part II), ASAS cohort. The
# items of inflammatory back pain are assumed, such that the criteria come out as published.
FEATURES: Final[dict[str, tuple[float, float]]] = {
    "insidious": (0.86, 0.68),
    "better_exercise": (0.82, 0.57),
    "no_better_rest": (0.78, 0.58),
    "night_pain": (0.78, 0.54),
    "alternating_buttock": (0.45, 0.25),
    "psoriasis": (0.084, 0.050),
    "ibd": (0.038, 0.012),
    "enthesitis": (0.402, 0.302),
    "heel": (0.169, 0.140),
    "dactylitis": (0.066, 0.012),
    "arthritis": (0.363, 0.178),
    "family_history": (0.233, 0.186),
    "nsaid_response": (0.591, 0.267),
}
STIFFNESS_MIN: Final = Margin(
    "lognormal", (28.0, 52.0, 58.0), (30.0, 48.0, 52.0), 0, 300, "assumed, minutes"
)
FEATURE_SOURCE: Final = _ASAS
