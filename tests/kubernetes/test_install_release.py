"""`weft install`, `upgrade` and `uninstall` against an API server: what is there afterwards, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api_server import ApiServer, start_api_server
from controlplane.cli.main import command_line
from raw_api import RawApi

pytest.importorskip("helm_python", reason="Helm's engine has no wheel for this machine")

NAMESPACE = "weft-install"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SPLIT_CRD = f"{CRDS}/trafficsplits.split.smi-spec.io"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/weft"
BUNDLE = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K"
COMMANDS = ("install", "upgrade", "uninstall", "check")


class Weft:
    """The command line, at this API server."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig

    def __call__(self, *words: str, code: int = 0) -> str:
        arguments = [*words, "--kubeconfig", str(self._kubeconfig), "--namespace", NAMESPACE]
        result: Result = CliRunner().invoke(command_line(COMMANDS), arguments)
        assert result.exit_code == code, result.output
        return result.output


@pytest.fixture(scope="module")
def cluster() -> Iterator[ApiServer]:
    """A cluster of its own: an install is cluster-wide, and others have CRDs in the one that is shared."""
    server = start_api_server()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def api(cluster: ApiServer) -> RawApi:
    return RawApi(cluster.admin_kubeconfig)


@pytest.fixture
def weft(cluster: ApiServer, api: RawApi) -> Iterator[Weft]:
    """No Weft is installed before and none after, nor any of its CRDs."""
    run = Weft(cluster.admin_kubeconfig)
    yield run
    found = api("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets", labelSelector="owner=helm")
    if found.code == 200 and found.document["items"]:
        run("uninstall", "--crds", "--ca")
    remove_crds(api)


def remove_crds(api: RawApi) -> None:
    """Delete them all and see them go."""
    there = api("GET", CRDS).expect()
    waiting = {item["metadata"]["name"] for item in there["items"]}
    for name in waiting:
        api("DELETE", f"{CRDS}/{name}")
    with api.watch(CRDS, resourceVersion=there["metadata"]["resourceVersion"]) as events:
        while waiting:
            event = next(events)
            if event["type"] == "DELETED":
                waiting.discard(event["object"]["metadata"]["name"])


def exists(api: RawApi, path: str) -> bool:
    return bool(api("GET", path).code == 200)


def test_after_an_install_everything_is_there_and_helm_knows_it(weft: Weft, api: RawApi) -> None:
    assert f"installed in {NAMESPACE}" in weft("install")
    for path in (
        DEPLOYMENT,
        f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/weft-webhook",
        f"/api/v1/namespaces/{NAMESPACE}/services/weft",
        f"/api/v1/namespaces/{NAMESPACE}/services/weft-webhook",
        f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets/weft",
        f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies/weft",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/weft",
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/weft-webhook",
        SPLIT_CRD,
    ):
        assert exists(api, path), path
    secrets = api("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets", labelSelector="owner=helm").expect()
    assert [item["metadata"]["labels"]["status"] for item in secrets["items"]] == ["deployed"]


def test_an_upgrade_changes_values_and_keeps_those_set_before(weft: Weft, api: RawApi) -> None:
    weft("install", "--set", "controlPlane.replicas=3,mesh.access=permissive")
    weft("upgrade", "--set", "controlPlane.logLevel=debug")
    spec = api("GET", DEPLOYMENT).expect()["spec"]
    arguments = spec["template"]["spec"]["containers"][0]["args"]
    assert spec["replicas"] == 3
    assert {"--access=permissive", "--log-level=debug"} <= set(arguments)

    weft("upgrade", "--reset-values")
    assert api("GET", DEPLOYMENT).expect()["spec"]["replicas"] == 2


def test_an_upgrade_leaves_the_ca_bundles_alone(weft: Weft, api: RawApi) -> None:
    weft("install")
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/weft-webhook"
    patch = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": BUNDLE}]
    api("PATCH", path, patch, content_type="application/json-patch+json").expect()
    weft("upgrade", "--set", "admission.timeoutSeconds=7")
    first = api("GET", path).expect()["webhooks"][0]
    assert first["timeoutSeconds"] == 7
    assert first["clientConfig"]["caBundle"] == BUNDLE


