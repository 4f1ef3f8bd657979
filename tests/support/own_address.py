"""An address of this machine outside 127.0.0.0/8, on the loopback device.

Rule: API servers refuse endpoints in 127.0.0.0/8; nobody outside is told of this one. It takes root, and goes with the
block.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_address() -> Iterator[str | None]:
    """The address, another for each process; None where it can't be had."""
    number = os.getpid() % 65_000 + 1
    address = f"10.79.{number >> 8}.{number & 255}"
    made = _ip("address", "add", f"{address}/32", "dev", "lo")
    try:
        yield address if made else None
    finally:
        if made:
            _ip("address", "del", f"{address}/32", "dev", "lo")


def _ip(*words: str) -> bool:
    try:
        return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
