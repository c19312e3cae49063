"""Cross-validate by patient, by hospital, and around a search; tell copies first.

Run it from anywhere: ``python cross_validate.py``. It takes well under a minute on two cores. Two
synthetic patients are there twice, the second time under another number.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import asfusion as af


def main():
    """Judge early fusion of notes and labs in four ways."""
    cohort = af.datasets.make_axspa_cohort(240, random_state=0, modalities=["labs", "notes"])
    rows = [*range(240), 3, 7]
    X, y = cohort.X.iloc[rows].reset_index(drop=True), cohort.y[rows]
    patients = np.append(cohort.groups, ["copy of 3", "copy of 7"])
    print(af.find_duplicates(X, patients, verbose=0), "\n")

    encoders = {
        "notes": af.TextEncoder("clinical_note", backbone="tfidf", n_components=16),
        "labs": af.TabularEncoder(["age", "sex", "crp", "esr"]),
    }
    model = af.EarlyFusionClassifier(encoders, LogisticRegression(max_iter=1000), verbose=0)
    common = {"groups": patients, "duplicates": "join", "n_bootstrap": 500, "verbose": 0}
    print("By patient, with a canary:")
    print(af.cross_validate(model, X, y, canary=True, **common), "\n")

    # Copies count as one patient, who was seen at one site.
    one = af.find_duplicates(X, patients, verbose=0).joined_groups
    sites = np.array(["north", "east", "south"])[one % 3]
    by_site = af.cross_validate(model, X, y, cv="leave-one-site-out", sites=sites, **common)
    print("One hospital left out at a time:")
    print(by_site.to_frame()[["site", "n_rows", "n_groups", "auc", "brier"]].round(3), "\n")

    search = GridSearchCV(model, {"estimator__C": [0.01, 0.1, 1.0]}, cv=3, scoring="roc_auc")
    print("Nested, the penalty chosen on training patients:")
    print(af.cross_validate(search, X, y, cv=3, **common).verdict)


if __name__ == "__main__":
    main()
