"""The kubelet's probes: asking a container how it is, from the node.

Rule: as Kubernetes counts them, with one difference that makes a local cluster quick: until a probe succeeds for the
first time it is asked ten times a second, and its period and thresholds become a deadline of the same length.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from local.podspec import Container, HttpGet, Probe

EAGER = 0.1
"""Seconds between questions until the first success."""

RunCommand = Callable[[tuple[str, ...]], Awaitable[int]]
"""Runs a command in the container; its exit code."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks the probes of one container at a pod's address."""

    container: Container
    address: str
    run: RunCommand

    async def ask(self, probe: Probe) -> bool:
        """One question. Whatever goes wrong in `timeout_seconds` is a no."""
        try:
            async with asyncio.timeout(probe.timeout_seconds):
                return await self._answer(probe)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            return False

    async def _answer(self, probe: Probe) -> bool:
        if probe.http_get is not None:
            host = probe.http_get.host or self.address
            return 200 <= await http_status(probe.http_get, host, self.port(probe.http_get.port)) < 400
        if probe.tcp_socket is not None:
            host = probe.tcp_socket.host or self.address
            _, writer = await asyncio.open_connection(host, self.port(probe.tcp_socket.port))
            writer.close()
            return True
        return probe.exec is None or await self.run(probe.exec.command) == 0

    def port(self, port: int | str) -> int:
        """A port's number. Raises ValueError for a name the container does not have."""
        if isinstance(port, int):
            return port
        for candidate in self.container.ports:
            if candidate.name == port:
                return candidate.container_port
        return int(port)


async def first_success(probe: Probe, asker: Asker) -> bool:
    """Wait for the first yes; no if it does not come in the time the probe allows."""
    await asyncio.sleep(probe.initial_delay_seconds)
    try:
        async with asyncio.timeout(probe.failure_threshold * probe.period_seconds):
            while not await asker.ask(probe):  # noqa: ASYNC110 - asking again is what a probe is
                await asyncio.sleep(EAGER)
    except TimeoutError:
        return False
    return True


async def watch(probe: Probe, asker: Asker, tell: Callable[[bool], None], *, yes: bool) -> None:
    """Ask for ever, and tell each change that the thresholds confirm; `yes` is the answer so far."""
    streak = 0
    while True:
        await asyncio.sleep(probe.period_seconds)
        answer = await asker.ask(probe)
        streak = 0 if answer == yes else streak + 1
        if streak >= (probe.success_threshold if answer else probe.failure_threshold):
            yes, streak = answer, 0
            tell(yes)


async def http_status(question: HttpGet, host: str, port: int) -> int:
    """The status of one GET. Raises OSError, ValueError, IncompleteReadError."""
    reader, writer = await asyncio.open_connection(
        host, port, ssl=_unverified() if question.scheme == "HTTPS" else None
    )
    try:
        headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/weft", "Accept": "*/*", "Connection": "close"}
        headers |= {header.name: header.value for header in question.http_headers}
        lines = [f"GET {question.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        status = await reader.readuntil(b"\n")
        return int(status.split(None, 2)[1])
    except (IndexError, asyncio.LimitOverrunError) as error:
        raise ValueError("not an HTTP answer") from error
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _unverified() -> ssl.SSLContext:
    # As the kubelet does: a probe asks whether somebody answers, not who.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
