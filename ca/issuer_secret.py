"""The issuers of one trust domain, kept in a Secret that all replicas share.

Rule: whoever writes has read what it replaces (resourceVersion), so of several that make a root one wins and the others
use its. What a person broke in the Secret is told and not used; a Secret that is gone is written again from memory.
Source: Kubernetes API concepts, "Resource versions"; API reference, core/v1 Secret.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from ca.issuers import Issuer
from ca.rotation import Action, decide
from ca.settling import INTERMEDIATE, ROOT, Issuers, Lifetimes, Settled, read_issuers, settle
from ca.storage import StorageError
from kube.client import ApiError, ApiUnavailable, Client
from kube.clock import Clock

NAME: Final = "weft-ca"
MOST_TRIES: Final = 5
"""Somebody else may be faster; then there is something to read."""
NOT_FOUND: Final = 404
CONFLICT: Final = 409
"""Also the code of AlreadyExists."""


class IssuerSecret:
    """Issuers kept in the Secret `weft-ca`; implements ca.settling.IssuerStore.

    `writes` says whether this replica may replace what is there; the first issuers are made by whoever comes first.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        trust_domain: str,
        lifetimes: Lifetimes,
        writes: Callable[[], bool],
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._trust_domain = trust_domain
        self._lifetimes = lifetimes
        self._writes = writes
        self._collection = f"/api/v1/namespaces/{namespace}/secrets"
        self._where = f"Secret {namespace}/{NAME}"

    async def opened(self, clock: Clock) -> Issuers:
        """The issuers as they should be now, made if there are none. Raises StorageError."""
        with _in_words(self._where):
            for _ in range(MOST_TRIES):
                secret = await self._get()
                settled = self._settled(secret, clock)
                if await self._written(secret, settled):
                    return settled.issuers
        raise StorageError(f"{self._where} is changed by others all the time")

    async def refreshed(self, issuers: Issuers, clock: Clock) -> Issuers:
        """The issuers of the Secret as it is now, in place of these. Raises StorageError."""
        with _in_words(self._where):
            secret = await self._get()
            if secret is None:
                return await self._restored(issuers)
            root, intermediate = self._read(secret)
            if root is None or root.certificate != issuers.root.certificate:
                raise StorageError(
                    f"{self._where} no longer holds the root that running proxies trust: restore it from a copy, or "
                    "restart every replica and then every meshed pod to change over to what it holds"
                )
            if intermediate is None or decide(Issuers(root, intermediate).state, clock.now()).action is not Action.KEEP:
                if not self._writes():
                    return issuers
                settled = settle(root, intermediate, self._trust_domain, self._lifetimes, clock, self._where)
                return settled.issuers if await self._written(secret, settled) else issuers
        same = intermediate.certificate == issuers.intermediate.certificate
        return issuers if same else Issuers(issuers.root, intermediate)

    async def _restored(self, issuers: Issuers) -> Issuers:
        """Write these down again: without them the next start would make a root that no running proxy trusts."""
        if self._writes():
            await self._create({ROOT: issuers.root.to_pem(), INTERMEDIATE: issuers.intermediate.to_pem()})
        return issuers

    async def _written(self, secret: dict[str, Any] | None, settled: Settled) -> bool:
        """Whether what was made is in the Secret now; False when another was faster."""
        if settled.made:
            pems = {name: issuer.to_pem() for name, (issuer, _) in settled.made.items()}
            if not await (self._create(pems) if secret is None else self._update(secret, pems)):
                return False
            settled.tell()
        return True

    def _settled(self, secret: dict[str, Any] | None, clock: Clock) -> Settled:
        root, intermediate = self._read(secret) if secret is not None else (None, None)
        return settle(root, intermediate, self._trust_domain, self._lifetimes, clock, self._where)

    def _read(self, secret: dict[str, Any]) -> tuple[Issuer | None, Issuer | None]:
        data = secret.get("data") or {}
        return read_issuers(_decoded(data, ROOT), _decoded(data, INTERMEDIATE), self._trust_domain, self._place)

    async def _get(self) -> dict[str, Any] | None:
        try:
            secret: dict[str, Any] = await self._client.request("GET", f"{self._collection}/{NAME}")
        except ApiError as error:
            if error.code == NOT_FOUND:
                return None
            raise
        return secret

    async def _create(self, pems: dict[str, bytes]) -> bool:
        metadata = {"name": NAME, "namespace": self._namespace, "labels": {"app.kubernetes.io/part-of": "weft"}}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": _encoded(pems)}
        return await self._succeeds("POST", self._collection, body)

    async def _update(self, secret: dict[str, Any], pems: dict[str, bytes]) -> bool:
        body = {**secret, "data": {**(secret.get("data") or {}), **_encoded(pems)}}
        return await self._succeeds("PUT", f"{self._collection}/{NAME}", body)

    async def _succeeds(self, method: str, path: str, body: dict[str, Any]) -> bool:
        try:
            await self._client.request(method, path, body=body)
        except ApiError as error:
            if error.code in {CONFLICT, NOT_FOUND}:
                return False
            raise
        return True

    def _place(self, name: str) -> str:
        return f"{self._where}, data[{name}],"


@contextmanager
def _in_words(where: str) -> Iterator[None]:
    """Failures of the API server as StorageError."""
    try:
        yield
    except (ApiError, ApiUnavailable) as error:
        raise StorageError(f"{where} can't be used: {error}") from error


def _encoded(pems: dict[str, bytes]) -> dict[str, str]:
    return {name: b64encode(pem).decode() for name, pem in pems.items()}


def _decoded(data: dict[str, Any], name: str) -> bytes | None:
    """The bytes under this name; what is no base64 was never ours and is refused where it is read."""
    if data.get(name) is None:
        return None
    try:
        return b64decode(data[name], validate=True)
    except (binascii.Error, ValueError, TypeError):
        return b""
