"""`weft inject -f`: pods inside other kinds get their sidecar, everything else comes out as it came in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.problem import Problem
from webhook.documents import TEMPLATES, inject_document, inject_documents, namespace_labels
from webhook.inject import InjectorSettings

SETTINGS = InjectorSettings()
ENROLLED = {"shop": {"weft.dev/inject": "enabled"}}


def workload(kind: str, pod: dict[str, Any] | None = None, namespace: str = "shop") -> dict[str, Any]:
    metadata = {"name": "web", "namespace": namespace}
    made: dict[str, Any] = pod or {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web"}]}}
    if not TEMPLATES[kind]:
        return {"kind": kind, **made, "metadata": {**made["metadata"], **metadata}}
    for key in reversed(TEMPLATES[kind]):
        made = {key: made}
    return {"kind": kind, "metadata": metadata, **made}


def sidecars(document: dict[str, Any]) -> list[str]:
    found: Any = document
    for key in TEMPLATES[document["kind"]]:
        found = found[key]
    return [container["name"] for container in found["spec"].get("initContainers", ())]


@pytest.mark.parametrize("kind", sorted(TEMPLATES))
def test_every_kind_that_makes_pods_gets_the_sidecar(kind: str) -> None:
    done = inject_document(workload(kind), ENROLLED, SETTINGS)
    assert sidecars(done.document) == ["weft-redirect", "weft-proxy"]
    assert done.notes == (f"{kind} shop/web: it has its sidecar now",)


def test_lists_are_injected_item_by_item() -> None:
    service = {"kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    done = inject_document({"kind": "List", "items": [service, workload("Deployment")]}, ENROLLED, SETTINGS)
    assert done.document["items"][0] == service
    assert sidecars(done.document["items"][1]) == ["weft-redirect", "weft-proxy"]


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "Deployment"},
        {"kind": "Deployment", "metadata": None, "spec": {"template": None}},
        {"kind": "Deployment", "metadata": {"name": "a"}, "spec": []},
        {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"spec": "x"}},
        {"kind": "List", "items": [None, 3]},
        {"kind": ["Pod"]},
        {},
    ],
)
def test_what_holds_no_pod_comes_out_as_it_came_in(document: dict[str, Any]) -> None:
    done = inject_document(document, ENROLLED, SETTINGS)
    assert (done.document, done.notes) == (document, ())


def test_a_problem_names_the_object_and_the_field_in_it() -> None:
    pod = {"metadata": {}, "spec": {"containers": [{"name": "web", "ports": [{"containerPort": 15001}]}]}}
    done = inject_document(workload("CronJob", pod), ENROLLED, SETTINGS)
    [problem] = [note for note in done.notes if isinstance(note, Problem)]
    field = "spec.jobTemplate.spec.template.spec.containers[0].ports[0].containerPort"
    assert str(problem) == f"CronJob shop/web {field}: the sidecar listens on 15001; the pod is refused [inject]"
    assert done.document == workload("CronJob", pod)


def test_files_and_folders_keep_their_order_and_values(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(yaml.safe_dump_all([workload("Pod"), {"kind": "Other", "when": "2024-01-01"}]))
    (tmp_path / "a.yaml").write_text(
        "kind: Namespace\nmetadata: {name: shop, labels: {weft.dev/inject: enabled}}\n---\n# nothing\n---\n"
        "kind: ConfigMap\nmetadata: {name: c, annotations: {made: 2024-01-01}}\ndata: {mode: 0644, on: 'yes'}\n"
    )
    documents, notes = inject_documents([tmp_path], SETTINGS)
    assert [document["kind"] for document in documents] == ["Namespace", "ConfigMap", "Pod", "Other"]
    assert documents[1]["metadata"]["annotations"] == {"made": "2024-01-01"}
    assert sidecars(documents[2]) == ["weft-redirect", "weft-proxy"]
    assert notes == ["Pod shop/web: it has its sidecar now"]


def test_a_file_that_cannot_be_read_takes_no_other_with_it(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [")
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(workload("Pod")))
    documents, notes = inject_documents([tmp_path], SETTINGS, everything=True)
    assert [sidecars(document) for document in documents] == [["weft-redirect", "weft-proxy"]]
    assert isinstance(notes[0], Problem)


def test_namespaces_in_lists_count() -> None:
    namespace = {"kind": "Namespace", "metadata": {"name": "shop", "labels": {"weft.dev/inject": "enabled"}}}
    assert namespace_labels([{"kind": "List", "items": [namespace]}]) == ENROLLED
