"""Text backbones: what one row gives depends on that row's real tokens alone."""

from __future__ import annotations

import pytest
import torch

from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError, ShapeError
from asfusion.extend._promises import check_export
from asfusion.nn.network import EncoderNetwork
from asfusion.nn.text import TransformerBackbone, VectorBackbone, read_windows

LENGTHS = (9, 3, 1, 6)


def _batch(width: int = 12) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, 50, (len(LENGTHS), width), generator=generator)
    mask = torch.arange(width) < torch.tensor(LENGTHS).unsqueeze(1)
    return {"ids": torch.where(mask, ids, 0), "mask": mask}


def _backbone(*, pool: bool = True) -> TransformerBackbone:
    torch.manual_seed(0)
    return TransformerBackbone(50, d_model=16, n_heads=2, pool=pool).eval()


@pytest.mark.parametrize("pool", [True, False])
def test_shapes(pool: bool) -> None:
    tokens = _backbone(pool=pool)(_batch())
    length = 1 if pool else max(LENGTHS)
    assert tokens.values.shape == (4, length, 16)
    assert tokens.mask.shape == (4, length)
    assert tokens.mask.sum(dim=1).tolist() == ([1] * 4 if pool else list(LENGTHS))


@pytest.mark.parametrize("pool", [True, False])
def test_a_row_is_the_same_alone_and_among_many(pool: bool) -> None:
    backbone, batch = _backbone(pool=pool), _batch()
    among = backbone(batch)
    for row in range(len(LENGTHS)):
        alone = backbone({key: value[row : row + 1] for key, value in batch.items()})
        torch.testing.assert_close(alone.pool(), among.pool()[row : row + 1])


def test_what_stands_at_masked_places_is_not_read() -> None:
    backbone, batch = _backbone(), _batch()
    junk = batch | {"ids": torch.where(batch["mask"], batch["ids"], 49)}
    torch.testing.assert_close(backbone(junk).values, backbone(batch).values)


def test_pooled_token_is_the_mean_of_the_others() -> None:
    pooled, spread = _backbone(pool=True)(_batch()), _backbone(pool=False)(_batch())
    torch.testing.assert_close(pooled.values.squeeze(1), spread.pool())


def test_order_of_words_matters() -> None:
    batch = {"ids": torch.tensor([[5, 6, 7], [7, 6, 5]]), "mask": torch.ones(2, 3).bool()}
    values = _backbone()(batch).values
    assert not torch.allclose(values[0], values[1])


@pytest.mark.parametrize("pool", [True, False])
def test_rows_without_any_token_are_finite_in_value_and_gradient(pool: bool) -> None:
    backbone, batch = _backbone(pool=pool).train(), _batch()
    batch["mask"][1:] = False
    tokens = backbone(batch)
    tokens.clean_values().sum().backward()
    assert torch.isfinite(tokens.values).all()
    assert not tokens.mask[1:].any()
    assert all(torch.isfinite(p.grad).all() for p in backbone.parameters())


def test_a_batch_without_any_token_is_finite() -> None:
    batch = _batch()
    tokens = _backbone()(batch | {"mask": torch.zeros_like(batch["mask"])})
    assert torch.isfinite(tokens.values).all()
    assert not tokens.mask.any()


@pytest.mark.parametrize("pool", [True, False])
def test_no_rows_give_no_tokens(pool: bool) -> None:
    batch = {key: value[:0] for key, value in _batch().items()}
    assert _backbone(pool=pool)(batch).values.shape == (0, 1, 16)


def test_last_block_is_the_last_layer() -> None:
    backbone = _backbone()
    network = EncoderNetwork(backbone, d_out=8, training_mode="last_block")
    learning = {name for name, p in network.backbone.named_parameters() if p.requires_grad}
    assert learning
    assert all(name.startswith("layers.1.") for name in learning)


