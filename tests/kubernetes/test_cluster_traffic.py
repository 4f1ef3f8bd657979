"""A replica is stopped while real Envoys carry requests: none fails, and nothing but leaves is sent again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api_server import ApiServer
from cluster_objects import bound_token
from cluster_world import create
from kube.client import Client, ClientSettings
from kube.enrolment import INJECTED
from proxy.bootstrap import BootstrapSettings, bootstrap
from replicas import Replica, Service, until
from sidecars import ENVOY_UID, Pod, Sidecars, envoy_binary, missing, sidecars
from talk import Http, get, mirror
from xds.names import TAP, node_id
from xds.resource import SECRET
from xds.told import Told

NAMES = {"storefront": 1, "catalog": 2}
PORT = 8080


class Lab:
    """Two sidecars with Weft's own bootstrap, and the replicas they may be served by."""

    def __init__(self, service: Service, pods: dict[str, Pod], address: str) -> None:
        self.service = service
        self.pods = pods
        self.address = address
        """The catalog's ClusterIP."""


async def make_objects(client: Client, namespace: str) -> str:
    """The shop as its API server has it; the catalog's ClusterIP."""
    for name, number in NAMES.items():
        address, labels = f"10.77.0.{number}", {"app": name}
        ports = [{"name": "http", "port": 80, "targetPort": PORT}]
        await create(client, {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"ports": ports},
        })  # fmt: skip
        metadata = {"name": name, "namespace": namespace, "labels": labels, "annotations": {INJECTED: "true"}}
        await create(client, {
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"serviceAccountName": name, "containers": [{"name": "app", "ports": [{"containerPort": PORT}]}]},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
        })  # fmt: skip
        await create(client, {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-made", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
            "endpoints": [{
                "addresses": [address], "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": name},
            }],
        })  # fmt: skip
    found = await client.request("GET", f"/api/v1/namespaces/{namespace}/services/catalog")
    return str(found["spec"]["clusterIP"])


