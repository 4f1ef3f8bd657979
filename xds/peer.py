"""Who is at the other end of a stream. Identity comes from the token alone, never from what the node says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from mesh.model import Identity, PodId


@dataclass(frozen=True, slots=True)
class Peer:
    """An authenticated proxy. `pod` is what the token is bound to, None where it is bound to the identity only.

    `expires` is the token's end as seconds since the epoch; a stream outlives it by a bounded time at most. `uid`
    is the pod's, empty where nobody says it.
    """

    identity: Identity
    pod: PodId | None
    expires: float
    uid: str = field(default="", compare=False)


class Reason(StrEnum):
    """Why a token is refused, in a word for metrics."""

    INVALID = "invalid"
    """Not signed by whom it should be, not readable, or revoked."""
    TIME = "time"
    """Expired, or not valid yet."""
    AUDIENCE = "audience"
    """Meant for somebody else."""
    ACCOUNT = "account"
    """No ServiceAccount's, or of another trust domain."""
    POD = "pod"
    """Bound to no pod, or to one that is gone."""


class Refused(Exception):  # noqa: N818 - it names what happened to the caller, who is the one at fault
    """The token proves nothing. The text is for logs and for the caller; it never holds the token."""

    def __init__(self, text: str, reason: Reason = Reason.INVALID) -> None:
        super().__init__(text)
        self.reason = reason


class Unknown(Exception):  # noqa: N818 - it names what we don't know, which is nobody's fault
    """Whether the token proves anything can't be found out now; the caller may come again. It never holds the token."""


class Authenticator(Protocol):
    """Checks bearer tokens: `ca.tokens` in standalone mode, TokenReview in a cluster."""

    async def authenticate(self, token: str) -> Peer:
        """Who bears this token. Raises Refused, and Unknown while nobody can say."""
