"""``asfusion evaluate | explain | export``: what is asked of a saved model beside predictions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asfusion._files import write_file
from asfusion.cli._asked import numbers, split_asked
from asfusion.cli._options import (
    add_data,
    add_model,
    add_targets,
    add_units,
    check_rows,
    inputs_of,
    numbered_rows,
    present,
    read_for,
    read_model,
    with_folder,
)
from asfusion.exceptions import ConfigurationError
from asfusion.serving._fields import levels_of

if TYPE_CHECKING:
    import polars

_SOME = 3  # rows that are explained where none are named


def add_evaluate(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("evaluate", help="judge a saved model on rows it has not seen")
    add_model(command)
    add_data(command)
    add_targets(command)
    words = "probability from which a row is called positive (that of the model)"
    command.add_argument("--threshold", type=float, help=words)
    words = "share of positives where the model is to be used (that of the rows)"
    command.add_argument("--prevalence", type=float, help=words)
    words = "times 1,2,4 by which an event is predicted"
    command.add_argument("--times", type=numbers, help=words)
    words = "columns by whose values the scores are told apart, such as sex site"
    command.add_argument("--subgroups", nargs="+", default=[], metavar="COLUMN", help=words)
    words = "tell what each absent modality costs, which predicts once for each set of them"
    command.add_argument("--subsets", action="store_true", help=words)
    command.add_argument("--out", type=Path, default=Path("report.html"), help="page to write")
    command.add_argument("--json", type=Path, help="the same numbers, for programs")
    command.set_defaults(run=_evaluate)


def add_explain(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("explain", help="say what moved a saved model's predictions")
    add_model(command)
    add_data(command)
    words = f"rows to explain, counted from 1, such as 1,5,9 (the first {_SOME})"
    command.add_argument("--rows", type=numbered_rows, help=words)
    words = "table of rows that values are compared with, best those learned from (all of data)"
    command.add_argument("--background", type=Path, help=words)
    add_units(command)
    command.add_argument("--out", type=Path, default=Path("explanation.html"), help="page to write")
    command.set_defaults(run=_explain)


def add_export(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("export", help="write a saved model as one ONNX file")
    add_model(command)
    command.add_argument("--out", type=Path, default=Path("model.onnx"), help="file to write")
    words = "table of rows by which the file is checked, and quantised"
    command.add_argument("--data", type=Path, help=words)
    command.add_argument("--target", help="column of labels in it, to tell what quantising costs")
    words = "compute networks in integers of eight bits: smaller, and other answers"
    command.add_argument("--quantize", choices=["static"], help=words)
    words = "how far an answer of the file may lie from the model's (1e-6)"
    command.add_argument("--tolerance", type=float, default=1e-6, help=words)
    add_units(command)
    command.set_defaults(run=_export, root=None, on_error=None)


def _evaluate(options: argparse.Namespace) -> None:
    from asfusion.evaluation.report import evaluate

    model = read_model(options)
    asked = split_asked(options, read_for(model, options))
    X = inputs_of(model, asked.X)
    factors = None
    if options.subgroups:
        table = asked.table[:, present(asked.table, options.subgroups, "--subgroups")]
        factors = {name: table[name].to_numpy() for name in table.columns}
    report = evaluate(
        model,
        X,
        asked.y,
        groups=asked.groups,
        threshold=options.threshold,
        prevalence=options.prevalence,
        horizons=options.times,
        subgroups=factors,
        subsets=options.subsets,
    )
    print(report)
    print(f"Wrote {report.to_html(with_folder(options.out))}")
    if options.json is not None:
        write_file(with_folder(options.json), report.to_json().encode())
        print(f"Wrote {options.json}")


def _explain(options: argparse.Namespace) -> None:
    from asfusion.explanation.explainer import explain

    model = read_model(options)
    table = inputs_of(model, read_for(model, options))
    rows = check_rows(options.rows or range(1, min(_SOME, len(table)) + 1), len(table))
    background = table
    if options.background is not None:
        background = inputs_of(model, _read(options.background, model, options))
    explanation = explain(model, table[rows], background=background, units=dict(options.unit))
    print(explanation)
    told = ", ".join(str(row + 1) for row in rows)
    print(f"Explained: rows {told} of the table, in this order; the page counts them from 0.")
    print(f"Wrote {explanation.to_html(with_folder(options.out))}")


def _export(options: argparse.Namespace) -> None:
    from asfusion.serving.exporter import export

    if options.data is None and (options.target or options.quantize):
        raise ConfigurationError("--data: expected a table beside --target and --quantize.")
    model = read_model(options)
    X = y = None
    if options.data is not None:
        table = _read(options.data, model, options)
        X = inputs_of(model, table)
        if options.target is not None:
            y = table[present(table, [options.target], "--target")[0]]
    out = with_folder(options.out)
    units, how = dict(options.unit), options.quantize
    path = export(model, out, X, y=y, units=units, quantize=how, tolerance=options.tolerance)
    print(f"Wrote {path}, {path.stat().st_size / 1e6:.1f} MB, which answers as the model does.")


def _read(file: Path, model: Any, options: argparse.Namespace) -> polars.DataFrame:
    from asfusion._tables import read_table

    return read_table(file, levels_of(model), options.root)
