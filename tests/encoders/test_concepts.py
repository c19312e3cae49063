"""ConceptEncoder: named features of notes, one meaning per column, explained by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier

import asfusion as af
from asfusion.exceptions import ColumnError, ConfigurationError, InputError

STORIES = [
    "Uveitis in 2011. HLA-B27 positive.",
    "No uveitis, psoriasis or IBD.",
    "Father with psoriasis. Night pain.",
    "Back pain, HLA-B27 negative.",
]


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 4, 60)
    X = pd.DataFrame({"note": [STORIES[k] for k in kind], "crp": rng.gamma(2, 4, 60)})
    X.loc[::9, "note"] = None
    return X, np.isin(kind, [0, 2]).astype(int)


def test_each_feature_is_a_concept_and_a_context() -> None:
    X = pd.DataFrame({"note": STORIES})
    encoder = af.ConceptEncoder("note").set_output(transform="pandas").fit(X)
    found = encoder.transform(X)
    names = {row: sorted(found.columns[found.iloc[row] == 1]) for row in range(4)}
    assert names[0] == ["hla_b27_present", "uveitis_historical"]
    assert names[1] == ["ibd_negated", "psoriasis_negated", "uveitis_negated"]
    assert names[2] == ["night_pain_present", "psoriasis_family"]
    assert names[3] == ["hla_b27_negated"]


def test_features_do_not_depend_on_the_training_rows() -> None:
    one, other = (af.ConceptEncoder("note").fit(pd.DataFrame({"note": [s]})) for s in STORIES[:2])
    assert one.feature_names_ == other.feature_names_


def test_notes_of_one_patient_add_up() -> None:
    listed = pd.DataFrame({"note": [STORIES[:2], None]})
    apart = pd.DataFrame({"a": [STORIES[0], None], "b": [STORIES[1], " "]})
    polar = pl.DataFrame({"note": [STORIES[:2], None]})
    expected = af.ConceptEncoder("note").fit_transform(listed)
    np.testing.assert_array_equal(af.ConceptEncoder(["a", "b"]).fit_transform(apart), expected)
    np.testing.assert_array_equal(af.ConceptEncoder("note").fit_transform(polar), expected)
    assert np.isnan(expected[1]).all() and expected[0].sum() == 5


@pytest.mark.parametrize("blank", ["", " \n", "\u200b", "\ufeff", " \x00", "&nbsp;", "\f", None])
def test_what_is_a_note_is_the_same_for_concepts_and_text(blank: str | None) -> None:
    X = pd.DataFrame({"note": [STORIES[0], blank, "\u200bNo uveitis."]})
    for encoder in (af.ConceptEncoder("note"), af.TextEncoder("note")):
        present = encoder.fit(X).prepare(X).present
        assert present.tolist() == [True, False, True], type(encoder).__name__


def test_own_concepts_and_chosen_contexts() -> None:
    X = pd.DataFrame({"note": ["Vapes daily.", "No vaping."]})
    encoder = af.ConceptEncoder(
        "note", concepts={"Vaping now": ["vap(?:es|ing)"]}, builtin=False,
        contexts=["present", "negated"],
    ).fit(X)  # fmt: skip
    assert encoder.get_feature_names_out().tolist() == ["vaping_now_present", "vaping_now_negated"]
    np.testing.assert_array_equal(encoder.transform(X), np.eye(2))
    assert encoder.name_contexts(X, "vaping_now") == ["present", "negated"]


@pytest.mark.parametrize("family", ["joint", "early", "late", "forest"])
def test_explanations_name_concepts(table: Any, family: str) -> None:
    X, y = table
    encoders = {
        "notes": af.ConceptEncoder("note", d_hidden=8, d_out=8),
        "labs": af.TabularEncoder(["crp"], d_hidden=8, d_out=8),
    }
    model = {
        "joint": lambda: af.JointFusionClassifier(
            encoders, max_epochs=8, random_state=0, verbose=0
        ),
        "early": lambda: af.EarlyFusionClassifier(encoders, verbose=0),
        "late": lambda: af.LateFusionClassifier(encoders, random_state=0, verbose=0),
        "forest": lambda: af.EarlyFusionClassifier(
            encoders, RandomForestClassifier(20, random_state=0), verbose=0
        ),
    }[family]().fit(X, y)
    explanation = af.explain(model, X.iloc[1:4], background=X)
    part = explanation["notes"]
    assert part.feature_names[1:] == ("hla_b27", "night_pain", "uveitis", "psoriasis", "ibd")
    whole = explanation.modalities["notes"].to_numpy()
    np.testing.assert_allclose(part.values.sum(axis=1), whole, atol=1e-6)
    assert part.data[0][1:].tolist() == [
        "not mentioned", "present", "not mentioned", "family", "not mentioned",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"contexts": ["present", "absent"]}, "contexts: expected one of 'present'"),
        ({"contexts": []}, "contexts: expected a list of contexts"),
        ({"contexts": "present"}, "contexts: expected a list of contexts"),
        ({"builtin": False}, "at least one concept with builtin=False"),
        ({"d_hidden": 0}, "d_hidden: expected an integer of at least 1"),
        ({"dropout": 1.0}, "dropout: expected a number in"),
        ({"columns": []}, "columns: expected a column name, or a list"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, Any], match: str) -> None:
    encoder = af.ConceptEncoder("note").set_params(**parameters)
    with pytest.raises(ConfigurationError, match=match):
        encoder.fit(pd.DataFrame({"note": STORIES}))


def test_rows_without_a_note_and_other_cells_are_told() -> None:
    with pytest.raises(InputError, match=r"at least one training row, got 2 row\(s\) without any"):
        af.ConceptEncoder("note").fit(pd.DataFrame({"note": [None, " "]}))
    with pytest.raises(ColumnError, match="ConceptEncoder: column 'note', row 1: expected text"):
        af.ConceptEncoder("note").fit(pd.DataFrame({"note": ["pain", 5]}))
    with pytest.raises(ColumnError, match="got a list with int in it"):
        af.ConceptEncoder("note").fit(pd.DataFrame({"note": [["pain", 5]]}))
