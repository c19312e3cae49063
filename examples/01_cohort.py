# %% [markdown]
# # A synthetic cohort
#
# Look at patients who have labs, a note, genotypes, a radiograph and MRI, before the first real
# one is released.
#
# Nobody in it exists. It is made so that a pipeline can be written and tested; no figure that
# is reached on it says anything about people.

# %%
import asfusion as af

cohort = af.datasets.make_axspa_cohort(
    60, random_state=0, modalities=["labs", "notes", "genes", "xray", "mri"]
)
cohort.X[["age", "sex", "crp", "esr", "hla_b27", "clinical_note"]].head()

# %% [markdown]
# A row is a patient. Cells are numbers, categories, text, or paths to images. Some cells are
# empty, and some patients lack a whole modality:

# %%
columns = ["crp", "clinical_note", "pelvis_xray", "mri_stir"]
cohort.X[columns].isna().mean().round(2).rename("share missing").to_frame()

# %% [markdown]
# `y` is the label, `targets` everything else that could be predicted, `groups` the patient of
# each row and `sites` the hospital.

# %%
cohort.targets[["diagnosis", "basdai", "basfi", "asdas_crp", "mny_right", "mny_left"]].head()

# %% [markdown]
# ## Images
#
# Radiographs are DICOM files, drawn from outlines of the bones. Grades are those of the
# modified New York criteria, right and left:

# %%
figure = cohort.plot(10)

# %% [markdown]
# An MRI is a folder of slices. `read_series` sorts them by their place in the patient, and a
# volume shows itself as a sheet:

# %%
from asfusion.imaging import read_series

volume = read_series(cohort.X["mri_stir"].dropna().iloc[0])
print(volume)
volume

# %% [markdown]
# ## Notes
#
# Notes deny, doubt and tell of relatives, as notes do. The concepts in one of them, and how
# each is meant:

# %%
from asfusion.notes import find_concepts

find_concepts(cohort.X["clinical_note"].dropna().iloc[0])
