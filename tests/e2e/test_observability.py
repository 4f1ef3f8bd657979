"""Every query of deploy/observability returns data from a real Prometheus that scrapes a mesh with traffic."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

import prometheus
import world
from ca.providers.authority import Standing
from controlplane.client import AdminClient
from controlplane.providing import ProviderCollector
from controlplane.traffic import prometheus as reader
from echo_mesh import EchoMesh
from kube.clock import SYSTEM_CLOCK
from local.state import control_socket
from mesh.model import ServiceId
from prometheus import Prometheus

FOLDER = Path(__file__).parents[2] / "deploy" / "observability"
DASHBOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
SIDECARS = ("client", "web-v1", "web-v2", "lines")
VARIABLES = {"$__rate_interval": "30s", "$namespace": ".*"}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard_queries() -> list[tuple[str, str]]:
    return [
        (f"{path.stem}: {panel['title']} {target['refId']}", target["expr"])
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]


def measured(alert: str) -> str:
    """What an alert compares, for every series, whether it fires or not."""
    return re.sub(r" ([<>]) (?=[\d.]+$)", r" \1 bool ", alert)


QUERIES = [
    *dashboard_queries(),
    *((rule["record"], rule["expr"]) for rule in rules() if "record" in rule),
    *((rule["alert"], measured(rule["expr"])) for rule in rules() if "alert" in rule),
]


@pytest.fixture(scope="module")
def asked(running: EchoMesh) -> Iterator[Prometheus]:
    """A Prometheus that has seen requests, refusals, failures and connections."""
    if not prometheus.installed():
        pytest.skip("there is no prometheus on this machine (Debian's package of this name)")
    allowed = (world.allow_http("web-v1", "client"), world.allow_tcp("lines", "client"))
    running.write("observed.yaml", "\n---\n".join([*allowed, world.split("none", "web", {"web-v1": 0})]))
    traffic(running)
    socket = control_socket(running.name)
    assert socket is not None
    text = AdminClient(socket).text("/metrics") + provider_series()
    targets = [f"{running.pod_address(name)}:15090" for name in SIDECARS]
    with Prometheus(running, f"{world.NAMESPACE}/plain", targets, text) as serving:
        running.wait_until(serving.answers, "everything has been scraped")
        traffic(running)
        running.wait_until(lambda: bool(serving.query(f"rate({NEWEST}[30s]) > 0")), "the traffic has been scraped")
        yield serving
    running.remove("observed.yaml")


def provider_series() -> str:
    """What a control plane says besides whose workloads' certificates a provider signs; this mesh's does not."""
    registry = CollectorRegistry()
    standing = Standing(issuer_ends=datetime.now(UTC) + timedelta(days=90))
    provided: Any = SimpleNamespace(standing=standing, provider=SimpleNamespace(name="vault"))
    registry.register(ProviderCollector(provided, SYSTEM_CLOCK))
    return generate_latest(registry).decode()


NEWEST = 'istio_requests_total{reporter="source",response_code="503"}'


def traffic(mesh: EchoMesh) -> None:
    """Requests that are answered, that fail (the split has no share left), that are refused; and connections."""
    assert mesh.names("client", "http://web-v1/", 20) == {"web-v1": 20}
    assert mesh.names("client", "http://web/", 5) == {"503": 5}
    assert mesh.names("client", "http://web-v2/", 2) == {"403": 2}
    mesh.echo("client", "dial", "lines", "9000", "--wait", "0.2")


@pytest.mark.parametrize(("name", "query"), QUERIES, ids=[name for name, _ in QUERIES])
def test_a_query_returns_data(asked: Prometheus, name: str, query: str) -> None:
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    assert asked.query(query), name


def test_the_failing_split_is_seen_by_the_alert(asked: Prometheus) -> None:
    (rule,) = (rule for rule in rules() if rule.get("alert") == "WeftTooManyFailures")
    (found,) = asked.query(rule["expr"].replace("[5m]", "[1m]"))
    assert found["metric"]["destination_service_name"] == "web"


def test_no_query_asks_for_another_dashboards_variable() -> None:
    unknown = {word for _, query in QUERIES for word in re.findall(r"\$\w+", query)} - VARIABLES.keys()
    assert unknown == set()


async def test_traffic_is_read_from_prometheus_by_queries_it_understands(asked: Prometheus) -> None:
    async def ask(query: str) -> Any:
        return {"result": await asyncio.to_thread(asked.query, query)}

    found = await reader.Prometheus(ask).read(timedelta(seconds=60))
    codes = {series.code for series, counts in found.counts.items() if counts.requests}
    assert {"200", "503"} <= codes
    assert any(
        series.service == ServiceId("test", "lines") and counts.opened for series, counts in found.counts.items()
    )