def test_an_entry_that_an_upgrade_drops_is_gone_though_its_ca_bundle_is_not_helms(weft: Weft, api: RawApi) -> None:
    weft("install", "--set", "injector.otherMeshesMarks=true")
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/weft-webhook"
    names = [hook["name"] for hook in api("GET", path).expect()["webhooks"]]
    patch = [
        {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": BUNDLE}
        for index, _ in enumerate(names)
    ]
    api("PATCH", path, patch, content_type="application/json-patch+json", fieldManager="weft").expect()
    weft("upgrade", "--set", "injector.otherMeshesMarks=false")
    left = {hook["name"]: hook["clientConfig"]["caBundle"] for hook in api("GET", path).expect()["webhooks"]}
    assert left == {name: BUNDLE for name in names if name != "marks.inject.weft.dev"}


def test_uninstall_removes_what_was_installed_and_keeps_the_crds_with_their_objects(weft: Weft, api: RawApi) -> None:
    weft("install", "--set", "admission.validateFailurePolicy=Ignore")
    split = {
        "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": {"name": "kept"},
        "spec": {"service": "kept", "backends": [{"service": "kept", "weight": 1}]},
    }  # fmt: skip
    until_established(api)
    splits = "/apis/split.smi-spec.io/v1alpha4/namespaces/default/trafficsplits"
    api("POST", splits, split).expect()
    assert "were kept" in weft("uninstall")
    assert not exists(api, DEPLOYMENT)
    assert not exists(api, "/apis/rbac.authorization.k8s.io/v1/clusterroles/weft")
    assert not exists(api, "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/weft-webhook")
    assert exists(api, f"{splits}/kept")

    weft("install")
    assert exists(api, DEPLOYMENT)
    assert exists(api, f"{splits}/kept")

    weft("uninstall", "--crds")
    left = api("GET", SPLIT_CRD)
    assert left.code == 404 or left.document["metadata"]["deletionTimestamp"]


def until_established(api: RawApi) -> None:
    with api.watch(CRDS, fieldSelector=f"metadata.name={SPLIT_CRD.rpartition('/')[2]}") as events:
        next(event for event in events if established(event["object"]))


def established(crd: dict[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions", ())
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)


def test_uninstall_removes_what_the_control_plane_made_but_not_the_issuers_key(weft: Weft, api: RawApi) -> None:
    weft("install")
    own = f"/api/v1/namespaces/{NAMESPACE}"
    for name in ("weft-ca", "weft-webhook-tls"):
        api("POST", f"{own}/secrets", {"metadata": {"name": name}}).expect()
    for namespace in (NAMESPACE, "default"):
        api("POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "weft-root"}}).expect()
    weft("uninstall")
    assert exists(api, f"{own}/secrets/weft-ca")
    assert not exists(api, f"{own}/secrets/weft-webhook-tls")
    assert not exists(api, f"{own}/configmaps/weft-root")
    assert not exists(api, "/api/v1/namespaces/default/configmaps/weft-root")
    api("DELETE", f"{own}/secrets/weft-ca").expect()


def test_a_dry_run_changes_nothing(weft: Weft, api: RawApi) -> None:
    assert "kind: Deployment" in weft("install", "--dry-run")
    assert not exists(api, DEPLOYMENT)
    weft("install")
    weft("upgrade", "--set", "controlPlane.replicas=5", "--dry-run")
    weft("uninstall", "--dry-run")
    assert api("GET", DEPLOYMENT).expect()["spec"]["replicas"] == 2


def test_crds_of_somebody_else_stop_the_install_with_their_name(weft: Weft, api: RawApi) -> None:
    weft("install")
    weft("uninstall")
    annotations = {"meta.helm.sh/release-name": "another-mesh"}
    api("PATCH", SPLIT_CRD, {"metadata": {"annotations": annotations}}, content_type="application/merge-patch+json")
    assert "trafficsplits.split.smi-spec.io" in weft("check", code=1)
    assert "trafficsplits.split.smi-spec.io" in weft("install", code=1)
    assert not exists(api, DEPLOYMENT)


def test_a_mistake_in_the_values_stops_the_install_before_anything_is_there(weft: Weft, api: RawApi) -> None:
    assert "additional properties 'replica' not allowed" in weft("install", "--set", "controlPlane.replica=3", code=1)
    assert not exists(api, DEPLOYMENT)


def test_a_second_install_says_what_to_do_instead(weft: Weft) -> None:
    weft("install")
    assert "`weft upgrade` changes it" in weft("install", code=1)


def test_an_install_that_does_not_become_ready_fails_in_words_and_can_be_removed(weft: Weft, api: RawApi) -> None:
    # Helm's words depend on where the second ends; no node means that nothing ever becomes ready.
    assert weft("install", "--wait", "--timeout", "1", code=1).startswith("error: ")
    assert "never succeeded (failed)" in weft("upgrade", code=1)
    assert "`weft uninstall` removes it" in weft("install", code=1)
    weft("uninstall")
    assert not exists(api, DEPLOYMENT)
    weft("install")
    assert exists(api, DEPLOYMENT)


def test_the_pods_are_admitted_where_pod_security_is_restricted(weft: Weft, api: RawApi) -> None:
    weft("install")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    merge = "application/merge-patch+json"
    api("PATCH", f"/api/v1/namespaces/{NAMESPACE}", {"metadata": {"labels": labels}}, content_type=merge).expect()
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    for name in ("weft", "weft-webhook"):
        template = api("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}").expect()["spec"]["template"]
        pod = {"metadata": {**template["metadata"], "name": f"{name}-tried"}, "spec": template["spec"]}
        api("POST", pods, pod, dryRun="All").expect()
        pod["spec"]["securityContext"]["runAsNonRoot"] = False
        # Shows that it is looked at. The fake has no Pod Security admission.
        assert api("POST", pods, pod, dryRun="All").code == 403


def test_without_a_release_there_is_nothing_to_upgrade_or_uninstall(weft: Weft) -> None:
    assert "`weft install` makes one" in weft("upgrade", code=1)
    assert f"no release weft is installed in {NAMESPACE}" in weft("uninstall", code=1)


def test_check_before_and_after_an_install(weft: Weft, api: RawApi) -> None:
    before = weft("check")
    assert "✓ You may create everything an install needs" in before
    assert "✓ No other Weft is in this cluster" in before
    weft("install")
    until_established(api)
    after = weft("check", code=1)
    assert "× The control plane has 0 of 2 replicas ready" in after
    assert "These have no caBundle yet: mutatingwebhookconfigurations/weft-webhook" in after
    assert "× The API server does not reach the webhook" in after


def test_check_names_what_a_user_may_not_create(cluster: ApiServer) -> None:
    poor = Weft(cluster.kubeconfig_as("poor"))
    lines = poor("check", code=1)
    # Not even Deployments may be looked at, which says enough.
    assert "deployments" in lines
