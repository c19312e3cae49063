"""Words of patients with several notes are explained over all of them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import asfusion as af
from asfusion.exceptions import ConfigurationError

FIRST = ["Uveitis in spring.", "No uveitis at all.", "Uveitis again today.", "Never had uveitis."]


def _table(module: ModuleType) -> Any:
    notes = [[FIRST[k % 4], "Back pain since May."] if k % 5 else None for k in range(24)]
    return module.DataFrame({"note": notes, "crp": np.linspace(1, 9, 24)})


def _fit(X: Any) -> Any:
    encoders = {
        "notes": af.TextEncoder("note", max_tokens=24, d_out=8, vocab_size=300),
        "labs": af.TabularEncoder(["crp"], d_hidden=8, d_out=8),
    }
    y = np.arange(24) % 4 % 2
    return af.JointFusionClassifier(
        encoders, fusion="attention", max_epochs=3, verbose=0, random_state=0
    ).fit(X, y)


def test_values_of_words_add_up_over_all_notes(df_module: ModuleType) -> None:
    X = _table(df_module)
    explanation = af.explain(_fit(X), X[1:3])
    for row, part in enumerate(explanation["notes"]):
        words = {part.text[span.start : span.end].lower() for span in part.spans}
        assert {"uveitis", "pain", "may"} <= words
        assert part.text.count("\f") == 1
        assert np.isclose(part.total, explanation.modalities["notes"].to_numpy()[row])


def test_gradients_of_several_notes_are_refused() -> None:
    import pandas as pd

    X = _table(pd)
    explanation = af.explain(_fit(X), X.iloc[1:2], word_method="integrated_gradients")
    with pytest.raises(ConfigurationError, match="rows with several notes or windows"):
        explanation["notes"]
