"""What encoders of series share: columns of folders to stacks of slices, one per sequence.

Dimensions: N rows, S sequences, Z Y X voxels.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_choice, check_integer, check_number, in_words
from asfusion._frames import Frame
from asfusion._progress import shown_by_caller
from asfusion._tokens import Prepared
from asfusion._warn import warn_user
from asfusion.encoders._at_regions import check_region
from asfusion.encoders._base import Encoder, Mode
from asfusion.encoders._cache import digest, file_digest
from asfusion.encoders._files import FIX, check_folder, explain_file, paths_of
from asfusion.encoders._plain import SMALL_VOLUME, small_volume, with_absent
from asfusion.encoders._slice_regions import SliceLook, fit_slice_finder
from asfusion.encoders._words import name_network
from asfusion.exceptions import ConfigurationError, ImageReadError, InputError
from asfusion.imaging._films import in_threads
from asfusion.imaging._quiet import quiet_readers
from asfusion.imaging.stores.series_store import SeriesStore
from asfusion.imaging.volumes._grid_plan import GridPlan, Window, check_window
from asfusion.imaging.volumes._sources import members
from asfusion.imaging.volumes.grid import Grid
from asfusion.imaging.volumes.series import read_series
from asfusion.imaging.volumes.volume import Volume
from asfusion.nn._norms import NORMS
from asfusion.nn.network import Training

Place = tuple[int, int]  # row and sequence
Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
_MAX_BYTES = 8 << 30
_AT_ONCE = 32
_BATCH = 8
_WHO = "Series: "


class _Cell(NamedTuple):
    column: str
    row: int
    path: str


class SeriesEncoder(Encoder):
    """Read one or several series per row, each onto the same grid of voxels.

    A subclass has the parameters ``columns``, ``backbone``, ``weights``, ``window``, ``mode``,
    ``norm``, ``d_out``, ``dropout``, ``on_gap``, ``on_error``, ``store``, ``root``, ``region`` and
    ``side_mm``, and says how series become voxels and what a row's mask is.
    """

    columns: str | Sequence[str]
    window: Window
    backbone: str
    weights: str | None
    mode: Mode
    norm: Any
    d_out: int
    dropout: float
    on_gap: Literal["raise", "fill"]
    on_error: Literal["raise", "missing"]
    store: str | os.PathLike[str] | None
    root: str | os.PathLike[str] | None
    region: Any
    side_mm: float | None
    finder_: Any
    columns_: tuple[str, ...]
    shape_: tuple[int, int, int]
    backbone_config_: dict[str, Any]

    kind: ClassVar[str] = "volume"
    _source_params: ClassVar[frozenset[str]] = frozenset({"backbone", "weights", "region"})
    _modes: ClassVar[tuple[str, ...]] = ("auto", "full", "last_block", "frozen")
    _chunk_rows: ClassVar[int] = 32

    @property
    @abstractmethod
    def has_weights(self) -> bool:
        """Whether the backbone starts from weights of others."""

    @abstractmethod
    def _grid_plan(self) -> GridPlan:
        """Return how series become voxels that the network reads."""

    @abstractmethod
    def _mask_of(self, slices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the mask of rows from the number of slices (N, S), zero for no series."""

    def prepare(self, X: Any) -> Prepared:
        """Read the series of all rows.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the columns of paths.

        Returns
        -------
        Prepared
            ``voxels`` uint8 of shape (N, S, Z, Y, X), zeros where there is no series, and
            ``mask``, which sequences (or slices) there are.

        Raises
        ------
        DicomReadError
            If slices make no volume and `on_error` is ``"raise"``.
        ImageReadError
            If there is nothing readable at a path and `on_error` is ``"raise"``.
        InputError
            If the rows need more than 8 GiB as voxels.
        StoreError
            If there is a store, and it cannot be written.
        """
        check_is_fitted(self)
        frame = self._read(X)
        return self._prepare_rows(frame, np.arange(len(frame)))

    def grid_of(self, volume: Volume) -> Grid:
        """Return how a volume is laid over the voxels that the network reads.

        Parameters
        ----------
        volume : Volume
            Values (Z, Y, X) with their spacing.

        Returns
        -------
        Grid
            Which maps values there, and attributions back.
        """
        plan, look = self._grid_plan(), self._look
        cut = None if look is None else look.grid_of(plan, volume)
        return plan.grid_of(volume) if cut is None else cut

    def on_grid(self, volume: Volume) -> NDArray[np.uint8]:
        """Return a volume as grey from 0 to 255 on the voxels that the network reads.

        Parameters
        ----------
        volume : Volume
            Values (Z, Y, X) with their spacing.

        Returns
        -------
        ndarray of shape `shape_`, uint8
            Black outside of the volume.
        """
        return self._grid_plan().voxels_of(volume, self.grid_of(volume))

    @property
    def is_frozen(self) -> bool:
        """Whether the backbone keeps its weights, so that each row is embedded once."""
        return self._training_mode() == "frozen"

    @property
    def batch_hint(self) -> int:
        """How many of its rows make a training batch: few, where a network reads voxels."""
        return super().batch_hint if self.is_frozen else _BATCH

    def plain_features(self, X: Any, device: str = "cpu") -> NDArray[np.float64]:
        """Return embeddings of a frozen backbone, or small volumes of 4 x 8 x 8 voxels.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the columns of paths.
        device : str
            Where a frozen backbone computes: ``"auto"``, or a torch device.

        Returns
        -------
        ndarray of shape (N, D)
            One small volume per sequence, zeros for a missing one; NaN for rows without any.
        """
        if not self.needs_training:
            return super().plain_features(X, device)
        check_is_fitted(self)
        frame = self._read(X)
        chunks = np.split(np.arange(len(frame)), range(_AT_ONCE, len(frame), _AT_ONCE))
        parts = [_small_volumes(self._prepare_rows(frame, rows)) for rows in chunks]
        return np.concatenate(parts)

    def _network_in_words(self) -> str:
        given, brought = self.weights is not None, self.has_weights and self.weights is None
        return name_network(self.backbone, self._training_mode(), given=given, brought=brought)

    def _training_mode(self) -> Training:
        if self.mode != "auto":
            return self.mode
        return "frozen" if self.has_weights else "full"

    # -- parameters --------------------------------------------------------------------

    def _names(self) -> tuple[str, ...]:
        given = self.columns
        names = (given,) if isinstance(given, str) else tuple(given or ())
        if not names or not all(isinstance(name, str) and name for name in names):
            msg = f"columns: expected a non-empty str or a list of them, got {in_words(given)}."
            raise ConfigurationError(msg)
        if len(set(names)) < len(names):
            raise ConfigurationError("columns: expected each column once, got one twice.")
        return names

    def _check_common(self) -> None:
        check_integer(self.d_out, "d_out", minimum=1)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        check_choice(self.norm, "norm", NORMS)
        check_choice(self.on_error, "on_error", ("raise", "missing"))
        check_choice(self.on_gap, "on_gap", ("raise", "fill"))
        check_choice(self.mode, "mode", self._modes)
        check_window(self.window)
        check_region(self.region)
        if self.side_mm is not None:
            check_number(self.side_mm, "side_mm", minimum=1.0)
        check_folder(self.store, "store")
        check_folder(self.root, "root")
        if self.mode in ("lora", "last_block", "frozen") and not self.has_weights:
            msg = (
                "mode: expected 'auto' or 'full' with a backbone that has no pretrained weights "
                f"to keep, got {self.mode!r}."
            )
            raise ConfigurationError(msg)

    def _check_readable(self, frame: Frame) -> Volume:
        """Return a first volume: a wrong folder spoils all rows alike."""
        problem, n_files = "", 0
        for column in self._names():
            paths = self._paths(frame, column)
            for row, path in zip(frame.origin.tolist(), paths, strict=True):
                if path is None:
                    continue
                n_files += 1
                try:
                    return read_series(path, on_gap=self.on_gap)
                except ImageReadError as error:
                    problem = problem or self._explain(column, row, error, path)
                    if self.on_error == "raise":
                        raise type(error)(problem + FIX) from None
        if n_files:
            msg = f"{problem} None of the {n_files} series can be read."
            raise ImageReadError(msg)
        msg = (
            f"{type(self).__name__}: expected a series in at least one training row, got "
            f"{len(frame)} row(s) without any. Check the columns, or leave this modality out."
        )
        raise InputError(msg)

    # -- region ------------------------------------------------------------------------

    def _fit_finder(self, frame: Frame) -> None:
        """Learn where the region lies from the series of training rows, or read who knows."""
        self.__dict__.pop("finder_", None)
        if self.region is None:
            return
        cells: dict[str, _Cell] = {}
        for column in self._names():
            named = paths_of(frame, column, "series of slices")
            paths, rows = self._paths(frame, column), frame.origin.tolist()
            given = zip(named, rows, paths, strict=True)
            cells |= {cell: _Cell(column, row, path) for cell, row, path in given if cell and path}
        self.finder_ = fit_slice_finder(self.region, cells, self._read_annotated)

    def _read_annotated(self, cell: _Cell) -> Volume | None:
        """Return a series to learn from, None if it cannot be read and need not be."""
        try:
            return read_series(cell.path, on_gap=self.on_gap)
        except ImageReadError as error:
            if self.on_error == "missing":
                return None  # told where all rows are read
            raise type(error)(
                self._explain(cell.column, cell.row, error, cell.path) + FIX
            ) from None

    @property
    def _look(self) -> SliceLook | None:
        """How series are cut, if they are."""
        side = None if self.side_mm is None else float(self.side_mm)
        return SliceLook(self.finder_, side) if hasattr(self, "finder_") else None

    # -- files -------------------------------------------------------------------------

    def _prepare_rows(self, frame: Frame, rows: NDArray[np.int64]) -> Prepared:
        """Read the series of the rows at the given positions."""
        paths = [self._paths(frame, column) for column in self.columns_]
        shape = (len(rows), len(paths), *self.shape_)
        _check_size(shape)
        voxels, slices = np.zeros(shape, np.uint8), np.zeros(shape[:2], np.int64)
        wanted = [(n, s) for n, row in enumerate(rows) for s, p in enumerate(paths) if p[row]]
        given = [str(paths[s][rows[n]]) for n, s in wanted]
        # A store keeps whole series: what is cut from them is another matter for each finder.
        stored = self.store is not None and self._look is None
        read = self._read_stored if stored else self._read_files
        errors = read(given, wanted, voxels, slices)
        if errors:
            first = min(errors)
            n, s = wanted[first]
            row = int(frame.origin[rows[n]])
            problem = self._explain(self.columns_[s], row, errors[first], given[first])
            if self.on_error == "raise":
                raise type(errors[first])(problem + FIX)
            message = (
                f"{len(errors)} of {len(wanted)} series cannot be read, and are taken as "
                f"missing. The first: {problem}"
            )
            warn_user(message)
        tensors = {
            "voxels": torch.from_numpy(voxels),
            "mask": torch.from_numpy(self._mask_of(slices)),
        }
        return Prepared(tensors, torch.from_numpy((slices > 0).any(axis=1)))

    def _paths(self, frame: Frame, column: str) -> list[str | None]:
        return paths_of(frame, column, "series of slices", self.root)

    def _explain(self, column: str, row: int, error: ImageReadError, path: str) -> str:
        return explain_file(column, row, str(error).removeprefix(_WHO), path, self.root)

    def _read_files(
        self, paths: list[str], places: list[Place], voxels: Bytes, slices: Integers
    ) -> dict[int, ImageReadError]:
        """Read series into their places, and return what is wrong with others by position."""
        plan, look = self._grid_plan(), self._look
        lost, known = [], []

        def read(at: int) -> ImageReadError | None:
            try:
                volume = read_series(paths[at], on_gap=self.on_gap)
            except ImageReadError as error:
                return error
            grid = None if look is None else look.grid_of(plan, volume)
            if look is not None:
                lost.append(grid is None)
                known.append(look.knows(volume))
            voxels[places[at]] = plan.voxels_of(volume, grid)
            slices[places[at]] = len(volume.values)
            return None

        errors: dict[int, ImageReadError] = {}
        with quiet_readers():
            what = f"Reading {', '.join(self.columns_)}"
            outcomes = in_threads(read, range(len(paths)), what, "series")
            for at, error in enumerate(outcomes):
                if error is not None:
                    errors[at] = error
                    if self.on_error == "raise":
                        outcomes.close()
                        break
        self._tell_looks(sum(lost), sum(known), len(lost))
        return errors

    def _tell_looks(self, n_lost: int, n_known: int, n_series: int) -> None:
        if n_lost:
            warn_user(
                f"{n_lost} of {n_series} series: the region was not found on the middle slice, "
                "and whole slices are read."
            )
        if n_known and isinstance(self.region, str | os.PathLike):
            warn_user(
                f"The finder of region= learned from {n_known} of these {n_series} series. Scores "
                "on them are too high, unless this encoder was fitted on them as well."
            )

    def _read_stored(
        self, paths: list[str], places: list[Place], voxels: Bytes, slices: Integers
    ) -> dict[int, ImageReadError]:
        """Do what `_read_files` does, from the store, which decodes what it does not have."""
        plan = self._grid_plan()
        store = SeriesStore(str(self.store), **plan._asdict(), on_gap=self.on_gap)
        with shown_by_caller():
            rows, errors = store.find(paths, stop=self.on_error == "raise")
        for start in range(0, len(rows), _AT_ONCE):  # no second copy of all
            some = slice(start, start + _AT_ONCE)
            found = tuple(np.asarray(places[some]).T)
            voxels[found], slices[found] = store.read(rows[some]), store.n_slices(rows[some])
        return errors

    # -- cache -------------------------------------------------------------------------

    def _cell_keys(self, frame: Frame) -> list[str | None]:
        paths = [self._paths(frame, column) for column in self.columns_]
        given = sorted({path for column in paths for path in column if path})
        found = in_threads(series_digest, given, f"Comparing {', '.join(self.columns_)}", "series")
        names = dict(zip(given, list(found), strict=True))
        rows = zip(*paths, strict=True)
        return [_row_key([names[path] if path else "" for path in row]) for row in rows]

    def _cell_sources(self, frame: Frame, column: str) -> list[Any]:
        return [*self._paths(frame, column)]

    def _embedding_settings(self) -> object:
        plan = self.backbone_config_
        settings = (plan, self.shape_, self.window, self.on_gap, len(self.columns_))
        return settings if self._look is None else (*settings, self._look.settings)


