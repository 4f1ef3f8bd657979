"""What is spoken on a port, as far as its declaration tells (rule H2).

Rule: the declared word decides, then the number of a protocol in which the server speaks first, then detection.
Source: Kubernetes API reference, ServicePort.appProtocol (the `kubernetes.io/…` words), and the usual port names.
"""

from __future__ import annotations

from typing import Final

from kube.objects import ServicePort
from mesh.model import Protocol

_WORDS: Final = {
    "http": Protocol.HTTP,
    "http1": Protocol.HTTP,
    "ws": Protocol.HTTP,
    "kubernetes.io/ws": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "h2c": Protocol.HTTP2,
    "grpc": Protocol.HTTP2,
    "kubernetes.io/h2c": Protocol.HTTP2,
} | dict.fromkeys(
    # TLS of the app's own is passed through unopened; the others are never HTTP.
    ("https", "tls", "ssl", "wss", "kubernetes.io/wss", "grpcs", "tcp", "mysql", "mariadb", "postgres", "postgresql",
     "mssql", "mongo", "mongodb", "redis", "memcached", "kafka", "amqp", "amqps", "mqtt", "nats", "smtp", "smtps",
     "imap", "imaps", "pop3", "pop3s", "ldap", "ldaps", "ssh", "sftp", "ftp", "ftps", "telnet", "irc", "vnc",
     "cassandra", "zookeeper", "galera"),
    Protocol.TCP,
)  # fmt: skip

_OPAQUE_NUMBERS: Final = frozenset({21, 22, 25, 110, 143, 587, 3306, 4444, 5432, 5900, 6379, 9300, 11211, 27017})
"""Ports that are TCP unless declared otherwise. In FTP (21), SSH (22), SMTP (25, 587), POP3 (110), IMAP (143), MySQL
(3306), Galera (4444) and VNC (5900) the server speaks first, so detection would wait for bytes from a client that
itself waits. PostgreSQL (5432), Redis (6379), Elasticsearch's transport (9300), memcached (11211) and MongoDB (27017)
are never HTTP: detection could only delay."""


def service_protocol(port: ServicePort) -> Protocol:
    """What a port of a Service speaks."""
    declared = _WORDS.get((port.app_protocol or "").lower())
    return declared or named_protocol(port.name, port.port)


def named_protocol(name: str, number: int) -> Protocol:
    """What a port with this name (or `prefix-anything`) and number speaks."""
    declared = _WORDS.get(name) or _WORDS.get(name.partition("-")[0])
    return declared or (Protocol.TCP if number in _OPAQUE_NUMBERS else Protocol.DETECT)
