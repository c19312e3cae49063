# %% [markdown]
# # Cross-validate
#
# By patient, by hospital and around a search; copies are told first, and a canary shows what
# leaks.

# %%
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import asfusion as af

cohort = af.datasets.make_axspa_cohort(240, random_state=0, modalities=["labs", "notes"])
rows = [*range(240), 3, 7]  # two patients are there twice, the second time under another number
X, y = cohort.X.iloc[rows].reset_index(drop=True), cohort.y[rows]
patients = np.append(cohort.groups, ["copy of 3", "copy of 7"])

# %% [markdown]
# ## Copies under two patients

# %%
duplicates = af.find_duplicates(X, patients, verbose=0)
print(duplicates)

# %% [markdown]
# ## By patient, with a canary
#
# The canary is the same cross-validation on labels permuted among patients. What scores above
# chance there has leaked.

# %%
encoders = {
    "notes": af.TextEncoder("clinical_note", backbone="tfidf", n_components=16),
    "labs": af.TabularEncoder(["age", "sex", "crp", "esr"]),
}
model = af.EarlyFusionClassifier(encoders, LogisticRegression(max_iter=1000), verbose=0)
common = {"groups": patients, "duplicates": "join", "n_bootstrap": 500, "verbose": 0}
print(af.cross_validate(model, X, y, canary=True, **common))

# %% [markdown]
# ## One hospital left out at a time

# %%
one = duplicates.joined_groups  # copies count as one patient, who was seen at one site
sites = np.array(["north", "east", "south"])[one % 3]
by_site = af.cross_validate(model, X, y, cv="leave-one-site-out", sites=sites, **common)
by_site.to_frame()[["site", "n_rows", "n_groups", "auc", "brier"]].round(3)

# %% [markdown]
# ## Around a search
#
# The penalty is chosen on training patients of each fold.

# %%
search = GridSearchCV(model, {"estimator__C": [0.01, 0.1, 1.0]}, cv=3, scoring="roc_auc")
print(af.cross_validate(search, X, y, cv=3, **common).verdict)
