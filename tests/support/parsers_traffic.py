"""What counts traffic or asks about it, as `hostile_bytes.Parser`s: sidecars' metrics, Prometheus, the metrics API."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from controlplane.bundle_endpoint import PATH as BUNDLE_PATH
from controlplane.bundle_endpoint import BundleEndpoint
from controlplane.metrics_api.callers import FrontProxy, front_proxy
from controlplane.metrics_api.discovery import discovered
from controlplane.metrics_api.paths import GROUP, asked
from controlplane.tap.wanted import Wanted, target
from controlplane.traffic.exposition import read
from controlplane.traffic.facts import TrafficError
from controlplane.traffic.prometheus import Prometheus
from controlplane.traffic.spans import window
from controlplane.traffic.windows import Seen, Windows
from hostile_bytes import Parser, edited, reshaped
from mesh.model import PodId
from sidecar_counts import connections, requests, sent, served

POD = PodId("shop", "web-1")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
_TOLD = [
    "\n".join(
        (served(3), sent(4, "cart"), connections(2, 1, 10, reporter="source"), "envoy_server_uptime{} 60")
    ).encode(),
    b'# TYPE x counter\nx{a="b"} 1\nistio_requests_total{a="\\"} 1 123\n',
]


@st.composite
def _series(draw: st.DrawFn) -> bytes:
    """Lines as a sidecar writes them, with values that it would never write."""
    value = st.text(max_size=8) | st.sampled_from(
        [
            "9" * 5000,
            "a" * 50_000,
            ":" * 50_000,
            "a." * 20_000,
            '\\"' * 9,
            "504",
            "²",
            "10.0.0.1:80",
            "a.b.svc.c",
            '",le="5',
        ]
    )
    names = ["response_code", "grpc_response_status", "destination_service", "requested_service", "source_principal"]
    labels = {name: draw(value) for name in draw(st.lists(st.sampled_from(names), max_size=3))}
    code, grpc = labels.pop("response_code", "200"), labels.pop("grpc_response_status", "")
    reporter = draw(st.sampled_from(["source", "destination", "x"]))
    name = draw(st.sampled_from(["a", "a" * 60_000, "a" * 60_000 + "-", "_"]))
    return requests(draw(st.integers(-1, 3)), code, grpc, reporter=reporter, **labels, **{name: "b"}).encode(
        errors="replace"
    )


def exposition(content: bytes) -> None:
    """What a sidecar, or whoever stands at its port, tells: counts that are numbers, in windows that can be read."""
    samples = [read(POD, content.decode(errors="replace")), read(POD, _TOLD[0].decode())]
    for order in (samples, samples[::-1]):
        windows = Windows(timedelta(minutes=5))
        for number, sample in enumerate(order):
            windows.add(NOW + timedelta(seconds=number), {POD: Seen("uid", sample)})
        for counts in windows.read(timedelta(minutes=1)).counts.values():
            assert counts.requests >= 0


_LABELS = {
    "namespace": "shop", "pod": "web-1", "reporter": "source", "destination_service": "a.b.svc.cluster.local",
    "response_code": "200", "le": "5", "counter": "opened",
}  # fmt: skip
_VECTOR = {"resultType": "vector", "result": [{"metric": _LABELS, "value": [1.5, "3"]}]}


def prometheus(data: Any) -> None:
    """What Prometheus answers to each of the questions."""

    async def answer(_: str) -> Any:
        return data

    with contextlib.suppress(TrafficError):
        asyncio.run(Prometheus(answer).read(timedelta(seconds=30)))


_CONFIG = {
    "data": {
        "requestheader-client-ca-file": "PEM",
        "requestheader-allowed-names": '["front-proxy-client"]',
        "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        "requestheader-uid-headers": '["X-Remote-Uid"]',
    }
}
_HEADER = st.tuples(
    st.sampled_from(["X-Remote-User", "x-remote-user", "X-Remote-Group", "X-Remote-Extra-a%2", "X-Remote-Extra-", "a"]),
    st.text(max_size=8),
)
_CERTIFICATES = st.sampled_from(
    [None, {}, {"subject": ((("commonName", "front-proxy-client"),),)}, {"subject": ((("commonName", "else"),),)}]
)
_PATHS = [
    f"/apis/{GROUP}/v1alpha2/namespaces/shop/pods/web-1/edges", f"/apis/{GROUP}/v1alpha1/namespaces/shop/edges",
    f"/apis/{GROUP}/v1alpha1/nodes", f"/apis/{GROUP}", "/apis", "/openapi/v2",
]  # fmt: skip


def metrics_api(question: tuple[bytes, list[tuple[str, str]], Any, Any]) -> None:
    """A request to the metrics API: nobody without the front proxy's certificate, and a path that is understood."""
    path, headers, certificate, config = question
    text = path.decode("latin-1")
    found = asked(text)
    if found is not None:
        assert found.attributes()["verb"] in {"get", "list"}
    discovered(text, text)
    with contextlib.suppress(ValueError):
        assert window(text) > timedelta(0)
    user = FrontProxy("PEM", ("front-proxy-client",), ("x-remote-user",)).user(certificate, headers)
    assert user is None or certificate == {"subject": ((("commonName", "front-proxy-client"),),)}
    asyncio.run(_configured(config)).user(certificate, headers)


async def _configured(config: Any) -> FrontProxy:
    class Says:
        async def request(self, *_: object, **__: object) -> Any:
            return config

    return await front_proxy(Says())


def bundle_request(content: bytes) -> None:
    """The head of a request to the bundle endpoint."""
    endpoint = BundleEndpoint("127.0.0.1", 0, lambda: b"roots", lambda: (_ for _ in ()).throw(AssertionError))
    answer = endpoint._answer(content)
    assert answer.startswith(b"HTTP/1.1 ")
    assert (b"roots" in answer) == (answer[9:12] == b"200")


def tap_question(content: bytes) -> None:
    """What somebody wants to watch."""
    text = content.decode("latin-1")
    with contextlib.suppress(ValueError):
        target(text, "shop").pods([POD])
    with contextlib.suppress(ValueError):
        Wanted(status=text, peer=text)


PARSERS = (
    Parser("metrics-of-sidecars", edited(_TOLD) | _series(), exposition, 2),
    Parser("answers-of-prometheus", reshaped([_VECTOR]), prometheus, 2),
    Parser(
        "metrics-api-requests",
        st.tuples(
            edited([each.encode() for each in _PATHS]),
            st.lists(_HEADER, max_size=4),
            _CERTIFICATES,
            st.just(_CONFIG)
            | st.sampled_from(sorted(_CONFIG["data"])).flatmap(
                lambda key: st.text(max_size=8).map(lambda text: {"data": {**_CONFIG["data"], key: text}})
            ),
        ),
        metrics_api,
        3,
    ),
    Parser(
        "bundle-endpoint-requests",
        edited([f"GET {BUNDLE_PATH} HTTP/1.1\r\nhost: a\r\n\r\n".encode()]),
        bundle_request,
        4,
    ),
    Parser("tap-questions", edited([b"deploy/web", b"4xx", b"shop/web-1"]), tap_question, 4),
)
