"""The adapter to Flower, with Flower's own messages and contexts; skipped where it is absent."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import asfusion as af
from asfusion.exceptions import ConfigurationError, MissingDependencyError, TrainingError
from tests.federated.test_federated import model, rows

HAS_FLOWER = find_spec("flwr") is not None
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within Flower


@pytest.mark.skipif(HAS_FLOWER, reason="Flower is installed")
def test_without_flower_it_is_said_how_to_install_it() -> None:
    with pytest.raises(MissingDependencyError, match=r"asfusion\[federated\]"):
        af.federated.client_app(lambda context: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(MissingDependencyError, match=r"asfusion\[federated\]"):
        af.federated.server_app(model())
    assert os.environ["FLWR_TELEMETRY_ENABLED"] == "0"
    assert os.environ["FLWR_DISABLE_UPDATE_CHECK"] == "1"


@pytest.fixture(autouse=True)
def in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let messages be made as if this process were a run of Flower's."""
    if HAS_FLOWER:
        from flwr.supercore.task_identity import TaskIdentity

        for name in ("_task_id", "_run_id", "_node_id"):
            monkeypatch.setattr(TaskIdentity, name, 1)


class Grid:
    """Carries Flower's messages to apps in this process."""

    def __init__(
        self, app: Any, lost: tuple[int, ...] = (), nodes: tuple[int, ...] = (10, 11)
    ) -> None:
        from flwr.app import Context, RecordDict

        self.app, self.lost = app, lost
        self.replies: list[Any] = []
        self.reasons: list[str] = []  # Flower sends them to the server
        self.contexts = {
            node: Context(
                run_id=1, node_id=node, node_config={"part": part, "of": len(nodes)},
                state=RecordDict(), run_config={},
            )
            for part, node in enumerate((*nodes, 1))
        }  # fmt: skip

    def get_node_ids(self) -> list[int]:
        return list(self.contexts)[:-1]  # the last is the server's

    def send_and_receive(self, messages: Any, *, timeout: float) -> list[Any]:
        kept = [one for one in messages if one.metadata.dst_node_id not in self.lost]
        found = [self.answer(one) for one in kept]
        self.replies += found
        return found

    def answer(self, message: Any) -> Any:
        from flwr.app import Error, Message

        try:
            message = deepcopy(message)  # over a wire, nodes share nothing
            return self.app(message, self.contexts[message.metadata.dst_node_id])
        except Exception as error:  # as Flower's own process does
            self.reasons.append(str(error))
            return Message(Error(code=2, reason=""), reply_to=message)


def make_site(context: Any) -> Any:
    X, y = rows()
    part, of = (context.node_config[name] for name in ("part", "of"))
    lost = ["note"] if part == 2 else []
    return af.federated.Site(model(), X[part::of].drop(columns=lost), y[part::of], holdout=0.2)


def run(grid: Grid, tmp_path: Any, **settings: Any) -> Any:
    path = tmp_path / "model.asf"
    app = af.federated.server_app(model(), rounds=2, epochs=1, save=path, **settings)
    app._main(grid, grid.contexts[1])
    return af.load(path)


@pytest.mark.skipif(not HAS_FLOWER, reason="Flower is not installed")
def test_flower_carries_the_messages_of_the_simulation(tmp_path: Any) -> None:
    ledger = tmp_path / "sent.jsonl"
    app = af.federated.client_app(make_site, ledger=ledger)
    found = run(Grid(app), tmp_path, timeout_s=30)
    assert (tmp_path / "model.html").exists()
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["summary"] * 2 + ["round"] * 6
    assert "none of fewer than 5: labs of" in lines[0]["holds"]
    assert "arrays of weights" in lines[2]["holds"]
    X, _ = rows()
    assert np.isfinite(found.predict_proba(X)).all()


@pytest.mark.skipif(not HAS_FLOWER, reason="Flower is not installed")
def test_a_lost_node_is_named_or_done_without(tmp_path: Any) -> None:
    app = af.federated.client_app(make_site)
    with pytest.raises(TrainingError, match="at least 2 sites, got 1 .node 2: no answer in time"):
        run(Grid(app, lost=(11,)), tmp_path, timeout_s=30)
    with pytest.warns(af.exceptions.AsfusionWarning, match="without a summary"):
        run(Grid(app, lost=(11,)), tmp_path, timeout_s=30, min_sites=1)


@pytest.mark.skipif(not HAS_FLOWER, reason="Flower is not installed")
def test_a_nodes_own_error_shows_no_cell(tmp_path: Any) -> None:
    def broken(context: Any) -> Any:
        raise ValueError("CRP 17 of patient Meier")

    with pytest.raises(TrainingError, match="node 1: ValueError; node 2: ValueError") as error:
        run(Grid(af.federated.client_app(broken)), tmp_path, timeout_s=30)
    assert "Meier" not in str(error.value)


@pytest.mark.skipif(not HAS_FLOWER, reason="Flower is not installed")
def test_what_cannot_be_written_down_does_not_leave(tmp_path: Any) -> None:
    app = af.federated.client_app(make_site, ledger=tmp_path / "nowhere" / "sent.jsonl")
    with pytest.raises(TrainingError, match="node 1: FileNotFoundError"):
        run(Grid(app), tmp_path, timeout_s=30)


