"""Tells the API server whom to trust when it calls us: the caBundle of webhook configurations, CRDs and APIServices.

Rule: only entries that call our Service are touched, only their caBundle, and none is ever taken away.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any, Final

from controlplane.duties.duty import Duty
from kube.client import ApiError, Client

ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
CONFIGURATIONS: Final = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
API_SERVICES: Final = "/apis/apiregistration.k8s.io/v1/apiservices"
DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MOST_TRIES: Final = 5
"""A CRD that was just made is changed by the API server several times."""


class CaBundles:
    """Keeps the caBundles of all that call Service `service` in `namespace` at the PEM of `bundle`.

    `configurations` are the names of our webhook configurations, `definitions` of the CRDs we convert, `api_services`
    of the versions of API groups that we serve.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        service: str,
        bundle: Callable[[], bytes],
        *,
        configurations: tuple[str, ...] = (),
        definitions: tuple[str, ...] = (),
        api_services: tuple[str, ...] = (),
    ) -> None:
        self._client = client
        self._service = {"namespace": namespace, "name": service}
        self._duty = f"caBundles of {service}"
        self._bundle = bundle
        self._paths = (
            *(f"{ADMISSION}/{kind}/{name}" for kind in CONFIGURATIONS for name in configurations),
            *(f"{DEFINITIONS}/{name}" for name in definitions),
            *(f"{API_SERVICES}/{name}" for name in api_services),
        )

    @property
    def duty(self) -> Duty:
        """As a duty of the lease holder."""
        return Duty(name=f"caBundles of {self._service['name']}", carry_out=self.carry_out, concerns=self._bundle)

    async def carry_out(self) -> None:
        """Bring all of them up to date; those that are not installed are left out. Raises ApiError, ApiUnavailable."""
        wanted = b64encode(self._bundle()).decode()
        for path in self._paths:
            await self._bring(path, wanted)

    async def _bring(self, path: str, wanted: str) -> None:
        for attempt in range(1, MOST_TRIES + 1):
            try:
                found = await self._client.request("GET", path)
                if patch := list(self._patch(found, wanted)):
                    await self._client.request("PATCH", path, body=patch, content_type="application/json-patch+json")
            except ApiError as error:
                if error.code == 404:
                    return
                # The test in the patch failed (422), or its writing did (409): somebody else was faster.
                if error.code not in {409, 422} or attempt == MOST_TRIES:
                    raise
            else:
                return

    def _patch(self, found: dict[str, Any], wanted: str) -> Iterator[dict[str, Any]]:
        """What is to be changed, each after a test that it is still what was read."""
        version = found["metadata"]["resourceVersion"]
        for path, client_config in _calls(found):
            called = client_config.get("service") or {}
            if {key: called.get(key) for key in self._service} != self._service:
                continue
            if client_config.get("caBundle") != wanted:
                yield {"op": "test", "path": "/metadata/resourceVersion", "value": version}
                yield {"op": "add", "path": f"{path}/caBundle", "value": wanted}


def _calls(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The places in a webhook configuration, CRD or APIService that say whom to call, with their JSON pointers."""
    for index, webhook in enumerate(found.get("webhooks") or []):
        yield f"/webhooks/{index}/clientConfig", webhook.get("clientConfig") or {}
    if "groupPriorityMinimum" in (found.get("spec") or {}):
        yield "/spec", found["spec"]
    conversion = (found.get("spec") or {}).get("conversion") or {}
    if (client_config := (conversion.get("webhook") or {}).get("clientConfig")) is not None:
        yield "/spec/conversion/webhook/clientConfig", client_config
