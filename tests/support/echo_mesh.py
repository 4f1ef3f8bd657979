"""A running mesh with the pods of `world`, and short ways to send real requests between them."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import world
from local.state import command_in_pod
from running_mesh import RunningMesh


class EchoMesh(RunningMesh):
    """A running mesh with the pods of `world`, and short ways to use them."""

    def echo(self, caller: str, *words: str, timeout: float = 60) -> Any:
        """Run the echo client in a caller's pod; what it prints, as JSON."""
        process = self.start_echo(caller, *words)
        out, err = process.communicate(timeout=timeout)
        assert process.returncode == 0, err
        return json.loads(out)

    def start_echo(self, caller: str, *words: str) -> subprocess.Popen[str]:
        """Start the echo client in a caller's pod and let it run."""
        command, environment = command_in_pod(self.name, f"{world.NAMESPACE}/{caller}", ["python3", world.ECHO, *words])
        return subprocess.Popen(
            command, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def status(self, caller: str, url: str, *options: str) -> int:
        """The status of one request."""
        answer: int = self.echo(caller, "get", url, *options)[0]["status"]
        return answer

    def names(self, caller: str, url: str, count: int, *options: str) -> dict[str, int]:
        """Who answered how often, over one connection; failures under their status."""
        counts: dict[str, int] = {}
        for answer in self.echo(caller, "get", url, str(count), *options):
            who = str(answer.get("name") or answer["status"])
            counts[who] = counts.get(who, 0) + 1
        return counts
