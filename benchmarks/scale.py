"""Speed, memory and spread over processes and devices, beside the best rival of a competent user.

Run: ``python benchmarks/scale.py --part tables`` (or another file of ``benchmarks/_scale``)

Each part prints one table in which both sides ran in turns, with the limit that it is held to
beside each figure. What counts is processor time unless a part says otherwise: a machine that
others use, too, makes the wall clock long for both. Figures are medians over pairs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def parts() -> list[str]:
    """Return the names of the parts: one file each."""
    files = (HERE / "_scale").glob("*.py")
    return sorted(file.stem for file in files if not file.stem.startswith("_"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", required=True, help=f"one of {', '.join(parts())}")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sizes", nargs="+", help="sizes of the part, such as 100000x200")
    parser.add_argument("--rounds", type=int, help="pairs of runs whose median is shown")
    parser.add_argument("--only", nargs="+", help="models, or another choice of the part")
    parser.add_argument("--quick", action="store_true", help="the smallest run that says something")
    args = parser.parse_args()
    if args.part not in parts():
        raise SystemExit(f"--part: expected one of {', '.join(parts())}, got {args.part!r}.")
    sys.path.insert(0, str(HERE))
    importlib.import_module(f"_scale.{args.part}").run(args)


if __name__ == "__main__":
    main()
