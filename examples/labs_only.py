"""Fuse two tables, labs and history, on synthetic patients, and judge the result.

Run it from anywhere: ``python labs_only.py``. It takes seconds, and needs neither images nor
text. The patients are made up: what is shown is how the parts are used.
"""

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

import asfusion as af


def make_patients(n_patients, rng):
    """Return labs and history of synthetic patients, and who responds to treatment."""
    inflammation = rng.normal(size=n_patients)
    burden = 0.4 * inflammation + rng.normal(size=n_patients)
    X = pd.DataFrame(
        {
            "crp_mg_per_l": np.exp(1.5 + 0.9 * inflammation + 0.6 * rng.normal(size=n_patients)),
            "esr_mm_per_h": np.exp(2.6 + 0.6 * inflammation + 0.5 * rng.normal(size=n_patients)),
            "basdai": np.clip(4.5 + 1.5 * burden + rng.normal(size=n_patients), 0, 10),
            "symptom_years": rng.gamma(2.0, 3.0, n_patients),
            "smoker": rng.choice(["never", "former", "current"], n_patients),
        }
    )
    risk = 1.2 * inflammation + burden - 0.15 * X["symptom_years"] + 1.0
    y = (risk + rng.logistic(size=n_patients) > 0).astype(int).to_numpy()
    X.loc[rng.random(n_patients) < 0.15, "esr_mm_per_h"] = np.nan  # a missing cell
    # No blood was drawn: a missing modality.
    X.loc[rng.random(n_patients) < 0.15, ["crp_mg_per_l", "esr_mm_per_h"]] = np.nan
    return X, y


def main():
    """Fit one model of each family, and print what they reach on new patients."""
    X, y = make_patients(400, np.random.default_rng(0))
    train, test = slice(0, 280), slice(280, None)

    encoders = {
        "labs": af.TabularEncoder(["crp_mg_per_l", "esr_mm_per_h"]),
        "history": af.TabularEncoder(["basdai", "symptom_years", "smoker"]),
    }
    quiet = {"verbose": 0, "random_state": 0}
    models = {
        "early: logistic": af.EarlyFusionClassifier(encoders, **quiet),
        "early: forest": af.EarlyFusionClassifier(encoders, RandomForestClassifier(200), **quiet),
        "joint: concat": af.JointFusionClassifier(encoders, max_epochs=30, **quiet),
        "late: product": af.LateFusionClassifier(
            encoders, RandomForestClassifier(200, min_samples_leaf=5), combine="product", **quiet
        ),
    }
    print(f"{'synthetic patients, 120 held out':36} AUC")
    for name, model in models.items():
        model.fit(X[train], y[train])
        print(f"{name:36} {roc_auc_score(y[test], model.predict_proba(X[test])[:, 1]):.3f}")

    print("\nwhat the logistic regression reads, largest coefficients first:")
    logistic = models["early: logistic"]
    ranked = sorted(
        zip(logistic.estimator_.coef_[0], logistic.feature_names_, strict=True),
        key=lambda pair: -abs(pair[0]),
    )
    for coefficient, name in ranked[:5]:
        print(f"{name:36} {coefficient:+.2f}")

    print("\nits report, by what each patient has:")
    print(af.evaluate(logistic, X[test], y[test], n_bootstrap=500))


if __name__ == "__main__":
    main()
