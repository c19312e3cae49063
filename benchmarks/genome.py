"""A risk score of 100,000 variants in 5,000 people: `risk_score` beside PLINK 2 and bed-reader.

Run: ``python benchmarks/genome.py [--variants 100000 --people 5000]``

All read the same bed file, of which 1 % of calls are missing. PLINK 2, where it is installed, is
the program that is made for this: it gets weights of the alleles of the file, so that it has
nothing to compare, and fills in means. In numpy the usual way reads every call as float32 and
multiplies by the weights, with missing calls as they are (the scores of nearly everyone are then
NaN) or filled with the mean of their variant; the best one reads some thousand variants at a time
as bytes, and makes float32 of those that are in the cache. asfusion opens the three files,
compares the alleles of every variant with those of the weights, fills in means, and counts what is
missing; its loop is compiled once per process, which is timed apart, as is the sum without the
rest, which is what the others do. Each run is a process of its
own on one thread, which reports its processor time (so that a busy machine spoils little) and its
largest memory; they take turns, and ratios are those of neighbours. Scores are compared with a
plain sum in double precision.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ALLELES = np.array(["AC", "GT", "CT", "AG"])


def write_files(folder: Path, n: int, n_variants: int) -> None:
    rng = np.random.default_rng(0)
    codes = np.array([3, 2, 0], dtype=np.uint8)
    with (folder / "g.bed").open("wb") as file:
        file.write(b"\x6c\x1b\x01")
        for start in range(0, n_variants, 1000):
            shape = (min(1000, n_variants - start), -(-n // 4) * 4)
            share = rng.uniform(0.01, 0.5, (shape[0], 1)).astype(np.float32)
            copies = (rng.random((2, *shape), dtype=np.float32) < share).sum(axis=0)
            calls = codes[copies]
            calls[rng.random(shape, dtype=np.float32) < 0.01] = 1
            calls[:, n:] = 0
            parts = [calls[:, i::4] << (2 * i) for i in range(4)]
            file.write((parts[0] | parts[1] | parts[2] | parts[3]).tobytes())
    first, second = (ALLELES[np.arange(n_variants) % 4].view("U1").reshape(-1, 2)).T
    table = pd.DataFrame({
        "chrom": np.arange(n_variants) * 22 // n_variants + 1,
        "id": [f"rs{i}" for i in range(n_variants)],
        "cm": 0, "pos": np.arange(n_variants) + 1, "first": first, "second": second,
    })  # fmt: skip
    table.to_csv(folder / "g.bim", sep="\t", header=False, index=False)
    people = pd.DataFrame({c: [f"s{i}" for i in range(n)] for c in ("family", "sample")})
    people = people.assign(father=0, mother=0, sex=0, phenotype=-9)
    people.to_csv(folder / "g.fam", sep="\t", header=False, index=False)
    # Half of the weights are of the other allele, a tenth of those of the other strand, too.
    flip = rng.random(n_variants) < 0.5
    effect, other = np.where(flip, second, first), np.where(flip, first, second)
    turn = rng.random(n_variants) < 0.1
    strand = dict(zip("ACGT", "TGCA", strict=True))
    for side in (effect, other):
        side[turn] = [strand[a] for a in side[turn]]
    weights = pd.DataFrame({"id": table["id"], "effect_allele": effect, "other_allele": other})
    weights["weight"] = rng.normal(scale=0.01, size=n_variants)
    weights.to_parquet(folder / "weights.parquet")
    np.save(folder / "flip.npy", flip)
    own = pd.DataFrame({"id": table["id"], "allele": np.where(flip, second, first)})
    own.assign(weight=weights["weight"]).to_csv(folder / "own.tsv", sep="\t", index=False)


def plain_sum(folder: Path, n: int, n_variants: int) -> np.ndarray:
    """Return the scores by numpy alone, in double precision."""
    weights = pd.read_parquet(folder / "weights.parquet")["weight"].to_numpy()
    flip = np.load(folder / "flip.npy", allow_pickle=False)
    copies = np.array([2.0, np.nan, 1.0, 0.0])
    width = -(-n // 4)
    calls = np.memmap(folder / "g.bed", dtype=np.uint8, mode="r", offset=3)
    calls = calls.reshape(n_variants, width)
    total = np.zeros(n)
    for start in range(0, n_variants, 500):
        part = np.asarray(calls[start : start + 500])
        two_bits = np.stack([(part >> (2 * i)) & 3 for i in range(4)], axis=2)
        dosages = copies[two_bits.reshape(len(part), -1)[:, :n]]
        dosages = np.where(flip[start : start + 500, None], 2.0 - dosages, dosages)
        mean = np.nanmean(dosages, axis=1, keepdims=True)
        dosages = np.where(np.isnan(dosages), mean, dosages)
        total += (dosages * weights[start : start + 500, None]).sum(axis=0)
    return total


def by_asfusion(folder: Path) -> tuple[dict[str, float], np.ndarray]:
    # Imports are timed for nobody.
    import bed_reader  # noqa: F401
    import polars  # noqa: F401

    from asfusion.genomics import _kernel, read_plink, risk_score
    from asfusion.genomics._sums import weighted_sums

    weights = pd.read_parquet(folder / "weights.parquet")
    begun = time.process_time()
    words = np.zeros((16, 1), dtype=np.uint64)
    some = np.zeros(16)
    _kernel.count_and_add(
        words, words[0], some, some > 0, some, np.zeros(32), np.zeros(32, np.int32),
        np.zeros((16, 3), np.int64), 16,
    )  # fmt: skip
    compiled = time.process_time()
    genotypes = read_plink(folder / "g.bed")
    opened = time.process_time()
    found = risk_score(genotypes, weights)
    ended = time.process_time()
    used = found.harmonised.used
    parts = [used[name].to_numpy() for name in ("variant", "weight", "flipped")]
    prepared = time.process_time()
    weighted_sums(genotypes, *parts, np.full(len(used), np.nan))
    times = {
        "seconds": ended - compiled, "open": opened - compiled, "compile": compiled - begun,
        "score": time.process_time() - prepared,
    }  # fmt: skip
    return times, found.scores.to_numpy()


def by_bed_reader(folder: Path, *, fill: bool) -> tuple[dict[str, float], np.ndarray]:
    from bed_reader import open_bed

    weights = pd.read_parquet(folder / "weights.parquet")["weight"].to_numpy()
    flip = np.load(folder / "flip.npy", allow_pickle=False)
    begun = time.process_time()
    with open_bed(folder / "g.bed") as bed:
        dosages = bed.read(dtype="float32", num_threads=1)
    if fill:
        for column in dosages.T:
            missing = np.isnan(column)
            column[missing] = column[~missing].mean()
    signed = np.where(flip, -weights, weights).astype(np.float32)
    scores = dosages @ signed + 2.0 * weights[flip].sum()
    return {"seconds": time.process_time() - begun}, scores


def by_blocks(folder: Path) -> tuple[dict[str, float], np.ndarray]:
    """Multiply some variants at a time, as much as a processor's cache holds."""
    from bed_reader import open_bed

    weights = pd.read_parquet(folder / "weights.parquet")["weight"].to_numpy()
    flip = np.load(folder / "flip.npy", allow_pickle=False)
    begun = time.process_time()
    signed = np.where(flip, -weights, weights).astype(np.float32)
    with open_bed(folder / "g.bed") as bed:
        scores = np.full(bed.iid_count, 2.0 * weights[flip].sum())
        for start in range(0, bed.sid_count, 256):
            part = slice(start, start + 256)
            calls = bed.read(np.s_[:, part], dtype="int8", num_threads=1)
            missing = calls < 0  # -127
            dosages = calls.astype(np.float32)
            dosages[missing] = 0.0
            known = len(calls) - missing.sum(axis=0)
            means = (dosages.sum(axis=0) / known).astype(np.float32)
            own = signed[part]
            scores += dosages @ own + missing.astype(np.float32) @ (means * own)
    return {"seconds": time.process_time() - begun}, scores


