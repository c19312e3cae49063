"""What each word of a note adds to a prediction.

The functions know of no estimator: what is to be explained comes in as a function.

Dimensions: B texts of a batch, T tokens, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from asfusion._checks import check_choice, check_integer
from asfusion.exceptions import InputError
from asfusion.explanation import _text_tokens, _text_words
from asfusion.explanation.spans import Span
from asfusion.explanation.views.note import TextView

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

Method = Literal["shapley", "deletion", "integrated_gradients"]


@dataclass(frozen=True, eq=False, repr=False)
class TextAttribution(TextView):
    """What the words of one note add to an output.

    The values, `elsewhere` and `gap` add up to `total`. A word without a span was not read,
    such as one behind the longest note that a model takes.

    Parameters
    ----------
    text : str
        The note.
    spans : tuple of Span
        In the order of the text, without overlap.
    total : float
        Output for the note less the output without it (the empty text, or the baseline of
        the embeddings), in units of the output.
    gap : float
        What of `total` the values do not explain.
    method : {"shapley", "deletion", "integrated_gradients"}
        How the values were found.
    elsewhere : float, default=0.0
        What belongs to no word: tokens that open and close a note, spaces, and, where `explain`
        asks for gradients, what a note without content is worth against none at all.
    standard_errors : tuple of float, default=()
        Standard error of each span's value from the sampling of orders; empty for methods
        that draw nothing.

    Raises
    ------
    InputError
        If spans are out of order, overlap, leave the text or have no finite value.

    Examples
    --------
    >>> attribution = TextAttribution("no pain", (Span(0, 2, -1.0), Span(3, 7, 1.5)), 0.5, 0.0,
    ...                               "shapley")
    >>> attribution.to_frame()
       word  start  end  value
    0    no      0    2   -1.0
    1  pain      3    7    1.5
    >>> attribution.top(1)
    (Span(start=3, end=7, value=1.5),)
    """

    text: str
    spans: tuple[Span, ...]
    total: float
    gap: float
    method: Method
    elsewhere: float = 0.0
    standard_errors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check that spans can be shown in the text."""
        edge = 0
        for number, span in enumerate(self.spans):
            if not edge <= span.start < span.end <= len(self.text):
                msg = (
                    f"TextAttribution: expected spans in order, without overlap and inside the "
                    f"{len(self.text)} characters of the text, got another at span {number}."
                )
                raise InputError(msg)
            if not math.isfinite(span.value):
                msg = f"TextAttribution: expected finite values, got {span.value} at span {number}."
                raise InputError(msg)
            edge = span.end
        if self.standard_errors and len(self.standard_errors) != len(self.spans):
            msg = (
                f"standard_errors: expected one per span, {len(self.spans)}, got "
                f"{len(self.standard_errors)}."
            )
            raise InputError(msg)

    def to_frame(self) -> pd.DataFrame:
        """Return the spans as a table.

        Returns
        -------
        DataFrame
            One row per span with ``word``, ``start``, ``end`` and ``value``, and with
            ``standard_error`` where there are any.
        """
        import pandas as pd

        columns: dict[str, list[Any]] = {
            "word": [self.word(span) for span in self.spans],
            "start": [span.start for span in self.spans],
            "end": [span.end for span in self.spans],
            "value": [span.value for span in self.spans],
        }
        if self.standard_errors:
            columns["standard_error"] = list(self.standard_errors)
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        """Return a line that says nothing of the note: it may end up in a log."""
        return (
            f"TextAttribution({len(self.spans)} spans, total={self.total:.4g}, "
            f"gap={self.gap:.2g}, method={self.method!r})"
        )


def words_of(text: str) -> list[tuple[int, int]]:
    """Return where the words of a text are.

    A word is a run of letters and digits of any script with their marks; hyphens and
    apostrophes between them are part of it, and so are a point or comma between digits.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    list of (int, int)
        Start and end of each word in characters, in order. Every letter and digit of the
        text is in one of them.

    Examples
    --------
    >>> note = "HLA-B27 positive, BASDAI 3.5."
    >>> [note[start:end] for start, end in words_of(note)]
    ['HLA-B27', 'positive', 'BASDAI', '3.5']
    """
    return _text_words.find_words(_check_text(text))


