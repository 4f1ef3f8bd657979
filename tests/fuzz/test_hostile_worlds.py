"""What hostile documents come to, next to objects that lean on them: Envoy accepts all of it (rule F6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fake_authority import FakeAuthority
from hostile_documents import NAMESPACE, hostile_document, well_formed
from local.plan import planned
from mesh.build import Builder
from mesh.settings import MeshSettings
from sources.manifest import read_manifest
from sources.merge import merged
from static_bootstrap import Held, refused_by_envoy
from xds.resource import Resource
from xds.snapshot import Snapshot, World
from xds.translate.world import TranslateSettings, Translator

DOCUMENTS: Final = 3_000
PERMISSIVE: Final = f"""\
{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}, annotations: {{weft.dev/access: permissive}}}}}}
"""


def worlds(bundle: str) -> Iterator[tuple[int, World]]:
    """For each document the World in which it takes the place of the well-formed object it was made from.

    In every other one the namespace is permissive, so that everything in it is sent to somebody.
    """
    builder, translator = Builder(MeshSettings()), Translator(TranslateSettings())
    leaned_on = read_manifest("well-formed.yaml", b"\n---\n".join(json.dumps(one).encode() for one in well_formed()))
    permissive = read_manifest("permissive.yaml", PERMISSIVE.encode())
    for number in range(DOCUMENTS):
        hostile = read_manifest("hostile.yaml", hostile_document(number))
        resources = planned(merged([hostile, leaned_on, *([permissive] if number // 30 % 2 else [])], []))
        yield number, translator.translate(builder.build(resources), bundle)


def resources_of(snapshot: Snapshot) -> frozenset[Resource]:
    return frozenset(resource for named in snapshot.resources.values() for resource in named.values())


def test_f6_envoy_accepts_what_hostile_documents_come_to(tmp_path: Path) -> None:
    authority = FakeAuthority()
    known: set[Resource] = set()
    every: list[Held] = []
    for number, world in worlds(authority.bundle):
        for role, snapshot in world.roles.items():
            found = resources_of(snapshot)
            if not found <= known:
                known |= found
                every.append(Held(f"{role} beside {number}", snapshot, authority.secrets(snapshot.identity)))
    assert len(every) > 20
    assert refused_by_envoy(every, tmp_path) == ""
