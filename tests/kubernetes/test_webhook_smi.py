"""SMI objects are checked and converted by the process `weft webhook`, with the CRDs and the entries of the chart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from api_server import ApiServer
from raw_api import RawApi
from smi_cluster import installed, shipped
from weft_webhook import injecting

SPLITS = "trafficsplits"


@pytest.fixture(scope="module")
def splits(
    api_server: ApiServer, api: RawApi, shared_namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """The path of the TrafficSplits of a namespace in a version, where all is as the chart would have it."""
    crds = shipped()
    with injecting(api_server, api, tmp_path_factory.mktemp("webhook")) as running:
        for crd in crds:
            if crd["spec"]["conversion"]["strategy"] == "Webhook":
                crd["spec"]["conversion"]["webhook"]["clientConfig"] = running.client_config("/convert")
        with installed(api, crds):
            yield lambda version: f"/apis/split.smi-spec.io/{version}/namespaces/{shared_namespace}/{SPLITS}"


def split(name: str, version: str, *weights: Any, service: str = "web") -> dict[str, Any]:
    backends = [{"service": f"web-v{number}", "weight": weight} for number, weight in enumerate(weights, 1)]
    return {
        "apiVersion": f"split.smi-spec.io/{version}",
        "kind": "TrafficSplit",
        "metadata": {"name": name},
        "spec": {"service": service, "backends": backends},
    }


def test_v4_every_version_is_read_as_every_other(api: RawApi, splits: Any) -> None:
    api("POST", splits("v1alpha1"), split("web", "v1alpha1", "500m", "1500m")).expect(201)
    for version in ("v1alpha2", "v1alpha3", "v1alpha4"):
        found = api("GET", f"{splits(version)}/web").expect(200)
        assert [backend["weight"] for backend in found["spec"]["backends"]] == [500, 1500]
    (old,) = api("GET", splits("v1alpha1")).expect(200)["items"]
    assert [backend["weight"] for backend in old["spec"]["backends"]] == ["500m", "1500m"]


def test_t1_a_split_of_another_namespaces_service_is_refused_with_its_field(api: RawApi, splits: Any) -> None:
    wrong = split("wrong", "v1alpha4", 1, service="web.elsewhere")
    answer = api("POST", splits("v1alpha4"), wrong)
    while answer.code == 201:  # the API server has not seen the configuration yet
        api("DELETE", f"{splits('v1alpha4')}/wrong").expect(200)
        answer = api("POST", splits("v1alpha4"), wrong)
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert [cause["field"] for cause in answer.causes] == ["spec.service"]
    assert api("GET", f"{splits('v1alpha4')}/wrong").code == 404
