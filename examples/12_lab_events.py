# %% [markdown]
# # Lab events
#
# From the long table of a laboratory to features before each patient's date, to a fused model
# that explains itself.
#
# Events and patients are made up here; a hospital's export looks like this: two codes and two
# units for CRP, detection limits, patients that were never in this laboratory, values from
# after the decision.

# %%
import numpy as np
import pandas as pd
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

import asfusion as af


def make_hospital(n_patients, rng):
    """Return events as a laboratory writes them, one row per patient, and who will flare."""
    inflammation, rising = rng.normal(size=(2, n_patients))
    index_date = pd.Timestamp("2023-01-01") + pd.to_timedelta(
        rng.integers(400, 700, n_patients), unit="D"
    )
    events = []
    for patient in range(int(0.95 * n_patients)):
        for _ in range(rng.integers(2, 9)):
            age = rng.uniform(-60, 500)  # days before the index date; below zero it is after
            drift = rising[patient] * (1 - age / 250)
            crp = np.exp(1.6 + 0.8 * inflammation[patient] + 0.5 * drift + 0.3 * rng.normal())
            when = index_date[patient] - pd.Timedelta(days=age)
            if rng.random() < 0.3:  # one analyser reports in mg/dL
                events.append((patient, when, "1988-5", f"{crp / 10:.2f}", "mg/dL"))
            else:
                cell = "<3" if crp < 3 else f"{crp:.1f}"
                events.append((patient, when, "CRP", cell, "mg/L"))
            haemoglobin = 14.2 - 0.5 * inflammation[patient] + 0.5 * rng.normal()
            events.append((patient, when, "718-7", f"{haemoglobin:.1f}", "g/dL"))
    table = pl.DataFrame(events, ["patient", "time", "code", "value", "unit"], orient="row")
    patients = pd.DataFrame(
        {
            "patient": np.arange(n_patients),
            "index_date": index_date,
            "age": rng.integers(20, 65, n_patients),
            "smoker": rng.choice(["never", "former", "current"], n_patients),
        }
    )
    risk = 0.9 * inflammation + 0.9 * rising + 0.5 * (patients["smoker"] == "current")
    return table, patients, (risk + rng.logistic(scale=0.6, size=n_patients) > 0.2).astype(int)


events, patients, y = make_hospital(500, np.random.default_rng(0))
events.head(4)

# %% [markdown]
# ## Long to wide
#
# Read from Parquet in batches. Units are converted or refused, and events after the index date
# are left out.

# %%
events.write_parquet("events.parquet")
labs = af.LabEvents(
    {"crp": ["1988-5", "CRP"], "haemoglobin": ["718-7"]},
    statistics=["last", "mean", "max", "slope", "count", "time_since"],
    window="365d",
)
wide = labs.transform("events.parquet", patients)
wide.head(4).round(2)

# %% [markdown]
# What became of the events:

# %%
pd.DataFrame(labs.report_).T[["in_all", "events", "used", "repeated", "at_limit"]]

# %% [markdown]
# ## Fuse with what is known of the person

# %%
X = pd.concat([patients, wide], axis=1)
encoders = {
    "labs": af.TabularEncoder(list(labs.get_feature_names_out())),
    "person": af.TabularEncoder(["age", "smoker"]),
}
train, test = slice(0, 350), slice(350, None)
trees = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.05, max_leaf_nodes=6)
quiet = {"verbose": 0, "random_state": 0}
models = {
    "early, logistic": af.EarlyFusionClassifier(encoders, **quiet),
    "early, boosted trees": af.EarlyFusionClassifier(encoders, trees, **quiet),
    "late, boosted trees": af.LateFusionClassifier(encoders, trees, **quiet),
}
auc = {}
for name, model in models.items():
    model.fit(X[train], y[train])
    auc[name] = roc_auc_score(y[test], model.predict_proba(X[test])[:, 1])
pd.Series(auc, name="AUC, 150 held out").round(3).to_frame()

# %% [markdown]
# ## What mattered among the labs

# %%
explanation = af.explain(
    models["early, logistic"], X[test].head(40), units=labs.feature_units(), verbose=0
)
axes = explanation["labs"].bar(n=8)
