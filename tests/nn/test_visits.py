"""Networks of visits: padding, time, order of days, missing values, export."""

import pytest
import torch

from asfusion.exceptions import ConfigurationError
from asfusion.extend._promises import check_export
from asfusion.nn.visits import GRUVisitBackbone, LSTMVisitBackbone, TransformerVisitBackbone

BACKBONES = {
    "gru": GRUVisitBackbone,
    "lstm": LSTMVisitBackbone,
    "transformer": TransformerVisitBackbone,
}
every_backbone = pytest.mark.parametrize("kind", BACKBONES.values(), ids=BACKBONES)


def build(kind, **parameters):
    torch.manual_seed(0)
    return kind(3, **{"d_hidden": 8, "n_layers": 2, "time_scale": 60.0, **parameters}).eval()


def batch():
    """Return four rows of five, two, no and one visit."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0] * 5, [1, 0, 0, 0, 0]], dtype=bool)
    days = -torch.rand(4, 5, generator=generator).mul(600).sort(dim=1, descending=True).values
    known = torch.rand(4, 5, 3, generator=generator) < 0.7
    x = torch.randn(4, 5, 3, generator=generator)
    since = torch.rand(4, 5, 3, generator=generator) * 100
    there = mask[:, :, None]
    return {
        "x": x * there, "known": known & there, "since": since * there, "days": days * mask,
        "trend": torch.randn(4, 5, 6, generator=generator) * there, "mask": mask,
    }  # fmt: skip


@every_backbone
def test_padding_says_nothing(kind):
    network, visits = build(kind), batch()
    values, mask = network(visits)
    assert values.shape == (4, 1, 8) and mask.ravel().tolist() == [True, True, False, True]
    assert torch.isfinite(values).all() and not values[2].any()
    longer = {
        name: torch.cat([t, torch.full_like(t, 1)[:, :3]], dim=1) for name, t in visits.items()
    }
    longer["mask"][:, 5:] = False
    torch.testing.assert_close(network(longer).values, values)
    alone = {name: t[1:2, :2] for name, t in visits.items()}
    torch.testing.assert_close(network(alone).values, values[1:2])


@every_backbone
def test_days_and_what_is_known_matter(kind):
    network, visits = build(kind), batch()
    before = network(visits).values
    stretched = network({**visits, "days": visits["days"] * 3}).values
    assert (stretched - before)[[0, 1, 3]].abs().amax(dim=(1, 2)).min() > 1e-4
    unknown = network({**visits, "known": torch.zeros_like(visits["known"])}).values
    assert (unknown - before)[[0, 1]].abs().amax(dim=(1, 2)).min() > 1e-4


@every_backbone
def test_gradients_are_finite_also_for_rows_without_visits(kind):
    network = build(kind).train()
    network(batch()).values.square().sum().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(g).all() for g in gradients)


@every_backbone
def test_it_exports_without_looking_at_the_data(kind):
    visits = {name: torch.cat([t, t]) for name, t in batch().items()}
    check_export(build(kind), lambda n: ({name: t[:n] for name, t in visits.items()},))


@every_backbone
def test_it_learns_a_trend_that_no_single_visit_shows(kind):
    generator = torch.Generator().manual_seed(1)
    n, length = 128, 4
    days = -torch.rand(n, length, generator=generator).mul(600).sort(dim=1, descending=True).values
    rises = torch.arange(n) % 2
    level = torch.randn(n, 1, generator=generator)
    x = level + (2.0 * rises[:, None] - 1.0) * (days - days.mean(dim=1, keepdim=True)) / 200
    visits = {
        "x": x[:, :, None], "known": torch.ones(n, length, 1, dtype=bool),
        "since": torch.zeros(n, length, 1), "trend": torch.zeros(n, length, 2), "days": days,
        "mask": torch.ones(n, length, dtype=bool),
    }  # fmt: skip
    torch.manual_seed(0)
    network = kind(1, d_hidden=16, time_scale=150.0)
    head = torch.nn.Linear(16, 2)
    parameters = [*network.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1e-2)
    for _ in range(120):
        loss = torch.nn.functional.cross_entropy(head(network(visits).values[:, 0]), rises)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.25


def test_the_state_fades_after_the_last_visit():
    """The same visits, longer ago, leave a state that is nearer to zero."""
    network, visits = build(GRUVisitBackbone, n_layers=1), batch()
    _, final = network.top(
        network.reader(visits, torch.zeros(4, 5)), torch.zeros(4, 5), visits["mask"]
    )
    soon, late = (network.top.fade(final, torch.full((4,), t)) for t in (0.0, 50.0))
    torch.testing.assert_close(soon, final)
    assert late[0].abs().sum() < 0.5 * final[0].abs().sum()


def test_width_must_divide_into_pairs_per_head():
    with pytest.raises(ConfigurationError, match="d_hidden: expected a multiple of 4 for 2"):
        TransformerVisitBackbone(3, d_hidden=6)
