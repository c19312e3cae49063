"""How much memory there may be, and how much there is."""

from __future__ import annotations

import os
from pathlib import Path

from asfusion._checks import check_number
from asfusion.exceptions import ConfigurationError

BLOCK_BYTES = 2**25  # of rows that are in memory together, read or made
# What a fit keeps of each row, whatever its width: target, weights, groups, what a model says.
ROW_BYTES = 100
SORTED_BYTES = 70  # of each cell of a column while its quantiles are learned, copies included
_FIXED_BYTES = 6 * 10**8  # libraries, and blocks with their copies


def check_memory(memory_gb: object, n_rows: int) -> float:
    """Return the bound, or raise unless it has room for what every row and library takes."""
    bound = check_number(memory_gb, "memory_gb", minimum=0.0)
    needed = (_FIXED_BYTES + n_rows * (ROW_BYTES + SORTED_BYTES)) / 1e9
    if bound < needed:
        msg = (
            f"memory_gb: expected at least {needed:.2g} for {n_rows} rows, whose targets, weights "
            f"and predictions stay in memory, got {bound:g}."
        )
        raise ConfigurationError(msg)
    return bound


def resident_bytes() -> int:
    """Return the memory that this process takes; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * int(os.sysconf("SC_PAGE_SIZE"))
