"""The CustomResourceDefinitions of the SMI kinds and ours: `python -m smi.definitions FOLDER` writes deploy/crds/.

Rule: one table says which kinds, versions and names there are; the files are made from it and never edited, and a test
compares them. A kind with several versions is converted by our webhook (`smi.convert`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from smi import decode_access, decode_binding, decode_egress, decode_specs, decode_split, schemas

NAMESPACE: Final = "weft-system"
SERVICE: Final = "weft-webhook"
PATH: Final = "/convert"
"""Where the API server sends objects to be converted."""

LABELS: Final = {"app.kubernetes.io/name": "weft", "app.kubernetes.io/part-of": "weft", "weft.dev/crd": "smi"}
"""What tells our definitions from those of other meshes, which use the same names."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One kind: its names, its versions from the oldest to the newest, which is stored (rule V1), and their schemas.

    `columns` are printer columns besides the age: title and field, by version; `draft` kinds are installed on request,
    and `drafts`, versions that come after those, served on request (the chart's `crds.identityBinding`).
    """

    group: str
    kind: str
    short: str
    versions: tuple[str, ...]
    schema: Callable[[str], schemas.Schema]
    columns: Callable[[str], tuple[tuple[str, str], ...]] = field(default=lambda _version: ())
    draft: bool = False
    drafts: tuple[str, ...] = ()

    @property
    def plural(self) -> str:
        """The name of its collection in URLs."""
        return f"{self.kind.lower()}s".replace("ys", "ies")

    @property
    def name(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{self.group}"

    @property
    def stored(self) -> str:
        """The version the API server stores."""
        return self.versions[-1]


def _service(_version: str) -> tuple[tuple[str, str], ...]:
    return (("Service", ".spec.service"),)


def _destination(version: str) -> tuple[tuple[str, str], ...]:
    return (("Destination", ".destination.name" if version == "v1alpha1" else ".spec.destination.name"),)


DEFINITIONS: Final = (
    Definition("split.smi-spec.io", "TrafficSplit", "ts", decode_split.VERSIONS, schemas.traffic_split, _service),
    Definition(
        "access.smi-spec.io",
        "TrafficTarget",
        "tt",
        decode_access.VERSIONS,
        schemas.traffic_target,
        _destination,
        drafts=decode_access.DRAFTS,
    ),
    Definition("specs.smi-spec.io", "HTTPRouteGroup", "htr", decode_specs.VERSIONS, schemas.http_route_group),
    Definition("specs.smi-spec.io", "TCPRoute", "tr", decode_specs.VERSIONS, schemas.tcp_route),
    Definition("specs.smi-spec.io", "UDPRoute", "ur", decode_specs.VERSIONS[-1:], schemas.udp_route),
    Definition(
        "access.smi-spec.io", "IdentityBinding", "ib", decode_binding.VERSIONS, schemas.identity_binding, draft=True
    ),
    Definition(decode_egress.GROUP, "EgressPolicy", "egp", decode_egress.VERSIONS, schemas.egress_policy),
)
"""Every SMI kind, and our own."""


def document(definition: Definition) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind, without a caBundle: the leader sets that once the webhook runs."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": definition.name, "labels": dict(LABELS)},
        "spec": {
            "group": definition.group,
            "scope": "Namespaced",
            "names": {
                "kind": definition.kind,
                "listKind": f"{definition.kind}List",
                "plural": definition.plural,
                "singular": definition.kind.lower(),
                "shortNames": [definition.short],
                "categories": ["weft" if definition.group == decode_egress.GROUP else "smi"],
            },
            "preserveUnknownFields": False,
            "conversion": _conversion(definition),
            "versions": [
                _version(definition, version) for version in reversed((*definition.versions, *definition.drafts))
            ],
        },
    }


def _conversion(definition: Definition) -> dict[str, Any]:
    if len(definition.versions) == 1:
        return {"strategy": "None"}
    service = {"namespace": NAMESPACE, "name": SERVICE, "path": PATH, "port": 443}
    return {
        "strategy": "Webhook",
        "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"service": service}},
    }


def _version(definition: Definition, version: str) -> dict[str, Any]:
    age = ("Age", ".metadata.creationTimestamp")
    return {
        "name": version,
        "served": version in definition.versions,
        "storage": version == definition.stored,
        "additionalPrinterColumns": [
            {"name": name, "type": "date" if name == "Age" else "string", "jsonPath": path}
            for name, path in (*definition.columns(version), age)
        ],
        "schema": {"openAPIV3Schema": definition.schema(version)},
    }


class _Plain(yaml.SafeDumper):
    """Writes out what stands in two places twice, instead of an alias."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # the name is the base class's
        return True


def files() -> Iterator[tuple[Path, str]]:
    """The files of deploy/crds/, relative to it, and what each holds. Drafts are in a folder of their own."""
    for definition in DEFINITIONS:
        folder = Path("drafts") if definition.draft else Path()
        made = yaml.dump(document(definition), Dumper=_Plain, sort_keys=False, width=120)
        yield folder / f"{definition.plural}.yaml", f"# Made by `make crds` from smi/definitions.py.\n{made}"


def main(folder: Path) -> None:
    """Write the files."""
    for path, text in files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
