"""Which other trust domains are federated with, as a file says it, and their bundles as they are fetched.

Rule: a bundle is known by where it came from, never by what it says; each endpoint is authenticated as its profile
demands, redirects are not followed, and what is fetched is bounded in bytes and time.
Source: SPIFFE Federation §5; the fields are those of SPIRE's ClusterFederatedTrustDomain.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from ca.issuers import TRUST_DOMAIN
from ca.spiffe_bundle import LARGEST, BadBundle

PATIENCE: Final = 10.0
"""Seconds that a fetch may take, from the connection to the last byte."""
MOST_DOMAINS: Final = 100
CHUNK: Final = 1 << 16


class FederationError(Exception):
    """What is federated with can't be read, or not be fetched. The text says why."""


class Profile(StrEnum):
    """How an endpoint proves that it speaks for its trust domain: by the web's authorities, or by a SPIFFE ID."""

    HTTPS_WEB = "https_web"
    HTTPS_SPIFFE = "https_spiffe"


class EndpointProfile(
    msgspec.Struct, frozen=True, rename={"spiffe_id": "endpointSPIFFEID"}, forbid_unknown_fields=True
):
    """`spiffe_id` is whom the endpoint must be, with https_spiffe."""

    type: Profile
    spiffe_id: str = ""


class Partner(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={
    "trust_domain": "trustDomain", "url": "bundleEndpointURL", "profile": "bundleEndpointProfile",
    "file": "trustDomainBundleFile",
}):  # fmt: skip
    """Another trust domain. Its bundle is in a file, at an endpoint, or in both: the file's until one was fetched."""

    trust_domain: str
    url: str = ""
    profile: EndpointProfile | None = None
    file: str = ""


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    federates_with: tuple[Partner, ...] = msgspec.field(name="federatesWith", default=())


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a bundle is fetched, and `roots` (PEM) and `spiffe_id` by which it is known; without: the web's."""

    host: str
    port: int
    path: str
    roots: str = ""
    spiffe_id: str = ""


def read_partners(content: bytes) -> tuple[Partner, ...]:
    """The other trust domains that a file (YAML or JSON) names. Raises FederationError."""
    try:
        document = msgspec.yaml.decode(content, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FederationError(f"is not what can be read here: {error}") from error
    partners = document.federates_with
    names = [partner.trust_domain for partner in partners]
    if len(names) > MOST_DOMAINS:
        raise FederationError(f"names more than {MOST_DOMAINS} trust domains")
    if len(set(names)) < len(names):
        raise FederationError("names a trust domain twice")
    for index, partner in enumerate(partners):
        if fault := _fault(partner):
            raise FederationError(f"federatesWith[{index}] {fault}")
    return partners


def endpoint(partner: Partner, roots: str) -> Endpoint:
    """Where this partner's bundle is fetched; `roots` are those that are known of it, PEM."""
    parts = urlsplit(partner.url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    made = Endpoint(parts.hostname or "", parts.port or 443, path)
    if partner.profile is None or partner.profile.type is Profile.HTTPS_WEB:
        return made
    return Endpoint(made.host, made.port, path, roots, partner.profile.spiffe_id)


def fetch(place: Endpoint, context: ssl.SSLContext | None = None, patience: float = PATIENCE) -> bytes:
    """The document at an endpoint. Blocks for `patience` seconds at most. Raises FederationError.

    `context` is for the web's profile, where its authorities are not the system's.
    """
    if place.spiffe_id and not place.roots:
        raise FederationError("there is no bundle yet by which the endpoint could be known: give one in a file")
    end = time.monotonic() + patience
    connection = http.client.HTTPSConnection(
        place.host, place.port, timeout=patience / 2, context=_context(place, context)
    )
    late = threading.Timer(patience, _cut, (connection,))
    try:
        connection.connect()
        late.start()
        _check(connection, place)
        connection.request("GET", place.path, headers={"accept": "application/json", "connection": "close"})
        return _body(connection, end)
    except ValueError as error:
        raise FederationError(f"can't be fetched: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise FederationError(f"can't be fetched: {error or type(error).__name__}") from error
    finally:
        late.cancel()
        connection.close()


def read_file(path: Path) -> bytes:
    """A file, bounded. Raises FederationError."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise FederationError(f"{path} can't be read: {error.strerror}") from error
    if len(content) > LARGEST:
        raise FederationError(f"{path} is longer than {LARGEST} bytes")
    return content


def _fault(partner: Partner) -> str:
    if not TRUST_DOMAIN.fullmatch(partner.trust_domain):
        return f"names {partner.trust_domain!r}, which is no trust domain"
    if not partner.url:
        return "" if partner.file else "has neither bundleEndpointURL nor trustDomainBundleFile"
    try:
        parts = urlsplit(partner.url)
        fine = parts.scheme == "https" and parts.hostname and "@" not in parts.netloc and (parts.port or 443)
    except ValueError:
        fine = False
    if not fine:
        return "has a bundleEndpointURL that is no https URL without user info"
    profile = partner.profile
    if profile is None:
        return "has a bundleEndpointURL and no bundleEndpointProfile"
    theirs = profile.spiffe_id.startswith(f"spiffe://{partner.trust_domain}/")
    if profile.type is Profile.HTTPS_SPIFFE and not theirs:
        # Another domain's endpoint could speak for this one: allowed by the specification, and a trap (§7.6).
        return f"needs an endpointSPIFFEID of trust domain {partner.trust_domain}"
    return ""


def _context(place: Endpoint, given: ssl.SSLContext | None) -> ssl.SSLContext:
    if not place.spiffe_id:
        return given or ssl.create_default_context()
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    # Not by its host name: by its SPIFFE ID, once the chain holds (SPIFFE Federation §5.2.2.4).
    made.check_hostname = False
    made.load_verify_locations(cadata=place.roots)
    return made


def _check(connection: http.client.HTTPSConnection, place: Endpoint) -> None:
    if not place.spiffe_id:
        return
    certificate = connection.sock.getpeercert() or {}
    names = [str(each[1]) for each in certificate.get("subjectAltName", ()) if each[0] == "URI"]
    if names != [place.spiffe_id]:
        raise FederationError(f"the endpoint is {', '.join(names) or 'nobody'}, not {place.spiffe_id}")


def _cut(connection: http.client.HTTPSConnection) -> None:
    """End what says a byte now and then, each within its time: whoever waits for it hears that it is over."""
    with contextlib.suppress(OSError, AttributeError):
        socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _body(connection: http.client.HTTPSConnection, end: float) -> bytes:
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise FederationError(f"can't be fetched: the endpoint answers {answer.status}")
    content = b""
    while chunk := answer.read1(CHUNK):
        content += chunk
        if len(content) > LARGEST:
            raise BadBundle(f"is longer than {LARGEST} bytes")
        if time.monotonic() > end:
            raise FederationError("can't be fetched in time")
    return content
