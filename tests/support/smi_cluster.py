"""The SMI kinds in an API server, as the chart installs them, with our conversion and validation behind them.

Rule: what the API server asks is answered by the webhook's own functions; only their address differs from a cluster's.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from custom_kind import CRDS
from raw_api import Answer, RawApi
from registered_webhook import configuration, path_of
from webhook import convert, validate
from webhook_server import Review, WebhookServer

SHIPPED = Path(__file__).parents[2] / "deploy/crds"
PLURALS = {
    "TrafficSplit": ("split.smi-spec.io", "trafficsplits"),
    "TrafficTarget": ("access.smi-spec.io", "traffictargets"),
    "HTTPRouteGroup": ("specs.smi-spec.io", "httproutegroups"),
    "TCPRoute": ("specs.smi-spec.io", "tcproutes"),
    "UDPRoute": ("specs.smi-spec.io", "udproutes"),
    "IdentityBinding": ("access.smi-spec.io", "identitybindings"),
    "EgressPolicy": ("weft.dev", "egresspolicies"),
}
UNCHECKED = "weft.test/unchecked"
"""A label that keeps an object from being validated."""


@dataclass(frozen=True)
class SmiCluster:
    """The kinds, and a namespace in which objects are validated."""

    api: RawApi
    namespace: str
    server: WebhookServer

    def path(self, kind: str, version: str, name: str = "") -> str:
        group, plural = PLURALS[kind]
        base = f"/apis/{group}/{version}/namespaces/{self.namespace}/{plural}"
        return f"{base}/{name}" if name else base

    def create(self, raw: Any, **query: Any) -> Answer:
        """Post a document, in the version it says it has."""
        return self.api("POST", self.path(raw["kind"], raw["apiVersion"].rpartition("/")[2]), raw, **query)

    def read(self, kind: str, version: str, name: str) -> Any:
        """An object in a version."""
        return self.api("GET", self.path(kind, version, name)).expect(200)


def shipped() -> list[dict[str, Any]]:
    """The CRDs of deploy/crds/, as where drafts are wanted: their kinds and their versions too."""
    crds: list[dict[str, Any]] = [yaml.safe_load(path.read_text()) for path in sorted(SHIPPED.rglob("*.yaml"))]
    for crd in crds:
        for version in crd["spec"]["versions"]:
            version["served"] = True
    return crds


def answered(review: Review) -> Review:
    """What the webhook answers to either question."""
    return convert.review(review) if review["kind"] == "ConversionReview" else validate.review(review)


@contextmanager
def installed(api: RawApi, crds: list[dict[str, Any]]) -> Iterator[None]:
    """These CRDs are there, and their newest version is served, while the block lasts."""
    for crd in crds:
        api("POST", CRDS, crd).expect(201)
    try:
        for crd in crds:
            group, names = crd["spec"]["group"], crd["spec"]["names"]
            for version in crd["spec"]["versions"]:
                _await_served(api, f"/apis/{group}/{version['name']}/{names['plural']}")
        yield
    finally:
        for crd in crds:
            api("DELETE", f"{CRDS}/{crd['metadata']['name']}")
        for crd in crds:
            while api("GET", f"{CRDS}/{crd['metadata']['name']}").code != 404:
                time.sleep(0.02)


@contextmanager
def smi_cluster(api: RawApi, namespace: str) -> Iterator[SmiCluster]:
    """All kinds in all versions, converted; validated in this namespace."""
    with WebhookServer(answered) as server, installed(api, [reachable(crd, server) for crd in shipped()]):
        cluster = SmiCluster(api, namespace, server)
        api("POST", path_of("Validating"), _validation(namespace, server)).expect(201)
        try:
            _await_validation(cluster)
            yield cluster
        finally:
            api("DELETE", path_of("Validating", f"{namespace}-smi"))


def reachable(crd: dict[str, Any], server: WebhookServer) -> dict[str, Any]:
    """The CRD with this server's address in the place of the Service, as the leader's caBundle would be."""
    crd = copy.deepcopy(crd)
    if crd["spec"]["conversion"]["strategy"] == "Webhook":
        crd["spec"]["conversion"]["webhook"]["clientConfig"] = server.client_config("/convert")
    return crd


def _validation(namespace: str, server: WebhookServer) -> dict[str, Any]:
    rule = {
        "apiGroups": sorted({group for group, _ in PLURALS.values()}),
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": [plural for _, plural in PLURALS.values()],
    }
    hook = {
        "name": "validate.weft.dev",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "rules": [rule],
        "clientConfig": server.client_config("/validate"),
        "failurePolicy": "Fail",
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "objectSelector": {"matchExpressions": [{"key": UNCHECKED, "operator": "DoesNotExist"}]},
    }
    return configuration("Validating", f"{namespace}-smi", hook)


def _await_served(api: RawApi, path: str) -> None:
    """Established is not yet served: handlers follow a moment later, and nothing tells when."""
    while api("GET", path).code != 200:
        time.sleep(0.02)


def _await_validation(cluster: SmiCluster) -> None:
    """Nothing tells when the API server has seen the configuration, but what it refuses."""
    spec = {"service": "a.elsewhere", "backends": []}
    wrong = {"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": {"name": "probe"}}
    while cluster.create({**wrong, "spec": spec}, dryRun="All").code != 422:
        time.sleep(0.02)
