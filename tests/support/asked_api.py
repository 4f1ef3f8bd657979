"""Asks an ASGI application one request, as somebody at an address of the test's choice.

Rule: no socket: who asks is what the test says, not where the test runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

HERE = ("127.0.0.1", 40000)


async def asked(
    api: FastAPI, method: str, path: str, client: tuple[str, int] = HERE, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """Status and JSON document of the answer, which ends."""
    name, _, query = path.partition("?")
    scope = {
        "type": "http", "method": method, "path": name, "raw_path": name.encode(), "query_string": query.encode(),
        "headers": [(key.encode(), value.encode()) for key, value in (headers or {}).items()], "client": client,
        "server": ("admin", 80), "scheme": "http", "root_path": "", "http_version": "1.1",
    }  # fmt: skip
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    await api(scope, receive, send)
    return int(said[0]["status"]), json.loads(b"".join(message.get("body", b"") for message in said))
