"""Explain predictions for synthetic patients: which modality, which lab value, which word.

Run it from anywhere: ``python explain_patient.py``. It takes well under a minute, and writes a
page to a temporary folder that it removes again. What is explained is the model, not the disease.
"""

import tempfile
from pathlib import Path

import asfusion as af

ENCODERS = {
    "labs": af.TabularEncoder(["age", "sex", "crp", "esr", "wbc", "schober"]),
    "notes": af.TextEncoder("clinical_note", backbone="tfidf"),
    "genes": af.TabularEncoder(["hla_b27", "rs30187", "rs11209026"]),
}
UNITS = {"crp": "mg/L", "esr": "mm/h", "wbc": "10^9/L", "schober": "cm", "age": "years"}


def main():
    """Fit, explain six patients, ask whether the explanation holds."""
    cohort = af.datasets.make_axspa_cohort(
        240, random_state=0, modalities=["labs", "notes", "genes"]
    )
    X, y = cohort.X, cohort.y
    model = af.EarlyFusionClassifier(ENCODERS, verbose=0, random_state=0)
    model.fit(X[:200], y[:200])
    e = af.explain(model, X[200:206], background=X[:200], units=UNITS, n_samples=16, verbose=0)
    print(e)
    print("\nmean size of each modality, as a change of the probability")
    print(e.modalities.abs().mean().sort_values(ascending=False).round(3).to_string())

    print("\nthe first patient")
    frame = e.to_frame()
    parts = frame[(frame["row"] == 0) & (frame["part"] != "")]
    largest = parts.reindex(parts["value"].abs().sort_values(ascending=False).index).head(6)
    print(largest[["modality", "part", "value"]].round(3).to_string(index=False))

    print("\nchecks")
    print(e.check()[["value", "limit", "passed"]].round(4).to_string())
    with tempfile.TemporaryDirectory() as folder:
        page = e.to_html(Path(folder) / "patients.html")
        print(f"\nas a page: {page.stat().st_size // 1024} KiB, no other file needed")


if __name__ == "__main__":
    main()
