"""Whether an API server serves a kind, and in which version.

Rule: a kind that is not there is an answer (None); an API server that is not there is none (ApiUnavailable).
Needs no rights of its own: every authenticated client may discover (ClusterRole system:discovery).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from kube.client import ApiError, ApiUnavailable, Client

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Served:
    """A kind as it can be asked for: its `apiVersion`, and the path of all its objects in all namespaces."""

    api_version: str
    path: str


class _Version(msgspec.Struct, frozen=True):
    version: str


class _Group(msgspec.Struct, frozen=True):
    versions: tuple[_Version, ...] = ()


class _Kind(msgspec.Struct, frozen=True):
    name: str
    kind: str


class _Kinds(msgspec.Struct, frozen=True):
    resources: tuple[_Kind, ...] = ()


async def served(client: Client, group: str, kind: str, versions: Sequence[str]) -> Served | None:
    """The first of these versions of an API group that has the kind. Raises ApiError and ApiUnavailable."""
    there = {known.version for known in (await _get(client, f"/apis/{group}", _Group)).versions}
    for version in versions:
        if version not in there:
            continue
        path = f"/apis/{group}/{version}"
        for resource in (await _get(client, path, _Kinds)).resources:
            if resource.kind == kind and "/" not in resource.name:  # a slash: a subresource, such as `pods/status`
                return Served(f"{group}/{version}", f"{path}/{resource.name}")
    return None


async def _get(client: Client, path: str, kind: type[T]) -> T:
    """What is at a path; nothing, as its struct says it, where there is no such path."""
    try:
        return msgspec.json.decode(await client.request_bytes("GET", path), type=kind)
    except ApiError as error:
        if error.code == 404:
            return kind()
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiUnavailable(f"GET {path}: {error}") from error
