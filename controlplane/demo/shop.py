"""The shop, running: `weft up` on a copy of the example's manifests, which the demo then edits as a person would.

Rule: leaving the context ends everything it started; if the demo itself is killed, the kernel does.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import controlplane
from controlplane.client import AdminClient, Unreachable
from local.executables import executable
from local.state import StateError, command_in_pod, control_socket, down, pods, state_folder

WEFT = (sys.executable, "-P", "-m", "controlplane.cli.main")
APP = ("python3", "-m", "weft_shop")
OBSERVER = ("python3", "-P", "-m", "controlplane.demo.observer")
NAMESPACE = "shop"
PATIENCE = 20.0
"""Seconds until something that has to happen counts as never happening."""
LOOK = 0.01

Manifest = dict[str, Any]


class ShopError(Exception):
    """The shop does not do what a proof needs; the text is a sentence."""


def manifests_folder() -> Path:
    """The example's manifests: beside the sources, or inside the installed package."""
    package = Path(str(controlplane.__file__)).parent
    installed, beside = package / "examples" / "shop", package.parent / "examples" / "shop"
    return installed if installed.is_dir() else beside


class Shop:
    """A running copy of the shop. Use it as a context manager."""

    def __init__(self, name: str, added: Mapping[str, Sequence[Manifest]]) -> None:
        """`added` are manifests of the demo's own, by file, that take the place of the example's."""
        self._name = name
        self._added = added
        self._up: subprocess.Popen[bytes] | None = None
        self._marks = 0
        self.started_at = time.monotonic()

    def __enter__(self) -> Self:
        self._home = Path(tempfile.mkdtemp(prefix="weft-demo-"))
        self.folder = self._home / "manifests"
        self.log = self._home / "up.log"
        try:
            self._start()
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
                self._up.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._end_by_force(self._up)
        shutil.rmtree(self._home, ignore_errors=True)

    def apply(self, part: str) -> None:
        """Put a part of the example (`access`, `canary`, `ab`) into force, and wait until every sidecar has it."""
        for file in sorted((manifests_folder() / part).glob("*.yaml")):
            self.write_text(f"{part}/{file.name}", file.read_text())
        self.settle()

    def write(self, file: str, objects: Sequence[Manifest]) -> int:
        """Write a manifest, whole at once; the moment before, in nanoseconds of CLOCK_MONOTONIC."""
        return self.write_text(file, "---\n".join(f"{json.dumps(item, indent=1)}\n" for item in objects))

    def write_text(self, file: str, text: str) -> int:
        """Write a file of manifests, whole at once; the moment before, as `write` returns it."""
        target = self.folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.draft")
        draft.write_text(text)
        before = time.monotonic_ns()
        draft.replace(target)
        return before

    def remove(self, file: str) -> int:
        """Remove a manifest; the moment before, as `write` returns it."""
        before = time.monotonic_ns()
        (self.folder / file).unlink()
        return before

    def settle(self) -> None:
        """Wait until all that was written has been read and every sidecar has acknowledged what follows from it.

        What was read shows in a mark: a split with a mistake, written last, whose Problem is awaited.
        """
        self._marks += 1
        mark = f"mark-{self._marks}"
        self.write("mark.yaml", [traffic_split(mark, mark, {mark: 1}, namespace="demo-mark")])
        self.wait_until(lambda: mark in {problem["name"] for problem in self.get("/problems")}, "manifests are read")
        self.wait_until(self._synced, "every sidecar has acknowledged its configuration")

    def ask(self, pod: str, url: str, *options: str) -> dict[str, Any]:
        """Send requests from a pod with the shop's own client; its counts."""
        return self.finish(self.start(pod, "ask", url, *options))

    def start(self, pod: str, *words: str) -> subprocess.Popen[str]:
        """Start the shop's app in a pod, in a role of its choice."""
        return self._start_in(pod, [*APP, *words])

    def observe(self, pod: str, *words: str) -> subprocess.Popen[str]:
        """Start the demo's observer in a pod: in its container of that name, where it has one."""
        containers = self.pod(pod)["containers"]
        return self._start_in(pod, [*OBSERVER, *words], "observer" if "observer" in containers else "")

    def finish(self, process: subprocess.Popen[str], timeout: float = 60) -> dict[str, Any]:
        """Wait for a program in a pod; the last line it printed, as JSON. Raises ShopError."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        try:
            last: dict[str, Any] = json.loads(out.strip().rpartition("\n")[2])
        except ValueError:
            raise ShopError(f"a program in a pod ended without an answer: {(err or out).strip()[-500:]}") from None
        return last

    def pod(self, prefix: str) -> dict[str, Any]:
        """What is known of the one pod of the shop whose name begins so. Raises ShopError."""
        try:
            found = [pod for name, pod in pods(self._name).items() if name.startswith(f"{NAMESPACE}/{prefix}")]
        except StateError as error:
            raise ShopError(str(error)) from error
        if len(found) != 1:
            raise ShopError(f"{len(found)} pods of the shop are called {prefix}")
        return found[0]

    def get(self, path: str) -> Any:
        """An answer of the control plane's admin API. Raises Unreachable."""
        socket = control_socket(self._name)
        if socket is None:
            raise Unreachable(f"{self._name} does not run")
        return AdminClient(socket).get(path)

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds. Raises ShopError when it never does."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if holds():
                    return
            except (Unreachable, StateError):
                pass
            if self._up is None or self._up.poll() is not None or time.monotonic() > end:
                raise ShopError(f"waited in vain until {what}; `weft up` said last: {self._last_words()}")
            time.sleep(LOOK)

    def _start(self) -> None:
        shutil.copytree(manifests_folder() / "base", self.folder / "base")
        for file, objects in self._added.items():
            self.write(file, objects)
        # `setpriv` makes the kernel end it, should the demo be killed without a chance to clean up.
        command = [executable("setpriv"), "--pdeathsig", "TERM", "--", *WEFT, "up", str(self.folder)]
        with self.log.open("wb") as log:
            self._up = subprocess.Popen(
                [*command, "--name", self._name], stdout=log, stderr=log, start_new_session=True
            )
        self.wait_until(lambda: bool(self.get("/readyz")["ready"]), "the control plane is ready")
        self.wait_until(self._all_ready, "all pods are ready")
        self.settle()

    def _start_in(self, pod: str, words: list[str], container: str = "") -> subprocess.Popen[str]:
        try:
            command, environment = command_in_pod(self._name, f"{NAMESPACE}/{pod}", words, container)
        except StateError as error:
            raise ShopError(str(error)) from error
        return subprocess.Popen(
            command, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def _all_ready(self) -> bool:
        found = pods(self._name).values()
        return bool(found) and all(pod["ready"] for pod in found)

    def _synced(self) -> bool:
        return all(state["state"] != "stale" for proxy in self.get("/proxies") for state in proxy["types"].values())

    def _end_by_force(self, process: subprocess.Popen[bytes]) -> None:
        try:
            down(self._name)
        except StateError:
            process.kill()
        process.wait()

    def _last_words(self) -> str:
        logs = (self.log, state_folder(self._name) / "logs" / "control-plane.log")
        lines = [log.read_text(errors="replace").strip().splitlines()[-2:] for log in logs if log.exists()]
        return " | ".join(itertools.chain.from_iterable(lines)) or "nothing"


def traffic_split(
    name: str, root: str, weights: Mapping[str, int], group: str = "", namespace: str = NAMESPACE
) -> Manifest:
    """A TrafficSplit; with a group, for the requests it matches only."""
    spec: Manifest = {
        "service": root,
        "backends": [{"service": backend, "weight": weight} for backend, weight in weights.items()],
    }
    if group:
        spec["matches"] = [{"kind": "HTTPRouteGroup", "name": group}]
    return {
        "apiVersion": "split.smi-spec.io/v1alpha4",
        "kind": "TrafficSplit",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def cluster_name() -> str:
    """A name that no other cluster of this machine has."""
    return f"demo-{os.getpid()}"
