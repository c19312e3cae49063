"""Train across synthetic hospitals: against all rows in one place, and against each alone.

Four sites of 150 patients with 30 to 70 % axSpA, three of them without one of labs, notes and
genes; judged on the other patients of the same cohort, who have all. Seeds 0 and 1 chose the two
limits of the guard and the number of rounds, so they are left out by default.

    python benchmarks/federated.py                       # --part cohort: pooled, federated, alone
    python benchmarks/federated.py --part models         # forests, boosting, linear: sent once
    python benchmarks/federated.py --part options        # FedAdam, FedProx, scaling by the site
    python benchmarks/federated.py --part poison         # one site of four is bad
    python benchmarks/federated.py --part privacy        # what privacy costs, and what it hides
    python benchmarks/federated.py --part flower --python PYTHON   # a real SuperLink on loopback
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

import asfusion as af
from asfusion._progress import progress_shown
from asfusion.federated import (
    Coordinator,
    FedAdam,
    FedAvg,
    FedProx,
    Site,
    make_plan,
    simulate,
)
from asfusion.federated._answers import answer
from asfusion.federated._quiet import QUIET
from asfusion.federated.coordinator import round_rate

HERE = Path(__file__).parent
SITES = dict(zip("abcd", (0.3, 0.45, 0.55, 0.7), strict=True))
PER_SITE = 150
LABS = ["age", "sex", "bmi", "smoker", "crp", "esr", "wbc", "neutrophils", "lymphocytes"]
LABS += ["platelets", "haemoglobin", "cervical_rotation"]
LACKS = {"b": "notes", "c": "labs", "d": "genes"}
ATTACKS = ("none", "flip x1", "flip x10", "flip x100", "noise", "labels flipped")


def draw(seed: int, films: bool, patients: int) -> tuple[Any, Any, Any, list[str]]:
    """Return rows, classes, the site of each ("" for rows to judge on) and columns of genes."""
    kinds = ["labs", "notes", "genes", *(["xray"] if films else [])]
    cohort = af.datasets.make_axspa_cohort(patients, modalities=kinds, random_state=seed)
    y, rng = np.asarray(cohort.y), np.random.default_rng(seed)
    site = np.full(len(y), "", dtype=object)
    ill, well = (list(rng.permutation(np.flatnonzero(y == k))) for k in (1, 0))
    for name, share in SITES.items():
        for pool, n in ((ill, int(PER_SITE * share)), (well, PER_SITE - int(PER_SITE * share))):
            site[[pool.pop() for _ in range(n)]] = name
    X = cohort.X.copy()
    genes = [name for name in X.columns if name.startswith("rs")]
    columns = {"notes": ["clinical_note"], "labs": LABS, "genes": genes}
    for name, kind in LACKS.items():
        X.loc[X.index[site == name], columns[kind]] = None
    return X, y, site, [*genes, *(["film"] if films else [])]


def model_of(columns: list[str]) -> Any:
    encoders = {
        "labs": af.TabularEncoder(LABS),
        "notes": af.TextEncoder("clinical_note", backbone="tfidf"),
        "genes": af.GenotypeEncoder([name for name in columns if name.startswith("rs")]),
    }
    if "film" in columns:
        encoders["xray"] = af.ImageEncoder("pelvis_xray", backbone="efficientnet_lite0")
    return af.JointFusionClassifier(encoders, random_state=0, verbose=0)


def auc(model: Any, X: Any, y: Any) -> float:
    return float(roc_auc_score(y, model.predict_proba(X)[:, 1]))


def cohort(args: argparse.Namespace) -> None:
    print(f"{'seed':>4} {'pooled':>7} {'federated':>9} {'mean alone':>10}  alone")
    rows = []
    for seed in args.seeds:
        X, y, site, columns = draw(seed, args.films, args.patients)
        learn, judge = site != "", site == ""
        pooled = auc(model_of(columns).fit(X[learn], y[learn]), X[judge], y[judge])
        run = simulate(
            model_of(columns), X[learn], y[learn], site[learn],
            rounds=args.rounds, epochs=args.epochs, holdout=0.0, random_state=seed, verbose=0,
        )  # fmt: skip
        together = auc(run.model_, X[judge], y[judge])
        alone = []
        for name in SITES:
            own = model_of(columns).fit(X[site == name], y[site == name])
            alone.append(auc(own, X[judge], y[judge]))
        rows.append((pooled, together, float(np.mean(alone))))
        told = " ".join(f"{one:.3f}" for one in alone)
        print(f"{seed:>4} {pooled:7.3f} {together:9.3f} {np.mean(alone):10.3f}  {told}", flush=True)
    pooled, together, alone = np.mean(rows, axis=0)
    size = sum(array.nbytes for array in run.plan_.weights().values())
    most = max(run.rounds_[0].n_bytes.values())
    sums = max(run.summary_bytes.values())
    print(f"pooled - federated {pooled - together:+.3f} (asked: .010 at most)")
    print(f"federated - alone  {together - alone:+.3f} (asked: .050 at least)")
    print(
        f"a round: {size + most} bytes a site of {size} weights, {(size + most) / size:.2f} times"
    )
    print(f"before the first round: {sums} bytes of sums, {run.plan_bytes} of plan")


def models(args: argparse.Namespace) -> None:
    """Compare what sites send once (forests, boosting, linear ones) with all rows in one place."""
    print(f"{'model':>8} {'seed':>4} {'pooled':>7} {'sites':>6} {'mean alone':>10} {'kB sent':>8}")
    for name in ("forest", "boosted", "xgboost", "linear"):
        for seed in args.seeds:
            X, y, site, columns = draw(seed, args.films, args.patients)
            learn, judge = site != "", site == ""
            encoders = model_of(columns).encoders
            made = af.EarlyFusionClassifier(encoders, name, random_state=0, verbose=0)
            pooled = auc(made.fit(X[learn], y[learn]), X[judge], y[judge])
            run = simulate(made, X[learn], y[learn], site[learn], holdout=0.0, verbose=0)
            together = auc(run.model_, X[judge], y[judge])
            alone = np.mean(
                [auc(made.fit(X[site == one], y[site == one]), X[judge], y[judge]) for one in SITES]
            )
            sent = max(run.rounds_[0].n_bytes.values()) / 1e3
            told = f"{pooled:7.3f} {together:6.3f} {alone:10.3f} {sent:8.0f}"
            print(f"{name:>8} {seed:>4} {told}", flush=True)


def options(args: argparse.Namespace) -> None:
    """Compare options of strategies and sites with the default."""
    kinds = {
        "default": FedAvg(), "plain mean": FedAvg("mean"), "FedAdam": FedAdam(),
        "FedProx .01": FedProx(mu=0.01), "FedProx .1": FedProx(mu=0.1), "own scaling": None,
    }  # fmt: skip
    for seed in args.seeds:
        X, y, site, columns = draw(seed, False, args.patients)
        for name, strategy in kinds.items():
            own = strategy is None
            score = _trained(X, y, site, columns, strategy or FedAvg(), own, args)
            print(f"{seed:>4} {name:>12} {score:.3f}", flush=True)


def _trained(
    X: Any, y: Any, site: Any, columns: Any, strategy: FedAvg, own_scaling: bool, args: Any
) -> float:
    """Return the AUC on rows that no site has, by the plan's scaling."""
    model, sites = model_of(columns), {}
    for name in SITES:
        rows = X[site == name], y[site == name]
        sites[name] = Site(model, *rows, own_scaling=own_scaling)
    memories: dict[str, dict[str, bytes]] = {name: {} for name in SITES}

    def exchange(kind: Any, messages: Any) -> Any:
        return {n: answer(sites[n], kind, data, memories[n]) for n, data in messages.items()}

    work = Coordinator(
        model, exchange, rounds=args.rounds, epochs=args.epochs, strategy=strategy, seed=0
    )
    with progress_shown(False):
        return auc(work.run(list(SITES)).model_, X[site == ""], y[site == ""])


