"""Whether sets and intervals cover as often as they say where patients come repeatedly.

Run ``python benchmarks/conformal.py``. Patients are simulated: the sicker come more often, and
the visits of one resemble each other. Coverage is that of a random visit of a new patient, over
many studies. Beside it, what a user would do otherwise: the same scores with every row
counted as a patient (MAPIE's split conformal, where it is installed), and one random row of each.
"""

import argparse
import time

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge

import asfusion as af

COVERAGE = 0.9


def draw(n_patients, rng):
    """Return rows, a target, a class and the patient of each row."""
    effect = rng.normal(size=n_patients)
    visits = np.where(effect > 1.0, 8, rng.integers(1, 3, n_patients))
    patient = np.repeat(np.arange(n_patients), visits)
    effect = effect[patient]
    X = rng.normal(size=(len(patient), 3))
    hidden = X[:, 0] - 0.5 * X[:, 1] + 1.5 * effect
    target = hidden + 0.3 * rng.normal(size=len(patient))
    cuts = hidden[:, None] > np.array([-1.0, 1.0]) + 0.5 * rng.logistic(size=(len(patient), 1))
    return X, target, cuts.sum(axis=1), patient


def per_patient(hit, patient):
    """Return the share of patients that a random visit of theirs is covered."""
    return float(np.mean(np.bincount(patient, hit) / np.bincount(patient)))


def one_row_each(patient, rng):
    """Return the position of one random row of each patient."""
    order = rng.permutation(len(patient))
    return order[np.unique(patient[order], return_index=True)[1]]


def study(n_patients, seed):
    """Return what each way of calibrating covers, and how wide it is, in one study."""
    rng = np.random.default_rng(seed)
    X, target, label, patient = draw(n_patients, rng)
    fresh_X, fresh_target, fresh_label, fresh = draw(1000, rng)
    learn = patient < n_patients // 2
    regressor = FrozenEstimator(Ridge().fit(X[learn], target[learn]))
    classifier = FrozenEstimator(LogisticRegression().fit(X[learn], label[learn]))
    X, target, label, patient = (a[~learn] for a in (X, target, label, patient))
    single = one_row_each(patient, rng)
    ways = {
        "patients": (slice(None), patient),
        "every row a patient": (slice(None), None),
        "one row of each": (single, None),
    }
    found = {}
    for name, (rows, groups) in ways.items():
        intervals = af.ConformalRegressor(regressor, COVERAGE)
        low, high = intervals.fit(X[rows], target[rows], groups=groups).predict_interval(fresh_X).T
        inside = (low <= fresh_target) & (fresh_target <= high)
        found["intervals", name] = per_patient(inside, fresh), float(np.mean(high - low))
        for method in ("lac", "aps"):
            sets = af.ConformalClassifier(classifier, COVERAGE, method=method)
            given = sets.fit(X[rows], label[rows], groups=groups).predict_set(fresh_X)
            inside = given[np.arange(len(fresh)), fresh_label]
            size = float(given.sum(axis=1).mean())
            found[f"sets, {method}", name] = per_patient(inside, fresh), size
    return found


def compare_with_mapie(seed):
    """Return the largest difference to MAPIE's intervals where every patient has one row."""
    from mapie.regression import SplitConformalRegressor

    rng = np.random.default_rng(seed)
    X = rng.normal(size=(600, 3))
    y = X[:, 0] + rng.normal(size=600)
    model = Ridge().fit(X[:200], y[:200])
    theirs = SplitConformalRegressor(model, confidence_level=COVERAGE, prefit=True)
    theirs.conformalize(X[200:400], y[200:400])
    own = af.ConformalRegressor(FrozenEstimator(model), COVERAGE).fit(X[200:400], y[200:400])
    expected = theirs.predict_interval(X[400:])[1][:, :, 0]
    return float(np.abs(own.predict_interval(X[400:]) - expected).max())


def main():
    """Print coverage and width over many studies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    args = parser.parse_args()
    start = time.perf_counter()
    for n_patients in (60, 400):
        studies = [study(n_patients, seed) for seed in range(args.studies)]
        print(
            f"\n{args.studies} studies, {n_patients // 2} patients to calibrate on, {COVERAGE:.0%}"
        )
        print(f"{'':32}  coverage (standard error)  mean width or size")
        for key in studies[0]:
            covered, width = np.asarray([one[key] for one in studies]).T
            error = covered.std() / np.sqrt(len(covered))
            name = ": ".join(key)
            print(f"{name:32}  {covered.mean():8.4f} ({error:.4f})  {width.mean():8.3f}")
    try:
        print(f"\nlargest difference to MAPIE, single rows: {compare_with_mapie(0):.1e}")
    except ImportError:
        print("\nMAPIE is not installed: no comparison")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
