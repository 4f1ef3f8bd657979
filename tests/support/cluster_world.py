"""Puts manifests into an API server as kubectl would, and follows what a KubernetesSource makes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from kube.client import ApiError, Client
from kube.problem import Problem
from smi.convert import convert
from smi.resources import Resources
from sources.kubernetes import KINDS, KubernetesSource
from sources.store import Store

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 60.0
CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NEWEST: Final = {each.kind: each.versions[0] for each in KINDS if each.group}
PLURALS: Final = {
    "Namespace": "namespaces", "ServiceAccount": "serviceaccounts", "Service": "services", "Pod": "pods",
    "EndpointSlice": "endpointslices", "Deployment": "deployments", "StatefulSet": "statefulsets",
    "TrafficSplit": "trafficsplits", "TrafficTarget": "traffictargets", "HTTPRouteGroup": "httproutegroups",
    "TCPRoute": "tcproutes", "UDPRoute": "udproutes", "IdentityBinding": "identitybindings",
    "EgressPolicy": "egresspolicies",
}  # fmt: skip
ORDER: Final = ["Namespace", "ServiceAccount"]
REFUSED: Final = frozenset({400, 409, 422})
"""Codes of an object that the API server does not take, or has already."""

Document = dict[str, Any]


def documents(paths: Iterable[Path]) -> Iterator[Document]:
    """The objects in these files, SMI objects in the newest version of their kind, in an order that can be created."""
    found: list[Document] = [
        document for path in paths for document in yaml.safe_load_all(path.read_text()) if isinstance(document, dict)
    ]
    for document in sorted(found, key=lambda each: ORDER.index(each["kind"]) if each["kind"] in ORDER else len(ORDER)):
        group = str(document["apiVersion"]).partition("/")[0]
        kind = document["kind"]
        newest = convert(document, f"{group}/{NEWEST[kind]}") if kind in NEWEST else document
        if not isinstance(newest, Problem):
            yield newest


def path_of(document: Document) -> str:
    """The collection an object belongs to."""
    version, kind = document["apiVersion"], document["kind"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = document["metadata"].get("namespace", "default")
    return f"{root}/namespaces" if kind == "Namespace" else f"{root}/namespaces/{namespace}/{PLURALS[kind]}"


async def create(client: Client, document: Document) -> bool:
    """Create an object with its status. False where the API server does not take it, which some are made for."""
    path, status = path_of(document), document.get("status")
    if document["kind"] == "Pod":
        await _account_of(client, document)
    for pod in (document, document.get("spec", {}).get("template", {})):
        for container in pod.get("spec", {}).get("containers", []):
            container.setdefault("image", "app")
    try:
        made = await client.request("POST", path, body=document)
    except ApiError as error:
        if error.code not in REFUSED:
            raise
        return False
    if status and document["kind"] == "Pod":
        patch = {"status": status}
        merge = "application/merge-patch+json"
        await client.request("PATCH", f"{path}/{made['metadata']['name']}/status", body=patch, content_type=merge)
    return True


async def _account_of(client: Client, pod: Document) -> None:
    namespace = pod["metadata"].get("namespace", "default")
    name = pod["spec"].get("serviceAccountName") or "default"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
    try:
        await client.request("POST", path_of(account), body=account)
    except ApiError as error:
        if error.code not in REFUSED:
            raise


_SHIPPED: Final = {path.stem: path for path in (ROOT / "deploy" / "crds").rglob("*.yaml")}


def crd(plural: str) -> Document:
    """A CRD of ours that needs no webhook: tests of the source write the newest version only."""
    document: Document = yaml.safe_load(_SHIPPED[plural].read_text())
    document["spec"]["conversion"] = {"strategy": "None"}
    return document


CRD_NAMES: Final = tuple(sorted(_SHIPPED))


async def install(client: Client, *plurals: str) -> None:
    """Install CRDs and wait until they are served."""
    for plural in plurals or CRD_NAMES:
        document = crd(plural)
        await client.request("POST", CRDS, body=document)
        await _until_served(client, document, served=True)


async def uninstall(client: Client, *plurals: str) -> None:
    """Remove CRDs with their objects and wait until they are gone."""
    for plural in plurals or CRD_NAMES:
        document = crd(plural)
        try:
            await client.request("DELETE", f"{CRDS}/{document['metadata']['name']}")
        except ApiError as error:
            if error.code != 404:
                raise
        await _until_served(client, document, served=False)


async def _until_served(client: Client, document: Document, *, served: bool) -> None:
    spec = document["spec"]
    path = f"/apis/{spec['group']}/{NEWEST[spec['names']['kind']]}/{spec['names']['plural']}"
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await client.request("GET", path, query={"limit": "1"})
                code = 200
            except ApiError as error:
                code = error.code
            if (code == 200) if served else (code == 404):
                return
            await asyncio.sleep(0.05)  # the API server tells nobody when it serves a kind


async def dump(client: Client, folder: Path) -> None:
    """Write all objects of all kinds that are read into a folder, as `kubectl get -A -o json` would."""
    await asyncio.to_thread(folder.mkdir)
    for each in KINDS:
        kind, group = each.kind, each.group
        version = each.place.api_version if each.place else f"{group}/{NEWEST[kind]}"
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        try:
            found = await client.request("GET", f"{root}/{PLURALS[kind]}")
        except ApiError as error:
            if error.code != 404:
                raise
            continue
        items = [{"apiVersion": version, "kind": kind, **item} for item in found["items"]]
        (folder / f"{kind}.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


async def when(told: Callable[[], bool]) -> None:
    """Wait until something is true that nobody is told of, such as the state of a source."""
    async with asyncio.timeout(PATIENCE):
        while not told():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


class Followed:
    """A source at work, and what it last said."""

    def __init__(self, source: KubernetesSource, store: Store, task: asyncio.Task[None]) -> None:
        self.source, self.store, self.task = source, store, task
        self.history: list[Resources] = []

    async def until(self, wanted: Callable[[Resources], bool]) -> Resources:
        """The first state of which this is true; every state in between is kept in `history`."""
        async with asyncio.timeout(PATIENCE):
            while not self.history or not wanted(self.history[-1]):
                news = asyncio.ensure_future(self.store.settled())
                done, _ = await asyncio.wait({news, self.task}, return_when=asyncio.FIRST_COMPLETED)
                if self.task in done:
                    news.cancel()
                    await self.task
                self.history.append(await news)
        return self.history[-1]


@asynccontextmanager
async def followed(client: Client) -> AsyncIterator[Followed]:
    """A source that follows this client's API server; it ends with the block."""
    source, store = KubernetesSource(client), Store()
    task = asyncio.create_task(source.run(store))
    try:
        yield Followed(source, store, task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
