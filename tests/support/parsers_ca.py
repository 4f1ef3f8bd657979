"""What proves or names somebody, as `hostile_bytes.Parser`s: tokens, certificates, bundles, keys, providers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import tempfile
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import strategies as st

from ca.federation import FederationError, endpoint, read_partners
from ca.issuers import new_key
from ca.providers.checking import Refused as Unfit
from ca.providers.checking import checked
from ca.providers.provider import Wanted
from ca.providers.settings import ProviderSettingsError, read_settings
from ca.spiffe_bundle import BadBundle, read_bundle, write_bundle
from ca.token_review import ReviewSettings, TokenReviewer
from ca.tokens import TokenAuthenticator, TokenIssuer
from company_ca import company_root, pem
from fake_clock import START, FakeClock
from hostile_bytes import Parser, as_json, edited, reshaped
from mesh.model import Identity, PodId
from xds.peer import Refused, Unknown

DOMAIN = "cluster.local"
WEB = Identity(DOMAIN, "shop", "web")
POD = PodId("shop", "web-1")
HOUR = timedelta(hours=1)
CLOCK = FakeClock()


def at_once(answer: Coroutine[Any, Any, Any]) -> Any:
    """What comes of a coroutine that waits for nothing."""
    return asyncio.run(answer)


_TOKEN_KEY = new_key()
_TOKEN = TokenIssuer(_TOKEN_KEY, DOMAIN, CLOCK).issue(WEB, POD, HOUR)
_FORGED = TokenIssuer(new_key(), DOMAIN, CLOCK).issue(WEB, POD, HOUR)
_BEARS = TokenAuthenticator(_TOKEN_KEY.public_key(), DOMAIN, CLOCK)


def token(data: bytes) -> None:
    """A bearer token in a mesh of its own: it is the one that was signed, or it is refused."""
    with contextlib.suppress(Refused):
        text = data.decode("latin-1")
        assert at_once(_BEARS.authenticate(text)).pod == POD
        assert text == _TOKEN


_EXTRA = {"authentication.kubernetes.io/pod-name": ["web-1"], "authentication.kubernetes.io/pod-uid": ["u"]}
_REVIEW = {
    "kind": "TokenReview",
    "status": {
        "authenticated": True, "audiences": ["weft"],
        "user": {"username": "system:serviceaccount:shop:web", "uid": "1", "groups": ["a"], "extra": _EXTRA},
    },
}  # fmt: skip
_REFUSED = {"kind": "TokenReview", "status": {"authenticated": False, "error": "no"}}


class _Says:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def request(self, _method: str, _path: str, *, body: object = None) -> Any:  # noqa: ARG002 - as the client has it
        return self._answer


def token_review(asked: tuple[Any, bytes]) -> None:
    """What an API server says of a token, and the token's own words of when it ends."""
    answer, claims = asked
    bearer = f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.x"
    reviewer = TokenReviewer(_Says(answer), ReviewSettings(trust_domain=DOMAIN), lambda _: None, CLOCK)
    with contextlib.suppress(Refused, Unknown):
        peer = at_once(reviewer.authenticate(bearer))
        status = answer["status"]
        assert status["authenticated"] is True
        assert "weft" in status["audiences"]
        assert peer.identity.uri == "spiffe://{}/ns/{}/sa/{}".format(DOMAIN, *status["user"]["username"].split(":")[2:])


_COMPANY = company_root("root", START)
_SIGNER = _COMPANY.below("signer", START, permitted=[DOMAIN])


def _wanted(key: ec.EllipticCurvePrivateKey) -> Wanted:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(WEB.uri)])
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(names, critical=True)
    return Wanted(WEB, request.sign(key, SHA256()), HOUR, frozenset())


WANTED = _wanted(new_key())
CHAIN = _SIGNER.sign(WANTED.request_pem, START, HOUR) + _SIGNER.chain_pem
_OTHERS = [
    _SIGNER.sign(_wanted(new_key()).request_pem, START, HOUR),
    _SIGNER.sign(WANTED.request_pem, START, HOUR, ca=True),
    _SIGNER.sign(WANTED.request_pem, START, HOUR, uris=[WEB.uri, "spiffe://cluster.local/ns/shop/sa/cart"]),
    _SIGNER.sign(WANTED.request_pem, START, -HOUR / 100),
    _COMPANY.pem,
]


@st.composite
def _ders(draw: st.DrawFn) -> bytes:
    """Certificates with edits below the armour."""
    found = x509.load_pem_x509_certificates(CHAIN + b"".join(_OTHERS))
    made = draw(st.lists(st.sampled_from(found), min_size=1, max_size=3))
    texts = [pem(each) if draw(st.booleans()) else _armoured(draw(edited([_der(each)]))) for each in made]
    return b"".join(texts)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _armoured(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def leaf(content: bytes) -> None:
    """What a provider signed: it is the leaf that was asked for, or it is refused in words."""
    with contextlib.suppress(Unfit):
        first = checked(content, WANTED, [_COMPANY.certificate], START).certificates[0]
        assert first.public_key() == WANTED.request.public_key()
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [WEB.uri]
        first.verify_directly_issued_by(_SIGNER.certificate)


_BUNDLE = write_bundle([_COMPANY.certificate, _SIGNER.certificate], timedelta(minutes=5))
_PARTNERS = (
    b"federatesWith:\n- {trustDomain: a.example, bundleEndpointURL: 'https://a.example:8443/x?y', "
    b"bundleEndpointProfile: {type: https_spiffe, endpointSPIFFEID: spiffe://a.example/e}}\n"
    b"- {trustDomain: b.example, trustDomainBundleFile: b.json}\n"
)


def bundle(content: bytes) -> None:
    """The bundle of another mesh."""
    with contextlib.suppress(BadBundle):
        found = read_bundle(content)
        assert found.refresh >= timedelta(0)
        assert found.roots.count("BEGIN CERTIFICATE") == found.roots.count("END CERTIFICATE")


def partners(content: bytes) -> None:
    """The file that names other meshes."""
    with contextlib.suppress(FederationError):
        for partner in read_partners(content):
            assert not partner.url or endpoint(partner, "").host


_PROVIDERS = [
    b"{provider: vault, address: 'https://vault:8200', role: weft, mount: pki, caFile: /a, patience: 3}\n",
    b"{provider: cert-manager, issuer: {name: a, kind: ClusterIssuer}, roots: /roots.pem}\n",
    b"{provider: handed-over, folder: /cacerts}\n",
]


def provider_file(content: bytes) -> None:
    """The file that chooses a provider."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "provider.yaml"
        path.write_bytes(content)
        with contextlib.suppress(ProviderSettingsError):
            read_settings(path)


PARSERS = (
    Parser("tokens", edited([_TOKEN.encode(), _FORGED.encode()]), token, 3),
    Parser(
        "token-reviews",
        st.tuples(reshaped([_REVIEW, _REFUSED]), edited([b'{"exp": 1767229200}'])),
        token_review,
        3,
    ),
    Parser("provided-leaves", edited([CHAIN, *_OTHERS]) | _ders(), leaf, 2),
    Parser("spiffe-bundles", edited([_BUNDLE]) | as_json(reshaped([json.loads(_BUNDLE)])), bundle, 3),
    Parser("federation-files", edited([_PARTNERS]), partners, 4),
    Parser("provider-files", edited(_PROVIDERS), provider_file, 2),
)
