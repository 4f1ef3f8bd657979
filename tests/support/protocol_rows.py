"""The rows of the matrix of protocols: what is spoken, how the mesh is told of it, and on which port.

Rule: each row has a container port of its own, so that nothing is known of it but what its own declaration says.
"""

from __future__ import annotations

from dataclasses import dataclass

HTTP = ("http1", "h2c", "grpc", "ws")
"""What is refused with an answer. All else (`tcp`, `banner`, where the server speaks first, and `tls`) is closed."""
BY_NUMBER = "by number"
DETECTED = "detected"


@dataclass(frozen=True)
class Row:
    """One protocol, declared one way. `port` is the container's; the Service's is the same but where a number tells."""

    speaks: str
    declared: str
    port: int
    port_name: str
    app_protocol: str = ""
    service_port: int = 0

    def __str__(self) -> str:
        return f"{self.speaks}, {self.declared}"

    @property
    def called(self) -> int:
        """The Service's port."""
        return self.service_port or self.port

    @property
    def is_http(self) -> bool:
        return self.speaks in HTTP


def _rows() -> tuple[Row, ...]:
    found: list[Row] = []

    def add(speaks: str, declared: str, name: str = "", word: str = "", called: int = 0) -> None:
        number = len(found)
        found.append(Row(speaks, declared, 7000 + number, name or f"any{number}", word, called))

    for speaks, app_protocols, name in (
        ("http1", ("http",), "http"),
        ("h2c", ("kubernetes.io/h2c",), "http2"),
        ("grpc", ("grpc",), "grpc"),
        ("ws", ("kubernetes.io/ws",), "http-sockets"),
        ("tcp", ("tcp",), "tcp-lines"),
        ("banner", ("smtp",), "mysql"),
        ("tls", ("https", "kubernetes.io/wss"), "tls"),
    ):
        for word in app_protocols:
            add(speaks, f"appProtocol {word}", word=word)
        add(speaks, f"port name {name}", name=name)
        add(speaks, DETECTED)
    add("banner", BY_NUMBER, called=25)
    return tuple(found)


ROWS = _rows()
