"""Precision, copies on a device, and batches that fit into its memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asfusion.nn._asked import asked_precision, precision_asked
from asfusion.nn._passes import Copies, Sizes, passes


def out_of_memory_above(most: int):
    asked = []

    def run(rows: torch.Tensor, size: int) -> torch.Tensor:
        asked.append(len(rows))
        if len(rows) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return 2 * rows

    return asked, run


def test_rows_pass_in_halves_where_memory_runs_out_and_that_is_remembered() -> None:
    sizes, network, rows = Sizes(), nn.Linear(1, 1), torch.arange(11)
    asked, run = out_of_memory_above(3)
    assert torch.cat([*sizes.in_parts(network, rows, 8, run)]).tolist() == (2 * rows).tolist()
    assert asked == [8, 4, 2, 2, 2, 2, 2, 1]
    asked.clear()
    assert len([*sizes.in_parts(network, rows, 8, run)]) == 6 and asked == [2, 2, 2, 2, 2, 1]
    other, run = out_of_memory_above(99)
    assert len([*sizes.in_parts(nn.Linear(1, 1), rows, 8, run)]) == 2 and other == [8, 3]


def test_one_row_that_does_not_fit_and_other_errors_are_told() -> None:
    _, run = out_of_memory_above(0)
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        [*Sizes().in_parts(nn.Linear(1, 1), torch.arange(4), 4, run)]

    def broken(rows: torch.Tensor, size: int) -> None:
        raise RuntimeError("wrong shape")

    with pytest.raises(RuntimeError, match="wrong shape"):
        [*Sizes().in_parts(nn.Linear(1, 1), torch.arange(4), 4, broken)]


def test_a_copy_stays_on_the_device_until_weights_change() -> None:
    copies, network, meta = Copies(), nn.Linear(2, 2), torch.device("meta")
    there = copies.of(network, meta, None)
    assert there.weight.device.type == "meta" and network.weight.device.type == "cpu"
    assert copies.of(network, meta, None) is there and not there.training
    assert copies.of(network, meta, torch.float64).weight.dtype == torch.float64
    newer = copies.of(network, meta, None)
    with torch.no_grad():
        network.weight.add_(1.0)
    assert copies.of(network, meta, None) is not newer


@pytest.mark.parametrize(("precision", "mixed"), [("bfloat16", True), ("auto", False)])
def test_a_cpu_computes_in_bfloat16_where_that_is_asked_for(precision: str, mixed: bool) -> None:
    with precision_asked(precision):
        assert asked_precision() == precision
        with passes(torch.device("cpu"), asked_precision()):
            assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == (
                torch.bfloat16 if mixed else torch.float32
            )
    assert asked_precision() == "auto"


def test_a_gpu_multiplies_by_tensor_cores_and_leaves_the_setting_as_it_was() -> None:
    before = torch.get_float32_matmul_precision()
    with passes(torch.device("cuda"), "auto"):
        assert torch.get_float32_matmul_precision() == "high"
    with passes(torch.device("cuda"), "float32"):
        assert torch.get_float32_matmul_precision() == before
    assert torch.get_float32_matmul_precision() == before


def test_the_setting_is_as_it_was_after_passes_of_two_threads() -> None:
    before = torch.get_float32_matmul_precision()
    first, second = (passes(torch.device("cuda"), "auto") for _ in range(2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.get_float32_matmul_precision() == "high"  # of the second
    second.__exit__(None, None, None)
    assert torch.get_float32_matmul_precision() == before
