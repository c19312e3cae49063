"""How long `import asfusion` takes beyond starting Python.

Usage: python benchmarks/import_time.py [repetitions]

Prints the medians of fresh interpreters, taken in turns so that a busy machine slows both,
and beside them the import of the packages that asfusion postpones.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

STATEMENTS = {
    "bare Python": "pass",
    "import asfusion": "import asfusion",
    "import torch, sklearn, pandas": "import torch, sklearn, pandas",
}
LIMIT_MS = 100.0


def seconds(statement: str) -> float:
    """Return the wall time of a fresh interpreter that runs `statement`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(repetitions):
        for name, statement in STATEMENTS.items():
            times[name].append(seconds(statement))
    medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
    bare = medians["bare Python"]
    print(f"{'':<32}{'ms':>8}{'above bare':>13}")
    for name, median in medians.items():
        print(f"{name:<32}{median:>8.1f}{median - bare:>13.1f}")
    above = medians["import asfusion"] - bare
    verdict = "within" if above < LIMIT_MS else "ABOVE"
    print(f"import asfusion is {verdict} the budget of {LIMIT_MS:.0f} ms above bare Python.")


if __name__ == "__main__":
    main()
