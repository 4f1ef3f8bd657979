"""One Secret in memory, with the API server's optimistic concurrency, and clients of it that can die at any request.

Rule: it knows the three requests that `ca.issuer_secret` makes, and refuses any other.
"""

from __future__ import annotations

import copy
from typing import Any

from kube.client import ApiError, ApiUnavailable


class Killed(BaseException):
    """The process is no more: nothing it would have done next is done."""


class MemorySecret:
    """The Secret as the API server keeps it."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = None
        self.version = 0

    def request(self, method: str, body: Any) -> Any:
        """What the API server answers."""
        if method == "GET":
            if self.stored is None:
                raise ApiError(404, "NotFound", "there is no such Secret", {})
            return copy.deepcopy(self.stored)
        if method == "POST" and self.stored is not None:
            raise ApiError(409, "AlreadyExists", "there is one", {})
        if method == "PUT":
            there = self.stored or {"metadata": {"resourceVersion": ""}}
            if body["metadata"]["resourceVersion"] != there["metadata"]["resourceVersion"]:
                raise ApiError(409, "Conflict", "it was changed meanwhile", {})
        assert method in {"POST", "PUT"}
        self.version += 1
        self.stored = copy.deepcopy(body)
        self.stored["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.stored)


class MortalClient:
    """What a replica speaks to the API server with. `dies_in`: the request, counted from now, that it dies at."""

    def __init__(self, secret: MemorySecret) -> None:
        self._secret = secret
        self.dies_in = 0
        self.dies_after = False
        """Whether the request it dies at is still carried out."""
        self.cut_off = False

    async def request(self, method: str, path: str, *, body: object = None) -> Any:
        """As kube.client.Client's."""
        assert path.endswith(("/secrets/weft-ca", "/secrets"))
        if self.cut_off:
            raise ApiUnavailable("the API server can't be reached")
        self.dies_in -= 1
        if self.dies_in == 0 and not self.dies_after:
            raise Killed
        answer = self._secret.request(method, body)
        if self.dies_in == 0:
            raise Killed
        return answer
