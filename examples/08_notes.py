# %% [markdown]
# # Clinical notes
#
# What notes say, whom they name, whether they give the answer away, and what that predicts.

# %%
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

import asfusion as af
from asfusion.notes import check_notes, find_concepts, redact

cohort = af.datasets.make_axspa_cohort(300, modalities=("labs", "notes"), random_state=0)
known = cohort.X["clinical_note"].notna().to_numpy()
X, y = cohort.X[known].reset_index(drop=True), cohort.y[known]

# %% [markdown]
# ## What a note says
#
# Features of the disease and how each is meant; the words that decided it are underlined.

# %%
find_concepts(X["clinical_note"].iloc[0])

# %% [markdown]
# ## Whether it gives the answer away

# %%
check_notes(X["clinical_note"], outcome=["axspa", "sacroiliitis", "biologic"])

# %% [markdown]
# ## Whom it names
#
# Redaction reduces identifiers; it does not make notes anonymous.

# %%
letter = "Dear Dr. Quill, Mrs Ismay Thorne (MRN 00123456) was seen on 12 March 2021. "
print(redact(letter + X["clinical_note"].iloc[0]).texts[0][:160], "...")

# %% [markdown]
# ## What it predicts

# %%
readers = {
    "counted words": af.TextEncoder("clinical_note", backbone="tfidf"),
    "concepts": af.ConceptEncoder("clinical_note"),
}
auc = {}
for name, encoder in readers.items():
    model = make_pipeline(encoder, LogisticRegression(C=0.1, max_iter=2000))
    chance = cross_val_predict(model, X, y, cv=5, method="predict_proba")[:, 1]
    auc[name] = roc_auc_score(y, chance)
pd.Series(auc, name=f"AUC over {len(y)} notes").round(2).to_frame()

# %% [markdown]
# ## Fused with labs, and explained

# %%
fused = af.EarlyFusionClassifier(
    {"notes": af.ConceptEncoder("clinical_note"), "labs": af.TabularEncoder(["crp", "esr"])},
    verbose=0,
).fit(X, y)
explanation = af.explain(fused, X.head(3), background=X.head(60), verbose=0)
explanation.plot_patient(0)