@pytest.mark.skipif(not HAS_FLOWER, reason="Flower is not installed")
@pytest.mark.parametrize("values", [{"data": 10**15}, {"error": b"\x1b[2J\n"}, {"x": 1}, None])
def test_an_answer_of_another_kind_is_named(values: Any, tmp_path: Any) -> None:
    from flwr.app import ConfigRecord, Message, RecordDict

    good = af.federated.client_app(make_site)

    def odd(message: Any, context: Any) -> Any:
        if context.node_id != 11:
            return good(message, context)
        records = {} if values is None else {"asfusion": ConfigRecord(values)}
        return Message(RecordDict(records), reply_to=message)

    with pytest.raises(TrainingError, match="at least 2 sites, got 1 .node 2: ") as error:
        run(Grid(odd), tmp_path, timeout_s=30)
    assert str(error.value).isprintable()
    assert "InputError" not in str(error.value)


@pytest.mark.skipif(not HAS_FLOWER, reason="Flower is not installed")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # Flower's own casts of integers
def test_a_secure_sum_gives_the_mean_and_shows_no_sites_weights(tmp_path: Any) -> None:
    nodes = (10, 11, 12)
    secure = Grid(af.federated.client_app(make_site, secure=True), nodes=nodes)
    summed = run(secure, tmp_path, timeout_s=30, secure=True, min_sites=3)
    openly = Grid(af.federated.client_app(make_site), nodes=nodes)
    mean = af.federated.FedAvg("mean")
    averaged = run(openly, tmp_path, timeout_s=30, strategy=mean, min_sites=3)
    ours, theirs = summed.network_.state_dict(), averaged.network_.state_dict()
    apart = max(float((ours[name] - theirs[name]).abs().max()) for name in ours)
    assert 0 < apart < 1e-5
    for reply in secure.replies:
        assert not any(reply.content.array_records.values())
        for record in reply.content.config_records.values():
            said = record.get("data") or record.get("update") or b""
            assert b"head.weight" not in said


@pytest.mark.skipif(not HAS_FLOWER, reason="Flower is not installed")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("after", [8, 12])  # answers: before it shared its keys, and after
def test_a_lost_node_leaves_the_secure_sum_to_the_others(after: int, tmp_path: Any) -> None:
    class Losing(Grid):
        def send_and_receive(self, messages: Any, *, timeout: float) -> list[Any]:
            self.lost = (13,) if len(self.replies) >= after else ()
            return super().send_and_receive(messages, timeout=timeout)

    app = af.federated.client_app(make_site, secure=True)
    grid = Losing(app, nodes=(10, 11, 12, 13))
    found = run(grid, tmp_path, timeout_s=30, secure=True, min_sites=3)
    assert np.isfinite(found.predict_proba(rows()[0])).all()


@pytest.mark.skipif(not HAS_FLOWER, reason="Flower is not installed")
def test_secure_sums_refuse_what_would_undo_them(tmp_path: Any) -> None:
    for settings, told in (
        ({"min_sites": 2}, "expected min_sites of 3 or more, got 2"),
        ({"min_sites": 3, "strategy": af.federated.FedAvg("median")}, "FedAvg.'mean'., got 'med"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            af.federated.server_app(model(), secure=True, **settings)  # type: ignore[arg-type]
    grid = Grid(af.federated.client_app(make_site), nodes=(10, 11, 12))
    run(grid, tmp_path, timeout_s=30, min_sites=3)
    secure = af.federated.client_app(make_site, secure=True)
    for kind in ("evaluate", "query", "train"):
        assert b"head.weight" not in asked_openly(secure, grid, kind)


@pytest.mark.skipif(not HAS_FLOWER, reason="Flower is not installed")
def test_an_error_within_a_secure_sum_shows_no_cell(tmp_path: Any) -> None:
    def sick(context: Any) -> Any:
        if "secaggplus_state" in str(list(context.state.config_records)):
            raise ValueError("CRP 17 of patient Meier")
        return make_site(context)

    grid = Grid(af.federated.client_app(sick, secure=True), nodes=(10, 11, 12))
    with pytest.raises(TrainingError, match="node 1: no part in the secure sum"):
        run(grid, tmp_path, timeout_s=30, secure=True, min_sites=3)
    assert grid.reasons == ["ValueError"] * 3


@pytest.mark.skipif(not HAS_FLOWER, reason="Flower is not installed")
@pytest.mark.parametrize("asked", [10**15, "x", 0.5, [1]])
def test_a_task_that_is_none_costs_no_memory(asked: Any) -> None:
    from flwr.app import ConfigRecord, Message, RecordDict

    content = RecordDict({"asfusion": ConfigRecord({"data": asked})})
    grid = Grid(af.federated.client_app(make_site))
    reply = grid.answer(Message(content, 10, "train", ttl=30.0))
    assert b"Message: expected bytes" in reply.content.config_records["asfusion"]["error"]


def asked_openly(app: Any, grid: Grid, kind: str) -> bytes:
    """Return what a site says to a server that asks for its weights outside of a sum."""
    from flwr.app import ConfigRecord, Message, RecordDict

    plan = af.federated.make_plan(model(), [make_site(grid.contexts[10]).summary()])
    task = af.federated.Task(plan.weights(), 0, 1, 1.0, plan.to_bytes().decode()).to_bytes()
    content = RecordDict({"asfusion": ConfigRecord({"data": task})})
    reply = Grid(app, nodes=(10, 11, 12)).answer(Message(content, 10, kind, ttl=30.0))
    if reply.has_error():
        return b""
    return b"".join(dict(reply.content.config_records["asfusion"]).values())
