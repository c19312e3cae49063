# %% [markdown]
# # Inside scikit-learn
#
# A fused model in a `Pipeline`, a `GridSearchCV` and nested cross-validation, patients kept
# together.
#
# The estimators pass scikit-learn's own checks, so what takes a classifier takes them.

# %%
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline

import asfusion as af

cohort = af.datasets.make_axspa_cohort(180, random_state=0, modalities=["labs", "notes", "genes"])
X, y, groups = cohort.X, cohort.y, cohort.groups
encoders = {
    "labs": af.TabularEncoder(["age", "sex", "crp", "esr"]),
    "notes": af.ConceptEncoder("clinical_note"),
    "genes": af.TabularEncoder(["hla_b27"]),
}
model = af.EarlyFusionClassifier(
    encoders, LogisticRegression(max_iter=1000), verbose=0, random_state=0
)
model

# %% [markdown]
# ## An encoder is a transformer
#
# Each one stands alone in a pipeline: rows in, a matrix with named columns out.

# %%
alone = make_pipeline(encoders["notes"], RandomForestClassifier(100, random_state=0))
alone.fit(X.dropna(subset=["clinical_note"]), y[X["clinical_note"].notna()])
alone[0].get_feature_names_out()[:5]

# %% [markdown]
# ## Search over anything
#
# Parameters have nested names: of the estimator, of an encoder, and whole encoders can be
# exchanged.

# %%
search = GridSearchCV(
    model,
    {
        "estimator__C": [0.1, 1.0],
        "encoders__notes": [
            af.ConceptEncoder("clinical_note"),
            af.TextEncoder("clinical_note", backbone="tfidf"),
        ],
    },
    cv=GroupKFold(3),
    scoring="roc_auc",
)
search.fit(X, y, groups=groups)
board = pd.DataFrame(search.cv_results_)
board["notes"] = [type(e).__name__ for e in board["param_encoders__notes"]]
board.pivot(index="notes", columns="param_estimator__C", values="mean_test_score").round(3)

# %% [markdown]
# The best of four looks better than it is. Nested cross-validation chooses inside each training
# part, and judges outside. With scikit-learn, `groups` reaches the outer split;
# `asfusion.cross_validate` hands it to the search as well, and brings intervals that resample
# patients.

# %%
outer = cross_validate(model, X, y, groups=groups, cv=GroupKFold(3), scoring="roc_auc")
print("without a search:", outer["test_score"].round(3))
nested = af.cross_validate(search, X, y, groups=groups, cv=3, n_bootstrap=300, verbose=0)
print(nested.verdict)

# %% [markdown]
# ## Joint networks are searched the same way

# %%
small = {name: encoders[name] for name in ("labs", "genes")}
network = af.JointFusionClassifier(small, "gated", max_epochs=5, verbose=0, random_state=0)
grid = {"fusion": ["concat", "gated"], "encoders__labs__d_out": [16, 64]}
found = GridSearchCV(network, grid, cv=2, scoring="roc_auc").fit(X, y)
found.best_params_
