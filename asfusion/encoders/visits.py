"""Visits: nested cells of irregular measurements to tokens by a network that knows time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_choice, check_integer, check_number
from asfusion._frames import Frame
from asfusion._tokens import Prepared
from asfusion._warn import warn_user
from asfusion.encoders._base import BATCH, FeatureEncoder, read_row_weights
from asfusion.encoders._visit_cells import AfterIndex, Visits, check_known_names, read_visits
from asfusion.encoders._visit_nest import SameDay, nest_visits
from asfusion.encoders._visit_summary import (
    STATISTICS,
    VisitScales,
    spread_of_slopes,
    summarise,
    to_tensors,
)
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.tabular.quantiles import center_and_scale, weighted_quantile

if TYPE_CHECKING:
    from asfusion.nn.network import Backbone, EncoderNetwork

VisitNetwork: TypeAlias = Literal["gru", "lstm", "transformer"]

_HALF_A_YEAR, _A_SECOND = 182.6, 1 / 86_400  # days


class VisitEncoder(FeatureEncoder):
    """Read the visits of a patient up to the index date, however irregular they are.

    A cell holds all visits of the row: a list of dicts such as ``{"day": -90, "crp": 12.0}``, a
    small DataFrame or a structured array; a list of structs in polars. Days count from the
    row's index date, so that none is above 0. The order of visits in the cell does not matter.
    A value may be missing at any visit; a row without a visit (None, or an empty list) lacks
    the modality. `nest` makes such cells from a long table.

    Parameters
    ----------
    column : str
        The column of nested cells.
    values : str or list of str, optional
        Fields of a visit to read, which are numbers or booleans. By default all that are known
        at some visit of the training rows.
    backbone : {"gru", "lstm", "transformer"}
        Network for joint and late fusion: a GRU whose state and missing values decay with
        time [1]_; a time-aware LSTM [2]_; or a transformer whose positions are days [3]_.
    time : str
        Field with the day of a visit.
    after_index : {"error", "drop"}
        What becomes of visits after day 0, which nobody knows yet when the model is asked.
    max_visits : int
        Most visits of a row to read: the latest.
    d_hidden : int
        Width inside the network; for ``"transformer"`` a multiple of 4.
    n_layers : int
        Layers of the network.
    d_out : int
        Width of the token that fusion sees.
    dropout : float
        Dropout inside the network and before the adapter.

    Attributes
    ----------
    columns_ : tuple of str
        The column.
    values_ : tuple of str
        The values that are read of each visit.
    centers_, scales_ : ndarray of shape (n_values,)
        Median and spread of each value over the training visits, in its unit.
    slope_scales_ : ndarray of shape (n_values,)
        Spread of the slopes over training rows, unitless.
    time_scale_ : float
        Days between neighbouring training visits, the median.
    network_ : EncoderNetwork
        Present once joint or late fusion trained one. `transform` does not use it.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable.
    ColumnError
        If the column is missing, or a cell, a day or a value is of another kind.
    InputError
        If a day is missing, repeated, not finite or after the index date, or no training row
        has a visit.

    Notes
    -----
    `transform`, which early fusion reads, gives a summary of each value: last, mean, slope per
    year, how often it was measured and years since; and the number of visits. The network comes
    in where it is trained together with what predicts.

    The network reads at each visit the values, the last known ones for those that were not
    measured, what was measured, how long ago, and the mean and slope so far.

    Values are centred on their median over training visits, divided by the
    interquartile range, and clipped ten of those away from it. Slopes are least-squares ones
    with `time_scale_` squared added to the denominator, so that values a few days apart, whose
    differences are mostly noise, have none.

    References
    ----------
    .. [1] Che et al., "Recurrent neural networks for multivariate time series with missing
       values", Scientific Reports 2018. https://doi.org/10.1038/s41598-018-24271-9
    .. [2] Baytas et al., "Patient subtyping via time-aware LSTM networks", KDD 2017.
       https://doi.org/10.1145/3097983.3097997
    .. [3] Shukla and Marlin, "Multi-time attention networks for irregularly sampled time
       series", ICLR 2021. https://doi.org/10.48550/arXiv.2101.10318

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> X = pd.DataFrame({"visits": [
    ...     [{"day": -365, "crp": 4.0}, {"day": 0, "crp": 14.0}], [{"day": -20, "crp": 2.0}], None,
    ... ]})
    >>> encoder = af.VisitEncoder("visits").fit(X)
    >>> summary = encoder.set_output(transform="pandas").transform(X)
    >>> summary[["visits_crp_last", "visits_crp_slope_per_year"]].round(1).values.tolist()
    [[0.8, 0.3], [-0.2, 0.0], [nan, nan]]
    """

    kind: ClassVar[str] = "visits"

    def __init__(
        self,
        column: str,
        values: Sequence[str] | str | None = None,
        *,
        backbone: VisitNetwork = "gru",
        time: str = "day",
        after_index: AfterIndex = "error",
        max_visits: int = 64,
        d_hidden: int = 32,
        n_layers: int = 1,
        d_out: int = 64,
        dropout: float = 0.0,
    ) -> None:
        self.column = column
        self.values = values
        self.backbone = backbone
        self.time = time
        self.after_index = after_index
        self.max_visits = max_visits
        self.d_hidden = d_hidden
        self.n_layers = n_layers
        self.d_out = d_out
        self.dropout = dropout

    @staticmethod
    def nest(
        visits: Any,
        keys: Any,
        *,
        key: str = "patient",
        time: str = "day",
        index_date: Any = None,
        after_index: AfterIndex = "error",
        same_day: SameDay = "error",
    ) -> Any:
        """Turn a long table of visits into one cell per patient.

        The cells become a column of X, and so travel with their row through splits, searches
        and pipelines; nothing of them is kept in an encoder or in a saved model.

        Parameters
        ----------
        visits : pandas or polars DataFrame
            One row per visit: whose it is, when it was, and numbers or booleans.
        keys : Series, Index or 1-D array of n_rows entries
            Whose visits each row of X is to have; may repeat. Give ``X["patient"]``, so that
            the result has the index of X.
        key : str
            Column of `visits` that the keys stand in.
        time : str
            Column with the time of a visit: days from the index date, or dates.
        index_date : Series or 1-D array of n_rows entries, optional
            Date up to which a row may know, one for each key; needed where times are dates. A
            date without a time is its first moment.
        after_index : {"error", "drop"}
            What becomes of visits after it.
        same_day : {"error", "mean"}
            What becomes of visits at the same time: one, with the mean of each value.

        Returns
        -------
        pandas or polars Series of n_rows entries
            Lists of dicts, with days from the index date; None for keys without a visit.
            Of the library of `keys`, or of `visits` where those are an array.

        Raises
        ------
        ColumnError
            If a column is missing or holds something other than numbers.
        InputError
            If keys and visits do not meet, a key or time is missing or repeated, or a visit
            lies after its index date.

        Examples
        --------
        >>> import pandas as pd, asfusion as af
        >>> visits = pd.DataFrame({"patient": ["a", "a"], "day": [-30, 0], "crp": [9.0, None]})
        >>> af.VisitEncoder.nest(visits, pd.Series(["a", "b"])).tolist()
        [[{'day': -30.0, 'crp': 9.0}, {'day': 0.0, 'crp': None}], None]
        """
        return nest_visits(
            visits,
            keys,
            key=key,
            time=time,
            index_date=index_date,
            after_index=after_index,
            same_day=same_day,
        )

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> VisitEncoder:
        """Learn which values there are, and their scale, from training rows.

        Parameters
        ----------
        X : DataFrame of N rows
            The training rows, with the column of visits.
        y : ignored
            Visits are read without targets.
        sample_weight : array of shape (N,), optional
            Weight of each row, and so of each of its visits, in medians and spreads.

        Returns
        -------
        VisitEncoder
            The encoder itself.
        """
        asked = self._check_parameters()
        frame = Frame.read(X)
        weights = read_row_weights(sample_weight, len(frame))
        kept = weights > 0
        visits, names = self._read_cells(frame.take(kept), asked)
        if not len(visits):
            msg = (
                f"VisitEncoder: expected a visit with a value in at least one training row, got "
                f"{len(frame)} row(s) without any. Check the column, or leave this modality out."
            )
            raise InputError(msg)
        known: NDArray[np.bool_] = np.asarray((~np.isnan(visits.values)).any(axis=0))
        found = tuple(name for name, there in zip(names, known, strict=True) if there)
        check_known_names(asked or (), found, self.column)
        self.__dict__.pop("network_", None)  # a network of other values is of no use
        self._cut_told = False
        self.columns_ = (self.column,)
        self.values_ = found
        self._learn_scales(replace(visits, values=visits.values[:, known]), weights[kept])
        return self

    def _learn_scales(self, visits: Visits, row_weights: NDArray[np.float64]) -> None:
        weights, scales = row_weights[visits.row], []
        for column in visits.values.T:
            there = ~np.isnan(column)
            scales.append(center_and_scale(column[there], weights[there]))
        self.centers_, self.scales_ = np.asarray(scales).T
        gaps, same = np.diff(visits.day), np.diff(visits.row) == 0
        middle = _HALF_A_YEAR
        if same.any():
            middle = weighted_quantile(gaps[same], 0.5, weights[1:][same])
        self.time_scale_ = max(middle, _A_SECOND)
        self.slope_scales_ = np.ones(len(self.values_))
        latest = visits.latest(self.max_visits)
        self.slope_scales_ = spread_of_slopes(latest, self._learned(), row_weights)

    def _learned(self) -> VisitScales:
        return VisitScales(self.centers_, self.scales_, self.slope_scales_, self.time_scale_)

    def prepare(self, X: Any) -> Prepared:
        """Turn rows into visits in the order of time, and presence.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the column of visits.

        Returns
        -------
        Prepared
            ``x`` (N, L, K), scaled values, the last known one where none was measured;
            ``known`` (N, L, K); ``since`` (N, L, K), days from the last known value; ``trend``
            (N, L, 2K), mean and scaled slope up to each visit; ``days`` (N, L) from
            the index date; ``mask`` (N, L); L is the most visits of a row. Zeros for rows
            without a visit.
        """
        return self.prepare_visits(self.read_visits(X))

    def read_visits(self, X: Any) -> Visits:
        """Return the visits of rows as they were measured.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the column of visits.

        Returns
        -------
        Visits
            In the order of rows and days; at most `max_visits` of each row.

        Warns
        -----
        AsfusionWarning
            Once if rows have more visits than that; and if visits have none of the values of
            training, or one that is spelled otherwise.
        """
        check_is_fitted(self)
        visits, _ = self._read_cells(self._read(X), self.values_, learned=True)
        latest = visits.latest(self.max_visits)
        if len(latest) < len(visits) and not getattr(self, "_cut_told", False):
            self._cut_told = True
            msg = (
                f"VisitEncoder: {len(visits) - len(latest)} of {len(visits)} visits are not read, "
                f"as rows have more than max_visits={self.max_visits}: the latest are."
            )
            warn_user(msg)
        return latest

    def prepare_visits(self, visits: Visits) -> Prepared:
        """Return what `prepare` gives, from visits that were read or that resemble them.

        Parameters
        ----------
        visits : Visits
            Visits of N rows, with the values of `values_`.

        Returns
        -------
        Prepared
            N rows as tensors.
        """
        return to_tensors(visits, self._learned())

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Return a summary of each row's visits, NaN for rows without any.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the column of visits.

        Returns
        -------
        ndarray of shape (N, 5 * n_values + 1)
            Of each value the last, the mean and the slope per year, in interquartile ranges of
            the training visits; how often it was measured, and years since; then the number of
            visits. A value that was never measured is at the median, 0.
        """
        return self.transform_prepared(self.prepare(X))

    def transform_prepared(self, prepared: Prepared) -> NDArray[np.float64]:
        """Return what `transform` gives, from rows that `prepare` made.

        Parameters
        ----------
        prepared : Prepared
            N rows of visits.

        Returns
        -------
        ndarray of shape (N, 5 * n_values + 1)
            NaN for rows without a visit.
        """
        return summarise(prepared, self._learned())

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the summary, such as ``visits_crp_slope_per_year``."""
        check_is_fitted(self)
        names = [f"{self.column}_{value}_{what}" for value in self.values_ for what in STATISTICS]
        return np.asarray([*names, f"{self.column}_count"], dtype=object)

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        """Return a new network for prepared rows, from the current torch seed."""
        from asfusion.nn.network import EncoderNetwork

        check_is_fitted(self)
        backbone = _backbone_class(self.backbone)(
            len(self.values_),
            d_hidden=self.d_hidden,
            n_layers=self.n_layers,
            dropout=self.dropout,
            time_scale=self.time_scale_,
        )
        return EncoderNetwork(backbone, d_out=self.d_out, dropout=self.dropout)

    @property
    def batch_hint(self) -> int:
        """How many of its rows make a training batch: those of sequences, not of tables."""
        return BATCH

    def _gaps_in_words(self) -> str:
        return "a value not measured at a visit: the last one known"

    def _network_in_words(self) -> str:
        network = "transformer" if self.backbone == "transformer" else self.backbone.upper()
        return f"visits by a small {network} that reads days (a summary of them in early fusion)"

    def _read_cells(
        self, frame: Frame, values: Sequence[str] | None, *, learned: bool = False
    ) -> tuple[Visits, tuple[str, ...]]:
        return read_visits(
            frame,
            self.column,
            time=self.time,
            values=values,
            after_index=self.after_index,
            learned=learned,
        )

    def _check_parameters(self) -> tuple[str, ...] | None:
        """Return the values that are asked for, None for all."""
        for name in ("column", "time"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                kind = type(getattr(self, name)).__name__
                msg = f"{name}: expected a name as a non-empty str, got {kind}."
                raise ConfigurationError(msg)
        check_choice(self.backbone, "backbone", get_args(VisitNetwork))
        check_choice(self.after_index, "after_index", get_args(AfterIndex))
        for name in ("max_visits", "d_hidden", "n_layers", "d_out"):
            check_integer(getattr(self, name), name, minimum=1)
        if self.backbone == "transformer" and self.d_hidden % 4:
            msg = (
                f"d_hidden: expected a multiple of 4 with backbone='transformer', got "
                f"{self.d_hidden}."
            )
            raise ConfigurationError(msg)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        if self.values is None:
            return None
        names = (self.values,) if isinstance(self.values, str) else self.values
        is_list = isinstance(names, Sequence) and all(isinstance(name, str) for name in names)
        if not is_list or not names or len(set(names)) < len(names) or self.time in names:
            msg = (
                f"values: expected None, or a list of different fields without {self.time!r}, got "
                "something else."
            )
            raise ConfigurationError(msg)
        return tuple(names)


def _backbone_class(name: VisitNetwork) -> Callable[..., Backbone]:
    from asfusion.nn import visits

    found: dict[str, type[Backbone]] = {
        "gru": visits.GRUVisitBackbone,
        "lstm": visits.LSTMVisitBackbone,
        "transformer": visits.TransformerVisitBackbone,
    }
    return found[name]
