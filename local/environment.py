"""A container's environment and command line, by Kubernetes' rules.

Rule: pure. `$(VAR)` means an earlier variable, `$$(VAR)` the text `$(VAR)`, and an unknown name stays as written
(Kubernetes: "Define dependent environment variables").
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kube.objects import RawDocument
from local.podspec import Container, EnvVar, KeyRef, NameRef, PodDocument

REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.\-][A-Za-z0-9_.\-]*)\)")
KEYED = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")

Values = Mapping[tuple[str, str], RawDocument]
"""ConfigMaps or Secrets by namespace and name."""


class Missing(Exception):  # noqa: N818 - it names what is wrong with the manifest
    """A pod refers to something that is not there; the text is a sentence. The pod waits until it appears."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a pod can be told about itself and its namespace."""

    pod: PodDocument
    address: str
    node_address: str
    config_maps: Values = field(default_factory=dict)
    secrets: Values = field(default_factory=dict)
    node_name: str = "weft"

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return self.pod.metadata.namespace

    def field(self, path: str) -> str:
        """A field of the pod as text (core/v1 ObjectFieldSelector). Raises Missing."""
        metadata, spec = self.pod.metadata, self.pod.spec
        keyed = KEYED.fullmatch(path)
        if keyed:
            return (metadata.labels if keyed[1] == "labels" else metadata.annotations).get(keyed[2], "")
        fields = {
            "metadata.name": metadata.name,
            "metadata.namespace": metadata.namespace,
            "metadata.uid": metadata.uid,
            "metadata.labels": _lines(metadata.labels),
            "metadata.annotations": _lines(metadata.annotations),
            "spec.serviceAccountName": spec.service_account_name,
            "spec.nodeName": self.node_name,
            "status.podIP": self.address,
            "status.podIPs": self.address,
            "status.hostIP": self.node_address,
        }
        if path not in fields:
            raise Missing(f"a pod has no field {path!r} that it could be told")
        return fields[path]

    def keys(self, kind: str, name: str, *, optional: bool = False) -> dict[str, bytes]:
        """The contents of a ConfigMap or a Secret. Raises Missing, unless it is optional."""
        found = (self.config_maps if kind == "ConfigMap" else self.secrets).get((self.namespace, name))
        if found is None and not optional:
            raise Missing(f"{kind} {self.namespace}/{name} does not exist")
        return contents(found or {})


def contents(document: RawDocument) -> dict[str, bytes]:
    """The keys of a ConfigMap or a Secret, decoded."""
    secret = document.get("kind") == "Secret"
    encoded = (document.get("data") or {}) if secret else (document.get("binaryData") or {})
    plain = (document.get("stringData") or {}) if secret else (document.get("data") or {})
    decoded = {key: base64.b64decode(value) for key, value in encoded.items()}
    return decoded | {key: str(value).encode() for key, value in plain.items()}


def environment(container: Container, facts: PodFacts) -> dict[str, str]:
    """The variables the manifest gives a container. Raises Missing."""
    variables: dict[str, str] = {}
    for source in container.env_from:
        for kind, reference in (("ConfigMap", source.config_map_ref), ("Secret", source.secret_ref)):
            if reference is not None:
                variables |= _all_keys(source.prefix, kind, reference, facts)
    for variable in container.env:
        value = _value(variable, variables, facts)
        if value is not None:
            variables[variable.name] = value
    return variables


def command_line(container: Container, variables: Mapping[str, str]) -> list[str]:
    """`command` and `args` with their variables filled in."""
    return [expanded(word, variables) for word in (*container.command, *container.args)]


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """The text with each `$(VAR)` replaced."""

    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match[1], match[0])

    return REFERENCE.sub(replacement, text)


def _all_keys(prefix: str, kind: str, reference: NameRef, facts: PodFacts) -> dict[str, str]:
    found = facts.keys(kind, reference.name, optional=reference.optional)
    return {prefix + key: value.decode(errors="replace") for key, value in found.items()}


def _value(variable: EnvVar, earlier: Mapping[str, str], facts: PodFacts) -> str | None:
    source = variable.value_from
    if source is None:
        return expanded(variable.value, earlier)
    if source.field_ref is not None:
        return facts.field(source.field_ref.field_path)
    for kind, reference in (("ConfigMap", source.config_map_key_ref), ("Secret", source.secret_key_ref)):
        if reference is not None:
            return _key(kind, reference, facts)
    raise Missing(f"variable {variable.name} takes its value from a source that is not known on this machine")


def _key(kind: str, reference: KeyRef, facts: PodFacts) -> str | None:
    found = facts.keys(kind, reference.name, optional=reference.optional)
    if reference.key in found:
        return found[reference.key].decode(errors="replace")
    if reference.optional:
        return None
    raise Missing(f"{kind} {facts.namespace}/{reference.name} has no key {reference.key!r}")


def _lines(values: Mapping[str, str]) -> str:
    return "".join(_line(key, value) for key, value in sorted(values.items()))


def _line(key: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{key}="{escaped}"\n'
