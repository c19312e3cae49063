"""Tables: labs, examinations, questionnaires, demographics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from asfusion._arrays import check_width, numbers_of_array
from asfusion._checks import check_choice, check_integer, check_number
from asfusion._frames import Frame
from asfusion._later import torch
from asfusion._tokens import Prepared
from asfusion.encoders._base import FeatureEncoder, read_row_weights
from asfusion.encoders._columns import check_names
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.nn.registry import backbone_names, find_backbone
from asfusion.tabular._synthetic import synthetic_cells
from asfusion.tabular.packed import Packed
from asfusion.tabular.preprocess import TablePreprocessor, check_not_empty, tell_gaps
from asfusion.tabular.told import Told, stand_in, tell_columns

if TYPE_CHECKING:
    from asfusion.nn.network import Backbone, EncoderNetwork
    from asfusion.nn.number_embeddings import NumberEmbedding

Network: TypeAlias = Literal["mlp", "tabnet", "ft_transformer", "tabm", "resnet"]

_MAX_BINS = 32
_D_EMBEDDING = 8
_WIDE = 50  # columns of numbers: fewer are hardly all measured alike


class TabularEncoder(FeatureEncoder):
    """Read columns of numbers, categories, booleans and dates.

    Missing cells are imputed and flagged. A row that lacks **all** of the columns lacks the
    modality. Everything is learned from the training rows, with their weights.

    Parameters
    ----------
    columns : list of str, str or None
        The columns; None for all columns of X. The columns of an array are ``"x0"``,
        ``"x1"`` and so on.
    network : {"mlp", "tabnet", "ft_transformer", "tabm", "resnet"}
        Network for joint fusion: a small residual MLP; TabNet, which chooses features step
        by step and needs more rows; a transformer whose tokens are the features; TabM, an
        ensemble of MLPs that share weights, averaged into one token; or residual blocks with
        batch normalisation.
    number_embedding : {"none", "piecewise_linear", "periodic"}
        What the network makes of a number (and of a date) first: nothing; a vector of where it
        lies within bins between the quantiles of training rows; or a vector of waves.
        TabNet reads numbers as they are.
    d_hidden : int
        Width inside the network.
    n_layers : int
        Blocks or layers of the network, or steps of TabNet.
    d_out : int
        Width of the token that fusion sees.
    dropout : float
        Dropout inside the network (TabNet has none) and before the adapter.
    max_categories : int
        Most levels of a category that get a feature of their own; rarer ones have none.
    scale : {"robust", "rank_within_row"}
        How numbers are scaled: minus the median, over the interquartile range of training rows;
        or, before that, to their rank among the known numbers of their own row [1]_, between -1 and
        1, which no scale or shift of a whole row changes. The latter is for many columns that are
        measured alike, such as expression in cohorts from different platforms. Dates, booleans
        and categories are not ranked.
    dtype : {"float64", "float32"}
        Type of the features. ``"float32"`` takes half of the memory: of a table of any size it is
        what costs most. What is learned of columns, and means and spreads, stay in float64; the
        estimator, or network, computes in float32 with it.

    Attributes
    ----------
    columns_ : tuple of str
        The columns.
    plan_ : list of dict
        What was learned of each column.
    feature_names_ : list of str
        Names of the features.
    n_features_in_ : int
        Number of columns that were read.
    feature_names_in_ : ndarray of str
        Names of the columns that were read, where X has names.
    network_ : EncoderNetwork
        Present once joint fusion trained one. `transform` does not use it.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable.
    ColumnError
        If a column is missing, or of another kind than in fit.
    InputError
        If a column holds infinity, no training row has a known cell, or weights are unusable.

    Notes
    -----
    `transform` gives the prepared features, which are what a forest or a linear model
    should read; the network comes in when it is trained together with a fusion head.

    References
    ----------
    .. [1] Foroutan et al., "Single sample scoring of molecular phenotypes", BMC Bioinformatics
       2018, on ranks within a sample. https://doi.org/10.1186/s12859-018-2435-4

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> X = pd.DataFrame({"crp": [1.0, 9.0, None], "b27": [True, False, True]})
    >>> encoder = af.TabularEncoder(["crp", "b27"]).fit(X)
    >>> encoder.get_feature_names_out()
    array(['crp', 'crp_missing', 'b27'], dtype=object)
    >>> encoder.transform(X).shape
    (3, 3)
    """

    kind: ClassVar[str] = "table"
    _makes_up: ClassVar[bool] = True
    _gives_away: ClassVar[bool] = True

    def __init__(
        self,
        columns: Sequence[str] | str | None = None,
        *,
        network: Network | str = "mlp",
        number_embedding: Literal["none", "piecewise_linear", "periodic"] = "none",
        d_hidden: int = 64,
        n_layers: int = 2,
        d_out: int = 64,
        dropout: float = 0.0,
        max_categories: int = 20,
        scale: Literal["robust", "rank_within_row"] = "robust",
        dtype: Literal["float64", "float32"] = "float64",
    ) -> None:
        self.columns = columns
        self.network = network
        self.number_embedding = number_embedding
        self.d_hidden = d_hidden
        self.n_layers = n_layers
        self.d_out = d_out
        self.dropout = dropout
        self.max_categories = max_categories
        self.scale = scale
        self.dtype = dtype

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> TabularEncoder:
        """Learn imputation, scaling and categories from training rows.

        Parameters
        ----------
        X : DataFrame or 2-D array
            The training rows.
        y : ignored
            Tables are read without targets.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row in medians, spreads and frequencies; a row of weight two
            counts as two rows, one of weight zero as none.

        Returns
        -------
        TabularEncoder
            The encoder itself.
        """
        self._check_parameters()
        frame = self._read_rows(X, reset=True)
        weights = read_row_weights(sample_weight, len(frame))
        if not weights.all():
            frame, weights = frame.take(weights > 0), weights[weights > 0]
        names = list(self._chosen() or frame.columns)
        check_not_empty(frame, names)
        self.__dict__.pop("network_", None)
        max_bins = _MAX_BINS if self.number_embedding == "piecewise_linear" else None
        plan = TablePreprocessor(
            max_categories=self.max_categories,
            max_bins=max_bins,
            rank_rows=self.scale == "rank_within_row",
        )
        plan.fit(frame, names, weights).tell_empty()
        self.columns_ = tuple(names)
        self.plan_ = plan.to_state()
        self.feature_names_ = plan.feature_names()
        return self

    def _rows_to_learn(
        self, frame: Frame, weight: NDArray[np.float64]
    ) -> tuple[Frame, NDArray[np.float64]]:
        """Return the rows as they are: columns are learned one by one, unless rows are ranked."""
        by_column = self.scale != "rank_within_row"
        return (frame, weight) if by_column else super()._rows_to_learn(frame, weight)

    def _gaps_in_words(self) -> str:
        return "an empty cell: the median, and a flag"

    def prepare(self, X: Any) -> Prepared:
        """Turn rows into features and presence.

        Parameters
        ----------
        X : DataFrame or 2-D array of N rows
            The rows.

        Returns
        -------
        Prepared
            ``x`` of shape (N, n_features), of type `dtype`; zeros for rows without any cell.
        """
        features, present = self._features(X)
        features[~present] = 0.0
        return Prepared({"x": torch.from_numpy(features)}, torch.from_numpy(present))

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Return the prepared features, NaN for rows that lack the table.

        Parameters
        ----------
        X : DataFrame or 2-D array of N rows
            The rows.

        Returns
        -------
        ndarray of shape (N, n_features)
            Unitless: scaled numbers, flags and category levels.
        """
        features, present = self._features(X)
        features[~present] = np.nan
        return features

    def _features(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return features of rows, not yet marked as absent, and which rows have the table."""
        check_is_fitted(self)
        frame = self._read(X)
        found = TablePreprocessor.from_state(self.plan_).read(frame, self.dtype)
        if not isinstance(X, Frame):  # rows of the user, not of a part of the library
            self._tell_gaps(frame)
        return found

    def _packed(self, X: Any) -> Packed | None:
        if self.dtype != "float64":
            return None
        return TablePreprocessor.from_state(self.plan_).pack(self._read(X))

    def _tell_gaps(self, frame: Frame) -> None:
        tell_gaps(self.plan_, frame)

    def _tell(self, frame: Frame, least: int) -> Told:
        return tell_columns(frame, self._columns_among(frame.columns) or frame.columns, least)

    def _fit_told(self, told: Told) -> TabularEncoder:
        return self.fit(stand_in(told.columns))

    def _reading(self) -> dict[str, Any] | None:
        if any(plan["is_ranked"] for plan in self.plan_):
            return None
        columns, width = [dict(plan) for plan in self.plan_], len(self.feature_names_)
        return {"kind": "table", "columns": columns, "dtype": self.dtype, "n_features": width}

    def _probe_cells(self) -> dict[str, list[Any]]:
        return synthetic_cells(self.plan_)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features, such as ``crp`` and ``crp_missing``."""
        check_is_fitted(self)
        return np.asarray(self.feature_names_, dtype=object)

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        """Return a new network for prepared rows, from the current torch seed."""
        from asfusion.nn.network import EncoderNetwork

        check_is_fitted(self)
        return EncoderNetwork(self._backbone(), d_out=self.d_out, dropout=self.dropout)

    @property
    def n_features(self) -> int:
        """Number of features of a fitted encoder."""
        return len(self.feature_names_)

    def advice_across_sites(self) -> str:
        """Return what a user may change where this table gives the site away: ranks, if wide."""
        check_is_fitted(self)
        n_numbers = sum(plan["kind"] == "number" for plan in self.plan_)
        if n_numbers < _WIDE or self.scale == "rank_within_row":
            return ""
        return (
            f"has {n_numbers} columns of numbers: if they are measured alike, as expression is, "
            "TabularEncoder(scale='rank_within_row') takes out what shifts or stretches whole rows"
        )

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags: missing cells are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _read(self, X: Any) -> Frame:
        return self._read_rows(X, reset=False)

    def _read_rows(self, X: Any, *, reset: bool) -> Frame:
        """Return X as a Frame that has this encoder's columns, alike in fit and afterwards."""
        if isinstance(X, Frame) or _has_names(X):
            return self._read_table(Frame.read(X), reset=reset)
        array = self._read_array(X, reset=reset)
        names = getattr(self, "feature_names_in_", None)
        if names is None:
            return self._read_table(Frame.read(array), reset=reset)
        import pandas as pd

        return Frame.read(pd.DataFrame(array, columns=list(names)))

    def _read_table(self, frame: Frame, *, reset: bool) -> Frame:
        by_name = reset or self.columns is not None or hasattr(self, "feature_names_in_")
        chosen = self._chosen() or (() if reset or not by_name else self.columns_)
        frame.check_columns(chosen, type(self).__name__)
        if frame.is_array:
            if reset:
                self.__dict__.pop("feature_names_in_", None)
                self.n_features_in_ = len(frame.columns)
            return frame
        if self.columns is not None:
            frame = frame.select(chosen)
        if not frame.columns or (reset and not len(frame)):
            msg = (
                f"X: expected at least 1 row and 1 column, got shape=({len(frame)}, "
                f"{len(frame.columns)})."
            )
            raise InputError(msg)
        check_names(self, frame, reset=reset)
        if by_name:
            return frame
        return Frame.read(frame.numbers_of(frame.columns))

    def _read_array(self, X: Any, *, reset: bool) -> NDArray[np.float64]:
        array = numbers_of_array(X)
        if not reset:
            check_width(self, array)
        validate_data(self, X, reset=reset, skip_check_array=True)
        return array

    def _chosen(self) -> tuple[str, ...]:
        """Return the columns that were asked for, none if it is all of them."""
        if self.columns is None:
            return ()
        return (self.columns,) if isinstance(self.columns, str) else tuple(self.columns)

    def _backbone(self) -> Backbone:
        n_features = len(self.feature_names_)
        made: Backbone = find_backbone("table", self.network)(
            n_features,
            d_hidden=self.d_hidden,
            n_layers=self.n_layers,
            dropout=self.dropout,
            numbers=self._number_embedding(n_features),
        )
        return made

    def _number_embedding(self, n_features: int) -> NumberEmbedding | None:
        if self.number_embedding == "none":
            return None
        from asfusion.nn.number_embeddings import NumberEmbedding

        return NumberEmbedding(
            n_features,
            TablePreprocessor.from_state(self.plan_).numbers(),
            kind=self.number_embedding,
            # The transformer's tokens are the embeddings themselves.
            d_embedding=self.d_hidden if self.network == "ft_transformer" else _D_EMBEDDING,
        )

    def _check_parameters(self) -> None:
        check_choice(self.network, "network", backbone_names("table"))
        kinds = ("none", "piecewise_linear", "periodic")
        if check_choice(self.number_embedding, "number_embedding", kinds) != "none":
            self._check_embedding()
        for name in ("d_hidden", "n_layers", "d_out", "max_categories"):
            check_integer(getattr(self, name), name, minimum=1)
        check_choice(self.scale, "scale", ("robust", "rank_within_row"))
        check_choice(self.dtype, "dtype", ("float64", "float32"))
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        self._check_columns()

    def _check_embedding(self) -> None:
        if self.network == "tabnet":
            msg = (
                "number_embedding: expected 'none' with network='tabnet', which reads numbers as "
                f"they are, got {self.number_embedding!r}. Choose another network for it."
            )
            raise ConfigurationError(msg)

    def _check_columns(self) -> None:
        columns = self.columns
        if columns is None or (isinstance(columns, str) and columns):
            return
        is_list = isinstance(columns, Sequence) and all(isinstance(c, str) for c in columns)
        if not is_list or not columns or len(set(columns)) < len(columns):
            msg = "columns: expected None, a column name, or a list of different ones."
            raise ConfigurationError(msg)


def _has_names(X: Any) -> bool:
    """Return whether X is a table, also one that will be refused, such as a lazy one."""
    if hasattr(X, "collect") or hasattr(X, "column_names"):
        return True
    names = getattr(X, "columns", None)
    return names is not None and (not len(names) or any(isinstance(name, str) for name in names))
