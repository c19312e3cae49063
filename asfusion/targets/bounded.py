"""Numbers that lie between two bounds, such as an index from 0 to 10."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_number
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.targets._base import Floats, Tensor
from asfusion.targets.numbers import Numbers


class Bounded(Numbers):
    """Numbers from `low` to `high`, which predictions cannot leave.

    Networks answer through a logistic function; what other regressors say is cut at the
    bounds, which never makes it worse. The intervals of `asfusion.ConformalRegressor` are cut
    there, too: they cover as often, since no true value lies outside.

    Parameters
    ----------
    low, high : float
        In the units of y, such as 0 and 10 for BASDAI and BASFI.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.targets import Bounded
    >>> target = Bounded(0, 10).fit(np.array([4.2, 1.0]))
    >>> target.n_outputs_
    1
    """

    loss = "bounded"

    def __init__(self, low: float = 0.0, high: float = 10.0) -> None:
        self.low = low
        self.high = high

    def read(self, y: Any, n_rows: int) -> Floats:
        """Return numbers (N,) or (N, T) between the bounds."""
        low, high = check_number(self.low, "low"), check_number(self.high, "high")
        if low >= high:
            raise ConfigurationError(f"low: expected a number below high={high:g}, got {low:g}.")
        numbers = super().read(y, n_rows)
        wrong = int(((numbers < low) | (numbers > high)).reshape(n_rows, -1).any(axis=1).sum())
        if wrong:
            msg = (
                f"y: expected numbers from {low:g} to {high:g}, got others in {wrong} row(s). "
                "Check the unit, or the bounds of the target."
            )
            raise InputError(msg)
        return numbers

    def within(self, values: Floats) -> Floats:
        """Return numbers cut at the bounds."""
        return np.clip(values, self.low, self.high)

    def ask(self, model: Any, X: Any) -> Floats:
        """Return predictions (N, K), cut at the bounds."""
        return self.within(super().ask(model, X))

    # -- networks ------------------------------------------------------------------------

    def scaling(self, y: NDArray[Any], weight: Floats) -> Any:
        """Return the lower bound and the span: the network learns the share of the span."""
        ones = np.ones(y.shape[1])
        return self.low * ones, (self.high - self.low) * ones

    def activate(self, outputs: Tensor, scaling: Any) -> Tensor:
        """Return predictions (N, K) within the bounds."""
        return super().activate(outputs.double().sigmoid(), scaling)

    def start(self, prior: Floats) -> Floats:
        """Return the log odds of the share of the span."""
        share = np.clip((prior - self.low) / (self.high - self.low), 1e-3, 1.0 - 1e-3)
        return np.log(share) - np.log1p(-share)
