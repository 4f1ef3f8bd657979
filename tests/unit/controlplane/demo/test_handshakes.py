"""What the demo reads off the wire, checked against what OpenSSL really writes."""

from __future__ import annotations

import contextlib
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from controlplane.demo.handshakes import chosen_version, offered_versions, records

TLS_1_2, TLS_1_3 = 0x0303, 0x0304


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate with its key, as one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return file


def conversation(certificate: Path, version: ssl.TLSVersion, said: bytes) -> tuple[bytes, bytes]:
    """The bytes of both directions of a handshake of this version, and of something the client says after it."""
    client_context, server_context = (
        ssl.SSLContext(side) for side in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER)
    )
    client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
    client_context.minimum_version = client_context.maximum_version = version
    server_context.load_cert_chain(certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(client_in := ssl.MemoryBIO(), server_out := ssl.MemoryBIO(), server_side=True)
    directions = [b"", b""]
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            for number, (source, target) in enumerate([(to_server, client_in), (server_out, to_client)]):
                carried = source.read()
                directions[number] += carried
                target.write(carried)
    client.write(said)
    return directions[0] + to_server.read(), directions[1]


def test_tls_1_3_is_seen_from_outside(certificate: Path) -> None:
    to_server, to_client = conversation(certificate, ssl.TLSVersion.TLSv1_3, b"secret marker")
    sent, answered = records(to_server), records(to_client)
    assert sent is not None
    assert answered is not None
    assert offered_versions(sent) == (TLS_1_3,)
    assert chosen_version(answered) == TLS_1_3
    assert b"secret marker" not in to_server


def test_tls_1_2_is_not_taken_for_1_3(certificate: Path) -> None:
    _, to_client = conversation(certificate, ssl.TLSVersion.TLSv1_2, b"x")
    answered = records(to_client)
    assert answered is not None
    assert chosen_version(answered) is None


def test_plaintext_is_no_tls() -> None:
    assert records(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n") is None
    assert records(b"stock loom\n") is None


def test_plaintext_after_a_record_is_no_tls(certificate: Path) -> None:
    to_server, _ = conversation(certificate, ssl.TLSVersion.TLSv1_3, b"x")
    assert records(to_server + b"GET / HTTP/1.1\r\n\r\n") is None


def test_a_record_that_is_cut_is_left_out(certificate: Path) -> None:
    to_server, _ = conversation(certificate, ssl.TLSVersion.TLSv1_3, b"x")
    whole, cut = records(to_server), records(to_server[:-1])
    assert whole is not None
    assert cut == whole[:-1]


def test_a_direction_without_a_hello_offers_and_chooses_nothing() -> None:
    found = records(b"\x17\x03\x03\x00\x02ab")
    assert found is not None
    assert (offered_versions(found), chosen_version(found)) == ((), None)
    assert (offered_versions([]), chosen_version([])) == ((), None)
