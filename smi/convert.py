"""Converts SMI objects between all versions of their kind (rules V1 to V8).

Rule: there and back again is the same object. What a version can't say travels in an annotation (`smi.kept`), and means
the same there as where it was written: `smi.decode` reads an object together with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kube.decode import ref_of
from kube.names import shown
from kube.objects import RawDocument
from kube.problem import Problem
from smi import convert_access, convert_specs, convert_split, decode_access, decode_specs, decode_split
from smi.hub import FromHub, ToHub, UnconvertibleError
from smi.kept import ANNOTATION, Kept, without


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind with several versions. `richest` is one that can say all that means anything."""

    versions: tuple[str, ...]
    richest: str
    to_hub: ToHub
    from_hub: FromHub


_KINDS: Final[Mapping[tuple[str, str], _Kind]] = {
    ("split.smi-spec.io", "TrafficSplit"): _Kind(
        decode_split.VERSIONS, "v1alpha4", convert_split.to_hub, convert_split.from_hub
    ),
    ("access.smi-spec.io", "TrafficTarget"): _Kind(
        (*decode_access.VERSIONS, *decode_access.DRAFTS), "v1alpha2", convert_access.to_hub, convert_access.from_hub
    ),
    ("specs.smi-spec.io", "HTTPRouteGroup"): _Kind(
        decode_specs.VERSIONS, "v1alpha4", convert_specs.group_to_hub, convert_specs.group_from_hub
    ),
    ("specs.smi-spec.io", "TCPRoute"): _Kind(
        decode_specs.VERSIONS, "v1alpha4", convert_specs.route_to_hub, convert_specs.route_from_hub
    ),
}

_HEAD: Final = ("apiVersion", "kind", "metadata")


def convert(raw: RawDocument, api_version: str) -> RawDocument | Problem:
    """The same object in another version of its group, or why there is no such.

    Of its metadata only annotations change. The version it is in already gives the very same document.
    """
    if raw.get("apiVersion") == api_version:
        return raw
    group, _, old = str(raw.get("apiVersion")).rpartition("/")
    new_group, _, new = api_version.rpartition("/")
    kind = _KINDS.get((group, str(raw.get("kind"))))
    if kind is None or new_group != group or old not in kind.versions or new not in kind.versions:
        written = f"{raw.get('kind')} {raw.get('apiVersion')}"
        return _problem(raw, "apiVersion", f"{shown(written)} can't be converted to {shown(api_version)}.")
    kept = Kept()
    try:
        body = kind.from_hub(new, kind.to_hub(old, without(raw, _HEAD), Kept.of(raw)), kept)
    except UnconvertibleError as error:
        return _problem(raw, error.field, f"This {error.fault}, and has no form in {api_version}.")
    except RecursionError:
        return _problem(raw, "", f"The object is nested too deeply to be converted to {api_version}.")
    head = {key: value for key, value in raw.items() if key in _HEAD}
    return kept.into({**head, "apiVersion": api_version, **body})


def whole(raw: RawDocument) -> RawDocument:
    """The object with what its annotation holds beside its fields, in a version that has fields for it."""
    metadata = raw.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if not isinstance(annotations, dict) or ANNOTATION not in annotations:
        return raw
    group, _, version = str(raw.get("apiVersion")).rpartition("/")
    kind = _KINDS.get((group, str(raw.get("kind"))))
    if kind is None or version not in kind.versions:
        return raw
    converted = convert(raw, f"{group}/{kind.richest}")
    return raw if isinstance(converted, Problem) else converted


def _problem(raw: RawDocument, field: str, message: str) -> Problem:
    return Problem(ref_of(raw), field, message, "V2")
