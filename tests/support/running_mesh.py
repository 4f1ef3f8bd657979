"""A whole mesh on this machine, run by the real `weft up`, for end-to-end tests.

Rule: tests talk to it as a person would: they write manifests into its folder and run commands in its pods.
"""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from controlplane.client import AdminClient, Unreachable
from local.state import control_socket, pods

WEFT = [sys.executable, "-P", "-m", "controlplane.cli.main"]
DEADLINE = 30.0


class RunningMesh:
    """`weft up` on a folder. Use it as a context manager: leaving it takes everything down."""

    become: tuple[str, ...] = ()
    """What starts `weft up`, such as a program that gives up privileges first."""

    def __init__(self, folder: Path, name: str, *options: str) -> None:
        self.folder = folder
        self.name = name
        self._options = options
        self._sentinels = itertools.count()
        self._up: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.log = self.folder.with_suffix(".log")
        with self.log.open("wb") as log:
            self._up = subprocess.Popen(
                [*self.become, *WEFT, "up", str(self.folder), "--name", self.name, *self._options],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            self.wait_until(self._serves, "the control plane answers")
            self.wait_until(self._all_ready, "all pods are ready")
            self.settle()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._up is not None:
            self._up.send_signal(signal.SIGINT)
            try:
                self._up.wait(20)
            except subprocess.TimeoutExpired:
                self._up.kill()
                self._up.wait()

    def get(self, path: str) -> Any:
        """An answer of the control plane's admin API. Raises Unreachable."""
        socket = control_socket(self.name)
        if socket is None:
            raise Unreachable(f"{self.name} does not run; its log:\n{self.log.read_text()[-3000:]}")
        return AdminClient(socket).get(path)

    def metric(self, name: str) -> dict[str, float]:
        """One of the control plane's metrics: the value of each label set, as Prometheus writes it."""
        socket = control_socket(self.name)
        assert socket is not None
        lines = [line for line in AdminClient(socket).text("/metrics").splitlines() if line.startswith(name + "{")]
        return {line[len(name) : line.rindex(" ")]: float(line.rpartition(" ")[2]) for line in lines}

    def run(self, pod: str, *command: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in a pod (`namespace/name`, a prefix of the name is enough), as the app's user."""
        return subprocess.run(
            [*WEFT, "exec", "--name", self.name, pod, "--", *command],
            capture_output=True, text=True, check=check, timeout=timeout,
        )  # fmt: skip

    def write(self, file: str, text: str) -> None:
        """Put a manifest into the folder, whole at once, and wait until every proxy has it."""
        self.write_unsettled(file, text)
        self.settle()

    def write_unsettled(self, file: str, text: str) -> None:
        """Put a manifest into the folder, whole at once."""
        target = self.folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(".draft")
        draft.write_text(text)
        draft.replace(target)

    def remove(self, *files: str) -> None:
        """Remove manifests from the folder and wait until every proxy knows."""
        for file in files:
            (self.folder / file).unlink(missing_ok=True)
        self.settle()

    def settle(self) -> None:
        """Wait until all that was written so far has been read and every proxy has acknowledged what follows.

        A sentinel object with a mistake in it is written last; once its Problem shows, all before it was read.
        """
        name = f"sentinel-{next(self._sentinels)}"
        sentinel = {
            "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
            "metadata": {"namespace": "sentinel", "name": name},
            "spec": {"service": name, "backends": [{"service": name, "weight": 1}]},
        }  # fmt: skip
        self.write_unsettled("sentinel.yaml", json.dumps(sentinel))
        self.wait_until(lambda: any(p["name"] == name for p in self.problems()), f"{name} has been read")
        self.wait_until(self._all_synced, "every proxy has acknowledged its configuration")

    def problems(self, name: str | None = None) -> list[dict[str, Any]]:
        """The Problems the control plane shows, of one object or of all."""
        found: list[dict[str, Any]] = self.get("/problems")
        return [problem for problem in found if name is None or problem["name"] == name]

    def pod_address(self, prefix: str) -> str:
        """The address of the pod whose name begins so."""
        (address,) = [pod["address"] for name, pod in pods(self.name).items() if name.split("/")[1].startswith(prefix)]
        return str(address)

    def ready_apps(self) -> set[str]:
        """The names of ready pods, without what their workload adds to it."""
        return {name.split("/")[1].rsplit("-", 2)[0] for name, pod in pods(self.name).items() if pod["ready"]}

    def proxies(self) -> list[dict[str, Any]]:
        """The connected proxies as `weft proxies --json` prints them."""
        found: list[dict[str, Any]] = self.get("/proxies")
        return found

    def wait_until(self, holds: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
        """Wait until something holds; the test fails with `what` and the log's end when it never does."""
        end = time.monotonic() + deadline
        while not self._true(holds):
            if time.monotonic() > end or (self._up is not None and self._up.poll() is not None):
                raise AssertionError(f"waited in vain until {what}; the log ends:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.02)

    @staticmethod
    def _true(holds: Callable[[], bool]) -> bool:
        try:
            return holds()
        except Unreachable:
            return False

    def _serves(self) -> bool:
        return bool(self.get("/readyz")["ready"])

    def _all_ready(self) -> bool:
        found = pods(self.name).values()
        return bool(found) and all(pod["ready"] for pod in found)

    def _all_synced(self) -> bool:
        return all(not unsynced(proxy) for proxy in self.proxies())


def unsynced(proxy: Mapping[str, Any]) -> list[str]:
    """The resource types a proxy has not acknowledged yet."""
    return [kind for kind, state in proxy["types"].items() if state["state"] in {"stale", "pending"}]
