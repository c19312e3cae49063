"""Words and pairs of words as weighted counts: the baseline that small data rarely beat."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from asfusion._checks import check_integer
from asfusion.exceptions import InputError
from asfusion.notes.cleaning import fold_note

Array = NDArray[np.float64]

_WORD = r"\w+"  # single letters and digits count: grade 3, B 27
_NOTES_PER_COMPONENT = 2


class Tfidf(TypedDict):
    """What tf-idf learned from training notes: plain lists and arrays.

    Attributes
    ----------
    terms : list of str
        Words and pairs of neighbouring words, sorted.
    idf : ndarray of shape (n_terms,)
        Weight of each term, high for rare ones (unitless).
    components : ndarray of shape (n_components, n_terms) or None
        Directions onto which terms are projected; None keeps the terms themselves.
    mean, scale : ndarray of shape (width,)
        Mean and spread of each column over the training notes.
    """

    terms: list[str]
    idf: Array
    components: Array | None
    mean: Array
    scale: Array


def fit_tfidf(texts: Sequence[str], *, n_components: int | None = 512) -> Tfidf:
    """Learn terms, their weights and, where terms are many, latent directions.

    A term that stands in one note alone is left out (unless all do): it can be a name, and
    nothing can be learned from it. More terms than `n_components` are projected by a
    singular value decomposition (latent semantic analysis), onto at most one direction
    per two notes: with as many directions as notes every note would be a direction.

    Parameters
    ----------
    texts : sequence of str
        Cleaned notes of the training rows.
    n_components : int or None, default=512
        Largest width of a vector; None keeps the terms themselves, neither centred nor scaled, so
        that `weigh_terms` has them without zeros.

    Returns
    -------
    Tfidf
        What `apply_tfidf` needs.

    Raises
    ------
    InputError
        If no note has a word.
    ConfigurationError
        If `n_components` is not a positive integer.

    References
    ----------
    .. [1] Deerwester et al., "Indexing by latent semantic analysis", JASIS 1990.
       https://doi.org/10.1002/(SICI)1097-4571(199009)41:6<391::AID-ASI1>3.0.CO;2-9

    Examples
    --------
    >>> state = fit_tfidf(["back pain", "no back pain"])
    >>> state["terms"]
    ['back', 'back pain', 'pain']
    """
    if n_components is not None:
        n_components = check_integer(n_components, "n_components", minimum=1)
    folded = [fold_note(text) for text in texts]
    terms, idf = _learn_terms(folded)
    if n_components is None:
        mean, scale = np.zeros(len(terms)), np.ones(len(terms))
        return Tfidf(terms=terms, idf=idf, components=None, mean=mean, scale=scale)
    weights = _vectorizer(terms, idf).transform(folded)
    components = None
    if len(terms) > n_components:
        components = _directions(weights, min(n_components, len(folded) // _NOTES_PER_COMPONENT))
    vectors = _project(weights, components)
    spread = vectors.std(axis=0)
    scale = np.where(spread > 1e-9, spread, 1.0)
    mean = vectors.mean(axis=0)
    return Tfidf(terms=terms, idf=idf, components=components, mean=mean, scale=scale)


def count_terms(texts: Sequence[str], *, least: int) -> dict[str, int]:
    """Return in how many notes each word and pair of words stands, where these are `least`.

    Parameters
    ----------
    texts : sequence of str
        Cleaned notes, one text per patient.
    least : int
        Fewest notes of a term.

    Returns
    -------
    dict of str to int
        Sorted by term.

    Examples
    --------
    >>> count_terms(["back pain", "no back pain", "pain"], least=2)
    {'back': 2, 'back pain': 2, 'pain': 3}
    """
    if len(texts) < least:
        return {}
    vectorizer = _vectorizer(min_df=least)
    try:
        weights = vectorizer.fit_transform([fold_note(text) for text in texts])
    except ValueError:
        return {}  # scikit-learn's word for "no term is left"
    counts = np.asarray((weights > 0).sum(axis=0)).ravel()
    return dict(zip(map(str, vectorizer.get_feature_names_out()), counts.tolist(), strict=True))


def tfidf_of_counts(
    counts: Mapping[str, int], n_notes: int, *, n_components: int | None = 512
) -> Tfidf:
    """Return terms and weights from counts alone, without the notes.

    Weights are those of `fit_tfidf`; of the terms the most frequent are kept as they are, since
    counts know no latent directions. Mean and spread follow from the counts, too, as if all notes
    were of one length and terms stood in them independently: they only set the scale.

    Parameters
    ----------
    counts : mapping of str to int
        In how many notes each term stands.
    n_notes : int
        Number of notes that were counted.
    n_components : int or None
        Largest number of terms; None keeps them all.

    Returns
    -------
    Tfidf
        What `apply_tfidf` needs.

    Raises
    ------
    InputError
        If there is no term.

    Examples
    --------
    >>> tfidf_of_counts({"back": 5, "back pain": 5, "pain": 9}, 12)["terms"]
    ['back', 'back pain', 'pain']
    """
    if not counts:
        raise InputError("Notes: expected a word that enough notes share, got none.")
    most = sorted(counts, key=lambda term: (-counts[term], term))[:n_components]
    terms = sorted(most)
    share = np.minimum([counts[term] / n_notes for term in terms], 1.0)
    idf = np.log((1.0 + n_notes) / (1.0 + share * n_notes)) + 1.0
    value = idf / np.sqrt(np.sum(share * idf**2))
    spread = value * np.sqrt(share * (1.0 - share))
    scale = np.where(spread > 1e-9, spread, 1.0)
    return Tfidf(terms=terms, idf=idf, components=None, mean=share * value, scale=scale)


def apply_tfidf(state: Tfidf, texts: Sequence[str]) -> Array:
    """Return one vector per note, each column standardised as over the training notes.

    Parameters
    ----------
    state : Tfidf
        From `fit_tfidf`.
    texts : sequence of str
        N cleaned notes.

    Returns
    -------
    ndarray of shape (N, width)
        Unitless; zero means "as in the average training note".

    Examples
    --------
    >>> apply_tfidf(fit_tfidf(["back pain", "no pain"]), ["pain"]).shape
    (1, 1)
    """
    if not texts:
        return np.empty((0, len(state["mean"])))
    weights = weigh_terms(state, texts)
    standardised: Array = (_project(weights, state["components"]) - state["mean"]) / state["scale"]
    return standardised


def weigh_terms(state: Tfidf, texts: Sequence[str]) -> csr_array:
    """Return the weight of each term in each note, without zeros.

    Parameters
    ----------
    state : Tfidf
        From `fit_tfidf`.
    texts : sequence of str
        N cleaned notes.

    Returns
    -------
    csr_array of shape (N, n_terms)
        Unitless; each row has length one, or is empty where no term is known.

    Examples
    --------
    >>> weigh_terms(fit_tfidf(["back pain", "no pain"]), ["pain", "none"]).toarray()
    array([[1.],
           [0.]])
    """
    if not texts:
        return csr_array((0, len(state["terms"])))
    folded = [fold_note(text) for text in texts]
    return csr_array(_vectorizer(state["terms"], state["idf"]).transform(folded))


def tfidf_names(state: Tfidf) -> list[str]:
    """Return the name of each column: its term, or ``lsa0``, ``lsa1``, ...

    Parameters
    ----------
    state : Tfidf
        From `fit_tfidf`.

    Returns
    -------
    list of str
        One name per column of `apply_tfidf`.

    Examples
    --------
    >>> tfidf_names(fit_tfidf(["back pain", "no pain"]))
    ['pain']
    """
    components = state["components"]
    return state["terms"] if components is None else [f"lsa{i}" for i in range(len(components))]


def _learn_terms(folded: Sequence[str]) -> tuple[list[str], Array]:
    """Return the sorted terms of two notes or more (else of one) and their weights."""
    for least_notes in (2, 1):
        vectorizer = _vectorizer(min_df=min(least_notes, len(folded)))
        try:
            vectorizer.fit(folded)
        except ValueError:
            continue  # scikit-learn's word for "no term is left"
        terms = [str(term) for term in vectorizer.get_feature_names_out()]
        return terms, np.asarray(vectorizer.idf_, dtype=np.float64)
    msg = f"Notes: expected at least one word to count, got none in {len(folded)} note(s)."
    raise InputError(msg)


def _vectorizer(terms: list[str] | None = None, idf: Array | None = None, min_df: int = 1) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        lowercase=False,
        token_pattern=_WORD,
        ngram_range=(1, 2),
        sublinear_tf=True,
        min_df=min_df,
        vocabulary=terms,
    )
    if idf is not None:
        vectorizer.idf_ = idf
    return vectorizer


def _directions(weights: Any, n_components: int) -> Array:
    from sklearn.decomposition import TruncatedSVD

    svd = TruncatedSVD(max(1, n_components), random_state=0)
    with warnings.catch_warnings():
        # One note has no variance to explain, and only that ratio is undefined.
        warnings.filterwarnings("ignore", "invalid value", RuntimeWarning)
        svd.fit(weights)
    return np.asarray(svd.components_, dtype=np.float64)


def _project(weights: Any, components: Array | None) -> Array:
    return np.asarray(weights.toarray() if components is None else weights @ components.T)
