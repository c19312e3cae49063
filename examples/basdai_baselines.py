"""Predict BASDAI and BASFI from labs, mobility and body measures by plain models.

Run it from anywhere: ``python basdai_baselines.py``. It takes under a minute. The patients are
made up: what is shown is how the parts are used, not what is true of people.
"""

import numpy as np

import asfusion as af
from asfusion.baselines import compare_baselines


def show_shap(model, rows):
    """Print which columns move the predictions most."""
    explanation = model.shap_values(rows)
    strength = np.abs(explanation.values).mean(axis=0)
    for place in np.argsort(-strength)[:5]:
        print(f"  {explanation.feature_names[place]:20} {strength[place]:.2f}")


def main():
    """Compare models on the same folds; then explain one, with intervals for new patients."""
    cohort = af.datasets.make_axspa_cohort(180, random_state=0, modalities=("labs",))
    X, targets, groups = cohort.X, cohort.targets, cohort.groups
    active = targets["basdai"] >= 4  # for whom the important change of BASFI is larger

    for index in ("basdai", "basfi"):
        board = compare_baselines(X, targets[index], groups, active=active, n_bootstrap=300)
        print(board, end="\n\n")

    train, test = slice(0, 120), slice(120, None)
    model = af.BasfiRegressor("xgboost", tune=True, random_state=0)
    model.fit(X[train], targets["basfi"][train], groups=groups[train])
    print("BASFI by XGBoost: mean absolute SHAP value of each column, in units of BASFI")
    show_shap(model, X[test])

    low, high = model.predict_interval(X[test], coverage=0.9).T
    truth = targets["basfi"][test]
    covered = np.mean((low <= truth) & (truth <= high))
    print(f"\n90 % intervals: {covered:.0%} of {len(truth)} new patients are inside; ", end="")
    print(f"they are {np.mean(high - low):.1f} wide on a scale of 0 to 10.")


if __name__ == "__main__":
    main()
