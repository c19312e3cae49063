"""Tf-idf learns from training notes, and its columns are named, finite and repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asfusion.exceptions import ConfigurationError, InputError
from asfusion.notes.cleaning import clean_note
from asfusion.notes.tfidf import apply_tfidf, fit_tfidf, tfidf_names

NOTES = [
    "Inflammatory back pain, no uveitis.",
    "No back pain. Uveitis in 2019.",
    "Back pain and heel pain.",
    "Sjögren syndrome, no heel pain.",
    "Sjogren syndrome and uveitis.",
]


def test_weights_equal_scikit_learn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    state = fit_tfidf(NOTES, n_components=100)
    usual = TfidfVectorizer(
        token_pattern=r"\w+", ngram_range=(1, 2), sublinear_tf=True, min_df=2, strip_accents="ascii"
    )
    expected = usual.fit_transform(NOTES).toarray()
    assert state["terms"] == usual.get_feature_names_out().tolist()
    assert state["components"] is None
    np.testing.assert_allclose(
        apply_tfidf(state, NOTES) * state["scale"] + state["mean"], expected, atol=1e-12
    )


def test_terms_of_a_single_note_are_not_kept() -> None:
    terms = fit_tfidf(NOTES)["terms"]
    assert "2019" not in terms
    assert {"sjogren", "no", "back pain"} <= set(terms)


def test_columns_are_standardised_over_training_notes() -> None:
    for n_components in (2, 100):
        vectors = apply_tfidf(fit_tfidf(NOTES, n_components=n_components), NOTES)
        np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(vectors.std(axis=0), 1, atol=1e-12)


def test_many_terms_become_few_directions() -> None:
    state = fit_tfidf(NOTES, n_components=4)
    assert apply_tfidf(state, NOTES).shape == (5, 2)  # one direction per two notes at most
    assert tfidf_names(state) == ["lsa0", "lsa1"]


def test_fits_are_repeatable_and_plain() -> None:
    first, second = fit_tfidf(NOTES, n_components=3), fit_tfidf(NOTES, n_components=3)
    for key in ("idf", "components", "mean", "scale"):
        np.testing.assert_array_equal(first[key], second[key])
    assert all(type(term) is str for term in first["terms"])


@pytest.mark.parametrize("notes", [["one note only"], ["a"], ["same words"] * 3])
@pytest.mark.parametrize("n_components", [1, 64])
def test_little_text_is_enough(notes: list[str], n_components: int) -> None:
    state = fit_tfidf(notes, n_components=n_components)
    vectors = apply_tfidf(state, [*notes, "", "words never seen"])
    assert vectors.shape == (len(notes) + 2, len(tfidf_names(state)))
    assert np.isfinite(vectors).all()


def test_no_rows_give_no_vectors() -> None:
    state = fit_tfidf(NOTES)
    assert apply_tfidf(state, []).shape == (0, len(state["terms"]))


@given(st.lists(st.text(st.characters(), max_size=30), min_size=1, max_size=4))
def test_any_text_gives_finite_vectors(texts: list[str]) -> None:
    notes = [clean_note(text) for text in texts]
    assert np.isfinite(apply_tfidf(fit_tfidf([*NOTES, *notes]), notes)).all()


def test_notes_without_a_word_are_refused() -> None:
    with pytest.raises(InputError, match="expected at least one word to count, got none in 2 note"):
        fit_tfidf(["+", "-"])


def test_bad_width_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="n_components: expected an integer of at least 1"):
        fit_tfidf(NOTES, n_components=0)
