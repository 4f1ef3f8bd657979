"""Pods' ServiceAccount tokens, from the API server's TokenRequest.

Rule: a token is bound to its pod by uid, so the API server itself refuses it once the pod is gone; none is kept on disk
but in the pod's own volume.
Source: Kubernetes page "Managing Service Accounts"; API reference, authentication.k8s.io/v1 TokenRequest.
"""

from __future__ import annotations

from dataclasses import dataclass

from kube.client import ApiError, ApiUnavailable, Client
from kube.clock import Clock
from local.credentials import PodIdentity
from local.environment import Missing

FRESH = 0.1
"""The part of its life for which a token is handed out again; pods renew theirs after 0.8 of it."""


@dataclass(frozen=True, slots=True)
class _Held:
    token: str
    until: float


class RequestedTokens:
    """Tokens for the pods of a node. `lifetime` below is in seconds; the API server gives none below 600."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._held: dict[tuple[str, str, int], _Held] = {}

    async def token(self, pod: PodIdentity, audience: str, lifetime: int) -> str:
        """A token for a pod; an empty audience is the API server's own. Raises Missing."""
        name = pod.uid, audience, lifetime
        now = self._clock.passed()
        held = self._held.get(name)
        if held is not None and now < held.until:
            return held.token
        token = await self._requested(pod, audience, lifetime)
        self._held = {key: each for key, each in self._held.items() if now < each.until}
        self._held[name] = _Held(token, now + lifetime * FRESH)
        return token

    async def _requested(self, pod: PodIdentity, audience: str, lifetime: int) -> str:
        namespace, account = pod.pod.namespace, pod.service_account
        spec = {
            "audiences": [audience] if audience else [],
            "expirationSeconds": lifetime,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.pod.name, "uid": pod.uid},
        }
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        try:
            made = await self._client.request(
                "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", body=body
            )
        except (ApiError, ApiUnavailable) as error:
            said = error.message if isinstance(error, ApiError) else str(error)
            raise Missing(f"no token of ServiceAccount {namespace}/{account} for it: {said}") from error
        return str(made["status"]["token"])
