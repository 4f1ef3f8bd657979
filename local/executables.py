"""The programs a local cluster runs, and where they are looked for.

Rule: the folder of the running Python comes first (`envoy`, `python`), then the system's, `sbin` included even where a
person's PATH leaves it out.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

SYSTEM = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def search_path() -> str:
    """The PATH of everything that runs inside a node."""
    # Not resolved: a virtual environment's python is a link, and its neighbours are what counts.
    return os.pathsep.join([str(Path(sys.executable).parent.absolute()), *SYSTEM])


def executable(name: str) -> str:
    """The program's full path. Raises FileNotFoundError, whose text names it."""
    found = shutil.which(name, path=search_path())
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found
