"""Rows that are read in pieces, at the door of the estimators: opened for fit, asked in pieces."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import quoted
from asfusion._door import public
from asfusion._frames import Frame, is_lazy
from asfusion._optional import import_optional
from asfusion._warn import warn_user
from asfusion.estimators._threshold import call_classes, needs_unseen
from asfusion.exceptions import CircularityError, ColumnError, ConfigurationError

Floats = NDArray[np.float64]
_ENOUGH = 30  # rows to say of a column that it is empty in all of them


class InPieces:
    """What estimators have for rows that are read in pieces."""

    # Whether the family fits on such rows; every one predicts for them.
    _streams: ClassVar[bool] = False

    @public
    def predict_to(self, X: Any, path: str | Path, ids: str | Sequence[str] = ()) -> Path:
        """Write predictions to a Parquet file, a few rows at a time.

        Parameters
        ----------
        X : LazyFrame or DataFrame of n_rows rows
            Rows with the columns of fit; those of a LazyFrame are never all in memory.
        path : str or Path
            File to write; one that is there is replaced at once or not at all.
        ids : str or sequence of str
            Columns of X to write beside the predictions; the number of the row without.

        Returns
        -------
        Path
            The file: a row for each of X, in its order.

        Raises
        ------
        InputError
            If the rows cannot be read to the end. Nothing is written then.
        MissingDependencyError
            If pyarrow is not installed.
        """
        check_is_fitted(self)
        names = (ids,) if isinstance(ids, str) else tuple(ids)
        return write_predictions(self, X, Path(path), names)

    def _tell_absent(self, n_rows: int) -> None:
        if n_rows:
            warn_user(
                f"{n_rows} row(s) have none of the fitted modalities: the prediction for them is "
                "the mean of the training rows."
            )

    def _check_streamed(self) -> None:
        """Raise where a setting does not go with rows that are read in pieces."""


class Given(NamedTuple):
    """What `fit` was given."""

    X: Any
    y: Any
    groups: Any
    sample_weight: Any


@contextmanager
def opened(model: Any, given: Given) -> Iterator[Given]:
    """Yield what `fit` was given; a LazyFrame as rows that are read in pieces, while they last."""
    if not (is_lazy(given.X) and model._streams):
        yield given
        return
    from asfusion.streams.memory import check_memory
    from asfusion.streams.spool import Spool
    from asfusion.streams.table import Stream

    _check_settings(model)
    with Spool() as spool:
        stream = Stream.of(given.X, spool, model.memory_gb)
        check_memory(model.memory_gb, len(stream))
        y, groups, weight = (stream.column(part) for part in given[1:])
        others = [part for part in given[1:] if isinstance(part, str)]
        others += given.y if _are_names(given.y) else []
        _check_apart(model, stream, given.y, others)
        kept = [name for name in stream.columns if name not in others]
        yield Given(stream.select(kept), y, groups, weight)


def _are_names(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(isinstance(n, str) for n in given)


def _check_settings(model: Any) -> None:
    """Raise where something needs all rows in memory."""
    if isinstance(model.encoders, str):
        msg = (
            f"encoders: expected a dict for rows that are read in pieces, got {model.encoders!r}. "
            "Infer it from some: asfusion.infer_encoders(X.head(10_000).collect())."
        )
        raise ConfigurationError(msg)
    if needs_unseen(getattr(model, "threshold", None)):
        msg = (
            "threshold: expected a number or 'prevalence' for rows that are read in pieces, got a "
            "rule that fits anew on folds of them. Choose it afterwards, on held-out rows."
        )
        raise ConfigurationError(msg)
    model._check_streamed()


def _check_apart(model: Any, stream: Frame, y: Any, others: list[str]) -> None:
    """Raise if an encoder is given a column that says what is predicted, or who a row is of."""
    for name, encoder in model._check_encoders().items():
        shared = [column for column in encoder._columns_among(stream.columns) if column in others]
        if shared and shared[0] in ([y] if isinstance(y, str) else y if _are_names(y) else []):
            msg = (
                f"Target {shared[0]!r}: expected features without it, got it as a column of "
                f"encoders[{name!r}]. Leave it out there."
            )
            raise CircularityError(msg)
        if shared:
            msg = (
                f"encoders[{name!r}]: expected columns that are neither groups nor weights, got "
                f"{quoted(shared)}. Leave them out there, or pass groups and weights as arrays."
            )
            raise ColumnError(msg)


# -- predicting --------------------------------------------------------------------------


class Said(NamedTuple):
    """What a model says of some rows: outputs (n, K), how many lack all modalities, and gaps."""

    piece: Frame
    outputs: Floats
    n_absent: int
    gaps: frozenset[str]


def said_of(model: Any, X: Any, more: tuple[str, ...] = ()) -> Iterator[Said]:
    """Yield what a model says of a LazyFrame, piece by piece; `more` columns stay in the pieces.

    Warns at the end of what is true of all rows.
    """
    from asfusion.streams.spool import Spool
    from asfusion.streams.table import Stream

    n_absent, gaps = 0, None
    with Spool() as spool:
        stream = _asked_columns(model, Stream.of(X, spool, 0.0), more)
        if not len(stream):
            raise ColumnError("X: expected at least 1 row, got none.")
        row_bytes = _row_bytes(model, model._read_X(stream.first().to_native(), reset=False))
        for said in stream.each(lambda piece: _say(model, piece), row_bytes):
            n_absent += said.n_absent
            if len(said.outputs) >= _ENOUGH or gaps is None:  # of fewer, nothing is said
                gaps = said.gaps if gaps is None else gaps & said.gaps
            yield said
    for text in sorted(gaps or ()):
        warn_user(text)
    model._tell_absent(n_absent)


def raw_of(model: Any, frame: Frame) -> tuple[Floats, NDArray[np.bool_]]:
    """Return what a part of a model says of rows (n, K), in pieces too, and which it can read."""
    if not frame.is_streamed:
        said: tuple[Floats, NDArray[np.bool_]] = model._raw(frame)
        return said
    stream: Any = frame
    if not len(stream):
        return np.zeros((0, model.n_outputs_)), np.zeros(0, dtype=bool)
    outputs, present = zip(*stream.each(model._raw, _row_bytes(model, stream.first())), strict=True)
    return np.concatenate(outputs), np.concatenate(present)


def _asked_columns(model: Any, stream: Any, more: tuple[str, ...]) -> Any:
    """Return the columns that a model reads, and `more`."""
    known = getattr(model, "columns_in_", None) or getattr(model, "feature_names_in_", None)
    wanted = stream.columns if known is None else dict.fromkeys([*map(str, known), *more])
    try:
        return stream.select(list(wanted), type(model).__name__)
    except ColumnError as error:
        raise ColumnError(f"{error} Give what is absent as a column of missing cells.") from None


def _say(model: Any, piece: Frame) -> Said:
    frame = model._read_X(piece.as_part(), reset=False)
    outputs, present = model._raw(frame)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for encoder in model._modality_encoders().values():
            encoder._tell_gaps(frame)
    outputs = np.where(present[:, None], outputs, model.prior_)
    gaps = frozenset(str(warning.message) for warning in told)
    return Said(piece, outputs, int((~present).sum()), gaps)


def _row_bytes(model: Any, first: Frame) -> int:
    """Return how much memory becomes of a row."""
    size = 0
    for encoder in model._modality_encoders().values():
        if encoder.n_features:
            size += 8 * encoder.n_features
            continue
        tensors = encoder.prepare(first).tensors.values()
        size += sum(tensor.numel() * 4 for tensor in tensors)  # pixels become floats
    return 2 * size


def write_predictions(model: Any, X: Any, path: Path, ids: tuple[str, ...]) -> Path:
    """Write what a model says of rows to a Parquet file, piece by piece."""
    pa = import_optional("pyarrow", needed_for="predict_to", extra="parquet")
    pq = import_optional("pyarrow.parquet", needed_for="predict_to", extra="parquet")
    from asfusion._files import replaced

    pieces = said_of(model, X, ids) if is_lazy(X) else _said_at_once(model, X, ids)
    writer, done = None, 0
    # Closed before the file is, after an error as well.
    with replaced(path) as file, ExitStack() as opened:
        for piece in pieces:
            table = pa.table(_columns(model, piece, ids, done))
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(file, table.schema))
            writer.write_table(table)
            done += len(piece.outputs)
    return path


def _said_at_once(model: Any, X: Any, ids: tuple[str, ...]) -> Iterator[Said]:
    frame = Frame.read(X)
    frame.check_columns(ids, "ids")
    yield Said(frame, model._outputs(X), 0, frozenset())


def _columns(model: Any, said: Said, ids: tuple[str, ...], done: int) -> dict[str, Any]:
    """Return the columns of the file: which row it is, what is predicted, how probable it is."""
    n_rows = len(said.outputs)
    table = _predicted(model, said.outputs)
    taken = [name for name in ids if name in table]
    if taken:
        msg = (
            f"ids: expected columns that are named otherwise than predictions, got {quoted(taken)}."
            " Rename them, as in X.rename({'prediction': 'earlier'})."
        )
        raise ColumnError(msg)
    own = {name: said.piece.column(name) for name in ids}
    return (own or {"row": np.arange(done, done + n_rows)}) | table


def _predicted(model: Any, outputs: Floats) -> dict[str, Any]:
    n_rows = len(outputs)
    target = model.target_
    table: dict[str, Any] = {}
    if hasattr(model, "classes_"):
        table["prediction"] = call_classes(model, outputs)
    else:
        shaped = np.asarray(target.shaped(outputs)).reshape(n_rows, -1)
        names = ["prediction"] if shaped.shape[1] == 1 else _numbered("prediction", model)
        table |= dict(zip(names, shaped.T, strict=True))
    if target.is_probability:
        table |= dict(zip(_numbered("probability", model), outputs.T, strict=True))
    return table


def _numbered(stem: str, model: Any) -> list[str]:
    columns = model.target_.columns()
    known = range(model.n_outputs_) if columns is None else columns.tolist()
    return [f"{stem}_{name}" for name in known]