def by_plink(folder: Path) -> tuple[dict[str, float], np.ndarray]:
    """Ask PLINK 2; its processor time is that of the whole program."""
    command = [
        str(PLINK), "--bfile", "g", "--score", "own.tsv", "1", "2", "3", "header",
        "cols=scoresums", "--threads", "1", "--memory", "2000", "--out", "plink",
    ]  # fmt: skip
    begun = _of_children()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    seconds = _of_children() - begun
    sums = pd.read_csv(folder / "plink.sscore", sep="\t").iloc[:, -1].to_numpy()
    return {"seconds": seconds}, sums


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_reading(folder: Path) -> tuple[dict[str, float], np.ndarray]:
    buffer = bytearray(4 << 20)
    begun = time.process_time()
    with (folder / "g.bed").open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return {"seconds": time.process_time() - begun}, np.zeros(0)


PLINK = shutil.which("plink2")
WAYS = {
    "asfusion": by_asfusion,
    **({"PLINK 2, --score": by_plink} if PLINK else {}),
    "bed-reader, blocks, means": by_blocks,
    "bed-reader, product": lambda folder: by_bed_reader(folder, fill=False),
    "bed-reader, means, product": lambda folder: by_bed_reader(folder, fill=True),
    "reading the bytes": by_reading,
}


