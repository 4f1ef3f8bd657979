"""What people write and an API server tells, as `hostile_bytes.Parser`s: manifests, objects, watches, reviews."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

from hostile_bytes import Parser, as_json, edited, reshaped
from hostile_documents import well_formed
from kube import enrolment
from kube.collection import Collection
from kube.follow import Follower, NotServed
from kube.kubeconfig import alone
from kube.settings import ClientSettings, ConfigurationError
from mesh.build import Builder
from mesh.settings import MeshSettings
from smi import kept
from sources.manifest import read_manifest
from sources.merge import merged
from sources.objects import reader
from webhook import annotations as wishes
from webhook.convert import review as converted
from webhook.decision import NamespaceView
from webhook.review import ReviewError, admission_request, review
from webhook.server import LARGE
from webhook.settings import InjectorSettings
from webhook.validate import review as validated

EGRESS = {
    "apiVersion": "weft.dev/v1alpha1",
    "kind": "EgressPolicy",
    "metadata": {"name": "out", "namespace": "hostile"},
    "spec": {
        "sources": [{"kind": "ServiceAccount", "name": "default"}],
        "hosts": ["api.example.com", "*.example.org"],
        "cidrs": ["192.0.2.0/24", "2001:db8::/32"],
        "ports": [{"number": 443, "protocol": "tls", "name": "a"}, {"number": 80, "protocol": "http"}],
        "matches": [{"kind": "HTTPRouteGroup", "name": "httproutegroup", "matches": ["a"]}],
    },
}
_WORDS = [
    "permissive", "enabled", "8080,9000-9010", "10.0.0.0/8,fd00::/8", "debug", "2", "100m", "64Mi", "9090", "true",
    ".,shop,*", "spiffe://other.example/ns/a/sa/b", '{"spec":{"backends":[]}}', "9" * 5000, "/" * 3000, "1Ei", "",
]  # fmt: skip
_NOTES = sorted(
    value
    for module in (enrolment, wishes, kept)
    for value in vars(module).values()
    if isinstance(value, str) and value.startswith(("weft.dev/", "prometheus.io/"))
)


@st.composite
def annotated(draw: st.DrawFn) -> Any:
    """A document with annotations and labels that mean something to us, and with values that may not."""
    made = json.loads(json.dumps(draw(st.sampled_from(DOCUMENTS))))
    words = st.sampled_from(_WORDS) | st.text(max_size=12)
    for key in ("annotations", "labels"):
        made["metadata"][key] = draw(st.dictionaries(st.sampled_from(_NOTES), words, max_size=4))
    return made


DOCUMENTS = [*well_formed(), EGRESS]
_TEXTS = [json.dumps(each).encode() for each in DOCUMENTS]
_YAML = [
    b"a: &x [1, 2]\nb: *x\n---\n- |\n  text\n...\n%YAML 1.2\n--- !!str 0x1f\n", b"kind: List\nitems:\n- {kind: List}\n",
    b"? {a: 1}\n: >-\n  b\n<<: {c: 1}\nd: 2001-01-01 10:00:00 +02:00\ne: 1_000\nf: 0o17\ng: .inf\n",
]  # fmt: skip


def manifests(content: bytes) -> None:
    """A file of manifests, and the mesh that comes of it: Problems, and no failure."""
    found = read_manifest("all.yaml", content)
    Builder(MeshSettings(identity_bindings=True)).build(merged([found], []))


def egress(document: Any) -> None:
    """An EgressPolicy, from a file and at admission."""
    content = json.dumps(document, default=str).encode()
    manifests(content)
    admission("/validate", {"uid": "1", "operation": "CREATE", "object": json.loads(content), "namespace": "hostile"})


_KINDS = sorted({(str(each["apiVersion"]), str(each["kind"])) for each in DOCUMENTS})


def api_object(asked: tuple[tuple[str, str], bytes]) -> None:
    """One object of an API server, by the kind that was asked for."""
    (version, kind), content = asked
    try:
        json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        found = reader(version, kind)(msgspec.Raw(content))
        assert found.object is not None or found.problems
        assert found.object is None or found.object.kind == kind


def _no_constant(text: str) -> None:
    raise ValueError(text)


class _Over(Exception):  # noqa: N818 - the end of a test
    """The script has no more to say."""


class _Script:
    """A client of an API server that answers a list with the first line, and a watch with the others."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines
        self.told: list[str] = []

    async def request_bytes(self, *_: object, **__: object) -> bytes:
        if not self._lines:
            raise _Over
        return self._lines.pop(0)

    @contextlib.asynccontextmanager
    async def lines(self, *_: object, **__: object) -> AsyncIterator[AsyncIterator[bytes]]:
        yield self._each()

    async def _each(self) -> AsyncIterator[bytes]:
        while self._lines:
            yield self._lines.pop(0)
        raise _Over

    def in_step(self) -> None: ...

    def out_of_step(self, why: str) -> None:
        self.told.append(why)

    async def sleep(self, _: float) -> None:
        if not self._lines:
            raise _Over