def test_it_learns_the_order_of_words() -> None:
    torch.manual_seed(0)
    backbone = TransformerBackbone(50, d_model=16, n_heads=2, dropout=0.0)
    network = EncoderNetwork(backbone, d_out=2)
    ids = torch.stack([torch.randperm(46)[:8] + 4 for _ in range(64)])
    ids[:, 3], ids[:, 4] = 10, 11
    ids[::2, 3], ids[::2, 4] = 11, 10  # "no pain" is not "pain no"
    y = torch.arange(64) % 2
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    inputs = {"ids": ids, "mask": torch.ones_like(ids).bool()}
    for _ in range(80):
        loss = torch.nn.functional.cross_entropy(network(inputs).values.squeeze(1), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("pool", [True, False])
def test_it_exports_without_looking_at_the_data(pool: bool, windows: bool) -> None:
    batch = {k: v.repeat(2, 1)[:7] for k, v in _batch(width=9).items()}  # as long as the longest
    if windows:  # a second window of which half of the notes have none
        batch = {k: torch.stack([v, v * (v.sum(1) % 2 == 0)[:, None]], 1) for k, v in batch.items()}
    check_export(_backbone(pool=pool), lambda n: ({k: v[:n] for k, v in batch.items()},))


def test_width_must_divide_into_pairs_per_head() -> None:
    with pytest.raises(ConfigurationError, match="d_model as an even multiple of n_heads, got"):
        TransformerBackbone(50, d_model=18, n_heads=6)


def test_vectors_pass_in_the_networks_precision() -> None:
    backbone = VectorBackbone(3)
    vectors = torch.ones(2, 3, dtype=torch.float64)
    assert backbone({"vectors": vectors}).values.dtype == torch.float32
    assert backbone.double()({"vectors": vectors}).values.dtype == torch.float64
    assert not backbone.state_dict()
    network = EncoderNetwork(VectorBackbone(3), d_out=4, training_mode="frozen")
    assert network({"vectors": vectors}).values.shape == (2, 1, 4)


def test_vectors_must_be_a_matrix() -> None:
    with pytest.raises(ShapeError, match=r"expected vectors of shape \(B, D\)"):
        VectorBackbone(3)({"vectors": torch.ones(3)})


def test_buckets_change_no_value_and_no_gradient() -> None:
    torch.manual_seed(0)
    backbone = TransformerBackbone(50, d_model=16, n_heads=2)
    lengths = torch.tensor([300, 3, 200, 5, 290, 1, 0, 250, 7])
    mask = torch.arange(300) < lengths[:, None]
    ids = torch.randint(4, 50, mask.shape) * mask
    backbone.eval()
    calls: list[int] = []
    read = backbone._read

    def count(ids: torch.Tensor, mask: torch.Tensor) -> Tokens:
        calls.append(len(ids))
        return read(ids, mask)

    results = []
    for bucketed in (True, False):
        backbone.zero_grad()
        tokens = read_windows(count, ids, mask) if bucketed else read(ids, mask)
        (tokens.values * torch.arange(1.0, 10.0)[:, None, None]).sum().backward()
        results.append((tokens, [p.grad.clone() for p in backbone.parameters()]))
    (one, grads), (other, expected) = results
    assert len(calls) > 1 and sum(calls) == len(lengths)
    torch.testing.assert_close(one.values, other.values)
    assert torch.equal(one.mask, other.mask)
    for left, right in zip(grads, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_windows_are_flattened_and_absent_ones_are_not_read() -> None:
    backbone = _backbone()
    mask = torch.zeros(3, 2, 5, dtype=torch.bool)
    mask[0, 0, :4] = mask[0, 1, :2] = mask[1, 0, :5] = True
    ids = torch.full(mask.shape, 7) * mask
    tokens = backbone({"ids": ids, "mask": mask})
    assert tokens.values.shape == (3, 2, 16)
    assert tokens.mask.tolist() == [[True, True], [True, False], [False, False]]
    alone = backbone({"ids": ids[0, 1:], "mask": mask[0, 1:]})
    torch.testing.assert_close(tokens.values[0, 1], alone.values[0, 0])
