"""Tables: labs, examinations, questionnaires, demographics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_choice, check_integer, check_number
from asfusion._frames import Frame
from asfusion._tokens import Prepared
from asfusion.encoders._base import Encoder
from asfusion.exceptions import ConfigurationError
from asfusion.nn.network import Backbone, EncoderNetwork
from asfusion.nn.tabular import MLPBackbone, TabNetBackbone
from asfusion.tabular.preprocess import TablePreprocessor, check_not_empty


class TabularEncoder(Encoder):
    """Read columns of numbers, categories, booleans and dates.

    Missing cells are imputed and flagged. A row that lacks **all** of the columns lacks the
    modality. Everything is learned from the training rows, with their weights.

    Parameters
    ----------
    columns : list of str, str or None
        The columns; None for all columns of X.
    network : {"mlp", "tabnet"}
        Network for joint fusion: a small residual MLP, or TabNet, which chooses features
        step by step and needs more rows.
    d_hidden : int
        Width inside the network.
    n_layers : int
        Blocks of the MLP, or steps of TabNet.
    d_out : int
        Width of the token that fusion sees.
    dropout : float
        Dropout inside the MLP and before the adapter.
    max_categories : int
        Most levels of a category that get a feature of their own; rarer ones share none.

    Attributes
    ----------
    columns_ : tuple of str
        The columns.
    plan_ : list of dict
        What was learned of each column.
    feature_names_ : list of str
        Names of the features.
    network_ : EncoderNetwork
        Present once joint fusion trained one. `transform` does not use it.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable.
    ColumnError
        If a column is missing, or of another kind than in fit.
    InputError
        If a column holds infinity, or no training row has a known cell.

    Notes
    -----
    `transform` gives the prepared features, which are what a forest or a linear model
    should read; the network comes in when it is trained together with a fusion head.

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

    def __init__(
        self,
        columns: Sequence[str] | str | None = None,
        *,
        network: Literal["mlp", "tabnet"] = "mlp",
        d_hidden: int = 64,
        n_layers: int = 2,
        d_out: int = 64,
        dropout: float = 0.0,
        max_categories: int = 20,
    ) -> None:
        self.columns = columns
        self.network = network
        self.d_hidden = d_hidden
        self.n_layers = n_layers
        self.d_out = d_out
        self.dropout = dropout
        self.max_categories = max_categories

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> TabularEncoder:
        """Learn imputation, scaling and categories from training rows.

        Parameters
        ----------
        X : DataFrame or 2-D array
            The training rows.
        y : ignored
            Tables are read without targets.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row in medians, spreads and frequencies.

        Returns
        -------
        TabularEncoder
            The encoder itself.
        """
        self._check_parameters()
        frame = Frame.read(X)
        columns = [self.columns] if isinstance(self.columns, str) else self.columns
        names = list(frame.columns if columns is None else columns)
        frame.check_columns(names, "TabularEncoder")
        check_not_empty(frame, names)
        self.__dict__.pop("network_", None)
        weights = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        plan = TablePreprocessor(max_categories=self.max_categories).fit(frame, names, weights)
        self.columns_ = tuple(names)
        self.plan_ = plan.to_state()
        self.feature_names_ = plan.feature_names()
        self.n_features_in_ = len(names)
        return self

    def prepare(self, X: Any) -> Prepared:
        """Turn rows into features and presence.

        Parameters
        ----------
        X : DataFrame or 2-D array of N rows
            The rows.

        Returns
        -------
        Prepared
            ``x`` of shape (N, n_features), float64; zeros for rows without any cell.
        """
        check_is_fitted(self)
        frame = self._read(X)
        plan = TablePreprocessor.from_state(self.plan_)
        present = plan.present(frame)
        features = np.where(present[:, None], plan.transform(frame), 0.0)
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
        prepared = self.prepare(X)
        features: NDArray[np.float64] = prepared.tensors["x"].numpy()
        features[~prepared.present.numpy()] = np.nan
        return features

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features, such as ``crp`` and ``crp_missing``."""
        check_is_fitted(self)
        return np.asarray(self.feature_names_, dtype=object)

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        """Return a new network for prepared rows, from the current torch seed."""
        check_is_fitted(self)
        return EncoderNetwork(self._backbone(), d_out=self.d_out, dropout=self.dropout)

    @property
    def is_frozen(self) -> bool:
        """Whether the backbone keeps its weights: never, there are none to begin with."""
        return False

    @property
    def needs_training(self) -> bool:
        """Whether `transform` reads a trained network: it gives the features instead."""
        return False

    def _backbone(self) -> Backbone:
        n_features = len(self.feature_names_)
        if self.network == "tabnet":
            return TabNetBackbone(n_features, d_hidden=self.d_hidden, n_steps=self.n_layers)
        return MLPBackbone(
            n_features, d_hidden=self.d_hidden, n_layers=self.n_layers, dropout=self.dropout
        )

    def _check_parameters(self) -> None:
        check_choice(self.network, "network", ("mlp", "tabnet"))
        for name in ("d_hidden", "n_layers", "d_out", "max_categories"):
            check_integer(getattr(self, name), name, minimum=1)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        columns = self.columns
        is_list = isinstance(columns, Sequence) and all(isinstance(c, str) for c in columns)
        if columns is not None and (not is_list or not columns or len(set(columns)) < len(columns)):
            if isinstance(columns, str) and columns:
                return
            msg = "columns: expected None, a column name, or a list of different ones."
            raise ConfigurationError(msg)
