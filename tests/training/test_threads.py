"""A seed gives the same model in every thread, and the generators of others are left alone."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import torch

import asfusion as af
from asfusion._random import torch_seed


def rows() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 3)), columns=["crp", "esr", "bmi"])
    return X, np.arange(60) % 2


def weights(_: int = 0) -> str:
    X, y = rows()
    model = af.JointFusionClassifier(
        {
            "labs": af.TabularEncoder(["crp", "esr"], dropout=0.3),
            "body": af.TabularEncoder(["bmi"], network="ft_transformer", dropout=0.3),
        },
        max_epochs=4,
        batch_size=8,
        modality_dropout=0.3,
        training=af.TrainingOptions(mixup=0.2, dropout=0.2),
        random_state=0,
        verbose=0,
    ).fit(X, y)
    found = hashlib.sha256()
    for tensor in model.network_.state_dict().values():
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()


def test_four_threads_with_one_seed_give_one_model_and_disturb_nobody() -> None:
    torch.manual_seed(3)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    alone = weights()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(weights, range(4))) == {alone}
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


def test_a_seeded_block_may_hold_another() -> None:
    with torch_seed(1):
        torch.rand(1)
        with torch_seed(2):
            inner = torch.rand(1)
        outer = torch.rand(1)
    with torch_seed(2):
        assert torch.equal(torch.rand(1), inner)
    with torch_seed(1):
        assert torch.equal(torch.rand(2)[1:], outer)


def test_a_seed_is_that_of_torch_and_reaches_no_other_device(monkeypatch) -> None:
    expected = torch.rand(3, generator=torch.Generator().manual_seed(7))
    monkeypatch.setattr(torch, "manual_seed", None)  # it visits every kind of device
    for device in (None, torch.device("cpu")):
        with torch_seed(7, device):
            torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
