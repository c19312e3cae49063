"""What differential privacy costs across sites, and what audits of models see; see `federated.py`.

Rate, clip and learning rate of private training were chosen on seeds 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import asfusion as af
from asfusion.federated import DifferentialPrivacy, privacy_audit, simulate

DELTA, RATE = 1e-3, 6e-3


def private(model: Any, epsilon: float, sites: int = 1) -> tuple[Any, Any]:
    """Return a model that learns privately, and what it promises."""
    promise = DifferentialPrivacy(epsilon, delta=DELTA, sites=sites)
    options = af.TrainingOptions(privacy=promise)
    return model.set_params(training=options, learning_rate=RATE), promise


def cost_of_privacy(
    drawn: Mapping[int, Any], model_of: Callable[..., Any], auc: Any, sites: Sequence[str]
) -> None:
    """Print the AUC on other patients, by where the noise is added and by epsilon."""
    names = ["none", "sum 8", "sum 1", "site 8"]
    print(f"{'seed':>4} " + " ".join(f"{name:>7}" for name in names))
    found = []
    for seed, (X, y, site, columns) in drawn.items():
        learn, judge, row = site != "", site == "", []
        for name in names:
            where, _, epsilon = name.partition(" ")
            model, rounds = model_of(columns), 10
            if epsilon:
                shared = len(sites) if where == "sum" else 1
                model, promise = private(model, float(epsilon), shared)
                rounds = promise.n_steps
            run = simulate(
                model, X[learn], y[learn], site[learn],
                rounds=rounds, holdout=0.0, random_state=seed, verbose=0,
            )  # fmt: skip
            row.append(auc(run.model_, X[judge], y[judge]))
        found.append(row)
        print(f"{seed:>4} " + " ".join(f"{one:7.3f}" for one in row), flush=True)
    means = dict(zip(names, np.mean(found, axis=0), strict=True))
    print("mean " + " ".join(f"{one:7.3f}" for one in means.values()))
    loss = means["none"] - means["sum 8"]
    print(f"loss by epsilon 8 in the sum: {loss:+.3f} (asked: .010 at most)")


def audit_all(
    seeds: Sequence[int], patients: int, model_of: Callable[..., Any], auc: Any, n_shadows: int
) -> None:
    """Print what attacks find in a model by default, an overfitted one and a private one."""
    print(
        f"{'seed':>4} {'of':>12} {'AUC on others':>13} {'by loss':>8} {'by LiRA':>8} {'at 1 %':>7}"
    )
    found: dict[str, list[float]] = {}
    for seed in seeds:
        kinds = ["labs", "notes", "genes"]
        cohort = af.datasets.make_axspa_cohort(patients, modalities=kinds, random_state=seed)
        X, y, half = cohort.X, np.asarray(cohort.y), min(600, patients // 2)
        columns = [name for name in X.columns if name.startswith("rs")]
        rows = slice(0, half), slice(half, 2 * half)
        models = {
            "default": model_of(columns),
            "epsilon 8": private(model_of(columns), 8.0)[0],
        }
        for name, model in models.items():
            model.fit(X[rows[0]], y[rows[0]])
            audit = privacy_audit(
                model, X[rows[0]], y[rows[0]], X[rows[1]], y[rows[1]], n_shadows=n_shadows,
                control="overfitted" if name == "default" else None, random_state=seed, verbose=0,
            )  # fmt: skip
            _tell(seed, name, f"{auc(model, X[rows[1]], y[rows[1]]):.3f}", audit, "model", found)
            if name == "default":
                _tell(seed, "control", "-", audit, "control", found)
    means = {name: np.mean(values) for name, values in found.items()}
    share = (means["control"] - 0.5) / (means["default"] - 0.5)
    print("mean LiRA AUC: " + ", ".join(f"{name} {one:.3f}" for name, one in means.items()))
    print(f"control over default, above .5: {share:.2f} times (asked: 2 at least)")
    print(f"epsilon 8: {means['epsilon 8']:.3f} (asked: .580 at most)")


def _tell(seed: int, name: str, auc: str, audit: Any, of: str, found: Any) -> None:
    attacks = {one.name: one for one in audit.attacks_ if one.of == of}
    lira = attacks["LiRA"]
    found.setdefault(name, []).append(lira.auc.estimate)
    print(
        f"{seed:>4} {name:>12} {auc:>13} {attacks['loss'].auc.estimate:8.3f} "
        f"{lira.auc.estimate:8.3f} {lira.found[0.01]:7.1%}",
        flush=True,
    )
