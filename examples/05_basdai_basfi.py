# %% [markdown]
# # BASDAI and BASFI by plain models
#
# Random forest, AdaBoost, XGBoost, a linear model and the mean of all patients, before a
# network is asked.

# %%
import asfusion as af
from asfusion.baselines import compare_baselines

cohort = af.datasets.make_axspa_cohort(150, random_state=0, modalities=("labs",))
X, targets, groups = cohort.X, cohort.targets, cohort.groups
active = targets["basdai"] >= 4  # for whom the important change of BASFI is larger
compare_baselines(X, targets["basfi"], groups, cv=3, active=active, n_bootstrap=200)

# %% [markdown]
# The board compares each model with the mean and with the linear model, on the same folds and
# the same bootstrap replicates of patients. BASDAI is harder: it is what patients feel, and a
# table of labs knows little of it.

# %%
board = compare_baselines(
    X, targets["basdai"], groups, models=["xgboost"], active=active, n_bootstrap=200
)
print(board.verdict)

# %% [markdown]
# ## Which columns, in units of the index

# %%
train, test = slice(0, 100), slice(100, None)
model = af.BasfiRegressor("xgboost", tune=True, random_state=0)
model.fit(X[train], targets["basfi"][train], groups=groups[train])
axes = af.explain(model, X[test])["table"].beeswarm()

# %% [markdown]
# ## Intervals for new patients

# %%
low, high = model.predict_interval(X[test], coverage=0.9).T
truth = targets["basfi"][test]
covered = ((low <= truth) & (truth <= high)).mean()
print(f"{covered:.0%} of {len(truth)} new patients are inside intervals that cover 90 %;")
print(f"these are {(high - low).mean():.1f} wide on a scale of 0 to 10.")
