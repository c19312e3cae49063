"""The runner of benchmarks, and the harness and report of the peers: no peer is needed."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


def load(name, file):
    spec = importlib.util.spec_from_file_location(name, FOLDER / file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


harness = load("harness", "peers/harness.py")
report = load("peers_report", "peers/report.py")
peers_run = load("peers_run", "peers/run.py")
runner = load("benchmarks_run", "run.py")


SCRIPT = """
def outside():
    pass

    # user code begins: shared
    a = 1

    # a comment
    b = 2
    # user code ends

    # user code begins: one
    c = 3
    # user code ends
    d = 4
    # user code begins: one
    e = 5
    # user code ends
    # user code begins: two
    f = 6
    # user code ends
"""


def test_lines_are_those_between_the_marks_and_the_shared_ones():
    assert harness.count_lines(SCRIPT) == {"shared": 2, "one": 4, "two": 3}


@pytest.mark.parametrize(
    "peer", ["asfusion", "sklearn", "widedeep", "fusilli", "toolkit", "autogluon"]
)
def test_every_model_of_a_peer_has_lines_and_every_peer_pins_its_versions(peer):
    source = (FOLDER / "peers" / f"{peer}_task.py").read_text()
    lines = harness.count_lines(source)
    assert source.count(harness.BEGINS) == source.count(harness.ENDS)
    for file in (FOLDER / "peers" / "results").glob(f"{peer}.json"):
        for run in json.loads(file.read_text())["runs"]:
            if "lines" in run:
                assert run["model"].removesuffix(report.HALF) in lines
    if peer != "asfusion":
        pins = (FOLDER / "peers" / f"requirements-{peer}.txt").read_text().split()
        assert all("==" in pin for pin in pins)
        assert not [pin for pin in pins if pin.startswith(("nvidia-cu", "triton"))]


def make_task(folder):
    n = 40
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    rows = {"lab": (y + rng.normal(size=n)).tolist(), "crp": [None, *rng.normal(size=n - 1)]}
    rows |= {"sex": ["f", None] * (n // 2), "note": ["text"] * n, "image": ["a.png"] * n}
    rows["film"] = rows["image"]
    told = {"y": y.tolist(), "groups": list(range(n)), "seeds": [0], "size": 96, "blocks": {}}
    told |= {"numbers": ["lab", "crp"], "categories": ["sex"]}
    told["folds"] = [list(range(20)), list(range(20, 40))]
    folder.mkdir()
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "task.json").write_text(json.dumps(told))
    return harness.read_task(folder, folder)


def by_lab(train, test, task):
    del task
    return np.asarray(test.frame["lab"], dtype=float) * train.y.mean(), None


def strict(train, test, task):
    if any(part.frame["note"].isna().any() for part in (train, test)):
        raise TypeError("a note\n is   missing")
    return by_lab(train, test, task)


def test_a_model_is_run_on_every_fold(tmp_path):
    task = make_task(tmp_path / "toy")
    model = harness.Model(by_lab, "table", "same features", ("toy",))
    told = harness.run_model(model, task)
    assert np.isfinite(np.array(told["predictions"], dtype=float)).all()
    assert len(told["cpu_s"]) == 2 and told["memory_mb"] > 0


def test_missing_values_are_read_as_such(tmp_path):
    task = make_task(tmp_path / "toy")
    assert np.isnan(task.frame["crp"][0])
    assert task.frame["sex"][1] is None


def test_probes_tell_finite_nan_and_error_apart(tmp_path):
    task = make_task(tmp_path / "toy")
    told = harness.probes(
        harness.Peer("toy", {}, raw=strict, reads=("note", "number")), _with_lab_second(task)
    )
    assert told["as it should be"] == "predicts"
    assert told["note missing at fit"] == "TypeError: a note is missing"
    assert told["number missing at predict"] == "predicts NaN for 1 of 8 rows"
    assert told["number missing at fit"] == "predicts"
    assert told["image missing at predict"] == "reads none"
    assert told["cross_val_score"] == "no estimator"


def _with_lab_second(task):
    return harness.replace(task, numbers=["crp", "lab"])


@pytest.mark.parametrize(
    ("answer", "cell"),
    [
        ("predicts", "yes"),
        ("predicts NaN for 1 of 8 rows", "NaN"),
        ("ValueError: what it says", "ValueError"),
        ("reads none", "not read"),
        ("columns (permutation_importance)", "columns (permutation_importance)"),
    ],
)
def test_answers_become_cells(answer, cell):
    assert report.short(answer) == cell


def fake_results(folder):
    """Two libraries on data of 40 patients: one that knows the label, one that guesses."""
    y = [0, 1] * 20
    truth = {"y": y, "groups": list(range(40)), "folds": [list(range(40))], "seeds": [0]}
    tasks = {"cxr": truth, "axspa": truth, "rosmap": truth}
    rng = np.random.default_rng(0)
    guesses = rng.random(40).round(4).tolist()
    folder.mkdir()
    (folder / "tasks.json").write_text(json.dumps(tasks))
    for peer, told, seconds in (
        ("asfusion", [float(v) for v in y], 1.0),
        ("sklearn", guesses, 4.0),
    ):
        run = {"uses": "image, table", "lines": 9, "cpu_s": [seconds], "import_cpu_s": 1.0}
        run |= {"memory_mb": 100, "n_parameters": 1000, "predictions": [told]}
        runs = [
            {**run, "model": "ResNet-18", "task": task, "setting": "same network"} for task in tasks
        ]
        runs.append({"model": "broken", "task": "cxr", "error": "ValueError: no", "uses": "table"})
        runs[-1]["setting"] = "same features"
        probes = {
            f"{w} missing at {m}": "predicts"
            for w in ("image", "note", "number")
            for m in ("fit", "predict")
        }
        probes |= {"polars": "predicts", "cross_val_score": "works", "explains": "words"}
        runs.append({"model": "probes", "task": "cxr", "probes": probes, "notes": ["a note"]})
        runs[-1] |= {"package": peer, "version": "1.0"}
        text = json.dumps({"peer": peer, "runs": runs})
        (folder / f"{peer}.json").write_text(text)
    return folder


def test_the_report_scores_failures_and_speed(tmp_path):
    tasks, peers = report.read_results(fake_results(tmp_path / "results"))
    board = report.score_all(tasks, peers)
    first, second = board["cxr"][:2]
    assert first.peer == "asfusion" and first.auc.estimate == 1.0
    assert second.auc.low <= second.auc.estimate <= second.auc.high < 1.0
    assert "ValueError: no" in report.board_table(board["cxr"])
    assert "| asfusion: ResNet-18 | 1.0 | 0.25 |" in report.speed_table(board["cxr"])
    assert "0.25 of its time (half or less)" in report.claim(board)[0]
    assert "told apart" in report.standings(board)[0]


def test_nan_predictions_are_a_failure_not_a_score():
    truth = {"y": [0, 1], "groups": [0, 1], "folds": [[0, 1]]}
    run = {"predictions": [[0.5, None]], "model": "m", "task": "cxr"}
    scored = report.score("sklearn", run, truth)
    assert scored.auc is None and scored.run["error"] == "predicts NaN for 1 of 2 rows"


def test_the_report_writes_page_picture_and_readme(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    results = fake_results(tmp_path / "results")
    monkeypatch.setattr(
        sys, "argv", ["report.py", "--results", str(results), "--root", str(tmp_path)]
    )
    report.main()
    page, readme = (
        (tmp_path / "docs" / "peers.md").read_text(),
        (tmp_path / "README.md").read_text(),
    )
    assert "[[" not in page and "asfusion: ResNet-18" in page
    assert readme.startswith("before\n") and readme.endswith("after\n") and "old" not in readme
    assert (tmp_path / "docs" / "assets" / "peers.svg").read_text().startswith("<?xml")


def test_names_become_files():
    assert peers_run.slug("table + image, ResNet-18") == "table-image-resnet-18"


def test_every_benchmark_is_in_the_runner_and_there():
    listed = {bench.script for bench in runner.BENCHES}
    helpers = {"__init__.py", "run.py", "planted_letters.py", "_datasets.py"}
    helpers |= {"_federated_study.py", "_federated_privacy.py"}
    assert {file.name for file in FOLDER.glob("*.py")} - helpers <= listed
    assert all((FOLDER / script).exists() for script in listed)
    names = [bench.name for bench in runner.BENCHES]
    assert len(set(names)) == len(names)


def parts_in_the_runner(script):
    benches = [bench for bench in runner.BENCHES if bench.script == script]
    return {bench.options[bench.options.index("--part") + 1] for bench in benches}


def test_every_part_of_anatomy_is_in_the_runner():
    files = {file.stem for file in (FOLDER / "_anatomy").glob("[!_]*.py")}
    assert files == parts_in_the_runner("anatomy.py")


def test_every_part_of_scale_is_in_the_runner():
    files = {file.stem for file in (FOLDER / "_scale").glob("[!_]*.py")}
    assert files and files == parts_in_the_runner("scale.py")


def test_a_part_of_scale_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scale.py", "--part", "nowhere"])
    with pytest.raises(SystemExit, match="--part: expected one of .*tables.*, got 'nowhere'"):
        load("benchmarks_scale", "scale.py").main()


def bench_of(tmp_path, monkeypatch, code, **more):
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    (tmp_path / "benchmarks").mkdir(exist_ok=True)
    (tmp_path / "benchmarks" / "toy.py").write_text(code)
    return runner.Bench("toy", "a claim", "toy.py", ("full",), ("quick",), **more)


def test_a_script_that_runs_is_reported_with_what_it_printed(tmp_path, monkeypatch):
    bench = bench_of(tmp_path, monkeypatch, "import sys; print('10%\\rtold', sys.argv[1])")
    outcome = runner.run(bench, tmp_path, quick=True)
    assert (outcome.state, runner.tidy(outcome.printed)) == ("ran", "told quick")
    text = runner.write_report([outcome], quick=True)
    assert "`python benchmarks/toy.py quick`: ran" in text and "told quick" in text


def test_a_script_that_fails_is_reported_with_its_last_words(tmp_path, monkeypatch):
    bench = bench_of(tmp_path, monkeypatch, "print('half'); raise SystemExit('no space')")
    outcome = runner.run(bench, tmp_path, quick=False)
    assert outcome.state == "failed: exit status 1"
    assert "half" in outcome.printed and "no space" in outcome.printed


def test_a_script_that_does_not_end_is_stopped(tmp_path, monkeypatch):
    bench = bench_of(tmp_path, monkeypatch, "import time; time.sleep(60)")
    assert runner.run(bench, tmp_path, quick=False, limit_s=0.5).state.startswith("failed: longer")


def test_lacking_data_is_reported(tmp_path, monkeypatch):
    bench = bench_of(tmp_path, monkeypatch, "print()", needs=("cxr/cohort.csv",))
    outcome = runner.run(bench, tmp_path, quick=False)
    assert outcome.state == "left out: no cxr/cohort.csv in the data"


def test_what_says_nothing_in_short_is_left_out_there(tmp_path, monkeypatch):
    bench = bench_of(tmp_path, monkeypatch, "print('told')", full_only=True)
    assert runner.run(bench, tmp_path, quick=True).state.startswith("left out: a short run")
    assert runner.run(bench, tmp_path, quick=False).state == "ran"


def test_the_exit_status_says_whether_one_failed(tmp_path, monkeypatch, capsys):
    bench = bench_of(tmp_path, monkeypatch, "raise SystemExit(3)")
    monkeypatch.setattr(runner, "BENCHES", (bench,))
    out = tmp_path / "out" / "report.md"
    assert runner.main(["--only", "toy", "--out", str(out)]) == 1
    assert "failed: exit status 3" in out.read_text()
    assert runner.main(["--list"]) == 0
    assert "benchmarks/toy.py full" in capsys.readouterr().out


def test_results_of_earlier_runs_stay(tmp_path):
    out = tmp_path / "cache" / "out" / "fusilli"
    out.mkdir(parents=True)
    for task, seconds in (("cxr", 1), ("axspa", 2)):
        (out / f"{task}-a.json").write_text(json.dumps({"task": task, "model": "a", "s": seconds}))
    peers_run.collect("fusilli", tmp_path / "cache", tmp_path)
    (out / "cxr-a.json").unlink()
    (out / "axspa-a.json").write_text(json.dumps({"task": "axspa", "model": "a", "s": 3}))
    peers_run.collect("fusilli", tmp_path / "cache", tmp_path)
    runs = json.loads((tmp_path / "fusilli.json").read_text())["runs"]
    assert [(run["task"], run["s"]) for run in runs] == [("axspa", 3), ("cxr", 1)]
