"""``asfusion federate plan | server | client``: a study across hospitals, over Flower."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from asfusion.bundle.folder import MANIFEST
from asfusion.cli import _flower as flower
from asfusion.cli._federate_apps import MODULES, SITE, STUDY
from asfusion.cli._study import SiteFile, is_site, read_site, read_study
from asfusion.exceptions import ConfigurationError, TrainingError

_STARTS_S = 120.0
_LOOKS_S = 0.5
_LINK = "study"


def _plan(options: argparse.Namespace) -> None:
    """Show what a hospital would tell, or what several told together."""
    if is_site(options.file):
        _show_summary(read_site(options.file), options.out)
        return
    if not options.sums:
        msg = "plan: expected files of sums beside a study, got none. Or name one site's file."
        raise ConfigurationError(msg)
    from asfusion.federated.plan import make_plan
    from asfusion.federated.summary import Summary

    study = read_study(options.file)
    told = {file.stem: Summary.from_bytes(file.read_bytes()) for file in options.sums}
    print(make_plan(study.model, told, random_state=study.settings.get("seed", 0)))


def _show_summary(own: SiteFile, out: Path | None) -> None:
    from asfusion.federated._ledger import holds

    data = own.site().summary().to_bytes()
    print(f"Would leave once, {len(data)} bytes: {holds('summary', data)}.")
    print("Then leave, in each round: weights, how many rows moved them, their mean loss, and")
    print("counts of the probability among the rows that are held out. No row leaves.")
    if out is not None:
        out.write_bytes(data)
        print(f"Wrote the sums to {out}: JSON, to be read before anything is sent.")


def _server(options: argparse.Namespace) -> None:
    """Start the SuperLink, let the hospitals' keys in, and run the study once."""
    command = flower.superlink(options)
    if options.show:
        print(shlex.join(command))
        return
    save = read_study(options.study).settings["save"]
    started = time.time()
    with TemporaryDirectory() as name:
        home = Path(name)
        settings = flower.environment({STUDY: str(options.study.absolute())}, home)
        _write_app(home / "app")
        (home / "config.toml").write_text(flower.connection(_LINK, options), "utf-8")
        with flower.running(command, settings, options.log) as link:
            _wait_for(link, options.port)
            for key in options.node:
                _flwr(settings, "supernode", "register", str(key), _LINK)
            _flwr(settings, "run", str(home / "app"), _LINK, "--stream")
    made = save / MANIFEST
    if not made.exists() or made.stat().st_mtime < started:
        raise TrainingError("federate server: expected a model, got none. See what was said above.")
    print(f"Saved {save}")


def _client(options: argparse.Namespace) -> None:
    """Start the hospital's SuperNode, and say what leaves while it runs."""
    command = flower.supernode(options)
    if options.show:
        print(shlex.join(command))
        return
    own = read_site(options.site)
    own.site()  # what is wrong with the rows is better said before anybody waits for them
    before = len(_sent(own.ledger))
    settings = flower.environment({SITE: str(options.site.absolute())})
    print(f"What leaves is written to {own.ledger}. Ctrl-C ends.", flush=True)
    try:
        with flower.stop_on_term(), flower.running(command, settings, options.log) as node:
            _tell_until_end(node, own.ledger, before)
    finally:
        print(_total(_sent(own.ledger)[before:]), flush=True)
    msg = (
        f"federate client: expected a SuperNode that stays, got one that ended with {node.poll()}. "
        "Is its key among those that the server was started with, and is the server there?"
    )
    raise TrainingError(msg)


def _tell_until_end(node: subprocess.Popen[bytes], ledger: Path, n_told: int) -> None:
    while node.poll() is None:
        time.sleep(_LOOKS_S)
        lines = _sent(ledger)
        for line in lines[n_told:]:
            print(f"left, {line['n_bytes']} bytes: {line['holds']}", flush=True)
        n_told = len(lines)


