"""Tokens: what Kubernetes would say, signed by us, and nothing else is believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ca import jws
from ca.storage import StorageError
from ca.tokens import TokenAuthenticator, TokenIssuer
from fake_clock import START, FakeClock
from mesh.model import Identity, PodId
from xds.peer import Peer, Refused

DOMAIN = "cluster.local"
WEB = Identity(DOMAIN, "shop", "web")
POD = PodId("shop", "web-7d4b9")
HOUR = timedelta(hours=1)
NOW = int(START.timestamp())


@pytest.fixture
def issuer(folder: Path, clock: FakeClock) -> TokenIssuer:
    return TokenIssuer.open(folder, DOMAIN, clock=clock)


@pytest.fixture
def authenticator(folder: Path, issuer: TokenIssuer, clock: FakeClock) -> TokenAuthenticator:
    return TokenAuthenticator.open(folder, DOMAIN, clock=clock)


@pytest.fixture
def key(folder: Path, issuer: TokenIssuer) -> ec.EllipticCurvePrivateKey:
    found = load_pem_private_key((folder / "tokens.pem").read_bytes(), None)
    assert isinstance(found, ec.EllipticCurvePrivateKey)
    return found


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read(token: str, index: int) -> Any:
    text = token.split(".")[index]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


async def test_a_token_has_the_claims_of_a_kubernetes_bound_token(issuer: TokenIssuer) -> None:
    token = issuer.issue(WEB, POD, HOUR, pod_uid="0b5f")
    header, claims = read(token, 0), read(token, 1)
    assert set(header) == {"alg", "kid", "typ"}
    assert (header["alg"], header["typ"]) == ("ES256", "JWT")
    assert len(claims.pop("jti")) == 32
    assert claims == {
        "iss": "spiffe://cluster.local",
        "sub": "system:serviceaccount:shop:web",
        "aud": ["weft"],
        "exp": NOW + 3600,
        "iat": NOW,
        "nbf": NOW,
        "kubernetes.io": {
            "namespace": "shop",
            "serviceaccount": {"name": "web", "uid": ""},
            "pod": {"name": "web-7d4b9", "uid": "0b5f"},
        },
    }


async def test_its_bearer_is_the_service_account_and_the_pod_it_is_bound_to(
    issuer: TokenIssuer, authenticator: TokenAuthenticator
) -> None:
    assert await authenticator.authenticate(issuer.issue(WEB, POD, HOUR)) == Peer(WEB, POD, NOW + 3600.0)
    assert await authenticator.authenticate(issuer.issue(WEB, None, HOUR)) == Peer(WEB, None, NOW + 3600.0)


async def test_two_who_open_the_folder_share_the_key(folder: Path, issuer: TokenIssuer, clock: FakeClock) -> None:
    token = TokenIssuer.open(folder, DOMAIN, clock=clock).issue(WEB, None, HOUR)
    await TokenAuthenticator.open(folder, DOMAIN, clock=clock).authenticate(token)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-61, "not valid yet"), (-59, ""), (0, ""), (3599, ""), (3600, "expired"), (10**6, "expired")],
)
async def test_a_token_is_good_from_a_minute_early_until_its_end(
    issuer: TokenIssuer, authenticator: TokenAuthenticator, clock: FakeClock, seconds: int, words: str
) -> None:
    token = issuer.issue(WEB, POD, HOUR)
    clock.set(START + timedelta(seconds=seconds))
    if words:
        with pytest.raises(Refused, match=words):
            await authenticator.authenticate(token)
    else:
        await authenticator.authenticate(token)


async def test_a_token_that_was_believed_before_ends_when_it_ends_all_the_same(
    issuer: TokenIssuer, authenticator: TokenAuthenticator, clock: FakeClock
) -> None:
    token = issuer.issue(WEB, POD, HOUR)
    assert (await authenticator.authenticate(token)).identity == WEB
    clock.skip(HOUR)
    with pytest.raises(Refused, match="expired"):
        await authenticator.authenticate(token)


class CountingKey:
    """A public key that counts how often it was asked."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key.public_key()
        self.asked = 0

    def public_bytes(self, *arguments: Any) -> bytes:
        return self._key.public_bytes(*arguments)

    def verify(self, *arguments: Any) -> None:
        self.asked += 1
        self._key.verify(*arguments)


