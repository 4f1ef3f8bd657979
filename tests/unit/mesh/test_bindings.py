"""Whom IdentityBindings let in: whoever a certificate proves to be named, and nobody else (rules A2, A3, F4)."""

from __future__ import annotations

import pytest

from kube.problem import Ref, Severity
from mesh.model import Identity, Mesh
from mesh.settings import MeshSettings
from mesh_objects import SHOP, build, group, identity, inbound, match, pod, port, problems, service
from smi.kinds import IdentityBinding, LabelRequirement, RuleRef, Subject, TrafficTarget
from smi.resources import Anything

READ = MeshSettings(identity_bindings=True)
ITEMS = group("items", match("read", "/items", "GET"))
WEB = LabelRequirement(key="app", operator="In", values=("web",))
API: list[Anything] = [service("api", port(80)), pod("api-1"), ITEMS]


def binding(name: str, *, namespace: str = SHOP, account: str = "", ids: tuple[str, ...] = (),
            labels: tuple[LabelRequirement, ...] = ()) -> IdentityBinding:  # fmt: skip
    return IdentityBinding(
        namespace=namespace, name=name, api_version="access.smi-spec.io/v1alpha4",
        service_account=account, spiffe_identities=ids, pod_selector=labels,
    )  # fmt: skip


def bound(name: str, namespace: str = "") -> Subject:
    return Subject(kind="IdentityBinding", name=name, namespace=namespace)


def grant(*sources: Subject, destination: Subject | None = None) -> TrafficTarget:
    return TrafficTarget(
        namespace=SHOP, name="grant", api_version="", sources=sources,
        destination=destination or Subject(kind="ServiceAccount", name="api"),
        rules=(RuleRef(kind="HTTPRouteGroup", name="items"),),
    )  # fmt: skip


def callers(mesh: Mesh) -> set[Identity]:
    return {source for rule in inbound(mesh, "api-1").http_rules for source in rule.identities}


def test_f4_switched_off_a_binding_grants_nothing_and_both_objects_say_so() -> None:
    mesh = build(API, binding("callers", account="client"), grant(bound("callers")))
    assert callers(mesh) == set()
    assert {(found.object.kind, found.field) for found in problems(mesh, "F4")} == {
        ("IdentityBinding", ""), ("TrafficTarget", "spec.sources[0].kind"),
    }  # fmt: skip
    assert all("--identity-bindings" in found.message for found in problems(mesh, "F4"))


def test_a_binding_of_a_service_account_is_that_account_of_its_own_namespace() -> None:
    others = binding("callers", namespace="bank", account="client")
    mesh = build(API, binding("callers", account="client"), others, grant(bound("callers")), settings=READ)
    assert callers(mesh) == {identity("client")}
    mesh = build(API, others, grant(bound("callers", "bank")), settings=READ)
    assert callers(mesh) == {Identity("cluster.local", "bank", "client")}


def test_schemes_add_up() -> None:
    ids = ("cluster.local/ns/shop/sa/batch", "spiffe://cluster.local/ns/shop/sa/job")
    named = binding("callers", account="client", ids=ids)
    mesh = build(API, named, grant(bound("callers")), settings=READ)
    assert callers(mesh) == {identity("client"), identity("batch"), identity("job")}


@pytest.mark.parametrize(
    "text",
    [
        "cluster.local/ns/bank/sa/client",
        "federated.trustdomain/boundary/boundaryName/identifierType/identifier",
        "cluster.local/ns/shop/sa/client/more",
        "cluster.local/ns/shop/sa/",
        "cluster.local/ns//sa/client",
        "cluster.local/sa/shop/ns/client",
        "cluster.local",
        "*",
    ],
)
def test_f4_a_spiffe_id_that_no_certificate_of_the_namespace_has_names_nobody(text: str) -> None:
    mesh = build(API, binding("callers", ids=(text,)), grant(bound("callers")), settings=READ)
    assert callers(mesh) == set()
    fields = {found.object.kind: found.field for found in problems(mesh, "F4")}
    assert fields == {"IdentityBinding": "spec.schemes.spiffeIdentities[0]", "TrafficTarget": "spec.sources[0]"}


