"""What each stream of the load client says, as the file that `bench/client/load.c` reads.

Rule: subscriptions are worked out from the same manifests by the same translation as the server's, so a reconnecting
stream brings the versions it would really hold; were they wrong, the server would send resources and it would show.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final

from bench.world import TRUST_DOMAIN, Folder
from ca.authority import Authority
from ca.tokens import TokenIssuer
from controlplane.plane import translation
from controlplane.settings import ControlPlaneSettings
from mesh.build import Builder
from mesh.settings import MeshSettings
from sources.folder import FolderSource
from xds import pb
from xds.names import BUNDLE_SECRET, LEAF_SECRET, node_id
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET
from xds.snapshot import Snapshot, World
from xds.translate.world import Translator

NUMBERED: Final = (CLUSTER, ENDPOINTS, LISTENER, ROUTES, EXTENSION, SECRET)
"""The load client's numbers of the types."""
ORDER: Final = ((CLUSTER,), (ENDPOINTS,), (LISTENER,), (ROUTES, EXTENSION, SECRET))
"""A group of requests follows when all of the group before are answered."""
WHOLE: Final = frozenset({CLUSTER, LISTENER})
NODE_BYTES: Final = 61_000
"""What Envoy 1.40 says of itself on the first request of a stream."""
LIFETIME: Final = timedelta(hours=1)

Request = tuple[str, bool, bytes]
"""Type, whether a response must come, and the encoded request without its node."""


def world_of(folder: Folder, ca_folder: Path) -> World:
    """What the server will make of these manifests."""
    resources = FolderSource([folder.path]).read()
    mesh = MeshSettings(trust_domain=TRUST_DOMAIN, access=folder.size.access)
    settings = ControlPlaneSettings(paths=(folder.path,), ca_folder=ca_folder, mesh=mesh)
    bundle = Authority.open(ca_folder, TRUST_DOMAIN).bundle_pem().decode()
    return Translator(translation(settings)).translate(Builder(mesh).build(resources), bundle)


def write_plan(path: Path, folder: Folder, ca_folder: Path, world: World) -> None:
    """The plan of all proxies of this mesh."""
    size, issuer = folder.size, TokenIssuer.open(ca_folder, TRUST_DOMAIN)
    places = {role: place for place, role in enumerate(world.roles)}
    with path.open("wb") as file:
        file.write(_bytes(_node_rest()))
        file.write(_number(len(places)))
        for snapshot in world.roles.values():
            file.write(_script(_fresh(snapshot)))
            file.write(_script([_resumed(snapshot)]))
        file.write(_number(size.proxies))
        for proxy in range(size.proxies):
            pod = size.pod(proxy)
            token = issuer.issue(size.identity(proxy), pod, LIFETIME)
            role = world.proxies[pod]
            file.write(_number(places[role]) + _bytes(node_id(pod).encode()) + _bytes(token.encode()))


def _named(snapshot: Snapshot, type_url: str) -> Mapping[str, str]:
    """Names and versions of a type; a secret's version is not known here."""
    found = {name: resource.version for name, resource in snapshot.resources.get(type_url, {}).items()}
    return found | dict.fromkeys((LEAF_SECRET, BUNDLE_SECRET), "") if type_url == SECRET else found


def _fresh(snapshot: Snapshot) -> list[list[Request]]:
    return [[made for url in group if (made := _request(snapshot, url, {}, Random(0)))] for group in ORDER]


def _resumed(snapshot: Snapshot) -> list[Request]:
    """All at once, as Envoy does: it holds everything, only secrets are asked for anew."""
    types = [url for group in ORDER for url in group]
    held = {url: _named(snapshot, url) if url != SECRET else {} for url in types}
    order = Random(snapshot.identity.uri)
    return [made for url in types if (made := _request(snapshot, url, held[url], order))]


def _request(snapshot: Snapshot, type_url: str, held: Mapping[str, str], order: Random) -> Request | None:
    names = [] if type_url in WHOLE else sorted(_named(snapshot, type_url))
    if not names and type_url not in WHOLE:
        return None
    request = pb.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names)
    return type_url, not held, request.SerializeToString(deterministic=True) + _shuffled(held, order)


def _shuffled(held: Mapping[str, str], order: Random) -> bytes:
    """The versions a stream brings, field by field (`initial_resource_versions`, 3), in an order of no meaning.

    Envoy's is that of a hash map, another one in each process: a server that is quick only where the order is its own
    would not be quick with Envoys. Here all proxies of a role have one order between them.
    """
    entries = [
        pb.DeltaDiscoveryRequest(initial_resource_versions={name: version}).SerializeToString()
        for name, version in held.items()
    ]
    order.shuffle(entries)
    return b"".join(entries)


def _node_rest() -> bytes:
    """Envoy's list of its extensions, in size: Node.extensions (9) of {name 1, category 2, type_urls 5}."""
    rest = bytearray()
    number = 0
    while len(rest) < NODE_BYTES:
        name = f"envoy.filters.http.extension_number_{number}".encode()
        kind = f"envoy.extensions.filters.http.extension_number_{number}.v3.Settings".encode()
        body = b"".join(
            bytes([tag, len(text)]) + text for tag, text in ((0x0A, name), (0x12, b"envoy.filters.http"), (0x2A, kind))
        )
        rest += bytes([0x4A]) + _varint(len(body)) + body
        number += 1
    return bytes(rest)


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


def _script(groups: Iterable[list[Request]]) -> bytes:
    kept = [group for group in groups if group]
    parts = [_number(len(kept))]
    for group in kept:
        parts.append(_number(len(group)))
        parts.extend(
            _number(NUMBERED.index(url)) + _number(int(answered)) + _bytes(data) for url, answered, data in group
        )
    return b"".join(parts)


def _number(value: int) -> bytes:
    return struct.pack("<I", value)


def _bytes(data: bytes) -> bytes:
    return _number(len(data)) + data
