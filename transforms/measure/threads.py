"""How many threads a worker decodes with."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor


def available_cores() -> int:
    """Returns the cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def decoding_pool(threads: int) -> ThreadPoolExecutor:
    """Returns a pool of `threads` threads; 0 takes one for each core of the worker."""
    return ThreadPoolExecutor(threads or available_cores(), thread_name_prefix="decode")
