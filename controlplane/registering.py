"""Registers a webhook that runs on the API server's own machine: by URL, for as long as it runs there.

Rule: what the API server asks about is what the chart says; only the address differs. Another Weft's registration is
never touched, and what is left of ours can be taken over and taken away.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from controlplane.duties.callers import ADMISSION, DEFINITIONS
from controlplane.install.chart import manifest
from kube.client import ApiError, Client

CONFIGURATIONS: Final = {
    "MutatingWebhookConfiguration": f"{ADMISSION}/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": f"{ADMISSION}/validatingwebhookconfigurations",
}
CRD: Final = "CustomResourceDefinition"

MANAGER: Final = "weft-up"
"""Who we are in managedFields, and in the label below."""

MANAGED_BY: Final = "app.kubernetes.io/managed-by"

APPLY: Final = "application/apply-patch+yaml"

Document = dict[str, Any]


class AnotherWeftError(Exception):
    """The cluster has a Weft that is not ours to change; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Registering:
    """The registrations of the webhook that listens at `url`, and whose certificate leads to the PEM `trusted`.

    `namespace` is where Weft is said to live. Made of the chart, so it needs Helm's engine: `documents` raises
    InstallError where that is not installed.
    """

    client: Client
    namespace: str
    url: str
    trusted: bytes

    def documents(self) -> list[Document]:
        """The CRDs and the webhook configurations as the chart has them."""
        found = (CRD, *CONFIGURATIONS)
        return [each for each in manifest({}, self.namespace) if each["kind"] in found]

    async def register(self, documents: list[Document]) -> None:
        """Put all in force, the CRDs first. Raises ApiError and ApiUnavailable."""
        await self._ensure_namespace()
        for document in documents:
            await self._apply(self._by_url(document))

    async def unregister(self, documents: list[Document]) -> None:
        """Take the webhook configurations away; the CRDs stay, as the chart has them. Raises as `register` does."""
        for document in reversed(documents):
            if document["kind"] == CRD:
                await self._apply(document)
            else:
                await self._remove(_path(document))

    async def _ensure_namespace(self) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        try:
            await self.client.request("POST", "/api/v1/namespaces", body=body)
        except ApiError as error:
            if error.code != 409:
                raise

    async def _apply(self, document: Document) -> None:
        labels = {**(document["metadata"].get("labels") or {}), MANAGED_BY: MANAGER}
        body = {**document, "metadata": {**document["metadata"], "labels": labels}}
        await self.client.request(
            "PATCH", _path(document), query={"fieldManager": MANAGER, "force": "true"}, body=body, content_type=APPLY
        )

    async def _remove(self, path: str) -> None:
        try:
            await self.client.request("DELETE", path)
        except ApiError as error:
            if error.code != 404:
                raise

    def _by_url(self, document: Document) -> Document:
        """The same with the webhook's address in place of the Service."""
        if document["kind"] != CRD:
            hooks = [
                {**hook, "clientConfig": self._address(hook["clientConfig"]["service"]["path"])}
                for hook in document["webhooks"]
            ]
            return {**document, "webhooks": hooks}
        conversion = document["spec"]["conversion"]
        if "webhook" not in conversion:
            return document
        path = conversion["webhook"]["clientConfig"]["service"]["path"]
        called = {**conversion["webhook"], "clientConfig": self._address(path)}
        return {**document, "spec": {**document["spec"], "conversion": {**conversion, "webhook": called}}}

    def _address(self, path: str) -> Document:
        return {"url": f"{self.url}{path}", "caBundle": b64encode(self.trusted).decode()}


async def check_alone(client: Client) -> None:
    """Raises AnotherWeftError where the API server asks another Weft's webhook, ApiError and ApiUnavailable."""
    for path in _all_configurations():
        try:
            found = await client.request("GET", path)
        except ApiError as error:
            if error.code != 404:
                raise
            continue
        if (found["metadata"].get("labels") or {}).get(MANAGED_BY) != MANAGER:
            raise AnotherWeftError(
                f"this cluster has a Weft already ({path.rpartition('/')[0].rpartition('/')[2]} "
                f"{found['metadata']['name']}); remove it with `weft uninstall`, or use its webhook with --no-webhook"
            )


def _all_configurations() -> Iterator[str]:
    yield from (f"{path}/weft-webhook" for path in CONFIGURATIONS.values())


def _path(document: Document) -> str:
    collection = DEFINITIONS if document["kind"] == CRD else CONFIGURATIONS[document["kind"]]
    return f"{collection}/{document['metadata']['name']}"
