"""The share of rows without an event over time, and that of rows still under observation.

Dimensions: N rows, T times, R weightings of the rows.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from asfusion._arrays import read_weights
from asfusion._door import learns, public
from asfusion._unfitted import UnfittedError
from asfusion.survival._read import read_moments, read_times

Floats = NDArray[np.float64]


class KaplanMeier:
    """The product-limit curve of rows with an event, or censored.

    Attributes
    ----------
    times_ : ndarray of shape (T,)
        Event times, rising.
    survival_ : ndarray of shape (T,)
        Share without an event just after each time.
    n_at_risk_ : ndarray of shape (T,)
        Rows (weights) under observation just before each time.
    variance_ : ndarray of shape (T,)
        Greenwood's variance of the logarithm of the curve.

    References
    ----------
    .. [1] Kaplan, Meier, "Nonparametric estimation from incomplete observations", JASA 1958.
       https://doi.org/10.1080/01621459.1958.10501452

    Examples
    --------
    >>> import pandas as pd
    >>> from asfusion.survival import KaplanMeier
    >>> y = pd.DataFrame({"event": [1, 0, 1, 1], "time": [1.0, 2.0, 3.0, 4.0]})
    >>> KaplanMeier().fit(y).predict([0.5, 1, 3.5])
    array([1.   , 0.75 , 0.375])
    """

    times_: Floats
    survival_: Floats

    @learns
    def fit(self, y: Any, sample_weight: Any = None) -> Self:
        """Learn the curve.

        Parameters
        ----------
        y : DataFrame or structured array of shape (n_rows,)
            ``event`` and ``time``.
        sample_weight : array of shape (n_rows,), optional
            How often each row counts.

        Returns
        -------
        self
            The fitted curve.

        Raises
        ------
        InputError
            If `y` or weights cannot be used.
        """
        y = read_times(y, len(y))
        return self.fit_arrays(y["event"], y["time"], read_weights(sample_weight, len(y)))

    def fit_arrays(
        self, event: NDArray[np.bool_], time: Floats, weight: Floats | None = None
    ) -> Self:
        """Learn the curve from what is checked already."""
        weight = np.ones(len(time)) if weight is None else weight
        self.times_, at_risk, deaths = counts(event, time, weight)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.survival_ = np.asarray(np.cumprod(1.0 - deaths / at_risk), dtype=np.float64)
            steps = deaths / (at_risk * (at_risk - deaths))
        self.n_at_risk_ = at_risk
        self.variance_ = np.cumsum(np.where(np.isfinite(steps), steps, 0.0))
        return self

    @public
    def predict(self, times: Any) -> Floats:
        """Return the share without an event by each time.

        Parameters
        ----------
        times : array of shape (n_times,)
            In the unit of y; beyond the last event the curve stays.

        Returns
        -------
        ndarray of shape (n_times,)
            Between 0 and 1.

        Raises
        ------
        InputError
            If `times` are no numbers.
        """
        if not hasattr(self, "times_"):
            msg = "KaplanMeier: expected a fitted one, got one that is not. Call fit first."
            raise UnfittedError(msg)
        places = np.searchsorted(self.times_, read_moments(times), side="right")
        return np.append(1.0, self.survival_)[places]


def counts(event: NDArray[np.bool_], time: Floats, weight: Floats) -> tuple[Floats, Floats, Floats]:
    """Return distinct event times (T,), and weights at risk and of events at each."""
    used = weight > 0
    event, time, weight = event[used], time[used], weight[used]
    order = np.argsort(time, kind="stable")
    times, weights = time[order], weight[order]
    distinct = np.unique(time[event])
    left = np.append(np.cumsum(weights[::-1])[::-1], 0.0)
    at_risk = left[np.searchsorted(times, distinct, side="left")]
    places = np.searchsorted(distinct, time[event])
    deaths = np.bincount(places, weight[event], minlength=len(distinct)).astype(np.float64)
    return distinct, at_risk, deaths


class ProductLimit:
    """The curve of events, or of censoring, for many weightings of the rows at once.

    At a time at which rows have their event and others are censored, the events come first.

    Parameters
    ----------
    event, time : ndarray of shape (N,)
        What happened to each row, and when.
    of_censoring : bool
        Whether rows leave the curve when they are censored, instead of at their event.
    """

    def __init__(
        self, event: NDArray[np.bool_], time: Floats, *, of_censoring: bool = False
    ) -> None:
        self._order = np.lexsort((~event, time))
        self._leaves = (event ^ of_censoring)[self._order]
        self._known, self._first = np.unique(time[self._order], return_index=True)
        # Whoever has an event cannot be censored at that time any more.
        events = np.add.reduceat(event[self._order].astype(np.int64), self._first)
        self._from = self._first + events if of_censoring else self._first

    def steps(self, weights: Floats) -> Floats:
        """Return the curve (R, T + 1) just after each distinct time, 1 in front, for (R, N)."""
        ordered = weights[:, self._order]
        left = np.cumsum(ordered[:, ::-1], axis=1)[:, ::-1]
        left = np.concatenate([left, np.zeros((len(left), 1))], axis=1)
        gone = np.add.reduceat(ordered * self._leaves, self._first, axis=1)
        at_risk = left[:, self._from]
        share = np.divide(gone, at_risk, out=np.zeros_like(gone), where=at_risk > 0)
        curve = np.cumprod(1.0 - share, axis=1)
        return np.concatenate([np.ones((len(left), 1)), curve], axis=1)

    def places(self, times: Any, *, before: bool = False) -> NDArray[np.int64]:
        """Return which steps hold at the given times, or just before them."""
        side: Literal["left", "right"] = "left" if before else "right"
        found = np.searchsorted(self._known, np.asarray(times, dtype=np.float64), side=side)
        return np.asarray(found)