def document(pod: Pod, socket: Path) -> dict[str, Any]:
    """The bootstrap of a sidecar that finds its control plane at a socket of the file system."""
    settings = BootstrapSettings(
        ca_file=str(pod.folder / "root.pem"), token_file=str(pod.folder / "token"), pod_address=pod.address
    )
    made = bootstrap(settings)
    grpc = made["dynamic_resources"]["ads_config"]["grpc_services"][0]["google_grpc"]
    grpc["target_uri"] = f"unix:{socket}"
    grpc.setdefault("channel_args", {"args": {}})["args"] |= {
        "grpc.ssl_target_name_override": {"string_value": "localhost"}
    }
    (tap,) = (each for each in made["static_resources"]["clusters"] if each["name"] == TAP)
    del tap["cluster_type"]
    tap["load_assignment"]["endpoints"] = [
        {"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(socket)}}}}]}
    ]
    validation = tap["transport_socket"]["typed_config"]["common_tls_context"]["validation_context"]
    validation["match_typed_subject_alt_names"][0]["matcher"]["exact"] = "localhost"
    return {"node": {"id": node_id(pod.id), "cluster": node_id(pod.id)}, **made}


async def begin(client: Client, pods: Sidecars, namespace: str, name: str, replica: Replica, socket: Path) -> Pod:
    """A pod with its sidecar, its token and its root, as the kubelet and the injector would make it."""
    pod = await pods.start(name, NAMES[name], sidecar=False, namespace=namespace)
    await asyncio.to_thread(pods._redirect, pod)
    uid = (await client.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}"))["metadata"]["uid"]
    (pod.folder / "token").write_text(await bound_token(client, namespace, name, name, uid))
    (pod.folder / "root.pem").write_bytes(replica.plane.authority.bundle_pem())
    config = pod.folder / "bootstrap.json"
    config.write_text(json.dumps(document(pod, socket)))
    command = (
        f"nsenter --net=/run/netns/{pod.namespace} setpriv --reuid={ENVOY_UID} --regid={ENVOY_UID} --clear-groups"
        f" {envoy_binary()} -c {config} --concurrency 1 -l warning --disable-hot-restart"
    )
    with (pod.folder / "log").open("w") as log:
        pod.envoy = await asyncio.create_subprocess_exec(*command.split(), stdout=log, stderr=log)
    return pod


@pytest.fixture
async def lab(
    api_server: ApiServer, client: Client, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lab]:
    if reason := missing():
        pytest.skip(reason)
    address = await make_objects(client, namespace)
    own = [await Client.open(ClientSettings(kubeconfig=api_server.admin_kubeconfig)) for _ in range(2)]
    async with sidecars() as pods, Service(pods.ads.socket.with_name("weft")) as service:
        for number, each in enumerate(own):
            service.replicas.append(await Replica.start(each, namespace, f"weft-{number}_x"))
        begun = {name: await begin(client, pods, namespace, name, service.replicas[0], service.path) for name in NAMES}
        for pod in begun.values():
            await pods.until(lambda pod=pod: pods._ready(pod), f"{pod.id} is ready")  # type: ignore[misc]
        await begun["catalog"].serve(PORT, mirror)
        yield Lab(service, begun, address)
        for replica in service.replicas:
            await replica.end()
    for each in own:
        await each.close()


def settled(replica: Replica) -> bool:
    """Whether both sidecars are here and have acknowledged all they were sent."""
    proxies = replica.plane.server.proxies()
    states = {state.state for proxy in proxies for state in proxy.types.values()}
    return len(proxies) == len(NAMES) and states <= {"synced", "never"}


async def test_requests_of_a_watched_pod_are_told_by_whichever_replica_it_is_connected_to(lab: Lab) -> None:
    await until(lambda: settled(lab.service.replicas[0]), "both sidecars are served")
    heard: list[Told] = []
    watchers = [
        (replica.plane.server.taps, replica.plane.server.taps.watch(heard.append)) for replica in lab.service.replicas
    ]
    catalog = lab.pods["catalog"]
    for taps, watcher in watchers:
        taps.turn(watcher, [catalog.id])

    async def switched() -> bool:
        return '"weft.tap"' in await catalog.admin("/runtime")

    for _ in range(100):
        if await switched():
            break
        await asyncio.sleep(0.05)
    assert (await get(lab.pods["storefront"], lab.address, 80, "/watched")).status == 200
    await until(lambda: bool(heard), "the request is told")
    (request,) = heard
    assert (request.direction, request.path, request.status) == ("inbound", "/watched", 200)
    assert request.source.endswith("/sa/storefront")
    for taps, watcher in watchers:
        taps.leave(watcher)


async def test_a_replica_stopped_under_traffic_costs_no_request_and_no_full_send(lab: Lab) -> None:
    first, second = lab.service.replicas
    await until(lambda: settled(first), "both sidecars are served by the first replica")
    caller = lab.pods["storefront"]
    answers: list[int] = []
    stopping = asyncio.Event()

    async def keep_asking() -> None:
        kept = await Http.open(caller, lab.address, 80)
        while not stopping.is_set():
            answers.append((await kept.get("/kept")).status)
            answers.append((await get(caller, lab.address, 80, "/fresh")).status)
        kept.close()

    asking = asyncio.create_task(keep_asking())
    await until(lambda: len(answers) > 20 or asking.done(), "requests are answered")
    await first.end()
    await until(lambda: settled(second) or asking.done(), "both sidecars are served by the second replica")
    before = len(answers)
    await until(lambda: len(answers) > before + 20 or asking.done(), "requests are still answered")
    stopping.set()
    await asking
    assert set(answers) == {200}
    assert +second.plane.server.counters.resources == {SECRET: len(NAMES)}
    assert first.plane.server.counters.nacks.total() == second.plane.server.counters.nacks.total() == 0
