"""The chart's roles for the admin API name every route that there is, and none that there is not."""

from __future__ import annotations

from pathlib import Path

from chart_documents import one, rendered
from controlplane.app import control_plane
from controlplane.door.rights import needed
from controlplane.settings import ControlPlaneSettings

ROLES = ("weft-viewer", "weft-tap", "weft-ca-operator")


def right(method: str, path: str) -> tuple[str, str]:
    """Verb and resource, as a role names them."""
    found = needed(method.upper(), path.replace("{", "").replace("}", ""))
    resource = "/".join(filter(None, (found.get("resource"), found.get("subresource"))))
    return found["verb"], resource or found["path"]


def test_every_route_is_granted_by_exactly_the_roles_of_the_chart(tmp_path: Path) -> None:
    granted = {
        (verb, resource)
        for name in ROLES
        for rule in one(rendered(), "ClusterRole", name)["rules"]
        for verb in rule["verbs"]
        for resource in rule.get("resources") or rule["nonResourceURLs"]
    }
    plane = control_plane(ControlPlaneSettings(paths=(tmp_path,), ca_folder=tmp_path / "ca"))
    paths = plane.api.openapi()["paths"]
    wanted = {right(method, path) for path, methods in paths.items() for method in methods}
    assert {("get", "healthz"), ("get", "readyz"), ("create", "ca/rotate")} <= wanted
    assert wanted - {("get", "healthz"), ("get", "readyz")} == granted


def test_looking_and_changing_are_different_roles_and_nobody_but_weft_check_is_bound() -> None:
    documents = rendered()
    verbs = {
        name: {verb for rule in one(documents, "ClusterRole", name)["rules"] for verb in rule["verbs"]}
        for name in ROLES
    }
    assert verbs == {"weft-viewer": {"get"}, "weft-tap": {"watch"}, "weft-ca-operator": {"create"}}
    bound = [item for item in documents if item["kind"] == "ClusterRoleBinding" and item["roleRef"]["name"] in ROLES]
    (binding,) = bound
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "weft-viewer", "namespace": "weft-system"}]
