"""A sum of weights that shows no site's own: Flower's SecAgg+ around our messages.

Flower offers the protocol as a mod of its ClientApp and as a workflow that its older kind of server
ran; the workflow takes the grid of a ServerApp as well. Masks, shares and keys are Flower's alone.
What is summed is each site's steps times its share of all rows, and those shares.

Dimensions: M modalities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import ConfigurationError, InputError
from asfusion.federated.site import Site
from asfusion.federated.strategies import FedAvg, rows_behind
from asfusion.federated.update import Task, Update

LEAST = 3  # sites: of two, each knows the other's part
_RANGE = 1.0  # of what is summed; a step times a share is far smaller
_GRAINS = 2**24  # in that range; 256 sites fit into 32 bits
_PLAIN = "update"

Flower = Callable[[str], Any]
Weights = Mapping[str, NDArray[Any]]


def check_secure(strategy: FedAvg | None, min_sites: int) -> FedAvg:
    """Return the strategy of a secure sum, or raise where there can be none."""
    if min_sites < LEAST:
        msg = (
            f"secure: expected min_sites of {LEAST} or more, got {min_sites}: of two sites, each "
            "can subtract its own part from the sum."
        )
        raise ConfigurationError(msg)
    strategy = strategy or FedAvg("mean")
    if strategy.how != "mean":
        msg = (
            f"secure: expected a strategy that averages, such as FedAvg('mean'), got "
            f"{strategy.how!r}: where no site's weights are seen, none can be left out."
        )
        raise ConfigurationError(msg)
    return strategy


# -- at a site -------------------------------------------------------------------------


def check_open(task: Task) -> None:
    """Raise if a task asks for weights outside of a secure sum."""
    if task.epochs:
        raise InputError("Task: expected one to judge, got one to learn outside the secure sum.")


def masked_reply(flower: Flower, message: Any, site: Site, update: Update, task: Task) -> Any:
    """Return the message whose weights Flower's mod will mask; the rest goes as it is."""
    total = site._plan.total.n_rows
    parts = _parts(update, task.weights, total, bool(site.personal))
    old = flower("flwr.common")
    plain = replace(update, weights={}).to_bytes()
    result = old.FitRes(
        old.Status(old.Code.OK, ""), old.ndarrays_to_parameters(parts), 1, {_PLAIN: plain}
    )
    content = flower("flwr.compat.common.recorddict_compat").fitres_to_recorddict(result, False)
    return flower("flwr.app").Message(content, reply_to=message)


def _parts(update: Update, start: Weights, total: int, personal: bool) -> list[NDArray[Any]]:
    """Return what is summed: shares of 1 + M counts, then the share of each step."""
    if personal:
        raise InputError("Site: expected no personal weights in a secure sum, got some.")
    counts = [update.n_rows, *(update.n_present[name] for name in sorted(update.n_present))]
    parts = [np.asarray(counts, dtype=np.float64) / total]
    for name in _summed(start):
        step = update.weights.get(name, start[name]).astype(np.float64) - start[name]
        parts.append(step * (rows_behind(name, update) / total))
    if not all(np.abs(part).max(initial=0.0) < _RANGE for part in parts):
        raise InputError(f"Round: expected steps within {_RANGE:g}, got one that cannot be summed.")
    return parts


# -- at the server ---------------------------------------------------------------------


@dataclass
class _Node:
    node_id: int


class _Around:
    """Takes the place of the older server's strategy: it hands tasks out, and the sum back."""

    def __init__(self, flower: Flower, tasks: Mapping[int, bytes]) -> None:
        self.flower, self.tasks = flower, tasks
        self.sums: list[NDArray[Any]] = []
        self.plain: dict[int, bytes] = {}

    def configure_fit(self, *_: Any) -> list[tuple[_Node, Any]]:
        old = self.flower("flwr.common")
        empty = old.ndarrays_to_parameters([])
        asked = {node: old.FitIns(empty, {"data": data}) for node, data in self.tasks.items()}
        return [(_Node(node), one) for node, one in asked.items()]

    def aggregate_fit(self, _: int, results: Any, __: Any) -> tuple[None, dict[str, Any]]:
        for node, result in results:
            if isinstance(said := result.metrics.get(_PLAIN), bytes):
                self.plain[node.node_id] = said
                self.sums = self.flower("flwr.common").parameters_to_ndarrays(result.parameters)
        return None, {}

    def num_available(self) -> int:
        return len(self.tasks)


class _Watched:
    """A grid that remembers who fell silent first: what fails after that fails for it."""

    def __init__(self, grid: Any) -> None:
        self.grid = grid
        self.lost: set[int] = set()

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> Any:
        sent = list(messages)
        replies = list(self.grid.send_and_receive(sent, timeout=timeout))
        came = {one.metadata.src_node_id for one in replies if not one.has_error()}
        self.lost = self.lost or {one.metadata.dst_node_id for one in sent} - came
        return replies


def secure_round(
    flower: Flower, grid: Any, context: Any, tasks: Mapping[int, bytes], timeout_s: float
) -> dict[int, bytes]:
    """Return each node's update, with the weights of the sum of all in place of its own.

    The protocol ends without a sum where a node falls silent before it has shared its keys: then
    the others begin anew.
    """
    while len(tasks) >= LEAST:
        watched = _Watched(grid)
        if found := _try_round(flower, watched, context, tasks, timeout_s):
            return found
        if not watched.lost:
            break
        tasks = {node: data for node, data in tasks.items() if node not in watched.lost}
    return {}


def _try_round(
    flower: Flower, grid: Any, context: Any, tasks: Mapping[int, bytes], timeout_s: float
) -> dict[int, bytes]:
    around = _Around(flower, tasks)
    legacy = flower("flwr.server.compat.legacy_context").LegacyContext(
        context, strategy=around, client_manager=around
    )
    keys = flower("flwr.server.workflow.constant")
    app = flower("flwr.app")
    legacy.state.config_records[keys.MAIN_CONFIGS_RECORD] = app.ConfigRecord(
        {keys.Key.CURRENT_ROUND: 1}
    )
    legacy.state.array_records[keys.MAIN_PARAMS_RECORD] = app.ArrayRecord()
    flower("flwr.server.workflow").SecAggPlusWorkflow(
        num_shares=1.0, reconstruction_threshold=0.5, max_weight=1.0, clipping_range=_RANGE,
        quantization_range=_GRAINS, timeout=timeout_s,
    )(grid, legacy)  # fmt: skip
    start = Task.from_bytes(next(iter(tasks.values()))).weights
    updates = {node: Update.from_bytes(data) for node, data in around.plain.items()}
    return {
        node: replace(one, weights=_after(one, start, around.sums)).to_bytes()
        for node, one in updates.items()
    }


def _after(update: Update, start: Weights, sums: list[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the weights of the sum, those that a site with these modalities may speak of."""
    shares, *steps = sums
    counts = dict(zip(("", *sorted(update.n_present)), shares, strict=True))
    found = {}
    for name, step in zip(_summed(start), steps, strict=True):
        behind = next((k for k in update.n_present if name.startswith(f"encoders.{k}.")), "")
        if rows_behind(name, update) and counts[behind] > 0:
            found[name] = (start[name] + step / counts[behind]).astype(start[name].dtype)
    return found


def _summed(start: Weights) -> list[str]:
    return sorted(name for name, array in start.items() if array.dtype.kind == "f")
