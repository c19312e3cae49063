# %% [markdown]
# # Photographs of films
#
# What a telephone makes of a radiograph, the way back, and what a model bears.
#
# The patients are made up: what is shown is how the parts are used.

# %%
import numpy as np
from matplotlib import pyplot as plt

import asfusion as af
from asfusion.imaging import read_image
from asfusion.imaging.photographs import (
    apply_homography,
    augment_rows,
    corner_annotations,
    degrade,
    rectify,
    rectify_rows,
)

cohort = af.datasets.make_axspa_cohort(90, random_state=0, modalities=["xray"])
X = cohort.X[["pelvis_xray"]].dropna().reset_index(drop=True)
film = read_image(X["pelvis_xray"][0], channels=3)
fig, axes = plt.subplots(1, 6, figsize=(13, 3))
axes[0].imshow(film.transpose(1, 2, 0))
for severity in range(1, 6):
    photograph, homography = degrade(film, severity, seed=2)
    axes[severity].imshow(photograph.transpose(1, 2, 0))
    axes[severity].set_title(f"severity {severity}")
for axis in axes:
    axis.axis("off")

# %% [markdown]
# ## Back to the film
#
# Corners that are known give the film back. A finder learns to see them, from films that are
# photographed for it.

# %%
height, width = film.shape[1:]
corners = apply_homography(homography, [[0, 0], [width, 0], [width, height], [0, height]])
shown, annotations = corner_annotations(X["pelvis_xray"][:30], copies=2, random_state=0)
finder = af.anatomy.LandmarkFinder(
    annotations, size=64, epochs=12, mirrored=(), verbose=0, random_state=0
)
finder.fit(shown, groups=np.repeat(np.arange(30), 3))
fig, axes = plt.subplots(1, 3, figsize=(9, 3.4))
axes[0].imshow(photograph.transpose(1, 2, 0))
axes[1].imshow(rectify(photograph, corners, channels=3).transpose(1, 2, 0))
axes[2].imshow(rectify(photograph, finder, channels=3).transpose(1, 2, 0))
for axis, title in zip(axes, ["severity 5", "corners known", "corners found"], strict=True):
    axis.set_title(title)
    axis.axis("off")

# %% [markdown]
# ## What a model bears
#
# A small network on films of other patients, once without and once with photographs while it
# learns, asked about photographs.

# %%
rows = cohort.X["pelvis_xray"].notna().to_numpy()
y = np.asarray(cohort.y)[rows]
train = np.arange(len(X)) % 3 > 0
for augment in (True, "photograph"):
    encoder = af.ImageEncoder("pelvis_xray", size=64, augment=augment)
    model = af.JointFusionClassifier({"film": encoder}, max_epochs=6, verbose=0, random_state=0)
    model.fit(X[train], y[train])
    test = af.stress(model, X[~train], y[~train], severities=[2, 5], n_bootstrap=200, verbose=0)
    print(f"augment={augment!r}: {test.verdict}")

# %% [markdown]
# With a frozen backbone, photographs are rows of their own, rectified as those that the model will
# be asked about.

# %%
more, targets, groups = augment_rows(
    X[train], y[train], "pelvis_xray", copies=1, finder=finder, random_state=0
)
asked = rectify_rows(X[~train], "pelvis_xray", finder)
print(f"{train.sum()} films, {len(more)} training rows, {len(asked)} rows to ask about")
