"""The sandbox of a pod: a process that holds its network namespace, wired to the node's bridge (the pause container).

Rule: everything of a pod's network lives and dies with its namespaces; `ip` is run once per pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from local.executables import executable, search_path

BRIDGE = "weft0"

HOLD = """
hostname "$1"
# As in containerd: a container's user may listen on any port, and ping.
echo 0 2>/dev/null > /proc/sys/net/ipv4/ip_unprivileged_port_start || :
ip -batch - <<END
link add eth0 type veth peer name $2 netns 1
link set lo up
address add $3 dev eth0
link set eth0 up
route add default via $4
END
nsenter --target=1 --net -- ip link set "$2" master weft0 up
echo ready
exec sleep infinity
"""


class SandboxError(Exception):
    """A pod's network could not be made; the text is what the tools said."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A pod's namespaces: the process that holds them, as the node numbers it."""

    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        """The process that holds the namespaces."""
        return self.process.pid

    async def close(self) -> None:
        """End every process in the pod's network namespace; with the last one the kernel takes it back."""
        for pid in members(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.process.wait()


async def open_sandbox(name: str, number: int, address: str, network: IPv4Network) -> Sandbox:
    """Make a pod's namespaces; `number` names its end on the bridge. Raises SandboxError."""
    script = [executable("unshare"), "--net", "--uts", "--", "/bin/sh", "-ec", HOLD, "sandbox"]
    process = await asyncio.create_subprocess_exec(
        *script, name, f"weft{number}", f"{address}/{network.prefixlen}", str(network[1]),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PATH": search_path()}, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None  # noqa: S101 - PIPE was asked for
    assert process.stderr is not None  # noqa: S101
    sandbox = Sandbox(process)
    try:
        ready = await process.stdout.readline()
    except asyncio.CancelledError:
        await sandbox.close()
        raise
    if not ready:
        said = (await process.stderr.read()).decode(errors="replace").strip()
        await process.wait()
        raise SandboxError(f"its network could not be made: {said}")
    return sandbox


async def open_bridge(network: IPv4Network) -> None:
    """Make the node's bridge, with the gateway's address. Raises SandboxError."""
    batch = "\n".join([
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        f"address add {network[1]}/{network.prefixlen} dev {BRIDGE}",
        f"link set {BRIDGE} up",
        # An address that nobody has is refused at once: the node answers instead of staying silent.
        "route add unreachable default",
    ])  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        executable("ip"), "-batch", "-",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate(batch.encode())
    if process.returncode:
        raise SandboxError(f"the bridge could not be made: {said.decode(errors='replace').strip()}")
    _set("ipv4/ip_forward", "1")
    _set("bridge/bridge-nf-call-iptables", "0")


def _set(setting: str, value: str) -> None:
    # Where these are not writable, things work as well, only slower to fail.
    with contextlib.suppress(OSError):
        Path("/proc/sys/net", setting).write_text(value)


def members(holder: int) -> list[int]:
    """The processes in the network namespace that `holder` holds; none when it is gone."""
    try:
        namespace = Path(f"/proc/{holder}/ns/net").readlink()
    except OSError:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "ns/net").readlink() == namespace:
                found.append(int(entry.name))
    return found
