"""One object of an API server: its JSON in, what it is out, exactly as from a file.

Rule: the fast way and the slow way agree. Kubernetes' own kinds are decoded straight into our structs; whatever does
not fit at once goes through the same reading as a manifest, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from kube.decode import CLUSTER_SCOPED, KINDS
from kube.names import is_label, is_subdomain
from kube.objects import Namespace, Object, Service
from kube.shallow import shallow
from smi.decode import Read, read

Reader = Callable[[msgspec.Raw], Read]

LABELS: Final = (Namespace, Service)
"""The kinds that are named by DNS labels; the others by subdomains."""


def reader(api_version: str, kind: str) -> Reader:
    """What reads the objects of this kind. Items of a list don't say what they are, so it is said here."""

    def slowly(raw: msgspec.Raw) -> Read:
        try:
            return _read(msgspec.json.decode(raw))
        except RecursionError:
            return _read(msgspec.json.decode(shallow(bytes(raw))))

    def _read(document: object) -> Read:
        return read({**document, "apiVersion": api_version, "kind": kind} if isinstance(document, dict) else {})

    struct = KINDS.get((api_version, kind))
    if struct is None:
        return slowly
    decoder, named = msgspec.json.Decoder(struct), is_label if struct in LABELS else is_subdomain

    def quickly(raw: msgspec.Raw) -> Read:
        try:
            found: Object = decoder.decode(raw)
        except (msgspec.ValidationError, RecursionError):
            return slowly(raw)
        sound = named(found.name) and (kind in CLUSTER_SCOPED) == (not found.namespace)
        if not sound or not (kind in CLUSTER_SCOPED or is_label(found.namespace)):
            return slowly(raw)
        if found.kind != kind or found.api_version != api_version:
            found = msgspec.structs.replace(found, kind=kind, api_version=api_version)
        return Read(found, found.ref)

    return quickly