def poison(args: argparse.Namespace) -> None:
    print(f"{'rule':>8} {'attack':>15} {'AUC':>6} {'loss':>6} {'worst':>6}")
    drawn = {seed: draw(seed, False, args.patients) for seed in args.seeds}
    for how in args.how:
        clean = {}
        for attack in ATTACKS:
            found = {
                (seed, bad): _attacked(*drawn[seed], how, attack, bad, args)
                for seed in args.seeds
                for bad in (args.bad if attack != "none" else args.bad[:1])
            }
            clean = clean or found
            losses = [clean[seed, args.bad[0]] - one for (seed, _), one in found.items()]
            told = f"{np.mean(list(found.values())):6.3f} {np.mean(losses):6.3f}"
            print(f"{how:>8} {attack:>15} {told} {max(losses):6.3f}", flush=True)


def _attacked(
    X: Any, y: Any, site: Any, columns: Any, how: Any, attack: str, bad: str, args: Any
) -> float:
    """Return the AUC of a model that one site of four worked against."""
    model, sites, rng = model_of(columns), {}, np.random.default_rng(0)
    for name in SITES:
        labels = y[site == name]
        flipped = attack == "labels flipped" and name == bad
        sites[name] = Site(model, X[site == name], 1 - labels if flipped else labels)
    plan = make_plan(model, {name: one.summary() for name, one in sites.items()})
    weights, strategy = plan.weights(), FedAvg(how).start()
    strategy.watch(plan.outlook())
    for one in sites.values():
        one.join(plan)
    for number in range(args.rounds):
        rate = round_rate(number, args.rounds)
        updates = {
            name: one.fit_round(weights, epochs=args.epochs, round=number, rate=rate)
            for name, one in sites.items()
        }
        moved = {k: _turned(a, weights[k], attack, rng) for k, a in updates[bad].weights.items()}
        updates[bad] = replace(updates[bad], weights=moved)
        weights = strategy.aggregate(weights, updates)
    return auc(plan.model_of(weights), X[site == ""], y[site == ""])


