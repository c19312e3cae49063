"""The contract of an encoder: a description of one modality."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from asfusion._frames import Frame
from asfusion._tokens import Prepared, Tokens
from asfusion.nn.network import EncoderNetwork

Mode = Literal["auto", "full", "last_block", "frozen"]
EMBED_BATCH = 32


class Encoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Describe one modality: its columns, its preprocessing and its network.

    An encoder holds parameters only; what it learns from training rows ends in ``_``.
    A subclass writes `fit`, `prepare` and `build`; the rest follows from those.

    Attributes
    ----------
    columns_ : tuple of str
        The columns of X that this modality reads.
    network_ : EncoderNetwork
        Present once a network was built or trained; `transform` reads its backbone.
    """

    @abstractmethod
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Encoder:
        """Learn the preprocessing from training rows."""

    @abstractmethod
    def prepare(self, X: Any) -> Prepared:
        """Turn rows into tensors and presence; no row is dropped, none is reordered."""

    @abstractmethod
    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        """Return a new network for prepared rows, from the current torch seed.

        With ``pretrained=False`` only the architecture is built, for weights that a
        saved model will bring.
        """

    @property
    @abstractmethod
    def is_frozen(self) -> bool:
        """Whether the backbone keeps its weights, so that each row is embedded once."""

    @property
    def needs_training(self) -> bool:
        """Whether `transform` reads a network that has to learn from targets first."""
        return not self.is_frozen

    def embed(self, X: Any) -> Prepared:
        """Return rows as tokens of the backbone, absent rows masked.

        Parameters
        ----------
        X : DataFrame or 2-D array of N rows
            The rows, with this encoder's columns.

        Returns
        -------
        Prepared
            ``values`` of shape (N, T, D) and ``mask`` of shape (N, T).
        """
        check_is_fitted(self)
        prepared = self.prepare(X)
        return embed_prepared(self._network(), prepared)

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Return one embedding per row, NaN for rows without the modality.

        Parameters
        ----------
        X : DataFrame or 2-D array of N rows
            The rows, with this encoder's columns.

        Returns
        -------
        ndarray of shape (N, D)
            Mean of the backbone's tokens; columns as in `get_feature_names_out`.
        """
        embedded = self.embed(X)
        vectors = embedded.tokens().pool().to(torch.float64).numpy()
        vectors[~embedded.present.numpy()] = np.nan
        return vectors

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the columns of `transform`."""
        check_is_fitted(self)
        stem = "_".join(self.columns_)
        width = self._network().backbone.d_out
        return np.asarray([f"{stem}_{i}" for i in range(width)], dtype=object)

    def _bundle_state(self) -> dict[str, Any]:
        """Return parameters and fitted state; the estimator saves the network."""
        fitted = {k: v for k, v in vars(self).items() if k.endswith("_") and k != "network_"}
        return {"params": self.get_params(deep=False), "fitted": fitted}

    def _restore_bundle_state(self, state: dict[str, Any]) -> None:
        """Rebuild from what `_bundle_state` returned."""
        self.__init__(**state["params"])  # type: ignore[misc]
        vars(self).update(state["fitted"])

    def _network(self) -> EncoderNetwork:
        """Return the trained network, or build one (from a fixed seed) for the first time."""
        if not hasattr(self, "network_"):
            from asfusion._random import torch_seed

            with torch_seed(0):
                self.network_ = self.build()
        return self.network_

    def _read(self, X: Any) -> Frame:
        """Return X as a Frame that has this encoder's columns."""
        frame = Frame.read(X)
        frame.check_columns(self.columns_, type(self).__name__)
        return frame


def embed_prepared(network: EncoderNetwork, prepared: Prepared) -> Prepared:
    """Run the backbone over prepared rows in batches, present rows only."""
    rows = torch.nonzero(prepared.present).flatten()
    was_training, device = network.training, network.device
    network.eval()
    parts: list[Tokens] = []
    with torch.no_grad():
        for batch in torch.split(rows, EMBED_BATCH):
            inputs = {k: v[batch].to(device) for k, v in prepared.tensors.items()}
            tokens = network.embed(inputs)
            parts.append(Tokens(tokens.values.cpu(), tokens.mask.cpu()))
    network.train(was_training)
    return Prepared.embedded(_scatter(parts, rows, len(prepared), network), prepared.present)


def _scatter(
    parts: Sequence[Tokens], rows: torch.Tensor, n: int, network: EncoderNetwork
) -> Tokens:
    """Place embedded rows among all rows; sequences may differ in length between batches."""
    length = max((part.values.shape[1] for part in parts), default=1)
    width = network.backbone.d_out
    dtype = parts[0].values.dtype if parts else torch.get_default_dtype()
    values = torch.zeros(n, length, width, dtype=dtype)
    mask = torch.zeros(n, length, dtype=torch.bool)
    for batch, part in zip(torch.split(rows, EMBED_BATCH), parts, strict=True):
        values[batch, : part.values.shape[1]] = part.values
        mask[batch, : part.mask.shape[1]] = part.mask
    return Tokens(values, mask)
