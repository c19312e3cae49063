"""Draw the cheat sheet: the library on one page of A4, as SVG and PDF.

Run from the repository: ``python docs/extensions/draw_cheat_sheet.py``. It writes
``docs/assets/cheat-sheet.svg`` and ``.pdf`` in seconds. Lines that start with two spaces are code.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ASSETS = Path(__file__).resolve().parents[1] / "assets"
WIDTH, HEIGHT = 11.69, 8.27  # A4, landscape, in inches
INK, QUIET, ACCENT = "#1c2733", "#5b6875", "#00796b"
LINE, SIZE = 0.168, 7.8  # inches between lines, and points of a letter
TOP, LEFT, GAP = 0.86, 0.35, 0.16
COMMENT = 1.82  # where words beside code begin, in inches

# Column by column: the title of each part, and its lines of words and of code.
COLUMNS = (
    (
        (
            "Data",
            """One row per patient or visit; films are paths,
            notes are text. Any cell or modality may be missing.
              import asfusion as af
              table = pd.read_csv("patients.csv")
              X, y = table.drop(columns="axspa"), table["axspa"]
              overview = af.look(X, y, groups=patients)
              wide = af.LabEvents(codes).transform(events, visits)
              af.find_duplicates(X, patients)
            Nobody's data, to try:
              cohort = af.datasets.make_axspa_cohort(200)""",
        ),
        (
            "Encoders: one for each modality",
            """  af.TabularEncoder(["age", "sex", "crp"])
              af.ImageEncoder("film", backbone="efficientnet_lite0")
              af.RegionEncoder(...)       anatomy, found first
              af.VolumeEncoder(...)       MRI and CT in 3-D
              af.SliceEncoder(...)        MRI slice by slice
              af.TextEncoder("note", backbone="tfidf")
              af.ConceptEncoder("note")   findings, negation
              af.VisitEncoder(...)        irregular times
              af.GenotypeEncoder(...)     PLINK, VCF, scores
            All together, chosen from the columns:
              encoders = af.infer_encoders(X, y, groups)
            Large networks: mode="frozen", "last_block",
            "lora" or "full".""",
        ),
        (
            "Missing",
            """A missing cell is filled and flagged; a missing
            modality is left out of the sum. Nothing is dropped.
              model.predict_proba(X.assign(film=None))""",
        ),
    ),
    (
        (
            "Fusion: three families, and their average",
            """  af.EarlyFusionClassifier(encoders, XGBClassifier())
                features side by side, any scikit-learn model
              af.JointFusionClassifier(encoders, fusion="gated")
                one network: concat, gated, attention, low_rank,
                film, bottleneck, latents, mixture, evidential ...
              af.LateFusionClassifier(encoders, combine="stacking")
                one model each, decisions combined
              af.AutoFusionClassifier(encoders)
                an average of those that help
            All of them:
              model.fit(X, y, groups=patients)
              model.predict_proba(X_new)""",
        ),
        (
            "What is predicted",
            """  ...Classifier    classes, and grades in order
              ...Regressor     numbers, counts, scores
              ...Multilabel    several labels, some not known
              ...Survival      time to an event, censored
              af.targets.Grades, af.targets.Counts, af.targets.Bounded""",
        ),
        (
            "Judge",
            """  af.evaluate(model, X, y, groups=patients)
              af.cross_validate(model, X, y, groups=patients)
              af.compare(X, y, encoders, groups=patients)
                every fusion against every modality alone
              af.audit_subgroups(model, X, y, by=X["sex"])
              af.RecalibratedClassifier(model)
              af.ConformalClassifier(model)
              af.stress(model, X, y)      photographs, blur, crops
            Reports: print(r), r.plot(), r.to_html("r.html")""",
        ),
    ),
    (
        (
            "Explain",
            """  e = af.explain(model, X_new, background=X)
              e.plot_patient(0)
              e["labs"].waterfall(0)      values of columns
              e["notes"][0]               words, marked
              e["film"][0]                regions, overlaid
              e.check()                   when not to trust it
              e.to_html("patients.html")""",
        ),
        (
            "Ship",
            """  model.save("model.asf")     no pickle inside
              model = af.load("model.asf")
              af.export(model, "model.onnx", X)
              af.serving.OnnxModel("model.onnx")
              $ asfusion serve model.asf  over HTTP
              $ asfusion page model.asf   for a clinician""",
        ),
        (
            "Sites",
            """  af.sites.make_reference(model, X, y, groups=patients)
              af.external_validation(model, X, y, reference=r)
              af.site_probe(model, X, site)
              af.federated.simulate(model, X, y, hospital)
              $ asfusion federate         over Flower, with TLS""",
        ),
        (
            "Clinic",
            """  af.clinical.basdai(...)     BASFI, BASMI, ASDAS, mSASSS
              af.BasdaiRegressor().fit(X, basdai)
              af.corners                  24 corners of the spine
              af.anatomy                  finders of regions
            Units are declared, never guessed.""",
        ),
        (
            "Command line",
            """  $ asfusion demo
              $ asfusion look patients.csv --target y --group id
              $ asfusion fit patients.csv --target y --out model.asf
              $ asfusion predict model.asf new.csv --out p.csv
              $ asfusion compare patients.csv --target y""",
        ),
    ),
)
FONTS = {"font.family": "DejaVu Sans", "svg.fonttype": "path", "svg.hashsalt": "asfusion"}


def main() -> None:
    """Write the sheet in both formats, the same bytes each time."""
    with mpl.rc_context(FONTS):
        figure = draw()
        figure.savefig(ASSETS / "cheat-sheet.svg", metadata={"Date": None})
        figure.savefig(ASSETS / "cheat-sheet.pdf", metadata={"CreationDate": None})


def draw() -> Figure:
    """Return the sheet."""
    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    axes.set_axis_off()
    axes.text(LEFT, 0.5, "asfusion", size=19, weight="bold", color=INK, va="center")
    said = "images, notes, labs, visits and genome in one prediction, and what each part of it said"
    axes.text(LEFT + 1.75, 0.52, said, size=9.5, color=QUIET, va="center")
    width = (WIDTH - 2 * LEFT - GAP * (len(COLUMNS) - 1)) / len(COLUMNS)
    for number, parts in enumerate(COLUMNS):
        _column(axes, parts, LEFT + number * (width + GAP), width)
    foot = "A research tool, not a medical device.  Apache-2.0"
    axes.text(WIDTH - LEFT, HEIGHT - 0.2, foot, size=6.5, color=QUIET, ha="right", va="center")
    return figure


def _column(axes: Axes, parts: tuple[tuple[str, str], ...], left: float, width: float) -> None:
    """Draw boxes below each other, with the room that is left between them."""
    heights = [0.4 + LINE * len(text.splitlines()) for _, text in parts]
    gap = (HEIGHT - TOP - 0.36 - sum(heights)) / max(len(parts) - 1, 1)
    top = TOP
    for (title, text), height in zip(parts, heights, strict=True):
        _box(axes, left, top, width, height)
        axes.text(left + 0.12, top + 0.17, title, size=9, weight="bold", color=ACCENT, va="center")
        _lines(axes, text, left + 0.12, top + 0.4)
        top += height + gap


def _box(axes: Axes, left: float, top: float, width: float, height: float) -> None:
    style = "round,pad=0,rounding_size=0.06"
    box = FancyBboxPatch((left, top), width, height, boxstyle=style, fc="#f6f9f9", ec="#c9d6d4")
    axes.add_patch(box)


def _lines(axes: Axes, text: str, left: float, top: float) -> None:
    """Write code in a narrow font and in ink, words quietly."""
    mono = {"family": "DejaVu Sans Mono", "size": SIZE - 0.9, "va": "center"}
    for number, line in enumerate(text.splitlines()):
        shown = line.removeprefix(" " * 12) if number else line
        height = top + number * LINE
        if not shown.startswith("  ") or shown.startswith("    "):
            indent = 0.16 if shown.startswith("    ") else 0.0
            axes.text(left + indent, height, shown.strip(), size=SIZE, color=QUIET, va="center")
            continue
        code, _, words = shown.strip().partition("  ")
        axes.text(left, height, code, color=INK, **mono)
        axes.text(left + COMMENT, height, words.strip(), size=SIZE - 0.6, color=QUIET, va="center")


if __name__ == "__main__":
    main()