def _turned(array: Any, start: Any, attack: str, rng: np.random.Generator) -> Any:
    if attack.startswith("flip x"):
        array = start - float(attack.removeprefix("flip x")) * (array - start)
    elif attack == "noise":
        array = start + rng.normal(size=array.shape)
    return np.asarray(array).astype(start.dtype)


def privacy(args: argparse.Namespace) -> None:
    """Compare federated training with and without privacy, and audit models of all rows."""
    from _federated_privacy import audit_all, cost_of_privacy

    drawn = {seed: draw(seed, False, args.patients) for seed in args.seeds}
    cost_of_privacy(drawn, model_of, auc, list(SITES))
    audit_all(args.seeds, args.patients, model_of, auc, args.shadows)


# -- Flower ------------------------------------------------------------------------------

APP = """
[project]
name = "axspa-study"
version = "1.0.0"
dependencies = []
[tool.flwr.app]
publisher = "study"
[tool.flwr.app.components]
serverapp = "study:server"
clientapp = "study:client"
[tool.flwr.app.config]
"""
APPS = """
client = af.federated.client_app(make_site)
server = af.federated.server_app(model, rounds=2, min_sites=2, timeout_s=900, save={save!r})
"""
LINK = """
[superlink]
default = "here"
[superlink.here]
address = "127.0.0.1:{port}"
insecure = true
"""


