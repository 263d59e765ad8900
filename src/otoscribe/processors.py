"""How many processors there are to work on."""

import os


def cores() -> int:
    """Return how many CPU cores this process may use."""
    # Fewer than the machine's where a container or taskset allows fewer.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
