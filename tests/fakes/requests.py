"""A request as the API server reads it: path, verb, options. Rule: nothing here looks at objects.

Source: k8s.io/apiserver/pkg/endpoints/request (RequestInfo).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.fakes import protobuf_bodies, selectors
from tests.fakes.errors import (
    Cause,
    NoSuchPathError,
    StatusError,
    bad_request,
    invalid,
    method_not_allowed,
    no_such_path,
    not_found,
)
from tests.fakes.hooks import User
from tests.fakes.kinds import Kind, Kinds


@dataclass(frozen=True)
class Request:
    """What came over the wire; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    peer_certificate: Mapping[str, Any] | None = None


@dataclass
class Reply:
    """A whole answer."""

    code: int
    body: bytes
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def json(cls, document: object, code: int = 200) -> Reply:
        return cls(code, msgspec.json.encode(document))


@dataclass
class Stream:
    """An answer that is sent line by line."""

    lines: AsyncGenerator[bytes]
    content_type: str = "application/json"


@dataclass
class Call:
    """A request to a resource, understood."""

    request: Request
    user: User
    verb: str
    kind: Kind
    namespace: str
    name: str
    subresource: str
    warnings: list[str] = field(default_factory=list)

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    @property
    def dry_run(self) -> bool:
        wanted = self.query.get("dryRun", "")
        if wanted not in {"", "All"}:
            text = f'Unsupported value: ["{wanted}"]: supported values: "All"'
            raise invalid("meta.k8s.io", "CreateOptions", "", [Cause("dryRun", text, "FieldValueNotSupported")])
        return wanted == "All"

    @property
    def manager(self) -> str:
        """Who is named in managedFields when the request names nobody: the User-Agent up to its first slash."""
        named = self.query.get("fieldManager", "")
        return named or self.request.headers.get("user-agent", "unknown").partition("/")[0][:128] or "unknown"


@dataclass(frozen=True)
class Target:
    """The part of a path that names a resource."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def target_of(path: str) -> Target | None:
    """What a path names; None for discovery and other paths."""
    steps = path.strip("/").split("/")
    if steps[0] == "api" and len(steps) > 2:
        group, version, rest = "", steps[1], steps[2:]
    elif steps[0] == "apis" and len(steps) > 3:
        group, version, rest = steps[1], steps[2], steps[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and (not group or len(rest) == 2):
        if len(rest) > 2 and rest[2] not in {"status", "finalize"}:
            namespace, rest = rest[1], rest[2:]
        elif len(rest) > 1:
            namespace = rest[1]
    elif rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    return Target(group, version, rest[0], namespace, name, "/".join(rest[2:]))


VERBS = {
    ("GET", True): "get",
    ("HEAD", True): "get",
    ("GET", False): "list",
    ("HEAD", False): "list",
    ("POST", False): "create",
    ("POST", True): "create",
    ("PUT", True): "update",
    ("PATCH", True): "patch",
    ("DELETE", True): "delete",
    ("DELETE", False): "deletecollection",
}


def verb_of(request: Request, target: Target) -> str:
    """The verb authorization asks about; raises 405."""
    verb = VERBS.get((request.method, bool(target.name)))
    if verb is None or (request.method == "POST" and target.name and not target.subresource):
        raise method_not_allowed()
    if verb == "list" and is_true(request.query.get("watch", "")):
        return "watch"
    return verb


def authorized_name(request: Request, target: Target, verb: str) -> str:
    """The name authorization asks about: a list of one name counts as that name."""
    if target.name or verb not in {"list", "watch", "deletecollection"}:
        return target.name
    return selectors.exact_name(request.query.get("fieldSelector", ""))


def kind_of(kinds: Kinds, target: Target) -> Kind:
    """The kind a target names; raises 404."""
    kind = kinds.find(target.group, target.version, target.plural)
    if kind is None and not any((each.group, each.version) == (target.group, target.version) for each in kinds):
        raise NoSuchPathError
    if kind is None:
        raise no_such_path()
    if target.subresource and target.subresource.split("/")[0] not in kind.subresources:
        raise no_such_path() if kind.crd is None else not_found(kind.group, kind.plural, target.name)
    if target.namespace and not kind.namespaced and kind.key != ("", "namespaces"):
        raise no_such_path()
    if kind.namespaced and not target.namespace and (target.name or request_needs_namespace(target)):
        raise no_such_path()
    return kind


def request_needs_namespace(target: Target) -> bool:
    """Whether the path cannot mean all namespaces."""
    return bool(target.subresource)


def is_true(text: str) -> bool:
    return text in {"1", "true", "True", "t", "T", "TRUE"}


def decoded(body: bytes, content_type: str, kind: str = "Status") -> Any:
    """A JSON (or YAML) document; raises 400 and 415."""
    media = content_type.partition(";")[0].strip()
    try:
        if media in {"application/yaml", "application/apply-patch+yaml"}:
            return msgspec.yaml.decode(body)
        if media == "application/vnd.kubernetes.protobuf":
            if (document := protobuf_bodies.decoded(body)) is not None:
                return document
            text = f"the body of the request was in an unknown format - accepted media types include: {ACCEPTED}"
            raise StatusError(415, "UnsupportedMediaType", text)
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        said = f"couldn't get version/kind; json parse error: {error}"
        raise bad_request(f"the object provided is unrecognized (must be of type {kind}): {said}") from None


ACCEPTED = "application/json, application/yaml"
