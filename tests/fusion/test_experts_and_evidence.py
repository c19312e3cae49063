"""What mixtures, products, evidence and the gate promise beyond the contract of heads."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import asfusion as af
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError
from asfusion.fusion.adaptation_gate import AdaptationGate
from asfusion.fusion.evidential import Evidential, _divergence
from asfusion.fusion.gated import Gated
from asfusion.fusion.gaussian_experts import GaussianExperts
from asfusion.fusion.mixture import MixtureOfExperts

DIMS = {"labs": 4, "mri": 6, "note": 5}


def tokens_of(n=6, seed=0, present=None):
    generator = torch.Generator().manual_seed(seed)
    tokens = {}
    for i, (name, width) in enumerate(DIMS.items()):
        one = Tokens.single(torch.randn(n, width, generator=generator, dtype=torch.float64))
        tokens[name] = one if present is None else one.keep(present[:, i])
    return tokens


def built(head):
    torch.manual_seed(0)
    return head.build(DIMS).double().eval()


def table(n=80, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["crp", "bmi", "age"])
    return X, (X["crp"] + X["bmi"] + 0.3 * rng.normal(size=n) > 0).astype(int)


ENCODERS = {name: af.TabularEncoder([name], d_out=4) for name in ("crp", "bmi", "age")}


def fitted(fusion, X, y, **options):
    options = {"max_epochs": 30, "learning_rate": 1e-2, "early_stopping": False} | options
    model = af.JointFusionClassifier(ENCODERS, fusion, verbose=0, random_state=0, **options)
    return model.fit(X, y)


# -- mixture of experts ------------------------------------------------------------------


@pytest.mark.parametrize("gate", ["softmax", "laplace"])
def test_each_modality_is_sent_to_a_few_experts(gate):
    head = built(MixtureOfExperts(d_out=8, n_experts=5, top_k=2, gate=gate))
    present = torch.rand(6, 3, generator=torch.Generator().manual_seed(1)) < 0.6
    tokens = tokens_of(present=present)
    shares = head.shares({name: tokens[name] for name in reversed(tokens)})
    assert shares.shape == (6, 3, 5)
    assert ((shares > 0).sum(dim=2) == 2).all()
    torch.testing.assert_close(shares.sum(dim=2), torch.ones(6, 3, dtype=torch.float64))
    for i in range(3):  # absence is routed, too, and always alike
        absent = shares[~present[:, i], i]
        assert torch.equal(absent, absent[:1].expand_as(absent))


def test_the_nearest_experts_win_under_a_laplace_gate():
    head = built(MixtureOfExperts(d_out=8, gate="laplace"))
    tokens = tokens_of()
    said = head._read(tokens, torch.ones(6, 3, dtype=torch.bool))
    distance = torch.stack(
        [torch.cdist(said[:, i], head.router[name].weight) for i, name in enumerate(DIMS)], dim=1
    )
    nearest = distance.argsort(dim=2)[:, :, :2].sort(dim=2).values
    chosen = head.shares(tokens).nonzero()[:, 2].reshape(6, 3, 2)
    assert torch.equal(chosen, nearest)


def test_experts_are_asked_to_share_the_work():
    head = built(MixtureOfExperts(d_out=8, n_experts=4, balance=1.0)).train()
    head(tokens_of())
    uneven = head.auxiliary_loss()
    for router in head.router.values():
        router.weight.data.zero_()
    head(tokens_of())
    assert head.auxiliary_loss().item() == pytest.approx(0.0, abs=1e-12) and uneven > 0
    for router in head.router.values():  # one expert does it all
        router.weight.data.zero_()
        router.weight.data[2] = 100.0
    head.norm.bias.data.fill_(5.0)
    head(tokens_of())
    assert head.auxiliary_loss().item() == pytest.approx(math.log(4), abs=1e-3)
    head(tokens_of(present=torch.zeros(6, 3, dtype=torch.bool)))
    assert head.auxiliary_loss() == 0.0, "what is absent is no work"
    assert head.eval().auxiliary_loss() is None


def test_more_experts_are_asked_for_than_there_are():
    with pytest.raises(ConfigurationError, match="top_k of at most n_experts=4, got 5"):
        MixtureOfExperts(top_k=5).build(DIMS)
    with pytest.raises(ConfigurationError, match="top_k: expected an integer of at least 2, got 1"):
        MixtureOfExperts(top_k=1).build(DIMS)
    with pytest.raises(ConfigurationError, match="gate: expected one of 'softmax', 'laplace'"):
        MixtureOfExperts(gate="sigmoid").build(DIMS)


# -- product of Gaussian experts -----------------------------------------------------------


def test_the_product_is_that_of_normal_densities():
    head = built(GaussianExperts(d_out=3))
    present = torch.tensor(
        [[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 1]]
    ).bool()
    tokens = tokens_of(present=present)
    mean, variance = head.posterior(tokens)
    grid = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    for row in range(6):
        log_density = -grid.square() / 2
        for i, name in enumerate(DIMS):
            if present[row, i]:
                means, raw = head.believe[name](tokens[name].values[row, 0]).chunk(2)
                precision = torch.nn.functional.softplus(raw)
                log_density = log_density - precision[0] * (grid - means[0]).square() / 2
        density = log_density.softmax(dim=0)
        expected = (density * grid).sum()
        torch.testing.assert_close(mean[row, 0], expected, atol=1e-6, rtol=0)
        spread = (density * (grid - expected).square()).sum()
        torch.testing.assert_close(variance[row, 0], spread, atol=1e-5, rtol=0)
    assert (mean[3] == 0).all() and (variance[3] == 1).all()


def test_the_divergence_from_the_prior_is_that_of_torch():
    head = built(GaussianExperts(d_out=3, kl_weight=0.5)).train()
    tokens = tokens_of()
    head(tokens)
    mean, variance = head.posterior(tokens)
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    posterior = torch.distributions.Normal(mean, variance.sqrt())
    expected = torch.distributions.kl_divergence(posterior, prior).sum(dim=1).mean()
    torch.testing.assert_close(head.auxiliary_loss(), 0.5 * expected)
    head(tokens_of(present=torch.zeros(6, 3, dtype=torch.bool)))
    assert head.auxiliary_loss() == 0.0
    assert not torch.equal(head(tokens), head(tokens)), "a vector is drawn"
    assert torch.equal(head.eval()(tokens), head(tokens))


# -- evidence ------------------------------------------------------------------------------


def dempster(first, second):
    """Return the combination of two opinions by the paper's rule: beliefs (K,), and the unknown."""
    (b1, u1), (b2, u2) = first, second
    conflict = b1.sum() * b2.sum() - (b1 * b2).sum()
    scale = 1.0 / (1.0 - conflict)
    return scale * (b1 * b2 + b1 * u2 + b2 * u1), scale * u1 * u2


