"""``asfusion serve | page``: a saved model behind HTTP, for programs and for people."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from asfusion.cli._options import unit
from asfusion.exceptions import ConfigurationError

_TOKEN = "ASFUSION_TOKEN"
_FEWEST = 16  # characters of a token that nobody guesses


def add_serve(commands: Any) -> None:
    """Add the command."""
    serve = commands.add_parser("serve", help="answer for a saved model over HTTP")
    serve.add_argument("model", type=Path, help="folder of a saved model, or exported file")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    serve.add_argument("--port", type=int, default=8000)
    words = f"file with the token that clients send; or the variable {_TOKEN}"
    serve.add_argument("--token-file", type=Path, help=words)
    words = "processes, each with the model in memory (1)"
    serve.add_argument("--workers", type=int, default=1, help=words)
    words = "unit of a column, such as crp=mg/L; told in the schema"
    serve.add_argument("--unit", type=unit, action="append", default=[], help=words)
    words = "table of rows against which /explain takes columns and words apart"
    serve.add_argument("--background", type=Path, help=words)
    serve.add_argument("--max-mb", type=float, default=64.0, help="largest body (64)")
    serve.add_argument("--max-rows", type=int, default=1_000, help="rows of a request (1000)")
    words = "requests that may wait; more are told that it is busy (256)"
    serve.add_argument("--max-waiting", type=int, default=256, help=words)
    words = "seconds for a body to arrive and an answer to be made (30)"
    serve.add_argument("--seconds", type=float, default=30.0, help=words)
    serve.set_defaults(run=_serve)


def add_page(commands: Any) -> None:
    """Add the command."""
    page = commands.add_parser("page", help="show a saved model to a clinician, on this machine")
    page.add_argument("model", type=Path, help="folder of a saved model")
    page.add_argument("--port", type=int, default=8501)
    page.add_argument("--patients", type=Path, help="table of patients to choose from")
    words = "table of rows against which columns, words and pixels are taken apart"
    page.add_argument("--background", type=Path, help=words)
    page.add_argument("--report", type=Path, help="page that evaluate() wrote of this model")
    words = "saved finder of a film's corners: photographs by the camera are flattened"
    page.add_argument("--film-finder", type=Path, help=words)
    words = "unit of a column, such as crp=mg/L"
    page.add_argument("--unit", type=unit, action="append", default=[], help=words)
    page.set_defaults(run=_page)


def _page(options: argparse.Namespace) -> None:
    from asfusion.serving._page import run

    for name in ("patients", "background", "report", "film_finder"):
        file = getattr(options, name)
        if file is not None and not file.exists():
            msg = f"--{name.replace('_', '-')}: expected a file, got none. Check the path."
            raise ConfigurationError(msg)
    run(
        options.model,
        port=options.port,
        units=dict(options.unit),
        patients=options.patients,
        background=options.background,
        report=options.report,
        finder=options.film_finder,
    )


def _serve(options: argparse.Namespace) -> None:
    from asfusion.serving._process import run
    from asfusion.serving.service import Limits

    if options.workers < 1:
        raise ConfigurationError(f"--workers: expected at least 1, got {options.workers}.")
    limits = Limits(
        megabytes=options.max_mb,
        rows=options.max_rows,
        waiting=options.max_waiting,
        seconds=options.seconds,
    )
    run(
        options.model,
        host=options.host,
        port=options.port,
        token=_token(options),
        units=dict(options.unit),
        background=options.background,
        limits=limits,
        workers=options.workers,
    )


def _token(options: argparse.Namespace) -> str | None:
    """Return the secret; others than this machine are never answered without one."""
    from asfusion.serving.service import LOOPBACK

    token = os.environ.get(_TOKEN)
    if options.token_file is not None:
        token = options.token_file.read_text().strip()
    if token is None and options.host not in LOOPBACK:
        msg = (
            "--token-file: expected a file with a token beside a --host that others reach, got "
            "none. Make one: openssl rand -hex 32 > token"
        )
        raise ConfigurationError(msg)
    if token is not None and len(token) < _FEWEST:
        msg = f"--token-file: expected at least {_FEWEST} characters, got {len(token)}."
        raise ConfigurationError(msg)
    return token
