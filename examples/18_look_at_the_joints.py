# %% [markdown]
# # Look at the joints
#
# Grade sacroiliac joints where a finder points, see what the score does not owe to them, and which
# of both moved a prediction.
#
# The patients are made up and few, films are coarse, and the finder is in a hurry: what is shown is
# how the parts are used.

# %%
import tempfile
import warnings

import asfusion as af

folder = tempfile.TemporaryDirectory()
cohort = af.datasets.make_axspa_cohort(
    48, random_state=0, path=folder.name, modalities=["labs", "xray"], missing=0.0
)
X, groups = cohort.X, cohort.groups
y = (cohort.targets[["mny_right", "mny_left"]].max(axis=1) >= 2).astype(int)
cohort.regions.drop(columns="film").head(4)

# %% [markdown]
# A finder learns from boxes that somebody drew. Inside an encoder it is a description: each fold
# fits it on its own training films.

# %%
finder = af.anatomy.RegionFinder(cohort.regions, size=48, epochs=20, views=1, verbose=0)
found = finder.fit(X["pelvis_xray"]).find(X["pelvis_xray"])
found.plot(range(4))

# %% [markdown]
# The same frozen network sees whole films, or each joint cut from the original film at its own
# resolution. `blackout=True` runs the same folds with the joints black.

# %%
frozen = {"column": "pelvis_xray", "backbone": "efficientnet_lite0", "size": 96}
looks = {
    "whole film": af.ImageEncoder(**frozen),
    "joints": af.RegionEncoder(**frozen, region=finder, side_mm=90),
}
for name, encoder in looks.items():
    model = af.EarlyFusionClassifier({"film": encoder}, verbose=0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few epochs may lose a joint
        result = af.cross_validate(
            model, X, y, groups=groups, cv=2, blackout=name == "joints", verbose=0
        )
    print(f"{name}: {result.verdict}\n")

# %% [markdown]
# ## Which joint
#
# Regions are players of one game; their values add up to that of the film. The pixels of each are
# mapped back to the film that it was cut from.

# %%
model.fit(X, y)
worst = X.iloc[[int(cohort.targets["mny_right"].argmax())]]
film = af.explain(model, worst, verbose=0)["film"][0]
for name in film.regions:
    print(film[name].place.in_words(), f"adds {film.regions[name]:+.2f}")
film

# %%
film["right_sij"].at_original().plot()
folder.cleanup()
