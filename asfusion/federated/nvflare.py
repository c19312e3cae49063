"""NVFlare carries the messages: a Controller at the server and an Executor in each hospital.

A job names both by the paths of the two functions here, and nothing else that is run: rows, model
and ledger are named by whoever starts the server and the hospital, in the environment. So a
hospital may forbid jobs to bring code, and allow these two alone.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asfusion._checks import check_integer
from asfusion._optional import import_optional
from asfusion._progress import tell
from asfusion.exceptions import ConfigurationError, TrainingError
from asfusion.federated._answers import Kind, Memory, answer
from asfusion.federated._ledger import write_down
from asfusion.federated._messages import as_bytes
from asfusion.federated.coordinator import Coordinator, printable, words_of
from asfusion.federated.site import Site
from asfusion.federated.strategies import FedAvg, How

MAKE_SITE, LEDGER, MODEL = "ASFUSION_MAKE_SITE", "ASFUSION_LEDGER", "ASFUSION_MODEL"
_TASK = "asfusion_"
_KINDS: dict[str, Kind] = {f"{_TASK}summary": "summary", f"{_TASK}round": "round"}
_POLL_S = 0.5


def executor() -> Any:
    """Return an NVFlare Executor that answers for one hospital.

    The hospital's environment says ``ASFUSION_MAKE_SITE``, the function that makes its `Site` as
    ``module:name``, which is called with the hospital's name, and ``ASFUSION_LEDGER``, a file that
    gets a line for each message before it leaves; without it none is written.

    Returns
    -------
    nvflare.apis.executor.Executor
        For ``"path": "asfusion.federated.nvflare.executor"`` in ``config_fed_client.json``.

    Raises
    ------
    MissingDependencyError
        If NVFlare is not installed.
    ConfigurationError
        If there is no such function.

    Examples
    --------
    >>> from asfusion.federated.nvflare import executor
    >>> one = executor()  # doctest: +SKIP
    """
    shareable = _nvflare("nvflare.apis.shareable").Shareable
    make, ledger = _named(MAKE_SITE), os.environ.get(LEDGER)

    class SiteExecutor(_nvflare("nvflare.apis.executor").Executor):  # type: ignore[misc]
        """Answers tasks; the site and what it remembers live as long as the job here."""

        def __init__(self) -> None:
            super().__init__()
            self.memory: Memory = {}
            self.site: Site | None = None

        def execute(self, task_name: str, data: Any, fl_ctx: Any, abort_signal: Any) -> Any:
            reply = shareable()
            try:
                kind = _KINDS[task_name]
                self.site = self.site or make(fl_ctx.get_identity_name())
                said = answer(self.site, kind, as_bytes(data["data"]), self.memory)
                if ledger is not None:
                    write_down(ledger, kind, said)
                reply["data"] = said
            except Exception as error:  # its words may show a cell
                reply["error"] = words_of(error)
            return reply

    return SiteExecutor()


def controller(
    rounds: int = 10,
    epochs: int = 2,
    how: How = "guarded",
    min_sites: int = 2,
    timeout_s: int = 3600,
    seed: int = 0,
) -> Any:
    """Return an NVFlare Controller that trains one model across the job's sites.

    The server's environment says ``ASFUSION_MODEL``, the unfitted model as ``module:name``, the
    same as at the sites. The trained one is saved in the job's folder as ``federated.asf``, and
    the report beside it as ``federated.html``.

    Parameters
    ----------
    rounds : int
        How often sites learn and are averaged.
    epochs : int
        Passes of a site over its rows in each round.
    how : {"guarded", "mean", "median", "clipped", "krum"}
        As of `FedAvg`.
    min_sites : int
        Sites that must answer in each round.
    timeout_s : int
        Longest wait for the answers of a round (whole seconds).
    seed : int
        Of first weights and training.

    Returns
    -------
    nvflare.apis.impl.controller.Controller
        For ``"path": "asfusion.federated.nvflare.controller"`` in ``config_fed_server.json``.

    Raises
    ------
    MissingDependencyError
        If NVFlare is not installed.
    ConfigurationError
        If there is no such model.

    Examples
    --------
    >>> from asfusion.federated.nvflare import controller
    >>> one = controller(rounds=5)  # doctest: +SKIP
    """
    check_integer(timeout_s, "timeout_s", minimum=1)
    base: Any = _nvflare("nvflare.apis.impl.controller").Controller
    model = _named(MODEL)

    class StudyController(base):  # type: ignore[misc]
        """Trains across the sites of a job, and saves the model in the job's folder."""

        def start_controller(self, fl_ctx: Any) -> None: ...

        def stop_controller(self, fl_ctx: Any) -> None: ...

        def control_flow(self, abort_signal: Any, fl_ctx: Any) -> None:
            names = sorted(one.name for one in self._engine.get_clients())

            def exchange(kind: Kind, messages: Mapping[str, bytes]) -> dict[str, bytes | str]:
                return _ask(self, kind, messages, timeout_s, fl_ctx, abort_signal)

            run = Coordinator(
                model, exchange, rounds=rounds, epochs=epochs, strategy=FedAvg(how),
                min_sites=min_sites, seed=seed,
            ).run(names)  # fmt: skip
            folder = Path(self._engine.get_workspace().get_run_dir(fl_ctx.get_job_id()))
            run.model_.save(folder / "federated.asf")
            run.to_html(folder / "federated.html")
            tell(run.verdict)

        def process_result_of_unknown_task(
            self, client: Any, task_name: str, client_task_id: str, result: Any, fl_ctx: Any
        ) -> None:
            """Pass over an answer that comes too late."""

    return StudyController()


def _ask(
    study: Any,
    kind: Kind,
    messages: Mapping[str, bytes],
    timeout_s: int,
    fl_ctx: Any,
    abort_signal: Any,
) -> dict[str, bytes | str]:
    """Send a task to each site, and return what those say that answer in time."""
    task_of = _nvflare("nvflare.apis.controller_spec").Task
    replies: dict[str, bytes | str] = {}

    def keep(client_task: Any, fl_ctx: Any) -> None:
        replies[client_task.client.name] = _said(client_task.result)

    for name, data in messages.items():
        content = _nvflare("nvflare.apis.shareable").Shareable()
        content["data"] = data
        task = task_of(f"{_TASK}{kind}", content, timeout=timeout_s, result_received_cb=keep)
        study.broadcast(task, fl_ctx, targets=[name])
    while study.get_num_standing_tasks():
        if abort_signal.triggered:
            raise TrainingError("NVFlare: expected a run until its end, got an abort.")
        time.sleep(_POLL_S)
    return dict(replies)


def _said(result: Any) -> bytes | str:
    """Return what a site replied, or the words of its error; no reply ends the run."""
    if isinstance(said := result.get("data"), bytes):
        return said
    if isinstance(error := result.get("error"), str):
        return printable(error.encode(errors="replace"))
    return "an answer that is none of asfusion's"


def _named(variable: str) -> Any:
    """Return what the environment names as ``module:name``; the module is imported."""
    words = os.environ.get(variable, "")
    module, _, name = words.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        msg = (
            f"{variable}: expected a module and a name in it, such as study:model, got {words!r}, "
            "which cannot be imported. Set it where this server or site is started."
        )
        raise ConfigurationError(msg) from None


def _nvflare(module: str) -> Any:
    return import_optional(module, needed_for="Federation over NVFlare", extra="nvflare")
