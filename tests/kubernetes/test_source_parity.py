"""The same objects through an API server and through a folder are the same Resources and the same configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster_world import PLURALS, ROOT, Document, create, documents, dump, followed, install, uninstall
from kube.client import Client
from kube.enrolment import INJECTED
from mesh.build import Builder
from mesh.settings import MeshSettings
from smi.kinds import SmiObject
from smi.resources import Resources
from sources.folder import FolderSource
from xds.translate.world import TranslateSettings, Translator

GOLDEN = ROOT / "tests" / "golden"
INPUTS = [
    GOLDEN / "shop.yaml",
    *sorted(GOLDEN.glob("*/input.yaml")),
    *sorted((ROOT / "examples/shop").glob("*/*.yaml")),
]
"""All worlds at once: an object of a name that another file has is left out, which changes nothing here."""

MORE = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: ledgers, namespace: bank}
spec:
  serviceName: ledger
  selector: {matchLabels: {app: ledgers}}
  template:
    metadata: {labels: {app: ledgers}, creationTimestamp: null}
    spec: {serviceAccountName: ledger, containers: [{name: app, image: app, ports: [{containerPort: 8080}]}]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: UDPRoute
metadata: {name: feed, namespace: bank}
spec: {matches: {ports: [53]}}
---
apiVersion: access.smi-spec.io/v1alpha4
kind: IdentityBinding
metadata: {name: tellers, namespace: bank}
spec: {schemes: {podLabelSelector: {matchLabels: {app: teller}}}}
"""
"""Kinds that no other input has."""


def without_places(resources: Resources) -> Resources:
    objects = {
        ref: replace(item, origin=None) if isinstance(item, SmiObject) else item
        for ref, item in resources.objects.items()
    }
    problems = sorted((replace(problem, origin=None) for problem in resources.problems), key=str)
    return Resources(objects, tuple(problems), resources.invalid)


def as_if_running(pod: Document, number: int) -> Document:
    """The pod as the injector and a node would leave it."""
    metadata = pod["metadata"] | {"annotations": pod["metadata"].get("annotations", {}) | {INJECTED: "true"}}
    status = {"phase": "Running", "podIP": f"10.1.0.{number}", "podIPs": [{"ip": f"10.1.0.{number}"}]}
    return pod | {"metadata": metadata, "status": status | pod.get("status", {})}


@pytest.fixture
async def cluster(client: Client, tmp_path: Path) -> AsyncIterator[Client]:
    """An API server that holds all the inputs it takes."""
    await uninstall(client)
    await install(client)
    more = tmp_path / "more.yaml"
    more.write_text(MORE)
    for number, document in enumerate(documents([*INPUTS, more])):
        await create(client, as_if_running(document, number) if document["kind"] == "Pod" else document)
    yield client
    await uninstall(client)
    for namespace in {
        str(document["metadata"]["name"]) for document in documents(INPUTS) if document["kind"] == "Namespace"
    }:
        await client.request("DELETE", f"/api/v1/namespaces/{namespace}")


async def test_a_cluster_and_a_folder_say_the_same(cluster: Client, tmp_path: Path) -> None:
    # Controllers may still be at work: what counts is a moment at which nothing changed in between.
    for attempt in range(20):
        await dump(cluster, tmp_path / f"before-{attempt}")
        async with followed(cluster) as world:
            found = without_places(await world.until(lambda _: True))
        await dump(cluster, tmp_path / f"after-{attempt}")
        before, after = (
            without_places(FolderSource([tmp_path / f"{when}-{attempt}"]).read()) for when in ("before", "after")
        )
        if before == after:
            break
    assert {ref.kind for ref in found.objects} == set(PLURALS)
    assert found.objects.keys() == after.objects.keys()
    assert {ref: item for ref, item in found.objects.items() if item != after.objects[ref]} == {}
    assert found == after
    worlds = [
        Translator(TranslateSettings()).translate(Builder(MeshSettings()).build(resources), "bundle")
        for resources in (found, after)
    ]
    assert worlds[0].roles
    assert worlds[0] == worlds[1]
