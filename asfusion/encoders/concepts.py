"""Concepts of clinical notes as named features, which a table model or a person can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_choice, check_integer, check_number
from asfusion._frames import Frame
from asfusion._later import torch
from asfusion._tokens import Prepared
from asfusion.encoders._base import FeatureEncoder
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.notes._context import CONTEXTS
from asfusion.notes._lexicon import build_lexicon
from asfusion.notes.cells import check_note_columns, read_raw_notes
from asfusion.notes.concepts import mentions_of

if TYPE_CHECKING:
    from asfusion.nn.network import EncoderNetwork


class ConceptEncoder(FeatureEncoder):
    """Read clinical notes by the concepts that they name and how each is meant.

    ``uveitis_present``, ``uveitis_negated``, ``psoriasis_family`` and so on are 1 where a note
    of the patient says so and 0 where none does. Not mentioned and denied are different
    things, and both are kept. A row without a note lacks the modality.

    Parameters
    ----------
    columns : str or list of str
        The note columns. A cell is a text or a list of texts.
    concepts : mapping of str to list of str, optional
        Your own concepts and the regular expressions that name them, as in
        `asfusion.notes.find_concepts`.
    builtin : bool
        Whether to look for the features of axial spondyloarthritis.
    contexts : list of str, optional
        Which contexts become features; all by default: ``"present"``, ``"historical"``,
        ``"possible"``, ``"hypothetical"``, ``"negated"``, ``"family"``, ``"family_negated"``.
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
        The note columns.
    feature_names_ : list of str
        Names of the features: concept and context.
    network_ : EncoderNetwork
        Present once joint fusion trained one. `transform` does not use it.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable.
    ColumnError
        If a column is missing or holds something other than text.
    InputError
        On `fit`, if no training row has a note.

    Notes
    -----
    Nothing is learned from the training rows but that there is a note in them: the features
    are the same whatever the rows, and a feature that no note has is zero.

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> X = pd.DataFrame({"note": ["Uveitis in 2011.", "No uveitis; father has psoriasis.", None]})
    >>> encoder = af.ConceptEncoder("note", contexts=["historical", "negated", "family"]).fit(X)
    >>> features = encoder.set_output(transform="pandas").transform(X)
    >>> features[["uveitis_historical", "uveitis_negated", "psoriasis_family"]].values.tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [nan, nan, nan]]
    """

    kind: ClassVar[str] = "concepts"
    _blank: ClassVar[Any] = "note"

    def __init__(
        self,
        columns: str | Sequence[str],
        *,
        concepts: Mapping[str, Sequence[str]] | None = None,
        builtin: bool = True,
        contexts: Sequence[str] | None = None,
        d_hidden: int = 32,
        n_layers: int = 1,
        d_out: int = 64,
        dropout: float = 0.0,
    ) -> None:
        self.columns = columns
        self.concepts = concepts
        self.builtin = builtin
        self.contexts = contexts
        self.d_hidden = d_hidden
        self.n_layers = n_layers
        self.d_out = d_out
        self.dropout = dropout

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> ConceptEncoder:
        """Check the parameters and that there is a note.

        Parameters
        ----------
        X : DataFrame of N rows
            The training rows, with the note columns.
        y : ignored
            Notes are read without targets.
        sample_weight : ignored
            A note is read as it is, whatever its weight.

        Returns
        -------
        ConceptEncoder
            The encoder itself.

        Raises
        ------
        ConfigurationError
            If a parameter is unusable.
        InputError
            If no row has a note.
        """
        contexts = self._check_parameters()
        lexicon = build_lexicon(self.concepts, builtin=self.builtin)
        columns = check_note_columns(self.columns)
        rows = read_raw_notes(Frame.read(X), columns, type(self).__name__)
        if not any(rows):
            msg = (
                f"ConceptEncoder: expected a note in at least one training row, got {len(rows)} "
                "row(s) without any. Check the column, or leave this modality out."
            )
            raise InputError(msg)
        self.__dict__.pop("network_", None)
        self.columns_ = columns
        self.feature_names_ = [f"{name}_{context}" for name in lexicon for context in contexts]
        return self

    def prepare(self, X: Any) -> Prepared:
        """Turn rows into features and presence.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the note columns.

        Returns
        -------
        Prepared
            ``x`` of shape (N, n_features), float64, of zeros and ones; zeros for rows
            without a note.
        """
        check_is_fitted(self)
        rows = read_raw_notes(self._read(X), self.columns_, type(self).__name__)
        lexicon = build_lexicon(self.concepts, builtin=self.builtin)
        place = {name: number for number, name in enumerate(self.feature_names_)}
        features = np.zeros((len(rows), len(place)))
        known: dict[str, list[int]] = {}
        for row, notes in enumerate(rows):
            for note in notes:
                if note not in known:
                    said = {f"{m.concept}_{m.context}" for m in mentions_of(note, lexicon)}
                    known[note] = [place[name] for name in said if name in place]
                features[row, known[note]] = 1.0
        present = np.asarray([bool(notes) for notes in rows], dtype=bool)
        return Prepared({"x": torch.from_numpy(features)}, torch.from_numpy(present))

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Return the features, NaN for rows without a note.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the note columns.

        Returns
        -------
        ndarray of shape (N, n_features)
            Zeros and ones, unitless.
        """
        return self.transform_prepared(self.prepare(X))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features, such as ``uveitis_negated``."""
        check_is_fitted(self)
        return np.asarray(self.feature_names_, dtype=object)

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        """Return a new network for prepared rows, from the current torch seed."""
        from asfusion.nn.network import EncoderNetwork
        from asfusion.nn.tabular import MLPBackbone

        check_is_fitted(self)
        backbone = MLPBackbone(
            len(self.feature_names_),
            d_hidden=self.d_hidden,
            n_layers=self.n_layers,
            dropout=self.dropout,
        )
        return EncoderNetwork(backbone, d_out=self.d_out, dropout=self.dropout)

    def feature_groups(self) -> dict[str, list[int]]:
        """Return the columns of each concept among the features.

        Returns
        -------
        dict of str to list of int
            One entry per concept, in the order of the features.
        """
        check_is_fitted(self)
        names, contexts = self.feature_names_, self._check_parameters()
        return {
            names[i].removesuffix(f"_{contexts[0]}"): list(range(i, i + len(contexts)))
            for i in range(0, len(names), len(contexts))
        }

    def name_contexts(self, X: Any, concept: str) -> list[str | None]:
        """Return in words how each row's notes mean a concept.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the note columns.
        concept : str
            One of `feature_groups`.

        Returns
        -------
        list of str or None
            Such as ``"negated, family"``, ``"not mentioned"``, or None without a note.
        """
        prepared = self.prepare(X)
        group = self.feature_groups()[concept]
        contexts = self._check_parameters()
        said = prepared.tensors["x"].numpy()[:, group] > 0
        words = [", ".join(c for c, s in zip(contexts, row, strict=True) if s) for row in said]
        there = prepared.present.tolist()
        return [(w or "not mentioned") if t else None for w, t in zip(words, there, strict=True)]

    def _check_parameters(self) -> tuple[str, ...]:
        """Return the contexts that become features."""
        for name in ("d_hidden", "n_layers", "d_out"):
            check_integer(getattr(self, name), name, minimum=1)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        if self.contexts is None:
            return CONTEXTS
        if isinstance(self.contexts, str) or not list(self.contexts):
            msg = "contexts: expected a list of contexts such as ['present', 'negated'], or None."
            raise ConfigurationError(msg)
        return tuple(dict.fromkeys(check_choice(c, "contexts", CONTEXTS) for c in self.contexts))
