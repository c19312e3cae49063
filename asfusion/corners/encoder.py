"""Graded corners of the spine as named features, which a table model or a person can read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_integer, check_number, in_words
from asfusion._frames import Frame
from asfusion._progress import shown_by_caller
from asfusion._tokens import Prepared
from asfusion._warn import warn_user
from asfusion.anatomy._films import digest_of
from asfusion.corners._sums import CORNERS
from asfusion.corners.scorer import CornerScorer
from asfusion.encoders._base import FeatureEncoder, read_row_weights
from asfusion.encoders._cache import EMBEDDINGS, Embedding, digest
from asfusion.encoders._files import films_of
from asfusion.encoders.tabular import TabularEncoder
from asfusion.exceptions import AsfusionError, ConfigurationError, InputError
from asfusion.nn.network import EncoderNetwork
from asfusion.persistence import load

Floats = NDArray[np.float64]


class CornerEncoder(FeatureEncoder):
    """Read lateral films of the spine by the expected grades of their corners.

    ``grade_C2L`` to ``grade_S1U`` are the means of what a `CornerScorer` says of each corner,
    from 0 to 3. A corner that cannot be read is a missing cell: it gets the median of training
    rows and, where training rows lacked it, a flag. A row without a single readable corner lacks
    the modality.

    Parameters
    ----------
    scorer : CornerScorer or path
        An unfitted scorer whose annotations have grades: it learns from those training rows
        that are annotated, inside of the fold. Or the path of one that was saved: it stays as it
        is, and a warning counts the training rows whose films it has learned from.
    d_hidden : int
        Width inside the network.
    n_layers : int
        Residual blocks of the network.
    d_out : int
        Width of the token that fusion sees.
    dropout : float
        Dropout inside the network and before the adapter.

    Attributes
    ----------
    columns_ : tuple of str
        The columns of films.
    scorer_ : CornerScorer
        The fitted scorer.
    feature_names_ : list of str
        Names of the features.
    network_ : EncoderNetwork
        Present once joint fusion trained one. `transform` does not use it.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable.
    InputError
        On `fit`, if no corner of a training row can be read, or none is annotated.
    BundleError
        On `fit`, if the path holds no saved scorer.

    Notes
    -----
    A scorer that learns inside of the fold has seen the grades of the rows that it grades in
    training, and of no others: its features are a little better there than on new rows. One that
    was fitted on other patients and saved has no such advantage.

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> graded = pd.DataFrame(columns=["film", "point", "x", "y", "grade"])
    >>> encoder = af.corners.CornerEncoder(af.corners.CornerScorer(graded, cervical=None))
    >>> encoder.describe(["crp", "lumbar_xray"])
    "'lumbar_xray'"
    """

    kind: ClassVar[str] = "other"
    reads_files: ClassVar[bool] = True
    _source_params: ClassVar[frozenset[str]] = frozenset({"scorer"})

    columns_: tuple[str, ...]
    scorer_: CornerScorer
    table_: TabularEncoder

    def __init__(
        self,
        scorer: CornerScorer | str | Path,
        *,
        d_hidden: int = 32,
        n_layers: int = 1,
        d_out: int = 64,
        dropout: float = 0.0,
    ) -> None:
        self.scorer = scorer
        self.d_hidden = d_hidden
        self.n_layers = n_layers
        self.d_out = d_out
        self.dropout = dropout

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> CornerEncoder:
        """Learn where corners are and how they are graded, if the scorer is not fitted already.

        Parameters
        ----------
        X : DataFrame of N rows
            The training rows, with the columns of films.
        y : ignored
            Corners are graded without targets.
        sample_weight : array of shape (N,), optional
            Rows of weight zero are left out; otherwise a film is read as it is.

        Returns
        -------
        CornerEncoder
            The encoder itself.

        Raises
        ------
        ConfigurationError
            If a parameter is unusable.
        InputError
            If no corner can be read.
        """
        self._check_parameters()
        frame = Frame.read(X)
        frame = frame.take(read_row_weights(sample_weight, len(frame)) > 0)
        self.scorer_ = self._scorer(frame)
        self.columns_ = tuple(self.scorer_.columns.values())
        self.__dict__.pop("network_", None)
        grades = self._grades(frame)
        if not np.isfinite(grades).any():
            msg = (
                f"CornerEncoder: expected a readable corner in at least one training row, got "
                f"{len(frame)} row(s) without any. Check the columns, or leave this modality out."
            )
            raise InputError(msg)
        seen = np.asarray(np.isfinite(grades).any(axis=0))
        names = [name for name, there in zip(_NAMES, seen, strict=True) if there]
        table = TabularEncoder(
            names, d_hidden=self.d_hidden, n_layers=self.n_layers, d_out=self.d_out,
            dropout=self.dropout,
        )  # fmt: skip
        self.table_ = table.fit(_framed(grades))
        self.feature_names_ = list(self.table_.feature_names_)
        return self

    def prepare(self, X: Any) -> Prepared:
        """Turn rows into features and presence.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the columns of films.

        Returns
        -------
        Prepared
            ``x`` of shape (N, n_features), float64; zeros for rows without a readable corner.
        """
        check_is_fitted(self)
        return self.table_.prepare(Frame.read(_framed(self._grades(self._read(X)))))

    def transform(self, X: Any) -> Floats:
        """Return the features, NaN for rows without a readable corner.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the columns of films.

        Returns
        -------
        ndarray of shape (N, n_features)
            Expected grades (unitless), scaled as `asfusion.TabularEncoder` does.
        """
        return self.transform_prepared(self.prepare(X))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features, such as ``grade_C2L``."""
        check_is_fitted(self)
        return np.asarray(self.feature_names_, dtype=object)

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        """Return a new network for prepared rows, from the current torch seed."""
        check_is_fitted(self)
        return self.table_.build(pretrained=pretrained)

    @property
    def n_features(self) -> int:
        """Number of features of a fitted encoder."""
        return len(self.feature_names_)

    def _scorer(self, frame: Frame) -> CornerScorer:
        with shown_by_caller():
            if isinstance(self.scorer, str | Path):
                scorer = _read_scorer(self.scorer)
                self._warn_of_overlap(scorer, frame)
                return scorer
            # Features need no interval: nobody is set aside for one.
            unfitted: CornerScorer = clone(self.scorer).set_params(calibration_fraction=0.0)
            return unfitted.fit(frame)

    def _warn_of_overlap(self, scorer: CornerScorer, frame: Frame) -> None:
        columns = list(scorer.columns.values())
        frame.check_columns(columns, type(self).__name__)
        known = np.zeros(len(frame), dtype=bool)
        for column in columns:
            films = films_of(frame, column)
            known |= [film is not None and digest_of(film) in scorer.trained_on_ for film in films]
        if known.any():
            warn_user(
                f"CornerEncoder: the saved scorer has learned from films of {int(known.sum())} of "
                f"{len(frame)} training row(s): their features are better than those of new rows."
            )

    def _grades(self, frame: Frame) -> Floats:
        """Return the expected grades of corners (N, 24), NaN where they cannot be read.

        Films of equal content are scored once per process by a scorer, as frozen backbones read.
        """
        keys = self._row_keys(frame)
        known = EMBEDDINGS.find(keys)
        others = np.flatnonzero([key not in known for key in keys])
        grades = np.full((len(keys), len(CORNERS)), np.nan)
        if len(others):
            with shown_by_caller():
                told = self.scorer_.predict_proba(frame.take(others))
            grades[others] = (told @ np.arange(told.shape[2])).astype(np.float32)
        for row in others.tolist():
            if np.isfinite(grades[row]).any():  # what cannot be read is told each time
                EMBEDDINGS.put(keys[row], _as_embedding(grades[row]))
        for row, key in enumerate(keys):
            if key in known:
                grades[row] = known[key].values[0].numpy()
        return grades

    def _row_keys(self, frame: Frame) -> list[str | None]:
        """Return a name for what the scorer says of each row; None where there is none."""
        columns, root = self.scorer_.columns.values(), self.scorer_.root
        scorer = self.scorer_.digest_
        rows = zip(*(films_of(frame, column, root) for column in columns), strict=True)
        named = ([film and (digest_of(film) or "") for film in films] for films in rows)
        return [
            f"CornerEncoder/{digest(scorer, films)}"
            if scorer and any(films) and "" not in films
            else None
            for films in named
        ]

    def _columns_among(self, names: Sequence[str]) -> tuple[str, ...]:
        scorer = self.scorer
        if isinstance(scorer, str | Path):
            try:
                scorer = _read_scorer(scorer)
            except AsfusionError:  # told by fit
                return ()
        return tuple(getattr(scorer, "columns", {}).values())

    def _cell_sources(self, frame: Frame, column: str) -> list[Any]:
        root = getattr(self.scorer, "root", None)
        return films_of(frame, column, root)

    def _check_parameters(self) -> None:
        if not isinstance(self.scorer, str | Path) and not hasattr(self.scorer, "score_films"):
            msg = (
                "scorer: expected a CornerScorer, or the path of a saved one, got "
                f"{in_words(self.scorer)}."
            )
            raise ConfigurationError(msg)
        for name in ("d_hidden", "n_layers", "d_out"):
            check_integer(getattr(self, name), name, minimum=1)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)


_NAMES = [f"grade_{corner}" for corner in CORNERS]


def _framed(grades: Floats) -> Any:
    import pandas as pd

    return pd.DataFrame(grades, columns=_NAMES)


def _as_embedding(grades: Floats) -> Embedding:
    import torch

    values = torch.as_tensor(grades[None], dtype=torch.float32)
    return Embedding(values, torch.ones(1, dtype=torch.bool))


def _read_scorer(path: str | Path) -> CornerScorer:
    try:
        made = Path(path).stat()
    except OSError:
        scorer = load(path)  # which says what is wrong
    else:
        scorer = _loaded(str(path), made.st_mtime_ns, made.st_ino)
    if not hasattr(scorer, "score_films"):
        msg = f"scorer: expected a saved CornerScorer, got a saved {type(scorer).__name__}."
        raise ConfigurationError(msg)
    found: CornerScorer = scorer
    return found


@lru_cache(maxsize=2)
def _loaded(path: str, *made: int) -> Any:
    """Return what is saved in a folder, read once for as long as it is that folder."""
    return load(path)
