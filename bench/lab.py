"""One measurement's set-up: manifests in a folder, the control plane in one process, the load client in another.

Rule: both measure with CLOCK_MONOTONIC, which all processes of a machine share; leaving the lab ends both.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bench.plan import world_of, write_plan
from bench.world import TRUST_DOMAIN, Folder, Size
from ca.authority import Authority
from xds.server import TransportKind

ROOT: Final = Path(__file__).resolve().parent.parent
CLIENT: Final = Path(__file__).resolve().parent / "client"
START: Final = 120.0
"""Seconds the control plane may take until it serves."""
RECORD: Final = 24
"""Bytes of a Record: when (ns), stream, bytes, type, mark."""


@dataclass(frozen=True, slots=True)
class Wire:
    """How proxies connect. `connections` 0: one TCP connection and TLS session for each proxy."""

    connections: int = 0
    transport: TransportKind = TransportKind.OWN


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor time in ms so far: the server's, the load client's."""

    server: float
    client: float


def compiled() -> Path:
    """The load client, compiled if its source is newer. Raises SystemExit with what to install."""
    program = ROOT / "build" / "bench" / "load"
    sources = sorted(CLIENT.glob("*.[ch]"))
    if program.exists() and program.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return program
    if shutil.which("gcc") is None or not Path("/usr/include/openssl/ssl.h").exists():
        raise SystemExit(
            "The load client is C: install gcc and OpenSSL's headers (Debian: apt-get install gcc libssl-dev)."
        )
    program.parent.mkdir(parents=True, exist_ok=True)
    files = [str(source) for source in sources if source.suffix == ".c"]
    command = ["gcc", "-O2", "-D_GNU_SOURCE", "-o", str(program), *files, "-lssl", "-lcrypto"]
    subprocess.run(command, check=True)
    return program


class Lab:
    """Use it as a context manager."""

    def __init__(self, size: Size, wire: Wire) -> None:
        self.size = size
        self.connections = wire.connections
        self.transport = wire.transport

    def __enter__(self) -> Self:
        program = compiled()
        self._temporary = tempfile.TemporaryDirectory(prefix="weft-bench-")
        root = Path(self._temporary.name)
        self.folder, ca_folder = Folder(root, self.size), root / "ca"
        self.folder.write()
        write_plan(root / "plan", self.folder, ca_folder, world_of(self.folder, ca_folder))
        self._log = (root / "log").open("wb")
        self._server = self._start(
            sys.executable,
            "-m",
            "bench.server",
            str(self.folder.path),
            str(ca_folder),
            str(self.size.access),
            str(self.transport),
        )
        began = time.monotonic()
        while not (port := self.stats()["port"]):
            if time.monotonic() - began > START:
                raise SystemExit("the control plane does not serve")
            time.sleep(0.05)
        roots = root / "bundle.pem"
        roots.write_bytes(Authority.open(ca_folder, TRUST_DOMAIN).bundle_pem())
        self._client = self._start(
            str(program), str(port), str(roots), "localhost", str(root / "plan"), str(self.connections)
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (self._client, self._server):
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()
        self._temporary.cleanup()

    def stats(self) -> dict[str, Any]:
        """What the server says of itself."""
        found: dict[str, Any] = json.loads(_ask(self._server, "stats"))
        return found

    def streams(self) -> int:
        """How many streams the server has."""
        return int(json.loads(_ask(self._server, "streams"))["streams"])

    def certificate(self, account: str) -> float:
        """Replace the leaf of one identity; when that began."""
        return float(json.loads(_ask(self._server, f"certificate bench {account}"))["started"])

    def client(self, command: str) -> list[str]:
        """Have the load client do something; the words of its answer."""
        return _ask(self._client, command).split()

    def take(self) -> list[tuple[float, int, int, int, int]]:
        """What came since the last time: when (seconds), stream, bytes, type, mark."""
        count = int(self.client("take")[1])
        assert self._client.stdout is not None
        data = self._client.stdout.read(count * RECORD)
        return [(ns / 1e9, stream, size, kind, mark) for ns, stream, size, kind, mark in _records(data)]

    def costs(self) -> Costs:
        """Processor time so far."""
        return Costs(self.stats()["cpu_ms"], int(self.client("cpu")[1]) / 1000)

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, cwd=ROOT
        )  # fmt: skip


def _ask(process: subprocess.Popen[bytes], command: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(command.encode() + b"\n")
    process.stdin.flush()
    answer = process.stdout.readline().decode()
    if not answer:
        raise SystemExit(f"{process.args!r} is gone")
    return answer


def _records(data: bytes) -> Iterable[tuple[int, int, int, int, int]]:
    return struct.iter_unpack("<QIIII", data)