def test_a_spiffe_id_of_another_mesh_is_a_caller_that_federation_may_prove() -> None:
    partner = Identity("partner.example", "orders", "client")
    named = binding("callers", ids=("partner.example/ns/orders/sa/client",))
    mesh = build(API, named, grant(bound("callers")), settings=READ)
    assert callers(mesh) == {partner}
    mesh = build(API, named, grant(Subject(kind="ServiceAccount", name="client"), destination=bound("callers")),
                 settings=READ)  # fmt: skip
    assert callers(mesh) == set()
    assert [found.field for found in problems(mesh, "F4")] == ["spec.destination"]


def test_f4_labels_name_an_account_only_while_all_of_its_pods_have_them() -> None:
    chosen = [
        pod("web-1"),
        pod("web-2"),
        pod("mixed-1", app="web"),
    ]
    named = [binding("callers", labels=(WEB,)), grant(bound("callers"))]
    mesh = build(API, chosen, named, settings=READ)
    assert callers(mesh) == {identity("web"), identity("mixed")}
    mesh = build(API, chosen, pod("mixed-2", app="db"), named, settings=READ)
    assert callers(mesh) == {identity("web")}
    (problem,) = problems(mesh, "F4")
    assert "ServiceAccount mixed" in problem.message
    assert problem.field == "spec.schemes.podLabelSelector"


def test_f4_a_pod_without_a_sidecar_counts_too_for_it_may_get_one() -> None:
    given = [pod("web-1"), pod("web-2", app="old", meshed=False)]
    mesh = build(API, given, binding("callers", labels=(WEB,)), grant(bound("callers")), settings=READ)
    assert callers(mesh) == set()


def test_labels_that_no_pod_has_name_nobody_with_a_warning() -> None:
    mesh = build(API, binding("callers", labels=(WEB,)), grant(bound("callers")), settings=READ)
    assert callers(mesh) == set()
    severities = {found.object.kind: found.severity for found in problems(mesh, "F4")}
    assert severities == {"IdentityBinding": Severity.WARNING, "TrafficTarget": Severity.ERROR}


def test_labels_are_about_pods_of_the_bindings_own_namespace() -> None:
    elsewhere = pod("web-1", space="bank")
    mesh = build(API, elsewhere, binding("callers", labels=(WEB,)), grant(bound("callers")), settings=READ)
    assert callers(mesh) == set()


def test_a_binding_as_destination_opens_every_identity_it_names() -> None:
    given = [service("web", port(80)), pod("web-1")]
    named = binding("servers", account="api", ids=("cluster.local/ns/shop/sa/web",))
    client = Subject(kind="ServiceAccount", name="client")
    mesh = build(API, given, named, grant(client, destination=bound("servers")), settings=READ)
    for name in ("api-1", "web-1"):
        assert [rule.identities for rule in inbound(mesh, name).http_rules] == [(identity("client"),)]


def test_a3_a_binding_of_another_namespace_is_no_destination() -> None:
    named = binding("servers", namespace="bank", account="api")
    mesh = build(API, named, grant(Subject(kind="ServiceAccount", name="client"), destination=bound("servers", "bank")),
                 settings=READ)  # fmt: skip
    assert callers(mesh) == set()
    assert [found.field for found in problems(mesh, "A3")] == ["spec.destination.namespace"]


def test_f4_an_unknown_kind_is_said_before_its_namespace_for_it_may_be_meant_for_another_mesh() -> None:
    foreign = Subject(kind="Service", name="api", namespace="bank")
    mesh = build(API, grant(Subject(kind="ServiceAccount", name="client"), destination=foreign))
    assert problems(mesh, "A3") == []
    assert [found.field for found in problems(mesh, "F4")] == ["spec.destination.kind"]


@pytest.mark.parametrize(("invalid", "words"), [(False, "does not exist"), (True, "could not be read")])
def test_f4_a_binding_that_is_missing_or_invalid_names_nobody_and_its_neighbour_stands(
    invalid: bool, words: str
) -> None:
    ref = Ref("IdentityBinding", SHOP, "callers")
    mesh = build(API, grant(bound("callers"), Subject(kind="ServiceAccount", name="client")), settings=READ,
                 invalid=[ref] if invalid else [])  # fmt: skip
    assert callers(mesh) == {identity("client")}
    (problem,) = problems(mesh, "F4")
    assert words in problem.message