def test_opinions_are_combined_by_dempsters_rule():
    head = built(Evidential(d_out=4))
    tokens = tokens_of()
    evidence = 4 * torch.expm1(head.opinions(tokens))
    rates = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    layer = head.output_layer(4).double()
    layer.bias.copy_(rates.log())
    predicted = layer(head(tokens)).softmax(dim=1)
    for row in range(6):
        strengths = evidence[row].sum(dim=1, keepdim=True) + 4
        opinions = [(e / s, 4 / s) for e, s in zip(evidence[row], strengths, strict=True)]
        belief, unknown = dempster(dempster(opinions[2], opinions[0]), opinions[1])
        torch.testing.assert_close(head.uncertainty(tokens)[row], unknown[0])
        torch.testing.assert_close(predicted[row], belief + rates * unknown)
    nothing = tokens_of(present=torch.zeros(6, 3, dtype=torch.bool))
    torch.testing.assert_close(layer(head(nothing)).softmax(dim=1), rates.expand(6, 4))


def test_conflict_leaves_more_unknown_than_agreement():
    head = built(Evidential(d_out=2))
    for witness in head.witness.values():  # each says what its own first number is
        for layer in (witness[0], witness[3]):
            layer.weight.data.zero_()
            layer.bias.data.zero_()
        witness[0].weight.data[0, 0], witness[0].weight.data[1, 0] = 5.0, -5.0
        witness[3].weight.data[0, 0] = witness[3].weight.data[1, 1] = 1.0
    one, other = torch.ones(1, 6).double(), -torch.ones(1, 6).double()

    def asked(labs, mri):
        note = Tokens.single(torch.zeros(1, 5).double(), torch.zeros(1, dtype=torch.bool))
        tokens = {"labs": Tokens.single(labs[:, :4]), "mri": Tokens.single(mri), "note": note}
        return head.uncertainty(tokens).item()

    agree, conflict = asked(one, one), asked(one, other)
    assert conflict > 5 * agree


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_evidence_has_a_finite_loss_and_gradient(dtype):
    head = Evidential(d_out=3).build({"labs": 3})
    layer = head.output_layer(3).to(dtype)
    layer.bias.copy_(torch.tensor([0.998, 0.001999, 1e-6]).log())
    x = torch.tensor([0.0, 1e-30, 1e-4, 0.999, 1.0, 30.0, 500.0], dtype=dtype)
    opinion = torch.cartesian_prod(x, x, x).requires_grad_()
    loss = head.row_loss(torch.nn.CrossEntropyLoss(reduction="none"), layer)
    targets = torch.arange(len(opinion)) % 3
    losses = loss(layer(opinion), targets)
    losses.sum().backward()
    assert torch.isfinite(losses).all() and torch.isfinite(opinion.grad).all()
    even = torch.expm1(opinion.detach().double()[:, 0].clamp(max=30.0)) * 3 + 3 * layer.rates()[0]
    told = layer(opinion).detach().double()[:, 0]
    small = opinion[:, 0] <= 30
    torch.testing.assert_close(told[small], even[small].log(), rtol=1e-5, atol=1e-5)


