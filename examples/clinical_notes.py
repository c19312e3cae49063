"""What notes say, whom they name, whether they give the answer away, and what that predicts.

Run: python examples/clinical_notes.py
"""

from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

import asfusion as af
from asfusion.notes import check_notes, find_concepts, redact

NOTE = "clinical_note"


def main() -> None:
    cohort = af.datasets.make_axspa_cohort(300, modalities=("labs", "notes"), random_state=0)
    known = cohort.X[NOTE].notna().to_numpy()
    X, y = cohort.X[known].reset_index(drop=True), cohort.y[known]

    note = X[NOTE].iloc[0]
    print(find_concepts(note).to_frame().to_string(index=False), "\n")

    check = check_notes(X[NOTE], outcome=["axspa", "sacroiliitis", "biologic"])
    print(check)

    letter = "Dear Dr. Quill, Mrs Ismay Thorne (MRN 00123456) was seen on 12 March 2021. " + note
    print(redact(letter).texts[0][:120], "...\n")

    readers = {
        "counted words": af.TextEncoder(NOTE, backbone="tfidf"),
        "concepts": af.ConceptEncoder(NOTE),
    }
    for name, encoder in readers.items():
        model = make_pipeline(encoder, LogisticRegression(C=0.1, max_iter=2000))
        chance = cross_val_predict(model, X, y, cv=5, method="predict_proba")[:, 1]
        print(f"{name:14} AUC {roc_auc_score(y, chance):.2f} over {len(y)} notes")

    fused = af.EarlyFusionClassifier(
        {"notes": af.ConceptEncoder(NOTE), "labs": af.TabularEncoder(["crp", "esr"])}, verbose=0
    ).fit(X, y)
    explanation = af.explain(fused, X.head(3), background=X.head(60))
    part = explanation["notes"]
    top = abs(part.values[0]).argsort()[::-1][:5]
    print("\nfirst patient, most telling concepts:")
    for j in top:
        print(f"  {part.feature_names[j]:24} {part.data[0][j]!s:28} {part.values[0][j]:+.3f}")


if __name__ == "__main__":
    main()
