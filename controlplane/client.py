"""A client of the admin API, over TCP or over a local cluster's Unix socket."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

ASKING: Final = "weft-request"
"""The header of requests that change something: browsers let no other site's page send it."""


class Unreachable(Exception):  # noqa: N818 - it names the state of the control plane
    """The control plane's admin API does not answer; the text says where it was looked for."""


class Refusal(Exception):  # noqa: N818 - it names what the control plane did
    """The control plane answers, and will not do what it was asked; the text is its own."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class AdminClient:
    """Asks the admin API at `where`: a URL such as `http://127.0.0.1:15014`, or the path of a Unix socket.

    `seconds` is how long it may be silent.
    """

    def __init__(self, where: str | Path, seconds: float = 5) -> None:
        self.where = where
        self._seconds = seconds

    def get(self, path: str) -> Any:
        """The JSON answer, whatever its status. Raises Unreachable."""
        try:
            return json.loads(self.text(path))
        except ValueError as error:
            raise Unreachable(f"what answers at {self.where} is no control plane ({error})") from error

    def text(self, path: str) -> str:
        """The answer as text, whatever its status. Raises Unreachable."""
        return self._exchange("GET", path, {})[1]

    def ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, Any]:
        """Status and JSON answer of a request that may change something. Raises Unreachable."""
        status, text = self._exchange(method, path, headers)
        try:
            return status, json.loads(text)
        except ValueError as error:
            raise Unreachable(f"what answers at {self.where} is no control plane ({error})") from error

    def lines(self, path: str) -> Iterator[str]:
        """An answer that goes on, line by line as it comes. Raises Unreachable, and Refusal with what it says."""
        connection = self._connection()
        try:
            connection.request("GET", path, headers={ASKING: "lines"})
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise Refusal(_detail(answer.read().decode()))
            while line := answer.readline():
                yield line.decode()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"no control plane answers at {self.where} ({error})") from error
        finally:
            connection.close()

    def _exchange(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        connection = self._connection()
        try:
            connection.request(method, path, headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"no control plane answers at {self.where} ({error})") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if isinstance(self.where, Path):
            return _UnixConnection(self.where, self._seconds)
        parts = urlsplit(self.where)
        return http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=self._seconds)


def _detail(text: str) -> str:
    """What FastAPI's answer to a refused request says."""
    try:
        return str(json.loads(text)["detail"])
    except (ValueError, KeyError, TypeError):
        return text
