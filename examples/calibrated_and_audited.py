"""Make a forest's probabilities right, let it say when it is unsure, and audit it.

Run it from anywhere: ``python calibrated_and_audited.py``. It takes less than a minute. The
patients are made up; the bias against one site is planted, and found.
"""

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupShuffleSplit

import asfusion as af


def main():
    """Fit, recalibrate, cover, audit, and write the card."""
    cohort = af.datasets.make_axspa_cohort(1200, random_state=0, modalities=["labs", "notes"])
    X, y, patient = cohort.X.copy(), cohort.y, cohort.groups
    rng = np.random.default_rng(0)
    site = np.array(["north", "south", "west"])[rng.integers(0, 3, patient.max() + 1)][patient]
    X["site"] = site
    # In the west, labs and notes were filed under other patients.
    west = np.flatnonzero(site == "west")
    mixed = ["crp", "esr", "schober", "chest_expansion", "clinical_note"]
    X.loc[west, mixed] = X.loc[rng.permutation(west), mixed].to_numpy()

    split = GroupShuffleSplit(n_splits=1, test_size=0.5, random_state=0)
    train, test = next(split.split(X, y, patient))
    encoders = {
        "labs": af.TabularEncoder(["crp", "esr", "age"]),
        "mobility": af.TabularEncoder(["schober", "chest_expansion"]),
        "note": af.TextEncoder("clinical_note", backbone="tfidf", n_components=16),
    }
    forest = af.EarlyFusionClassifier(
        encoders,
        RandomForestClassifier(200, min_samples_leaf=3),
        threshold={"sensitivity": 0.8},
        verbose=0,
        random_state=0,
    )
    calibrated = af.RecalibratedClassifier(forest, "sigmoid", random_state=0)
    model = af.ConformalClassifier(calibrated, coverage=0.9, by="site", random_state=0)
    model.fit(X.iloc[train], y[train], groups=patient[train])

    new, truth, who = X.iloc[test], y[test], patient[test]
    print("site   covered  undecided")
    sets = model.predict_set(new)
    for name in ("north", "south", "west"):
        rows = site[test] == name
        covered = sets[rows, truth[rows]].mean()
        print(f"{name:6} {covered:7.2f}  {(sets[rows].sum(axis=1) > 1).mean():9.2f}")

    report = af.evaluate(
        model, new, truth, groups=who, subgroups=["site", "sex", "age"], n_bootstrap=500
    )
    print(f"\nthreshold {report.threshold:.3f} ({report.threshold_source})")
    print(
        report.to_frame().loc[["auc", "sensitivity", "specificity", "calibration_slope"]].round(2)
    )
    print("\n" + report.subgroups.verdict)

    probe = af.site_probe(model, new, site[test], y=truth, groups=who, n_permutations=199)
    print("\n" + probe.verdict)

    report.model_card(intended_use="To show how it is done.").to_html("model-card.html")
    report.checklist("tripod+ai").to_markdown("tripod-ai.md")


if __name__ == "__main__":
    main()
