"""Integrated gradients on the embeddings of word pieces, added up word by word.

Dimensions: B rows of a batch, T tokens, D width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion._foreign import Asked
from asfusion.exceptions import ConfigurationError, InputError, ShapeError
from asfusion.explanation._text_words import Offsets

if TYPE_CHECKING:
    from torch import Tensor

Forward: TypeAlias = "Callable[[Tensor], Tensor]"


def integrate_gradients(
    forward: Forward, embeddings: Tensor, baseline: Tensor | None, n_steps: int
) -> tuple[NDArray[np.float64], float]:
    """Return one value per token (T,), and the output less the output of the baseline."""
    import torch
    from captum.attr import IntegratedGradients

    from asfusion.explanation._image_methods import captum_in_our_words

    embeddings = embeddings.detach()
    start = torch.zeros_like(embeddings) if baseline is None else baseline.detach()
    _check_embeddings(embeddings, start)
    with torch.enable_grad():  # a caller that predicts may have switched gradients off
        output = _one_output(forward, embeddings.clone().requires_grad_(True))
        total = float(output.detach()) - float(_one_output(forward, start).detach())
        if not output.requires_grad:
            msg = (
                "forward_embeddings: expected an output with a gradient to the embeddings, got "
                "one without. Leave torch.no_grad and detach out of the function; a frozen "
                "backbone is called by itself."
            )
            raise ConfigurationError(msg)
    asked = Asked(forward)
    with captum_in_our_words(asked, "integrated_gradients", "shapley"):
        attributed = IntegratedGradients(asked).attribute(
            embeddings, baselines=start, n_steps=n_steps
        )
    values = attributed.detach().to(device="cpu", dtype=torch.float64)[0].sum(dim=-1).numpy()
    if not (np.isfinite(values).all() and np.isfinite(total)):
        msg = (
            "forward_embeddings: expected finite outputs and gradients, got NaN or infinity "
            "between the baseline and the note."
        )
        raise InputError(msg)
    return values, total


def _check_embeddings(embeddings: Tensor, baseline: Tensor) -> None:
    if embeddings.dim() != 3 or len(embeddings) != 1 or not embeddings.is_floating_point():
        msg = (
            "embeddings: expected a floating tensor of shape (1, T, D), got "
            f"{embeddings.dtype} of shape {tuple(embeddings.shape)}."
        )
        raise ShapeError(msg)
    if baseline.shape != embeddings.shape:
        msg = (
            f"baseline: expected the shape of the embeddings, {tuple(embeddings.shape)}, got "
            f"{tuple(baseline.shape)}."
        )
        raise ShapeError(msg)


def _one_output(forward: Forward, embeddings: Tensor) -> Tensor:
    output = forward(embeddings)
    if output.shape != (1,):
        msg = (
            "forward_embeddings: expected one number per row, shape (1,) for one row, got shape "
            f"{tuple(output.shape)}. Pick one class or output inside the function."
        )
        raise ShapeError(msg)
    return output[0]


def check_offsets(offsets: Any, n_tokens: int, length: int) -> list[Offsets]:
    pairs = [(int(start), int(end)) for start, end in offsets]
    if len(pairs) != n_tokens:
        msg = f"offsets: expected one pair per token, {n_tokens}, got {len(pairs)}."
        raise ShapeError(msg)
    wrong = [number for number, (start, end) in enumerate(pairs) if not 0 <= start <= end <= length]
    if wrong:
        msg = (
            f"offsets: expected 0 <= start <= end <= {length}, the length of the text, got "
            f"another pair at {len(wrong)} token(s), the first of them token {wrong[0]}. Give "
            "the text that the tokenizer has read."
        )
        raise InputError(msg)
    return pairs


def merge_tokens(
    text: str, words: Sequence[Offsets], offsets: Sequence[Offsets], values: NDArray[np.float64]
) -> tuple[dict[Offsets, float], float]:
    """Return the value of each stretch of text that tokens stand for, and the rest.

    A token goes to the word that it lies in, and to several in proportion to its characters
    there; tokens of signs alone are stretches of their own. The rest is of tokens without
    any visible character, such as those that open and close a note.
    """
    owner = np.full(len(text), -1)
    for number, (start, end) in enumerate(words):
        owner[start:end] = number
    merged: defaultdict[Offsets, float] = defaultdict(float)
    signs: list[tuple[Offsets, float]] = []
    elsewhere = 0.0
    for (start, end), value in zip(offsets, values.tolist(), strict=True):
        inside, counts = np.unique(owner[start:end], return_counts=True)
        counts = counts[inside >= 0]
        for number, share in zip(inside[inside >= 0], counts / counts.sum(), strict=True):
            merged[words[number]] += value * float(share)
        if not len(counts):
            visible = [place for place in range(start, end) if not text[place].isspace()]
            if visible:
                signs.append(((visible[0], visible[-1] + 1), value))
            else:
                elsewhere += value
    merged.update(_join_overlapping(signs))
    return dict(sorted(merged.items())), elsewhere


def _join_overlapping(signs: list[tuple[Offsets, float]]) -> dict[Offsets, float]:
    """Return stretches without overlap: the bytes of one sign have one and the same place."""
    joined: list[tuple[Offsets, float]] = []
    for (start, end), value in sorted(signs):
        if joined and start < joined[-1][0][1]:
            (first, last), before = joined.pop()
            joined.append(((first, max(last, end)), before + value))
        else:
            joined.append(((start, end), value))
    return dict(joined)
