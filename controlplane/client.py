"""A client of the admin API, over TCP or over a local cluster's Unix socket."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class Unreachable(Exception):  # noqa: N818 - it names the state of the control plane
    """The control plane's admin API does not answer; the text says where it was looked for."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class AdminClient:
    """Reads the admin API at `where`: a URL such as `http://127.0.0.1:15014`, or the path of a Unix socket."""

    def __init__(self, where: str | Path) -> None:
        self.where = where

    def get(self, path: str) -> Any:
        """The JSON answer, whatever its status. Raises Unreachable."""
        try:
            return json.loads(self.text(path))
        except ValueError as error:
            raise Unreachable(f"what answers at {self.where} is no control plane ({error})") from error

    def text(self, path: str) -> str:
        """The answer as text, whatever its status. Raises Unreachable."""
        connection = self._connection()
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"no control plane answers at {self.where} ({error})") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if isinstance(self.where, Path):
            return _UnixConnection(self.where)
        parts = urlsplit(self.where)
        return http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=5)
