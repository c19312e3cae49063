# %% [markdown]
# # Corners of the spine
#
# Grade the 24 corners of the mSASSS on lateral films, add them up, and say how sure the sum is.
#
# The patients are made up: what is shown is how the parts are used.

# %%
import numpy as np

import asfusion as af

cohort = af.datasets.make_axspa_cohort(
    48, random_state=0, modalities=["spine"], damage="study", missing=0
)
X, grades, points = cohort.X, cohort.targets, cohort.corner_points
points[["point", "x", "y"]].head(3)

# %% [markdown]
# ## Learn
#
# Where corners are, from points that somebody set, and how they are graded, from what a reader
# wrote down. Films are coarse here, patients few, and the finder is in a hurry.

# %%
train, test = np.arange(48) < 38, np.arange(48) >= 38
hasty = af.anatomy.LandmarkFinder(size=64, epochs=8, views=1)
scorer = af.corners.CornerScorer(
    points, finder=hasty, epochs=8, coverage=0.8, verbose=0, random_state=0
)
scorer.fit(X[train], grades[train], groups=cohort.groups[train])

# %% [markdown]
# ## Score
#
# Others' films, at places where a person points: what the grading network can do.

# %%
scores = scorer.score_films(X[test], points=points)
scores

# %%
figure = scores.plot(int(grades["msasss"][test].argmax()))

# %% [markdown]
# What the reader wrote down, beside it.

# %%
told = scores.sums()
told.insert(0, "reader", grades["msasss"][test].to_numpy())
told.round(1)

# %% [markdown]
# ## Where the finder points
#
# A corner that is lost cannot be read; up to three of a segment get the mean of the others. This
# finder has learned too little to be sure of any corner, and says so; with a hundred films and the
# default number of passes it finds nearly all (see "Score the corners of the spine").

# %%
found = scorer.score_films(X[test])
found.sums().round(1)