def test_a_signature_that_held_is_known_again_for_a_bounded_while(
    key: ec.EllipticCurvePrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jws, "REMEMBERED", 2)
    counting = CountingKey(key)
    verifier = jws.Verifier(counting)  # type: ignore[arg-type]
    texts = [jws.sign(key, payload) for payload in (b"one", b"two", b"three")]
    assert [verifier.verify(texts[0]) for _ in range(3)] == [b"one"] * 3
    assert counting.asked == 1
    with pytest.raises(jws.Unsigned):
        verifier.verify(texts[0].replace(texts[0].split(".")[1], texts[1].split(".")[1]))
    assert counting.asked == 2
    assert [verifier.verify(text) for text in (*texts[1:], texts[0])] == [b"two", b"three", b"one"]
    assert counting.asked == 5  # the first was forgotten meanwhile


async def test_a_token_for_another_audience_opens_nothing(
    issuer: TokenIssuer, authenticator: TokenAuthenticator
) -> None:
    with pytest.raises(Refused, match="not meant for weft"):
        await authenticator.authenticate(issuer.issue(WEB, POD, HOUR, audience="vault"))


async def test_a_token_of_another_trust_domain_is_refused_even_with_the_same_key(
    folder: Path, issuer: TokenIssuer, authenticator: TokenAuthenticator, clock: FakeClock
) -> None:
    other = TokenIssuer.open(folder, "other", clock=clock).issue(Identity("other", "shop", "web"), None, HOUR)
    with pytest.raises(Refused, match=r"not issued for trust domain cluster\.local"):
        await authenticator.authenticate(other)


async def test_a_token_signed_with_another_key_is_refused(
    tmp_path: Path, authenticator: TokenAuthenticator, clock: FakeClock
) -> None:
    other = TokenIssuer.open(tmp_path / "other", DOMAIN, clock=clock).issue(WEB, POD, HOUR)
    with pytest.raises(Refused, match="signed with another key"):
        await authenticator.authenticate(other)


async def test_another_key_under_our_keys_name_is_refused(
    tmp_path: Path, issuer: TokenIssuer, authenticator: TokenAuthenticator, clock: FakeClock
) -> None:
    ours = issuer.issue(WEB, POD, HOUR)
    other = TokenIssuer.open(tmp_path / "other", DOMAIN, clock=clock).issue(WEB, POD, HOUR)
    with pytest.raises(Refused, match="signature does not hold"):
        await authenticator.authenticate(".".join([ours.split(".")[0], *other.split(".")[1:]]))


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "RS256", "ES384", "es256", ""])
async def test_no_other_algorithm_is_ever_followed(
    issuer: TokenIssuer, authenticator: TokenAuthenticator, key: ec.EllipticCurvePrivateKey, alg: str
) -> None:
    header, payload, _ = issuer.issue(WEB, POD, HOUR).split(".")
    forged = part({**read(f"{header}.", 0), "alg": alg}) + "." + payload
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    # The classic: the public key, which everybody may have, used as the secret of an HMAC.
    for signature in (b"", hmac.digest(public, forged.encode(), hashlib.sha256)):
        with pytest.raises(Refused, match="its alg is not ES256"):
            await authenticator.authenticate(f"{forged}.{part(signature)}")


@pytest.mark.parametrize(
    "change",
    [
        {"typ": "at+jwt"},
        {"typ": None},
        {"kid": "../../dev/null"},
        {"crit": ["exp"]},
        {"jwk": {}},
        {"b64": False},
        {"alg": ["ES256"]},
    ],
)
async def test_a_header_that_we_would_not_write_is_refused(
    authenticator: TokenAuthenticator, issuer: TokenIssuer, change: dict[str, Any]
) -> None:
    header, *rest = issuer.issue(WEB, POD, HOUR).split(".")
    with pytest.raises(Refused, match=r"header is not one of ours|its typ is not JWT|signed with another key"):
        await authenticator.authenticate(".".join([part({**read(f"{header}.", 0), **change}), *rest]))


async def test_a_changed_claim_breaks_the_signature(issuer: TokenIssuer, authenticator: TokenAuthenticator) -> None:
    header, payload, signature = issuer.issue(WEB, POD, HOUR).split(".")
    claims = read(f".{payload}", 1)
    claims["kubernetes.io"]["serviceaccount"]["name"] = "admin"
    claims["sub"] = "system:serviceaccount:shop:admin"
    with pytest.raises(Refused, match="signature does not hold"):
        await authenticator.authenticate(f"{header}.{part(claims)}.{signature}")


