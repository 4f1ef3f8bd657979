"""A cluster that had another SMI mesh: our definitions take the place of its own, and its objects go on."""

from __future__ import annotations

import time
from typing import Any

from custom_kind import ANYTHING, CRDS
from raw_api import RawApi
from smi.decode import read
from smi.kinds import TrafficSplit
from smi_cluster import answered, installed, reachable, shipped
from webhook_server import WebhookServer

NAME = "trafficsplits.split.smi-spec.io"
PATH = "/apis/split.smi-spec.io/{version}/namespaces/{namespace}/trafficsplits"


def of_another_mesh() -> dict[str, Any]:
    """Its definition: an old version is stored, nothing is converted, anything goes."""
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": ANYTHING}}}
    names = {"plural": "trafficsplits", "singular": "trafficsplit", "kind": "TrafficSplit", "shortNames": ["ts"]}
    versions = [{"name": "v1alpha1", "served": True, "storage": True, "schema": schema}]
    spec = {"group": "split.smi-spec.io", "scope": "Namespaced", "names": names, "versions": versions}
    head = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return {**head, "metadata": {"name": NAME}, "spec": spec}


def split(weight: str) -> dict[str, Any]:
    backends = [{"service": "books", "weight": weight}, {"service": "faults", "weight": "100m"}]
    head = {"apiVersion": "split.smi-spec.io/v1alpha1", "kind": "TrafficSplit", "metadata": {"name": "faults"}}
    return {**head, "spec": {"service": "books", "backends": backends}}


def test_v1_what_another_mesh_stored_is_served_in_every_version(api: RawApi, namespace: str) -> None:
    ours = next(crd for crd in shipped() if crd["metadata"]["name"] == NAME)
    old, new = (PATH.format(version=version, namespace=namespace) for version in ("v1alpha1", "v1alpha4"))
    with WebhookServer(answered) as server, installed(api, [of_another_mesh()]):
        api("POST", old, split("900m")).expect(201)
        found = api("GET", f"{CRDS}/{NAME}").expect(200)
        taken = reachable(ours, server)
        taken["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        api("PUT", f"{CRDS}/{NAME}", taken).expect(200)
        for path in (old, new):
            # A definition that changed is served anew a moment later: 404, or 429 while the storage begins again.
            while api("GET", f"{path}/faults").code in {404, 429}:
                time.sleep(0.02)
        object_ = read(api("GET", f"{new}/faults").expect(200)).object
        assert isinstance(object_, TrafficSplit)
        assert [backend.weight for backend in object_.backends] == [900, 100]
        assert api("GET", f"{old}/faults").expect(200)["spec"] == split("900m")["spec"]
        listed = api("GET", new).expect(200)["items"]
        assert [item["apiVersion"] for item in listed] == ["split.smi-spec.io/v1alpha4"]
        again = {**api("GET", f"{old}/faults").document, "spec": split("800m")["spec"]}
        api("PUT", f"{old}/faults", again).expect(200)
        assert api("GET", f"{new}/faults").document["spec"]["backends"][0]["weight"] == 800
        assert set(api("GET", f"{CRDS}/{NAME}").document["status"]["storedVersions"]) == {"v1alpha1", "v1alpha4"}
