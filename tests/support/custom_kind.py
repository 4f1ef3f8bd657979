"""A custom kind for one test: its CRD is there and served, and gone afterwards."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from raw_api import RawApi

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def served(name: str, *, storage: bool = False, **spec_fields: Any) -> dict[str, Any]:
    """A version whose spec has these fields, and a status of any shape behind its subresource."""
    spec = {"type": "object", "properties": spec_fields} if spec_fields else ANYTHING
    schema = {"type": "object", "properties": {"spec": spec, "status": ANYTHING}}
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }


@dataclass(frozen=True)
class CustomKind:
    """Thing of a group of its own."""

    api: RawApi
    group: str
    namespace: str

    def path(self, version: str = "v1", name: str = "") -> str:
        base = f"/apis/{self.group}/{version}/namespaces/{self.namespace}/things"
        return f"{base}/{name}" if name else base

    def thing(self, name: str, spec: Any = None, version: str = "v1", **metadata: Any) -> dict[str, Any]:
        made: dict[str, Any] = {
            "apiVersion": f"{self.group}/{version}",
            "kind": "Thing",
            "metadata": {"name": name, **metadata},
        }
        return made if spec is None else {**made, "spec": spec}

    @property
    def crd(self) -> str:
        """The CRD's path."""
        return f"{CRDS}/things.{self.group}"


@contextmanager
def custom_kind(
    api: RawApi, namespace: str, *versions: Mapping[str, Any], conversion: Mapping[str, Any] | None = None
) -> Iterator[CustomKind]:
    """The kind is served in all its versions when the block begins."""
    kind = CustomKind(api, f"{namespace}.example.com", namespace)
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": copy.deepcopy(list(versions)),
            **({"conversion": conversion} if conversion else {}),
        },
    }
    api("POST", CRDS, crd).expect(201)
    try:
        for version in versions:
            # Established is not yet served: handlers follow a moment later, and nothing tells when.
            while version["served"] and api("GET", kind.path(version["name"])).code != 200:
                time.sleep(0.02)
        yield kind
    finally:
        api("DELETE", kind.crd)
