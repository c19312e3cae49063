"""Encoders that a user wrote are explained by the columns they read, each left out as missing."""

from __future__ import annotations

import ast
import itertools
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot

import asfusion as af
import asfusion.explanation
from asfusion._tokens import Prepared, Tokens
from asfusion.explanation._kinds import KINDS
from asfusion.explanation.tables import TableAttribution
from asfusion.nn.network import Backbone, EncoderNetwork
from asfusion.nn.tabular import MLPBackbone

QUIET: dict[str, Any] = {"verbose": 0, "random_state": 0}
N = 80


class CodeEncoder(af.Encoder):
    """Levels of columns of codes, as one of many; a blank cell is none of them."""

    def __init__(self, columns: Any, *, d_out: int = 8) -> None:
        self.columns = columns
        self.d_out = d_out

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> CodeEncoder:
        self.columns_ = tuple(self.columns)
        self.levels_ = {c: sorted(set(self._cells(X, c)) - {None}) for c in self.columns_}
        self.__dict__.pop("network_", None)
        return self

    def _cells(self, X: Any, column: str) -> Any:
        return self._read(X).strings(column)

    def prepare(self, X: Any) -> Prepared:
        cells = {c: self._cells(X, c) for c in self.columns_}
        x = [
            [cells[c][row] == level for c in self.columns_ for level in self.levels_[c]]
            for row in range(len(cells[self.columns_[0]]))
        ]
        present = [any(cells[c][row] for c in self.columns_) for row in range(len(x))]
        return Prepared({"x": torch.tensor(x, dtype=torch.float64)}, torch.tensor(present))

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        width = sum(map(len, self.levels_.values()))
        return EncoderNetwork(MLPBackbone(width, d_hidden=8), d_out=self.d_out)

    @property
    def is_frozen(self) -> bool:
        return False


class FeatureCodeEncoder(CodeEncoder):
    """The same, whose features need no training."""

    @property
    def needs_training(self) -> bool:
        return False

    def transform_prepared(self, prepared: Prepared) -> Any:
        return np.where(prepared.present[:, None], prepared.tensors["x"], np.nan)

    def transform(self, X: Any) -> Any:
        return self.transform_prepared(self.prepare(X))

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        return np.asarray([f"{c}_{v}" for c in self.columns_ for v in self.levels_[c]], object)


class Recurrent(Backbone):
    """The last state of a network that reads numbers one by one."""

    d_out = 4

    def __init__(self) -> None:
        super().__init__()
        self.cell = torch.nn.GRU(1, self.d_out, batch_first=True)

    def forward(self, inputs: Any) -> Tokens:
        states, _ = self.cell(inputs["signal"].to(self.cell.weight_ih_l0.dtype).unsqueeze(-1))
        return Tokens.single(states[:, -1])


class SignalEncoder(af.Encoder):
    """A cell holds the values of a signal; only a network makes sense of them."""

    def __init__(self, column: str) -> None:
        self.column = column

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> SignalEncoder:
        self.columns_ = (self.column,)
        self.__dict__.pop("network_", None)
        return self

    def prepare(self, X: Any) -> Prepared:
        frame = self._read(X)
        there = frame.known(self.column)
        rows = [c if t else [0.0] * 6 for c, t in zip(frame.cells(self.column), there, strict=True)]
        signal = torch.tensor(np.asarray([list(row) for row in rows], dtype=np.float32))
        return Prepared({"signal": signal}, torch.from_numpy(there.copy()))

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        return EncoderNetwork(Recurrent(), d_out=4)

    @property
    def is_frozen(self) -> bool:
        return False


ENCODERS = {"features": FeatureCodeEncoder, "trained": CodeEncoder}
NETWORK = {"max_epochs": 10, "learning_rate": 1e-2}
FAMILIES: dict[str, Any] = {
    "early": lambda parts: af.EarlyFusionClassifier(
        parts, network=af.JointFusionClassifier(**NETWORK), **QUIET
    ),
    "joint": lambda parts: af.JointFusionClassifier(parts, **NETWORK, **QUIET),
    "late": lambda parts: af.LateFusionClassifier(
        parts, network=af.JointFusionClassifier(**NETWORK), **QUIET
    ),
}


