"""Who is at the other end of a stream. Identity comes from the token alone, never from what the node says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mesh.model import Identity, PodId


@dataclass(frozen=True, slots=True)
class Peer:
    """An authenticated proxy. `pod` is what the token is bound to, None where it is bound to the identity only.

    `expires` is the token's end as seconds since the epoch; a stream outlives it by a bounded time at most.
    """

    identity: Identity
    pod: PodId | None
    expires: float


class Refused(Exception):  # noqa: N818 - it names what happened to the caller, who is the one at fault
    """The token proves nothing. The text is for logs and for the caller; it never holds the token."""


class Unknown(Exception):  # noqa: N818 - it names what we don't know, which is nobody's fault
    """Whether the token proves anything can't be found out now; the caller may come again. It never holds the token."""


class Authenticator(Protocol):
    """Checks bearer tokens: `ca.tokens` in standalone mode, TokenReview in a cluster."""

    async def authenticate(self, token: str) -> Peer:
        """Who bears this token. Raises Refused, and Unknown while nobody can say."""
