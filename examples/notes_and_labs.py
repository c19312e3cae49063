"""Fuse clinical notes and laboratory values three ways, on synthetic patients.

Run it from anywhere: ``python notes_and_labs.py``. It takes well under a minute. The
patients are made up: what is shown is how the parts are used, not how good they are.
"""

import warnings

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import asfusion as af

INFLAMMATORY = [
    "morning stiffness over 30 minutes",
    "pain better with exercise",
    "alternating buttock pain",
    "wakes in the second half of the night",
    "good response to naproxen",
    "enthesitis of the heel",
]
MECHANICAL = [
    "no morning stiffness",
    "pain better at rest",
    "pain after lifting",
    "sleeps well",
    "no response to naproxen",
    "no enthesitis",
]


def make_patients(n_patients, rng):
    """Return notes and labs of synthetic patients, and who has axial spondyloarthritis."""
    y = rng.integers(0, 2, n_patients)
    notes = []
    for label in y:
        # One sentence in four speaks against the diagnosis, as in life.
        told = [
            (INFLAMMATORY if (rng.random() < 0.75) == label else MECHANICAL)[topic]
            for topic in rng.choice(6, size=2, replace=False)
        ]
        notes.append(f"{rng.integers(18, 45)} years old. " + ". ".join(told).capitalize() + ".")
    labs = pd.DataFrame(
        {
            "crp_mg_per_l": np.exp(rng.normal(1.0 + 1.1 * y, 0.9)).round(1),
            "esr_mm_per_h": np.exp(rng.normal(2.2 + 0.6 * y, 0.7)).round(),
        }
    )
    X = labs.assign(note=notes)
    X.loc[rng.random(n_patients) < 0.1, "esr_mm_per_h"] = np.nan  # a missing cell
    lacking = rng.random(n_patients)  # missing modalities, never both
    X.loc[lacking < 0.2, "note"] = None
    X.loc[lacking > 0.8, ["crp_mg_per_l", "esr_mm_per_h"]] = np.nan
    return X, y


def main():
    """Fit each family and each modality alone, and print what they reach."""
    X, y = make_patients(600, np.random.default_rng(0))
    train, test = slice(0, 400), slice(400, None)

    labs = af.TabularEncoder(["crp_mg_per_l", "esr_mm_per_h"])
    counted = {"notes": af.TextEncoder("note", backbone="tfidf", n_components=32), "labs": labs}
    learned = {"notes": af.TextEncoder("note", max_tokens=48, vocab_size=400), "labs": labs}

    quiet = {"verbose": 0, "random_state": 0}
    models = {
        "notes alone (tf-idf)": af.EarlyFusionClassifier({"notes": counted["notes"]}, **quiet),
        "labs alone": af.EarlyFusionClassifier({"labs": labs}, **quiet),
        "early: logistic on both": af.EarlyFusionClassifier(counted, **quiet),
        "joint: transformer + gate": af.JointFusionClassifier(
            learned, fusion="gated", max_epochs=25, **quiet
        ),
        "late: mean of logistics": af.LateFusionClassifier(
            counted, {name: LogisticRegression() for name in counted}, **quiet
        ),
    }
    # One modality alone must guess where it is absent, and says so each time.
    warnings.filterwarnings("ignore", message=".*none of the fitted modalities")
    print(f"{'synthetic patients, 200 held out':36} AUC")
    for name, model in models.items():
        model.fit(X[train], y[train])
        chance = model.predict_proba(X[test])[:, 1]
        print(f"{name:36} {roc_auc_score(y[test], chance):.3f}")

    late = models["late: mean of logistics"]
    patient = X[test].dropna().head(1)
    print("\none patient, with and without the note:")
    print(
        late.predict_proba(patient)[0].round(2),
        late.predict_proba(patient.assign(note=None))[0].round(2),
    )


if __name__ == "__main__":
    main()
