"""Registers a webhook that runs on the API server's own machine: by URL, for as long as it runs there.

Rule: what the API server asks about is what the chart says; only the address differs. Another Weft's registration is
never touched, and what is left of ours can be taken over and taken away.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any, Final

from controlplane.duties.callers import ADMISSION, DEFINITIONS
from controlplane.install.chart import RELEASE, manifest
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

    `namespace` is where Weft is said to live.
    """

    client: Client
    namespace: str
    url: str
    trusted: bytes

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
        body = {**document, "metadata": self._marked(document)}
        await self.client.request(
            "PATCH", _path(document), query={"fieldManager": MANAGER, "force": "true"}, body=body, content_type=APPLY
        )

    def _marked(self, document: Document) -> Document:
        """The metadata: what goes with us is marked as ours, what stays so that a Helm release may adopt it."""
        metadata = document["metadata"]
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        if document["kind"] != CRD:
            return {**metadata, "labels": {**labels, MANAGED_BY: MANAGER}}
        owner = {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": self.namespace}
        return {**metadata, "labels": {**labels, MANAGED_BY: "Helm"}, "annotations": {**annotations, **owner}}

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


def documents_of_chart(namespace: str) -> list[Document]:
    """The CRDs and the webhook configurations as the chart has them. Raises InstallError where Helm's engine is not."""
    found = (CRD, *CONFIGURATIONS)
    return [each for each in manifest({}, namespace) if each["kind"] in found]


async def check_alone(client: Client, documents: list[Document]) -> None:
    """Raises AnotherWeftError where one of these is there and another's, ApiError and ApiUnavailable."""
    for document in documents:
        try:
            found = await client.request("GET", _path(document))
        except ApiError as error:
            if error.code != 404:
                raise
            continue
        labels = found["metadata"].get("labels") or {}
        if document["kind"] == CRD and "weft.dev/crd" not in labels:
            raise AnotherWeftError(
                f"this cluster has a CustomResourceDefinition {found['metadata']['name']} of another mesh; remove it, "
                "or leave CRDs alone with --no-webhook"
            )
        if document["kind"] != CRD and labels.get(MANAGED_BY) != MANAGER:
            raise AnotherWeftError(
                f"this cluster has a Weft already ({document['kind']} {found['metadata']['name']}); remove it with "
                "`weft uninstall`, or use its webhook with --no-webhook"
            )


def _path(document: Document) -> str:
    collection = DEFINITIONS if document["kind"] == CRD else CONFIGURATIONS[document["kind"]]
    return f"{collection}/{document['metadata']['name']}"
