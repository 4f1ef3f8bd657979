"""A company's certificate authority, which knows nothing of Weft: a root, intermediates, and leaves by request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
_SIGNS = x509.KeyUsage(
    key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip
_SIGNATURES = x509.KeyUsage(
    key_cert_sign=False, crl_sign=False, digital_signature=True, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip
_BOTH_SIDES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Signer:
    """One certificate of it that signs, with its key and what is above it, the root last."""

    certificate: x509.Certificate
    key: Key
    above: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        return pem(self.certificate)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def root(self) -> x509.Certificate:
        return (self.certificate, *self.above)[-1]

    @property
    def chain_pem(self) -> bytes:
        """From itself to the certificate below the root."""
        return b"".join(map(pem, (self.certificate, *self.above)[:-1])) if self.above else b""

    def below(self, name: str, now: datetime, **wishes: object) -> Signer:
        """An intermediate."""
        return _signer(name, now, self, **wishes)  # type: ignore[arg-type]

    def handed_over(self) -> dict[str, bytes]:
        """As people put it into a Secret `cacerts`."""
        return {
            "ca-cert.pem": self.pem, "ca-key.pem": self.key_pem,
            "cert-chain.pem": self.chain_pem, "root-cert.pem": pem(self.root),
        }  # fmt: skip

    def sign(
        self, request_pem: bytes, now: datetime, life: timedelta, *, uris: Sequence[str] | None = None, ca: bool = False
    ) -> bytes:
        """The certificate for a request, with its names or others; PEM, alone."""
        request = x509.load_pem_x509_csr(request_pem)
        assert request.is_signature_valid
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        wanted = names if uris is None else x509.SubjectAlternativeName(map(x509.UniformResourceIdentifier, uris))
        return pem(
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(wanted, critical=True)
            .add_extension(_SIGNATURES, critical=True)
            .add_extension(_BOTH_SIDES, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(request.public_key()), critical=False)
            .sign(self.key, SHA256())
        )


def company_root(name: str, now: datetime, **wishes: object) -> Signer:
    """A root."""
    return _signer(name, now, None, **wishes)  # type: ignore[arg-type]


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _signer(
    name: str,
    now: datetime,
    parent: Signer | None,
    *,
    life: timedelta = 1000 * DAY,
    path_length: int | None = None,
    ca: bool = True,
    permitted: Sequence[str] = (),
    key: Key | None = None,
) -> Signer:
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(parent.certificate.subject if parent is not None else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
    )
    if ca:
        builder = builder.add_extension(_SIGNS, critical=True)
    if parent is not None:
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(parent.key.public_key())
        builder = builder.add_extension(authority, critical=False)
    if permitted:
        names = [x509.UniformResourceIdentifier(each) for each in permitted]
        builder = builder.add_extension(x509.NameConstraints(names, None), critical=True)
    certificate = builder.sign(parent.key if parent is not None else own, SHA256())
    return Signer(certificate, own, (parent.certificate, *parent.above) if parent is not None else ())
