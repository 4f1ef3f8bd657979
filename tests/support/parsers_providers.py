"""What CA providers answer, as `hostile_bytes.Parser`s: Vault over HTTP, controllers by objects in the API server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from ca.providers.cert_manager import CertManager, IssuerRef
from ca.providers.cluster_signer import ClusterSigner, from_file
from ca.providers.provider import ProviderError, RootsFile
from ca.providers.request_objects import RequestObjects
from ca.providers.vault import Vault, VaultSettings
from fake_clock import FakeClock
from hostile_bytes import Parser, reshaped
from parsers_ca import CHAIN, WANTED

_NOBODY = RootsFile(Path("/dev/null"))


class _Answering(Vault):
    """A Vault whose answers are these, one after the other."""

    def __init__(self, answers: list[bytes]) -> None:
        settings = VaultSettings(address="https://vault", role="weft", token_file=Path("/dev/null"))
        super().__init__(settings, FakeClock())
        self._answers = answers

    async def _asked(self, *_: object) -> bytes:
        return self._answers.pop(0)


_LOGIN = {"auth": {"client_token": "t", "lease_duration": 3600, "renewable": True}}
_SIGNED = {"data": {"certificate": CHAIN.decode(), "issuing_ca": CHAIN.decode(), "ca_chain": [CHAIN.decode()]}}


def vault(answers: tuple[Any, Any]) -> None:
    """What Vault answers to a login and to a request: texts, or a refusal in words."""
    login, signed = (json.dumps(each).encode() for each in answers)
    with contextlib.suppress(ProviderError):
        assert isinstance(asyncio.run(_Answering([login, signed]).sign(WANTED)), bytes)
    with contextlib.suppress(ProviderError):
        asyncio.run(_Answering([signed]).roots())


class _Moment(FakeClock):
    """A clock that goes on while somebody sleeps."""

    async def sleep(self, seconds: float) -> None:
        self._passed += seconds


class _Made:
    """An API server in which a controller has made this of our request."""

    def __init__(self, found: Any) -> None:
        self._found = found

    async def request(self, method: str, *_: object, **__: object) -> Any:
        return {"metadata": {"name": "weft-x"}} if method == "POST" else self._found


_STATUS = {
    "certificate": base64.b64encode(CHAIN).decode(),
    "conditions": [
        {"type": "Ready", "status": "True", "reason": "Issued", "message": "it is"},
        {"type": "Approved", "status": "True", "reason": "ByHand", "message": "by a person"},
    ],
}
_REFUSED = {"conditions": [{"type": "Denied", "status": "True", "reason": "No", "message": "not you"}]}


def request_object(found: Any) -> None:
    """What cert-manager, or a signer of the cluster, made of a request."""
    if not isinstance(found, dict):
        return
    client: Any = _Made(found)
    objects = RequestObjects(client, "/requests", 1.0, _Moment())
    for provider in (
        CertManager(objects, IssuerRef(name="a"), _NOBODY),
        ClusterSigner(objects, "a.example/b", from_file(_NOBODY)),
    ):
        with contextlib.suppress(ProviderError):
            assert isinstance(asyncio.run(provider.sign(WANTED)), bytes)


PARSERS = (
    Parser("vault-answers", st.tuples(reshaped([_LOGIN]), reshaped([_SIGNED])), vault, 2),
    Parser("certificate-request-objects", reshaped([{"status": _STATUS}, {"status": _REFUSED}]), request_object, 2),
)