_META = {"name": "a", "namespace": "b", "resourceVersion": "7"}
_POD = {"kind": "Pod", "apiVersion": "v1", "metadata": _META, "spec": {}, "status": {"podIP": "10.0.0.1"}}
_LIST = {"kind": "PodList", "metadata": {"resourceVersion": "5"}, "items": [_POD]}
_EVENTS = [
    {"type": "ADDED", "object": _POD}, {"type": "DELETED", "object": _POD},
    {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": "9"}}},
    {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "old", "details": {
        "retryAfterSeconds": 1}}},
]  # fmt: skip
_LINES = [json.dumps(each).encode() for each in (_LIST, *_EVENTS)]


def watch(lines: list[bytes]) -> None:
    """A list and a watch: whatever they say, following goes on, and what is told is of strings and objects."""
    script, found = _Script([_LINES[0], *lines]), dict[tuple[str, str], Any]()
    read = reader("v1", "Pod")
    follower = Follower(
        script, "/api/v1/pods", Collection(read, found.__setitem__), script, script.sleep  # type: ignore[arg-type]
    )  # fmt: skip
    with contextlib.suppress(_Over, NotServed):
        asyncio.run(follower.run())
    assert all(isinstance(part, str) for key in found for part in key)


_KUBECONFIG = {
    "apiVersion": "v1", "kind": "Config", "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    "clusters": [{"name": "k", "cluster": {"server": "https://10.0.0.1:6443", "certificate-authority": "ca.crt"}}],
    "users": [{"name": "u", "user": {"tokenFile": "token", "exec": {"command": "./get-token", "args": ["a"]}}}],
}  # fmt: skip


def kubeconfig(content: bytes) -> None:
    """A kubeconfig as it is copied for a node: one that stands alone, or what is wrong in words."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config"
        path.write_bytes(content)
        with contextlib.suppress(ConfigurationError):
            found = alone(ClientSettings(kubeconfig=path))
            assert found.host
            assert 0 < found.port < 65536
            assert found.at_loopback().text()


def _reviews(documents: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for each in documents:
        asked = {"uid": "1", "operation": "CREATE", "namespace": "hostile", "name": "x", "object": each}
        plural = f"{str(each['kind']).lower()}s"
        yield {**asked, "resource": {"group": "", "version": "v1", "resource": plural}}
        yield {**asked, "operation": "UPDATE", "oldObject": each}
        yield {"uid": "1", "desiredAPIVersion": str(each["apiVersion"]), "objects": [each, each]}


def admission(path: str, request: Any) -> None:
    """One question to the webhook: a well-formed answer, or it is no question that can be answered."""
    if path == "/convert":
        if isinstance(request, dict):
            result = converted({"request": request})["response"]["result"]
            assert result["status"] in {"Success", "Failure"}
        return
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    with contextlib.suppress(ReviewError):
        asked = admission_request(document)
        if path == "/validate":
            response = validated(document)["response"]
            assert not [each for each in response.get("warnings", []) if "Weft failed" in each]
        else:
            response = review(asked, NamespaceView("hostile"), InjectorSettings(), selected=True).document["response"]
        assert response["uid"] == asked.uid
        assert isinstance(response["allowed"], bool)
        assert len(msgspec.json.encode(response)) < LARGE


def reviews(asked: tuple[str, bytes]) -> None:
    """The same as bytes, as the server decodes them."""
    path, content = asked
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        admission(path, msgspec.json.decode(content))


_PATHS = st.sampled_from(["/inject", "/validate", "/convert"])
_REVIEWS = list(_reviews(DOCUMENTS))
_REVIEW_TEXTS = [json.dumps(each).encode() for each in _REVIEWS]

PARSERS = (
    Parser("manifests", edited(_TEXTS + _YAML) | as_json(reshaped(DOCUMENTS) | annotated()), manifests, 2),
    Parser("egress-policies", reshaped([EGRESS]), egress, 2),
    Parser(
        "api-server-objects",
        st.tuples(st.sampled_from(_KINDS), edited(_TEXTS) | as_json(reshaped(DOCUMENTS))),
        api_object,
        4,
    ),
    Parser("lists-and-watches", st.lists(edited(_LINES) | as_json(reshaped([_LIST, *_EVENTS])), max_size=6), watch, 2),
    Parser("kubeconfigs", edited([json.dumps(_KUBECONFIG).encode()]) | as_json(reshaped([_KUBECONFIG])), kubeconfig, 2),
    Parser(
        "admission-and-conversion-reviews",
        st.tuples(
            _PATHS,
            edited(_REVIEW_TEXTS)
            | as_json(reshaped(_REVIEWS))
            | as_json(annotated().flatmap(lambda document: st.sampled_from(list(_reviews([document]))))),
        ),
        reviews,
        3,
    ),
)
