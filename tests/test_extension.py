"""Each row of "How a part is added" (docs/design/index.md), added here from outside the package.

A part is used where a user would: in `fit`, `predict`, `compare`, `explain`, `save` and `load`.
Encoders of every sort are in `tests/contracts/test_own_encoders.py`, scorers in
`tests/evaluation/test_scoring.py`; here is one of each, all the way.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.linear_model import PoissonRegressor
from torch import nn

import asfusion as af
from asfusion.cli.commands import main
from asfusion.evaluation import registry
from asfusion.evaluation.metrics import BinaryScorer, ScoreInfo
from asfusion.evaluation.of_binary import BinaryScoring
from asfusion.evaluation.registry import register_scoring
from asfusion.exceptions import BundleError, ConfigurationError, InputError
from asfusion.fusion import Fusion
from asfusion.nn.network import Backbone
from asfusion.nn.registry import _KNOWN, register_backbone
from asfusion.targets import Classes, Numbers
from tests.contracts.own_encoders import FrozenAlleles, LearningAlleles

N_ROWS = 60
FAST: dict[str, Any] = {"verbose": 0, "random_state": 0}
LABS = {"labs": af.TabularEncoder(["crp", "esr"]), "body": af.TabularEncoder(["bmi"])}


# -- the parts -------------------------------------------------------------------------


class LowRank(Fusion):
    """Multiply low-rank projections of the modalities."""

    def __init__(self, *, d_out: int = 64, rank: int = 4) -> None:
        super().__init__(d_out=d_out)
        self.rank = rank

    def make_layers(self, dims: Any) -> None:
        width = self.rank * self.d_out
        self.factors = nn.ModuleDict({name: nn.Linear(d, width) for name, d in dims.items()})

    def fuse(self, tokens: Any) -> torch.Tensor:
        product: Any = 1.0
        for name, modality in tokens.items():
            factor = self.factors[name](modality.pool())
            there = modality.present[:, None]
            product = product * torch.where(there, factor, torch.ones_like(factor))
        return product.reshape(-1, self.rank, self.d_out).sum(dim=1)


def poisson_deviance(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs.exp() - targets * outputs).mean(dim=1)


class Counts(Numbers):
    """Whole numbers from zero on, whose mean is positive."""

    loss = staticmethod(poisson_deviance)

    def read(self, y: Any, n_rows: int) -> Any:
        counts = super().read(y, n_rows)
        if (counts < 0).any():
            raise InputError("y: expected counts, got negative numbers.")
        return counts

    def scaling(self, y: Any, weight: Any) -> None:
        return None

    def activate(self, outputs: Any, scaling: Any) -> Any:
        return outputs.double().exp()

    def start(self, prior: Any) -> Any:
        return np.log(np.maximum(prior, 1e-6))

    def linear(self, penalty: float = 1.0) -> Any:
        return PoissonRegressor(alpha=penalty / 100, max_iter=1000)


def smoothed_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs, targets, reduction="none", label_smoothing=0.1)


class Doubtful(Classes):
    """Classes whose labels are sometimes wrong."""

    loss = staticmethod(smoothed_entropy)


class WideLinear(Backbone):
    """One linear layer over a table."""

    def __init__(
        self, n_features: int, *, d_hidden: int, n_layers: int, dropout: float, numbers: Any
    ) -> None:
        super().__init__()
        self.d_out = d_hidden
        self.layer = nn.Linear(n_features, d_hidden, dtype=torch.float64)

    def forward(self, inputs: Any) -> af.extend.Tokens:
        return af.extend.Tokens.single(self.layer(inputs["x"].to(self.layer.weight.dtype)))


class Patches(nn.Module):
    """One convolution over patches of an image."""

    d_out = 12

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, self.d_out, 8, stride=8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.patches(images)

    def last_block(self) -> nn.Module:
        return self.patches


@dataclass
class Added:
    """A part, and where it stands."""

    encoders: dict[str, Any] = field(default_factory=lambda: LABS)
    joint: dict[str, Any] = field(default_factory=dict)
    target: Any = None
    compared: dict[str, Any] = field(default_factory=dict)
    classes: tuple[type, ...] = ()
    y: str = "flare"
    trusted: tuple[type, ...] = ()

    @property
    def kind(self) -> str:
        return "Regressor" if self.target is not None and self.target.face != "classifier" else (
            "Classifier"
        )  # fmt: skip

    def models(self) -> dict[str, Any]:
        own = {"target": self.target, **FAST}
        network = getattr(af, f"JointFusion{self.kind}")(max_epochs=2, **self.joint, **own)
        families = {"joint": network.set_params(encoders=self.encoders)}
        for family in ("Early", "Late"):
            made = getattr(af, f"{family}Fusion{self.kind}")
            families[family.lower()] = made(self.encoders, network=network, **own)
        return families


PARTS = {
    "head": Added(joint={"fusion": LowRank(d_out=8, rank=2)}, trusted=(LowRank,)),
    "encoder": Added({**LABS, "hla": LearningAlleles("hla", d_out=6)}, trusted=(LearningAlleles,)),
    "frozen encoder": Added(
        {**LABS, "hla": FrozenAlleles("hla", d_out=6)}, trusted=(FrozenAlleles,)
    ),
    "numbers": Added(target=Counts(), y="flares", trusted=(Counts,)),
    "classes": Added(target=Doubtful(), trusted=(Doubtful,)),
    "table backbone": Added(
        {"labs": af.TabularEncoder(["crp", "esr"], network="wide_linear"), "body": LABS["body"]}
    ),
    "image backbone": Added(
        {**LABS, "film": af.ImageEncoder("film", backbone="patches", size=32, augment=False)}
    ),
}
every_part = pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)


@pytest.fixture(scope="module", autouse=True)
def backbones() -> Any:
    register_backbone("table", "wide_linear", WideLinear)
    register_backbone("image", "patches", Patches)
    yield
    del _KNOWN["table"]["wide_linear"], _KNOWN["image"]["patches"]  # others list what there is


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.gamma(2, 4, (N_ROWS, 3)), columns=["crp", "esr", "bmi"])
    X["hla"] = rng.choice(["B27;B07", "B27;B44", "B07;B44"], N_ROWS)
    folder = tmp_path_factory.mktemp("films")
    X["film"] = [str(folder / f"{row}.png") for row in range(N_ROWS)]
    for path in X["film"]:
        Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(path)
    X["flares"] = rng.poisson(np.exp(0.1 * X["crp"] - 0.5))
    X["flare"] = np.where(X["crp"] + rng.normal(size=N_ROWS) > 7, "yes", "no")
    X.loc[::9, ["hla", "film", "bmi"]] = None
    return X


def split(rows: pd.DataFrame, part: Added) -> tuple[pd.DataFrame, Any]:
    return rows.drop(columns=["flares", "flare"]), rows[part.y].to_numpy()


def answers(model: Any, X: pd.DataFrame) -> Any:
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


# -- all the way -----------------------------------------------------------------------


@every_part
@pytest.mark.parametrize("family", ["early", "joint", "late"])
def test_it_is_fitted_explained_judged_and_saved(
    part: Added, family: str, rows: pd.DataFrame, tmp_path: Path
) -> None:
    X, y = split(rows, part)
    model = part.models()[family].fit(X, y)
    predicted = answers(model, X)
    assert np.isfinite(predicted).all()
    if part.y == "flares":
        assert (predicted >= 0).all()
    explanation = af.explain(model, X.head(3), verbose=0)
    assert list(explanation) == list(model._modality_encoders())
    total = explanation.base_values + explanation.values.sum(axis=1)
    np.testing.assert_allclose(total, explanation.predictions, atol=1e-9)
    assert len(explanation.to_frame()) and "<svg" not in explanation.to_html(tmp_path / "e").name
    assert af.evaluate(model, X, y, n_bootstrap=20).n_rows == N_ROWS
    path = model.save(tmp_path / "model.asf")
    if (part.trusted and family in ("joint", "late")) or part.target is not None:
        with pytest.raises(BundleError, match="not asfusion's own"):
            af.load(path)
    np.testing.assert_array_equal(answers(af.load(path, trusted=part.trusted), X), predicted)


@every_part
def test_it_is_compared_and_cross_validated(part: Added, rows: pd.DataFrame) -> None:
    X, y = split(rows, part)
    network = part.models()["joint"]
    board = af.compare(
        X, y, part.encoders, fusions=[network.fusion], network=network,
        task=part.target or "auto", cv=2, n_bootstrap=20, verbose=0,
    )  # fmt: skip
    assert {"early", "late: mean", "plain: mean"} < set(board.predictions)
    assert all(np.isfinite(found).all() for found in board.predictions.values())
    early = part.models()["early"]
    result = af.cross_validate(early, X, y, cv=2, n_bootstrap=20, verbose=0)
    assert np.isfinite(result.predictions).all()


def test_a_target_for_another_kind_of_estimator_is_refused(rows: pd.DataFrame) -> None:
    X, y = split(rows, PARTS["classes"])
    with pytest.raises(ConfigurationError, match=r"target: .* for a classifier.*got Counts"):
        af.EarlyFusionClassifier(LABS, target=Counts(), verbose=0).fit(X, y)
    with pytest.raises(InputError, match="expected counts, got negative"):
        af.EarlyFusionRegressor(LABS, target=Counts(), verbose=0).fit(X, -rows["flares"])


def test_a_name_of_a_backbone_stands_for_one() -> None:
    register_backbone("table", "wide_linear", WideLinear)  # the same, once more
    with pytest.raises(ConfigurationError, match="expected one that no other backbone has"):
        register_backbone("table", "mlp", WideLinear)
    with pytest.raises(ConfigurationError, match="kind: expected one of"):
        register_backbone("sound", "mlp", WideLinear)  # type: ignore[arg-type]


# -- a measure -------------------------------------------------------------------------


class WithYouden(BinaryScorer):
    """What binary predictions are scored by, and Youden's index."""

    def __call__(self, counts: Any) -> dict[str, Any]:
        scores = super().__call__(counts)
        return {**scores, "youden": scores["sensitivity"] + scores["specificity"] - 1.0}


