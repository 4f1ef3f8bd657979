"""Any number of processes may open one folder for the first time at once: there is one CA and one signing key."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

OPEN = """
import json, hashlib, sys
from datetime import timedelta
from pathlib import Path
from ca.authority import Authority
from ca.tokens import TokenIssuer
from mesh.model import Identity
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
authority = Authority.open(folder, "cluster.local")
issuer = TokenIssuer.open(folder, "cluster.local")
leaf = authority.server_certificate(["localhost"], [])
token = issuer.issue(Identity("cluster.local", "n", "s"), None, timedelta(hours=1))
digest = hashlib.sha256(authority.bundle_pem() + leaf.chain_pem[leaf.chain_pem.index(b"-----END"):]).hexdigest()
print(json.dumps([digest, token.split(".")[0]]))
"""


def test_four_processes_that_open_at_once_get_one_authority(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [json.loads(process.communicate(timeout=60)[0].splitlines()[-1]) for process in processes]
    assert len({tuple(answer) for answer in answers}) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["intermediate.pem", "lock", "root.pem", "tokens.pem"]


def test_a_process_killed_at_any_touch_of_the_disk_leaves_a_folder_that_opens(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILL, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    kills, left_behind = json.loads(done.stdout.splitlines()[-1])
    assert kills > 15, "it was killed at many places"
    assert left_behind == ["intermediate.pem", "lock", "root.pem", "tokens.pem"]


KILL = """
import json, os, signal, sys
from pathlib import Path
from ca.authority import Authority
from ca.tokens import TokenIssuer

def open_both(folder):
    authority = Authority.open(folder, "cluster.local")
    TokenIssuer.open(folder, "cluster.local")
    return authority

def open_and_die(folder, calls):
    def deadly(real):
        def call(*arguments, **options):
            nonlocal calls
            calls -= 1
            if calls == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)
        return call
    for name in ("mkdir", "open", "fsync", "replace", "unlink", "close"):
        setattr(os, name, deadly(getattr(os, name)))
    open_both(folder)
    os._exit(0)

names = set()
for kills in range(1000):
    folder = Path(sys.argv[1]) / str(kills)
    child = os.fork()
    if child == 0:
        open_and_die(folder, kills + 1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    had_root = (folder / "root.pem").exists() and (folder / "root.pem").read_bytes()
    bundle = open_both(folder).bundle_pem()
    assert not had_root or had_root.startswith(bundle), "a root was replaced"
    names |= {path.name for path in folder.iterdir()}
    if status == 0:
        break
print(json.dumps([kills, sorted(names)]))
"""
