"""`weft check` in a cluster, the SMI metrics API: is it reached and trusted, and how is it mended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chart_documents import of_kind, rendered
from controlplane.check import Line
from controlplane.install.aggregated import REGISTERED, metrics_api
from controlplane.metrics_api.paths import GROUP, VERSIONS
from kube.client import ApiError

NAMESPACE = "weft-system"


class Registered:
    """An API server with these APIServices; `refusals` are what it says of their groups' discovery."""

    def __init__(self, items: Mapping[str, Any], refusals: Mapping[str, ApiError] | None = None) -> None:
        self._items = items
        self._refusals = refusals or {}

    async def request(self, *asked: Any, **_more: Any) -> Any:
        _method, path = asked
        if path in self._refusals:
            raise self._refusals[path]
        if path.startswith(REGISTERED):
            name = path.rpartition("/")[2]
            if name not in self._items:
                raise ApiError(404, "NotFound", name)
            return self._items[name]
        return {"kind": "APIResourceList"}


def installed(**spec: Any) -> dict[str, Any]:
    """The chart's APIServices, as the control plane makes them, but for this."""
    found = {item["metadata"]["name"]: item for item in of_kind(rendered(namespace=NAMESPACE), "APIService")}
    for item in found.values():
        item["spec"] |= {"caBundle": "Q0E=", **spec}
    return found


def condition(status: str, message: str = "") -> dict[str, Any]:
    return {
        "conditions": [{"type": "Available", "status": status, "reason": "FailedDiscoveryCheck", "message": message}]
    }


async def lines(server: Registered) -> list[Line]:
    return [line async for line in metrics_api(server, NAMESPACE)]


async def test_an_api_that_is_reached_is_one_line() -> None:
    (line,) = await lines(Registered(installed()))
    assert (line.ok, line.sentence) == (True, "The API server reaches the SMI metrics API")


async def test_an_api_that_was_switched_off_is_no_fault() -> None:
    (line,) = await lines(Registered({}))
    assert line.ok


@pytest.mark.parametrize(
    ("spec", "sentence", "hint"),
    [
        ({"caBundle": ""}, "has no caBundle yet", "weft-leader"),
        ({"service": {"namespace": "linkerd", "name": "smi-metrics"}}, "is served by linkerd/smi-metrics", "remove"),
        ({"service": None}, "is served by the API server itself", "remove"),
    ],
)
async def test_each_fault_is_named_with_its_object_and_how_to_mend_it(
    spec: dict[str, Any], sentence: str, hint: str
) -> None:
    found = await lines(Registered(installed(**spec)))
    assert [line.ok for line in found] == [False, False]
    for version, line in zip(VERSIONS, found, strict=True):
        assert line.sentence.startswith(f"apiservice/{version}.{GROUP} {sentence}")
        assert hint in line.hint


async def test_a_version_that_is_missing_is_told() -> None:
    items = installed()
    del items[f"v1alpha1.{GROUP}"]
    (line,) = await lines(Registered(items))
    assert (line.ok, line.sentence) == (False, f"apiservice/v1alpha1.{GROUP} is missing")


async def test_why_the_api_server_does_not_reach_it_is_in_its_words() -> None:
    items = {name: {**item, "status": condition("True")} for name, item in installed().items()}
    items[f"v1alpha2.{GROUP}"]["status"] = condition("False", "no response from https://10.96.0.9:15017")
    away = ApiError(503, "ServiceUnavailable", "error trying to reach service: EOF")
    first, second = await lines(Registered(items, {f"/apis/{GROUP}/v1alpha1": away}))
    assert first.sentence.endswith(
        "v1alpha2.metrics.smi-spec.io is not available: no response from https://10.96.0.9:15017"
    )
    assert second.sentence.endswith("is not available: error trying to reach service: EOF")
    assert "port 15017" in second.hint
    assert "metricsApi.enabled=false" in second.hint
