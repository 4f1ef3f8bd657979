"""A certificate authority for tests that must not depend on `ca/`: one root, leaves with a SPIFFE ID."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mesh.model import Identity
from xds import pb
from xds.names import BUNDLE_SECRET, LEAF_SECRET
from xds.resource import SECRET, Resource, encode

SIGNATURES = x509.KeyUsage(
    digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


@dataclass(frozen=True)
class Leaf:
    certificate: str
    key: str


class FakeAuthority:
    def __init__(self, name: str = "root") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.bundle = _pem(self._sign(self._name, self._key.public_key(), x509.BasicConstraints(True, None), None))

    def leaf(self, uri: str) -> Leaf:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(x509.Name([]), key.public_key(), x509.BasicConstraints(False, None), uri)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Leaf(_pem(certificate), private.decode())

    def secrets(self, identity: Identity) -> list[Resource]:
        """What the SDS server resolves for this identity."""
        leaf = self.leaf(identity.uri)
        own = pb.TlsCertificate(
            certificate_chain=pb.DataSource(inline_string=leaf.certificate),
            private_key=pb.DataSource(inline_string=leaf.key),
        )
        trust = pb.CertificateValidationContext(trusted_ca=pb.DataSource(inline_string=self.bundle))
        made = [
            encode(LEAF_SECRET, pb.Secret(name=LEAF_SECRET, tls_certificate=own)),
            encode(BUNDLE_SECRET, pb.Secret(name=BUNDLE_SECRET, validation_context=trust)),
        ]
        assert all(secret.type_url == SECRET for secret in made)
        return made

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, constraints: x509.BasicConstraints, uri: str | None
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(constraints, critical=True)
        )
        if uri:
            names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
            builder = builder.add_extension(names, critical=True)
            # X509-SVID §4.3 demands it, and so does Envoy where it tells trust domains apart.
            builder = builder.add_extension(SIGNATURES, critical=True)
        return builder.sign(self._key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
