"""How long the synthetic cohort takes, and how much each modality tells.

Run: ``python benchmarks/cohort.py [--patients 400]``

Times are of one process; areas under the ROC curve are of axSpA against back pain. The
oracle reads what the disease left in a modality without any error, so that it bounds what
a model of that modality can reach.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import asfusion as af
from asfusion.datasets._genome import risk_score

PARTS = {
    "tables, notes, genes, visits": ["labs", "notes", "genes", "visits"],
    "and pelvic radiographs": ["labs", "notes", "genes", "visits", "xray"],
    "MRI alone (STIR and T1)": ["mri"],
    "spinal radiographs alone": ["spine"],
}


def oracle(y: np.ndarray, features: np.ndarray) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    told = cross_val_predict(model, features, y, cv=10, method="predict_proba")
    return float(roc_auc_score(y, told[:, 1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=400)
    n = parser.parse_args().patients
    for name, modalities in PARTS.items():
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            af.datasets.make_axspa_cohort(n, random_state=0, path=folder, modalities=modalities)
            print(f"{n} patients, {name:<30} {time.perf_counter() - begun:6.1f} s", flush=True)
    many = af.datasets.make_axspa_cohort(8000, random_state=0, modalities=["labs", "genes"])
    truth = many.truth
    contents = {
        "labs": np.log(truth[["crp", "esr"]].to_numpy()),
        "radiograph": truth[["grade_sum", "msasss"]].to_numpy(float),
        "MRI": truth[["oedema", "oedema_quadrants", "fat"]].to_numpy(float),
        "history": truth.filter(like="history_").to_numpy(float),
        "genes": np.column_stack([risk_score(many.genome), truth["hla_b27"]]),
    }
    contents["all"] = np.hstack(list(contents.values()))
    for name, features in contents.items():
        print(f"oracle of {name:<12} AUC {oracle(many.y, features):.3f}")


if __name__ == "__main__":
    main()
