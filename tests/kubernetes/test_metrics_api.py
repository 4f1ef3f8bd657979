"""The SMI metrics API through an API server's aggregation: shapes, selectors, rights, certificates (rules M1, M2)."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from api_server import ApiServer
from api_server_keys import Signer
from chart_documents import of_kind, one, rendered
from cluster_world import create
from controlplane.check import Line
from controlplane.install.aggregated import metrics_api
from controlplane.kubernetes import control_plane
from controlplane.metrics_api.callers import PATH
from controlplane.metrics_api.paths import GROUP
from controlplane.settings import KubernetesSettings
from controlplane.traffic.facts import Counts, Series, Side, Traffic
from controlplane.traffic.kinds import KINDS
from kube.client import Client
from kube.enrolment import INJECTED
from mesh.model import PodId, ServiceId
from own_address import own_address
from proxy.exposition import BUCKETS
from raw_api import Answer, RawApi
from replicas import Replica, until

ROOT = f"/apis/{GROUP}"
RBAC = "rbac.authorization.k8s.io"
UNTIL = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def took(number: int, up_to: float) -> tuple[float, ...]:
    """So many requests in the bucket that ends there."""
    return tuple(float(number) if limit == up_to else 0.0 for limit in (*BUCKETS, None))


class Told:
    """Counts that a test knows, whatever is asked. `windows` are the windows that were."""

    def __init__(self, namespace: str, web_pod: str, front_pod: str) -> None:
        web, service = PodId(namespace, web_pod), ServiceId(namespace, "web")
        client = Series(PodId(namespace, front_pod), Side.CLIENT, "", service, service, service, "200")
        peer = f"spiffe://cluster.local/ns/{namespace}/sa/front"
        server = Series(web, Side.SERVER, peer, code="200")
        self.counts = {
            server: Counts(took(90, 10)), server._replace(code="503", failed=True): Counts(took(10, 100)),
            client: Counts(took(90, 10)), client._replace(code="503", failed=True): Counts(took(10, 100)),
        }  # fmt: skip
        self.web, self.front = web_pod, front_pod
        self.windows: list[timedelta] = []

    async def read(self, window: timedelta) -> Traffic:
        self.windows.append(window)
        return Traffic(UNTIL - window, UNTIL, self.counts)


class Served:
    """The API behind the API server's, and directly."""

    def __init__(self, api_server: ApiServer, told: Told, namespace: str, at: tuple[str, int], root: bytes) -> None:
        self.told, self.namespace, self.at, self.root = told, namespace, at, root
        self._admin = RawApi(api_server.admin_kubeconfig)

    async def get(self, path: str, **query: str) -> Answer:
        return await asyncio.to_thread(partial(self._admin, "GET", ROOT + path, **query))  # type: ignore[arg-type]

    async def document(self, path: str, **query: str) -> Any:
        return (await self.get(path, **query)).expect(200)

    def of(self, rest: str, version: str = "v1alpha2") -> str:
        return f"/{version}/namespaces/{self.namespace}/{rest}"


def deployment(namespace: str, name: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels, "annotations": {INJECTED: "true"}},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    }
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }  # fmt: skip


async def pod_of(client: Client, namespace: str, name: str) -> str:
    """The name of the pod that controllers made of a Deployment."""
    await create(client, deployment(namespace, name))
    pods, chosen = f"/api/v1/namespaces/{namespace}/pods", {"labelSelector": f"app={name}"}
    async with asyncio.timeout(30):
        while not (found := (await client.request("GET", pods, query=chosen))["items"]):  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # controllers tell nobody
    return str(found[0]["metadata"]["name"])


async def install(client: Client, namespace: str, at: tuple[str, int]) -> list[str]:
    """The chart's Service, APIServices and ClusterRole, with an endpoint; the paths of what lives in no namespace."""
    documents = rendered(namespace=namespace)
    service = one(documents, "Service", "weft")
    del service["spec"]["selector"]
    await client.request("POST", f"/api/v1/namespaces/{namespace}/services", body=service)
    await client.request("POST", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", body={
        "metadata": {"name": "weft-1", "labels": {"kubernetes.io/service-name": "weft"}}, "addressType": "IPv4",
        "ports": [{"name": "https-metrics", "port": at[1], "protocol": "TCP"}],
        "endpoints": [{"addresses": [at[0]], "conditions": {"ready": True}}],
    })  # fmt: skip
    made = []
    role = one(documents, "ClusterRole", "weft-traffic")
    for item in [*of_kind(documents, "APIService"), role]:
        group, plural = item["apiVersion"], f"{item['kind'].lower()}s"
        made.append(f"/apis/{group}/{plural}/{item['metadata']['name']}")
        await client.request("POST", f"/apis/{group}/{plural}", body=item)
    return made


