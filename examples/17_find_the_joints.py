# %% [markdown]
# # Find the joints
#
# A grade of the sacroiliac joints stands in a few square centimetres of a film of the pelvis. A
# finder learns where that is from boxes on some films, and finds it on others.

# %%
import asfusion as af

cohort = af.datasets.make_axspa_cohort(48, random_state=0, missing=0, modalities=["xray"])
films = cohort.X["pelvis_xray"]

# %% [markdown]
# The synthetic films come with label images. Boxes around two of their codes are annotations, as
# a reader would draw them; a CSV file with one row per film and region does as well.

# %%
names = {6: "right_sij", 7: "left_sij"}
boxes = af.anatomy.read_masks(films, cohort.segmentations, names)
boxes[["region", "x0", "y0", "x1", "y1"]].head(4)

# %% [markdown]
# Thirty-six films teach; the others are new to it. More films and the default number of epochs find
# better.

# %%
finder = af.anatomy.RegionFinder(boxes, size=64, epochs=20, verbose=0, random_state=0)
finder.fit(films[:36], groups=cohort.groups[:36])
found = finder.find(films[36:])
found

# %%
figure = found.plot()

# %% [markdown]
# A long table, in pixels and in mm, with a confidence that was calibrated on films that the
# networks had not seen:

# %%
found.to_frame()[["row", "region", "x_mm", "y_mm", "confidence", "status"]].head(6).round(2)

# %% [markdown]
# How far from the true middle are they, in mm?

# %%
import numpy as np

own = boxes[boxes["film"].isin(films[36:])]
true = np.stack([(own["x0"] + own["x1"]) / 2, (own["y0"] + own["y1"]) / 2], axis=1)
apart = np.linalg.norm(found.centres - true.reshape(-1, 2, 2), axis=2) * found.spacing_mm[:, :1]
print(f"median {np.nanmedian(apart):.1f} mm, within 10 mm: {(apart < 10).mean():.0%}")

# %% [markdown]
# It is saved without annotations, and knows what it has learned from:

# %%
finder.save("joints.asf")
again = af.anatomy.read_finder("joints.asf")
print(again.overlap(films), "of these", len(films), "films taught it")
