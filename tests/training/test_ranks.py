"""What torchrun starts trains as one process does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.training import on_ranks

ROOT = Path(__file__).resolve().parents[2]


def torchrun(folder, world=2):
    """Start what torchrun would, without another process to import torch for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    told |= {"TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": 1, "PYTHONPATH": ROOT}
    started = []
    for rank in range(world):
        own = {**os.environ, **{k: str(v) for k, v in told.items()}}
        own |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        command = [sys.executable, on_ranks.__file__, folder]
        started.append(subprocess.Popen(command, env=own, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate(timeout=300)[1] for process in started]
    return [process.returncode for process in started], errors


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Return what one process says, and what each of two says."""
    together, alone = (tmp_path_factory.mktemp(name) for name in ("together", "alone"))
    for folder in (together, alone):
        on_ranks.write_weights(folder)
    codes, errors = torchrun(together)
    assert codes == [0, 0], errors
    ranks = [dict(np.load(together / f"rank{rank}.npz")) for rank in range(2)]
    return on_ranks.fits(alone), ranks, together


def test_two_ranks_learn_what_one_process_learns(answers):
    one, ranks, _ = answers
    for name in sorted(set(one) - {"n"}):
        first, second = (rank[name] for rank in ranks)
        assert np.array_equal(first, second), name
        # Statistics are those of the rows that a process sees.
        assert np.abs(first - one[name]).max() < (0.1 if name == "batch norm" else 1e-6), name
    assert np.array_equal(one["attention"], one["attention, resumed"])


def test_each_film_is_embedded_once_by_all(answers):
    one, ranks, _ = answers
    each = [int(rank["n"]) for rank in ranks]
    assert sum(each) == one["n"] == 27 and min(each) >= 10


def test_one_of_them_writes(answers):
    _, _, folder = answers
    assert (folder / "model.asf" / "manifest.json").exists()
    assert [file.name for file in (folder / "runs").iterdir()] == ["joint.ckpt"]


def test_all_of_them_say_what_is_wrong(answers):
    _, ranks, _ = answers
    for rank in ranks:
        told = str(rank["other seeds"])
        assert told.startswith("TrainingError: torchrun: expected the same rows, settings and")
        assert told.endswith("and give random_state a number.")
        assert "gives each its own card, got 'meta'" in str(rank["a card for two"])


def test_a_process_that_ended_is_told_by_the_others(answers):
    _, ranks, _ = answers
    told = str(ranks[0]["alone"])
    assert told.startswith("TrainingError: torchrun: expected an answer of every process, but one")