class YoudenScoring(BinaryScoring):
    """Two classes, with one measure more."""

    board = (*BinaryScoring.board, "youden")
    infos: ClassVar = {"youden": ScoreInfo("Youden's index", "high", 1.0)}

    def scorer(self, judged: Any, rules: Any) -> BinaryScorer:
        made = super().scorer(judged, rules)
        made.__class__ = WithYouden
        return made


@pytest.fixture
def youden() -> Any:
    before = registry.scoring_of("binary")
    register_scoring(YoudenScoring())
    yield
    register_scoring(before)


@pytest.mark.usefixtures("youden")
def test_a_measure_is_reported_with_an_interval(rows: pd.DataFrame) -> None:
    X, y = split(rows, PARTS["head"])
    model = af.EarlyFusionClassifier(LABS, **FAST).fit(X, y)
    report = af.evaluate(model, X, y, n_bootstrap=50)
    found = report.scores["youden"]
    whole = report.scores["sensitivity"].estimate + report.scores["specificity"].estimate - 1.0
    assert found.estimate == pytest.approx(whole)
    assert found.low <= found.estimate <= found.high
    assert "Youden's index" in str(report)
    board = af.compare(X, y, LABS, families=["early"], cv=2, n_bootstrap=20, verbose=0)
    assert np.isfinite(board.to_frame()["youden"]).all()


