# %% [markdown]
# # Explain a patient
#
# Which modality moved a prediction, and within it which lab value, which word, which part of
# the film.
#
# What is explained is the model, not the disease. The patients are synthetic.

# %%
import asfusion as af

cohort = af.datasets.make_axspa_cohort(
    150, random_state=0, modalities=["labs", "notes", "genes", "xray"]
)
X, y = cohort.X, cohort.y
encoders = {
    "labs": af.TabularEncoder(["age", "sex", "crp", "esr", "schober"]),
    "notes": af.TextEncoder("clinical_note", backbone="tfidf"),
    "genes": af.TabularEncoder(["hla_b27"]),
    "xray": af.ImageEncoder("pelvis_xray", backbone="compact", size=64),
}
train = slice(0, 120)
model = af.JointFusionClassifier(
    encoders, max_epochs=10, batch_size=16, verbose=0, random_state=0
).fit(X[train], y[train])

# %% [markdown]
# One call. `absence="missing"`, the default, asks the model as if the patient lacked a
# modality.

# %%
new = X[120:].dropna(subset=["clinical_note", "pelvis_xray"]).head(3)
units = {"crp": "mg/L", "esr": "mm/h", "schober": "cm", "age": "years"}
e = af.explain(model, new, background=X[train], units=units, n_samples=16, verbose=0)
print(e)

# %% [markdown]
# Each row reads from left to right: the prediction with nothing known, what each modality adds
# (exact Shapley values), and the prediction. Nothing is left over. One patient, modality by
# modality and part by part:

# %%
e.plot_patient(0)

# %% [markdown]
# ## The parts, as tables and marked text

# %%
e["labs"].to_frame().head(5)

# %%
e["notes"][0]

# %%
e["xray"][0]

# %% [markdown]
# ## Is it true?
#
# Checks ask whether values add up, whether another draw says the same, whether taking away what
# is said to matter moves the prediction, and whether a network with new weights gives other
# values. A failed one is shown on the explanation.

# %%
e.check()[["value", "limit", "passed"]].round(3)

# %% [markdown]
# `e.to_html("patients.html")` writes all of it as one page without script or request. It holds
# the notes: keep it where the notes may be kept.