@pytest.fixture(autouse=True)
def _close_figures() -> Any:
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, np.ndarray]:
    """Return rows whose class is in one of two columns of codes; row 1 has none of them."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"crp": rng.gamma(2, 4, N), "kit": rng.integers(0, 3, N)})
    X["hla"] = rng.choice(["B27;B07", "B27;B44", "B07;B44"], N)
    y = X["hla"].str.contains("B27").to_numpy().astype(int)
    X.loc[2, "hla"] = None
    X["signal"] = pd.Series([[v] * 6 for v in rng.normal(y, 0.1)], dtype=object)
    X.at[1, "signal"] = None
    return X, y


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ENCODERS)
def test_columns_equal_a_brute_force_over_emptied_cells(kind: str, family: str, rows: Any) -> None:
    X, y = rows
    parts = {"codes": ENCODERS[kind](["hla", "kit"]), "labs": af.TabularEncoder(["crp"], d_out=8)}
    model = FAMILIES[family](parts).fit(X, y)
    e = af.explain(model, X[:5], background=X, verbose=0)
    found = e["codes"]
    assert isinstance(found, TableAttribution)
    assert found.feature_names[1:] == ("hla", "kit")
    assert found.data[:, 1].tolist() == [*X["hla"][:2], None, *X["hla"][3:5]]

    def asked(kept: tuple[str, ...], with_labs: bool) -> Any:
        """Ask as a hospital would that lacks the cells; codes stay whole numbers."""
        emptied = X[:5].astype({"kit": "Int64"})
        for column in {"hla", "kit"} - set(kept):
            emptied[column] = None
        return model.predict_proba(emptied if with_labs else emptied.assign(crp=np.nan))[:, 1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", af.exceptions.AsfusionWarning)  # rows without anything
        worth = {
            kept: (asked(kept, True) + asked(kept, False)) / 2
            for n in range(3)
            for kept in itertools.combinations(("hla", "kit"), n)
        }
    alone = worth["hla",] - worth[()], worth["hla", "kit"] - worth["kit",]
    np.testing.assert_allclose(found.values[:, 1], np.mean(alone, axis=0), atol=1e-6)
    np.testing.assert_allclose(found.values.sum(axis=1), e.modalities["codes"], atol=1e-6)
    assert np.abs(found.values[:, 0]).max() < 1e-9  # to have it is what its columns say


@pytest.mark.parametrize("absence", ["missing", "background"])
@pytest.mark.parametrize("family", FAMILIES)
def test_everything_shows_what_only_a_network_reads(
    family: str, absence: Any, rows: Any, tmp_path: Path
) -> None:
    X, y = rows
    parts = {"signal": SignalEncoder("signal"), "labs": af.TabularEncoder(["crp"], d_out=8)}
    model = FAMILIES[family](parts).fit(X, y)
    e = af.explain(model, X[:4], background=X, absence=absence, n_background=4, verbose=0)
    frame = e.to_frame().query("modality == 'signal' and part != ''")
    np.testing.assert_allclose(
        frame.groupby("row")["value"].sum().reindex(range(4), fill_value=0.0),
        e.modalities["signal"],
        atol=1e-6,
    )
    assert ("signal" in set(frame["part"])) and e["signal"].interactions is not None
    labels = [t.get_text() for a in e.plot_patient(0).axes for t in a.get_yticklabels()]
    assert any(label.startswith("signal = [") for label in labels)
    assert "signal" in e.to_html(tmp_path / "page.html").read_text()
    checks = e.check()
    assert checks.loc["signal: parts add up", "passed"]
    assert len(e.plot_curves()) == 2


def test_one_row_needs_no_background(rows: Any) -> None:
    X, y = rows
    parts = {"codes": FeatureCodeEncoder(["hla", "kit"])}
    model = af.EarlyFusionClassifier(parts, **QUIET).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        e = af.explain(model, X[:1], units={"kit": "number"}, verbose=0)
        found = e["codes"]
    assert found.units["kit"] == "number"
    assert abs(found.values[0, 1]) > abs(found.values[0, 2])
    assert np.isclose(found.values.sum(), e.values[0, 0])


def test_tables_of_both_libraries_say_the_same(rows: Any, df_module: ModuleType) -> None:
    X, y = rows
    X = X[["crp", "kit", "hla"]]
    parts = {"codes": FeatureCodeEncoder(["hla", "kit"]), "labs": af.TabularEncoder(["crp"])}
    model = af.EarlyFusionClassifier(parts, **QUIET).fit(X, y)
    cells = {name: [None if v != v else v for v in X[name].tolist()] for name in X}
    other = df_module.DataFrame(cells)
    one, two = af.explain(model, X[:3], verbose=0), af.explain(model, other[:3], verbose=0)
    np.testing.assert_allclose(one["codes"].values, two["codes"].values, atol=1e-9)


def test_every_encoder_of_the_library_has_someone_who_explains_it() -> None:
    kinds = {
        value.kind
        for name in af.__all__
        if isinstance(value := getattr(af, name), type) and issubclass(value, af.Encoder)
    }
    assert kinds - {"other"} == set(KINDS)


def test_nobody_asks_an_encoder_model_or_attribution_for_its_class() -> None:
    asked = set()
    for file in Path(asfusion.explanation.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                asked |= {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
    foreign = {"bool", "date", "float", "int", "str", "type", "np", "numbers", "torch"}
    assert asked <= foreign | {"Decimal", "Mapping", "Tensor"}
