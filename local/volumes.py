"""What the files in a pod's volumes contain.

Rule: pure; the tokens are given to it, and writing is `local.folders`. A volume that can't be made raises
Missing, and the pod waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from local.environment import Missing, PodFacts
from local.podspec import ConfigMapSource, KeyToPath, PodSpec, Projection, SecretSource, TokenSource, Volume

IssueToken = Callable[[TokenSource], str]
"""The ServiceAccount token of one pod for a source."""


@dataclass(frozen=True, slots=True)
class VolumeFiles:
    """The files of one volume by relative path; `secret` names those that only the owner may read.

    `lifetime` is the shortest token's, in seconds; None when it holds none.
    """

    files: Mapping[str, bytes]
    secret: frozenset[str] = frozenset()
    lifetime: int | None = None


def volume_files(volume: Volume, facts: PodFacts, issue: IssueToken) -> VolumeFiles:
    """The files of a volume as they are now. Raises Missing."""
    if volume.host_path is not None:
        raise Missing(f"volume {volume.name} is a hostPath, which pods of this machine are not given")
    if volume.empty_dir is not None:
        return VolumeFiles({})
    files: dict[str, bytes] = {}
    secret: set[str] = set()
    lifetimes: list[int] = []
    for projection in volume.projections:
        found = _projected(projection, facts, issue)
        if found is None:
            raise Missing(f"volume {volume.name} is of a type that is not known on this machine")
        files |= found
        token = projection.service_account_token
        if token is not None:
            secret |= found.keys()
            lifetimes.append(token.expiration_seconds)
        elif projection.secret is not None:
            secret |= found.keys()
    return VolumeFiles(files, frozenset(secret), min(lifetimes, default=None))


def owner(spec: PodSpec, volume: str) -> int | None:
    """The one UID that mounts this volume, None when several do: as the kubelet does for tokens."""
    users = {
        spec.user(container)
        for container in (*spec.init_containers, *spec.containers)
        if any(mount.name == volume for mount in container.volume_mounts)
    }
    return users.pop() if len(users) == 1 else None


def _projected(projection: Projection, facts: PodFacts, issue: IssueToken) -> dict[str, bytes] | None:
    if projection.service_account_token is not None:
        return {projection.service_account_token.path: issue(projection.service_account_token).encode()}
    if projection.config_map is not None:
        return _picked("ConfigMap", projection.config_map.name, projection.config_map, facts)
    if projection.secret is not None:
        return _picked("Secret", projection.secret.name or projection.secret.secret_name, projection.secret, facts)
    if projection.downward_api is not None:
        return {
            item.path: facts.field(item.field_ref.field_path).encode()
            for item in projection.downward_api.items
            if item.field_ref is not None
        }
    return None


def _picked(kind: str, name: str, source: ConfigMapSource | SecretSource, facts: PodFacts) -> dict[str, bytes]:
    found = facts.keys(kind, name, optional=source.optional)
    items: Sequence[KeyToPath] = source.items or [KeyToPath(key=key, path=key) for key in found]
    absent = [item.key for item in items if item.key not in found]
    if absent and not source.optional:
        raise Missing(f"{kind} {facts.namespace}/{name} has no key {absent[0]!r}")
    return {item.path: found[item.key] for item in items if item.key in found}
