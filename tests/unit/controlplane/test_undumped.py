"""A process that holds keys leaves no core file and is read by nobody of its own user."""

from __future__ import annotations

import subprocess
import sys

KEPT = """
import ctypes, os, resource
from controlplane.undumped import keep_memory
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
keep_memory()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0  # PR_GET_DUMPABLE
# A key still reaches OpenSSL by a file in memory.
file = os.memfd_create("key")
os.write(file, b"kept")
print(open(f"/proc/self/fd/{file}").read())
"""


def test_core_dumps_are_off_and_files_in_memory_can_still_be_read() -> None:
    said = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=False)
    assert said.stdout.strip() == "kept", said.stderr
