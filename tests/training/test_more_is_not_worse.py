"""The objective by which what a row has more of does not make its prediction worse."""

from __future__ import annotations

import itertools
import operator

import numpy as np
import pandas as pd
import pytest
import torch

import asfusion as af
from asfusion._tokens import Prepared
from asfusion.exceptions import ConfigurationError
from asfusion.fusion._resolve import head_names, resolve_head
from asfusion.nn.network import EncoderNetwork, FusionNetwork
from asfusion.nn.text import VectorBackbone
from asfusion.training import loop
from asfusion.training.halves import predict_rows
from asfusion.training.losses import LOSSES, cross_entropy, more_is_not_worse
from asfusion.training.rows import Rows, fewer_modalities, precision_of
from asfusion.training.runner import Runner
from asfusion.training.settings import TrainingSettings

DIMS = {"labs": 2, "genes": 12, "notes": 2}


def make_rows(n=24, seed=0, present=None, targets=None):
    """Return rows of which the first number of `labs` is the class, with noise, and no other is."""
    generator = torch.Generator().manual_seed(seed)
    values = {
        name: torch.randn(n, width, generator=generator, dtype=torch.float64)
        for name, width in DIMS.items()
    }
    noise = torch.randn(n, generator=generator, dtype=torch.float64)
    y = (values["labs"][:, 0] + 0.5 * noise > 0).long() if targets is None else targets
    here = torch.ones(n, 3, dtype=torch.bool) if present is None else present
    modalities = {
        name: Prepared({"vectors": values[name]}, here[:, i]) for i, name in enumerate(DIMS)
    }
    return Rows(modalities, y, torch.linspace(0.5, 1.5, n, dtype=torch.float64))


def make_network(fusion="concat", n_outputs=2):
    torch.manual_seed(0)
    encoders = {
        name: EncoderNetwork(VectorBackbone(width), d_out=8) for name, width in DIMS.items()
    }
    head = resolve_head(fusion).build(dict.fromkeys(DIMS, 8), n_outputs=n_outputs)
    return FusionNetwork(encoders, head, d_fused=head.d_out, n_outputs=n_outputs)


def make_run(network, rows, loss=cross_entropy, **settings):
    chosen = TrainingSettings(objective="more_is_not_worse", **settings)
    runner = Runner(chosen.device, precision_of(rows.modalities))
    return loop._Run(
        network, rows, None, loss=network.row_loss(loss), settings=chosen, runner=runner
    )


# -- the rule ----------------------------------------------------------------------------


def test_a_gradient_of_the_rule_is_there_only_where_it_is_broken():
    more = torch.tensor([1.0, 2.0, 0.5, 3.0], requires_grad=True)
    fewer = torch.tensor([2.0, 1.0, 0.6, 1.0], requires_grad=True)
    total = more_is_not_worse(more, fewer)
    torch.testing.assert_close(total, torch.tensor([1.5, 2.0, 0.55, 3.0]))
    total.sum().backward()
    assert more.grad.tolist() == [0.5, 1.0, 0.5, 1.0]
    assert fewer.grad.tolist() == [0.5, 0.0, 0.5, 0.0], "nobody is taught to be worse with less"


def test_fewer_are_some_of_those_that_a_row_has():
    torch.manual_seed(0)
    had = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]).bool()
    had = had.repeat(500, 1)
    kept = fewer_modalities({name: had[:, i] for i, name in enumerate("abcd")})
    assert list(kept) == list("abcd")
    kept = torch.stack(list(kept.values()), dim=1)
    assert not (kept & ~had).any()
    n_had, n_kept = had.sum(dim=1), kept.sum(dim=1)
    assert torch.equal(n_kept[n_had < 2], n_had[n_had < 2])
    many = n_had > 1
    assert ((n_kept[many] >= 1) & (n_kept[many] < n_had[many])).all()
    sizes = torch.bincount(n_kept[n_had == 4], minlength=5)[1:4] / 500
    shares = kept[n_had == 4].double().mean(dim=0)
    np.testing.assert_allclose(sizes, 1 / 3, atol=0.08)
    np.testing.assert_allclose(shares, 1 / 2, atol=0.08)


# -- in a run ------------------------------------------------------------------------------


def test_the_loss_of_a_step_is_that_of_more_and_of_fewer(monkeypatch):
    present = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 0, 1], [0, 1, 0]] * 6).bool()
    rows = make_rows(present=present)
    targets, weights = rows.targets, rows.weights
    at = make_run(make_network(), rows)
    at.network.eval()
    hidden = [{"labs"}, {"genes"}, set(), set()]
    less = {
        name: here & torch.tensor([name not in gone for gone in hidden] * 6)
        for name, here in zip(DIMS, present.T, strict=True)
    }
    monkeypatch.setattr(loop, "fewer_modalities", lambda _: less)
    part = torch.arange(24)
    got = at._loss_of(rows, part, ranks=True)
    parts = {name: Prepared(part.tensors, less[name]) for name, part in rows.modalities.items()}
    fewer = Rows(parts, targets, weights)
    single = [float(at._loss_of(rows, part[i : i + 1]).detach()) for i in range(24)]
    poorer = [float(at._loss_of(fewer, part[i : i + 1]).detach()) for i in range(24)]
    expected = [
        (a + b) / 2 + max(a - b, 0) / 2 if i % 4 < 2 else a
        for i, (a, b) in enumerate(zip(single, poorer, strict=True))
    ]
    assert any(a > b for a, b in zip(single, poorer, strict=True))
    assert float(got.detach()) == pytest.approx(np.mean(expected), rel=1e-9)
    assert float(at._loss_of(rows, part).detach()) == pytest.approx(np.mean(single), rel=1e-9)


