"""A Service without selector leads to another mesh, where an annotation says who answers there (rule H4)."""

from __future__ import annotations

from pathlib import Path

import pytest

import world
from manifest_world import Understood, understood
from mesh.federated import UNPROVABLE
from mesh.model import Identity, PortId, ServiceId
from xds import pb
from xds.peers import Peers
from xds.resource import CLUSTER, ENDPOINTS
from xds.translate.world import TranslateSettings, Translator

NAME = "spiffe://other.example/ns/web/sa/api"
THERE = Identity("other.example", "web", "api")
PORT = PortId(ServiceId(world.NAMESPACE, "far"), 80)
SERVICE = """
---
apiVersion: v1
kind: Service
metadata:
  name: far
  namespace: {namespace}
  annotations: {{weft.dev/federated-identity: "{name}"}}
spec:
  clusterIP: 10.96.7.7
  selector: {selector}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: far-1, namespace: {namespace}, labels: {{kubernetes.io/service-name: far}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: [{{addresses: [192.0.2.7]}}]
"""


def read(folder: Path, name: str, selector: str = "{}") -> Understood:
    (folder / "base.yaml").write_text(world.base())
    (folder / "far.yaml").write_text(SERVICE.format(namespace=world.NAMESPACE, name=name, selector=selector))
    return understood([folder])


def client_of(found: Understood) -> str:
    return next(str(pod) for pod in found.world.proxies if pod.name.startswith("client"))


def test_h4_its_endpoints_are_spoken_to_by_mutual_tls_as_whom_the_annotation_names(tmp_path: Path) -> None:
    found = read(tmp_path, NAME)
    [endpoint] = found.mesh.endpoints[PORT]
    assert (endpoint.address, endpoint.identity) == ("192.0.2.7", THERE)
    snapshot = found.snapshot(client_of(found))
    cluster = pb.Cluster.FromString(snapshot.resources[CLUSTER][str(PORT)].body)
    assert NAME.encode() in cluster.transport_socket.typed_config.value
    assert b"plaintext" not in snapshot.resources[ENDPOINTS][str(PORT)].body
    assert [problem for problem in found.problems if problem.object.name == "far"] == []


def test_h4_a_mesh_that_nobody_vouches_for_is_not_believed(tmp_path: Path) -> None:
    found = read(tmp_path, NAME)
    for foreign, believed in (((("other.example", "PEM"),), True), ((), False)):
        peers = Peers("cluster.local", ("cluster.local",), foreign)
        sent = Translator(TranslateSettings()).translate(found.mesh, "bundle", peers)
        role = next(role for pod, role in sent.proxies.items() if pod.name.startswith("client"))
        body = sent.roles[role].resources[CLUSTER][str(PORT)].body
        assert (NAME.encode() in body) == believed
        assert (b"weft:nobody" in body) != believed


@pytest.mark.parametrize(
    ("name", "selector", "identity"),
    [("nonsense", "{}", UNPROVABLE), ("", "{}", UNPROVABLE), (NAME, "{app: nothing}", None)],
)
def test_h4_what_is_written_wrong_is_told_and_never_leads_to_plaintext_by_mistake(
    tmp_path: Path, name: str, selector: str, identity: Identity | None
) -> None:
    found = read(tmp_path, name, selector)
    assert [endpoint.identity for endpoint in found.mesh.endpoints[PORT]] == [identity]
    assert [problem.field for problem in found.problems if problem.object.name == "far"] == [
        "metadata.annotations[weft.dev/federated-identity]"
    ]
