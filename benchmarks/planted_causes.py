"""Whether explanations find what the synthetic cohort has planted.

Run: ``python benchmarks/planted_causes.py``

Labs and genes: is CRP first among labs, and HLA-B27 among variants, and among loci, of which it is
one together with the SNP that tags it? Notes: how much of the
attribution of words lies on the words that name a planted concept, and how much of the note are
these; are the concepts that weigh most those that tell most apart? Films: EfficientNet-Lite0, all
of it trained on, learns to tell sacroiliitis of grade 3 or 4; how much of the strongest
attribution on unseen films of such patients lies where the disease changed the film, how much
inside the segmentation of their joints, a line less than 4 mm wide, and how much within 5 and 15 mm
of it? Erosion and sclerosis are drawn into the bone beside the joint, up to some 15 mm.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from sklearn.metrics import roc_auc_score

import asfusion as af
from asfusion.datasets._phantoms.pelvis_bones import PelvisLabel

JOINTS = [int(label) for label in PelvisLabel if "SIJ" in label.name or "JOINT" in label.name]
# Inside the joint space; around it; and as far as sclerosis of grade 4 is drawn into the bone.
REACH = (0.0, 5.0, 10.0, 15.0)
UNSEEN = 200  # films that explanations are judged on


def tables(n: int) -> None:
    cohort = af.datasets.make_axspa_cohort(n, random_state=0, modalities=["labs", "genes"])
    X, y = cohort.X, cohort.y
    genes = ["hla_b27", *[c for c in X if c.startswith(("rs", "syn"))]]
    labs = ["crp", "esr", "wbc", "neutrophils", "lymphocytes", "platelets", "haemoglobin"]
    rest = [c for c in X if c not in {*genes, *labs}]
    encoders = {
        "labs": af.TabularEncoder(labs),
        "person": af.TabularEncoder(rest),  # age, sex, habits, mobility
        "genes": af.GenotypeEncoder(genes, hla_b27="hla_b27", annotation="published"),
    }
    split = int(0.9 * n)
    for model in (
        af.EarlyFusionClassifier(encoders, verbose=0, random_state=0),
        af.JointFusionClassifier(encoders, "gated", verbose=0, random_state=0),
    ):
        model.fit(X[:split], y[:split])
        auc = roc_auc_score(y[split:], model.predict_proba(X[split:])[:, 1])
        rows = X[split : split + 30]
        e = af.explain(model, rows[rows.notna().any(axis=1)], background=X[:split], verbose=0)
        print(f"{type(model).__name__}: AUC {auc:.3f} on {n - split} unseen patients")
        found = {name: e[name] for name in encoders}
        for name, part in {**found, "loci": e["genes"].by_locus()}.items():
            size = np.abs(part.values[:, 1:]).mean(axis=0)
            order = np.argsort(-size)[:4]
            said = [f"{part.feature_names[i + 1]} {size[i]:.3f}" for i in order]
            print(f"  {name}: {', '.join(said)}")


def notes(n: int) -> None:
    """Judge words of counted notes, and concepts, of which the cohort knows where they stand."""
    cohort = af.datasets.make_axspa_cohort(
        n, random_state=2, modalities=["labs", "notes"], missing=0.0
    )
    X, y, split = cohort.X[["clinical_note"]], cohort.y, int(0.9 * n)
    words = af.TextEncoder("clinical_note", backbone="tfidf", n_components=512)
    model = af.EarlyFusionClassifier({"note": words}, verbose=0, random_state=0)
    auc = learned(model, X, y, split)
    rows = range(split, split + 50)
    e = af.explain(model, X.iloc[list(rows)], background=X[:split], n_samples=128, verbose=0)
    found, planted, first = [], [], []
    for row, part in zip(rows, e["note"], strict=True):
        marks = np.zeros(len(X["clinical_note"].iloc[row]), dtype=bool)
        own = cohort.mentions[cohort.mentions["row"] == row]
        note = X["clinical_note"].iloc[row]
        for start, end in own[["start", "end"]].itertuples(index=False):
            marks[slice(*clause(note, start, end))] = True
        # Chunks of neighbouring words share a value; it counts by its share of planted ones.
        inside = np.asarray([marks[span.start : span.end].mean() for span in part.spans])
        size = np.abs([span.value for span in part.spans])
        long = np.asarray([span.end - span.start for span in part.spans])
        found.append((inside * size).sum() / size.sum())
        planted.append((inside * long).sum() / long.sum())
        first.append(inside[np.argmax(size)] > 0)
    print(
        f"notes, words counted: AUC {auc:.3f} on {n - split} unseen; {np.mean(found):.2f} of the "
        f"attribution lies on clauses with a planted concept ({np.mean(planted):.2f} of a note); "
        f"the strongest stretch holds one in {np.mean(first):.2f} of {len(first)} notes"
    )
    model = af.EarlyFusionClassifier(
        {"note": af.ConceptEncoder("clinical_note")}, verbose=0, random_state=0
    )
    auc = learned(model, X, y, split)
    e = af.explain(model, X.iloc[list(rows)], background=X[:split], verbose=0)
    size = np.abs(e["note"].values[:, 1:]).mean(axis=0)
    names = e["note"].feature_names[1:]
    order = np.argsort(-size)[:8]
    print(f"notes, concepts: AUC {auc:.3f} on the same")
    print("  strongest: " + ", ".join(f"{names[i]} {size[i]:.3f}" for i in order))
    print("  planted:   " + ", ".join(f"{k} {v:.3f}" for k, v in told_apart(cohort, split)[:8]))


def clause(note: str, start: int, end: int) -> tuple[int, int]:
    """Widen a mention to its clause: counted words tell by "15 min" and "denies" around it."""
    before = max(note.rfind(mark, 0, start) for mark in (". ", "; ", ": ", "\n"))
    after = [at for mark in (". ", "; ", "\n") if (at := note.find(mark, end)) >= 0]
    return before + 1, min(after, default=len(note))


def told_apart(cohort: af.datasets.AxSpaCohort, split: int) -> list[tuple[str, float]]:
    """Return concepts by how much their being affirmed differs between cases and others.

    Counted from what the cohort wrote, not from what any reader found in the text.
    """
    told = cohort.mentions[cohort.mentions["row"] < split]
    affirmed = told[told["polarity"].isin(["positive", "historical"])]
    shares = {}
    for concept, rows in affirmed.groupby("concept")["row"]:
        who = np.zeros(split, dtype=bool)
        who[rows] = True
        case = cohort.y[:split] == 1
        shares[str(concept)] = float(abs(who[case].mean() - who[~case].mean()))
    return sorted(shares.items(), key=lambda item: -item[1])


def learned(model: Any, X: pd.DataFrame, y: np.ndarray, split: int) -> float:
    model.fit(X[:split], y[:split])
    return float(roc_auc_score(y[split:], model.predict_proba(X[split:])[:, 1]))


def films(n: int, epochs: int, link: Literal["identity", "logit"], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cohort = af.datasets.make_axspa_cohort(
            n, random_state=seed, path=folder, modalities=["xray"], missing=0.0
        )
        grades = cohort.targets[["mny_right", "mny_left"]].to_numpy()
        worst = grades.max(axis=1)
        y = (worst >= 3).astype(int)
        split = n - UNSEEN
        rows = split + np.flatnonzero(y[split:])
        encoder = af.ImageEncoder("pelvis_xray", backbone="efficientnet_lite0", mode="full")
        begun = time.perf_counter()
        model = af.JointFusionClassifier(
            {"film": encoder}, max_epochs=epochs, class_weight="balanced", early_stopping=False,
             verbose=0, random_state=0,
        )  # fmt: skip
        model.fit(cohort.X[:split], y[:split])
        auc = roc_auc_score(y[split:], model.predict_proba(cohort.X[split:])[:, 1])
        print(f"films: AUC {auc:.3f} on {n - split} unseen, {time.perf_counter() - begun:.0f} s")
        for method in ("grad_cam", "integrated_gradients", "smoothgrad", "occlusion"):
            e = af.explain(
                model, cohort.X.iloc[rows], background=cohort.X[:10], link=link,
                image_method=method, verbose=0,
            )  # fmt: skip
            shares: dict[str, list[tuple[float, ...]]] = {}
            for part, row in zip(e["film"], rows, strict=True):
                on_file = part.at_original()
                where = regions(cohort, row, on_file.spacing_mm)
                changed = next(iter(where.values()))
                for name, region in where.items():
                    found = (on_file.top_share(region, 0.1), region.mean(), region[changed].mean())
                    shares.setdefault(name, []).append(found)
            print(f"  {method}: top tenth of attribution, {len(rows)} films")
            for name, found in shares.items():
                share, area, own = np.nanmean(found, axis=0)
                print(f"    {share:.2f} {name} ({area:.3f} of the film, {own:.2f} of the change)")


def regions(
    cohort: af.datasets.AxSpaCohort, row: int, spacing_mm: tuple[float, ...]
) -> dict[str, np.ndarray]:
    """Return where a film was changed, and what lies near its joints."""
    with Image.open(cohort.lesions[row]) as image:
        found = {"where the disease changed the film": np.asarray(image) > 0}
    with Image.open(cohort.segmentations[row]) as image:
        joints = np.isin(np.asarray(image), JOINTS)
    away = ndimage.distance_transform_edt(~joints, sampling=spacing_mm)
    return found | {f"within {reach:g} mm of the joint line": away <= reach for reach in REACH}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=800)
    parser.add_argument("--notes", type=int, default=4000)
    parser.add_argument("--films", type=int, default=1300)
    parser.add_argument("--seed", type=int, default=1)  # of the films
    parser.add_argument("--epochs", type=int, default=10)
    # Of a sure prediction, the probability no longer moves; its log odds do.
    parser.add_argument("--link", choices=("identity", "logit"), default="logit")
    parser.add_argument("--part", choices=("all", "tables", "notes", "films"), default="all")
    options = parser.parse_args()
    # Grad-CAM says so where its map does not add up, film by film.
    warnings.simplefilter("ignore", af.exceptions.AsfusionWarning)
    if options.part in ("all", "tables"):
        tables(options.patients)
    if options.part in ("all", "notes"):
        notes(options.notes)
    if options.part not in ("all", "films"):
        return
    films(options.films, options.epochs, options.link, options.seed)


if __name__ == "__main__":
    main()
