"""What translating and encoding cost, by kind of resource, at the sizes 1/100, 10/10, 100/10 and 1000/1
(endpoints of a service / services). Rule: no I/O; everything is made from nothing each time, and the median kept."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.world import TRUST_DOMAIN, Folder, Size
from mesh.build import Builder
from mesh.settings import MeshSettings
from sources.folder import FolderSource
from xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, TYPES, Resource
from xds.translate.world import TranslateSettings, Translator

SIZES: Final = ((1, 100), (10, 10), (100, 10), (1000, 1))
KINDS: Final = {CLUSTER: "cluster", ENDPOINTS: "endpoint set", ROUTES: "route", LISTENER: "listener"}
ROUNDS: Final = 9


def generate() -> list[dict[str, Any]]:
    """For each size: ms of building and translating, µs a resource, and bytes by kind."""
    return [_of(endpoints, services) for endpoints, services in SIZES]


def _of(endpoints: int, services: int) -> dict[str, Any]:
    size = Size(proxies=max(endpoints, 1), services=services, endpoints=endpoints, identities=1)
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as root:
        folder = Folder(Path(root), size)
        folder.write()
        resources = FolderSource([folder.path]).read()
    settings = MeshSettings(trust_domain=TRUST_DOMAIN, access=size.access)
    building, translating = [], []
    for _ in range(ROUNDS):
        gc.collect()
        gc.disable()
        started = time.process_time()
        mesh = Builder(settings).build(resources)
        built = time.process_time()
        world = Translator(TranslateSettings()).translate(mesh, "bundle")
        translating.append(time.process_time() - built)
        building.append(built - started)
        gc.enable()
    made: dict[int, Resource] = {
        id(resource): resource
        for snapshot in world.roles.values()
        for named in snapshot.resources.values()
        for resource in named.values()
    }
    translated = statistics.median(translating)
    return {
        "endpoints": endpoints,
        "services": services,
        "mesh_ms": round(statistics.median(building) * 1000, 2),
        "translate_ms": round(translated * 1000, 2),
        "resources": len(made),
        "us_per_resource": round(translated * 1e6 / len(made), 1),
        **{f"bytes per {name}": _bytes(made, url) for url, name in KINDS.items()},
        "resources by type": {url.rsplit(".", 1)[-1]: sum(r.type_url == url for r in made.values()) for url in TYPES},
    }


def _bytes(made: dict[int, Resource], type_url: str) -> int:
    sizes = [len(resource.body) for resource in made.values() if resource.type_url == type_url]
    return round(statistics.mean(sizes)) if sizes else 0