@pytest.mark.parametrize("fusion", head_names())
def test_every_head_learns_by_it(fusion):
    at = make_run(make_network(fusion), make_rows(), batch_size=8, max_epochs=2, mixup=0.2)
    at.to_the_end(None)
    assert np.isfinite(at.at.history[-1]["loss"])
    assert all(torch.isfinite(p).all() for p in at.network.parameters())


TARGETS = {
    "classes": torch.arange(24) % 2,
    "numbers": torch.linspace(-1, 1, 48).double().reshape(24, 2),
    "grades": torch.arange(24) % 3,
    "counts": torch.arange(48).double().reshape(24, 2) % 5,
    "bounded": torch.linspace(0, 1, 48).double().reshape(24, 2),
    "labels": torch.tensor([[0.0, 1.0], [1.0, np.nan]] * 12).double(),
    "hazards": torch.stack([torch.arange(24) // 4 % 2, torch.arange(24) % 2], dim=1).double(),
    "cox": torch.stack([torch.arange(24) % 7, torch.arange(24) % 2], dim=1).double(),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_of_rows_can_be_ranked(name):
    network, rows = make_network(n_outputs=1 if name == "cox" else 2), make_rows()
    rows = Rows(rows.modalities, TARGETS[name], rows.weights)
    at = make_run(network, rows, loss=LOSSES[name](TrainingSettings()), max_epochs=2)
    at.to_the_end(None)
    assert np.isfinite(at.at.history[-1]["loss"])


def test_what_has_one_modality_learns_as_before():
    present = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1]] * 8).bool()
    runs = [make_run(make_network(), make_rows(present=present), max_epochs=2) for _ in range(2)]
    object.__setattr__(runs[1].settings, "objective", None)
    states = []
    for at in runs:
        at.to_the_end(None)
        states.append(at.network.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def trained(objective, rows):
    network = make_network()
    settings = TrainingSettings(
        objective=objective, max_epochs=15, batch_size=32, learning_rate=1e-2, modality_dropout=0.1
    )
    loop.train(network, rows, None, loss=cross_entropy, settings=settings)
    return network


def losses_by_subset(network, rows):
    """Return the mean loss of rows for each part of their modalities, by which those are."""
    losses = {}
    for kept in itertools.product([False, True], repeat=3):
        if any(kept):
            parts = zip(kept, rows.modalities.items(), strict=True)
            shown = {
                name: Prepared(part.tensors, part.present & here) for here, (name, part) in parts
            }
            outputs = predict_rows(network, Rows(shown, rows.targets, rows.weights))
            losses[kept] = cross_entropy(outputs, rows.targets).mean().item()
    return losses


def worst(losses):
    """Return the largest excess of a loss with more over one with a part of the same."""
    pairs = itertools.permutations(losses, 2)
    return max(losses[a] - losses[b] for a, b in pairs if all(map(operator.ge, a, b)))


def told_by_all(rows):
    first = [part.tensors["vectors"][:, 0] for part in rows.modalities.values()]
    return Rows(rows.modalities, (sum(first) > 0).long(), rows.weights)


def test_with_more_the_loss_is_no_higher_on_rows_that_were_not_seen():
    network = trained("more_is_not_worse", told_by_all(make_rows(150)))
    assert worst(losses_by_subset(network, told_by_all(make_rows(400, seed=7)))) < 0.0


def test_noise_that_a_row_has_in_addition_does_less_harm():
    """Genes and notes say nothing; learned by heart, they do harm on other rows."""
    fresh, harm = make_rows(400, seed=7), {"more_is_not_worse": 0.0, None: 0.0}
    for seed in (0, 1):
        for objective in harm:
            losses = losses_by_subset(trained(objective, make_rows(60, seed=seed)), fresh)
            harm[objective] += losses[True, True, True] - losses[True, False, False]
    assert harm["more_is_not_worse"] < 0.75 * harm[None]


def test_it_is_an_option_of_training_and_the_same_seed_gives_the_same_bytes():
    X = np.random.default_rng(0).normal(size=(40, 4))
    y = (X[:, 0] > 0).astype(int)
    X = pd.DataFrame(X, columns=["crp", "esr", "bmi", "age"])
    model = af.JointFusionClassifier(
        {"labs": af.TabularEncoder(["crp", "esr"]), "body": af.TabularEncoder(["bmi", "age"])},
        max_epochs=2, verbose=0, random_state=0,
        training=af.TrainingOptions(objective="more_is_not_worse"),
    )  # fmt: skip
    first, second = (model.fit(X, y).predict_proba(X) for _ in range(2))
    assert np.array_equal(first, second)
    other = model.set_params(training__objective=None).fit(X, y).predict_proba(X)
    assert not np.array_equal(first, other)
    with pytest.raises(ConfigurationError, match="objective: expected one of 'more_is_not_worse'"):
        model.set_params(training__objective="less").fit(X, y)