def _sent(ledger: Path) -> list[dict[str, Any]]:
    return (
        [json.loads(line) for line in ledger.read_bytes().splitlines()] if ledger.exists() else []
    )


def _total(lines: list[dict[str, Any]]) -> str:
    """Return how many bytes of each kind left."""
    sizes: Counter[str] = Counter()
    for line in lines:
        sizes[line["kind"]] += line["n_bytes"]
    kinds = [f"{sum(one['kind'] == kind for one in lines)} of {kind}" for kind in sizes]
    told = ", ".join(f"{kind} ({n} bytes)" for kind, n in zip(kinds, sizes.values(), strict=True))
    return f"Messages that left: {told or 'none'}. No row left."


def _write_app(folder: Path) -> None:
    folder.mkdir()
    for name, text in MODULES.items():
        (folder / name).write_text(text, "utf-8")


def _wait_for(link: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _STARTS_S
    while not flower.listens(port):
        if link.poll() is not None or time.monotonic() > end:
            msg = (
                f"federate server: expected a SuperLink that answers at port {port}, got none. Is "
                "the port free, and do the certificate and its key fit?"
            )
            raise TrainingError(msg)
        time.sleep(_LOOKS_S)


def _flwr(settings: dict[str, str], *words: str) -> None:
    if subprocess.run([flower.program("flwr"), *words], env=settings, check=False).returncode:
        msg = f"federate server: expected 'flwr {words[0]}' to go through, got an error, see above."
        raise TrainingError(msg)


# -- usage -----------------------------------------------------------------------------


def add_federate(commands: Any) -> None:
    """Add the commands of a study across hospitals."""
    federate = commands.add_parser("federate", help="train one model across hospitals")
    parts = federate.add_subparsers(dest="part", required=True, metavar="plan | server | client")
    _add_plan(parts)
    _add_server(parts)
    _add_client(parts)


def _add_plan(parts: Any) -> None:
    plan = parts.add_parser("plan", help="see what a hospital would tell; nothing is sent")
    words = "a hospital's file, or the study's with the sums of hospitals"
    plan.add_argument("file", type=Path, help=words)
    plan.add_argument("sums", type=Path, nargs="*", help="sums that hospitals wrote (.json)")
    plan.add_argument("--out", type=Path, help="where to write the hospital's sums (.json)")
    plan.set_defaults(run=_plan)


def _add_server(parts: Any) -> None:
    server = parts.add_parser("server", help="run a study, with the hospitals that are let in")
    server.add_argument("study", type=Path, help="file of the study (.toml)")
    server.add_argument("--certificate", type=Path, required=True, help="of this server (PEM)")
    server.add_argument("--key", type=Path, required=True, help="of that certificate (PEM)")
    words = "public key of a hospital that may take part"
    server.add_argument("--node", type=Path, nargs="+", default=[], metavar="KEY", help=words)
    words = "address to listen at (127.0.0.1: for this machine, and a proxy on it)"
    server.add_argument("--host", default="127.0.0.1", help=words)
    server.add_argument("--port", type=int, default=8000, help="(8000)")
    _add_shared(server)
    server.set_defaults(run=_server)


def _add_client(parts: Any) -> None:
    client = parts.add_parser("client", help="answer for one hospital")
    client.add_argument("site", type=Path, help="file of the hospital (.toml)")
    client.add_argument("--server", required=True, metavar="HOST:PORT", help="the study's server")
    client.add_argument("--key", type=Path, required=True, help="private key of this hospital")
    client.add_argument("--port", type=int, default=9094, help="of its own, on 127.0.0.1 (9094)")
    _add_shared(client)
    client.set_defaults(run=_client)


def _add_shared(command: Any) -> None:
    words = "certificate of the authority that signed the server's (PEM)"
    command.add_argument("--ca", type=Path, required=True, help=words)
    command.add_argument("--log", type=Path, help="file for what Flower says (standard error)")
    words = "print the command of Flower's, and run nothing"
    command.add_argument("--show", action="store_true", help=words)
