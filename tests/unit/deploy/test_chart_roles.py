"""Roles of least privilege: the chart grants what the code asks for, not less and not more, and says why."""

from __future__ import annotations

from pathlib import Path

from ca import issuer_secret
from chart_documents import Document, rendered
from controlplane.duties import announcing, serving
from controlplane.metrics_api import callers
from controlplane.settings import KubernetesSettings
from controlplane.traffic import kinds as traffic_kinds
from kube.lease import LeaseSettings
from rbac_rules import Right, granted, on
from sources.kubernetes import KINDS
from webhook.settings import InjectorSettings

ROOT = Path(__file__).parents[3]
SETTINGS = KubernetesSettings(instance="test")
LEASE = LeaseSettings(namespace="weft-system", identity="test")
ADMISSION = "admissionregistration.k8s.io"
CRDS = "customresourcedefinitions"

CORE = {"namespaces", "services", "configmaps", "secrets", "nodes"}
"""What lines of the table begin with that name no API group."""

# Where the code names no plural: SMI kinds are discovered.
PLURALS = {kind: plural for kind, (_, plural) in announcing.PATHS.items()}


def asked_by_the_control_plane() -> set[Right]:
    """Every request that the control plane makes, from the constants it makes it with."""
    rights: set[Right] = set()
    for kind in KINDS:
        group = kind.group or (kind.place.api_version.rpartition("/")[0] if kind.place else "")
        rights |= {*on("list watch", group, PLURALS[kind.kind])}  # kube/follow.py
    for kind_name, (version, plural) in announcing.PATHS.items():
        if kind_name != "Secret":  # the one Secret that is told of is read anyway
            rights |= {*on("get", version.rpartition("/")[0], plural)}  # announcing.Announcer._found
    rights |= {*on("create patch", "events.k8s.io", "events")}  # kube/events.py
    rights |= {*on("create", "authentication.k8s.io", "tokenreviews")}  # ca/token_review.py
    root = InjectorSettings().ca_config_map
    rights |= {*on("create", "", "configmaps"), *on("list patch", "", "configmaps", root)}  # duties/trust.py
    configurations = "mutatingwebhookconfigurations validatingwebhookconfigurations"
    rights |= {*on("get patch", ADMISSION, configurations, " ".join(SETTINGS.webhook_configurations))}
    rights |= {*on("get patch", "apiextensions.k8s.io", CRDS, " ".join(SETTINGS.definitions))}  # duties/callers.py
    rights |= {*on("get", "", "configmaps", callers.PATH.rpartition("/")[2])}  # metrics_api/callers.py
    rights |= {*on("create", "authorization.k8s.io", "subjectaccessreviews")}  # metrics_api/rights.py
    services = " ".join(SETTINGS.api_services)
    rights |= {*on("get patch", "apiregistration.k8s.io", "apiservices", services)}  # duties/callers.py
    for counted in traffic_kinds.KINDS.values():  # metrics_api/server.py
        if path := counted.collection:
            group = path.removeprefix("/apis/").partition("/")[0] if "/apis/" in path else ""
            rights |= {*on("list", group, counted.plural)}
    secrets = f"{issuer_secret.NAME} {serving.NAME}"
    rights |= {
        *on("create", "", "secrets", namespaced=True),
        *on("get update", "", "secrets", secrets, namespaced=True),
    }
    leases = "coordination.k8s.io", "leases"
    return rights | {*on("create", *leases, namespaced=True), *on("get update", *leases, LEASE.name, namespaced=True)}


def test_the_control_plane_is_granted_what_it_asks_for_and_nothing_else() -> None:
    assert granted(rendered(), "weft") == asked_by_the_control_plane()


def test_the_webhook_may_look_for_what_objects_refer_to_and_read_namespaces_only_for_marks() -> None:
    looks = {
        *on("get", "", "services"),
        *on("get", "specs.smi-spec.io", "httproutegroups tcproutes udproutes"),
        *on("get", "access.smi-spec.io", "identitybindings"),
    }
    assert granted(rendered(), "weft-webhook") == looks  # webhook/look.py
    marks: Document = {"injector": {"otherMeshesMarks": True}}
    assert granted(rendered(marks), "weft-webhook") == looks | {*on("get", "", "namespaces")}  # webhook/namespaces.py


def test_every_rule_is_in_the_documents_table_with_its_reason() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    table = page.partition("<!-- rules -->")[2].partition("<!-- end of rules -->")[0]
    written: set[tuple[str, Right]] = set()
    for line in table.splitlines()[3:]:
        if not line.startswith("| "):
            continue
        role, resources, names, verbs, why = (cell.strip() for cell in line.strip("|").split("|"))
        kind, account = role.split()
        assert why
        group = "" if resources.split()[0].rstrip(",") in CORE else resources.split()[0]
        plurals = resources.removeprefix(group).strip()
        words = (verbs.replace(",", ""), group, plurals.replace(",", ""), names.replace(",", ""))
        written |= {(account, right) for right in on(*words, namespaced=kind == "Role")}
    documents = rendered({"injector": {"otherMeshesMarks": True}})
    assert written == {
        (account, right) for account in ("weft", "weft-webhook") for right in granted(documents, account)
    }
