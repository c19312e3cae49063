"""Whether explanations find what the synthetic cohort has planted.

Run: ``python benchmarks/planted_causes.py``

Labs and genes: is CRP first among labs, and HLA-B27 among variants, and among loci, of which it is
one together with the SNP that tags it? Notes: how much of the
attribution of words lies on the words that name a planted concept, and how much of the note are
these? Films: a network learns from scratch to tell sacroiliitis of grade 3 or 4; how much of the
strongest attribution on unseen films of such patients lies inside the segmentation of their
joints, and within 5 pixels of it?
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings

import numpy as np
from PIL import Image
from scipy import ndimage
from sklearn.metrics import roc_auc_score

import asfusion as af
from asfusion.datasets._phantoms.pelvis_bones import PelvisLabel

JOINTS = [int(label) for label in PelvisLabel if "SIJ" in label.name or "JOINT" in label.name]
MARGIN = 5


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
    cohort = af.datasets.make_axspa_cohort(
        n, random_state=2, modalities=["labs", "notes"], missing=0.0
    )
    X, y, split = cohort.X[["clinical_note"]], cohort.y, int(0.9 * n)
    encoder = af.TextEncoder("clinical_note", backbone="tfidf")
    for title, model in (
        ("logistic on tf-idf", af.EarlyFusionClassifier({"note": encoder}, verbose=0)),
        ("network on tf-idf", af.JointFusionClassifier({"note": encoder}, verbose=0)),
    ):
        model.set_params(random_state=0).fit(X[:split], y[:split])
        auc = roc_auc_score(y[split:], model.predict_proba(X[split:])[:, 1])
        rows = range(split, split + 30)
        e = af.explain(
            model, X.iloc[list(rows)], background=X[:split], n_samples=32, verbose=0,
        )  # fmt: skip
        found, words, first = [], [], []
        for row, part in zip(rows, e["note"], strict=True):
            marks = np.zeros(len(X["clinical_note"].iloc[row]), dtype=bool)
            own = cohort.mentions[cohort.mentions["row"] == row]
            for start, end in own[["start", "end"]].itertuples(index=False):
                marks[start:end] = True
            # Chunks of neighbouring words share a value; it counts by its share of planted ones.
            inside = np.asarray([marks[span.start : span.end].mean() for span in part.spans])
            size = np.abs([span.value for span in part.spans])
            long = np.asarray([span.end - span.start for span in part.spans])
            found.append((inside * size).sum() / size.sum())
            words.append((inside * long).sum() / long.sum())
            first.append(inside[np.argmax(size)] > 0)
        print(
            f"notes, {title}: AUC {auc:.3f} on {n - split} unseen; {np.mean(found):.2f} of the "
            f"attribution lies on planted words, which are {np.mean(words):.2f} of a note; the "
            f"strongest stretch holds one in {np.mean(first):.2f} of {len(first)} notes"
        )


def films(n: int, size: int, epochs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cohort = af.datasets.make_axspa_cohort(
            n, random_state=1, path=folder, modalities=["xray"], missing=0.0
        )
        grades = cohort.targets[["mny_right", "mny_left"]].to_numpy()
        worst = grades.max(axis=1)
        y = (worst >= 3).astype(int)
        split = int(0.75 * n)
        encoder = af.ImageEncoder("pelvis_xray", size=size)
        begun = time.perf_counter()
        model = af.JointFusionClassifier(
            {"film": encoder}, max_epochs=epochs, learning_rate=3e-3, class_weight="balanced",
            early_stopping=False, verbose=0, random_state=0,
        )  # fmt: skip
        model.fit(cohort.X[:split], y[:split])
        auc = roc_auc_score(y[split:], model.predict_proba(cohort.X[split:])[:, 1])
        print(f"films: AUC {auc:.3f} on {n - split} unseen, {time.perf_counter() - begun:.0f} s")
        rows = split + np.flatnonzero(y[split:])
        for method in ("grad_cam", "integrated_gradients", "occlusion"):
            e = af.explain(
                model, cohort.X.iloc[rows], background=cohort.X[:10], image_method=method, verbose=0
            )
            shares, chance, within = [], [], []
            for part, row in zip(e["film"], rows, strict=True):
                with Image.open(cohort.segmentations[row]) as image:
                    labels = np.asarray(image)
                joints = np.isin(labels, JOINTS)
                near = ndimage.binary_dilation(joints, iterations=MARGIN)
                on_file = part.at_original()
                within.append(on_file.top_share(joints, 0.1))
                shares.append(on_file.top_share(near, 0.1))
                chance.append((joints.mean(), near.mean()))
            inside, around = np.mean(chance, axis=0)
            print(
                f"  {method}: {np.nanmean(within):.2f} of the top tenth of attribution lies in "
                f"the joints ({inside:.3f} of the film), {np.nanmean(shares):.2f} within {MARGIN} "
                f"pixels of them ({around:.3f}); {len(rows)} films"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=800)
    parser.add_argument("--films", type=int, default=400)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--part", choices=("all", "tables", "notes", "films"), default="all")
    options = parser.parse_args()
    # Grad-CAM says so where its map does not add up, film by film.
    warnings.simplefilter("ignore", af.exceptions.AsfusionWarning)
    if options.part in ("all", "tables"):
        tables(options.patients)
    if options.part in ("all", "notes"):
        notes(options.patients)
    if options.part not in ("all", "films"):
        return
    films(options.films, options.size, options.epochs)


if __name__ == "__main__":
    main()
