"""How a container starts: the one command line that enters the pod, mounts its files, becomes its user and runs it.

Rule: pure. Every step replaces the one before (`exec`), so the process that was started *is* the container. Mounts
live in the container's own mount namespace; the machine's files are never written to.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.environment import Missing
from local.executables import executable
from local.podspec import Container, PodSpec

DEFAULT_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL",
)  # fmt: skip
"""What root has in a container unless it drops it: the defaults of containerd and CRI-O."""


RUN = Path("/run")
"""The folder of a container that is its own; /var/run leads there."""


@dataclass(frozen=True, slots=True)
class User:
    """Who a container runs as, and the capabilities it keeps."""

    uid: int
    gid: int
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of the node, and where a container sees it."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True)
class RunningContainer:
    """A started container: `pid` as the node numbers it, and the words that become its user (`becoming`)."""

    pid: int
    becoming: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def user(spec: PodSpec, container: Container, *, many_users: bool) -> User:
    """Who a container runs as. Where only one user exists (an unprivileged node) it is that one."""
    asked = container.security_context.capabilities
    uid, gid = spec.user(container), spec.group(container)
    dropped = set(asked.drop)
    default = DEFAULT_CAPABILITIES if uid == 0 and "ALL" not in dropped else ()
    kept = tuple(name for name in default if name not in dropped)
    capabilities = tuple(dict.fromkeys((*kept, *asked.add)))
    return User(uid, gid, capabilities) if many_users else User(0, 0, capabilities)


def becoming(person: User, *, many_users: bool) -> list[str]:
    """The words that become this user, for good, and then run what follows them."""
    bounding = ",".join(["-all", *(f"+{name.lower().removeprefix('cap_')}" for name in person.capabilities)])
    switch = [f"--reuid={person.uid}", f"--regid={person.gid}", "--clear-groups"] if many_users else []
    return [executable("setpriv"), *switch, "--inh-caps=-all", f"--bounding-set={bounding}", "--no-new-privs", "--"]


def container_command(sandbox: int, script: str, become: Sequence[str], command: Sequence[str]) -> list[str]:
    """The words that start a container in the pod whose namespaces the process `sandbox` holds."""
    return [
        executable("nsenter"), f"--target={sandbox}", "--net", "--uts", "--",
        executable("unshare"), "--mount", "--",
        "/bin/sh", "-ec", script, "container",
        *become, *command,
    ]  # fmt: skip


def entering(container: RunningContainer) -> list[str]:
    """The words that run what follows them inside a running container, as its user."""
    namespaces = [f"--target={container.pid}", "--net", "--mount", "--uts", "--"]
    return [executable("nsenter"), *namespaces, *container.becoming]


def mount_script(scratch: Path, mounts: Sequence[Mount], folder: str, hidden: Path) -> str:
    """The script that makes a container's view of the files and then runs its arguments in `folder`.

    `/run` is a fresh tmpfs; `scratch` is an empty folder it is prepared in, so that sources below `/run` stay
    reachable. `hidden`, where the mesh's keys are, is shown empty: modes don't keep out a container that runs as the
    user they belong to. Raises Missing for a mount that would need a new folder in `/`.
    """
    # Parents first: a volume may be mounted inside another.
    placed = sorted(
        ((mount.source, Path(os.path.realpath(mount.target))) for mount in mounts), key=lambda pair: pair[1]
    )
    inside = [(source, scratch / target.relative_to(RUN)) for source, target in placed if RUN in target.parents]
    outside = [(source, target) for source, target in placed if RUN not in target.parents]
    grounds = sorted({_ground(target) for _, target in outside if not target.exists()})
    lines = [
        "mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm",
        f"mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs {_quoted(scratch)}",
        # From here on it is `.`: what is mounted below may cover the path it stands at.
        f"cd {_quoted(scratch)}",
        *(line for number, ground in enumerate(grounds) for line in _layer(ground, scratch / f".layer{number}")),
        *(line for source, target in (*inside, *outside) for line in _bind(source, target)),
        f"mount --no-canonicalize --rbind . {RUN}",
        f"[ ! -d {_quoted(hidden)} ] || mount -n -t tmpfs -o mode=0755,ro,nosuid,nodev tmpfs {_quoted(hidden)}",
        f"cd {shlex.quote(folder)} 2>/dev/null || cd /",
        'exec "$@"',
    ]
    return "\n".join(lines)


def _bind(source: Path, target: Path) -> Iterator[str]:
    folder = source.is_dir()
    yield f"mkdir -p {_quoted(target if folder else target.parent)}"
    if not folder:
        yield f"[ -e {_quoted(target)} ] || : > {_quoted(target)}"
    yield f"mount --rbind {_quoted(source)} {_quoted(target)}"


def _ground(target: Path) -> Path:
    """The folder that exists and that a new one would be made in."""
    ground = next(parent for parent in target.parents if parent.exists())
    if ground == Path("/"):
        raise Missing(f"{target} would be a new folder in /; mount it below /run, or in a folder that exists here")
    return ground


def _layer(ground: Path, layer: Path) -> Iterator[str]:
    # New folders are made in a layer above the machine's own files, which only this container sees (overlayfs).
    new, work = layer / "new", layer / "work"
    yield f"mkdir -p {_quoted(new)} {_quoted(work)}"
    options = f"lowerdir={ground},upperdir={new},workdir={work}"
    yield f"mount -t overlay -o {shlex.quote(options)} overlay {_quoted(ground)}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
