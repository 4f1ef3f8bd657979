"""A client that asks often and counts exactly: by status, by the version that answered, and every failure.

Rule: nothing is tried twice. What a caller would have noticed is counted, a connection that closes under a request
included.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 10.0
KEPT_FAILURES = 5
PAUSE = 0.005
"""Seconds between the lines of a conversation."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to repeat. With `keep_alive` all go over one connection, else each has its own."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    keep_alive: bool = True


@dataclass(slots=True)
class Counts:
    """What many requests were answered. `connections` counts those opened, `failures` those without an answer."""

    statuses: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    requests: int = 0
    connections: int = 0
    last: Any = None

    def add(self, other: Counts) -> None:
        """Take in what another client counted."""
        self.statuses += other.statuses
        self.versions += other.versions
        self.failures += other.failures
        self.requests += other.requests
        self.connections += other.connections
        self.last = other.last

    def as_json(self) -> dict[str, Any]:
        """The counts as a JSON value; of the failures only the first few."""
        return {
            "requests": self.requests,
            "connections": self.connections,
            "statuses": dict(sorted(self.statuses.items())),
            "versions": dict(sorted(self.versions.items())),
            "failed": len(self.failures),
            "failures": self.failures[:KEPT_FAILURES],
            "last": self.last,
        }


class Client:
    """Repeats one call, one request at a time."""

    def __init__(self, call: Call) -> None:
        self.counts = Counts()
        self._call = call
        place = urlsplit(call.url)
        self._path = (place.path or "/") + (f"?{place.query}" if place.query else "")
        self._http = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=TIMEOUT)

    def ask(self) -> tuple[int, str]:
        """Send one request: the status and the version that answered, `(0, "")` when there was no answer."""
        counts, headers = self.counts, dict(self._call.headers)
        if not self._call.keep_alive:
            headers["connection"] = "close"
        counts.requests += 1
        # After an answer that says `connection: close`, http.client has dropped the socket by itself.
        counts.connections += self._http.sock is None
        try:
            self._http.request(self._call.method, self._path, headers=headers)
            response = self._http.getresponse()
            body = response.read()
            if not self._call.keep_alive:
                self._http.close()
        except (OSError, http.client.HTTPException) as error:
            counts.failures.append(f"{type(error).__name__}: {error}")
            self._http.close()
            return 0, ""
        version = self._understand(body)
        counts.statuses[str(response.status)] += 1
        if version:
            counts.versions[version] += 1
        return response.status, version

    def close(self) -> None:
        """Close the connection, if one is open."""
        self._http.close()

    def _understand(self, body: bytes) -> str:
        try:
            self.counts.last = answer = json.loads(body)
        except ValueError:
            self.counts.last = body.decode(errors="replace").strip()
            return ""
        inner = answer.get("catalog", answer) if isinstance(answer, dict) else {}
        return str(inner.get("version", "")) if isinstance(inner, dict) else ""


def ask(call: Call, count: int) -> Counts:
    """Send `count` requests, one after the other."""
    with contextlib.closing(Client(call)) as client:
        for _ in range(count):
            client.ask()
        return client.counts


def load(call: Call, seconds: float, workers: int) -> Counts:
    """Send requests from several clients at once until the time is up."""
    clients = [Client(call) for _ in range(workers)]
    end = time.monotonic() + seconds

    def work(client: Client) -> None:
        with contextlib.closing(client):
            while time.monotonic() < end:
                client.ask()

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = Counts()
    for client in clients:
        total.add(client.counts)
    return total


@dataclass(frozen=True, slots=True)
class Sighting:
    """When the first answer of a kind had arrived, in nanoseconds of CLOCK_MONOTONIC (None: never), and the counts."""

    at: int | None
    counts: Counts


def wait_for(call: Call, status: int, version: str, seconds: float) -> Sighting:
    """Ask again and again until an answer has this status, and this version if one is given."""
    end = time.monotonic() + seconds
    with contextlib.closing(Client(call)) as client:
        while time.monotonic() < end:
            got = client.ask()
            if got[0] == status and version in ("", got[1]):
                return Sighting(time.monotonic_ns(), client.counts)
        return Sighting(None, client.counts)


def talk(host: str, port: int, seconds: float, *, greeted: bool = False) -> dict[str, Any]:
    """Ask the inventory over one TCP connection for some time: the lines answered, and how the connection broke.

    With `greeted` the server is expected to speak first.
    """
    said: dict[str, Any] = {"lines": 0, "greeting": "", "failure": ""}
    end = time.monotonic() + seconds
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT) as connection:
            lines = connection.makefile("rwb")
            if greeted:
                said["greeting"] = _line(lines.readline())
            while said["lines"] == 0 or time.monotonic() < end:
                lines.write(b"stock loom\n")
                lines.flush()
                _line(lines.readline())
                said["lines"] += 1
                time.sleep(PAUSE)
    except OSError as error:
        said["failure"] = f"{type(error).__name__}: {error}"
    return said


def _line(received: bytes) -> str:
    if not received:
        raise ConnectionError("the connection was closed")
    return received.decode(errors="replace").strip()
