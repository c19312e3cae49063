"""Every fusion head keeps the same promises. A new head is one more row in HEADS."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch

import asfusion as af
from asfusion._frames import Frame
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError, ShapeError
from asfusion.extend.heads import PROMISES, HeadCase
from asfusion.fusion._base import Fusion, masked_mean, presence
from asfusion.fusion._resolve import head_class, head_names, resolve_head
from asfusion.fusion.adaptation_gate import AdaptationGate
from asfusion.fusion.attention import CrossAttention
from asfusion.fusion.bottleneck import Bottleneck
from asfusion.fusion.concat import Concat
from asfusion.fusion.evidential import Evidential
from asfusion.fusion.film import FiLM
from asfusion.fusion.gated import Gated
from asfusion.fusion.gaussian_experts import GaussianExperts
from asfusion.fusion.latents import Latents
from asfusion.fusion.low_rank import LowRank
from asfusion.fusion.mixture import MixtureOfExperts
from asfusion.nn._budget import at_most_values
from asfusion.nn.network import EncoderNetwork, FusionNetwork
from asfusion.nn.text import VectorBackbone

HEADS = [
    Concat(d_out=8),
    Gated(d_out=8),
    CrossAttention(d_out=8, n_heads=2, dropout=0.0),
    AdaptationGate(d_out=8),
    Evidential(d_out=8, d_hidden=8),
    GaussianExperts(d_out=8, d_hidden=8),
    MixtureOfExperts(d_out=8, n_experts=3),
    LowRank(d_out=8, rank=2),
    FiLM(d_out=8),
    Bottleneck(d_out=8, n_bottlenecks=2, n_heads=2, dropout=0.0),
    Latents(d_out=8, n_latents=2, n_heads=2, n_layers=1, dropout=0.0),
]


class Agreeing(Fusion):
    """The mean of what modalities say, who are asked to agree: a head with a loss of its own."""

    def __init__(self, *, d_out=64, weight=1.0):
        super().__init__(d_out=d_out)
        self.weight = weight
        self.apart = None

    def make_layers(self, dims):
        self.say = torch.nn.ModuleDict(
            {name: torch.nn.Linear(width, self.d_out) for name, width in dims.items()}
        )

    def fuse(self, tokens):
        present = presence(tokens)
        said = torch.stack([self.say[name](t.pool()) for name, t in tokens.items()], dim=1)
        mean = masked_mean(said, present)
        apart = (said - mean[:, None]).square().mean(dim=2)
        self.apart = self.weight * (apart * present).mean() if self.training else None
        return mean

    def auxiliary_loss(self):
        return self.apart


HEADS_OF_OTHERS = [Agreeing(d_out=8)]
SURE = [head for head in HEADS if type(head).uncertainty is not Fusion.uncertainty]
DIMS = {"labs": 4, "mri": 6, "notes": 5}

every_head = pytest.mark.parametrize(
    "described", HEADS + HEADS_OF_OTHERS, ids=lambda head: type(head).__name__
)


def make_tokens(n_rows=5, seed=0, present=None, lengths=None):
    generator = torch.Generator().manual_seed(seed)
    lengths = lengths or {"labs": 1, "mri": 3, "notes": 4}
    tokens = {}
    for i, (name, width) in enumerate(DIMS.items()):
        values = torch.randn(n_rows, lengths[name], width, generator=generator)
        one = Tokens(values, torch.ones(n_rows, lengths[name], dtype=torch.bool))
        tokens[name] = one if present is None else one.keep(present[:, i])
    return tokens


def built(described):
    torch.manual_seed(0)
    head = resolve_head(described).build(DIMS)
    for parameter in head.parameters():  # also the ones that start at zero
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return head.eval()


def test_every_shipped_head_is_in_the_contract():
    assert {type(head) for head in HEADS} == {head_class(name) for name in head_names()}


@pytest.mark.parametrize("described", HEADS, ids=lambda head: type(head).__name__)
def test_a_head_can_be_copied_once_it_has_learned(described):
    head = built(described).train()
    head(make_tokens()).sum().backward()
    assert copy.deepcopy(head.eval()).auxiliary_loss() is None


@pytest.mark.parametrize("described", HEADS, ids=lambda head: type(head).__name__)
def test_a_huge_description_is_refused_before_it_costs_memory(described):
    counts = [name for name, value in described.get_params().items() if type(value) is int]
    for name in counts:
        huge = resolve_head(described).set_params(**{name: 10**6})
        with pytest.raises((ConfigurationError, ShapeError)), at_most_values(1000):
            huge.build(DIMS)


@pytest.mark.parametrize("described", SURE, ids=lambda head: type(head).__name__)
def test_less_is_known_with_each_modality_that_is_absent(described):
    head = built(described)
    present = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]]).bool()
    tokens = make_tokens(1)
    same = {n: Tokens(t.values.expand(4, -1, -1), t.mask.expand(4, -1)) for n, t in tokens.items()}
    dirty = {}
    for i, (name, t) in enumerate(reversed(same.items())):
        kept = t.mask & present[:, 2 - i, None]
        dirty[name] = Tokens(t.values.masked_fill(~kept[:, :, None], math.nan), kept)
    found = head.uncertainty(dirty)
    assert (found.diff() > 0).all() and found[0] > 0 and found[3] == 1.0


@every_head
@pytest.mark.parametrize("promise", PROMISES)
def test_it_keeps_its_promises(described, promise):
    PROMISES[promise](HeadCase(described))


@every_head
def test_hyperparameters_are_set(described):
    assert type(described)().set_params(d_out=16).d_out == 16


@every_head
def test_a_head_is_built_once_and_before_use(described):
    with pytest.raises(ConfigurationError, match="call build"):
        resolve_head(described)(make_tokens())
    with pytest.raises(ConfigurationError, match="built for 'labs', 'mri', 'notes' already"):
        built(described).build(DIMS)
    with pytest.raises(ConfigurationError, match="at least one modality"):
        resolve_head(described).build({})
    with pytest.raises(ConfigurationError, match="no hyperparameter 'width'"):
        resolve_head(described).set_params(width=3)
    with pytest.raises(ConfigurationError, match="no hyperparameter 'd_ot'.* Did you mean 'd_out'"):
        type(resolve_head(described))(d_ot=3)


@every_head
def test_tokens_that_do_not_fit_are_named(described):
    head = built(described)
    tokens = make_tokens()
    with pytest.raises(ShapeError, match="expected tokens of 'labs', 'mri', 'notes', got 'labs'"):
        head({"labs": tokens["labs"]})
    wrong = {**tokens, "mri": tokens["labs"]}
    with pytest.raises(ShapeError, match=r"modality 'mri': expected values \(B, T, 6\)"):
        head(wrong)


def test_gates_are_shares_of_what_is_present():
    head = built(Gated(d_out=8))
    present = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]]).bool()
    shares = head.weights(make_tokens(present=present))
    torch.testing.assert_close(shares.sum(dim=1), torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0]))
    assert (shares[~present] == 0).all()


def test_names_and_descriptions_resolve():
    assert isinstance(resolve_head("attention"), CrossAttention)
    described = Gated(d_out=12)
    resolved = resolve_head(described)
    assert resolved is not described and resolved.d_out == 12
    with pytest.raises(ConfigurationError, match="Did you mean 'gated'"):
        resolve_head("gate")
    with pytest.raises(ConfigurationError, match=f"expected one of {', '.join(head_names())} or a"):
        resolve_head(3)


@pytest.mark.parametrize("head", [type(head) for head in HEADS])
def test_unusable_hyperparameters_are_told_before_torch_does(head):
    has = head().get_params()
    for count in (name for name, value in has.items() if type(value) is int):
        for number in (0, -1, 2.5, "64"):
            with pytest.raises(ConfigurationError, match=f"{count}: expected an integer of at lea"):
                head(**{count: number}).build(DIMS)
    if "n_heads" in has:
        words = f"{head.__name__}: expected d_out as a multiple of n_heads, got d_out=6 and n_heads"
        with pytest.raises(ConfigurationError, match=words):
            head(d_out=6, n_heads=4).build(DIMS)
    for dropout in (2, -0.1, None):
        with pytest.raises(ConfigurationError, match="dropout: expected a number in"):
            head(dropout=dropout).build(DIMS)


# -- what heads are there for ----------------------------------------------------------


@pytest.mark.parametrize(
    "described",
    [
        LowRank(d_out=16),
        FiLM(d_out=16),
        FiLM(d_out=16, by="labs"),
        Bottleneck(d_out=16, n_heads=2, dropout=0.0),
        Latents(d_out=16, n_heads=2, dropout=0.0),
    ],
    ids=repr,
)
def test_what_two_modalities_tell_only_together_is_learned(described):
    torch.manual_seed(0)
    lab, scan = torch.cartesian_prod(*[torch.linspace(-1.0, 1.0, 5)] * 2).T
    y, ones = lab * scan, torch.ones(25)  # nothing of it is seen in one modality alone
    regions = torch.stack([torch.stack([scan, side * ones], dim=1) for side in (1, -1)], dim=1)
    tokens = {
        "labs": Tokens.single(torch.stack([lab, ones], dim=1)),
        "mri": Tokens(regions, torch.ones(25, 2, dtype=torch.bool)),
    }
    network = torch.nn.ModuleList([resolve_head(described), torch.nn.Linear(16, 1)])
    network[0].build({"labs": 2, "mri": 2})
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(250):
        loss = (network[1](network[0](tokens))[:, 0] - y).square().mean() / y.square().mean()
        if loss < 0.2:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.2


def test_latents_do_not_read_for_ever():
    assert resolve_head(Latents(n_layers=64)).build(DIMS).dims == DIMS
    with pytest.raises(ConfigurationError, match="Latents, n_layers: expected at most 64, got 65"):
        Latents(n_layers=65).build(DIMS)


def test_an_absent_modality_says_nothing_at_first_in_low_rank():
    head = resolve_head(LowRank(d_out=8)).build(DIMS)
    nothing = make_tokens(present=torch.zeros(5, 3, dtype=torch.bool))
    torch.testing.assert_close(head(nothing), torch.zeros(5, 8))
    alone = resolve_head(LowRank(d_out=8)).build({"labs": 4})
    alone.project["labs"].load_state_dict(head.project["labs"].state_dict())
    tokens = make_tokens(present=torch.tensor([[1, 0, 0]] * 5).bool())
    torch.testing.assert_close(head(tokens), alone({"labs": tokens["labs"]}))


@pytest.mark.parametrize(
    ("by", "sources"),
    [
        ("labs", {"mri": ["labs"], "notes": ["labs"]}),
        (["notes", "labs"], {"labs": ["notes"], "mri": ["labs", "notes"], "notes": ["labs"]}),
        (None, {"labs": ["mri", "notes"], "mri": ["labs", "notes"], "notes": ["labs", "mri"]}),
    ],
)
def test_film_steers_by_the_modalities_that_are_named(by, sources):
    head = built(FiLM(d_out=8, by=by))
    tokens = make_tokens()
    before = head.modulation(tokens)
    assert before.keys() == sources.keys()
    for changed in DIMS:
        other = Tokens(tokens[changed].values + 1.0, tokens[changed].mask)
        after = head.modulation({**tokens, changed: other})
        moved = {name for name in before if not torch.equal(after[name][0], before[name][0])}
        assert moved == {name for name in sources if changed in sources[name]}


def test_film_reads_what_nobody_conditions_as_it_is():
    head = built(FiLM(d_out=8, by=["labs", "notes"]))
    present = torch.tensor([[0, 1, 0], [1, 1, 0], [1, 0, 1], [0, 0, 1], [0, 0, 0]]).bool()
    tokens = make_tokens(present=present)
    changed = {
        name: (scale != 1.0).any(dim=1) & (shift != 0.0).any(dim=1)
        for name, (scale, shift) in head.modulation(tokens).items()
    }
    assert changed["mri"].tolist() == [False, True, True, True, False]
    assert changed["labs"].tolist() == [False, False, True, True, False]
    # Where the film is absent, what would have steered it still counts.
    moved = {**tokens, "labs": Tokens(tokens["labs"].values + 1.0, tokens["labs"].mask)}
    same = torch.isclose(head(moved), head(tokens)).all(dim=1)
    assert same.tolist() == [True, False, False, True, True]


def test_film_starts_without_steering():
    torch.manual_seed(0)
    head = resolve_head(FiLM(d_out=8)).build(DIMS)
    for scale, shift in head.modulation(make_tokens()).values():
        assert (scale == 1.0).all() and (shift == 0.0).all()


@pytest.mark.parametrize("by", [[], 3, {"labs": 1}])
def test_film_is_told_who_steers(by):
    with pytest.raises(ConfigurationError, match="FiLM, by: expected the name of a modality such"):
        FiLM(by=by).build(DIMS)
    for wrong in ("lab", ["labs", "lab"]):
        with pytest.raises(ConfigurationError, match=r"FiLM, by: .*got 'lab'. Did you mean 'labs'"):
            FiLM(by=wrong).build(DIMS)
    for alone in DIMS:  # as in late fusion, where each modality has a network of its own
        assert FiLM(by="labs").build({alone: 4}).modulation({}) == {}


# -- a loss of the head's own ----------------------------------------------------------


def agreeing(weight, **options):
    """Return a network, fitted where modalities have no reason of their own to agree."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 2)), columns=["crp", "bmi"])
    encoders = {name: af.TabularEncoder([name], d_out=4) for name in X}
    model = af.JointFusionClassifier(
        encoders, Agreeing(d_out=4, weight=weight), max_epochs=30, learning_rate=1e-2, verbose=0,
        random_state=0, **options,
    )  # fmt: skip
    return model.fit(X, (X["crp"] + X["bmi"] > 0).astype(int)), X