async def test_no_single_changed_character_goes_unnoticed(
    issuer: TokenIssuer, authenticator: TokenAuthenticator
) -> None:
    token = issuer.issue(WEB, POD, HOUR)
    for index, character in enumerate(token):
        other = "A" if character != "A" else "B"
        with pytest.raises(Refused):
            await authenticator.authenticate(token[:index] + other + token[index + 1 :])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: "", "has not three parts"),
        (lambda token: "Bearer " + token, "is not base64url"),
        (lambda token: token + "=", "is not base64url"),
        (lambda token: token + "\n", "is not base64url"),
        (lambda token: token + ".", "has not three parts"),
        (lambda token: token.rsplit(".", 1)[0] + ".", "length of ES256's"),
        (lambda token: token.rsplit(".", 1)[0] + "." + "A" * 84, "length of ES256's"),
        (lambda token: token.rsplit(".", 1)[0] + "." + "A" * 88, "length of ES256's"),
        (lambda token: token.rsplit(".", 1)[0] + "." + "A" * 86, "signature does not hold"),
        (lambda token: "é" + token, "is not base64url"),
        (lambda token: "\udcff" + token, "is not base64url"),
        (lambda token: "{}." + token.split(".", 1)[1], "is not base64url"),
        (lambda token: "." + token.split(".", 1)[1], "header is not one of ours"),
        (lambda token: token + "A" * jws.LONGEST, f"longer than {jws.LONGEST} characters"),
        (lambda _: "." * 10**6, f"longer than {jws.LONGEST} characters"),
    ],
)
async def test_what_is_no_token_is_refused_in_words_that_hold_nothing_of_it(
    issuer: TokenIssuer, authenticator: TokenAuthenticator, change: Callable[[str], str], words: str
) -> None:
    token = issuer.issue(WEB, POD, HOUR)
    with pytest.raises(Refused, match=words) as refused:
        await authenticator.authenticate(change(token))
    assert not any(piece in str(refused.value) for piece in token.split("."))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sub": "system:serviceaccount:shop:admin"}, "subject is not its ServiceAccount"),
        ({"aud": "weft"}, "does not hold the claims"),
        ({"aud": []}, "not meant for weft"),
        ({"exp": "never"}, "does not hold the claims"),
        ({"exp": None}, "does not hold the claims"),
        ({"iss": "https://kubernetes.default.svc"}, "not issued for trust domain"),
        ({"kubernetes.io": {}}, "does not hold the claims"),
        (
            {
                "sub": "system:serviceaccount:shop/sa/x:web",
                "kubernetes.io": {"namespace": "shop/sa/x", "serviceaccount": {"name": "web"}},
            },
            "can't be the name of an object",
        ),
        (
            {"kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "web"}, "pod": {"name": "a/b"}}},
            "can't be the name of an object",
        ),
    ],
)
async def test_even_a_signed_token_must_make_sense(
    issuer: TokenIssuer,
    authenticator: TokenAuthenticator,
    key: ec.EllipticCurvePrivateKey,
    change: dict[str, Any],
    words: str,
) -> None:
    claims = {**read(issuer.issue(WEB, POD, HOUR), 1), **change}
    with pytest.raises(Refused, match=words):
        await authenticator.authenticate(jws.sign(key, json.dumps(claims).encode()))
    with pytest.raises(Refused, match="does not hold the claims"):
        await authenticator.authenticate(jws.sign(key, b"\xff\x00not json"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(noise=st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{86}"))
async def test_noise_is_refused_and_never_crashes(authenticator: TokenAuthenticator, noise: str) -> None:
    with pytest.raises(Refused):
        await authenticator.authenticate(noise)


def test_tokens_are_made_for_identities_of_ours_and_pods_of_their_namespace_only(issuer: TokenIssuer) -> None:
    with pytest.raises(ValueError, match=r"not of trust domain cluster\.local"):
        issuer.issue(Identity("other", "shop", "web"), None, HOUR)
    with pytest.raises(ValueError, match="pod bank/teller can't have the identity"):
        issuer.issue(WEB, PodId("bank", "teller"), HOUR)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_signing_key_edited_into_nonsense_is_refused(folder: Path, issuer: TokenIssuer, content: bytes) -> None:
    (folder / "tokens.pem").write_bytes(content)
    with pytest.raises(StorageError, match=r"tokens\.pem is not a key: remove it"):
        TokenAuthenticator.open(folder, DOMAIN)


def test_a_key_of_another_kind_is_refused(folder: Path, issuer: TokenIssuer) -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - for this case only
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat  # noqa: PLC0415

    other = ed25519.Ed25519PrivateKey.generate()
    (folder / "tokens.pem").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(StorageError, match=r"tokens\.pem is not a P-256 key"):
        TokenIssuer.open(folder, DOMAIN)
