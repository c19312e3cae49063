"""The contract of an encoder: a description of one modality."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from asfusion._arrays import check_finite_sum, floats_of_weights
from asfusion._checks import quoted
from asfusion._door import learns, public
from asfusion._frames import Frame
from asfusion._later import torch
from asfusion._tokens import Prepared
from asfusion.bundle.objects import Bundled
from asfusion.encoders._cache import (
    EMBEDDINGS,
    Embedding,
    digest,
    network_digest,
    stack_embeddings,
)
from asfusion.encoders._embedding import embed_prepared, sharing, way_of_passes
from asfusion.encoders._plain import numbers_of
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.tabular.told import Told, tellable

if TYPE_CHECKING:
    from asfusion.imaging.place import Place
    from asfusion.nn.network import Backbone, EncoderNetwork
    from asfusion.tabular.packed import Packed

Mode = Literal["auto", "full", "lora", "last_block", "frozen"]
MODES: Final = ("auto", "full", "lora", "last_block", "frozen")
BATCH, _TABLE_BATCH = 32, 128


class Encoder(Bundled, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Describe one modality: its columns, its preprocessing and its network.

    An encoder holds parameters only; what it learns from training rows ends in ``_``.
    A subclass writes `fit`, `prepare`, `build` and `is_frozen`; the rest follows from those,
    and nobody asks an encoder for its class: what differs is asked of `kind` and of methods.

    A frozen backbone embeds a content once per process (over epochs, folds, seeds and
    estimators) if the subclass names contents, too: `_cell_keys` gives one name per row,
    `_embedding_settings` whatever else shapes an embedding besides the weights, which
    `embed` hashes itself. `embed` then prepares and embeds only rows that are not in the
    cache yet, by way of `_prepare_rows` where positions of rows matter for messages.

    An encoder by itself shows no progress bar; the `verbose` of a call around it does.

    Attributes
    ----------
    kind : str
        What is read: ``"table"``, ``"genotypes"``, ``"image"``, ``"volume"``, ``"note"``,
        ``"concepts"``, ``"visits"``, or ``"other"``.
    columns_ : tuple of str
        The columns of X that this modality reads.
    network_ : EncoderNetwork
        Present once a network was built or trained; `transform` reads its backbone.

    Examples
    --------
    >>> import asfusion as af
    >>> isinstance(af.TabularEncoder(["crp", "esr"]), af.Encoder)
    True
    """

    kind: ClassVar[str] = "other"
    # Whether cells may name files, whose contents then count where rows are told apart.
    reads_files: ClassVar[bool] = True
    # What the door stands before, in subclasses of the user's own, too.
    _public: ClassVar[tuple[str, ...]] = (
        "prepare", "build", "transform", "transform_prepared", "plain_features", "embed",
        "get_feature_names_out", "describe", "nest", "read_visits", "prepare_visits",
        "read_columns", "prepare_dosages", "attention", "attention_of",
    )  # fmt: skip
    # Rows that pass the backbone at once: more where a row costs little.
    _embed_rows: ClassVar[int] = 8
    # Rows that are in memory as pixels at once, on their way to embeddings.
    _chunk_rows: ClassVar[int] = 1024
    # Whether cells can be made up that are nobody's (`_probe_cells`).
    _makes_up: ClassVar[bool] = False
    # Whether nobody else holds what `transform` returns, so that it may be written to.
    _gives_away: ClassVar[bool] = False
    # Whether `fit` reads targets, coded as numbers: only of training rows, as everything.
    _reads_targets: ClassVar[bool] = False
    # Cells say what is read in `root`, and what is kept in `store`.
    _local_params: ClassVar[frozenset[str]] = frozenset({"download", "root", "store"})
    _source_params: ClassVar[frozenset[str]] = frozenset({"backbone", "weights"})
    # A cell that is nobody's, by which an encoder can be fitted that learns nothing of rows.
    _blank: ClassVar[Any] = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Let `fit` learn all or nothing, and no cell out of what is called from outside."""
        super().__init_subclass__(**options)
        own = vars(cls)
        if "fit" in own:
            cls.fit = learns(own["fit"])  # type: ignore[method-assign]
        for name in cls._public:
            if name in own:
                setattr(cls, name, public(own[name]))

    @abstractmethod
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Encoder:
        """Learn the preprocessing from training rows."""

    @abstractmethod
    def prepare(self, X: Any) -> Prepared:
        """Turn rows into tensors and presence; no row is dropped, none is reordered."""

    @abstractmethod
    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        """Return a new network for prepared rows, from the current torch seed.

        With ``pretrained=False`` only the architecture is built, for weights that a
        saved model will bring.
        """

    @property
    @abstractmethod
    def is_frozen(self) -> bool:
        """Whether the backbone keeps its weights, so that each row is embedded once."""

    @property
    def needs_training(self) -> bool:
        """Whether `transform` reads a network that has to learn from targets first."""
        return not self.is_frozen

    @property
    def is_sparse(self) -> bool:
        """Whether `transform` gives a sparse matrix: NaN as the only entry of an absent row."""
        return False

    # -- what others ask ---------------------------------------------------------------

    @property
    def batch_hint(self) -> int:
        """How many of its rows make a training batch where the user leaves it to the library."""
        return BATCH if self.is_frozen or self.needs_training else _TABLE_BATCH

    @property
    def n_features(self) -> int:
        """Number of measured features of a fitted table; 0 where content is read, or flags."""
        return 0

    def describe(self, columns: Sequence[str] = ()) -> str:
        """Return in words which columns are read, and by what.

        Parameters
        ----------
        columns : sequence of str
            The columns of X, for an encoder that is not fitted and was given none.

        Returns
        -------
        str
            Such as ``"'xray': a small network trained from scratch"``.
        """
        read = getattr(self, "columns_", None) or self._columns_among(columns) or columns
        told = quoted(read, limit=8) if read else "all columns"
        network = self._network_in_words()
        return f"{told}: {network}" if network else told

    def advice_across_sites(self) -> str:
        """Return what a user may change where this modality gives the site away, if anything."""
        return ""

    def plain(self) -> Encoder:
        """Return an unfitted encoder of the same columns for `plain_features`."""
        copy: Encoder = clone(self)
        return copy

    @public
    def plain_features(self, X: Any, device: str = "cpu") -> NDArray[np.float64]:
        """Return features that no target was needed for: what a linear model reads.

        Parameters
        ----------
        X : DataFrame or 2-D array of N rows
            The rows, with this encoder's columns.
        device : str
            Where a frozen backbone computes: ``"auto"``, or a torch device.

        Returns
        -------
        ndarray of shape (N, D)
            What `transform` gives where that needs no training, else the numbers that the
            network would read, averaged where they are many. NaN for rows without the modality.
        """
        return numbers_of(self.prepare(X)) if self.needs_training else self._vectors(X, device)

    @public
    def embed(self, X: Any, device: str = "cpu") -> Prepared:
        """Return rows as tokens of the backbone, absent rows masked.

        Parameters
        ----------
        X : DataFrame or 2-D array of N rows
            The rows, with this encoder's columns.
        device : str
            Where the backbone computes: ``"auto"``, or a torch device such as ``"cuda:0"``.
            It is back on the CPU afterwards, and so are the tokens.

        Returns
        -------
        Prepared
            ``values`` of shape (N, T, D) and ``mask`` of shape (N, T).
        """
        check_is_fitted(self)
        network, frame = self._network(), self._read(X)

        def run(prepared: Prepared) -> Prepared:
            return embed_prepared(network, prepared, self._embed_rows, device)

        keys = self._cell_keys(frame) if self.is_frozen else None
        if keys is None:
            return run(self.prepare(frame))
        weights, settings = network_digest(network.backbone), self._embedding_settings()
        # Another kind of device, or another precision, rounds otherwise.
        prefix = digest(type(self).__name__, weights, settings, way_of_passes(device))
        names = [key and f"{prefix}/{key}" for key in keys]
        return self._embed_keyed(run, network.backbone.d_out, frame, names)

    def _cell_keys(self, frame: Frame) -> list[str | None] | None:
        """Return a name for the content of each row, or None if nothing is to be cached.

        A row without a name (nothing there, not readable) is prepared every time.
        """
        return None

    def _embedding_settings(self) -> object:
        """Return, as plain values, what shapes an embedding besides content and weights."""
        return None

    def _why_absent(self) -> str:
        """Return what to do where nothing can be read of any training row."""
        return "Check its columns, or leave this modality out."

    def _prepare_rows(self, frame: Frame, rows: NDArray[np.int64]) -> Prepared:
        """Return `prepare` of the rows at the given positions of `frame`."""
        return self.prepare(frame.take(rows))

    def _embed_keyed(
        self,
        run: Callable[[Prepared], Prepared],
        width: int,
        frame: Frame,
        keys: Sequence[str | None],
    ) -> Prepared:
        """Embed what the cache does not hold, and return all rows."""
        known = EMBEDDINGS.find(keys)
        rows = [known.get(key) if key else None for key in keys]
        others = sharing()
        misses = np.flatnonzero([row is None for row in rows])
        misses = misses if others is None else others.missing(len(rows), misses)
        for start in range(0, len(misses), self._chunk_rows):
            chunk = misses[start : start + self._chunk_rows]
            embed = partial(self._embed_misses, run, frame, keys=keys)
            found = embed(chunk) if others is None else others.embed(embed, chunk, keys, width)
            for row, embedding in found.items():
                rows[row] = embedding
                EMBEDDINGS.put(keys[row], embedding)
        present = torch.tensor([row is not None for row in rows], dtype=torch.bool)
        return Prepared.embedded(stack_embeddings(rows, width), present)

    def _embed_misses(
        self,
        run: Callable[[Prepared], Prepared],
        frame: Frame,
        misses: NDArray[np.int64],
        keys: Sequence[str | None],
    ) -> dict[int, Embedding]:
        """Return the embeddings of rows by position; rows of equal content share theirs."""
        prepared = self._prepare_rows(frame, misses)
        present = torch.nonzero(prepared.present).flatten().tolist()
        names = {i: keys[misses[i]] or f"row {misses[i]}" for i in present}
        leaders: dict[str, int] = {}
        for i, name in names.items():
            leaders.setdefault(name, i)
        own = torch.tensor(list(leaders.values()), dtype=torch.int64)
        tokens = run(prepared.take(own)).tokens()
        embeddings = {
            name: Embedding.of_row(values, mask)
            for name, values, mask in zip(leaders, *tokens, strict=True)
        }
        return {int(misses[i]): embeddings[name] for i, name in names.items()}

    @public
    def transform(self, X: Any) -> NDArray[np.float64]:
        """Return one embedding per row, NaN for rows without the modality.

        Parameters
        ----------
        X : DataFrame or 2-D array of N rows
            The rows, with this encoder's columns.

        Returns
        -------
        ndarray of shape (N, D)
            Mean of the backbone's tokens; columns as in `get_feature_names_out`.
        """
        return _pooled(self.embed(X))

    def _sparse_vectors(self, X: Any) -> Any:
        """Return what a sparse `transform` gives, whatever scikit-learn is told to make of it."""
        return self.transform(X)

    def _packed(self, X: Any) -> Packed | None:
        """Return what a `transform` gives that takes much less memory so, if one does."""
        return None

    def _vectors(self, X: Any, device: str) -> NDArray[np.float64]:
        """Return what `transform` gives, a backbone computing on the device."""
        if self.is_frozen or self.needs_training:
            return self.transform_prepared(self.embed(X, device))
        vectors: NDArray[np.float64] = self.transform(X)
        return vectors

    @public
    def transform_prepared(self, prepared: Prepared) -> NDArray[np.float64]:
        """Return what `transform` gives, from rows that `prepare` made or that resemble them.

        Parameters
        ----------
        prepared : Prepared
            N rows as tensors, embedded already or not.

        Returns
        -------
        ndarray of shape (N, D)
            NaN for rows without the modality.
        """
        if not prepared.is_embedded:
            prepared = embed_prepared(self._network(), prepared, self._embed_rows)
        return _pooled(prepared)

    @public
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the columns of `transform`."""
        check_is_fitted(self)
        stem = "_".join(self.columns_)
        width = self._network().backbone.d_out
        return np.asarray([f"{stem}_{i}" for i in range(width)], dtype=object)

    def _rows_to_learn(
        self, frame: Frame, weight: NDArray[np.float64]
    ) -> tuple[Frame, NDArray[np.float64]]:
        """Return the rows that `fit` reads, in memory, with their weights."""
        return frame.sample(self._columns_among(frame.columns) or frame.columns, weight)

    def _probe_cells(self) -> dict[str, list[Any]]:
        """Return cells of rows that are nobody's, of columns that hold what can be made up."""
        return {}

    def _tell(self, frame: Frame, least: int) -> Told:
        """Return what others need to read this modality alike: sums, none of fewer than `least`."""
        self._check_blank()
        columns = self._columns_among(frame.columns) or frame.columns
        n_rows = int(np.asarray(frame.present(columns)).sum())
        return Told(tellable(n_rows, len(frame), least))

    def _fit_told(self, told: Told) -> Encoder:
        """Fit to what several sites told together, as if all their rows stood in one table."""
        self._check_blank()
        import pandas as pd

        columns = self._columns_among(())
        return self.fit(pd.DataFrame({column: [self._blank] for column in columns}))

    def _check_blank(self) -> None:
        if self._blank is None:
            msg = (
                f"{type(self).__name__}: expected an encoder that sites can agree on by sums, got "
                "one that learns from whole rows. Fit it at one site, or leave the modality out."
            )
            raise ConfigurationError(msg)

    def _tell_gaps(self, frame: Frame) -> None:
        """Warn where rows that were just read lack what training rows had throughout."""

    def _reading(self) -> dict[str, Any] | None:
        """Return how a fitted encoder reads rows, for who has no more than that; None if more.

        Plain values with a ``"kind"``, and under ``"arrays"`` what a graph holds of it.
        """
        return None

    def _network_in_words(self) -> str:
        """Return what reads the columns, where another choice may well be better."""
        return ""

    def _gaps_in_words(self) -> str:
        """Return what becomes of a missing cell where the row has others."""
        return ""

    def _cell_sources(self, frame: Frame, column: str) -> list[Any]:
        """Return what is read of each cell: text, a whole path, or a picture; None for nothing."""
        return [*frame.strings(column)]

    def _looked_at(self, frame: Frame) -> list[tuple[Place, ...]]:
        """Return where each row's film was cut to be read; nothing where it was read whole."""
        return [() for _ in range(len(frame))]

    def _folders(self) -> dict[str, str]:
        """Return the parameters that name folders whose content counts, such as weights."""
        given = self.get_params(deep=False).items()
        paths = {name: os.fspath(v) for name, v in given if isinstance(v, str | os.PathLike)}
        sources = {n: path for n, path in paths.items() if n not in self._local_params}
        return {n: path for n, path in sources.items() if _is_folder(path)}

    def _columns_among(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return which of the columns of X this encoder was given; none if it reads them all."""
        params = self.get_params(deep=False)
        columns = params.get("columns", params.get("column"))
        if columns is None:
            return ()
        return (columns,) if isinstance(columns, str) else tuple(columns)

    def _columns_beside(self) -> tuple[str, ...]:
        """Return columns that are read beside the modality's own, and do not make it present."""
        return ()

    def _network(self) -> EncoderNetwork:
        """Return the trained network, or build one (from a fixed seed) for the first time."""
        if not hasattr(self, "network_"):
            from asfusion._random import torch_seed

            with torch_seed(0):
                self.network_ = self.build()
        return self.network_

    def _made_once(
        self, make: Callable[[], Backbone], sources: Sequence[str], *settings: object
    ) -> Backbone:
        """Return a backbone; one that is frozen is made once, and copied for all who ask alike.

        Parameters
        ----------
        make : callable
            Returns the backbone with the weights of others.
        sources : sequence of str
            Where those are: files, folders or names. None of them: it is made each time.
        *settings
            Plain values that tell it apart from others of the same weights.
        """
        from asfusion.nn._kept import KEPT, weights_known

        known = [weights_known(source, download=self._downloads) for source in sources]
        if not known or None in known or not self.is_frozen:
            return make()
        return KEPT.copy_of(digest(type(self).__qualname__, known, settings), make)

    @property
    def _downloads(self) -> bool:
        return bool(getattr(self, "download", False))

    def _read(self, X: Any) -> Frame:
        """Return X as a Frame that has this encoder's columns."""
        frame = Frame.read(X)
        frame.check_columns(self.columns_, type(self).__name__)
        return frame


def _is_folder(path: str) -> bool:
    try:
        return bool(path) and Path(path).is_dir()
    except (OSError, ValueError):
        return False


def _pooled(embedded: Prepared) -> NDArray[np.float64]:
    """Return the mean token of each row, NaN for rows without any."""
    vectors: NDArray[np.float64] = embedded.tokens().pool().to(torch.float64).numpy()
    vectors[~embedded.present.numpy()] = np.nan
    return vectors


class FeatureEncoder(Encoder):
    """Describe a modality whose rows are named features before any network reads them.

    `transform` gives these, so that nothing has to be trained for it, and no network is kept
    as it was.
    """

    reads_files: ClassVar[bool] = False

    @property
    def is_frozen(self) -> bool:
        """Whether the backbone keeps its weights: never, there are none to begin with."""
        return False

    @property
    def needs_training(self) -> bool:
        """Whether `transform` reads a trained network: it gives the features instead."""
        return False

    def transform_prepared(self, prepared: Prepared) -> NDArray[np.float64]:
        """Return what `transform` gives, from rows that `prepare` made.

        Parameters
        ----------
        prepared : Prepared
            N rows of features.

        Returns
        -------
        ndarray of shape (N, n_features)
            NaN for rows that lack the modality.
        """
        present = prepared.present.numpy()[:, None]
        return np.where(present, prepared.tensors["x"].numpy(), np.nan)


def read_row_weights(sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
    """Return one non-negative finite weight per row, not all zero."""
    if sample_weight is None:
        return np.ones(n_rows)
    weights = floats_of_weights(sample_weight)
    if weights.shape != (n_rows,):
        msg = f"sample_weight: expected shape ({n_rows},), got {weights.shape}."
        raise InputError(msg)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        msg = "sample_weight: expected finite weights of at least zero, and not all zero."
        raise InputError(msg)
    check_finite_sum(weights)
    return weights
