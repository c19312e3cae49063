"""How a site answers messages, whatever carries them.

A site may be a new process for each message, as it is in Flower: what it has to remember is a
mapping of bytes that the carrier keeps for it.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Literal, TypeAlias

from asfusion.exceptions import InputError
from asfusion.federated._messages import pack, unpack
from asfusion.federated.plan import Plan, read_plan
from asfusion.federated.site import Site
from asfusion.federated.update import Task

Kind: TypeAlias = Literal["summary", "round"]
Memory: TypeAlias = MutableMapping[str, bytes]

_PLAN, _OWN, _OWN_FORMAT = "plan", "own", "asfusion.own/1"
_PAID = "private steps"


def answer(site: Site, kind: Kind, data: bytes, memory: Memory) -> bytes:
    """Return a site's reply to a message.

    Parameters
    ----------
    site : Site
        With its rows.
    kind : {"summary", "round"}
        What is asked: sums before the first round, or a task.
    data : bytes
        The task.
    memory : mutable mapping of str to bytes
        What the site remembers from one message to the next.

    Returns
    -------
    bytes
        A summary or an update.

    Raises
    ------
    InputError
        If the message is none that this site can answer.
    """
    if kind == "summary":
        return site.summary().to_bytes()
    task = Task.from_bytes(data)
    _join(site, task.plan, memory)
    if site.personal and _OWN in memory:
        site.take_over(unpack(memory[_OWN], _OWN_FORMAT)[1])
    site.n_private_steps = max(site.n_private_steps, int(memory.get(_PAID, b"0")))
    update = site.work(task)
    if site.n_private_steps:
        memory[_PAID] = str(site.n_private_steps).encode()
    if site.personal:
        memory[_OWN] = pack(_OWN_FORMAT, {}, site.own_weights)
    return update.to_bytes()


def _join(site: Site, plan: str, memory: Memory) -> None:
    """Build the model of the plan that a task names, from memory where it only names it."""
    if plan.startswith("{"):
        memory[_PLAN] = plan.encode()
    if site.plan_digest and site.plan_digest == plan:
        return
    found = _remembered(site, memory)
    if found is None or (not plan.startswith("{") and found.digest != plan):
        msg = (
            "Task: expected one by the plan that this site knows, got one by another. Send the "
            "plan again."
        )
        raise InputError(msg)
    if site.plan_digest != found.digest:
        site.join(found)


def _remembered(site: Site, memory: Memory) -> Plan | None:
    kept: Any = memory.get(_PLAN)
    return None if kept is None else read_plan(bytes(kept), site.model)
