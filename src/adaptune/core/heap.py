"""Memory that was freed stays with the process, for the next step. Knows no tensors."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""
LARGEST_MMAP_THRESHOLD = 32 * 2**20
"""glibc takes no larger one where pointers have 64 bits."""
NEVER = 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Let glibc hand freed memory out again instead of giving it back to the system; whether it does so from now on.

    Every batch has a shape of its own, and so have its activations of some megabytes: giving them back makes each step
    pay for fresh pages (5 to 15 % of its time on two processors). The process holds its peak for longer; what is larger
    than 32 MB goes back as before. Elsewhere than with glibc nothing is changed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD) and mallopt(M_TRIM_THRESHOLD, NEVER))
