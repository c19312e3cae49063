"""Arrays on disk, and rows of networks that come from there."""

import numpy as np
import pytest
import torch

from asfusion._tokens import Prepared
from asfusion.streams.matrix import Matrix
from asfusion.streams.prepared import Pieces, StoredPrepared
from asfusion.streams.spool import Spool
from asfusion.training.rows import Rows, batches


@pytest.fixture
def spool():
    with Spool() as opened:
        yield opened


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.bool_, np.uint8])
def test_rows_come_back_in_any_order(spool, dtype, monkeypatch):
    monkeypatch.setattr("asfusion.streams.spool.BLOCK_BYTES", 64)
    cells = np.random.default_rng(0).integers(0, 2, (50, 3, 2)).astype(dtype)
    stored = spool.array((3, 2), dtype)
    for part in np.array_split(cells, [0, 7, 7, 30]):
        stored.append(part)
    stored.done()
    assert stored.shape == cells.shape
    rows = np.array([49, 0, 7, 7, 30])
    np.testing.assert_array_equal(stored.take(rows), cells[rows])
    np.testing.assert_array_equal(np.concatenate([part for _, part in stored.blocks()]), cells)
    assert len(spool.array((3,), dtype).done()) == 0


def test_a_file_that_was_not_written_to_its_end_is_closed():
    with pytest.raises(KeyError), Spool() as spool:
        stored = spool.array((2,), np.float64)
        stored.append(np.ones((3, 2)))
        file = stored._file
        raise KeyError
    assert file.closed


def test_rows_are_rewritten_in_their_place(spool, monkeypatch):
    monkeypatch.setattr("asfusion.streams.spool.BLOCK_BYTES", 100)
    cells = np.random.default_rng(0).normal(size=(20, 4))
    stored = spool.array((4,), np.float64)
    stored.append(cells)
    stored.done().rewrite(lambda block: 2 * block[:, :3])
    np.testing.assert_array_equal(stored.take(np.arange(20)), 2 * cells[:, :3])
    matrix = Matrix(stored, np.array([0, 5, 6, 19]))
    places, parts = zip(*matrix.blocks(), strict=True)
    assert [(place.start, place.stop) for place in places][-1] == (3, 4)
    np.testing.assert_array_equal(np.concatenate(parts), np.asarray(matrix))
    np.testing.assert_array_equal(matrix[np.array([3, 0])], 2 * cells[[19, 0], :3])


def test_sequences_of_several_lengths_are_filled_up(spool):
    pieces = Pieces(spool)
    parts = [np.ones((2, 3, 2)), np.full((1, 5, 2), 2.0), np.full((2, 3, 2), 3.0)]
    for part in parts:
        pieces.append(part)
    found = pieces.done().take(np.array([4, 2, 0]))
    assert found.shape == (3, 5, 2)
    assert found[:, :, 0].tolist() == [[3, 3, 3, 0, 0], [2, 2, 2, 2, 2], [1, 1, 1, 0, 0]]


def _both(spool, n_rows=40):
    values = torch.randn(n_rows, 3, generator=torch.Generator().manual_seed(0))
    present = torch.arange(n_rows) % 4 != 0
    pieces = Pieces(spool)
    pieces.append(values.numpy())
    return Prepared({"x": values}, present), StoredPrepared({"x": pieces.done()}, present)


def test_prepared_rows_are_the_same_on_disk(spool):
    memory, disk = _both(spool)
    rows = torch.tensor([5, 0, 39])
    for own, other in ((memory.take(rows), disk.take(rows)), (memory, disk)):
        assert torch.equal(own.tensors["x"], other.tensors["x"][:])
        assert torch.equal(own.present, other.present)
    assert torch.equal(
        disk.take(rows).take(torch.tensor([2])).tensors["x"][:], memory.tensors["x"][39:]
    )
    targets, weights = torch.zeros(40), torch.ones(40)
    prints = {Rows({"labs": one}, targets, weights).fingerprint() for one in (memory, disk)}
    assert len(prints) == 1, "a run goes on from its checkpoint wherever its rows are"
    assert not disk.is_embedded
    assert torch.equal(disk.tensors["x"][3], memory.tensors["x"][3])
    mask = torch.arange(40) > 30
    assert torch.equal(disk.take(mask).tensors["x"][:], memory.take(mask).tensors["x"])


@pytest.mark.parametrize("near", [1, 10, 63, 64, 200, 999])
def test_runs_hold_every_row_once_and_follow_the_seed(near):
    def order(seed):
        torch.manual_seed(seed)
        return torch.cat(list(batches(1000, 16, near=near)))

    first = order(0)
    assert sorted(first.tolist()) == list(range(1000))
    assert torch.equal(first, order(0))
    assert not torch.equal(first, order(1))
    if near == 200:
        together = torch.unique(torch.cat(list(batches(1000, 500, near=near)))[:near] // 3)
        assert len(together) < 2 * 67, "they lie in short runs, which a disk reads quickly"


def test_rows_in_memory_are_shuffled_as_ever():
    torch.manual_seed(0)
    memory = list(Rows({}, torch.zeros(50), torch.ones(50)).batches(8))
    torch.manual_seed(0)
    for own, other in zip(memory, batches(50, 8), strict=True):
        assert torch.equal(own, other)
