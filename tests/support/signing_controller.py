"""A controller of a test's own that approves and signs requests for certificates, as an issuer in a cluster does."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from company_ca import Signer
from kube.client import ApiError, Client

GONE = 404
"""Whoever asked took it back."""
Object = dict[str, Any]
Act = Callable[["SigningController", Object], Any]


@dataclass
class SigningController:
    """Looks at all requests of a collection again and again, and acts on each once."""

    client: Client
    collection: str
    signer: Signer
    act: Act
    seen: dict[str, Object] = field(default_factory=dict)

    async def look(self) -> None:
        """Act on what is new."""
        found = await self.client.request("GET", self.collection)
        for each in found["items"]:
            if each["metadata"]["name"] not in self.seen:
                self.seen[each["metadata"]["name"]] = each
                try:
                    await self.act(self, each)
                except ApiError as error:
                    if error.code != GONE:
                        raise

    async def write(self, found: Object, subresource: str, **status: object) -> Object:
        """Write its status by a subresource."""
        path = f"{self.collection}/{found['metadata']['name']}/{subresource}"
        body = {**found, "status": {**found.get("status", {}), **status}}
        answer: Object = await self.client.request("PUT", path, body=body)
        return answer

    def certificate(self, found: Object, seconds: float, *, with_chain: bool = True) -> str:
        """What is signed for the request, as a status holds it."""
        request = b64decode(found["spec"]["request"])
        leaf = self.signer.sign(request, datetime.now(UTC), timedelta(seconds=seconds))
        return b64encode(leaf + (self.signer.chain_pem if with_chain else b"")).decode()


def condition(kind: str, status: str = "True", reason: str = "Test", message: str = "") -> Object:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now}


@asynccontextmanager
async def controlled(client: Client, collection: str, signer: Signer, act: Act) -> AsyncIterator[SigningController]:
    """The controller runs while the block does."""
    controller = SigningController(client, collection, signer, act)

    async def run() -> None:
        while True:
            await controller.look()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(run())
    try:
        yield controller
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
