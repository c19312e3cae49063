"""What left a hospital, written down there before it leaves."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime

from asfusion.federated._answers import Kind
from asfusion.federated.summary import Summary
from asfusion.federated.update import Update


def write_down(path: str | os.PathLike[str], kind: Kind, data: bytes) -> None:
    """Add a line about a message to a file, which is made if it is not there."""
    told = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "kind": kind, "n_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(), "holds": holds(kind, data),
    }  # fmt: skip
    line = (json.dumps(told) + "\n").encode()
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line)  # in one piece, so that two processes do not mix theirs
    finally:
        os.close(handle)


def holds(kind: Kind, data: bytes) -> str:
    """Return in words what is in a message that a site sends."""
    return _in_summary(data) if kind == "summary" else _in_update(data)


def _in_summary(data: bytes) -> str:
    summary = Summary.from_bytes(data)
    parts = [
        f"{name} of {one.n_rows} rows ({len(one.columns)} columns, {len(one.terms)} words)"
        for name, one in summary.modalities.items()
    ]
    counts = f"sums of {summary.n_rows} rows, none of fewer than {summary.least}"
    return f"{counts}: {', '.join(parts)}"


def _in_update(data: bytes) -> str:
    update = Update.from_bytes(data)
    scores = f"counts of {len(update.scores.bins)} bins of rows held out"
    if not update.weights:
        return f"{scores}, no weights"
    return (
        f"round {update.round + 1}: {len(update.weights)} arrays of weights ({update.n_bytes} "
        f"bytes) that {update.n_rows} rows moved, their mean loss, {scores}"
    )
