"""Small networks on vectors, to train without any encoder."""

import pytest
import torch
from torch import nn

from asfusion._tokens import Prepared, Tokens
from asfusion.fusion.concat import Concat
from asfusion.nn.network import Backbone, EncoderNetwork, FusionNetwork
from asfusion.training.loop import _Run
from asfusion.training.losses import cross_entropy
from asfusion.training.rows import Rows, precision_of
from asfusion.training.runner import Runner
from asfusion.training.settings import TrainingSettings


class VectorBackbone(Backbone):
    """A linear layer with dropout and batch statistics, to show what a run remembers."""

    def __init__(self, d_in, d_out=8, penalty=0.0):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(d_in, d_out), nn.BatchNorm1d(d_out), nn.ReLU(), nn.Dropout(0.2)
        )
        self.d_out = d_out
        self.penalty = penalty
        self.extra = None

    def forward(self, inputs):
        x = inputs["x"].to(self.layers[0].weight.dtype)
        self.extra = self.penalty * self.layers[0].weight.square().sum() if self.training else None
        return Tokens.single(self.layers(x))

    def auxiliary_loss(self):
        return self.extra if self.penalty else None


def make_network(seed=0, n_outputs=2, penalty=0.0, **encoder):
    torch.manual_seed(seed)
    networks = {
        "labs": EncoderNetwork(VectorBackbone(3, penalty=penalty), d_out=8, **encoder),
        "genes": EncoderNetwork(VectorBackbone(5), d_out=8),
    }
    head = Concat(d_out=8).build(dict.fromkeys(networks, 8))
    return FusionNetwork(networks, head, d_fused=8, n_outputs=n_outputs)


def make_rows(n=40, seed=0, missing=0.2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    labs = torch.randn(n, 3, generator=generator, dtype=dtype)
    genes = torch.randn(n, 5, generator=generator, dtype=dtype)
    y = (labs[:, 0] + genes[:, 0] > 0).long()
    here = torch.rand(n, 2, generator=generator) >= missing
    here[:, 0] |= ~here.any(dim=1)
    modalities = {
        "labs": Prepared({"x": labs}, here[:, 0]),
        "genes": Prepared({"x": genes}, here[:, 1]),
    }
    return Rows(modalities, y, torch.ones(n, dtype=torch.float64))


def make_run(network, rows, validation=None, **settings):
    """Return a run that has not begun."""
    chosen = TrainingSettings(**settings)
    runner = Runner(chosen.device, precision_of(rows.modalities))
    return _Run(network, rows, validation, loss=cross_entropy, settings=chosen, runner=runner)


@pytest.fixture
def network():
    return make_network()


@pytest.fixture
def rows():
    return make_rows()
