"""Readers of databases, exports and archives, beside the best rival of a competent user.

Run: ``python benchmarks/connectors.py --part omop`` (or another file of ``benchmarks/_connectors``)

Each part starts what it needs on the loopback address in a temporary folder, and prints one table
with the limit that it is held to beside each figure.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def parts() -> list[str]:
    """Return the names of the parts: one file each."""
    files = (HERE / "_connectors").glob("*.py")
    return sorted(file.stem for file in files if not file.stem.startswith("_"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", required=True, help=f"one of {', '.join(parts())}")
    parser.add_argument("--rows", type=int, help="events, observations or files of the part")
    parser.add_argument("--rounds", type=int, help="pairs of runs whose median is shown")
    parser.add_argument("--only", nargs="+", help="ways, or another choice of the part")
    parser.add_argument("--quick", action="store_true", help="the smallest run that says something")
    args = parser.parse_args()
    if args.part not in parts():
        raise SystemExit(f"--part: expected one of {', '.join(parts())}, got {args.part!r}.")
    sys.path.insert(0, str(HERE))
    importlib.import_module(f"_connectors.{args.part}").run(args)


if __name__ == "__main__":
    main()
