"""An exported model, asked without torch, scikit-learn or the code that fitted it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._door import public
from asfusion._frames import Frame
from asfusion._warn import warn_user
from asfusion.exceptions import (
    BundleError,
    ColumnError,
    ConfigurationError,
    InputError,
    MissingDependencyError,
)
from asfusion.serving._feeds import feeds_of
from asfusion.serving._kinds import cell_of
from asfusion.serving._records import rows_of
from asfusion.serving._schema import KEY, Schema, read_schema
from asfusion.serving._wire import MOST_BYTES, walk

_ROWS_AT_ONCE = 256


class OnnxModel:
    """A model that `asfusion.export` wrote, ready to predict.

    It needs numpy, onnxruntime and what reads tables (narwhals); Pillow or pydicom for films,
    and tokenizers for notes that a transformer reads. Neither torch nor scikit-learn is imported.

    Parameters
    ----------
    path : str or PathLike
        The file.
    root : str or PathLike, optional
        The folder that relative paths of films start at; by default the working directory.
    n_threads : int, optional
        Threads for one prediction; by default what onnxruntime chooses.

    Attributes
    ----------
    schema : dict
        What the file says of itself: columns with units and ranges, classes, versions, what was
        checked when it was written, and a card in words.
    classes_ : ndarray or None
        Class labels, in the order of the probabilities; None for numbers.
    digest : str
        SHA-256 of the file.

    Raises
    ------
    BundleError
        If the file is not one that `asfusion.export` wrote, was changed, or is cut.
    MissingDependencyError
        If onnxruntime is not installed.

    Notes
    -----
    A file from elsewhere is walked through before the runtime sees it: weights in other files,
    loops, and operators other than the standard ones are refused, and so is a graph whose digest
    is not that of the schema. That says that the file is whole, not who made it.

    Examples
    --------
    >>> import tempfile, numpy as np, pandas as pd, asfusion as af
    >>> X = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["crp", "esr"])
    >>> model = af.EarlyFusionClassifier(
    ...     {"labs": af.TabularEncoder(["crp", "esr"])}, random_state=0
    ... ).fit(X, (X["crp"] > 0).to_numpy())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = af.export(model, f"{folder}/model.onnx")
    ...     served = af.serving.OnnxModel(file)
    >>> served.predict_proba([{"crp": 1.0, "esr": None}]).shape
    (1, 2)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        root: str | os.PathLike[str] | None = None,
        n_threads: int | None = None,
    ) -> None:
        self._take(_bytes_of(path), root, n_threads)

    def _take(self, raw: bytes, root: str | os.PathLike[str] | None, n_threads: int | None) -> None:
        """Become the model of these bytes."""
        found = walk(raw)
        self._schema = read_schema(found.metadata.get(KEY), found.digest)
        self._session = _session(raw, n_threads)
        _check_face(self._session, self._schema)
        self.schema: dict[str, Any] = dict(self._schema.told)
        self.classes_ = self._schema.classes
        self.digest = hashlib.sha256(raw).hexdigest()
        self._root = root

    @classmethod
    def _of(cls, raw: bytes) -> OnnxModel:
        """Return a model that is in memory."""
        made = cls.__new__(cls)
        made._take(raw, None, None)
        return made

    @public
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class.

        Parameters
        ----------
        X : DataFrame, list of dict, or 2-D array
            Rows with the columns of fit; any modality may be missing. A key that a dict lacks is
            a missing cell, if another row has it.

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Probabilities, in the order of ``classes_``.

        Raises
        ------
        ConfigurationError
            If the model predicts numbers.
        InputError
            If rows cannot be read: a column is missing or of another kind, a number infinite.
        """
        if self.classes_ is None:
            msg = "predict_proba: expected a classifier, got a model of numbers. Call predict."
            raise ConfigurationError(msg)
        return self._asked(X)[0]

    @public
    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each row, by the model's threshold, or the predicted numbers.

        Parameters
        ----------
        X : DataFrame, list of dict, or 2-D array
            Rows with the columns of fit; any modality may be missing.

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_targets)
            Labels, or numbers in the units of y.

        Raises
        ------
        InputError
            If rows cannot be read: a column is missing or of another kind, a number infinite.
        """
        outputs, called = self._asked(X)
        if self.classes_ is not None:
            return np.asarray(self.classes_[called])
        return outputs if self._schema.is_matrix else outputs[:, 0]

    @public
    def predict_set(self, X: Any) -> NDArray[np.bool_]:
        """Return which classes are in the set of each row, of a file of a `ConformalClassifier`.

        Parameters
        ----------
        X : DataFrame, list of dict, or 2-D array
            Rows with the columns of fit; any modality may be missing.

        Returns
        -------
        ndarray of shape (n_rows, n_classes), bool
            True for classes in the set, in the order of ``classes_``; they hold the true one as
            often as ``schema["coverage"]`` says.

        Raises
        ------
        ConfigurationError
            If the model that was exported says no sets.
        InputError
            If rows cannot be read: a column is missing or of another kind, a number infinite.
        """
        if self.coverage is None:
            msg = (
                f"predict_set: expected the file of a ConformalClassifier, got one of "
                f"{self._schema.model}. Export a ConformalClassifier around it."
            )
            raise ConfigurationError(msg)
        return np.asarray(self._answered(X)[2])

    @property
    def coverage(self) -> float | None:
        """Share of rows whose class is in their set; None where the file says no sets."""
        return self._schema.coverage

    def _reads(self) -> Iterator[tuple[str, Any, str, None, tuple[str, ...]]]:
        """Return each column: its name, kind, modality, no unit, and levels."""
        told = {one.name: one for one in (*self._schema.numbers, *self._schema.texts)}
        read = {name: content for content in self._schema.contents for name in content.columns}
        for name in self._schema.columns:
            if name in read:
                yield name, cell_of(read[name].kind), read[name].key, None, ()
            elif name in told:
                yield name, cell_of(told[name].kind), "table", None, told[name].levels
            else:
                yield name, "empty", "", None, ()

    def _subsets(self, most: int) -> dict[str, list[str]]:
        """Return the columns of each modality; none where two share one, or there are more."""
        told = self._schema.modalities
        columns = [name for own in told.values() for name in own]
        is_apart = len(set(columns)) == len(columns) and len(told) <= most
        return {name: list(own) for name, own in told.items()} if is_apart else {}

    def _asked(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return outputs (N, K), and the place (N,) of the class that each row is called."""
        outputs, called, *_ = self._answered(X)
        return outputs, called

    def _answered(self, X: Any) -> list[NDArray[Any]]:
        """Return outputs, the class that each row is called and, where there are some, sets."""
        frame = rows_of(X, self._schema.columns)
        self._check_columns(frame)
        parts = [self._run(part) for part in _in_parts(frame, bool(self._schema.contents))]
        known, *found = (np.concatenate(part) for part in zip(*parts, strict=True))
        if not known.all():
            warn_user(
                f"{int((~known).sum())} row(s) have none of the fitted modalities: the prediction "
                "for them is the mean of the training rows."
            )
        return found

    def _run(self, frame: Frame) -> list[NDArray[Any]]:
        feeds = feeds_of(self._schema, frame, self._root)
        names = ["known", "outputs", "called", *(["set"] if self.coverage is not None else [])]
        try:
            return list(self._session.run(names, feeds))
        except Exception as error:  # it may show a cell
            msg = (
                f"OnnxModel: expected a graph that runs, got {type(error).__name__} within it. "
                "Export the model again."
            )
            raise BundleError(msg) from None

    def _check_columns(self, frame: Frame) -> None:
        if not len(frame) or not frame.columns:
            msg = (
                f"X: expected at least 1 row and 1 column, got shape=({len(frame)}, "
                f"{len(frame.columns)})."
            )
            raise InputError(msg)
        try:
            frame.check_columns(self._schema.columns, self._schema.model)
        except ColumnError as error:
            msg = f"{error} Give what is absent as a column of missing cells."
            raise ColumnError(msg) from None


def _in_parts(frame: Frame, has_content: bool) -> list[Frame]:
    """Return all rows, a few at a time where they have notes or films."""
    if not has_content or len(frame) <= _ROWS_AT_ONCE:
        return [frame]
    rows = np.arange(len(frame))
    return [frame.take(rows[n : n + _ROWS_AT_ONCE]) for n in range(0, len(rows), _ROWS_AT_ONCE)]


def _bytes_of(path: str | os.PathLike[str]) -> bytes:
    if not isinstance(path, str | os.PathLike) or not str(path) or "\0" in str(path):
        msg = f"path: expected the path of an exported file, got {type(path).__name__}."
        raise ConfigurationError(msg)
    try:
        with Path(path).open("rb") as file:
            held = os.fstat(file.fileno())
            if not stat.S_ISREG(held.st_mode) or held.st_size > MOST_BYTES:
                msg = f"OnnxModel: expected a file of at most {MOST_BYTES} bytes, got another."
                raise BundleError(msg)
            return file.read(MOST_BYTES + 1)
    except OSError:
        msg = "OnnxModel: expected a file that can be read, got none at the given path."
        raise BundleError(msg) from None


def _session(raw: bytes, n_threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError:
        msg = (
            "OnnxModel: expected the package onnxruntime, got none. Install it: pip install "
            "'asfusion[onnx]'."
        )
        raise MissingDependencyError(msg) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # warnings of the runtime name parts of the graph
    # Further steps reorder sums of convolutions, and so the last digits.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    if n_threads is not None:
        options.intra_op_num_threads = n_threads
    try:
        return onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        msg = (
            f"OnnxModel: expected a graph that onnxruntime runs, got {type(error).__name__}. Take "
            "a file that asfusion.export wrote, and the version of onnxruntime in its schema."
        )
        raise BundleError(msg) from None


def _check_face(session: Any, schema: Schema) -> None:
    """Raise unless the graph reads and says what the schema tells."""
    reads = {value.name: value.type for value in session.get_inputs()}
    says = {value.name for value in session.get_outputs()}
    if reads != schema.inputs() or says != schema.outputs():
        msg = (
            "OnnxModel: expected a graph with the inputs and outputs of its schema, got others. "
            "Take a file that asfusion.export wrote."
        )
        raise BundleError(msg)
