"""Certificates as others see them: OpenSSL judges the chain, the extensions are read back one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from ca.issuance import Expired, IpAddress, Issuance, Leaf
from ca.issuers import (
    BadIssuer,
    Issuer,
    make_intermediate,
    make_root,
    read_intermediate,
    read_root,
)
from ca.rotation import Action, State, decide
from mesh.model import Identity
from openssl import refusal, split

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
DOMAIN = "cluster.local"
WEB = Identity(DOMAIN, "shop", "web")


def usage_of(*, signatures: bool, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signatures, key_cert_sign=certificates, crl_sign=certificates, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def root() -> Issuer:
    return make_root(DOMAIN, NOW, 3650 * DAY)


@pytest.fixture(scope="module")
def intermediate(root: Issuer) -> Issuer:
    return make_intermediate(root, DOMAIN, NOW, 365 * DAY)


def issuance(intermediate: Issuer, trust_domain: str = DOMAIN, lifetime: timedelta = DAY) -> Issuance:
    return Issuance(intermediate, trust_domain, lifetime, lambda: 0.5)


@pytest.fixture(scope="module")
def leaf(intermediate: Issuer) -> Leaf:
    return issuance(intermediate).workload(WEB, NOW)


def first(leaf: Leaf) -> x509.Certificate:
    return x509.load_pem_x509_certificate(leaf.chain_pem)


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_accepts_the_chain_for_both_sides_of_a_connection(
    tmp_path: Path, root: Issuer, leaf: Leaf, purpose: str
) -> None:
    assert refusal(tmp_path, root.certificate_pem, leaf.chain_pem, "-purpose", purpose, at=NOW) == ""


def test_the_chain_is_the_leaf_and_its_intermediate(leaf: Leaf, intermediate: Issuer) -> None:
    assert len(split(leaf.chain_pem)) == 2
    assert split(leaf.chain_pem)[1] == intermediate.certificate_pem


def test_a_leaf_is_an_x509_svid(leaf: Leaf, intermediate: Issuer) -> None:
    certificate = first(leaf)
    extensions = {extension.oid: extension for extension in certificate.extensions}
    names = extensions[ExtensionOID.SUBJECT_ALTERNATIVE_NAME]
    usage = extensions[ExtensionOID.KEY_USAGE]
    assert list(names.value) == [x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/web")]
    assert names.critical
    assert certificate.subject == x509.Name([])
    assert extensions[ExtensionOID.BASIC_CONSTRAINTS].value == x509.BasicConstraints(ca=False, path_length=None)
    assert extensions[ExtensionOID.BASIC_CONSTRAINTS].critical
    assert usage.value == usage_of(signatures=True, certificates=False)
    assert usage.critical
    assert list(extensions[ExtensionOID.EXTENDED_KEY_USAGE].value) == [
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    ]
    own = intermediate.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert extensions[ExtensionOID.AUTHORITY_KEY_IDENTIFIER].value.key_identifier == own.digest
    assert len(extensions) == 6


def test_the_key_is_a_fresh_p256_key_that_belongs_to_the_certificate(leaf: Leaf, intermediate: Issuer) -> None:
    key = load_pem_private_key(leaf.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert key.public_key() == first(leaf).public_key()
    assert issuance(intermediate).workload(WEB, NOW).key_pem != leaf.key_pem


def test_serial_numbers_are_positive_random_and_long(intermediate: Issuer) -> None:
    serials = [first(issuance(intermediate).workload(WEB, NOW)).serial_number for _ in range(50)]
    assert len(set(serials)) == 50
    assert all(0 < serial < 2**159 for serial in serials)
    # Of 159 random bits the upper 31 are hardly ever all zero.
    assert max(serials) > 2**128


def test_a_leaf_lives_for_its_lifetime_and_is_valid_for_clocks_five_minutes_behind(leaf: Leaf) -> None:
    assert leaf.validity.not_before == NOW - timedelta(minutes=5)
    assert leaf.validity.not_after == NOW + DAY
    assert leaf.renew_at == NOW + timedelta(hours=16)


def test_a_leaf_ends_with_its_issuer_and_an_intermediate_with_the_root(tmp_path: Path) -> None:
    root = make_root(DOMAIN, NOW, 10 * DAY)
    intermediate = make_intermediate(root, DOMAIN, NOW, 365 * DAY)
    assert intermediate.validity.not_after == root.validity.not_after == NOW + 10 * DAY
    late = NOW + 9.5 * DAY
    leaf = issuance(intermediate).workload(WEB, late)
    assert leaf.validity.not_after == NOW + 10 * DAY
    assert leaf.renew_at < leaf.validity.not_after
    assert refusal(tmp_path, root.certificate_pem, leaf.chain_pem, at=late) == ""
    with pytest.raises(Expired, match="ended at 2026-01-11 12:00:00 UTC"):
        issuance(intermediate).workload(WEB, NOW + 10 * DAY)


def test_issuers_may_sign_certificates_and_nothing_else(root: Issuer, intermediate: Issuer) -> None:
    for issuer, length in ((root, None), (intermediate, 0)):
        extensions = issuer.certificate.extensions
        basic = extensions.get_extension_for_class(x509.BasicConstraints)
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert basic.value == x509.BasicConstraints(ca=True, path_length=length)
        assert usage.value == usage_of(signatures=False, certificates=True)
        assert basic.critical
        assert usage.critical
        # X509-SVID §3.2: a signer's SPIFFE ID has no path.
        assert list(names) == [x509.UniformResourceIdentifier("spiffe://cluster.local")]


def test_issuers_are_valid_from_a_day_before_they_were_made(root: Issuer, intermediate: Issuer) -> None:
    assert root.validity.not_before == intermediate.validity.not_before == NOW - DAY


def test_a_short_lived_issuer_is_not_due_when_it_is_made(root: Issuer) -> None:
    short = make_intermediate(root, DOMAIN, NOW, timedelta(minutes=1)).validity
    assert short.not_before == NOW - timedelta(seconds=6)
    assert decide(State(root.validity, short), NOW + timedelta(seconds=37)).action is Action.KEEP


def test_two_issuers_never_have_the_same_name(root: Issuer) -> None:
    assert make_root(DOMAIN, NOW, DAY).certificate.subject != root.certificate.subject


@pytest.mark.parametrize("foreign", ["evil.example", "sub.cluster.local", "xcluster.local", "local"])
def test_a_stolen_intermediate_can_name_nobody_of_another_trust_domain(
    tmp_path: Path, root: Issuer, intermediate: Issuer, foreign: str
) -> None:
    forged = issuance(intermediate, foreign).workload(Identity(foreign, "shop", "web"), NOW)
    assert "permitted subtree violation" in refusal(tmp_path, root.certificate_pem, forged.chain_pem, at=NOW)


def test_a_stolen_intermediate_can_make_no_further_issuer(tmp_path: Path, root: Issuer, intermediate: Issuer) -> None:
    further = make_intermediate(intermediate, DOMAIN, NOW, DAY)
    forged = issuance(further).workload(WEB, NOW).chain_pem + intermediate.certificate_pem
    assert "path length constraint exceeded" in refusal(tmp_path, root.certificate_pem, forged, at=NOW)


def test_a_stolen_leaf_can_sign_nothing(tmp_path: Path, root: Issuer, leaf: Leaf) -> None:
    key = load_pem_private_key(leaf.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    forged = issuance(Issuer(first(leaf), key), lifetime=timedelta(hours=1)).workload(WEB, NOW)
    assert "invalid CA certificate" in refusal(
        tmp_path, root.certificate_pem, forged.chain_pem + split(leaf.chain_pem)[1], at=NOW
    )


def test_another_mesh_is_not_trusted(tmp_path: Path, leaf: Leaf) -> None:
    other = make_root(DOMAIN, NOW, 3650 * DAY)
    assert "unable to get" in refusal(tmp_path, other.certificate_pem, leaf.chain_pem, at=NOW)


@pytest.mark.parametrize(
    "identity",
    [
        Identity("evil.example", "shop", "web"),
        Identity(DOMAIN, "shop/sa/web", "x"),
        Identity(DOMAIN, "shop", ".."),
        Identity(DOMAIN, "", "web"),
        Identity(DOMAIN, "shop", "web\n"),
        Identity(DOMAIN, "shop", "wéb"),
        Identity(DOMAIN, "shop", "a" * 254),
    ],
)
def test_an_identity_that_is_not_ours_or_makes_no_spiffe_id_gets_no_leaf(
    intermediate: Issuer, identity: Identity
) -> None:
    with pytest.raises(ValueError, match=r"is not of trust domain|makes no SPIFFE ID"):
        issuance(intermediate).workload(identity, NOW)


@pytest.mark.parametrize("bad", ["", ".local", "a..b", "Cluster.Local", "a/b", "a b", "a:1", "é", "a\n", "a" * 256])
def test_what_is_no_trust_domain_gets_no_root(bad: str) -> None:
    with pytest.raises(ValueError, match="is not a trust domain"):
        make_root(bad, NOW, DAY)


@pytest.mark.parametrize("good", ["cluster.local", "a", "a_b-c.d9", "a" * 255])
def test_every_spiffe_trust_domain_works(tmp_path: Path, good: str) -> None:
    root = make_root(good, NOW, 3650 * DAY)
    leaf = issuance(make_intermediate(root, good, NOW, DAY), good).workload(Identity(good, "n", "s"), NOW)
    assert refusal(tmp_path, root.certificate_pem, leaf.chain_pem, at=NOW) == ""


def test_a_servers_certificate_has_names_and_addresses_and_no_identity(
    tmp_path: Path, root: Issuer, intermediate: Issuer
) -> None:
    addresses: list[IpAddress] = [ip_address("127.0.0.1"), ip_address("::1")]
    leaf = issuance(intermediate).server(["weft.weft-system.svc", "localhost"], addresses, NOW)
    names = first(leaf).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = first(leaf).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert names.get_values_for_type(x509.DNSName) == ["weft.weft-system.svc", "localhost"]
    assert names.get_values_for_type(x509.IPAddress) == addresses
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == []
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    options = ("-purpose", "sslserver", "-verify_hostname", "weft.weft-system.svc")
    assert refusal(tmp_path, root.certificate_pem, leaf.chain_pem, *options, at=NOW) == ""
    assert refusal(tmp_path, root.certificate_pem, leaf.chain_pem, "-verify_ip", "::1", at=NOW) == ""
    assert refusal(tmp_path, root.certificate_pem, leaf.chain_pem, "-purpose", "sslclient", at=NOW)
    assert refusal(tmp_path, root.certificate_pem, leaf.chain_pem, "-verify_hostname", "other", at=NOW)


def test_a_workloads_leaf_is_no_certificate_for_any_host(tmp_path: Path, root: Issuer, leaf: Leaf) -> None:
    for host in ("cluster.local", "web", "spiffe://cluster.local/ns/shop/sa/web"):
        assert refusal(tmp_path, root.certificate_pem, leaf.chain_pem, "-verify_hostname", host, at=NOW)


def test_a_server_without_a_name_gets_no_certificate(intermediate: Issuer) -> None:
    with pytest.raises(ValueError, match="needs a name"):
        issuance(intermediate).server([], [], NOW)


def test_issuers_are_read_back_as_they_were_written(root: Issuer, intermediate: Issuer) -> None:
    again = read_root(root.to_pem(), DOMAIN)
    assert again.certificate == root.certificate
    assert read_intermediate(intermediate.to_pem(), again, DOMAIN).certificate == intermediate.certificate


def test_what_is_no_issuer_of_ours_is_refused_in_words(root: Issuer, intermediate: Issuer, leaf: Leaf) -> None:
    other = make_root(DOMAIN, NOW, DAY)
    pem = root.to_pem()
    cases = [
        (b"", "does not hold a signing certificate and its key"),
        (b"\x00\xff" * 100, "does not hold"),
        (pem[: len(pem) // 2], "does not hold"),
        (pem[:-60], "does not hold"),
        (root.certificate_pem, "does not hold"),
        (leaf.key_pem, "does not hold"),
        (pem.replace(b"BEGIN PRIVATE", b"BEGIN ENCRYPTED PRIVATE"), "does not hold"),
        (root.certificate_pem + leaf.key_pem, "a key that does not belong to its certificate"),
        (split(leaf.chain_pem)[0] + leaf.key_pem, "a certificate that may not sign"),
        (make_root("other", NOW, DAY).to_pem(), "was made for spiffe://other, not for spiffe://cluster.local"),
        (intermediate.to_pem(), "was not signed by the root beside it"),
    ]
    for content, words in cases:
        with pytest.raises(BadIssuer, match=words):
            read_root(content, DOMAIN)
    with pytest.raises(BadIssuer, match="was not signed by the root beside it"):
        read_intermediate(make_intermediate(other, DOMAIN, NOW, DAY).to_pem(), root, DOMAIN)
