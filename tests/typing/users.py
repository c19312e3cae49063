"""What users write, for mypy alone (`make lint`): right calls pass, and wrong words do not.

An ignored error that is none is an error here, see `[tool.mypy]`: so each line below that is
marked is proved to be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, assert_type

import numpy as np
from torch import Tensor, nn

import asfusion as af
from asfusion.extend import (
    Backbone,
    EncoderNetwork,
    Prepared,
    Tokens,
    check_encoder,
    check_fusion,
    read_numbers,
)


class Forest:
    """A model of another library."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Forest:
        return self


class Folds:
    """A splitter of another library."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Any]:
        yield np.arange(3), np.arange(3, 6)


class Own(af.Encoder):
    """An encoder of the user's own."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Own:
        return self

    def prepare(self, X: Any) -> Prepared:
        raise NotImplementedError(read_numbers(X, ["crp"]))

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        return EncoderNetwork(Doubling(), d_out=4)

    @property
    def is_frozen(self) -> bool:
        return False


class Doubling(Backbone):
    """A backbone of the user's own."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        return Tokens.single(2 * inputs["x"])


class Sum(af.fusion.Fusion):
    """A head of the user's own."""

    def make_layers(self, dims: Mapping[str, int]) -> None:
        self.say = nn.ModuleDict({name: nn.Linear(d, self.d_out) for name, d in dims.items()})

    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        return sum((self.say[n](t.pool()) for n, t in tokens.items()), start=Tensor())


def right(X: Any, y: Any) -> None:
    rng = np.random.default_rng(0)
    encoders = {"labs": af.TabularEncoder(["crp"]), "notes": af.TextEncoder("note")}
    af.EarlyFusionClassifier(encoders, "forest", threshold={"sensitivity": 0.9})
    af.EarlyFusionClassifier({"labs": Own(), "notes": "drop"}, Forest(), class_weight="balanced")
    af.EarlyFusionRegressor(encoders, target=af.targets.Counts(), random_state=rng)
    af.JointFusionClassifier(encoders, "gated", class_weight={"axSpA": 2.0}, threshold="youden")
    af.JointFusionRegressor({"own": Own()}, Sum(d_out=8), max_epochs=5, batch_size="auto")
    af.LateFusionClassifier(encoders, {"labs": "forest", "notes": "network"}, combine="product")
    af.LateFusionClassifier(encoders, Forest(), cv=Folds(), weights={"labs": 0.5, "notes": 0.5})
    af.LateFusionRegressor(network=af.JointFusionRegressor(max_epochs=3), cv=[(y, y)])
    af.AutoFusionClassifier(members=["late mean", "joint"], cv=Folds(), random_state=0)
    af.AutoFusionSurvival(members={"mine": af.EarlyFusionSurvival(), "late mean": None})
    board = af.compare(X, y, encoders, families=["early", "late"], fusions=["gated", Sum()],
                       combines=["mean"], estimators={"forest": Forest()}, cv=Folds())  # fmt: skip
    assert_type(board.best_single.name, str)
    af.cross_validate(af.EarlyFusionClassifier(), X, y, cv="leave-one-site-out", sites=y)
    assert_type(af.load("model.asf", af.EarlyFusionClassifier), af.EarlyFusionClassifier)
    assert_type(af.load("model.asf", trusted=[Own]), Any)
    check_encoder(Own(), X, unused=["final"])
    check_fusion(Sum(d_out=8), {"labs": 4, "mri": 6})


def wrong(X: Any, y: Any) -> None:
    af.EarlyFusionClassifier({"labs": "dropp"})  # type: ignore[dict-item]
    af.EarlyFusionClassifier("all")  # type: ignore[arg-type]
    af.EarlyFusionClassifier({"labs": Forest()})  # type: ignore[dict-item]
    af.EarlyFusionClassifier(estimator="forrest")  # type: ignore[arg-type]
    af.EarlyFusionClassifier(estimator="network")  # type: ignore[arg-type]
    af.EarlyFusionClassifier(scale="block")  # type: ignore[arg-type]
    af.EarlyFusionClassifier(threshold="joudon")  # type: ignore[arg-type]
    af.EarlyFusionClassifier(threshold={"sensitvity": 0.9})  # type: ignore[dict-item]
    af.EarlyFusionClassifier(class_weight="balance")  # type: ignore[arg-type]
    af.EarlyFusionClassifier(random_state="0")  # type: ignore[arg-type]
    af.EarlyFusionClassifier(network=Forest())  # type: ignore[arg-type]
    af.EarlyFusionRegressor(target="counts")  # type: ignore[arg-type]
    af.JointFusionClassifier(fusion="gatd")  # type: ignore[arg-type]
    af.JointFusionClassifier(loss="cross_entropi")  # type: ignore[arg-type]
    af.JointFusionClassifier(max_epochs="many")  # type: ignore[arg-type]
    af.LateFusionClassifier(combine="meen")  # type: ignore[arg-type]
    af.LateFusionClassifier(cv="five")  # type: ignore[arg-type]
    af.LateFusionClassifier(weights={"labs": "much"})  # type: ignore[dict-item]
    af.AutoFusionClassifier(members=["late men"])  # type: ignore[list-item]
    af.AutoFusionClassifier(members={"mine": Forest()})  # type: ignore[dict-item]
    af.load("model.asf", "EarlyFusionClassifier")  # type: ignore[call-overload]
    af.VisitEncoder("visits", backbone="gruu")  # type: ignore[arg-type]
    af.TextEncoder("note", tokenizer="bpee")  # type: ignore[arg-type]
    af.compare(X, y, families=["erly"])  # type: ignore[list-item]
    af.compare(X, y, fusions=["gatd"])  # type: ignore[list-item]
    af.compare(X, y, combines=["meen"])  # type: ignore[list-item]
    af.cross_validate(af.EarlyFusionClassifier(), X, y, cv="leave-a-site-out")  # type: ignore[arg-type]