def test_evidence_for_a_wrong_class_costs_and_for_the_right_one_does_not():
    head = Evidential(d_out=3, penalty=1.0).build({"labs": 3})
    layer = head.output_layer(3)
    nothing = torch.zeros(3)
    penalty = head.row_loss(lambda outputs, targets: torch.zeros(len(outputs)), layer)
    right = layer(torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 2.0, 0.0]]))
    costs = penalty(right, torch.zeros(3, dtype=torch.int64))
    torch.testing.assert_close(costs[0], nothing[0], atol=1e-5, rtol=0)
    assert 0 < costs[1] < costs[2]
    parameters = torch.rand(5, 4, dtype=torch.float64) * 5 + 0.1
    start = torch.rand(4, dtype=torch.float64) + 0.1
    expected = torch.distributions.kl_divergence(
        torch.distributions.Dirichlet(parameters), torch.distributions.Dirichlet(start)
    )
    torch.testing.assert_close(_divergence(parameters, start), expected)
    plain = torch.nn.functional.cross_entropy
    assert Evidential(d_out=3, penalty=0.0).row_loss(plain, layer) is plain


def test_a_model_says_how_little_it_knows(tmp_path):
    X, y = table(150)
    model = fitted("evidential", X, y, max_epochs=25)
    assert model.score(X, y) > 0.85
    assert model.network_.fusion.d_out == 2 and model.fusion == "evidential"
    agree = pd.DataFrame({"crp": [1.5, -1.5], "bmi": [1.5, -1.5], "age": [np.nan, np.nan]})
    conflict, part = agree.assign(bmi=[-1.5, 1.5]), agree.assign(crp=np.nan)
    nothing = part.assign(bmi=np.nan)
    known, contradicted, part_known, unknown = [
        model.uncertainty(rows).mean() for rows in (agree, conflict, part, nothing)
    ]
    assert 0 < known < part_known < unknown == 1.0
    assert known < contradicted
    again = af.load(model.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(again.uncertainty(X), model.uncertainty(X))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_what_has_no_modality_gets_the_class_frequencies_from_the_head_itself():
    X, _ = table()
    rare = (X["crp"] > 1.2).astype(int).to_numpy()
    model = fitted("evidential", X, rare, max_epochs=2)
    nothing = {name: Tokens.single(torch.zeros(1, 4).double(), torch.zeros(1).bool()) for name in X}
    with torch.no_grad():
        told = model.network_.predict(nothing).softmax(dim=1)
    np.testing.assert_allclose(told[0], model.prior_, rtol=1e-6)


@pytest.mark.parametrize(
    "target", [None, af.targets.Grades()], ids=lambda target: type(target).__name__
)
def test_what_is_no_class_is_refused_by_name(target):
    X, y = table(30)
    estimator = af.JointFusionRegressor if target is None else af.JointFusionClassifier
    model = estimator(ENCODERS, "evidential", max_epochs=2, verbose=0, target=target)
    name = "Numbers" if target is None else "Grades"
    with pytest.raises(ConfigurationError, match=f"expected a target of classes, got {name}.*'gat"):
        model.fit(X, (X["crp"] if target is None else y).to_numpy())


def test_the_number_of_classes_is_that_of_the_target():
    X, y = table(30)
    with pytest.raises(ConfigurationError, match=r"d_out=None or 2 \(classes\), got 64"):
        fitted(Evidential(d_out=64), X, y, max_epochs=1)
    with pytest.raises(ConfigurationError, match="d_out=the number of classes, got None"):
        Evidential().build(DIMS)
    with pytest.raises(ConfigurationError, match="d_out: expected an integer of at least 2, got 1"):
        Evidential(d_out=1).build(DIMS)


def test_heads_without_an_uncertainty_say_so():
    X, y = table(30)
    model = fitted(Gated(d_out=4), X, y, max_epochs=1)
    with pytest.raises(ConfigurationError, match="Gated: expected a head with an uncertainty"):
        model.uncertainty(X)


# -- adaptation gate -------------------------------------------------------------------------


def test_a_displacement_is_bounded_by_the_token_that_it_shifts():
    head = built(AdaptationGate(d_out=8, main="note", beta=0.25))
    tokens = tokens_of(200)
    loud = {n: Tokens(t.values * 50 if n == "mri" else t.values, t.mask) for n, t in tokens.items()}
    for given in (tokens, loud):
        values = torch.cat([head.project(given["note"].values)] * 2, dim=1)  # the last is free
        wanted = head._displacement(values, given)
        moved = head._bounded(values, wanted)[:, 0].norm(dim=1)
        longest = 0.25 * values[:, 0].norm(dim=1)
        assert (moved <= longest * (1 + 1e-9)).all()
        torch.testing.assert_close(moved, torch.minimum(longest, wanted[:, 0].norm(dim=1)))
        assert torch.equal(head._bounded(values, wanted)[:, 1], wanted[:, 1])


def test_a_main_modality_alone_stays_and_its_absence_leaves_the_others():
    head = built(AdaptationGate(d_out=8, main="mri"))
    alone = tokens_of(present=torch.tensor([[0, 1, 0]] * 6).bool())
    values = head.project(alone["mri"].values)
    assert (head._displacement(values, alone) == 0).all()
    others = tokens_of(present=torch.tensor([[1, 0, 1]] * 6).bool())
    assert head(others).var(dim=0).min() > 0
    for name in ("labs", "note"):
        moved = dict(others)
        moved[name] = Tokens(others[name].values + 1, others[name].mask)
        assert not torch.allclose(head(moved), head(others))


def test_the_main_modality_is_the_first_or_the_one_named():
    assert built(AdaptationGate(d_out=8)).center == "labs"
    assert built(AdaptationGate(d_out=8, main="note")).center == "note"
    for main in (None, "note"):  # as where each modality gets a network of its own
        only = AdaptationGate(d_out=8, main=main).build({"labs": 4})
        assert only({"labs": Tokens.single(torch.ones(2, 4))}).shape == (2, 8)
    with pytest.raises(ConfigurationError, match="main: expected one of .* Did you mean 'note'"):
        AdaptationGate(main="notes").build(DIMS)
    with pytest.raises(ConfigurationError, match="beta: expected a number in"):
        AdaptationGate(beta=0.0).build(DIMS)


def test_the_main_modality_is_the_same_in_a_saved_model(tmp_path):
    X, y = table(40)
    model = fitted(AdaptationGate(d_out=4, main="age"), X, y, max_epochs=2)
    first = fitted(AdaptationGate(d_out=4), X, y, max_epochs=2)
    for number, one in enumerate((model, first)):
        again = af.load(one.save(tmp_path / f"{number}.asf"))
        np.testing.assert_array_equal(again.predict_proba(X), one.predict_proba(X))
        assert again.network_.fusion.center == ("age", "crp")[number]
