"""Keys stay in memory: no core file of this process, and no other process of the same user that reads it.

Rule: for processes that hold keys of the mesh, called before there are any. Root can look all the same.
Source: prctl(2), PR_SET_DUMPABLE; core(5).
"""

from __future__ import annotations

import ctypes
import resource
from typing import Final

PR_SET_DUMPABLE: Final = 4


def keep_memory() -> None:
    """Switch core dumps off, by the limit and by the flag: a pipe in core_pattern does not ask for the limit.

    Raises OSError where the kernel refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "core dumps could not be switched off")
