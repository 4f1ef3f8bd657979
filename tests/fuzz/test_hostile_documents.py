"""Ten thousand hostile documents: nothing crashes, good objects beside them mean the same, memory stays bounded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostile_documents import VALUES, hostile_document, well_formed
from mesh.build import Builder
from mesh.model import Mesh
from mesh.settings import MeshSettings
from smi.resources import Resources
from sources.manifest import read_manifest
from sources.merge import merged
from xds.snapshot import World
from xds.translate.world import TranslateSettings, Translator

DOCUMENTS = 10_000
IN_ONE_FILE = 25
MAX_GROWTH = 200 * 2**20
"""Bytes the process may grow by; what one file may cost is bounded by sources.nodes.MAX_VALUES."""

GOOD = "goodland"
"""The namespace of the objects beside the hostile ones."""

GOOD_OBJECTS = f"""\
apiVersion: v1
kind: Namespace
metadata: {{name: {GOOD}, labels: {{weft.dev/inject: enabled}}}}
---
apiVersion: v1
kind: List
items:
- {{apiVersion: v1, kind: ServiceAccount, metadata: {{name: web, namespace: {GOOD}}}}}
- {{apiVersion: v1, kind: ServiceAccount, metadata: {{name: api, namespace: {GOOD}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web-0, namespace: {GOOD}, labels: {{app: web}}, annotations: {{weft.dev/injected: "true"}}}}
spec: {{serviceAccountName: web, containers: [{{name: app, ports: [{{containerPort: 8080}}]}}]}}
status: {{podIP: 10.1.0.1, podIPs: [{{ip: 10.1.0.1}}], phase: Running}}
---
apiVersion: v1
kind: Pod
metadata: {{name: api-0, namespace: {GOOD}, labels: {{app: api}}, annotations: {{weft.dev/injected: "true"}}}}
spec: {{serviceAccountName: api, containers: [{{name: app, ports: [{{containerPort: 8080}}]}}]}}
status: {{podIP: 10.1.0.2, podIPs: [{{ip: 10.1.0.2}}], phase: Running}}
---
apiVersion: v1
kind: Service
metadata: {{name: api, namespace: {GOOD}}}
spec:
  selector: {{app: api}}
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1]
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: api-x, namespace: {GOOD}, labels: {{kubernetes.io/service-name: api}}}}
addressType: IPv4
endpoints:
- {{addresses: [10.1.0.2], conditions: {{ready: true}}, targetRef: {{kind: Pod, namespace: {GOOD}, name: api-0}}}}
ports: [{{name: http, port: 8080}}]
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {{name: api, namespace: {GOOD}}}
spec: {{matches: [{{name: get, methods: [GET], pathRegex: /api}}, {{name: beta, headers: {{x-beta: "1"}}}}]}}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {{name: web-api, namespace: {GOOD}}}
spec:
  destination: {{kind: ServiceAccount, name: api}}
  sources: [{{kind: ServiceAccount, name: web}}]
  rules: [{{kind: HTTPRouteGroup, name: api}}]
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {{name: api, namespace: {GOOD}}}
spec: {{service: api, backends: [{{service: api, weight: 1}}, {{service: later, weight: 1}}]}}
""".encode()


LEANED_ON = [json.dumps(document).encode() for document in well_formed()]


@dataclass(frozen=True)
class Stage:
    """One step on the way to Envoy: what it makes of the step before, and the part of that about `GOOD`."""

    run: Callable[[Any], Any]
    good: Callable[[Any], object]


def stages() -> list[Stage]:
    """All steps, with their state where they have any."""
    builder, translator = Builder(MeshSettings()), Translator(TranslateSettings())
    return [
        Stage(decode, good_objects),
        Stage(builder.build, good_mesh),
        Stage(lambda mesh: translator.translate(mesh, ""), good_world),
    ]


def decode(content: bytes) -> Resources:
    return merged([read_manifest("all.yaml", content)], [])


def good_objects(resources: Resources) -> object:
    return {ref: item for ref, item in resources.objects.items() if GOOD in {ref.namespace, ref.name}}


def good_mesh(mesh: Mesh) -> object:
    own = [
        {key: value for key, value in part.items() if key.service.namespace == GOOD}
        for part in (mesh.destinations, mesh.backends, mesh.endpoints)
    ]
    workloads = {role: item for role, item in mesh.workloads.items() if item.identity.namespace == GOOD}
    pods = {pod: item for pod, item in mesh.pods.items() if pod.namespace == GOOD}
    proxies = {pod: item for pod, item in mesh.proxies.items() if pod.namespace == GOOD}
    reach = {
        identity: frozenset(port for port in scope.destinations if port.service.namespace == GOOD)
        for identity, scope in mesh.scopes.items()
        if identity.namespace == GOOD
    }
    return own, workloads, pods, proxies, reach


def good_world(world: World) -> object:
    """The resources of good roles that are named after good things or hold their own rules."""
    return {
        (role, type_url, name): resource
        for role, snapshot in world.roles.items()
        if snapshot.identity.namespace == GOOD
        for type_url, named in snapshot.resources.items()
        for name, resource in named.items()
        if GOOD in name or name.startswith("inbound")
    }


def through(steps: Sequence[Stage], content: bytes) -> list[object]:
    """What each stage has to say of the good objects."""
    found: list[object] = []
    value: Any = content
    for step in steps:
        value = step.run(value)
        found.append(step.good(value))
    return found


def beside(documents: Iterable[bytes]) -> bytes:
    """The good objects and these documents in one file, and what those may lean on."""
    return b"\n---\n".join([GOOD_OBJECTS, *documents, *LEANED_ON])


def test_good_objects_are_there_to_be_compared() -> None:
    objects, mesh, world = through(stages(), GOOD_OBJECTS)
    assert isinstance(objects, dict)
    assert len(objects) == 10
    assert isinstance(mesh, tuple)
    assert all(mesh[0])
    assert all(mesh[1:])
    assert isinstance(world, dict)
    assert len(world) > 3


def test_f6_ten_thousand_hostile_documents_change_nothing_for_the_good_ones() -> None:
    steps = stages()
    expected = through(steps, beside([]))
    before = _forget_peak()
    slowest = 0.0
    for start in range(0, DOCUMENTS, IN_ONE_FILE):
        started = time.perf_counter()
        content = beside(hostile_document(number) for number in range(start, start + IN_ONE_FILE))
        assert through(steps, content) == expected, f"documents from {start} on"
        slowest = max(slowest, time.perf_counter() - started)
    assert through(steps, GOOD_OBJECTS) == expected == through(steps, beside([]))
    assert _peak() - before < MAX_GROWTH
    assert slowest < 5


def _forget_peak() -> int:
    """Forget the largest size this process has had; its size now, in bytes (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def test_what_is_well_formed_is_read_without_an_error() -> None:
    for document in well_formed():
        manifest = read_manifest("x.json", json.dumps(document).encode())
        assert all(item.read.object is not None for item in manifest.items), document


JSON = st.recursive(
    st.sampled_from(VALUES) | st.text(max_size=20) | st.integers() | st.floats() | st.booleans() | st.none(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
SHAPES = st.sampled_from(well_formed())


@st.composite
def overwritten(draw: st.DrawFn) -> dict[str, Any]:
    """A well-formed object in which some of the fields nearest the top are anything."""
    document = dict(draw(SHAPES))
    for key in draw(st.lists(st.sampled_from(sorted(document)), max_size=2)):
        held = document[key]
        inner = draw(st.sampled_from(sorted(held))) if isinstance(held, dict) and held else None
        document[key] = draw(JSON) if inner is None else {**held, inner: draw(JSON)}
    return document


STEPS = stages()
EXPECTED = through(STEPS, beside([]))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(overwritten(), max_size=5))
def test_any_value_in_any_field_changes_nothing_for_the_good_ones(documents: list[dict[str, Any]]) -> None:
    assert through(STEPS, beside(json.dumps(document).encode() for document in documents)) == EXPECTED


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200) | st.text(alphabet="-:[]{}&*!|>'\"#%@\t\n ab1\\", max_size=60).map(str.encode))
def test_any_bytes_change_nothing_for_the_good_ones(content: bytes) -> None:
    assert through(STEPS, beside([content])) == EXPECTED
