"""Telemetry is true: what both sides count of every edge, by code, equals what the callers counted, to the request."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator

import pytest

import world
from controlplane.client import AdminClient
from echo_mesh import EchoMesh
from exposition_text import Series, read, select, total
from local.state import control_socket

SIDECARS = ("client", "other", "web-v1", "web-v2", "lines")
SCRAPE = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"
OPEN = [
    ("client", "web-v1", "/open", 4000),
    ("client", "web-v2", "/open", 2000),
    ("client", "web-v2", "/closed", 1500),
    ("other", "web-v2", "/open", 1500),
    ("client", "quiet", "/open", 1500),
]
"""Caller, Service, path, number of requests."""
REFUSED = ("other", "web-v1", 100)
"""A caller that no rule lets in: its own sidecar refuses, a connection for each request."""

FLUSH = 6.0
"""Seconds, longer than Envoy takes between two additions to its histograms."""

Edge = tuple[str, str, str]
"""Caller, whom it called, code."""


@pytest.fixture(scope="module")
def counted(running: EchoMesh) -> Iterator[tuple[EchoMesh, Counter[Edge], dict[str, list[Series]]]]:
    """What callers counted of 10,600 requests, and then what each sidecar tells."""
    before = settled(running)
    running.write("telemetry.yaml", rules())
    clients = [
        (caller, service, running.start_echo(caller, "get", f"http://{service}{path}", str(count)))
        for caller, service, path, count in [*OPEN, (REFUSED[0], REFUSED[1], "/", REFUSED[2])]
    ]
    seen: Counter[Edge] = Counter()
    for caller, service, process in clients:
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        seen.update((caller, service, str(answer["status"])) for answer in json.loads(out))
    told: dict[str, list[Series]] = {}

    def all_told() -> bool:
        """Envoy adds what its threads recorded to a histogram every five seconds."""
        told.update({name: added(before[name], scrape(running, name)) for name in SIDECARS})
        return (
            sum(of_callers(told).values()) >= seen.total()
            and sum(of_servers(told).values()) >= at_servers(seen).total()
        )

    running.wait_until(all_told, "every request is in the sidecars' metrics")
    yield running, seen, told
    running.remove("telemetry.yaml")


def rules() -> str:
    """The client may do everything with web-v1, and two callers `GET /open` with web-v2."""
    return "\n---\n".join(
        [
            world.allow_http("web-v1", "client"),
            world.manifests(
                world.route_group("open", {"name": "open", "pathRegex": "/open", "methods": ["GET"]}),
                world.target(
                    "open", "web-v2", [world.account("client"), world.account("other")], [world.group_ref("open")]
                ),
            ),
        ]
    )


def settled(mesh: EchoMesh) -> dict[str, list[Series]]:
    """What the sidecars tell once all that other tests asked of them has been added."""
    latest = {name: scrape(mesh, name) for name in SIDECARS}
    for _ in range(10):
        time.sleep(FLUSH)
        before, latest = latest, {name: scrape(mesh, name) for name in SIDECARS}
        if of_callers(before) == of_callers(latest) and of_servers(before) == of_servers(latest):
            return latest
    pytest.fail("requests go on though no test asks any")


def scrape(mesh: EchoMesh, name: str) -> list[Series]:
    """What a sidecar tells on its metrics port."""
    url = f"http://{mesh.pod_address(name)}:15090/stats/prometheus"
    return read(mesh.run(f"{world.NAMESPACE}/plain", "python3", "-c", SCRAPE, url).stdout)


def added(before: list[Series], now: list[Series]) -> list[Series]:
    """What was added to each series of ours: other tests use the same mesh."""
    old = {(each.name, *sorted(each.labels.items())): each.value for each in before}
    return [
        Series(each.name, each.labels, each.value - old.get((each.name, *sorted(each.labels.items())), 0))
        for each in now
    ]


def of_callers(told: dict[str, list[Series]]) -> Counter[Edge]:
    found: Counter[Edge] = Counter()
    for each in select(
        [series for name in SIDECARS for series in told[name]], 'istio_requests_total{reporter="source"}'
    ):
        service = each.labels["destination_service_name"]
        # Of what its own sidecar refuses, only the address is known.
        called = REFUSED[1] if re.fullmatch(r"[\d.]+:80", service) else service
        found[each.labels["source_workload"], called, each.labels["response_code"]] += int(each.value)
    return +found


def of_servers(told: dict[str, list[Series]]) -> Counter[Edge]:
    found: Counter[Edge] = Counter()
    everything = [series for name in SIDECARS for series in told[name]]
    for each in select(everything, 'istio_requests_total{reporter="destination"}'):
        caller = each.labels["source_principal"].rpartition("/sa/")[2]
        found[caller, each.labels["destination_workload"], each.labels["response_code"]] += int(each.value)
    return +found


def at_servers(seen: Counter[Edge]) -> Counter[Edge]:
    """Those that reached a sidecar on the server's side."""
    refused = (*REFUSED[:2], "403")
    return Counter({edge: count for edge, count in seen.items() if edge[1] != "quiet" and edge != refused})


