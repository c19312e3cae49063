"""Train, read and apply tokenizers; between calls a tokenizer is its JSON text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer
from asfusion._offline import without_network
from asfusion.exceptions import ConfigurationError, InputError

PAD, UNKNOWN, START, END = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PAD_ID = 0
SMALLEST_VOCABULARY = 300  # the 4 special tokens, the 256 bytes and room for some words

# A word with the space before it, one digit, or a run of signs. Runs are bounded: the
# trainer's time grows with the square of the longest "word", and some scripts have no spaces.
_PIECE = r" ?[\p{L}\p{M}]{1,48}| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}]{1,16}|\s"
_WORD = r"[\p{L}\p{M}]{1,48}|\p{N}|[^\s\p{L}\p{M}\p{N}]"
_LONGEST_WORD = 48
_OVERLAP = 8  # windows share one part in so many
_ACCENT_ON_LATIN = r"(?<=\p{Latin})\p{Mn}+"
# All that a tokenizer may search with: ours, and what published models cut words by.
_GENERAL = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_OF_CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_EXPRESSIONS = frozenset(
    {
        _PIECE, _WORD, _ACCENT_ON_LATIN, r"\s+", " {2,}", _GENERAL % "{1,3}", _GENERAL % "",
        _OF_CLIP, r"<\|startoftext\|>|<\|endoftext\|>|" + _OF_CLIP,
        r"\s{2,}|[\n\r\t]",  # DeBERTa
    }
)  # fmt: skip


class EncodedNotes(NamedTuple):
    """Notes as token ids.

    Parameters
    ----------
    ids : ndarray of shape (N, L) or (N, W, L), int64
        Token ids, zeros behind the end of each note or window.
    mask : ndarray of the same shape, bool
        True where a token is real.
    n_truncated : int
        Number of rows that have more tokens than fit.
    """

    ids: NDArray[np.int64]
    mask: NDArray[np.bool_]
    n_truncated: int


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = 4000, min_frequency: int = 2) -> str:
    """Train a byte-level BPE tokenizer on notes.

    Letters are folded to lower case and Latin accents go. Every digit is a token, so that
    a number never seen before is read digit by digit, as all numbers are. Any text can be
    written in bytes: nothing is ever unknown.

    Parameters
    ----------
    texts : iterable of str
        Cleaned notes of the training rows.
    vocab_size : int, default=4000
        Largest number of tokens, at least 300.
    min_frequency : int, default=2
        How often a pair of pieces must occur to become a piece of its own.

    Returns
    -------
    str
        JSON of the package ``tokenizers``. The same notes, in any order, give the same
        text in every process.

    Raises
    ------
    InputError
        If there is no note.
    ConfigurationError
        If `vocab_size` or `min_frequency` is too small.

    Notes
    -----
    The trainer of WordPiece numbers its pieces in the order of a hash table that is
    seeded at random, and equally frequent pairs are then merged in another order in each
    process. Byte-level BPE starts from a sorted alphabet and has no such freedom.

    References
    ----------
    .. [1] Sennrich, Haddow, Birch, "Neural machine translation of rare words with subword
       units", ACL 2016. https://doi.org/10.18653/v1/P16-1162

    Examples
    --------
    >>> tokenizer = train_tokenizer(["Back pain, CRP 12.5 mg/L"] * 2)
    >>> encode_notes(tokenizer, ["back pain"], max_tokens=8).mask.sum()
    np.int64(4)
    """
    vocab_size = check_integer(vocab_size, "vocab_size", minimum=SMALLEST_VOCABULARY)
    min_frequency = check_integer(min_frequency, "min_frequency", minimum=1)
    texts = list(texts)
    if not texts:
        msg = "train_tokenizer: expected at least one note, got none."
        raise InputError(msg)
    from tokenizers import pre_tokenizers, trainers

    tokenizer = _untrained()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def read_tokenizer(source: str, *, local_files_only: bool = True) -> tuple[str, int]:
    """Read the tokenizer of a `transformers` model.

    Parameters
    ----------
    source : str
        Local folder, or name on the Hugging Face hub.
    local_files_only : bool, default=True
        Whether to leave the network alone.

    Returns
    -------
    json : str
        The tokenizer as JSON of the package ``tokenizers``.
    longest : int
        Most tokens that it says the model takes.

    Raises
    ------
    OSError
        If nothing is found at `source`.
    ConfigurationError
        If there is a tokenizer, but not a fast one, or one with regular expressions that
        nobody has looked at.

    Examples
    --------
    >>> read_tokenizer("no/such-model")
    Traceback (most recent call last):
    OSError: ...
    """
    from transformers import AutoTokenizer

    with without_network() if local_files_only else nullcontext():
        wrapped = AutoTokenizer.from_pretrained(
            source, local_files_only=local_files_only, trust_remote_code=False
        )
    fast = getattr(wrapped, "backend_tokenizer", None)
    if fast is None:
        msg = (
            "backbone: expected a tokenizer with a tokenizer.json, got one that is "
            "written in Python. Save the model with a fast tokenizer first."
        )
        raise ConfigurationError(msg)
    fast.no_truncation()
    fast.no_padding()
    _check_expressions(str(fast.to_str()))
    return str(fast.to_str()), int(wrapped.model_max_length)


def vocabulary_size(tokenizer: str) -> int:
    """Return how many token ids a tokenizer has, special tokens included.

    Parameters
    ----------
    tokenizer : str
        JSON of a tokenizer.

    Returns
    -------
    int
        One more than the largest id.

    Raises
    ------
    ConfigurationError
        If the tokenizer has regular expressions that nobody has looked at.

    Examples
    --------
    >>> vocabulary_size(train_tokenizer(["uveitis"]))
    260
    """
    return 1 + max(_open(tokenizer).get_vocab().values(), default=-1)


def encode_notes(tokenizer: str, texts: Sequence[str], *, max_tokens: int) -> EncodedNotes:
    """Turn notes into token ids, all at once.

    Parameters
    ----------
    tokenizer : str
        JSON of a tokenizer.
    texts : sequence of str
        Cleaned notes. What looks like a special token in a note is read as plain text.
    max_tokens : int
        Length L of the result; longer notes lose their end, but not the closing token.

    Returns
    -------
    EncodedNotes
        Ids and mask of shape (N, L) and the number of truncated notes.

    Examples
    --------
    >>> tokenizer = train_tokenizer(["uveitis"])
    >>> encode_notes(tokenizer, ["[PAD]"], max_tokens=16).ids[0, 0]
    np.int64(2)
    """
    fast = _open(tokenizer)
    fast.encode_special_tokens = True
    fast.enable_truncation(max_tokens)
    encodings = fast.encode_batch_fast(list(texts))
    ids = np.zeros((len(encodings), max_tokens), dtype=np.int64)
    mask = np.zeros((len(encodings), max_tokens), dtype=bool)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding)] = encoding.ids
        mask[row, : len(encoding)] = True
    return EncodedNotes(ids, mask, sum(bool(e.overflowing) for e in encodings))


def encode_windows(
    tokenizer: str, rows: Sequence[Sequence[str]], *, max_tokens: int, max_windows: int
) -> EncodedNotes:
    """Turn the notes of each row into windows of token ids.

    A note that fits is one window; a longer one is cut into windows that share an eighth of
    their tokens with the one before. Each window has its opening and closing token.

    Parameters
    ----------
    tokenizer : str
        JSON of a tokenizer.
    rows : sequence of sequence of str
        The cleaned notes of N rows.
    max_tokens : int
        Length L of a window.
    max_windows : int
        Most windows of a row; what lies behind them is not read.

    Returns
    -------
    EncodedNotes
        Ids and mask of shape (N, W, L), W the most windows that a row has, at least one; and
        how many rows have more.

    Examples
    --------
    >>> tokenizer = train_tokenizer(["uveitis"])
    >>> rows = [["uveitis", "no"], ["uveitis " * 4], []]
    >>> encode_windows(tokenizer, rows, max_tokens=16, max_windows=4).mask.any(axis=2).sum(axis=1)
    array([2, 3, 0])
    """
    return encode_opened(
        open_windows(tokenizer, max_tokens), rows, max_tokens=max_tokens, max_windows=max_windows
    )


def open_windows(tokenizer: str, max_tokens: int) -> Any:
    """Return a tokenizer that cuts notes into windows, for `encode_opened`."""
    fast = _open(tokenizer)
    fast.encode_special_tokens = True
    room = max_tokens - fast.num_special_tokens_to_add(False)
    fast.enable_truncation(max_tokens, stride=min(max_tokens // _OVERLAP, max(0, room - 1)))
    return fast


def encode_opened(
    fast: Any, rows: Sequence[Sequence[str]], *, max_tokens: int, max_windows: int
) -> EncodedNotes:
    """Return what `encode_windows` does, by a tokenizer that is opened once."""
    encodings = iter(fast.encode_batch_fast([note for notes in rows for note in notes]))
    windows: list[list[list[int]]] = []
    n_truncated = 0
    for notes in rows:
        own = [part for _ in notes for part in _parts(next(encodings))]
        n_truncated += len(own) > max_windows
        windows.append([part.ids for part in own[:max_windows]])
    most = max((len(own) for own in windows), default=0)
    ids = np.zeros((len(rows), max(1, most), max_tokens), dtype=np.int64)
    mask = np.zeros(ids.shape, dtype=bool)
    for row, own_ids in enumerate(windows):
        for place, pieces in enumerate(own_ids):
            ids[row, place, : len(pieces)] = pieces
            mask[row, place, : len(pieces)] = True
    return EncodedNotes(ids, mask, n_truncated)


def train_wordpiece(texts: Iterable[str], *, vocab_size: int = 4000, min_frequency: int = 2) -> str:
    """Train a WordPiece tokenizer on notes.

    Letters are folded to lower case and Latin accents go, every digit and sign is a token,
    and a word is read as the longest pieces that are known, the later ones marked ``##``.

    Parameters
    ----------
    texts : iterable of str
        Cleaned notes of the training rows.
    vocab_size : int, default=4000
        Largest number of tokens, at least 300.
    min_frequency : int, default=2
        How often a pair of pieces must occur to become a piece of its own.

    Returns
    -------
    str
        JSON of the package ``tokenizers``. The same notes, in any order, give the same
        text in every process.

    Raises
    ------
    InputError
        If there is no note.
    ConfigurationError
        If `vocab_size` or `min_frequency` is too small.

    Notes
    -----
    NOTE[DIFF]: the trainer of the package depends on the order of a hash table. Pieces are
    learned by byte-pair encoding, which does not, and kept by how often they are used.

    References
    ----------
    .. [1] Wu et al., "Google's neural machine translation system", 2016.
       https://doi.org/10.48550/arXiv.1609.08144

    Examples
    --------
    >>> tokenizer = train_wordpiece(["uveitis, enthesitis"] * 2)
    >>> encode_notes(tokenizer, ["uveitis"], max_tokens=8).mask.sum()
    np.int64(3)
    """
    vocab_size = check_integer(vocab_size, "vocab_size", minimum=SMALLEST_VOCABULARY)
    min_frequency = check_integer(min_frequency, "min_frequency", minimum=1)
    texts = list(texts)
    if not texts:
        msg = "train_wordpiece: expected at least one note, got none."
        raise InputError(msg)
    from tokenizers import Tokenizer, models

    counts = _count_pieces(texts, vocab_size, min_frequency)
    vocabulary = list(SPECIAL_TOKENS)
    by_use = sorted(counts, key=lambda piece: (-counts[piece], piece))
    # Letters come first: with them any word of known letters can be written.
    letters = [piece for piece in by_use if len(piece.removeprefix("##")) == 1]
    longer = [piece for piece in by_use if len(piece.removeprefix("##")) > 1]
    vocabulary += [*letters, *longer][: vocab_size - len(vocabulary)]
    tokenizer: Any = Tokenizer(
        models.WordPiece(
            {piece: number for number, piece in enumerate(vocabulary)},
            unk_token=UNKNOWN,
            max_input_chars_per_word=_LONGEST_WORD,
        )
    )
    tokenizer.normalizer, tokenizer.pre_tokenizer = _folding(), _words()
    tokenizer.post_processor = _framing()
    return str(tokenizer.to_str())


def _count_pieces(texts: Sequence[str], vocab_size: int, min_frequency: int) -> Counter[str]:
    """Return how often each piece of a byte-pair encoding is used, as WordPiece writes it."""
    from tokenizers import Tokenizer, models, trainers

    fold, cut = _folding(), _words()
    words = Counter(w for text in texts for w, _ in cut.pre_tokenize_str(fold.normalize_str(text)))
    learner: Any = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        initial_alphabet=sorted({letter for word in words for letter in word}),
        show_progress=False,
    )
    learner.pre_tokenizer = cut
    learner.train_from_iterator((fold.normalize_str(text) for text in texts), trainer)
    counts: Counter[str] = Counter()
    for word, n in words.items():
        for place, piece in enumerate(learner.encode(word).tokens):
            counts[f"##{piece}" if place else piece] += n
        for place, letter in enumerate(word):
            counts[f"##{letter}" if place else letter] += 0
    return counts


def _open(tokenizer: str) -> Any:
    from tokenizers import Tokenizer

    _check_expressions(tokenizer)
    return Tokenizer.from_str(tokenizer)


@lru_cache(maxsize=8)
def _check_expressions(tokenizer: str) -> None:
    """Raise where a tokenizer, which may come with a bundle, could take hours over a note."""
    parts = {name: part for name, part in json.loads(tokenizer).items() if name != "model"}
    if number := sum(expression not in _EXPRESSIONS for expression in _expressions(parts)):
        msg = (
            "Tokenizer: expected no regular expression but those that asfusion knows, got "
            f"{number} other(s), which could take hours over a note. Use a model whose tokenizer "
            "has none of its own."
        )
        raise ConfigurationError(msg)


def _expressions(part: Any) -> Iterator[Any]:
    inner = list(part.values()) if isinstance(part, dict) else part
    if isinstance(part, dict) and "Regex" in part:
        yield part["Regex"]
    for own in inner if isinstance(inner, list) else ():
        yield from _expressions(own)


def _parts(encoding: Any) -> list[Any]:
    return [encoding, *encoding.overflowing]


def _folding() -> Any:
    from tokenizers import Regex, normalizers

    return normalizers.Sequence(
        [
            normalizers.NFD(),
            normalizers.Replace(Regex(_ACCENT_ON_LATIN), ""),
            normalizers.NFC(),
            normalizers.Lowercase(),
        ]
    )


def _words() -> Any:
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(_WORD), "isolated"),
        ]
    )


def _framing() -> Any:
    from tokenizers import processors

    return processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[(START, SPECIAL_TOKENS.index(START)), (END, SPECIAL_TOKENS.index(END))],
    )


def _untrained() -> Any:
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
    )

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFD(),
            normalizers.Replace(Regex(_ACCENT_ON_LATIN), ""),
            normalizers.NFC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            normalizers.Prepend(" "),  # the first word is the same piece as any other
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECE), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = _framing()
    return tokenizer
