# %% [markdown]
# # Missing modalities
#
# What happens to a prediction as a patient's modalities go missing one by one, and to its
# quality.
#
# A *missing cell* (no CRP, but an ESR) is imputed, and a flag says so. A *missing modality* (no
# note at all) is masked: nothing is imputed, and nothing that stands in its place can matter.

# %%
from itertools import combinations

import pandas as pd
from sklearn.metrics import roc_auc_score

import asfusion as af

cohort = af.datasets.make_axspa_cohort(500, random_state=0, modalities=["labs", "notes", "genes"])
X, y = cohort.X, cohort.y
columns = {
    "labs": ["crp", "esr"],
    "notes": ["clinical_note"],
    "genes": ["hla_b27"],
}
encoders = {
    "labs": af.TabularEncoder(columns["labs"]),
    "notes": af.ConceptEncoder("clinical_note"),
    "genes": af.TabularEncoder(columns["genes"]),
}
train, test = slice(0, 250), slice(250, None)
quiet = {"verbose": 0, "random_state": 0}
models = {
    "early": af.EarlyFusionClassifier(encoders, **quiet),
    "joint": af.JointFusionClassifier(encoders, fusion="gated", max_epochs=12, **quiet),
    "late": af.LateFusionClassifier(
        encoders, combine="product", network=af.JointFusionClassifier(max_epochs=12), **quiet
    ),
}
for model in models.values():
    model.fit(X[train], y[train])

# %% [markdown]
# ## Every subset
#
# Patients who have everything, judged on every subset of what they have. One fitted model
# answers all of them.

# %%
complete = X[test].dropna(subset=["clinical_note", "hla_b27", "crp"])
truth = y[complete.index]


def without(rows, names):
    """Return the rows with the columns of these modalities emptied."""
    gone = [column for name in names for column in columns[name]]
    return rows.assign(**dict.fromkeys(gone))


board = {}
for n in (3, 2, 1):
    for kept in combinations(columns, n):
        rows = without(complete, set(columns) - set(kept))
        board[" + ".join(kept)] = {
            name: roc_auc_score(truth, model.predict_proba(rows)[:, 1])
            for name, model in models.items()
        }
pd.DataFrame(board).T.round(3)

# %% [markdown]
# AUC on synthetic patients. The more there is, the better; what each family does with an absent
# modality differs, which shows where little is left.

# %%
axis = pd.DataFrame(board).T[::-1].plot.barh(xlim=(0.5, 1), figsize=(7, 4), xlabel="AUC")
legend = axis.legend(loc="lower right")

# %% [markdown]
# ## One patient

# %%
patient = complete.head(1)
pd.DataFrame(
    {
        "all": [m.predict_proba(patient)[0, 1] for m in models.values()],
        **{
            f"no {name}": [m.predict_proba(without(patient, [name]))[0, 1] for m in models.values()]
            for name in columns
        },
    },
    index=list(models),
).round(2)
