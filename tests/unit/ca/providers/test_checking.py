"""Chains that are wrong in one way each, as x509-limbo has them, made here anew: refused in words, never a crash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ca.providers.checking import LONGEST_CHAIN, Refused, checked
from ca.providers.provider import Wanted
from company_ca import pem
from mesh.model import Identity

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WEB = Identity("cluster.local", "shop", "web")
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55738.666.1"), b"")


def usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Made:
    """One certificate to be; extensions as (value, critical)."""

    name: str
    extensions: tuple[tuple[x509.ExtensionType, bool], ...]
    start: datetime = NOW - DAY
    end: datetime = NOW + DAY
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def also(self, extension: x509.ExtensionType, critical: bool = False) -> Made:
        kept = tuple(each for each in self.extensions if each[0].oid != extension.oid)
        return replace(self, extensions=(*kept, (extension, critical)))

    def without(self, kind: type[x509.ExtensionType]) -> Made:
        return replace(self, extensions=tuple(each for each in self.extensions if each[0].oid != kind.oid))

    def by(self, issuer: Made) -> x509.Certificate:
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)] if self.name else [])
        above = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer.name)])
        builder = x509.CertificateBuilder(above, named, self.key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(self.start).not_valid_after(self.end)
        for value, critical in self.extensions:
            builder = builder.add_extension(value, critical)
        return builder.sign(issuer.key, hashes.SHA256())


def signer(name: str = "mesh", path_length: int | None = None) -> Made:
    return Made(name, ((x509.BasicConstraints(True, path_length), True), (usage(signs=True), True)))


NO_CA = x509.BasicConstraints(ca=False, path_length=None)


def uris(*names: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(map(x509.UniformResourceIdentifier, names))


def leaf() -> Made:
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return Made("", ((uris(WEB.uri), True), (usage(signs=False), True), (both, False)))


@dataclass(frozen=True)
class Chain:
    """A leaf, its issuers from the lowest up, and the root."""

    leaf: Made = field(default_factory=leaf)
    below: tuple[Made, ...] = field(default_factory=lambda: (signer(),))
    root: Made = field(default_factory=lambda: signer("root"))
    unrelated: tuple[Made, ...] = ()

    def check(self) -> None:
        request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(self.leaf.key, hashes.SHA256())
        made = (self.leaf, *self.below)
        shown = [each.by(issuer) for each, issuer in zip(made, (*self.below, self.root), strict=True)]
        shown += [each.by(each) for each in self.unrelated]
        wanted = Wanted(WEB, request, DAY, frozenset())
        checked(b"".join(map(pem, shown)), wanted, [self.root.by(self.root)], NOW)


def constrained(*, permitted: list[str] | None = None, excluded: list[str] | None = None) -> x509.NameConstraints:
    def names(hosts: list[str] | None) -> list[x509.UniformResourceIdentifier] | None:
        return [*map(x509.UniformResourceIdentifier, hosts)] if hosts else None

    return x509.NameConstraints(names(permitted), names(excluded))


GOOD: dict[str, Callable[[], Chain]] = {
    "as it should be": Chain,
    "straight below the root": lambda: Chain(below=()),
    "an issuer whose path length is just enough": lambda: Chain(below=(signer("mesh", 0),), root=signer("root", 1)),
    "a path length that grows below": lambda: Chain(below=(signer("mesh", 5),), root=signer("root", 1)),
    "a path length in the leaf": lambda: Chain(leaf=leaf().also(NO_CA, True)),
    "a constraint that names the trust domain": lambda: Chain(
        below=(signer().also(constrained(permitted=["cluster.local"]), True),)
    ),
    "constraints of other kinds of names": lambda: Chain(
        below=(signer().also(x509.NameConstraints([x509.DNSName("example.org")], None), True),)
    ),
    "something unknown that is not critical": lambda: Chain(leaf=leaf().also(UNKNOWN)),
    "something unknown in a certificate of no concern": lambda: Chain(unrelated=(signer("other").also(UNKNOWN, True),)),
    "valid to this second": lambda: Chain(leaf=replace(leaf(), end=NOW)),
    "valid from this second": lambda: Chain(leaf=replace(leaf(), start=NOW)),
}

BAD: dict[str, tuple[Callable[[], Chain], str]] = {
    "unknown and critical, leaf": (lambda: Chain(leaf=leaf().also(UNKNOWN, True)), "critical extension"),
    "unknown and critical, issuer": (lambda: Chain(below=(signer().also(UNKNOWN, True),)), "critical extension"),
    "unknown and critical, root": (lambda: Chain(root=signer("root").also(UNKNOWN, True)), "critical extension"),
    "a key identifier that is critical": (
        lambda: Chain(below=(signer().also(x509.SubjectKeyIdentifier(b"x" * 20), True),)), "critical extension",
    ),
    "no basicConstraints": (lambda: Chain(below=(signer().without(x509.BasicConstraints),)), "may not sign"),
    "no CA bit": (lambda: Chain(below=(signer().also(NO_CA, True),)), "may not sign"),
    "a key usage without signing": (lambda: Chain(below=(signer().also(usage(signs=False), True),)), "may not sign"),
    "a root that may not sign": (lambda: Chain(root=signer("root").also(usage(signs=False), True)), "may not sign"),
    "a path length of the root": (lambda: Chain(root=signer("root", 0)), "allows 0 issuers below it and not 1"),
    "a path length of an issuer": (
        lambda: Chain(below=(signer("low"), signer("high", 0))), "allows 0 issuers below it and not 1",
    ),
    "a permitted name that is another's": (
        lambda: Chain(below=(signer().also(constrained(permitted=["other.example"]), True),)), "name constraints",
    ),
    "a permitted name that is only like ours": (
        lambda: Chain(below=(signer().also(constrained(permitted=["uster.local"]), True),)), "name constraints",
    ),
    "a constraint that does not claim to be critical": (
        lambda: Chain(below=(signer().also(constrained(permitted=["other.example"]), False),)), "name constraints",
    ),
    "an excluded name": (
        lambda: Chain(root=signer("root").also(constrained(excluded=["cluster.local"]), True)), "name constraints",
    ),
    "permitted and excluded": (
        lambda: Chain(root=signer("root").also(
            constrained(permitted=["cluster.local"], excluded=["cluster.local"]), True)), "name constraints",
    ),
    "a permission that an issuer widens": (
        lambda: Chain(
            below=(signer().also(constrained(permitted=["cluster.local"]), True),),
            root=signer("root").also(constrained(permitted=["other.example"]), True),
        ), "name constraints",
    ),
    "an expired leaf": (lambda: Chain(leaf=replace(leaf(), end=NOW - timedelta(seconds=1))), "valid from"),
    "an expired issuer": (lambda: Chain(below=(replace(signer(), end=NOW - timedelta(seconds=1)),)), "valid from"),
    "an expired root": (lambda: Chain(root=replace(signer("root"), end=NOW - timedelta(seconds=1))), "valid from"),
    "a leaf of tomorrow": (lambda: Chain(leaf=replace(leaf(), start=NOW + timedelta(seconds=1))), "valid from"),
    "a leaf that may sign": (lambda: Chain(leaf=leaf().also(x509.BasicConstraints(True, None), True)), "sign others"),
    "a leaf whose key usage signs": (lambda: Chain(leaf=leaf().also(usage(signs=True), True)), "key usage"),
    "no key usage": (lambda: Chain(leaf=leaf().without(x509.KeyUsage)), "key usage"),
    "one side of a connection only": (
        lambda: Chain(leaf=leaf().also(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))), "both sides",
    ),
    "no name": (lambda: Chain(leaf=leaf().without(x509.SubjectAlternativeName)), "no SPIFFE ID"),
    "two identities": (lambda: Chain(leaf=leaf().also(uris(WEB.uri, f"{WEB.uri}-2"), True)), "names"),
    "another identity": (lambda: Chain(leaf=leaf().also(uris(f"{WEB.uri}-2"), True)), "names"),
    "an identity with another's case": (lambda: Chain(leaf=leaf().also(uris(WEB.uri.upper()), True)), "names"),
    "a chain without an end": (
        lambda: Chain(below=tuple(signer(f"issuer-{index}") for index in range(LONGEST_CHAIN))), "chain of more than",
    ),
}  # fmt: skip


@pytest.mark.parametrize("chain", GOOD.values(), ids=list(GOOD))
def test_what_a_verifier_takes_is_taken(chain: Callable[[], Chain]) -> None:
    chain().check()


@pytest.mark.parametrize(("chain", "words"), BAD.values(), ids=list(BAD))
def test_what_a_verifier_refuses_is_refused_in_words(chain: Callable[[], Chain], words: str) -> None:
    with pytest.raises(Refused, match=words):
        chain().check()


def test_another_root_of_the_same_name_is_not_trusted() -> None:
    chain = Chain()
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(chain.leaf.key, hashes.SHA256())
    wanted = Wanted(WEB, request, DAY, frozenset())
    (issuer,) = chain.below
    shown = pem(chain.leaf.by(issuer)) + pem(issuer.by(chain.root))
    twin = signer("root")
    with pytest.raises(Refused, match="not among the roots"):
        checked(shown, wanted, [twin.by(twin)], NOW)
