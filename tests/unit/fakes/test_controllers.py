"""Deployments, ReplicaSets and Jobs get their pods, which tests make ready."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from raw_api import MERGE, STRATEGIC, RawApi
from tests.fakes.server import FakeApiServer

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
JOBS = "/apis/batch/v1/namespaces/default/jobs"


@pytest.fixture
def api() -> Iterator[RawApi]:
    server = FakeApiServer.start()
    yield RawApi(server.admin_kubeconfig)
    server.stop()


def template(**labels: str) -> dict[str, Any]:
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "one"}]}}


def watched(api: RawApi, path: str, holds: Any) -> Any:
    """The first state of an object for which `holds`."""
    collection, _, name = path.rpartition("/")
    with api.watch(collection, fieldSelector=f"metadata.name={name}") as events:
        return next(event["object"] for event in events if holds(event["object"]))


def set_status(api: RawApi, name: str, **status: Any) -> None:
    api("PATCH", f"{PODS}/{name}/status", {"status": status}, content_type=MERGE).expect(200)


def make_ready(api: RawApi) -> None:
    for pod in api("GET", PODS).expect()["items"]:
        set_status(api, pod["metadata"]["name"], phase="Running", conditions=[{"type": "Ready", "status": "True"}])


def test_a_rollout_replaces_pods_as_the_new_ones_become_ready(api: RawApi) -> None:
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "a"}}, "template": template(app="a")}
    path = f"{DEPLOYMENTS}/web"
    api("POST", DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}).expect(201)
    watched(api, path, lambda each: each["status"].get("replicas") == 2)
    make_ready(api)
    watched(api, path, lambda each: each["status"].get("availableReplicas") == 2)
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}}
    api("PATCH", path, change, content_type=STRATEGIC).expect(200)
    between = watched(api, path, lambda each: each["status"].get("updatedReplicas") == 1)
    assert between["status"]["availableReplicas"] == 2
    make_ready(api)
    watched(api, path, lambda each: each["status"].get("updatedReplicas") == 2)
    make_ready(api)
    done = watched(
        api, path, lambda each: each["status"].get("replicas") == each["status"].get("availableReplicas") == 2
    )
    assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    assert {each["spec"]["containers"][0]["image"] for each in api("GET", PODS).expect()["items"]} == {"two"}


def test_pods_that_can_not_be_made_are_told_of_in_the_replica_sets_status(api: RawApi) -> None:
    bad = template(app="b")
    bad["spec"]["serviceAccountName"] = "nobody"
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "b"}}, "template": bad}
    path = "/apis/apps/v1/namespaces/default/replicasets"
    api("POST", path, {"metadata": {"name": "bad"}, "spec": spec}).expect(201)
    found = watched(api, f"{path}/bad", lambda each: each["status"].get("conditions"))
    assert 'serviceaccount "nobody" not found' in found["status"]["conditions"][0]["message"]


def test_a_job_is_complete_when_its_pod_has_succeeded(api: RawApi) -> None:
    spec = {"template": {"spec": {"containers": [{"name": "c", "image": "one"}], "restartPolicy": "Never"}}}
    api("POST", JOBS, {"metadata": {"name": "once"}, "spec": spec}).expect(201)
    watched(api, f"{JOBS}/once", lambda each: each["status"].get("active") == 1)
    (pod,) = api("GET", PODS, labelSelector="job-name=once").expect()["items"]
    set_status(api, pod["metadata"]["name"], phase="Succeeded")
    done = watched(api, f"{JOBS}/once", lambda each: each["status"].get("conditions"))
    assert done["status"]["conditions"][0]["type"] == "Complete"
    assert done["status"]["succeeded"] == 1