def disagreement(model, X):
    parts = model._encode(Frame.read(X))
    with torch.no_grad():
        model.network_.fusion.train()(parts.contents)
    return float(model.network_.fusion.auxiliary_loss() / model.network_.fusion.weight)


def test_a_head_has_no_loss_of_its_own_by_default():
    assert built(Concat(d_out=8)).train().auxiliary_loss() is None


def test_the_loss_of_a_head_is_learned_from():
    apart = [disagreement(*agreeing(weight)) for weight in (1e-6, 3.0)]
    assert apart[1] < 0.1 * apart[0]


def test_the_losses_of_head_and_encoders_are_added():
    head = built(Agreeing(d_out=8)).train()
    networks = {}
    for number, (name, width) in enumerate(DIMS.items()):
        backbone = VectorBackbone(width)
        backbone.auxiliary_loss = lambda n=number: torch.tensor(float(n)) if n else None
        networks[name] = EncoderNetwork(backbone, d_out=width)
    network = FusionNetwork(networks, head, d_fused=8, n_outputs=2).train()
    inputs = {name: {"vectors": torch.randn(4, width)} for name, width in DIMS.items()}
    network(inputs, dict.fromkeys(DIMS, torch.ones(4, dtype=torch.bool)))
    torch.testing.assert_close(network.auxiliary_loss(), head.apart + 1.0 + 2.0)


def test_a_head_with_a_loss_of_its_own_saves_and_loads(tmp_path):
    model, X = agreeing(1.0)
    again = af.load(model.save(tmp_path / "model.asf"), trusted=[Agreeing])
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.network_.auxiliary_loss() is None


def test_a_head_of_ones_own_needs_two_methods():
    class Mean(Fusion):
        def make_layers(self, dims):
            self.project = torch.nn.ModuleDict(
                {name: torch.nn.Linear(width, self.d_out) for name, width in dims.items()}
            )

        def fuse(self, tokens):
            return sum(self.project[name](t.pool()) for name, t in tokens.items())

    assert resolve_head(Mean(d_out=3)).build(DIMS)(make_tokens()).shape == (5, 3)