@pytest.fixture(scope="module")
def address() -> Any:
    with own_address() as found:
        if found is None:
            pytest.skip("no address of our own can be made without root and iproute2")
        yield found


@pytest.fixture
async def served(controllers: ApiServer, client: Client, namespace: str, address: str) -> AsyncIterator[Served]:
    with socket.create_server((address, 0)) as free:
        port = free.getsockname()[1]
    told = Told(namespace, await pod_of(client, namespace, "web"), await pod_of(client, namespace, "front"))
    made = await install(client, namespace, (address, port))
    name = f"weft.{namespace}.svc"
    settings = KubernetesSettings(
        namespace=namespace, instance="weft-0_a", xds_address="127.0.0.1", xds_port=0, admin_port=0,
        server_names=(name,), metrics_port=port, metrics_address=address,
    )  # fmt: skip
    plane = await control_plane(settings, client)
    object.__setattr__(plane.telling, "reader", told)
    replica = Replica(plane)
    found = Served(controllers, told, namespace, (address, port), plane.authority.bundle_pem())
    try:
        await until(lambda: plane.status.rounds or replica.task.done(), "it has a world")
        await available(found)
        yield found
    finally:
        await replica.end()
        for path in made:
            await client.request("DELETE", path)


async def available(served: Served) -> None:
    """The API server notices by and by that the API is there, and whom to trust."""
    async with asyncio.timeout(60):
        for version in ("v1alpha1", "v1alpha2"):
            while (await served.get(f"/{version}")).code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.2)  # nobody tells


async def test_m1_the_api_through_the_api_server(
    served: Served, api_server: ApiServer, client: Client, tmp_path: Path
) -> None:
    """One world for all of it: making an API known to a real API server takes seconds."""
    await discovery(served)
    await shapes(served)
    await lists(served)
    await edges(served)
    await refusals(served)
    await rights(served, api_server, client)
    await strangers(served, client, tmp_path)
    await checked(served, client)


async def discovery(served: Served) -> None:
    group = await served.document("")
    assert [each["version"] for each in group["versions"]] == ["v1alpha2", "v1alpha1"]
    for version in ("v1alpha1", "v1alpha2"):
        listed = await served.document(f"/{version}")
        found = {each["name"]: each for each in listed["resources"]}
        assert listed["groupVersion"] == f"{GROUP}/{version}"
        assert set(found) == {*KINDS, *(f"{kind}/edges" for kind in KINDS)}
        assert not found["nodes"]["namespaced"]
        assert (found["pods"]["namespaced"], found["pods"]["verbs"]) == (True, ["get", "list"])


async def shapes(served: Served) -> None:
    for version in ("v1alpha1", "v1alpha2"):
        found = await served.document(served.of("deployments/web", version))
        assert found.pop("metadata") == {
            "name": "web", "namespace": served.namespace, "creationTimestamp": "2026-01-02T03:04:05Z",
            "selfLink": f"{ROOT}/{version}/namespaces/{served.namespace}/deployments/web",
        }  # fmt: skip
        assert found == {
            "kind": "TrafficMetrics", "apiVersion": f"{GROUP}/{version}",
            "timestamp": "2026-01-02T03:04:05Z", "window": "30s",
            "resource": {"kind": "Deployment", "namespace": served.namespace, "name": "web"},
            "edge": {"direction": "from", "side": "server", "resource": {}},
            "metrics": [
                {"name": "p99_response_latency", "unit": "ms", "value": "95"},
                {"name": "p90_response_latency", "unit": "ms", "value": "10"},
                {"name": "p50_response_latency", "unit": "ms", "value": "7778m"},
                {"name": "success_count", "value": "90"},
                {"name": "failure_count", "value": "10"},
            ],
        }  # fmt: skip
    assert (await served.document(f"/v1alpha2/namespaces/{served.namespace}"))["resource"]["kind"] == "Namespace"


async def lists(served: Served) -> None:
    everything = await served.document(served.of("pods"))
    assert [item["metadata"]["name"] for item in everything["items"]] == [served.told.front, served.told.web]
    assert everything["resource"] == {"kind": "Pod", "namespace": served.namespace}
    chosen = await served.document(served.of("pods"), labelSelector="app=web")
    assert [item["metadata"]["name"] for item in chosen["items"]] == [served.told.web]
    assert chosen["selector"] == {"matchLabels": {"app": "web"}}
    sets = await served.document(served.of("replicasets"))
    assert [item["metadata"]["name"] for item in sets["items"]] == [
        name.rpartition("-")[0] for name in (served.told.front, served.told.web)
    ]
    longer = await served.document(served.of("services/web"), t="1m30s")
    assert (longer["window"], longer["edge"]["side"]) == ("90s", "client")
    assert served.told.windows[-1] == timedelta(seconds=90)


