# %% [markdown]
# # Visits over time
#
# Predict progression from all visits and from the last one, and say which visit mattered.
#
# The patients are made up: what is shown is how the parts are used.

# %%
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

import asfusion as af

cohort = af.datasets.make_axspa_cohort(300, random_state=0, modalities=["labs", "visits"])
every = cohort.visits
every.head(4)

# %% [markdown]
# `nest` turns the long table into a column of X, a cell per patient. All visits, or the last
# alone: a summary of them with a logistic regression, and a recurrent network that knows the
# time between visits.

# %%
last = every[every["day"] == 0]
y = cohort.targets["progression_2y"].to_numpy()
rng = np.random.default_rng(0)
train = np.isin(np.arange(len(y)), rng.choice(len(y), 200, replace=False))
models = {
    "summary": af.EarlyFusionClassifier(
        {"visits": af.VisitEncoder("visits")}, verbose=0, random_state=0
    ),
    "GRU": af.JointFusionClassifier(
        {"visits": af.VisitEncoder("visits")}, max_epochs=20, verbose=0, random_state=0
    ),
}
auc = {name: {} for name in models}
for name, model in models.items():
    for seen, table in {"last visit": last, "all visits": every}.items():
        X = cohort.X[["age"]].assign(visits=af.VisitEncoder.nest(table, cohort.X.index))
        told = model.fit(X[train], y[train]).predict_proba(X[~train])[:, 1]
        auc[name][seen] = roc_auc_score(y[~train], told)
pd.DataFrame(auc).T.round(2)

# %% [markdown]
# ## Which visit, which value
#
# Two of those who progress, explained by the network that saw all visits.

# %%
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
visits.by_visit().round(4)

# %%
strongest = visits.to_frame().sort_values("attribution", key=abs, ascending=False)
strongest.head(4).round(4)

# %%
explanation.plot_patient(0)