Counted = tuple[EchoMesh, Counter[Edge], dict[str, list[Series]]]


def test_the_callers_met_what_the_rules_say(counted: Counted) -> None:
    assert counted[1] == {
        ("client", "web-v1", "200"): 4000,
        ("client", "web-v2", "200"): 2000,
        ("client", "web-v2", "403"): 1500,
        ("other", "web-v2", "200"): 1500,
        ("client", "quiet", "200"): 1500,
        ("other", "web-v1", "403"): 100,
    }


def test_m3_the_callers_sidecars_count_every_request_by_edge_and_code(counted: Counted) -> None:
    assert of_callers(counted[2]) == counted[1]


def test_m3_the_servers_sidecars_count_every_request_by_edge_and_code(counted: Counted) -> None:
    assert of_servers(counted[2]) == at_servers(counted[1])


@pytest.mark.parametrize(
    ("selector", "label"),
    [
        ('osm_request_total{destination_kind="Deployment",destination_namespace="test"}', "destination_name"),
        ('response_total{direction="inbound",namespace="test"}', "deployment"),
        ('osm_request_duration_ms_count{destination_kind="Deployment"}', "destination_name"),
        ('response_latency_ms_bucket{direction="inbound",le="+Inf"}', "deployment"),
        ('istio_request_duration_milliseconds_bucket{reporter="destination",le="+Inf"}', "destination_workload"),
    ],
)
def test_m3_every_name_tells_the_same_totals(counted: Counted, selector: str, label: str) -> None:
    found: Counter[str] = Counter()
    for each in select([series for name in SIDECARS for series in counted[2][name]], selector):
        found[each.labels[label]] += int(each.value)
    wanted: Counter[str] = Counter()
    for (_, service, _), count in at_servers(counted[1]).items():
        wanted[service] += count
    assert +found == wanted


def test_it_is_measured_how_long_a_change_takes_to_be_acknowledged(mesh: EchoMesh) -> None:
    def acknowledged() -> float:
        socket = control_socket(mesh.name)
        assert socket is not None
        return total(read(AdminClient(socket).text("/metrics")), "weft_convergence_seconds_count")

    before = acknowledged()
    mesh.write("measured.yaml", world.allow_tcp("lines", "other"))
    mesh.wait_until(lambda: acknowledged() >= before + 2, "both proxies that the rule concerns were measured")


def test_both_sides_know_each_other_by_certificate(counted: Counted) -> None:
    series = [each for name in SIDECARS for each in counted[2][name] if each.value]
    edges = {
        (each.labels["source_principal"], each.labels["destination_principal"])
        for each in select(series, 'istio_requests_total{connection_security_policy="mutual_tls"}')
    }
    identity = "spiffe://cluster.local/ns/test/sa/{}".format
    assert edges == {
        (identity("client"), identity("web-v1")),
        (identity("client"), identity("web-v2")),
        (identity("other"), identity("web-v2")),
    }
