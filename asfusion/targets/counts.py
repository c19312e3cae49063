"""How often something happened: whole numbers from zero on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import InputError
from asfusion.targets._base import Floats, Present, Tensor
from asfusion.targets._pools import FLOOR
from asfusion.targets.numbers import Numbers


class Counts(Numbers):
    """Counts, such as flares in a year, whose predicted means are above zero.

    Models learn by the Poisson deviance, which is right on average also where counts vary more
    than a Poisson distribution lets them [1]_.

    References
    ----------
    .. [1] Gourieroux, Monfort, Trognon, "Pseudo maximum likelihood methods: applications to
       Poisson models", Econometrica 1984. https://doi.org/10.2307/1913472

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.targets import Counts
    >>> target = Counts().fit(np.array([0.0, 2.0, 1.0]))
    >>> target.task
    'counts'
    """

    loss = "counts"

    def read(self, y: Any, n_rows: int) -> Floats:
        """Return whole numbers (N,) or (N, T) from zero on."""
        counts = super().read(y, n_rows)
        wrong = int(((counts < 0) | (counts != np.round(counts))).reshape(n_rows, -1).any(1).sum())
        if wrong:
            msg = (
                f"y: expected whole numbers from 0 on, got others in {wrong} row(s). Use "
                "asfusion.targets.Numbers for what is measured."
            )
            raise InputError(msg)
        return counts

    @property
    def task(self) -> str:
        """Name of the scorer by which predictions are judged."""
        return "counts"

    def ask_part(self, estimator: Any, features: Any) -> Floats:
        """Return predictions (N, K), above zero also from models that know no bound."""
        return np.maximum(super().ask_part(estimator, features), FLOOR)

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
