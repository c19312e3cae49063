"""Encoders as somebody outside of the package writes them, after docs/how-to/write-an-encoder.md.

One gives features, one learns, one is frozen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

import asfusion as af
from asfusion.extend import Backbone, EncoderNetwork, MLPBackbone, Prepared, read_strings


class LearningAlleles(af.Encoder):
    """Read a column of alleles, separated by semicolons, by a network that has to learn."""

    def __init__(self, column: str, *, d_out: int = 64) -> None:
        self.column = column
        self.d_out = d_out

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> LearningAlleles:
        self.columns_ = (self.column,)
        cells = self._cells(X)
        self.alleles_ = sorted({allele for cell in cells if cell for allele in cell.split(";")})
        return self

    def prepare(self, X: Any) -> Prepared:
        check_is_fitted(self)
        cells = self._cells(X)
        x = [[allele in (cell or "").split(";") for allele in self.alleles_] for cell in cells]
        present = [bool(cell) for cell in cells]
        return Prepared({"x": torch.tensor(x, dtype=torch.float64)}, torch.tensor(present))

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        return EncoderNetwork(MLPBackbone(len(self.alleles_), d_hidden=8), d_out=self.d_out)

    @property
    def is_frozen(self) -> bool:
        return False

    def _cells(self, X: Any) -> list[str | None]:
        return read_strings(X, self.column)


class AlleleFeatures(LearningAlleles):
    """Give the alleles themselves as features."""

    @property
    def needs_training(self) -> bool:
        return False

    def transform_prepared(self, prepared: Prepared) -> Any:
        return np.where(prepared.present[:, None], prepared.tensors["x"], np.nan)

    def transform(self, X: Any) -> Any:
        return self.transform_prepared(self.prepare(X))

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        return np.asarray([f"{self.column}_{allele}" for allele in self.alleles_], dtype=object)


class Signs(Backbone):
    """Turn alleles into random signs that never change."""

    def __init__(self, n_alleles: int, d_out: int) -> None:
        super().__init__()
        self.d_out = d_out
        self.signs = nn.Linear(n_alleles, d_out)

    def forward(self, inputs: Any) -> af.extend.Tokens:
        x = inputs["x"].to(self.signs.weight.dtype)
        present = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
        return af.extend.Tokens.single(torch.sign(self.signs(x)), present=present)


class FrozenAlleles(LearningAlleles):
    """Read the alleles by a network that never learns."""

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        backbone = Signs(len(self.alleles_), 16)
        return EncoderNetwork(backbone, d_out=self.d_out, training_mode="frozen")

    @property
    def is_frozen(self) -> bool:
        return True


OWN = {
    "own features": AlleleFeatures("hla", d_out=6),
    "own network": LearningAlleles("hla", d_out=6),
    "own frozen network": FrozenAlleles("hla", d_out=6),
}