def attribute_words(
    score: Callable[[list[str]], Any],
    text: str,
    *,
    method: Literal["shapley", "deletion"] = "shapley",
    n_samples: int = 256,
    batch_size: int = 64,
    max_players: int = 40,
    seed: int = 0,
) -> TextAttribution:
    """Say what each word adds to the output of any model of text.

    A word that is left out is cut out of the text, with the signs and spaces behind it; no
    other word takes its place.

    Parameters
    ----------
    score : callable
        Takes a list of B texts and returns B finite numbers: the output to explain. The
        empty text is among them.
    text : str
        The note.
    method : {"shapley", "deletion"}
        ``"shapley"``: mean gain from a word over the orders in which words can come in;
        the values add up to `total` exactly. ``"deletion"``: what is lost without the one
        word; P + 2 texts for P words, but of two words that say the same neither is missed.
    n_samples : int, default=256
        Orders to draw for ``"shapley"``, at least 4, in pairs of an order and its
        reverse (an odd number is rounded up). A note with so few words that all subsets
        cost no more texts is computed exactly, with standard errors of zero.
    batch_size : int, default=64
        Most texts in one call of `score`.
    max_players : int, default=40
        A note with more words is cut into so many chunks of neighbouring words, none of which
        leaves its sentence, and a chunk gets one value.
    seed : int, default=0
        Seed of the orders.

    Returns
    -------
    TextAttribution
        In units of the score. A text without any word is one value `elsewhere`.

    Raises
    ------
    InputError
        If `text` is not a str, or a score is not finite.
    ShapeError
        If `score` does not return one number per text.
    ConfigurationError
        If a parameter is unusable.

    Notes
    -----
    An order and its reverse see a word once early and once late, so that their mean varies
    less than that of two independent orders; where words act in pairs at most it does not
    vary at all. Standard errors are those of the mean over pairs of orders.

    References
    ----------
    .. [1] Castro, Gomez, Tejada, "Polynomial calculation of the Shapley value based on
       sampling", Computers & Operations Research 2009.
       https://doi.org/10.1016/j.cor.2008.04.004
    .. [2] Mitchell et al., "Sampling permutations for Shapley value estimation", JMLR 2022.
       https://doi.org/10.48550/arXiv.2104.12199

    Examples
    --------
    >>> def score(texts):
    ...     return [2.0 * ("stiffness" in text) - 1.0 * ("no" in text.split()) for text in texts]
    >>> attribution = attribute_words(score, "morning stiffness, no uveitis")
    >>> [(attribution.word(span), round(span.value, 6)) for span in attribution.top(2)]
    [('stiffness', 2.0), ('no', -1.0)]
    """
    text = _check_text(text)
    check_choice(method, "method", ("shapley", "deletion"))
    n_samples = check_integer(n_samples, "n_samples", minimum=4)
    batch_size = check_integer(batch_size, "batch_size", minimum=1)
    max_players = check_integer(max_players, "max_players", minimum=1)
    seed = check_integer(seed, "seed", minimum=0)
    players = _text_words.group_words(text, _text_words.find_words(text), max_players)
    if not players:
        full, empty = _text_words.score_texts(score, [text, ""], batch_size).tolist()
        return TextAttribution(text, (), full - empty, 0.0, method, elsewhere=full - empty)
    pieces = _text_words.cut_text(text, players)
    if method == "deletion":
        found = _text_words.delete_words(score, pieces, batch_size)
    else:
        found = _text_words.shapley_words(score, pieces, batch_size, n_samples=n_samples, seed=seed)
    values = found.values.tolist()
    spans = tuple(Span(*place, value) for place, value in zip(players, values, strict=True))
    gap = found.total - math.fsum(values)
    return TextAttribution(
        text, spans, found.total, gap, method, standard_errors=found.standard_errors
    )


def attribute_tokens(
    forward_embeddings: Callable[[Tensor], Tensor],
    embeddings: Tensor,
    offsets: Sequence[tuple[int, int]],
    text: str,
    *,
    baseline: Tensor | None = None,
    n_steps: int = 32,
) -> TextAttribution:
    """Say what each word adds to the output of a network, by integrated gradients.

    The gradient to the embeddings of the word pieces is averaged on the straight way from
    the baseline to the note, and added up over the pieces of a word.

    Parameters
    ----------
    forward_embeddings : callable
        Takes token embeddings (B, T, D) and returns the output to explain (B,), with a
        gradient. The network is to be in evaluation mode.
    embeddings : Tensor of shape (1, T, D)
        Token embeddings of the note.
    offsets : sequence of T pairs of int
        Place of each token in `text`, start and end, as a tokenizer of ``tokenizers``
        gives them; (0, 0) for tokens that stand for no text.
    text : str
        The text that the tokenizer has read.
    baseline : Tensor of shape (1, T, D), optional
        Embeddings of a note that says nothing; zeros by default.
    n_steps : int, default=32
        Points on the way, all in one batch.

    Returns
    -------
    TextAttribution
        In units of the output; `gap` is what the sum over so many points misses of `total`.
        Signs that are tokens of their own have spans of their own.

    Raises
    ------
    InputError
        If `text` is not a str, offsets leave it, or outputs or gradients are not finite.
    ShapeError
        If tensors, offsets and outputs do not fit together.
    ConfigurationError
        If `n_steps` is unusable, or the output has no gradient.

    References
    ----------
    .. [1] Sundararajan, Taly, Yan, "Axiomatic attribution for deep networks", ICML 2017.
       https://doi.org/10.48550/arXiv.1703.01365

    Shape
    -----
    - `embeddings`: (1, T, D); what `forward_embeddings` is given: (B, T, D) -> (B,).

    Examples
    --------
    >>> import torch
    >>> pieces = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> attribution = attribute_tokens(
    ...     lambda embeddings: embeddings.sum(dim=(1, 2)), pieces, [(0, 0), (0, 3), (3, 7)],
    ...     "uveitis")
    >>> round(attribution.spans[0].value, 4), round(attribution.elsewhere, 4)
    (5.0, 1.0)
    """
    text = _check_text(text)
    n_steps = check_integer(n_steps, "n_steps", minimum=1)
    values, total = _text_tokens.integrate_gradients(
        forward_embeddings, embeddings, baseline, n_steps
    )
    places = _text_tokens.check_offsets(offsets, len(values), len(text))
    merged, elsewhere = _text_tokens.merge_tokens(
        text, _text_words.find_words(text), places, values
    )
    spans = tuple(Span(*place, value) for place, value in merged.items())
    gap = total - math.fsum([*merged.values(), elsewhere])
    return TextAttribution(text, spans, total, gap, "integrated_gradients", elsewhere=elsewhere)


def _check_text(text: object) -> str:
    if isinstance(text, str):
        return text
    msg = f"text: expected a note as str, got {type(text).__name__}."
    raise InputError(msg)
