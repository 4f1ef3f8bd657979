"""Who bears a token, as the API server says (TokenReview), for a few seconds at a time.

Rule: only a clear yes makes anybody somebody. A token is kept as a hash only, and never told. Few reviews are under way
together, whoever asks. Source: Kubernetes API reference, authentication.k8s.io/v1.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import Any, Final

from controlplane.metrics_api.callers import Requests, User
from kube.clock import SYSTEM_CLOCK, Clock

REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
AUDIENCE: Final = "weft-admin"
"""Whom a token is for that goes through others' hands, such as the API server's proxy: for nobody but us."""
REMEMBERED: Final = 10.0
"""Seconds that an answer holds."""
MOST: Final = 1024
"""Answers that are remembered."""
AT_ONCE: Final = 8
PATIENCE: Final = 5.0
"""Seconds for one review, waiting included."""
LONGEST: Final = 16 * 1024
"""Characters of a token."""


class Tokens:
    """Asks, and remembers for a moment."""

    def __init__(self, requests: Requests, clock: Clock = SYSTEM_CLOCK) -> None:
        self._requests = requests
        self._clock = clock
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._answers: OrderedDict[bytes, tuple[float, User | None]] = OrderedDict()

    async def bearer(self, token: str, audience: str = "") -> User | None:
        """Whose token this is; without an audience it must be for the API server itself. None: nobody's.

        Raises ApiError, ApiUnavailable and TimeoutError where the API server does not say.
        """
        if not token or len(token) > LONGEST or not token.isascii():
            return None
        key = hashlib.sha256(f"{audience}\n{token}".encode()).digest()
        until, known = self._answers.get(key, (0.0, None))
        if self._clock.passed() < until:
            return known
        spec = {"token": token, **({"audiences": [audience]} if audience else {})}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        async with asyncio.timeout(PATIENCE), self._turns:
            review = await self._requests.request("POST", REVIEWS, body=body)
        user = _user(review.get("status") or {}, audience)
        self._answers[key] = (self._clock.passed() + REMEMBERED, user)
        self._answers.move_to_end(key)
        while len(self._answers) > MOST:
            self._answers.popitem(last=False)
        return user


def _user(status: dict[str, Any], audience: str) -> User | None:
    """The user of a review's status; an API server that leaves audiences out does not know them."""
    if status.get("authenticated") is not True or status.get("error"):
        return None
    if audience and audience not in (status.get("audiences") or ()):
        return None
    user = status.get("user") or {}
    extra = tuple(sorted((key, tuple(values)) for key, values in (user.get("extra") or {}).items()))
    name = str(user.get("username") or "")
    return User(name, str(user.get("uid") or ""), tuple(user.get("groups") or ()), extra) if name else None
