"""Anatomy first: whether what is looked for is found, and what looking there is worth.

Run: ``python benchmarks/anatomy.py --part joints`` (or another file of ``benchmarks/_anatomy``)

Each part says in its own file what it is trained on and what it is judged on. Settings of a finder
are its defaults, or were chosen on training films only, as the part says.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent


def parts() -> list[str]:
    """Return the names of the parts: one file each."""
    files = (HERE / "_anatomy").glob("*.py")
    return sorted(file.stem for file in files if not file.stem.startswith("_"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=parts(), required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--patients", type=int, help="synthetic patients to learn from")
    parser.add_argument("--epochs", type=int, help="passes of a finder; its default if not given")
    parser.add_argument("--seeds", type=int, default=1, help="how often it is repeated")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="file for a picture of what was found")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sys.path.insert(0, str(HERE))
    importlib.import_module(f"_anatomy.{args.part}").run(args)


if __name__ == "__main__":
    main()