def measure(which: str, folder: Path) -> None:
    """Run one way, write its scores, and print seconds and the largest memory in MB."""
    program = which.startswith("PLINK")
    before = 0 if program else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times, scores = WAYS[which](folder)
    who = resource.RUSAGE_CHILDREN if program else resource.RUSAGE_SELF
    memory = resource.getrusage(who).ru_maxrss / 1024
    np.save(folder / f"{which}.npy", scores)
    print(json.dumps({**times, "MB": memory, "before": before}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=5_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        measure(options.run[0], Path(options.run[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, options.people, options.variants)
        size = (folder / "g.bed").stat().st_size / 1e6
        print(f"{options.variants} variants, {options.people} people, {size:.0f} MB")
        runs: dict[str, list[dict[str, float]]] = {which: [] for which in WAYS}
        for _ in range(options.repeat):
            for which, found in runs.items():
                # -P: a neighbour of this file is named like a package that numba looks for.
                arguments = [sys.executable, "-P", __file__, "--run", which, name]
                said = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
                found.append(json.loads(said.stdout))
        own = runs["asfusion"]
        for which, found in runs.items():
            seconds = np.median([run["seconds"] for run in found])
            memory = max(run["MB"] for run in found)
            extra = max(run["MB"] - run["before"] for run in found)
            ratios = [other["seconds"] / a["seconds"] for a, other in zip(own, found, strict=True)]
            scored = [other["seconds"] / a["score"] for a, other in zip(own, found, strict=True)]
            print(
                f"{which:<28} {seconds:7.3f} s  {memory:6.0f} MB (+{extra:.0f})  ratio "
                f"{np.median(ratios):6.2f} ({min(ratios):.2f} to {max(ratios):.2f}), to the sum "
                f"alone {np.median(scored):6.2f}"
            )
        said = {name: np.median([run[name] for run in own]) for name in own[0]}
        print(
            f"of asfusion: opening {said['open']:.3f} s, comparing alleles "
            f"{said['seconds'] - said['open'] - said['score']:.3f} s, the sum {said['score']:.3f} "
            f"s; compiling, once per process, {said['compile']:.1f} s"
        )
        if not PLINK:
            print("PLINK 2 is not installed: it is left out")
        exact = plain_sum(folder, options.people, options.variants)
        for which in list(WAYS)[:-1]:
            scores = np.load(folder / f"{which}.npy", allow_pickle=False)
            known = ~np.isnan(scores)
            largest = np.abs(scores - exact)[known].max() if known.any() else np.nan
            print(
                f"{which}: {known.sum()} of {len(scores)} scores, largest difference from the "
                f"plain sum {largest:.1e}"
            )


if __name__ == "__main__":
    main()