# -- a choice of the command line --------------------------------------------------------

HEAD = '''
import torch
from torch import nn
from asfusion.fusion import Fusion

class Sum(Fusion):
    """Add linear maps of the modalities."""

    def make_layers(self, dims):
        self.maps = nn.ModuleDict({n: nn.Linear(d, self.d_out) for n, d in dims.items()})

    def fuse(self, tokens):
        return sum(self.maps[name](part.pool()) for name, part in tokens.items())
'''


@pytest.mark.filterwarnings("ignore::asfusion.exceptions.AsfusionWarning")
def test_a_head_of_ones_own_is_a_choice_of_the_command_line(
    rows: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr("asfusion.estimators._joint._EPOCHS", 3)
    (tmp_path / "my_heads.py").write_text(HEAD)
    rows[["crp", "esr", "bmi", "flare"]].to_csv(tmp_path / "rows.csv", index=False)

    fit = ["fit", "rows.csv", "--target", "flare", "--family", "joint", "--fusion"]
    assert main([*fit, "my_heads:Sum"]) == 0
    assert main(["predict", "model.asf", "rows.csv"]) == 1
    assert "not asfusion's own" in capsys.readouterr().err
    assert main(["predict", "model.asf", "rows.csv", "--trusted", "my_heads:Sum"]) == 0
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == N_ROWS
    for head, said in {"my_heads:Product": "cannot be imported", "product": "'concat'"}.items():
        with pytest.raises(SystemExit) as end:
            main([*fit, head])
        assert end.value.code == 2
        assert said in capsys.readouterr().err
