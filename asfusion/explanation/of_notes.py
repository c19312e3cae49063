"""The words of notes, cut out one by one, or followed by their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from asfusion.exceptions import ConfigurationError
from asfusion.explanation._asking import Attributor
from asfusion.explanation._attribution import PerRow
from asfusion.explanation._coalitions import Floats, Masks, Play
from asfusion.explanation._curves import Claim
from asfusion.explanation._gradients import check_gradients, network_of, worth_of_tokens
from asfusion.explanation._text_words import Score, cut_text
from asfusion.explanation.text import TextAttribution, attribute_tokens, attribute_words
from asfusion.notes.cells import NOTE_SEPARATOR, join_patient, read_notes

_STEPS = 128  # the way from empty embeddings bends sharply behind a layer norm


class NoteAttributor(Attributor):
    """Attributes to words, or runs of them."""

    def check(self) -> None:
        """Raise if words cannot be attributed as asked."""
        if self.asking.word_method != "integrated_gradients":
            return
        check_gradients(self.game, "word_method", "shapley")
        if self.encoder.tfidf_ is not None:
            msg = (
                "word_method: expected 'shapley' or 'deletion' for a note that is counted words "
                "(tf-idf), which have no embeddings, got 'integrated_gradients'."
            )
            raise ConfigurationError(msg)

    def attribute(self) -> PerRow:
        """Return the attribution of each row, None where there is no note."""
        self.check()
        return PerRow(self._of_row(row) for row in self.rows())

    def claim(self, row: int, found: Any) -> Claim | None:
        """Return the words of a row."""
        part = found[row]
        if part is None:
            return None
        places = [(span.start, span.end) for span in part.spans]
        values = np.asarray([span.value for span in part.spans])
        return Claim(values, play_words(self.score(row), part.text, places))

    def score(self, row: int) -> Callable[[list[str]], Floats]:
        """Return what texts are worth in place of a row's note; without a word, no note."""
        worth, without = self.game.marginal(row, self.name), self.game.without(row, self.name)
        first, *rest = self.encoder.columns_

        def score(texts: list[str]) -> Floats:
            rows = self.frame.take(np.full(len(texts), row)).select(self.encoder.columns_)
            rows = rows.replace(first, texts)
            for column in rest:
                rows = rows.replace(column, [None] * len(texts))
            found = worth(*self.game.encode_frame(self.name, rows))
            return np.where([bool(text.strip()) for text in texts], found, without)

        return score

    def _of_row(self, row: int) -> TextAttribution | None:
        own = self.asking.row(row)
        text = join_patient(read_notes(own, self.encoder.columns_, self.name)[0])
        if not text or not self.has(row):
            return None
        if self.asking.word_method == "integrated_gradients":
            return self._by_gradients(row, text)
        return attribute_words(
            self.score(row),
            text,
            method=self.asking.word_method,
            n_samples=self.asking.n_samples,
            seed=self.seed("words", row),
        )

    def _by_gradients(self, row: int, text: str) -> TextAttribution:
        """Return words by gradients, what an empty note is worth against none put elsewhere."""
        note = self._embed(row, text)
        part = attribute_tokens(
            note.forward,
            note.embeddings,
            note.offsets,
            text,
            baseline=note.baseline,
            n_steps=_STEPS,
        )
        value = self.game.own_value(row, self.name)
        return replace(part, total=value, elsewhere=part.elsewhere + value - part.total)

    def _embed(self, row: int, text: str) -> Embedded:
        """Return the embeddings of a cleaned note, and their worth as a function."""
        worth, network = (
            worth_of_tokens(self.game, row, self.name),
            network_of(self.game, self.name),
        )
        backbone, coding = network.backbone, self._code(text)
        ids, table = torch.tensor([coding.ids]), backbone.embedding_table()
        with torch.no_grad():
            embeddings = table(ids).detach()
        frame = torch.tensor([offset == (0, 0) for offset in coding.offsets])

        def forward(many: Tensor) -> Tensor:
            same = ids.expand(len(many), -1)
            handle = table.register_forward_hook(lambda module, inputs, output: many)
            try:
                tokens = backbone({"ids": same, "mask": torch.ones_like(same, dtype=torch.bool)})
            finally:
                handle.remove()
            return worth(network(tokens))

        baseline = embeddings * frame[None, :, None]
        return Embedded(forward, embeddings, baseline, list(coding.offsets))

    def _code(self, text: str) -> Any:
        """Return a note as the pieces that the network reads."""
        tokenizer = Tokenizer.from_str(str(self.encoder.tokenizer_))
        tokenizer.encode_special_tokens = True  # a note that spells one out says it as text
        tokenizer.enable_truncation(self.encoder.max_tokens_)
        coding = tokenizer.encode(text)
        if coding.overflowing or NOTE_SEPARATOR in text:
            msg = (
                "word_method: expected 'shapley' or 'deletion' for rows with several notes or "
                "windows, got 'integrated_gradients', which reads one window. Raise max_tokens, or "
                "use those."
            )
            raise ConfigurationError(msg)
        return coding


@dataclass(frozen=True, eq=False)
class Embedded:
    """A note as token embeddings, and what they are worth.

    Parameters
    ----------
    forward : callable
        From embeddings (B, T, D) to the worth (B,).
    embeddings : Tensor of shape (1, T, D)
        Those of the note.
    baseline : Tensor of shape (1, T, D)
        Zeros, but for the tokens that frame every note.
    offsets : list of pairs of int
        Place of each token in the note, (0, 0) for those that frame it.
    """

    forward: Callable[[Tensor], Tensor]
    embeddings: Tensor
    baseline: Tensor
    offsets: list[tuple[int, int]]


def play_words(score: Score, text: str, places: Sequence[tuple[int, int]]) -> Play:
    """Return the worth of a note of which only some stretches are left."""
    pieces = cut_text(text, places)

    def play(masks: Masks) -> Floats:
        texts = ["".join(p for p, kept in zip(pieces, m, strict=True) if kept) for m in masks]
        known = dict.fromkeys(texts)
        values = dict(zip(known, score(list(known)).tolist(), strict=True))
        return np.asarray([values[text] for text in texts])

    return play
