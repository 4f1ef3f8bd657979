"""The socket mark that tells the proxy's connections from the app's where there is one user, with a real Envoy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MARK = 1337
REPOSITORY = Path(__file__).parents[2]
SCRIPT = """
import subprocess, sys
from pathlib import Path
from bootstrapped import BootstrappedEnvoy, EmptyControlPlane, certificate
from proxy.bootstrap import BootstrapSettings

folder, mark = Path(sys.argv[1]), int(sys.argv[2]) or None
made = certificate()
(folder / "bundle.pem").write_bytes(made.pem)
(folder / "token").write_text("token")
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["iptables", "-A", "OUTPUT", "-p", "tcp", "-m", "mark", "--mark", "1337"], check=True)
with EmptyControlPlane(made) as control_plane:
    settings = BootstrapSettings(
        control_plane_host="localhost", control_plane_port=control_plane.port, mark=mark,
        ca_file=str(folder / "bundle.pem"), token_file=str(folder / "token"),
    )
    with BootstrappedEnvoy(settings, folder) as envoy:
        envoy.wait_ready()
rules = subprocess.run(["iptables", "-nvxL", "OUTPUT"], check=True, capture_output=True, text=True).stdout
print(rules.splitlines()[-1].split()[0])
"""


def works() -> bool:
    trial = ["unshare", "-Urn", "iptables", "-L"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not works(), reason="needs user namespaces and iptables")
@pytest.mark.parametrize(("mark", "marked"), [(MARK, True), (0, False)])
def test_the_proxys_connections_carry_the_mark_in_a_namespace_of_one_user(
    tmp_path: Path, mark: int, marked: bool
) -> None:
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests/support")])
    command = ["unshare", "-Urn", sys.executable, "-c", SCRIPT, str(tmp_path), str(mark)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    assert (int(done.stdout) > 0) is marked
