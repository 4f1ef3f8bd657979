"""A control plane may have as many connections as the system lets it."""

from __future__ import annotations

import subprocess
import sys

LOWERED = """
import resource
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
from controlplane.cli.run import allow_connections
allow_connections()
soft, now = resource.getrlimit(resource.RLIMIT_NOFILE)
assert soft == now == hard > 64, (soft, now, hard)
print("raised")
"""


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    said = subprocess.run([sys.executable, "-c", LOWERED], capture_output=True, text=True, check=False)
    assert said.stdout.strip() == "raised", said.stderr
