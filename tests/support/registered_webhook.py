"""A webhook that an API server calls, for one test and one namespace. Rule: it is in force when the block begins.

An API server learns of a configuration a moment after it was written, and only a call shows that it did. So every
configuration here begins with a second webhook, the beacon, which is called for probes alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from raw_api import RawApi
from webhook_server import WebhookServer, allowed

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
PROBE = "weft.test/probe"


def hook(short: str, namespace: str, **more: Any) -> dict[str, Any]:
    """A webhook for all writes of ConfigMaps in a namespace; `more` overrides."""
    return {
        "name": f"{short}.weft.test",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "rules": [RULE],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "objectSelector": {"matchExpressions": [{"key": PROBE, "operator": "DoesNotExist"}]},
        **more,
    }


def configuration(kind: str, name: str, *hooks: dict[str, Any]) -> dict[str, Any]:
    """A MutatingWebhookConfiguration or ValidatingWebhookConfiguration."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": list(hooks),
    }


def path_of(kind: str, name: str = "") -> str:
    base = f"{ADMISSION}/{kind.lower()}webhookconfigurations"
    return f"{base}/{name}" if name else base


@contextmanager
def registered(
    api: RawApi, namespace: str, server: WebhookServer, *, kind: str = "Mutating", name: str = "hook", **more: Any
) -> Iterator[None]:
    """The server is called for writes of ConfigMaps in the namespace; `more` overrides what its webhook says."""
    with WebhookServer(allowed) as beacon:
        first = hook(
            "beacon",
            namespace,
            clientConfig=beacon.client_config(),
            objectSelector={"matchLabels": {PROBE: "yes"}},
            failurePolicy="Ignore",
        )
        second = hook(name, namespace, **{"clientConfig": server.client_config(), **more})
        made = configuration(kind, f"{namespace}-{name}", first, second)
        api("POST", path_of(kind), made).expect(201)
        try:
            for number in itertools.count():
                probe = {"metadata": {"name": f"probe-{number}", "labels": {PROBE: "yes"}}}
                # A test's own objectSelector may choose probes too: whether one passes does not matter.
                api("POST", f"/api/v1/namespaces/{namespace}/configmaps", probe, dryRun="All")
                if beacon.reviews:
                    break
            server.reviews.clear()
            yield
        finally:
            api("DELETE", path_of(kind, f"{namespace}-{name}"))
