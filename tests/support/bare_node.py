"""A local cluster without a mesh in a process of its own, for end-to-end tests of `local`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.state import OBJECTS, command_in_pod, pods, state_folder

PROGRAM = str(Path(__file__).with_name("bare_cluster.py"))


class BareNode:
    """A running cluster. Use it as a context manager: leaving it kills what is left."""

    def __init__(self, name: str, *paths: Path, command: Sequence[str] = (sys.executable,), **variables: str) -> None:
        self.name = name
        self.log = paths[0].with_suffix(".log")
        self._command = [*command, PROGRAM, name, *map(str, paths)]
        self._variables = variables

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env={**os.environ, **self._variables}, start_new_session=True
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            finally:
                self.process.kill()

    def pods(self) -> dict[str, dict[str, Any]]:
        """The pods by `namespace/name`."""
        return pods(self.name)

    def ready(self) -> list[str]:
        """The names of ready pods."""
        return sorted(name.split("/")[1] for name, pod in self.pods().items() if pod["ready"])

    def until(self, holds: Callable[[], Any], what: str, deadline: float = 20) -> None:
        """Wait until something holds; the test fails with `what` and the log when it never does."""
        end = time.monotonic() + deadline
        while True:
            with contextlib.suppress(Exception):
                if holds():
                    return
            if time.monotonic() > end:
                raise AssertionError(f"waited in vain until {what}; the log:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.02)

    def run(self, pod: str, *argv: str) -> str:
        """What a command prints in a pod; its errors too."""
        command, environment = command_in_pod(self.name, pod, list(argv))
        done = subprocess.run(
            command,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=20,
            check=False,
        )
        return done.stdout

    def objects(self, kind: str) -> dict[str, dict[str, Any]]:
        """The objects of one kind that the control plane is shown, by name."""
        folder = state_folder(self.name) / OBJECTS
        found = [json.loads(path.read_text()) for path in folder.glob(f"{kind.lower()}.*.json")]
        return {item["metadata"]["name"]: item for item in found}

    def endpoints(self, service: str) -> dict[str, dict[str, bool]]:
        """The conditions of a Service's endpoints by address."""
        slices = [item for item in self.objects("EndpointSlice").values() if item["metadata"]["name"][:-2] == service]
        return {entry["addresses"][0]: entry["conditions"] for item in slices for entry in item["endpoints"]}

    def descendants(self) -> list[int]:
        """Every process below ours, the node's init and its pods among them."""
        return list(descendants(self.process.pid))


def descendants(pid: int) -> Iterator[int]:
    """All processes below `pid`."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    waiting = list(parents.get(pid, []))
    while waiting:
        found = waiting.pop()
        yield found
        waiting += parents.get(found, [])


def alive(pids: Sequence[int]) -> list[int]:
    """Those of these processes that still run; what only waits to be reaped does not."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(pid)
    return found


def network_namespaces(pids: Sequence[int]) -> set[str]:
    """The network namespaces these processes are in."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            found.add(str(Path(f"/proc/{pid}/ns/net").readlink()))
    return found


def all_network_namespaces() -> set[str]:
    """The network namespaces of every process of this machine."""
    return network_namespaces([int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()])


def until_gone(pids: Sequence[int], deadline: float = 5) -> None:
    """Wait until none of these processes runs."""
    end = time.monotonic() + deadline
    while alive(pids) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(pids)
