from __future__ import annotations

import pytest

from kube.objects import ServicePort
from mesh.model import Protocol
from mesh.protocols import named_protocol, service_protocol


@pytest.mark.parametrize(
    ("word", "want"),
    [
        ("http", Protocol.HTTP),
        ("HTTP", Protocol.HTTP),
        ("kubernetes.io/ws", Protocol.HTTP),
        ("http2", Protocol.HTTP2),
        ("grpc", Protocol.HTTP2),
        ("kubernetes.io/h2c", Protocol.HTTP2),
        ("https", Protocol.TCP),
        ("tls", Protocol.TCP),
        ("kubernetes.io/wss", Protocol.TCP),
        ("tcp", Protocol.TCP),
        ("mysql", Protocol.TCP),
        ("mongo", Protocol.TCP),
        ("redis", Protocol.TCP),
    ],
)
def test_h2_app_protocol_decides_before_the_name(word: str, want: Protocol) -> None:
    other = "tcp" if want is not Protocol.TCP else "http"
    assert service_protocol(ServicePort(port=80, name=other, app_protocol=word)) is want


def test_h2_an_unknown_app_protocol_leaves_it_to_the_name() -> None:
    assert service_protocol(ServicePort(port=80, name="grpc-web", app_protocol="example.com/odd")) is Protocol.HTTP2


@pytest.mark.parametrize(
    ("name", "number", "want"),
    [
        ("http", 80, Protocol.HTTP),
        ("http-metrics", 80, Protocol.HTTP),
        ("http2-api", 80, Protocol.HTTP2),
        ("grpc", 3306, Protocol.HTTP2),
        ("https-web", 443, Protocol.TCP),
        ("tcp-http", 80, Protocol.TCP),
        ("httpish", 80, Protocol.DETECT),
        ("", 80, Protocol.DETECT),
        ("web", 8080, Protocol.DETECT),
        ("", 3306, Protocol.TCP),
        ("db", 5432, Protocol.TCP),
        ("http", 9300, Protocol.HTTP),
    ],
)
def test_h2_the_name_or_its_prefix_decides_then_the_number_then_detection(
    name: str, number: int, want: Protocol
) -> None:
    assert named_protocol(name, number) is want
    assert service_protocol(ServicePort(port=number, name=name)) is want


@pytest.mark.parametrize("number", [21, 22, 25, 110, 143, 587, 3306, 4444, 5432, 5900, 6379, 9300, 11211, 27017])
def test_h2_server_first_and_opaque_protocols_are_never_delayed_by_detection(number: int) -> None:
    assert service_protocol(ServicePort(port=number)) is Protocol.TCP
