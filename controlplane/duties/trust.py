"""Gives every namespace the ConfigMap by which its sidecars know the control plane: the root certificate.

Rule: every namespace has it, so a pod never waits for its enrolment to be noticed; nothing secret is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from controlplane.duties.duty import Duty
from kube.client import ApiError, Client

AT_ONCE: Final = 8
"""Requests under way together."""


class TrustBundles:
    """Writes ConfigMap `name` with the PEM of `bundle` under `key` into each of `namespaces`."""

    def __init__(
        self,
        client: Client,
        name: str,
        key: str,
        bundle: Callable[[], bytes],
        namespaces: Callable[[], frozenset[str]],
    ) -> None:
        self._client = client
        self._name = name
        self._key = key
        self._bundle = bundle
        self._namespaces = namespaces
        self._turns = asyncio.Semaphore(AT_ONCE)

    @property
    def duty(self) -> Duty:
        """As a duty of the lease holder."""
        return Duty(
            name="trust bundles",
            carry_out=self.carry_out,
            concerns=lambda: (self._bundle(), self._namespaces()),
        )

    async def carry_out(self) -> None:
        """Bring all namespaces up to date. Raises ApiError and ApiUnavailable, after all others were tried."""
        wanted = self._bundle().decode()
        # One request for all of them; the field selector is what makes a right to this name alone suffice.
        query = {"fieldSelector": f"metadata.name={self._name}"}
        found = await self._client.request("GET", "/api/v1/configmaps", query=query)
        present = {item["metadata"]["namespace"]: item.get("data") or {} for item in found.get("items") or []}
        wrong = {name for name in self._namespaces() if present.get(name, {}).get(self._key) != wanted}
        writing = [self._write(name, name in present, wanted) for name in sorted(wrong)]
        outcomes = await asyncio.gather(*writing, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _write(self, namespace: str, there: bool, pem: str) -> None:
        collection = f"/api/v1/namespaces/{namespace}/configmaps"
        data = {self._key: pem}
        async with self._turns:
            try:
                if there:
                    await self._client.request(
                        "PATCH", f"{collection}/{self._name}", body={"data": data},
                        content_type="application/merge-patch+json",
                    )  # fmt: skip
                else:
                    await self._client.request("POST", collection, body=self._config_map(namespace, data))
            except ApiError as error:
                if not _is_passing(error):
                    raise

    def _config_map(self, namespace: str, data: dict[str, str]) -> dict[str, Any]:
        metadata = {"name": self._name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "weft"}}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _is_passing(error: ApiError) -> bool:
    """Whether the namespace is going or gone, or another wrote at once: nothing is wrong with that."""
    if error.code in {404, 409}:
        return True
    causes = error.details.get("causes") or ()
    return error.code == 403 and any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
