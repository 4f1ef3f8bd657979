"""What the chart renders: objects that Kubernetes takes, in every version, with every set of values."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import kubernetes_validate
import pytest

from chart_documents import BARE, FULL, VALUES, Document, of_kind, one, pod_specs, rendered
from controlplane.install.chart import chart_folder, engine, packed
from controlplane.metrics_api.paths import EDGES
from controlplane.settings import KubernetesSettings
from controlplane.traffic.kinds import KINDS
from proxy import ports

VERSIONS = ["1.27", "1.28", "1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36"]
FOREIGN = {"ServiceMonitor", "Certificate"}
"""Kinds of other projects, whose schemas Kubernetes does not have."""

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module", params=VALUES)
def documents(request: pytest.FixtureRequest) -> list[Document]:
    return rendered(VALUES[request.param])


@pytest.mark.parametrize(
    ("values", "version"),
    [
        *(("full", version) for version in VERSIONS),
        *(itertools.product(["default", "bare"], [VERSIONS[0], VERSIONS[-1]])),
    ],
)
def test_every_object_satisfies_the_strict_schema_of_kubernetes(values: str, version: str) -> None:
    checked = [item for item in rendered(VALUES[values]) if item["kind"] not in FOREIGN]
    for item in checked:
        kubernetes_validate.validate(item, version, strict=True)
    assert len(checked) >= 12


def test_helms_own_lint_finds_nothing_to_warn_of(tmp_path: Path) -> None:
    rendered()
    archive = tmp_path / "weft.tgz"
    archive.write_bytes(packed(chart_folder()))
    report = engine().lint(archive, FULL, strict=True)
    assert [message for message in report["messages"] if message["severity"] > 1] == []
    assert report["errors"] == []


def test_the_schema_check_notices_a_field_that_does_not_exist() -> None:
    deployment = one(rendered(), "Deployment", "weft")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


def test_everything_namespaced_is_in_the_releases_namespace() -> None:
    for values in VALUES.values():
        for item in rendered(values, "elsewhere"):
            assert item["metadata"].get("namespace", "elsewhere") == "elsewhere", item["metadata"]
            assert "weft-system" not in re.sub(r"\s", "", str(item["metadata"])), item["metadata"]


def test_no_two_objects_have_the_same_name(documents: list[Document]) -> None:
    named = [(item["kind"], item["metadata"]["name"]) for item in documents]
    assert len(named) == len(set(named))


def test_every_object_says_what_it_belongs_to(documents: list[Document]) -> None:
    for item in documents:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "weft"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


def test_services_lead_to_the_ports_of_the_pods_they_select(documents: list[Document]) -> None:
    for service in of_kind(documents, "Service"):
        deployment = one(documents, "Deployment", service["metadata"]["name"])
        template = deployment["spec"]["template"]
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
        named = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


def test_the_ports_are_those_that_the_code_listens_on() -> None:
    documents = rendered()
    found = {
        port["name"]: port["containerPort"] for _, pod in pod_specs(documents) for port in pod["containers"][0]["ports"]
    }
    admin = {"admin": ports.CONTROL_PLANE_ADMIN, "admin-tls": ports.ADMIN_TLS}
    assert found == {**admin, "xds": ports.XDS, "metrics-api": ports.METRICS_API, "https": ports.WEBHOOK}


def test_where_the_autoscaler_decides_no_replicas_are_written() -> None:
    deployments = of_kind(rendered(FULL), "Deployment")
    assert [item["spec"].get("replicas") for item in deployments] == [None, None]
    assert [item["spec"]["replicas"] for item in of_kind(rendered(BARE), "Deployment")] == [1, 1]


def test_a_budget_never_forbids_every_eviction() -> None:
    for item in of_kind(rendered(), "PodDisruptionBudget"):
        assert "minAvailable" not in item["spec"]
        assert item["spec"]["maxUnavailable"] == 1


def test_what_is_switched_off_is_not_there() -> None:
    kinds = {item["kind"] for item in rendered(BARE)}
    assert kinds.isdisjoint(
        {"PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy", "PriorityClass", "ServiceMonitor",
         "Certificate", "CustomResourceDefinition", "APIService"}
    )  # fmt: skip


def test_the_admin_port_is_open_to_those_named_only() -> None:
    def opened(values: Document) -> dict[int, object]:
        policy = one(rendered(values), "NetworkPolicy", "weft")
        return {rule["ports"][0]["port"]: rule.get("from") for rule in policy["spec"]["ingress"]}

    assert opened({}) == {ports.XDS: None, ports.METRICS_API: None, ports.ADMIN_TLS: None}
    assert opened(FULL)[ports.CONTROL_PLANE_ADMIN] == FULL["networkPolicy"]["metricsFrom"]


def test_crds_outlive_the_release_and_carry_no_ca_bundle() -> None:
    documents = rendered(FULL)
    crds = of_kind(documents, "CustomResourceDefinition")
    assert {item["spec"]["names"]["kind"] for item in crds} == {
        "TrafficSplit", "TrafficTarget", "HTTPRouteGroup", "TCPRoute", "UDPRoute", "IdentityBinding", "EgressPolicy"
    }  # fmt: skip
    for item in crds:
        assert item["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "caBundle" not in str(documents)


def test_m1_both_versions_of_the_metrics_api_are_served_by_the_control_plane() -> None:
    documents = rendered(namespace="mesh")
    served = of_kind(documents, "APIService")
    assert {item["metadata"]["name"] for item in served} == set(KubernetesSettings(instance="test").api_services)
    (port,) = (item["port"] for item in one(documents, "Service", "weft")["spec"]["ports"] if "metrics" in item["name"])
    assert all(item["spec"]["service"] == {"name": "weft", "namespace": "mesh", "port": port} for item in served)
    seen = {name for rule in one(documents, "ClusterRole", "weft-traffic")["rules"] for name in rule["resources"]}
    assert seen == {EDGES, *KINDS, *(f"{kind}/{EDGES}" for kind in KINDS)}


def test_identity_bindings_are_a_draft_that_is_asked_for() -> None:
    kinds = {item["spec"]["names"]["kind"] for item in of_kind(rendered(), "CustomResourceDefinition")}
    assert "IdentityBinding" not in kinds


@pytest.mark.parametrize(("values", "wanted"), [
    ({}, False), ({"crds": {"identityBinding": True}}, True), ({"mesh": {"identityBindings": True}}, True),
])  # fmt: skip
def test_v1_drafts_are_served_where_they_are_asked_for(values: dict[str, object], wanted: bool) -> None:
    crds = {item["spec"]["names"]["kind"]: item for item in of_kind(rendered(values), "CustomResourceDefinition")}
    served = {item["name"] for item in crds["TrafficTarget"]["spec"]["versions"] if item["served"]}
    assert ("v1alpha4" in served) is wanted
    assert ("IdentityBinding" in crds) is wanted
    assert {item["name"] for item in crds["TrafficTarget"]["spec"]["versions"] if item["storage"]} == {"v1alpha3"}


def test_conversion_is_asked_of_the_webhook_in_the_releases_namespace() -> None:
    calls = [
        item["spec"]["conversion"]["webhook"]["clientConfig"]["service"]
        for item in of_kind(rendered(namespace="elsewhere"), "CustomResourceDefinition")
        if item["spec"]["conversion"]["strategy"] == "Webhook"
    ]
    assert calls
    assert {(call["namespace"], call["name"], call["path"]) for call in calls} == {
        ("elsewhere", "weft-webhook", "/convert")
    }
