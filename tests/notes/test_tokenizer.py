"""The tokenizer is the same text in every process and reads any note."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asfusion.exceptions import ConfigurationError, InputError
from asfusion.notes.cleaning import clean_note
from asfusion.notes.tokenizer import (
    encode_notes,
    encode_windows,
    read_tokenizer,
    train_tokenizer,
    train_wordpiece,
    vocabulary_size,
)

ROOT = Path(__file__).resolve().parents[2]
WORDS = ["pain", "uveitis", "sacroiliitis", "stiffness", "naproxen", "psoriasis", "heel", "chest"]
# Many equally frequent pairs: where a trainer breaks ties at random, it shows here.
NOTES = [f"{a} and {b}, CRP {i}.{j}" for i, a in enumerate(WORDS) for j, b in enumerate(WORDS)]
TOKENIZER = train_tokenizer(NOTES, vocab_size=400)
WORDPIECE = train_wordpiece(NOTES, vocab_size=400)


def test_same_notes_give_the_same_bytes_in_every_process() -> None:
    code = (
        "import sys, hashlib\n"
        "from asfusion.notes.tokenizer import train_tokenizer, train_wordpiece\n"
        "notes = sys.stdin.read().split('\\n')\n"
        "text = train_tokenizer(notes, vocab_size=400) + train_wordpiece(notes, vocab_size=400)\n"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    seen = {hashlib.sha256((TOKENIZER + WORDPIECE).encode()).hexdigest()}
    for seed in ("1", "2", "3"):
        environment = os.environ | {
            "PYTHONHASHSEED": seed,
            "RAYON_NUM_THREADS": seed,
            "TOKENIZERS_PARALLELISM": "true",
            "PYTHONPATH": str(ROOT),
        }
        run = subprocess.run(
            [sys.executable, "-c", code],
            input="\n".join(NOTES),
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        seen.add(run.stdout.strip())
    assert len(seen) == 1


def test_order_of_notes_does_not_matter() -> None:
    assert train_tokenizer(NOTES[::-1], vocab_size=400) == TOKENIZER
    assert train_wordpiece(NOTES[::-1], vocab_size=400) == WORDPIECE


def test_wordpiece_reads_whole_words_and_marks_later_pieces() -> None:
    vocabulary = json.loads(WORDPIECE)["model"]["vocab"]
    assert len(vocabulary) == vocabulary_size(WORDPIECE) <= 400
    assert [vocabulary[name] for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]")] == [0, 1, 2, 3]
    assert "uveitis" in vocabulary and "##s" in vocabulary
    ids = encode_notes(WORDPIECE, ["ÚVEITIS", "uveitis", "\N{BONE}"], max_tokens=8).ids
    np.testing.assert_array_equal(ids[0], ids[1])
    assert ids[2, 1] == 1  # a sign that no training note has
    pieces = {number: piece for piece, number in vocabulary.items()}
    digits = encode_notes(WORDPIECE, ["12.5"], max_tokens=8).ids[0, 1:5]
    assert [pieces[i] for i in digits] == ["1", "2", ".", "5"]
    with pytest.raises(InputError, match="train_wordpiece: expected at least one note"):
        train_wordpiece([])
    with pytest.raises(ConfigurationError, match="vocab_size: expected an integer of at least 300"):
        train_wordpiece(["pain"], vocab_size=10)


def test_windows_hold_every_piece_of_a_note_and_never_more_than_asked() -> None:
    rows = [["pain " * 50], [], ["heel", "uveitis"]]
    encoded = encode_windows(TOKENIZER, rows, max_tokens=12, max_windows=20)
    assert encoded.n_truncated == 0
    assert encoded.mask.any(axis=2).sum(axis=1).tolist()[1:] == [0, 2]
    assert (encoded.ids[0][encoded.mask[0]] > 3).sum() >= 50
    cut = encode_windows(TOKENIZER, rows, max_tokens=12, max_windows=2)
    assert cut.ids.shape == (3, 2, 12) and cut.n_truncated == 1
    tiny = encode_windows(TOKENIZER, rows, max_tokens=3, max_windows=4)
    assert tiny.mask.sum(axis=2).max() == 3
    assert encode_windows(TOKENIZER, [], max_tokens=5, max_windows=2).ids.shape == (0, 1, 5)


def test_vocabulary_is_as_asked_and_starts_with_special_tokens() -> None:
    vocabulary = json.loads(TOKENIZER)["model"]["vocab"]
    assert len(vocabulary) == vocabulary_size(TOKENIZER) <= 400
    assert [vocabulary[name] for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]")] == [0, 1, 2, 3]
    assert "Ġuveitis" in vocabulary


def test_every_digit_is_a_token_and_first_digits_are_marked() -> None:
    vocabulary = json.loads(TOKENIZER)["model"]["vocab"]
    assert not [piece for piece in vocabulary if sum(map(str.isdigit, piece)) > 1]
    ids = encode_notes(TOKENIZER, ["crp 1234"], max_tokens=12).ids[0]
    pieces = {number: piece for piece, number in vocabulary.items()}
    assert [pieces[i] for i in ids[2:6]] == ["Ġ1", "2", "3", "4"]


def test_case_and_accents_do_not_matter() -> None:
    ids = encode_notes(TOKENIZER, ["ÚVEITIS", "uveitis"], max_tokens=8).ids
    np.testing.assert_array_equal(ids[0], ids[1])


def test_special_tokens_in_a_note_are_plain_text() -> None:
    encoded = encode_notes(TOKENIZER, ["[PAD] [SEP] [CLS] [UNK]"], max_tokens=64)
    inner = encoded.ids[0][encoded.mask[0]][1:-1]
    assert len(inner) > 4
    assert inner.min() > 3


def test_long_notes_lose_their_end_but_not_the_closing_token() -> None:
    encoded = encode_notes(TOKENIZER, ["pain " * 50, "pain"], max_tokens=10)
    assert encoded.ids.shape == (2, 10)
    assert encoded.ids.dtype == np.int64
    assert encoded.ids[0, -1] == 3
    assert encoded.mask.sum(axis=1).tolist() == [10, 3]
    assert encoded.ids[1, 3:].tolist() == [0] * 7
    assert encoded.n_truncated == 1


def test_no_notes_give_no_rows() -> None:
    encoded = encode_notes(TOKENIZER, [], max_tokens=5)
    assert encoded.ids.shape == encoded.mask.shape == (0, 5)
    assert encoded.n_truncated == 0


@given(st.text(st.characters(), max_size=80))
def test_any_text_is_written_without_unknown_pieces(text: str) -> None:
    encoded = encode_notes(TOKENIZER, [clean_note(text)], max_tokens=400)
    ids = encoded.ids[0][encoded.mask[0]]
    assert (ids[0], ids[-1]) == (2, 3)
    assert 1 not in ids
    assert ids.max() < vocabulary_size(TOKENIZER)


def test_very_long_words_do_not_stall_training() -> None:
    # Without a bound on the length of a word this takes minutes.
    tokenizer = train_tokenizer(["ab" * 30_000, "漢字" * 10_000], vocab_size=400)
    assert encode_notes(tokenizer, ["a" * 100_000], max_tokens=8).n_truncated == 1


def test_one_note_and_emoji_alone_are_enough() -> None:
    assert vocabulary_size(train_tokenizer(["🦴"])) == 260


def test_no_note_is_refused() -> None:
    with pytest.raises(InputError, match="expected at least one note, got none"):
        train_tokenizer([])


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="vocab_size: expected an integer of at least 300"):
        train_tokenizer(NOTES, vocab_size=100)
    with pytest.raises(ConfigurationError, match="min_frequency: expected an integer of at least"):
        train_tokenizer(NOTES, min_frequency=0)


def test_tokenizer_in_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "canine"}))
    with pytest.raises(ConfigurationError, match="expected a tokenizer with a tokenizer.json"):
        read_tokenizer(str(tmp_path))


@pytest.mark.parametrize("column", ["notes", "notes_masked"])
def test_real_notes_are_read_without_loss(shared_data: Path, column: str) -> None:
    import pandas as pd
    from tokenizers import Tokenizer

    table = pd.read_csv(shared_data / "cxr" / "cohort.csv")
    notes = [clean_note(text) for text in table[column].dropna()]
    tokenizer = train_tokenizer(notes)
    fast = Tokenizer.from_str(tokenizer)
    for note in notes[:50]:
        written = fast.decode(fast.encode(note).ids)
        assert written.strip() == fast.normalizer.normalize_str(note).strip()