def flower(args: argparse.Namespace) -> None:
    """Compare a real SuperLink and two SuperNodes, over loopback, with the simulation."""
    with tempfile.TemporaryDirectory() as name:
        folder, tools = Path(name), Path(args.python).parent
        (folder / "study").mkdir()
        (folder / "home").mkdir()
        save = str(folder / "model.asf")
        (folder / "study" / "pyproject.toml").write_text(APP)
        shared = Path(__file__).with_name("_federated_study.py").read_text()
        (folder / "study" / "study.py").write_text(shared + APPS.format(save=save))
        (folder / "home" / "config.toml").write_text(LINK.format(port=args.port))
        settings = {
            **os.environ, **QUIET, "FLWR_HOME": str(folder / "home"),
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(HERE / "sockets"), str(HERE.parent)]),
            "ASKED": str(folder / "asked.jsonl"),
        }  # fmt: skip
        start = time.monotonic()
        with _running(folder, settings, args.port):
            done = subprocess.run(
                ["flwr", "run", str(folder / "study"), "here", "--stream"],
                env=settings, cwd=folder, capture_output=True, text=True, timeout=1800,
            )  # fmt: skip
        if not Path(save).exists():
            sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
        asked = [json.loads(line)[1] for line in (folder / "asked.jsonl").read_text().splitlines()]
        print(f"connected to, or looked up: {sorted(set(asked))} (asked: this machine alone)")
        print(f"SuperLink and two SuperNodes: {time.monotonic() - start:.0f} s for two rounds")
        _compare(af.load(save))


def _compare(model: Any) -> None:
    import _federated_study as study

    class Context:
        def __init__(self, part: int) -> None:
            self.node_config = {"part": part}

    memories: dict[str, dict[str, bytes]] = {"node 1": {}, "node 2": {}}

    def exchange(kind: Any, messages: Any) -> Any:
        sites = {name: study.make_site(Context(int(name[-1]) - 1)) for name in messages}
        return {n: answer(sites[n], kind, data, memories[n]) for n, data in messages.items()}

    run = Coordinator(study.model, exchange, rounds=2).run(list(memories))
    ours = run.model_.network_.state_dict()
    theirs = model.network_.state_dict()
    apart = max(float((ours[k].double() - theirs[k].double()).abs().max()) for k in ours)
    print(f"largest difference of a weight to the simulation: {apart:.1e} (asked: 1e-6)")


@contextmanager
def _running(folder: Path, settings: dict[str, str], port: int) -> Iterator[None]:
    """Run the server and two nodes; they end with the block, with all that they started."""
    link = ["flower-superlink", "--insecure", "--disable-runtime-dependency-installation"]
    commands = [[*link, "--port", str(port)]]
    for part in (0, 1):
        node = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}"]
        commands.append([*node, "--port", str(port + 1 + part), "--node-config", f"part={part}"])
    started = []
    try:
        for number, command in enumerate(commands):
            with (folder / f"log{number}.txt").open("w") as log:
                started.append(
                    subprocess.Popen(
                        command,
                        env=settings,
                        cwd=folder,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
            time.sleep(15 if not number else 1)
        yield
    finally:
        for process in started:
            os.killpg(process.pid, 15)


PARTS = {
    "cohort": cohort, "models": models, "options": options, "poison": poison,
    "privacy": privacy, "flower": flower,
}  # fmt: skip


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--part", choices=[*PARTS], default="cohort")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--patients", type=int, default=1400, help="600 of them at sites")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--films", action="store_true", help="with frozen films, which take long")
    parser.add_argument("--how", nargs="+", default=["guarded", "median", "krum", "mean"])
    parser.add_argument("--bad", nargs="+", default=list(SITES), help="sites that turn bad")
    parser.add_argument("--python", default=sys.executable, help="of an environment with Flower")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--shadows", type=int, default=12, help="shadow models of an audit")
    args = parser.parse_args()
    warnings.simplefilter("ignore", af.exceptions.AsfusionWarning)
    PARTS[args.part](args)


if __name__ == "__main__":
    main()
