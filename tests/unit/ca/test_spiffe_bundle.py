"""Bundles of other meshes are read with distrust, and ours is what others expect."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.issuance import Issuance
from ca.issuers import make_intermediate, make_root
from ca.spiffe_bundle import LARGEST, MOST_ROOTS, USUAL_REFRESH, BadBundle, read_bundle, write_bundle
from fake_clock import START
from mesh.model import Identity

ROOTS = [make_root("other.example", START, timedelta(days=10)) for _ in range(2)]
PEM = "".join(root.certificate_pem.decode() for root in ROOTS)
DER = [b64encode(root.certificate.public_bytes(Encoding.DER)).decode() for root in ROOTS]
SIGNER = make_intermediate(ROOTS[0], "other.example", START, timedelta(days=5))
LEAF = Issuance(SIGNER, "other.example", timedelta(hours=1), lambda: 0.5).workload(
    Identity("other.example", "shop", "web"), START
)


def document(*keys: dict[str, Any], **others: Any) -> bytes:
    return json.dumps({"keys": list(keys), **others}).encode()


def key(*x5c: str, **others: Any) -> dict[str, Any]:
    return {"kty": "EC", "use": "x509-svid", "crv": "P-256", "x": "", "y": "", "x5c": list(x5c), **others}


def test_what_is_written_is_read_again_with_the_parameters_of_its_keys() -> None:
    written = write_bundle([root.certificate for root in ROOTS], timedelta(minutes=7))
    bundle = read_bundle(written)
    assert (bundle.roots, bundle.sequence, bundle.refresh) == (PEM, None, timedelta(minutes=7))
    [first, _] = json.loads(written)["keys"]
    assert (first["kty"], first["crv"], first["use"]) == ("EC", "P-256", "x509-svid")
    assert len(first["x"]) == len(first["y"]) == 43


def test_keys_of_other_uses_and_kinds_are_left_alone() -> None:
    others = ({"kty": "EC", "use": "jwt-svid", "kid": "1"}, key(DER[1], kty="OKP"), {"kty": "EC"}, key(DER[1], use=""))
    bundle = read_bundle(document(key(DER[0]), *others, spiffe_sequence=2**53, unknown=1))
    assert bundle.roots == ROOTS[0].certificate_pem.decode()
    assert (bundle.sequence, bundle.refresh) == (2**53, USUAL_REFRESH)


def test_a_bundle_without_roots_trusts_nobody() -> None:
    assert read_bundle(document()).roots == ""


LEAF_DER = b64encode(x509.load_pem_x509_certificate(LEAF.chain_pem).public_bytes(Encoding.DER)).decode()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"nonsense", b"[]", b"{}", b'{"keys": 1}', b"\xff", b"[" * 100_000, b" " * (LARGEST + 1),
        document(key()), document(key(*DER)), document(key("no base64")), document(key(b64encode(b"x").decode())),
        document(key(LEAF_DER)), document(*[key(DER[0])] * (MOST_ROOTS + 1)),
        document(spiffe_refresh_hint=-1), document(spiffe_refresh_hint=10**12), document(spiffe_sequence="1"),
    ],
)  # fmt: skip
def test_what_is_no_bundle_is_refused_as_a_whole(content: bytes) -> None:
    with pytest.raises(BadBundle):
        read_bundle(content)
