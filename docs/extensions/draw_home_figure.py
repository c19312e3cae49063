"""Draw the picture of the first page: one synthetic patient, fused and explained.

Run from the repository: ``python docs/extensions/draw_home_figure.py``. It writes
``docs/assets/patient.png`` and takes under a minute.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression

import asfusion as af

FILE = Path(__file__).resolve().parents[1] / "assets" / "patient.png"
ENCODERS = {
    "labs": af.TabularEncoder(["age", "sex", "crp", "esr", "schober", "hla_b27"]),
    "note": af.ConceptEncoder("clinical_note"),
    "xray": af.ImageEncoder("pelvis_xray", backbone="efficientnet_lite0", size=160),
}
UNITS = {"crp": "mg/L", "esr": "mm/h", "schober": "cm", "age": "years"}


def main() -> None:
    """Fit on 260 patients, and draw one of the others for whom every modality matters."""
    cohort = af.datasets.make_axspa_cohort(320, random_state=0)
    X, y = cohort.X, cohort.y
    model = af.EarlyFusionClassifier(
        ENCODERS, LogisticRegression(C=0.05, max_iter=5000), verbose=0, random_state=0
    )
    model.fit(X[:260], y[:260])
    whole = X[260:].dropna(subset=["clinical_note", "pelvis_xray", "crp", "esr", "schober"])
    ill = whole[y[whole.index] == 1]
    values = af.explain(model, ill, verbose=0).modalities[list(ENCODERS)].to_numpy()
    told = ill.iloc[np.argsort(-np.abs(values).min(axis=1))[:8]]
    # What lies within the modalities is computed when it is drawn, for every row asked for.
    explanation = af.explain(model, told, background=X[:260], units=UNITS, verbose=0)
    # All parts share one scale: of these patients the one whose film does not dwarf the others.
    sizes = [max(abs(film.total), abs(film.elsewhere)) for film in explanation["xray"]]
    explanation.plot_patient(int(np.argmin(sizes))).savefig(FILE, dpi=110)
    picture = Image.open(FILE).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    picture.save(FILE, optimize=True)


if __name__ == "__main__":
    main()