async def edges(served: Served) -> None:
    def others(found: Any) -> list[tuple[str, str, str, str]]:
        return [
            (item["edge"]["direction"], item["edge"]["side"], item["edge"]["resource"]["kind"],
             item["edge"]["resource"]["name"])
            for item in found["items"]
        ]  # fmt: skip

    assert others(await served.document(served.of("deployments/web/edges"))) == [
        ("from", "client", "Deployment", "front")
    ]
    assert others(await served.document(served.of("deployments/front/edges"))) == [
        ("to", "client", "Deployment", "web")
    ]
    assert others(await served.document(served.of(f"pods/{served.told.web}/edges"))) == [
        ("from", "server", "ServiceAccount", "front")
    ]
    own = await served.document(f"/v1alpha1/namespaces/{served.namespace}/edges")
    assert [item["edge"]["resource"] for item in own["items"]] == [{"kind": "Namespace", "name": served.namespace}] * 2


async def refusals(served: Served) -> None:
    for path, query, code in [
        (served.of("deployments/nobody"), {}, 404),
        (served.of("cronjobs"), {}, 404),
        (served.of("pods"), {"t": "yesterday"}, 400),
        (served.of("pods"), {"labelSelector": "a in ("}, 400),
        (served.of("pods"), {"fieldSelector": "spec.nodeName=a"}, 400),
    ]:
        answer = await served.get(path, **query)
        assert (answer.code, answer.document["kind"]) == (code, "Status"), path


async def rights(served: Served, api_server: ApiServer, client: Client) -> None:
    """Whoever is bound to the chart's role in a namespace may see its traffic, and no other."""
    path = ROOT + served.of("deployments/web")
    alice, bob = [RawApi(await asyncio.to_thread(api_server.kubeconfig_as, name)) for name in ("alice", "bob")]
    binding = {
        "metadata": {"name": "alice"}, "subjects": [{"kind": "User", "name": "alice", "apiGroup": RBAC}],
        "roleRef": {"kind": "ClusterRole", "name": "weft-traffic", "apiGroup": RBAC},
    }  # fmt: skip
    bindings = f"/apis/{RBAC}/v1/namespaces/{served.namespace}/rolebindings"
    await client.request("POST", bindings, body=binding)
    async with asyncio.timeout(30):
        while (answer := await asyncio.to_thread(alice, "GET", path)).code == 403:  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # until its authorizer has the binding
    assert answer.expect(200)["kind"] == "TrafficMetrics"
    assert (await asyncio.to_thread(alice, "GET", f"{ROOT}/v1alpha2/pods")).code == 403
    assert (await asyncio.to_thread(bob, "GET", path)).code == 403


async def strangers(served: Served, client: Client, folder: Path) -> None:
    """M1: without the front proxy's certificate nobody is anybody, whatever the headers say."""
    as_admin = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}
    path = f"{ROOT}/v1alpha2/pods"
    assert await asyncio.to_thread(directly, served, path, as_admin) == 401
    other = Signer("other").client("front-proxy-client").write(folder, "other")
    with pytest.raises((ssl.SSLError, OSError)):
        await asyncio.to_thread(directly, served, path, as_admin, other)
    known = await client.request("GET", PATH)
    assert "front-proxy-client" in json.loads(known["data"]["requestheader-allowed-names"])


async def checked(served: Served, client: Client) -> None:
    """`weft check` says whether the API server reaches it, and why not."""

    async def found() -> list[Line]:
        return [line async for line in metrics_api(client, served.namespace)]

    assert [(line.ok, line.sentence) for line in await found()] == [
        (True, "The API server reaches the SMI metrics API")
    ]
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{served.namespace}/endpointslices"
    await client.request("DELETE", f"{slices}/weft-1")
    async with asyncio.timeout(60):
        while len(lines := await found()) != 2:  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # it notices by and by
    assert all(not line.ok and "is not available: " in line.sentence for line in lines)


def directly(
    served: Served, path: str, headers: Mapping[str, str], certificate: tuple[Path, Path] | None = None
) -> int:
    """The code that the API itself answers with, past the API server."""
    context = ssl.create_default_context(cadata=served.root.decode())
    context.check_hostname = False
    if certificate is not None:
        context.load_cert_chain(*certificate)
    request = urllib.request.Request(f"https://{served.at[0]}:{served.at[1]}{path}", headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except urllib.error.URLError as error:
        raise OSError(str(error)) from error
