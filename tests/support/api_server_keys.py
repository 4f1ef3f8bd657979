"""Certificates and kubeconfigs for an API server in tests. Rule: all is written into one folder and dies with it."""

from __future__ import annotations

import ipaddress
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """The files `name.crt` and `name.key`."""
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self.certificate)
        key.write_bytes(self.key)
        return certificate, key


class Signer:
    """A root that signs what clients and servers show. Valid for a day."""

    def __init__(self, name: str) -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        signed = self._build(self._name, self._key, x509.BasicConstraints(True, None), ()).sign(
            self._key, hashes.SHA256()
        )
        self.pem = signed.public_bytes(serialization.Encoding.PEM)

    def client(self, user: str, groups: Sequence[str] = ()) -> Pair:
        """Common name is the user, each organization a group (Kubernetes, "X509 client certificates")."""
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        parts += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        return self._leaf(x509.Name(parts), (usage,))

    def server(self, names: Sequence[str] = NAMES, addresses: Sequence[str] = ("127.0.0.1",)) -> Pair:
        """For these DNS names and addresses."""
        known: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        known += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
        return self._leaf(subject, (usage, x509.SubjectAlternativeName(known)))

    def _leaf(self, subject: x509.Name, extensions: tuple[x509.ExtensionType, ...]) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        built = self._build(subject, key, x509.BasicConstraints(False, None), extensions)
        certificate = built.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return Pair(certificate, private_pem(key))

    def _build(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        constraints: x509.BasicConstraints,
        extensions: tuple[x509.ExtensionType, ...],
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder


@dataclass(frozen=True)
class Access:
    """Where an API server answers and whom it trusts: enough to make a kubeconfig for anybody."""

    url: str
    ca_pem: bytes
    clients: Signer
    folder: Path

    def kubeconfig(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig file with a client certificate inside. JSON is YAML, so no YAML writer is needed."""
        pair = self.clients.client(user, groups)
        cluster = {"server": self.url, "certificate-authority-data": b64encode(self.ca_pem).decode()}
        shown = {
            "client-certificate-data": b64encode(pair.certificate).decode(),
            "client-key-data": b64encode(pair.key).decode(),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": shown}],
        }
        number = sum(1 for _ in self.folder.glob("*.kubeconfig"))
        path = self.folder / f"{number}.kubeconfig"
        path.write_text(json.dumps(document))
        return path


@dataclass(frozen=True)
class TokenKeys:
    """The files of the key pair that signs ServiceAccount tokens."""

    private: Path
    public: Path

    @classmethod
    def write(cls, folder: Path) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        found = cls(folder / "tokens.key", folder / "tokens.pub")
        found.private.write_bytes(private_pem(key))
        found.public.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        return found


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """SEC1 PEM, which every Kubernetes component reads."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
