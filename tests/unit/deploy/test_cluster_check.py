"""`weft check` in a cluster: each line says what holds, or what does not and how to mend it."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from chart_documents import rendered
from controlplane.check import Line
from controlplane.install.after import after, installed
from controlplane.install.before import CREATED, before
from kube.client import ApiError

NAMESPACE = "weft-system"
APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
HOOKS = "/apis/admissionregistration.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
TRIED = "/apis/split.smi-spec.io/v1alpha1/namespaces/default/trafficsplits"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


class FakeCluster:
    """Answers from a table by path; an ApiError in it is raised, a path that is missing is 404."""

    def __init__(self, answers: Mapping[str, Any], refused: tuple[str, ...] = ()) -> None:
        self.answers = dict(answers)
        self.refused = refused

    async def request(
        self, _method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # fmt: skip
        if path == REVIEWS:
            return {"status": {"allowed": body["spec"]["resourceAttributes"]["resource"] not in self.refused}}
        answer = self.answers.get(path, ApiError(404, "NotFound", f"{path} not found"))
        if isinstance(answer, ApiError):
            raise answer
        if path.startswith(ADMIN):
            assert headers == {"weft-token": "Bearer a-token"}
        if path == TOKEN:
            assert body["spec"]["audiences"] == ["weft-admin"]
        if path == TRIED:
            assert query == {"dryRun": "All"}
        return copy.deepcopy(answer)


def crd(
    name: str = "trafficsplits.split.smi-spec.io", owner: str | None = "weft", bundle: str = "Q0E="
) -> dict[str, Any]:
    owned = {"meta.helm.sh/release-name": owner, "meta.helm.sh/release-namespace": NAMESPACE} if owner else {}
    service = {"namespace": NAMESPACE, "name": "weft-webhook"}
    return {
        "metadata": {"name": name, "annotations": owned, "labels": {"app.kubernetes.io/managed-by": "Helm"}},
        "spec": {
            "group": name.partition(".")[2],
            "conversion": {"webhook": {"clientConfig": {"service": service, "caBundle": bundle}}},
        },
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }


def deployment(ready: int = 2, generation: int = 1) -> dict[str, Any]:
    status = {"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": 2}
    return {"metadata": {"generation": generation}, "spec": {"replicas": 2}, "status": status}


EMPTY = {
    "/version": {"major": "1", "minor": "36+", "gitVersion": "v1.36.0"},
    "/apis/apps/v1/deployments": {"items": []},
    CRDS: {"items": []},
    f"{HOOKS}/mutatingwebhookconfigurations": {"items": []},
}
POD = {"metadata": {"name": "weft-1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
ADMIN = f"{PODS}/https:weft-1:15016/proxy"
TOKEN = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/weft-viewer/token"
HOOK = {"webhooks": [{"clientConfig": {"caBundle": "Q0E="}}]}
WELL = {
    f"{APPS}/weft": deployment(),
    f"{APPS}/weft-webhook": deployment(),
    CRDS: {"items": [crd()]},
    f"{HOOKS}/mutatingwebhookconfigurations/weft-webhook": HOOK,
    f"{HOOKS}/validatingwebhookconfigurations/weft-webhook": HOOK,
    TRIED: {},
    TOKEN: {"status": {"token": "a-token"}},
    PODS: {"items": [POD]},
    f"{ADMIN}/proxies": [{"node": "shop/web-1", "types": {"Cluster": {"state": "synced", "error": ""}}}],
    f"{ADMIN}/problems": [],
}


async def lines(found: AsyncIterator[Line]) -> list[Line]:
    return [line async for line in found]


async def broken(answers: Mapping[str, Any]) -> list[Line]:
    """The lines of an installed cluster that do not hold, where all holds but these answers."""
    return [line for line in await lines(after(FakeCluster({**WELL, **answers}), NAMESPACE)) if not line.ok]


async def test_an_empty_cluster_is_ready_for_an_install() -> None:
    found = await lines(before(FakeCluster(EMPTY), NAMESPACE))
    assert all(line.ok for line in found)
    assert len(found) == 5


@pytest.mark.parametrize(("version", "ok"), [("26", False), ("27", True), ("36+", True)])
async def test_an_old_kubernetes_is_told(version: str, ok: bool) -> None:
    answers = {**EMPTY, "/version": {"major": "1", "minor": version, "gitVersion": f"v1.{version}"}}
    first, *_ = await lines(before(FakeCluster(answers), NAMESPACE))
    assert first.ok is ok


async def test_each_right_that_is_missing_is_named() -> None:
    found = await lines(before(FakeCluster(EMPTY, refused=("clusterroles", "secrets")), NAMESPACE))
    assert [line.sentence for line in found if not line.ok] == [
        "You may not create secrets in weft-system",
        "You may not create clusterroles.rbac.authorization.k8s.io",
    ]


def plural(kind: str) -> str:
    name = kind.lower()
    return name + "es" if name.endswith("s") else name.removesuffix("y") + "ies" if name.endswith("y") else name + "s"


def test_the_right_to_create_each_kind_of_the_chart_is_asked_about() -> None:
    assert {plural(item["kind"]) for item in rendered()} <= {resource for _, resource, _ in CREATED}


async def test_another_weft_is_in_the_way() -> None:
    other = {"items": [{"metadata": {"namespace": "mesh"}}]}
    found = await lines(before(FakeCluster({**EMPTY, "/apis/apps/v1/deployments": other}), NAMESPACE))
    assert [line.sentence for line in found if not line.ok] == ["Weft is installed in mesh already"]


@pytest.mark.parametrize(("owner", "ok"), [("weft", True), ("another", False), (None, False)])
async def test_crds_of_somebody_else_are_named(owner: str | None, ok: bool) -> None:
    found = await lines(before(FakeCluster({**EMPTY, CRDS: {"items": [crd(owner=owner)]}}), NAMESPACE))
    assert all(line.ok for line in found) is ok
    assert ok or "trafficsplits.split.smi-spec.io" in next(line.sentence for line in found if not line.ok)


async def test_crds_of_other_groups_are_nobodys_business() -> None:
    items = {"items": [crd("certificates.cert-manager.io", owner=None)]}
    assert all(line.ok for line in await lines(before(FakeCluster({**EMPTY, CRDS: items}), NAMESPACE)))


async def test_other_meshes_are_told_without_being_an_error() -> None:
    path = f"{HOOKS}/mutatingwebhookconfigurations"
    items = {"items": [{"metadata": {"name": "istio-sidecar-injector"}}]}
    last = (await lines(before(FakeCluster({**EMPTY, path: items}), NAMESPACE)))[-1]
    assert last.ok
    assert last.sentence.startswith("Istio injects sidecars here too")


async def test_what_may_not_be_looked_up_is_a_line_and_the_rest_goes_on() -> None:
    answers = {**EMPTY, CRDS: ApiError(403, "Forbidden", "you may not list CRDs")}
    found = await lines(before(FakeCluster(answers), NAMESPACE))
    assert [line.ok for line in found] == [True, True, True, False, True]


async def test_an_installed_mesh_that_is_well_has_no_other_line() -> None:
    found = await lines(after(FakeCluster(WELL), NAMESPACE))
    assert [line.sentence for line in found if not line.ok] == []
    assert found[-1].sentence == "All 1 connected proxies have accepted what they were sent"


async def test_whether_it_is_installed_is_whether_its_deployment_is_there() -> None:
    assert await installed(FakeCluster(WELL), NAMESPACE)
    assert not await installed(FakeCluster(EMPTY), NAMESPACE)


async def test_replicas_that_are_not_ready_or_of_an_older_generation_are_told() -> None:
    answers = {f"{APPS}/weft": deployment(ready=1), f"{APPS}/weft-webhook": deployment(generation=2)}
    assert [line.sentence for line in await broken(answers)] == [
        "The control plane has 1 of 2 replicas ready",
        "The webhook has 0 of 2 replicas ready, 0 up to date",
    ]


async def test_a_missing_ca_bundle_is_told_with_its_object() -> None:
    path = f"{HOOKS}/mutatingwebhookconfigurations/weft-webhook"
    answers = {path: {"webhooks": [{"clientConfig": {}}]}, CRDS: {"items": [crd(bundle="")]}}
    (line,) = await broken(answers)
    assert line.sentence == (
        "These have no caBundle yet: mutatingwebhookconfigurations/weft-webhook, trafficsplits.split.smi-spec.io"
    )


async def test_a_crd_that_is_not_served_is_told() -> None:
    (line,) = await broken({CRDS: {"items": [crd() | {"status": {}}]}})
    assert line.sentence == "These CRDs are not served: trafficsplits.split.smi-spec.io"


@pytest.mark.parametrize(
    ("error", "ok"),
    [
        (ApiError(500, "InternalError", 'failed calling webhook "validate.weft.dev": connection refused'), False),
        (ApiError(500, "InternalError", "conversion webhook for split.smi-spec.io failed: EOF"), False),
        (ApiError(422, "Invalid", 'admission webhook "validate.weft.dev" denied the request: no'), True),
        (ApiError(403, "Forbidden", 'trafficsplits is forbidden: User "x" cannot create'), False),
    ],
)
async def test_whether_the_api_server_reaches_the_webhook_is_tried(error: ApiError, ok: bool) -> None:
    assert (await broken({TRIED: error}) == []) is ok


async def test_a_rejected_configuration_and_a_problem_are_told() -> None:
    rejected = [{"node": "shop/web-1", "types": {"Listener": {"state": "rejected", "error": "no"}}}]
    problem = {
        "severity": "error", "kind": "TrafficSplit", "namespace": "shop", "name": "web", "field": "spec.service",
        "message": "is missing", "file": "", "line": 0, "rule": "T1",
    }  # fmt: skip
    found = await broken({f"{ADMIN}/proxies": rejected, f"{ADMIN}/problems": [problem]})
    assert [line.sentence for line in found] == [
        "TrafficSplit shop/web spec.service: is missing",
        "shop/web-1 rejected Listener: no",
    ]


async def test_a_control_plane_that_may_not_be_asked_is_told() -> None:
    (line,) = await broken({f"{ADMIN}/proxies": ApiError(403, "Forbidden", "pods/proxy is forbidden")})
    assert "could not be asked through the API server (weft-1)" in line.sentence