def _small_volumes(prepared: Prepared) -> NDArray[np.float64]:
    """Return the sequences of rows as small volumes side by side (N, D)."""
    voxels, mask = prepared.tensors["voxels"], prepared.tensors["mask"]
    small = torch.zeros(*voxels.shape[:2], SMALL_VOLUME, dtype=torch.float64)
    for row, sequence in torch.nonzero(mask.flatten(2).any(dim=2) if mask.dim() > 2 else mask):
        # A mask of slices says how many of the voxels are a series.
        n_slices = int(mask[row, sequence].sum()) if mask.dim() > 2 else voxels.shape[2]
        small[row, sequence] = small_volume(voxels[row, sequence, :n_slices])
    return with_absent(small.flatten(1), prepared.present)


def _row_key(parts: Sequence[str | None]) -> str | None:
    """Return a name for a row's series; None if there are none, or one cannot be read."""
    if not any(parts) or any(part is None for part in parts):
        return None
    return digest(*parts)


def series_digest(path: str) -> str | None:
    """Return a name for the contents of all files that a series is read from."""
    try:
        names = [file_digest(file) for file in members(Path(path)) if file.is_file()]
    except Exception:  # for the reader to say
        return None
    return digest(*names) if names and None not in names else None


def _check_size(shape: tuple[int, ...]) -> None:
    n_bytes = int(np.prod(shape, dtype=np.int64))
    if n_bytes > _MAX_BYTES:
        msg = (
            f"X: expected rows that fit into {_MAX_BYTES >> 30} GiB as voxels, got {shape[0]} rows "
            f"of {n_bytes // shape[0] / 2**20:.1f} MiB. Use a smaller shape, fewer rows at a time, "
            "or a frozen backbone, which embeds them in small portions."
        )
        raise InputError(msg)
