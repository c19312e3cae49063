"""The study that `federated.py` runs over Flower, as hospitals would share it."""

from __future__ import annotations

from typing import Any

import asfusion as af

cohort = af.datasets.make_axspa_cohort(200, modalities=["labs", "notes"], random_state=5)
model = af.JointFusionClassifier(
    {
        "labs": af.TabularEncoder(["crp", "esr", "age", "sex"]),
        "notes": af.TextEncoder("clinical_note", backbone="tfidf"),
    },
    verbose=0,
)


def make_site(context: Any) -> Any:
    """Return one of two hospitals: each second row."""
    part = int(context.node_config["part"])
    return af.federated.Site(model, cohort.X[part::2], cohort.y[part::2], holdout=0.2)
