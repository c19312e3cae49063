"""The command line: ``asfusion demo | look | fit | predict | evaluate | explain | ...``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asfusion._checks import quoted
from asfusion._progress import progress_shown
from asfusion._stubs import fusion_families, fusion_heads
from asfusion._tables import write_table
from asfusion._version import __version__
from asfusion.cli._asked import Rows, bounds, listed, numbers, read_rows, read_to_look
from asfusion.cli._federate import add_federate
from asfusion.cli._judge import add_evaluate, add_explain, add_export
from asfusion.cli._options import (
    add_checkpoint,
    add_data,
    add_model,
    add_targets,
    add_trusted,
    inputs_of,
    present,
    read_films_as,
    read_for,
    read_model,
    with_folder,
)
from asfusion.cli._own import fusion_head
from asfusion.cli._serve import add_page, add_serve
from asfusion.encoders._files import with_fix
from asfusion.exceptions import AsfusionError, ConfigurationError
from asfusion.serving._columns import answers
from asfusion.serving._fields import encoders_within
from asfusion.targets._tasks import AUTO, TASKS

if TYPE_CHECKING:
    from asfusion.targets._base import Target

_FAMILIES = fusion_families()
_COMBINES = ("auto", "mean", "weighted", "product", "vote", "stacking")
_ESTIMATORS = ("logistic", "forest", "adaboost", "xgboost")
_TAKES_ESTIMATOR = ("early", "late")
_KEEP = ("auto", "joint")  # families whose fits are long enough to be gone on with
_STOPPED = 130  # what shells give to what Ctrl-C ends
_OF_FILES = (
    " Correct the path or the file, say where paths start with --root, or count what cannot be "
    "read as missing with --on-error."
)
# Fixes in which an error names what is no option here, and what they are here.
_FIXES = (
    (
        re.compile(r"Pass an ordered Categorical, or name the order.*", re.DOTALL),
        "Name them, the lowest first: --ordered none,mild,severe.",
    ),
    (re.compile(r"Make one of event and time\."), "Name both columns: --event and --time."),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after ``asfusion``; those of the process by default.

    Returns
    -------
    int
        0, 1 after an error that was printed, or 130 after Ctrl-C. Wrong usage exits with 2.

    Examples
    --------
    >>> from asfusion.cli.commands import main
    >>> main(["info"])
    asfusion ...
    0
    """
    options = _parser().parse_args(arguments)
    try:
        # A log file wants lines, not bars.
        with progress_shown(sys.stderr.isatty()):
            options.run(options)
    except KeyboardInterrupt:
        print(f"asfusion {options.command}: stopped.{_kept(options)}", file=sys.stderr)
        return _STOPPED
    except AsfusionError as error:
        told = with_fix(str(error), _OF_FILES)
        for pattern, fix in _FIXES:
            told = pattern.sub(fix, told)
        print(f"asfusion {options.command}: {told}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not write more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # Only what failed, not the system's whole message: it may quote more than a path.
        print(f"asfusion {options.command}: {error.strerror}: {error.filename}", file=sys.stderr)
        return 1
    return 0


def _kept(options: argparse.Namespace) -> str:
    """Return what stopping has not lost."""
    folder = getattr(options, "checkpoint", None)
    return "" if folder is None else f" The same command goes on from what is in {folder}."


def _demo(options: argparse.Namespace) -> None:
    import polars

    from asfusion.datasets.axspa_cohort import make_axspa_cohort

    out = _fresh_folder(options.out)
    images = out / "images"
    print(f"Making {options.rows} synthetic patients: radiographs, notes, labs and genes ...")
    cohort = make_axspa_cohort(options.rows, random_state=options.seed, path=images)
    films = cohort.plot()
    films.savefig(out / "radiographs.png", dpi=120)
    # By lists: polars.from_pandas needs pyarrow, which a first try does not install.
    cells = cohort.X.astype(object).where(cohort.X.notna(), None)
    table = polars.DataFrame(cells.to_dict("list"), infer_schema_length=None).with_columns(
        polars.Series("axspa", cohort.y),
        polars.Series("patient", cohort.groups),
        polars.col("pelvis_xray").str.strip_prefix(f"{out.absolute()}/"),
    )
    write_table(table, out / "patients.csv")
    shared = ["--target", "axspa", "--group", "patient", "--seed", str(options.seed)]
    data, model = str(out / "patients.csv"), str(out / "model.asf")
    fit = ["fit", data, *shared, "--test-share", "0.3", "--out", model]
    for step in (
        [*fit, "--report", str(out / "report.html")],
        ["predict", model, data, "--keep", "patient", "--out", str(out / "predictions.csv")],
        ["compare", data, *shared, "--fusions", "attention", "--out", str(out / "comparison.html")],
    ):
        print(f"\n$ asfusion {' '.join(step)}")
        part = _parser().parse_args(step)
        part.run(part)
    print(f"\nLook at {out / 'radiographs.png'}, report.html and comparison.html beside it.")
    print("All patients are synthetic. asfusion is a research tool, not a medical device.")


def _look(options: argparse.Namespace) -> None:
    from asfusion.overview.looker import look

    X, y, groups = read_to_look(options)
    day, compared = options.index_date, options.duplicates
    overview = look(X, y, groups, index_date=day, duplicates=compared)
    print(overview)
    if options.out:
        print(f"Wrote {overview.to_html(with_folder(options.out))}")


def _fit(options: argparse.Namespace) -> None:
    if options.report and not options.test_share:
        msg = "--report: expected --test-share beside it: a model is judged on unseen rows."
        raise ConfigurationError(msg)
    rows = read_rows(options)
    model = _make_model(options, rows)
    if not options.test_share:
        _fit_model(model, rows.X, rows.y, rows.groups, options)
        print(f"Fitted on all {len(rows.y)} rows. Saved {model.save(with_folder(options.out))}")
        return
    from asfusion.evaluation.report import evaluate

    train, test = _hold_out(rows.y, rows.groups, options.test_share, options.seed)
    _fit_model(model, *rows.take(train), options)
    X, y, groups = rows.take(test)
    report = evaluate(model, X, y, groups=groups)
    print(f"Fitted on {len(train)} rows, judged on the other {len(test)}.\n\n{report}")
    print(f"Saved {model.save(with_folder(options.out))}")
    if options.report:
        print(f"Wrote {report.to_html(with_folder(options.report))}")


def _predict(options: argparse.Namespace) -> None:
    import polars

    model = read_model(options)
    table = read_for(model, options)
    kept = table[:, present(table, options.keep, "--keep")]
    X = inputs_of(model, table)
    # A number for each row, so that rows can be matched whatever happens to the file.
    numbered = {"row": range(1, len(table) + 1)}
    made = polars.DataFrame(numbered | answers(model, X, options.times))
    clash = [name for name in kept.columns if name in made.columns]
    if clash:
        msg = f"--keep: expected columns other than {quoted(clash)}, which predictions use."
        raise ConfigurationError(msg)
    table = polars.concat([kept, made], how="horizontal")
    print(f"Wrote {write_table(table, options.out, raw=options.raw_cells)}")


def _compare(options: argparse.Namespace) -> None:
    from asfusion.comparison.comparer import compare

    rows = read_rows(options)
    board = compare(
        rows.X,
        rows.y,
        _inferred(rows.X, rows.y, rows.groups, options),
        groups=rows.groups,
        cv=options.folds,
        families=options.families,
        fusions=options.fusions,
        combines=options.combines,
        estimators={name: _make_estimator(name, rows.target) for name in options.estimators},
        task=rows.target,
        seeds=range(options.repeats),
        checkpoint=options.checkpoint,
        random_state=options.seed,
    )
    print(board)
    print(f"Wrote {board.to_html(with_folder(options.out))}")


def _info(options: argparse.Namespace) -> None:
    if options.model is None:
        from asfusion._versions import show_versions

        show_versions()
        return
    from asfusion.persistence import load

    model = load(options.model, trusted=options.trusted)
    print(f"{type(model).__name__}, {options.model}")
    for name, encoder in encoders_within(model).items():
        print(f"  {name:<12} {type(encoder).__name__:<15} {encoder.describe()}")
    if hasattr(model, "classes_"):
        print(f"  classes      {quoted([str(label) for label in model.classes_])}")
    if hasattr(model, "target_"):
        print(f"  target       {model.target_}")
    if hasattr(getattr(model, "target_", None), "names_"):
        print(f"  labels       {quoted([str(label) for label in model.target_.names_])}")
    size = sum(file.stat().st_size for file in options.model.rglob("*") if file.is_file())
    print(f"  size         {size / 1e6:.1f} MB, hashes verified")


# -- parts -----------------------------------------------------------------------------


def _make_model(options: argparse.Namespace, rows: Rows) -> Any:
    from asfusion.estimators._base import estimator_class

    family = options.family or ("auto" if options.estimator is None else "early")
    choices: dict[str, Any] = {"random_state": options.seed, "target": rows.target}
    for name, needed in (("fusion", "joint"), ("combine", "late")):
        if (chosen := getattr(options, name)) is None:
            continue
        if family != needed:
            msg = f"--{name}: expected the family {needed!r} beside it, got {family!r}."
            raise ConfigurationError(msg)
        choices[name] = chosen
    if options.checkpoint is not None:
        if family not in _KEEP:
            msg = f"--checkpoint: expected the family {quoted(_KEEP)} beside it, got {family!r}."
            raise ConfigurationError(msg)
        choices["checkpoint"] = options.checkpoint
    if options.estimator is not None:
        if family not in _TAKES_ESTIMATOR:
            known = " or ".join(map(repr, _TAKES_ESTIMATOR))
            msg = f"--estimator: expected the family {known} beside it, got {family!r}."
            raise ConfigurationError(msg)
        choices["estimator"] = _make_estimator(options.estimator, rows.target)
    return estimator_class(family, rows.target)(**choices)


def _fit_model(model: Any, X: Any, y: Any, groups: Any, options: argparse.Namespace) -> None:
    """Fit, from where a stopped run was, films read as asked for."""
    if options.on_error is not None:
        model.set_params(encoders=_inferred(X, y, groups, options))
    resumed = {"resume": True} if options.checkpoint and options.family == "joint" else {}
    model.fit(X, y, groups=groups, **resumed)


def _inferred(X: Any, y: Any, groups: Any, options: argparse.Namespace) -> Any:
    """Return encoders, as `fit` would choose them, that read films as asked for."""
    from asfusion.encoders.infer import infer_encoders

    if options.on_error is None:
        return "auto"
    encoders = infer_encoders(X, y, groups)
    read_films_as(encoders, options)
    return encoders


def _make_estimator(name: str, target: Target) -> Any:
    from asfusion.estimators._named import model_of

    return target.linear() if name == "logistic" else model_of(target, name)


def _hold_out(y: Any, groups: Any, share: float, seed: int) -> tuple[Any, Any]:
    """Return positions of training and test rows, no patient on both sides."""
    import numpy as np
    from sklearn.model_selection import GroupShuffleSplit

    if not 0 < share < 1:
        raise ConfigurationError(f"--test-share: expected a share between 0 and 1, got {share}.")
    patients = np.arange(len(y)) if groups is None else groups
    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    train, test = next(splitter.split(patients, groups=patients))
    return train, test


def _fresh_folder(path: Path) -> Path:
    """Return the folder, made; an earlier demo in it is replaced, anything else is not."""
    if path.exists() and not (path.is_dir() and (_is_demo(path) or not any(path.iterdir()))):
        msg = f"{path}: expected a new or empty folder, got one with other files in it."
        raise ConfigurationError(msg)
    if path.exists():
        import shutil

        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


def _is_demo(path: Path) -> bool:
    made = {"images", "radiographs.png", "patients.csv", "model.asf", "report.html"}
    made |= {"comparison.html", "predictions.csv"}
    return {file.name for file in path.iterdir()} <= made


# -- usage -----------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="asfusion",
        description="Fuse images, notes and labs into one prediction. A research tool.",
    )
    parser.add_argument("--version", action="version", version=f"asfusion {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    _add_demo(commands)
    _add_look(commands)
    _add_fit(commands)
    _add_predict(commands)
    add_evaluate(commands)
    add_explain(commands)
    _add_compare(commands)
    add_federate(commands)
    add_export(commands)
    add_serve(commands)
    add_page(commands)
    info = commands.add_parser("info", help="describe a saved model, or what is installed")
    info.add_argument("model", type=Path, nargs="?", help="folder of a saved model")
    add_trusted(info)
    info.set_defaults(run=_info)
    return parser


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser("demo", help="fit and judge a model on synthetic patients")
    demo.add_argument("--out", type=Path, default=Path("demo-output"), help="folder to write to")
    demo.add_argument("--rows", type=int, default=300, help="number of patients (300)")
    demo.add_argument("--seed", type=int, default=0)
    demo.set_defaults(run=_demo)


def _add_look(commands: Any) -> None:
    look = commands.add_parser("look", help="see what a table holds, and what would leak")
    _add_columns(look)
    words = "day of the prediction: YYYY-MM-DD, or a column of dates"
    look.add_argument("--index-date", help=words)
    words = "do not compare films and notes, which reads every film"
    look.add_argument("--no-duplicates", dest="duplicates", action="store_false", help=words)
    look.add_argument("--out", type=Path, help="page to write (.html)")
    look.set_defaults(run=_look)


def _add_fit(commands: Any) -> None:
    fit = commands.add_parser("fit", help="fit a model on a table and save it")
    _add_rows(fit)
    fit.add_argument("--family", choices=_FAMILIES, help="(auto; early beside --estimator)")
    words = f"head of joint fusion: {', '.join(fusion_heads())}, or module:Class (concat)"
    fit.add_argument("--fusion", type=fusion_head, metavar="HEAD", help=words)
    fit.add_argument("--combine", choices=_COMBINES, help="of late fusion (auto)")
    fit.add_argument("--estimator", choices=_ESTIMATORS, help="of early and late fusion")
    fit.add_argument(
        "--test-share",
        type=float,
        default=0.0,
        help="share of patients that is held out and judged (none)",
    )
    fit.add_argument("--out", type=Path, default=Path("model.asf"), help="folder of the model")
    fit.add_argument("--report", type=Path, help="page about the held-out patients (.html)")
    fit.set_defaults(run=_fit)


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser("predict", help="predict the rows of a table")
    add_model(predict)
    add_data(predict)
    predict.add_argument("--keep", nargs="*", default=[], help="columns to copy, such as an id")
    words = "times 1,2,4 by which survival is told, of models of times to an event"
    predict.add_argument("--times", type=numbers, help=words)
    predict.add_argument("--out", type=Path, default=Path("predictions.csv"))
    words = "write texts as they are, also what a spreadsheet would run as a formula"
    predict.add_argument("--raw-cells", action="store_true", help=words)
    predict.set_defaults(run=_predict)


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser("compare", help="rank fusions against single modalities")
    _add_rows(compare)
    usual = ["early", "joint", "late"]
    words = f"({' '.join(usual)})"
    compare.add_argument("--families", nargs="+", choices=_FAMILIES, default=usual, help=words)
    words = f"heads of joint fusion: {', '.join(fusion_heads())}, or module:Class (concat)"
    compare.add_argument(
        "--fusions", nargs="+", type=fusion_head, metavar="HEAD", default=["concat"], help=words
    )
    compare.add_argument("--combines", nargs="+", choices=_COMBINES, default=["mean"])
    compare.add_argument("--estimators", nargs="*", choices=_ESTIMATORS, default=[])
    compare.add_argument("--folds", type=int, default=5, help="(5)")
    compare.add_argument("--repeats", type=int, default=1, help="seeds of folds and models (1)")
    compare.add_argument("--out", type=Path, default=Path("comparison.html"))
    compare.set_defaults(run=_compare)


def _add_columns(command: Any) -> None:
    """Add the table, and which of its columns are what."""
    add_data(command)
    add_targets(command)
    words = "columns that predict, and no others (all)"
    command.add_argument("--columns", nargs="+", metavar="COLUMN", help=words)
    command.add_argument("--drop", nargs="*", default=[], help="columns to leave out")


def _add_rows(command: Any) -> None:
    _add_columns(command)
    add_checkpoint(command)
    command.add_argument("--task", choices=TASKS, default=AUTO, help="(auto)")
    words = "grades of the target, the lowest first, such as none,mild,severe"
    command.add_argument("--ordered", type=listed, metavar="GRADES", help=words)
    words = "lowest and highest value that the target can have, such as 0,10"
    command.add_argument("--bounds", type=bounds, metavar="LOW,HIGH", help=words)
    command.add_argument("--seed", type=int, default=0, help="(0)")


if __name__ == "__main__":
    sys.exit(main())
