"""What every proxy should have at one moment: the World that translation makes and the server serves.

Rule: a value. Roles share their Resources; a proxy is one line in `proxies`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mesh.model import Identity, PodId
from xds.peers import NO_PEERS, Peers
from xds.resource import Resource

Named = Mapping[str, Resource]
"""Resources of one type by name."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one role should have: type URL → name → Resource. Secrets of the identity are not in here."""

    identity: Identity
    resources: Mapping[str, Named]


@dataclass(frozen=True, slots=True)
class World:
    """All roles, and which role each proxy has. `bundle` is the trust bundle that is in it, PEM; `peers` who is met."""

    roles: Mapping[str, Snapshot] = field(default_factory=dict)
    proxies: Mapping[PodId, str] = field(default_factory=dict)
    bundle: str = ""
    peers: Peers = NO_PEERS


class NoSecretsNow(Exception):  # noqa: N818 - it names the state
    """There are none now, and nothing is wrong with us: whoever signs is away. The text is for people."""


class SecretSource(Protocol):
    """Who knows the secrets of an identity; `ca` is one. Streams get secrets of their own identity only."""

    async def secrets(self, identity: Identity) -> Named:
        """The identity's current secrets by SDS name. Called when a stream opens; may issue a leaf.

        Later changes are pushed with `Cache.publish_secrets`. Raises NoSecretsNow.
        """
