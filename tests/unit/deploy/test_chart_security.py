"""What the chart's pods may do: the restricted Pod Security Standard, and roles of least privilege."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chart_documents import VALUES, Document, of_kind, one, pod_specs, rendered


@pytest.fixture(scope="module", params=VALUES)
def documents(request: pytest.FixtureRequest) -> list[Document]:
    return rendered(VALUES[request.param])


def rules(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    for kind in ("ClusterRole", "Role"):
        for role in of_kind(documents, kind):
            for rule in role["rules"]:
                yield f"{kind} {role['metadata']['name']}", rule


def test_pods_satisfy_the_restricted_standard(documents: list[Document]) -> None:
    for _, pod in pod_specs(documents):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True


def test_containers_have_requests_a_memory_limit_and_probes(documents: list[Document]) -> None:
    for _, pod in pod_specs(documents):
        for container in pod["containers"]:
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
            assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_tokens_are_mounted_by_name_and_live_an_hour(documents: list[Document]) -> None:
    for account in of_kind(documents, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    for name, pod in pod_specs(documents):
        assert pod["serviceAccountName"] == name
        assert pod["automountServiceAccountToken"] is False
        (token,) = (
            source["serviceAccountToken"]
            for volume in pod["volumes"]
            for source in volume.get("projected", {}).get("sources", ())
            if "serviceAccountToken" in source
        )
        assert token["expirationSeconds"] == 3607


def test_our_own_pods_are_never_enrolled(documents: list[Document]) -> None:
    for item in of_kind(documents, "Deployment"):
        assert item["spec"]["template"]["metadata"]["labels"]["weft.dev/inject"] == "disabled"


def test_no_rule_has_a_wildcard(documents: list[Document]) -> None:
    for role, rule in rules(documents):
        assert "*" not in {item for listed in rule.values() for item in listed}, role


def test_secrets_are_read_by_name_in_the_own_namespace_only(documents: list[Document]) -> None:
    found = [(role, rule) for role, rule in rules(documents) if "secrets" in rule.get("resources", ())]
    assert {role for role, _ in found} == {"Role weft"}
    for _, rule in found:
        assert rule["verbs"] == ["create"] or rule["resourceNames"]


def test_what_is_written_is_named_unless_it_is_created(documents: list[Document]) -> None:
    writing = {"update", "patch", "delete", "deletecollection"}
    unnamed = {
        (role, resource)
        for role, rule in rules(documents)
        if writing & set(rule["verbs"]) and not rule.get("resourceNames")
        for resource in rule.get("resources", ())
    }
    assert unnamed <= {("ClusterRole weft", "events")}


def test_the_webhook_writes_nothing(documents: list[Document]) -> None:
    verbs = {verb for role, rule in rules(documents) if role.endswith("weft-webhook") for verb in rule["verbs"]}
    assert verbs <= {"get", "list", "watch"}


def test_with_cert_manager_the_control_plane_touches_no_webhook_configuration() -> None:
    documents = rendered({"certificates": {"webhook": "cert-manager", "issuerRef": {"name": "ours"}}})
    assert not [rule for _, rule in rules(documents) if "mutatingwebhookconfigurations" in rule.get("resources", ())]
    (secrets,) = (
        rule for _, rule in rules(documents) if rule.get("resources", ()) == ["secrets"] and "resourceNames" in rule
    )
    assert secrets["resourceNames"] == ["weft-ca"]
    hooks = one(documents, "MutatingWebhookConfiguration", "weft-webhook")
    assert hooks["metadata"]["annotations"]["cert-manager.io/inject-ca-from"] == "weft-system/weft-webhook"
