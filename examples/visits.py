"""Predict progression from all visits, from the last one, and say which visit mattered.

Run it from anywhere: ``python visits.py``. It takes some seconds. The patients are made up:
what is shown is how the parts are used.
"""

import numpy as np
from sklearn.metrics import roc_auc_score

import asfusion as af


def main():
    """Fit models on all visits and on the last, and explain two of those who progress."""
    cohort = af.datasets.make_axspa_cohort(400, random_state=0, modalities=["labs", "visits"])
    every = cohort.visits
    last = every[every["day"] == 0]
    y = cohort.targets["progression_2y"].to_numpy()
    rng = np.random.default_rng(0)
    train = np.isin(np.arange(len(y)), rng.choice(len(y), 280, replace=False))

    models = {
        "summary": af.EarlyFusionClassifier(
            {"visits": af.VisitEncoder("visits")}, verbose=0, random_state=0
        ),
        "GRU": af.JointFusionClassifier(
            {"visits": af.VisitEncoder("visits")}, max_epochs=30, verbose=0, random_state=0
        ),
    }
    for name, model in models.items():
        for seen, table in {"last visit": last, "all visits": every}.items():
            X = cohort.X[["age"]].assign(visits=af.VisitEncoder.nest(table, cohort.X.index))
            told = model.fit(X[train], y[train]).predict_proba(X[~train])[:, 1]
            print(f"{name:<8} on {seen:<11} AUC {roc_auc_score(y[~train], told):.2f}")

    who = np.flatnonzero(~train & (y == 1))[:2]
    explanation = af.explain(
        models["GRU"],
        X.iloc[who],
        background=X[train],
        units={"crp": "mg/L", "esr": "mm/h"},
        n_samples=32,
        verbose=0,
    )
    visits = explanation["visits"]
    print(visits.by_visit().round(4).to_string(index=False))
    strongest = visits.to_frame().sort_values("attribution", key=abs, ascending=False)
    print(strongest.head(4).round(4).to_string(index=False))
    print("written:", explanation.to_html("visits.html").name)


if __name__ == "__main__":
    main()
