"""How often something happened: whole numbers from zero on."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_number
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.targets._base import Floats, Present, Tensor
from asfusion.targets._pools import FLOOR
from asfusion.targets.numbers import Numbers


class Counts(Numbers):
    """Counts, such as flares in a year, whose predicted means are above zero.

    Models learn by the Poisson deviance, whose means are right also where counts vary more than a
    Poisson distribution lets them [1]_, though large counts, which vary most, pull hard. With a
    `dispersion`, networks learn by the deviance of a negative binomial distribution instead, whose
    variance is ``mean + dispersion * mean ** 2``: large counts pull less, and the means are right
    whatever the dispersion. scikit-learn and XGBoost know no such loss: models of theirs learn by
    the Poisson deviance with any dispersion.

    Parameters
    ----------
    dispersion : float or "auto"
        0 is Poisson. ``"auto"`` estimates it for each target from the training rows by their
        moments, as ``(variance - mean) / mean ** 2`` [2]_, or 0 where that is less. A part of it
        the model will explain, so that it is rather too large than too small.

    Attributes
    ----------
    dispersion_ : ndarray of shape (K,)
        That of each target.

    References
    ----------
    .. [1] Gourieroux, Monfort, Trognon, "Pseudo maximum likelihood methods: applications to
       Poisson models", Econometrica 1984. https://doi.org/10.2307/1913472
    .. [2] Anscombe, "Sampling theory of the negative binomial and logarithmic series
       distributions", Biometrika 1950. https://doi.org/10.1093/biomet/37.3-4.358

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.targets import Counts
    >>> target = Counts().fit(np.array([0.0, 2.0, 1.0]))
    >>> target.task
    'counts'
    """

    dispersion_: Floats

    def __init__(self, dispersion: float | Literal["auto"] = 0.0) -> None:
        self.dispersion = dispersion

    def read(self, y: Any, n_rows: int) -> Floats:
        """Return whole numbers (N,) or (N, T) from zero on."""
        self._check_dispersion()
        counts = super().read(y, n_rows)
        wrong = int(((counts < 0) | (counts != np.round(counts))).reshape(n_rows, -1).any(1).sum())
        if wrong:
            msg = (
                f"y: expected whole numbers from 0 on, got others in {wrong} row(s). Use "
                "asfusion.targets.Numbers for what is measured."
            )
            raise InputError(msg)
        return counts

    def _check_dispersion(self) -> None:
        given = self.dispersion
        if isinstance(given, str) and given != "auto":
            raise ConfigurationError(f"dispersion: expected a number or 'auto', got {given!r}.")
        if not isinstance(given, str):
            check_number(given, "dispersion", minimum=0.0)

    def fit(self, y: NDArray[Any]) -> Self:
        """Learn how many targets there are, and how much their counts vary."""
        super().fit(y)
        given = self.dispersion
        self.dispersion_ = (
            moment_dispersion(self.code(y))
            if given == "auto"
            else np.full(self.n_outputs_, float(given))
        )
        return self

    @property
    def task(self) -> str:
        """Name of the scorer by which predictions are judged."""
        return "counts"

    def within(self, values: Floats) -> Floats:
        """Return numbers cut at zero."""
        return np.maximum(values, 0.0)

    def ask(self, model: Any, X: Any) -> Floats:
        """Return predictions (N, K), above zero also from models that know no bound."""
        return np.maximum(super().ask(model, X), FLOOR)

    def linear(self, penalty: float = 1.0) -> Any:
        """Return a Poisson regression; scikit-learn's penalty is for a mean over rows."""
        from sklearn.linear_model import PoissonRegressor

        return PoissonRegressor(alpha=penalty / 100.0, max_iter=1000)

    def deviance(self, outputs: Floats, y: NDArray[Any], weight: Floats) -> float:
        """Return the Poisson deviance, but for a part that is the same for all predictions."""
        means = np.maximum(outputs, FLOOR)
        return float(np.average((means - y * np.log(means)).mean(axis=1), weights=weight))

    def model(self, kind: str, **settings: Any) -> Any:
        """Return an unfitted model that learns by the Poisson deviance, where it can."""
        losses = {
            "boosted": {"loss": "poisson"},
            "forest": {"criterion": "poisson"},
            "xgboost": {"objective": "count:poisson"},
        }
        return super().model(kind, **{**losses.get(kind, {}), **settings})

    # -- networks ------------------------------------------------------------------------

    @property
    def loss(self) -> Any:  # type: ignore[override]
        """Loss of a row: that of Poisson, or of negative binomial counts."""
        return self._negative_binomial if (self.dispersion_ > 0).any() else "counts"

    def _negative_binomial(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return half the deviance (B,), up to what no output changes, from log means (B, K)."""
        # A target without dispersion is learned as if it had so little.
        spread = outputs.new_tensor(np.maximum(self.dispersion_, FLOOR))
        # The logarithm of 1 + spread * mean, which does not overflow.
        beyond = (outputs + spread.log()).logaddexp(outputs.new_zeros(()))
        return ((targets + 1.0 / spread) * beyond - targets * outputs).mean(dim=1)

    def scaling(self, y: NDArray[Any], weight: Floats) -> Any:
        """Return nothing: counts are learned as they are."""
        return

    def activate(self, outputs: Tensor, scaling: Any) -> Tensor:
        """Return means (N, K) from their logarithms."""
        return outputs.double().exp()

    def start(self, prior: Floats) -> Floats:
        """Return the logarithm of the means."""
        return np.log(np.maximum(prior, FLOOR))

    # -- decisions of several models -------------------------------------------------------

    def product(
        self,
        decisions: Floats,
        present: Present,
        prior: Floats,
        weights: Floats,
        dependence: float = 0.0,
    ) -> Floats:
        """Return the geometric mean, by the weights of a product of Gaussian experts."""
        return np.exp(
            super().product(np.log(np.maximum(decisions, FLOOR)), present, prior, weights)
        )


def moment_dispersion(counts: Floats) -> Floats:
    """Return how far counts (N, K) vary beyond Poisson (K,), by their moments; 0 if they do not."""
    mean, variance = counts.mean(axis=0), counts.var(axis=0)
    beyond = np.maximum(variance - mean, 0.0)
    found = np.divide(beyond, mean**2, out=np.zeros_like(mean), where=mean > 0)
    return np.where(found < FLOOR, 0.0, found)  # less is rounding
