"""No key and no token is ever part of what is printed: representations, errors, log lines."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from structlog.testing import capture_logs

from ca.authority import Authority
from ca.issuer_folder import IssuerFolder, Lifetimes
from ca.storage import Folder, StorageError
from ca.tokens import TokenAuthenticator, TokenIssuer
from fake_clock import FakeClock
from mesh.model import Identity
from xds.peer import Refused

DOMAIN = "cluster.local"
WEB = Identity(DOMAIN, "shop", "web")


def forms(pem: bytes) -> set[str]:
    """The ways in which a key might show: its PEM lines, its number in decimal, hexadecimal and base64."""
    key = load_pem_private_key(pem[pem.index(b"-----BEGIN PRIVATE") :], None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = key.private_numbers().private_value
    raw = number.to_bytes(32, "big")
    lines = {line for line in pem[pem.index(b"-----BEGIN PRIVATE") :].decode().splitlines() if line[:1] != "-"}
    return {str(number), raw.hex(), base64.b64encode(raw).decode()[:-4], repr(raw), *lines}


async def test_nothing_that_is_printed_holds_a_key_or_a_token(folder: Path, clock: FakeClock) -> None:
    printed: list[str] = []
    with capture_logs() as logs:
        lifetimes = Lifetimes(intermediate=timedelta(hours=3), leaf=timedelta(hours=1))
        authority = Authority.open(folder, DOMAIN, lifetimes=lifetimes, clock=clock)
        published: list[object] = []
        task = asyncio.create_task(authority.run(lambda *each: published.append(each)))
        named = await authority.secrets(WEB)
        await clock.asleep()
        await clock.advance(timedelta(hours=3))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        server = authority.server_certificate(["localhost"], [])
        issuer = TokenIssuer.open(folder, DOMAIN, clock=clock)
        authenticator = TokenAuthenticator.open(folder, DOMAIN, clock=clock)
        token = issuer.issue(WEB, None, timedelta(hours=1), audience="other")
        peer = await authenticator.authenticate(issuer.issue(WEB, None, timedelta(hours=1)))
        with pytest.raises(Refused) as refused:
            await authenticator.authenticate(token)
        issuers = IssuerFolder(Folder.open(folder), DOMAIN, lifetimes).settle(clock)
        secret = forms((folder / "root.pem").read_bytes()) | forms((folder / "intermediate.pem").read_bytes())
        secret |= forms((folder / "tokens.pem").read_bytes()) | forms(server.key_pem) | set(token.split("."))
        (folder / "tokens.pem").write_bytes((folder / "tokens.pem").read_bytes()[:150])
        (folder / "root.pem").write_bytes((folder / "root.pem").read_bytes()[:-80])
        for cls in (Authority, TokenIssuer):
            with pytest.raises(StorageError) as broken:
                cls.open(folder, DOMAIN, clock=clock)
            printed += [str(broken.value), repr(broken.value), repr(broken.value.__cause__)]
    things = [authority, named, published, server, issuers, issuer, authenticator, peer, authority.__dict__]
    printed += [*map(repr, things), *map(str, things), repr(logs), str(refused.value)]
    text = "\n".join(printed)
    assert len(logs) >= 3
    assert [form for form in secret if form in text] == []
