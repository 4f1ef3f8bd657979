"""Admission of SMI objects: what one object breaks is refused with its field, what may mend itself is a warning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from kube.objects import Meta, RawDocument, Service
from kube.problem import Ref
from mesh.alone import UnseenError
from mesh.settings import MeshSettings
from smi.convert import convert
from smi.kinds import HttpMatch, HTTPRouteGroup
from smi.resources import Anything, Resources
from webhook.validate import WARNING_LENGTH, Validator, review

T = TypeVar("T", bound=Anything)
GROUPS = {
    "TrafficSplit": "split.smi-spec.io",
    "TrafficTarget": "access.smi-spec.io",
    "IdentityBinding": "access.smi-spec.io",
    "HTTPRouteGroup": "specs.smi-spec.io",
    "TCPRoute": "specs.smi-spec.io",
    "UDPRoute": "specs.smi-spec.io",
}


@dataclass
class Asked:
    """What came back."""

    allowed: bool
    status: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    uid: str = ""

    @property
    def fields(self) -> list[str]:
        return [cause["field"] for cause in self.status["details"]["causes"]]


def made(kind: str, version: str = "v1alpha4", **body: Any) -> RawDocument:
    api_version = f"{GROUPS[kind]}/{version}" if kind in GROUPS else "v1"
    metadata = {"name": "x", "namespace": "shop", **body.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}


def ask(
    raw: object, old: object = None, operation: str = "", validator: Validator | None = None, **request: Any
) -> Asked:
    kind = raw.get("kind", "") if isinstance(raw, dict) else ""
    asked = {
        "uid": "7",
        "kind": {"group": GROUPS.get(kind, ""), "version": "v1alpha4", "kind": kind},
        "operation": operation or ("UPDATE" if old else "CREATE"),
        "namespace": "shop",
        "name": "x",
        "object": raw,
        "oldObject": old,
        **request,
    }
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}
    answer = validator.review(document) if validator else review(document)
    assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    return Asked(**answer["response"])


def split(version: str = "v1alpha4", *weights: object, **spec: Any) -> RawDocument:
    backends = [{"service": f"web-{index}", "weight": weight} for index, weight in enumerate(weights or (1,))]
    return made("TrafficSplit", version, spec={"service": "web", "backends": backends, **spec})


def target(version: str = "v1alpha3", **changed: Any) -> RawDocument:
    spec = {
        "destination": account("api"),
        "sources": [account("web")],
        "rules": [{"kind": "HTTPRouteGroup", "name": "routes", "matches": ["metrics"]}],
        **changed,
    }
    if version == "v1alpha1":
        spec["specs"] = spec.pop("rules")
        return made("TrafficTarget", version, **spec)
    return made("TrafficTarget", version, spec=spec)


def account(name: str, **more: object) -> dict[str, object]:
    return {"kind": "ServiceAccount", "name": name, **more}


def noted(kind: str, name: str, value: str) -> RawDocument:
    """An object with an annotation."""
    return made(kind, metadata={"annotations": {name: value}})


def group(**match: Any) -> RawDocument:
    return made("HTTPRouteGroup", spec={"matches": [{"name": "m", **match}]})


@pytest.mark.parametrize(
    "raw",
    [
        split("v1alpha1", "500m", "1"),
        split("v1alpha2", 0, 100),
        split("v1alpha4", 1, matches=[{"kind": "HTTPRouteGroup", "name": "beta"}]),
        split("v1alpha3", 1, service="web.shop.svc.cluster.local"),
        target("v1alpha1"),
        target("v1alpha2", destination=account("api", namespace="shop", port="80")),
        target("v1alpha3"),
        group(pathRegex="/api", methods=["GET", "*"], headers=[{"host": "a"}]),
        made("TCPRoute", "v1alpha1"),
        made("TCPRoute", spec={"matches": {"ports": ["80", 8080]}}),
    ],
)
def test_what_is_right_passes_without_a_word(raw: RawDocument) -> None:
    assert ask(raw) == Asked(allowed=True, uid="7")


@pytest.mark.parametrize(
    ("raw", "path", "rule"),
    [
        (split("v1alpha1", "many"), "spec.backends[0].weight", "V4"),
        (split("v1alpha2", 1, 0.5), "spec.backends[1].weight", "V5"),
        (split("v1alpha4", -1), "spec.backends[0].weight", "V5"),
        (split(service="web.other"), "spec.service", "T1"),
        (split(service="www.example.com"), "spec.service", "T1"),
        (split(backends=[{"service": "web.other", "weight": 1}]), "spec.backends[0].service", "T6"),
        (split(matches=[{"kind": "TCPRoute", "name": "db"}]), "spec.matches[0]", "T8"),
        (target(destination=account("a", namespace="b")), "spec.destination.namespace", "A3"),
        (target(destination=account("A_B")), "spec.destination.name", "decode"),
        (target("v1alpha2", destination=account("a", port=0)), "spec.destination.port", "V7"),
        (target(sources=[]), "spec.sources", "A7"),
        (target(rules=[]), "spec.rules", "A7"),
        (target("v1alpha1", destination=account("a", namespace="b")), "destination.namespace", "A3"),
        (group(pathRegex="("), "spec.matches[0].pathRegex", "A9"),
        (group(headers={"x": "("}), "spec.matches[0].headers.x", "A10"),
        (group(headers="x"), "spec.matches[0].headers", "V6"),
        (group(methods=["no method"]), "spec.matches[0].methods[0]", "A11"),
        (made("TCPRoute", spec={"matches": {"ports": [0]}}), "spec.matches.ports[0]", "A5"),
        (made("TrafficSplit", "v1alpha9"), "apiVersion", "V1"),
    ],
)  # fmt: skip
def test_what_one_object_breaks_is_refused_with_its_field(raw: RawDocument, path: str, rule: str) -> None:
    answer = ask(raw)
    assert not answer.allowed
    assert (answer.status["status"], answer.status["code"], answer.status["reason"]) == ("Failure", 422, "Invalid")
    assert answer.fields == [path]
    assert answer.status["details"]["causes"][0]["message"].endswith(f"[{rule}]")
    assert path in answer.status["message"]
    assert answer.status["message"].startswith(f'{raw["kind"]}.{GROUPS[raw["kind"]]} "x" is invalid: ')


def test_every_mistake_of_an_object_is_named() -> None:
    assert ask(group(pathRegex="(", methods=["?"])).fields == [
        "spec.matches[0].pathRegex",
        "spec.matches[0].methods[0]",
    ]


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2"])
@pytest.mark.parametrize(("missing", "path"), [("sources", "sources"), ("rules", "rules")])
def test_a7_old_versions_may_grant_nothing_and_are_told_so(version: str, missing: str, path: str) -> None:
    answer = ask(target(version, **{missing: []}))
    assert answer.allowed
    place = {"v1alpha1": path.replace("rules", "specs"), "v1alpha2": f"spec.{path}"}[version]
    assert [warning.partition(": ")[0] for warning in answer.warnings] == [place]


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (target(sources=[account("a"), {"kind": "Group", "name": "b"}]), "spec.sources[1].kind"),
        (target(destination={"kind": "IdentityBinding", "name": "a"}), "spec.destination.kind"),
        (target(rules=[{"kind": "TCPRoute", "name": "a"}, {"kind": "GRPCRoute", "name": "b"}]), "spec.rules[1]"),
        (split("v1alpha4", 0, 0), "spec.backends"),
        (split("v1alpha2", 1, matches=[{"kind": "HTTPRouteGroup", "name": "a"}]), "spec.matches"),
        (group(methods=["get"]), "spec.matches[0].methods[0]"),
    ],
)  # fmt: skip
def test_what_only_grants_nothing_or_looks_wrong_is_a_warning(raw: RawDocument, path: str) -> None:
    answer = ask(raw)
    assert answer.allowed
    assert [warning.partition(": ")[0] for warning in answer.warnings] == [path]


def test_a4_a_udp_route_is_stored_with_a_warning_of_what_happens_instead() -> None:
    answer = ask(made("UDPRoute", spec={"matches": {"ports": [53]}}))
    assert answer.allowed
    assert answer.warnings == ["UDP passes the mesh by, unencrypted and from anybody; no rule allows or refuses it."]


def test_a_draft_is_stored_with_a_warning() -> None:
    answer = ask(made("IdentityBinding", spec={"schemes": {"serviceAccount": "api"}}))
    assert answer.allowed
    assert "names nobody" in answer.warnings[0]


@pytest.mark.parametrize(
    ("schemes", "warned_of"),
    [
        ({"serviceAccount": "api"}, []),
        ({"spiffeIdentities": ["example.org/ns/shop/sa/api"]}, []),
        ({"spiffeIdentities": ["example.org/ns/bank/sa/api"]}, ["spec.schemes.spiffeIdentities[0]"]),
    ],
)
def test_f4_where_bindings_are_read_they_are_warned_of_for_what_names_nobody(
    schemes: dict[str, object], warned_of: list[str]
) -> None:
    reading = Validator(MeshSettings(trust_domain="example.org", identity_bindings=True))
    answer = ask(made("IdentityBinding", spec={"schemes": schemes}), validator=reading)
    assert answer.allowed
    assert [warning.partition(":")[0] for warning in answer.warnings] == warned_of


def test_f4_where_bindings_are_read_one_that_contradicts_itself_is_refused() -> None:
    schemes = {"serviceAccount": "api", "podLabelSelector": {"matchLabels": {"a": "b"}}}
    reading = Validator(MeshSettings(identity_bindings=True))
    answer = ask(made("IdentityBinding", spec={"schemes": schemes}), validator=reading)
    assert answer.fields == ["spec.schemes.podLabelSelector"]


def service(name: str) -> Service:
    return Service(metadata=Meta(name=name, namespace="shop"), kind="Service", api_version="v1")


def seeing(*items: Anything) -> Validator:
    resources = Resources({item.ref: item for item in items})
    return Validator(look=lambda: resources)


def test_t6_a_backend_that_is_not_there_yet_is_a_warning() -> None:
    answer = ask(split("v1alpha4", 1, 1), validator=seeing(service("web"), service("web-0")))
    assert answer.allowed
    assert answer.warnings == [
        "spec.backends[1].service: There is no Service shop/web-1 yet; this backend is left out until there is."
    ]


def test_t1_a_root_that_is_not_there_yet_is_a_warning() -> None:
    answer = ask(split(), validator=seeing(service("web-0")))
    assert [warning.partition(": ")[0] for warning in answer.warnings] == ["spec.service"]


def test_f2_a_route_that_is_not_there_yet_is_a_warning() -> None:
    answer = ask(target(), validator=seeing())
    assert answer.allowed
    assert answer.warnings == ["spec.rules[0]: HTTPRouteGroup shop/routes does not exist; this rule grants nothing."]


def test_a6_a_match_that_is_not_there_is_a_warning() -> None:
    found = HTTPRouteGroup(namespace="shop", name="routes", api_version="", matches=(HttpMatch(name="other"),))
    answer = ask(target(), validator=seeing(found))
    assert answer.allowed
    assert [warning.partition(": ")[0] for warning in answer.warnings] == ["spec.rules[0].matches[0]"]


def test_nothing_is_said_of_objects_that_are_there() -> None:
    there = seeing(service("web"), service("web-0"))
    assert ask(split(), validator=there).warnings == []


class Broken:
    """A look at the cluster that fails."""

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        raise LookupError(Ref(kind.__name__, namespace, name))


class Unseen:
    """A look at a cluster that does not answer."""

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        raise UnseenError(kind, namespace, name)


def test_without_an_answer_of_the_cluster_an_object_is_judged_by_itself() -> None:
    unseen = Validator(look=Unseen)
    assert ask(split(), validator=unseen) == Asked(allowed=True, uid="7")
    assert ask(split(service="web.other"), validator=unseen).fields == ["spec.service"]


def test_a_mistake_of_ours_refuses_nobody() -> None:
    answer = ask(split(), validator=Validator(look=Broken))
    assert answer.allowed
    assert answer.warnings[0].startswith("Weft failed to check this object")


@pytest.mark.parametrize("annotations", [-222, ["weft.dev/converted"], "weft.dev/converted", True])
def test_annotations_that_are_no_map_hide_no_mistake(annotations: object) -> None:
    raw = target(rules=[{"kind": "TCPRoute", "name": "a"}, "no map"])
    raw["metadata"]["annotations"] = annotations
    assert ask(raw).fields == ["spec.rules[1]"]


@pytest.mark.parametrize("operation", ["DELETE", "CONNECT"])
def test_only_what_is_written_is_judged(operation: str) -> None:
    assert ask(None, split("v1alpha4", -1), operation).allowed
    assert ask(split("v1alpha4", -1), operation=operation).allowed


def test_subresources_and_unknown_kinds_are_let_through() -> None:
    assert ask(split("v1alpha4", -1), subResource="status").allowed
    assert ask({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {}}) == Asked(allowed=True, uid="7")


def test_an_object_that_is_wrong_already_may_change_in_its_metadata() -> None:
    wrong = split("v1alpha4", -1)
    labelled = {**wrong, "metadata": {**wrong["metadata"], "labels": {"a": "b"}}, "status": {"any": "thing"}}
    answer = ask(labelled, wrong)
    assert answer.allowed
    assert [warning.partition(": ")[0] for warning in answer.warnings] == ["spec.backends[0].weight"]
    assert not ask(split("v1alpha4", -2), wrong).allowed


def test_the_finalizers_of_a_wrong_object_can_be_removed_while_it_is_deleted() -> None:
    wrong = split("v1alpha4", -1)
    going = {**wrong, "metadata": {**wrong["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert ask({**going, "spec": {}}, going).allowed


def test_a_new_object_has_the_name_and_namespace_of_the_request() -> None:
    raw = made("TrafficSplit", spec=split()["spec"])
    raw["metadata"] = {"generateName": "canary-"}
    assert ask(raw, name="").allowed
    assert not ask({**raw, "spec": {**raw["spec"], "service": "web.other"}}, name="").allowed
    assert ask({**raw, "spec": {**raw["spec"], "service": "web.other"}}, namespace="other").allowed


def test_v7_a_port_that_only_the_annotation_tells_is_pointed_at() -> None:
    ported = target("v1alpha2", destination=account("api", port=80))
    stored = convert(ported, "access.smi-spec.io/v1alpha3")
    assert isinstance(stored, dict)
    answer = ask(stored)
    assert answer.allowed
    assert [warning.partition(": ")[0] for warning in answer.warnings] == ["metadata.annotations[weft.dev/converted]"]
    assert ask(ported).warnings == []


def test_warnings_are_short_and_on_one_line() -> None:
    answer = ask(target(rules=[{"kind": "TCPRoute", "name": "a"}, {"kind": "X" * 300 + "\n", "name": "b"}]))
    assert answer.allowed
    assert len(answer.warnings) == 1
    assert all(len(warning) <= WARNING_LENGTH and "\n" not in warning for warning in answer.warnings)


@pytest.mark.parametrize("document", [{}, {"request": None}, {"request": {"object": 7, "operation": "CREATE"}}])
def test_a_review_without_an_object_is_let_through(document: RawDocument) -> None:
    assert review(document)["response"]["allowed"]


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (noted("Namespace", "weft.dev/access", "open"), "metadata.annotations[weft.dev/access]"),
        (noted("Service", "weft.dev/export-to", "A B"), "metadata.annotations[weft.dev/export-to]"),
        (noted("Pod", "weft.dev/mtls", "off"), "metadata.annotations[weft.dev/mtls]"),
        (
            made("Deployment", spec={"template": noted("Pod", "weft.dev/proxy-concurrency", "many")}),
            "spec.template.metadata.annotations[weft.dev/proxy-concurrency]",
        ),
    ],
)  # fmt: skip
def test_an_annotation_of_ours_that_means_nothing_is_refused(raw: RawDocument, path: str) -> None:
    assert ask(raw).fields == [path]
    assert ask({**raw, "spec": {**raw.get("spec", {}), "more": 1}}, raw).allowed, "it was wrong before"


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({"labels": {"weft.dev/inject": "true"}}, "metadata.labels[weft.dev/inject]"),
        ({"annotations": {"weft.dev/inject": "enabled"}}, "metadata.annotations[weft.dev/inject]"),
        ({"annotations": {"weft.dev/acces": "permissive"}}, "metadata.annotations[weft.dev/acces]"),
    ],
)
def test_a_label_or_annotation_nobody_reads_is_a_warning(metadata: dict[str, Any], path: str) -> None:
    answer = ask(made("Namespace", metadata=metadata))
    assert answer.allowed
    assert [warning.partition(": ")[0] for warning in answer.warnings] == [path]


def test_objects_that_carry_no_mark_of_ours_pass() -> None:
    for kind in ("Namespace", "Service", "Pod", "Deployment", "CronJob"):
        assert ask(made(kind, metadata={"annotations": {"other.io/x": "y"}})) == Asked(allowed=True, uid="7")
