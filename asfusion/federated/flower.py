"""Flower carries the messages: a ServerApp and a ClientApp around one model.

Flower's telemetry and search for updates are switched off before it is imported. Nothing here
reads a file or a connection that the caller did not open: rows come from the function that makes
the site.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from asfusion._checks import check_integer, check_number
from asfusion._optional import import_optional
from asfusion._progress import tell
from asfusion.exceptions import InputError, TrainingError
from asfusion.federated._answers import Kind, Memory, answer
from asfusion.federated._ledger import write_down
from asfusion.federated._messages import as_bytes
from asfusion.federated._quiet import QUIET
from asfusion.federated._secure import check_open, check_secure, masked_reply, secure_round
from asfusion.federated.coordinator import Coordinator, Exchange, printable, words_of
from asfusion.federated.site import Site
from asfusion.federated.strategies import FedAvg
from asfusion.federated.update import Task, Update

_RECORD = "asfusion"
_TYPES: dict[Kind, str] = {"summary": "query", "round": "train"}
_JUDGES = "evaluate"
_POLL_S = 1.0


def client_app(
    make_site: Callable[[Any], Site],
    *,
    ledger: str | os.PathLike[str] | None = None,
    secure: bool = False,
) -> Any:
    """Return a Flower ClientApp that answers for one hospital.

    Flower starts a process for each message, so the site is made anew each time; what it has to
    remember (the plan, its own weights) is kept in Flower's context of the node.

    Parameters
    ----------
    make_site : callable
        From Flower's context to the `Site`; reads the hospital's own rows, by a path in
        ``context.node_config`` for example.
    ledger : path, optional
        File that gets a line for each message before it leaves: when, its kind, bytes, SHA-256
        and what it holds. What cannot be written down does not leave.
    secure : bool
        Whether weights leave within Flower's SecAgg+ alone, so that the server sees their sum over
        all sites; as at the server. What is told before the first round is not summed so.

    Returns
    -------
    flwr.clientapp.ClientApp
        For ``clientapp = "module:name"`` in the app's pyproject.toml.

    Raises
    ------
    MissingDependencyError
        If Flower is not installed.

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> def make_site(context):
    ...     rows = pd.read_parquet(context.node_config["rows"])
    ...     return af.federated.Site(model, rows, rows.pop("axspa"), holdout=0.2)
    >>> app = af.federated.client_app(make_site)  # doctest: +SKIP
    """
    mods = [_flower("flwr.client.mod").secaggplus_mod] if secure else []
    app = _flower("flwr.clientapp").ClientApp(mods=mods)

    def say(kind: Kind, asked: bytes, site: Site, memory: Memory) -> bytes:
        said = answer(site, kind, asked, memory)
        if ledger is not None:
            write_down(ledger, kind, said)
        return said

    def respond(kind: Kind) -> Callable[[Any, Any], Any]:
        def reply(message: Any, context: Any) -> Any:
            memory = _remembered(context)
            try:
                asked = as_bytes(message.content.config_records[_RECORD]["data"])
                if secure and kind == "round":
                    check_open(Task.from_bytes(asked))
                content = {"data": say(kind, asked, make_site(context), memory)}
            except Exception as error:  # its words may show a cell
                content = {"error": words_of(error).encode()}
            context.state.config_records[_RECORD] = _config(memory)
            return _flower("flwr.app").Message(content=_content(content), reply_to=message)

        return reply

    def add(message: Any, context: Any) -> Any:
        """Answer within the secure sum; Flower tells the server the words of an error."""
        memory = _remembered(context)
        try:
            asked = as_bytes(message.content.config_records["fitins.config"]["data"])
            site = make_site(context)
            update = Update.from_bytes(say("round", asked, site, memory))
            reply = masked_reply(_flower, message, site, update, Task.from_bytes(asked))
        except Exception as error:  # its words may show a cell
            raise InputError(words_of(error)) from None
        context.state.config_records[_RECORD] = _config(memory)
        return reply

    app.query()(respond("summary"))
    app.evaluate()(respond("round"))
    app.train()(add if secure else respond("round"))
    return app


def server_app(
    model: Any,
    *,
    rounds: int = 10,
    epochs: int = 2,
    strategy: FedAvg | None = None,
    min_sites: int = 2,
    timeout_s: float = 3600.0,
    save: str | os.PathLike[str] = "federated.asf",
    secure: bool = False,
    seed: int = 0,
) -> Any:
    """Return a Flower ServerApp that trains one model across the connected nodes, and saves it.

    Parameters
    ----------
    model : JointFusionClassifier or JointFusionRegressor
        Unfitted; the same as at the sites.
    rounds : int
        How often sites learn and are averaged. Each is one message to each site.
    epochs : int
        Passes of a site over its rows in each round.
    strategy : FedAvg, optional
        How weights are averaged; `FedAvg()` by default.
    min_sites : int
        Nodes that are waited for, and that must answer in each round.
    timeout_s : float
        Longest wait for nodes, and for the answers of a round (seconds). A site that is late is
        done without.
    save : path
        Folder of the saved model; the report is written beside it as ``<name>.html``.
    secure : bool
        Whether only the sum of all sites' weights is seen, by Flower's SecAgg+: from three sites
        on, with ``FedAvg("mean")``, and four messages to each site in a round.
    seed : int
        Of first weights and training.

    Returns
    -------
    flwr.serverapp.ServerApp
        For ``serverapp = "module:name"`` in the app's pyproject.toml.

    Raises
    ------
    MissingDependencyError
        If Flower is not installed.
    ConfigurationError
        If a secure sum is asked of two sites, or with a guard that has to see each site.

    Examples
    --------
    >>> import asfusion as af
    >>> model = af.JointFusionClassifier({"labs": af.TabularEncoder(["crp"])})
    >>> app = af.federated.server_app(model, rounds=5)  # doctest: +SKIP
    """
    check_number(timeout_s, "timeout_s", minimum=1.0)
    check_integer(min_sites, "min_sites", minimum=1)
    if secure:
        strategy = check_secure(strategy, min_sites)
    app = _flower("flwr.serverapp").ServerApp()

    def main(grid: Any, context: Any) -> None:
        nodes = _wait_for_nodes(grid, min_sites, timeout_s)
        exchange = _exchange_by(grid, nodes, timeout_s)
        if secure:
            exchange = _secure_exchange(grid, context, nodes, timeout_s, exchange)
        coordinator = Coordinator(
            model, exchange, rounds=rounds, epochs=epochs, strategy=strategy,
            min_sites=min_sites, seed=seed,
        )  # fmt: skip
        run = coordinator.run(list(nodes))
        path = Path(run.model_.save(save))
        run.to_html(path.with_name(f"{path.stem}.html"))
        tell(run.verdict)

    app.main()(main)
    return app


def _wait_for_nodes(grid: Any, least: int, timeout_s: float) -> dict[str, int]:
    """Return the nodes that are connected, by a name that says nothing."""
    end = time.monotonic() + timeout_s
    while len(nodes := sorted(grid.get_node_ids())) < least:
        if time.monotonic() > end:
            msg = (
                f"Nodes: expected at least {least} connected within {timeout_s:g} s, got "
                f"{len(nodes)}. Start the SuperNodes, or lower min_sites."
            )
            raise TrainingError(msg)
        time.sleep(_POLL_S)
    return {f"node {number}": node for number, node in enumerate(nodes, start=1)}


def _secure_exchange(
    grid: Any, context: Any, nodes: Mapping[str, int], timeout_s: float, openly: Exchange
) -> Exchange:
    """Return how weights go within secure sums, and all else as ever."""

    def exchange(kind: Kind, messages: Mapping[str, bytes]) -> Mapping[str, bytes | str]:
        learns = kind == "round" and any(Task.from_bytes(one).epochs for one in messages.values())
        if not learns:
            return openly(kind, messages)
        tasks = {nodes[name]: data for name, data in messages.items()}
        found = secure_round(_flower, grid, context, tasks, timeout_s)
        none = "no part in the secure sum"
        return {name: found.get(node, none) for name, node in nodes.items() if name in messages}

    return exchange


def _exchange_by(grid: Any, nodes: Mapping[str, int], timeout_s: float) -> Exchange:
    """Return how messages go out and replies come back."""
    names = {node: name for name, node in nodes.items()}

    def exchange(kind: Kind, messages: Mapping[str, bytes]) -> dict[str, bytes | str]:
        message = _flower("flwr.app").Message
        sent = [
            message(_content({"data": data}), nodes[name], _type_of(kind, data), ttl=timeout_s)
            for name, data in messages.items()
        ]
        replies = grid.send_and_receive(sent, timeout=timeout_s)
        return {names[one.metadata.src_node_id]: _said(one) for one in replies}

    return exchange


def _type_of(kind: Kind, data: bytes) -> str:
    judges = kind == "round" and not Task.from_bytes(data).epochs
    return _JUDGES if judges else _TYPES[kind]


def _said(reply: Any) -> bytes | str:
    """Return what a node replied, or the words of its error; no reply ends the run."""
    if reply.has_error():
        return f"Flower's error {reply.error.code}"
    records = reply.content.config_records
    record = records.get(_RECORD, {})
    for name in ("data", "error"):
        if isinstance(said := record.get(name), bytes):
            return said if name == "data" else printable(said)
    return "an answer that is none of asfusion's"


def _remembered(context: Any) -> dict[str, bytes]:
    records = context.state.config_records
    return dict(records[_RECORD]) if _RECORD in records else {}


def _config(values: Mapping[str, bytes]) -> Any:
    return _flower("flwr.app").ConfigRecord(dict(values))


def _content(values: Mapping[str, bytes]) -> Any:
    return _flower("flwr.app").RecordDict({_RECORD: _config(values)})


def _flower(module: str) -> Any:
    os.environ.update(QUIET)
    return import_optional(module, needed_for="Federation over Flower", extra="federated")
