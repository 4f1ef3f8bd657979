"""Bundles of other meshes are fetched over real TLS from our own endpoint, and the last good one stays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ca.authority import Authority
from ca.federation import Endpoint, FederationError, fetch, read_partners
from ca.spiffe_bundle import LARGEST
from controlplane.bundle_endpoint import BundleEndpoint
from controlplane.federated import FederationCollector, bundle_endpoint, our_bundle
from controlplane.federating import Federation, Foreign
from controlplane.metrics_api.tls import Handshakes, Served
from fake_clock import FakeClock
from kube.clock import SYSTEM_CLOCK

THEIRS = "other.example"
SPIFFE_ID = f"spiffe://{THEIRS}/ns/weft-system/sa/weft"


class Told:
    """What federation tells."""

    def __init__(self) -> None:
        self.all: list[Foreign] = []

    async def __call__(self, foreign: Foreign) -> None:
        self.all.append(foreign)


@contextlib.asynccontextmanager
async def serving(endpoint: BundleEndpoint) -> AsyncIterator[str]:
    """The URL of a running endpoint."""
    task = asyncio.create_task(endpoint.run())
    await endpoint.ready.wait()
    yield f"https://127.0.0.1:{endpoint.port}/bundle.json"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def theirs(tmp_path: Path) -> Authority:
    """The authority of the other mesh."""
    return Authority.open(tmp_path / "theirs", THEIRS, clock=SYSTEM_CLOCK)


def partners(folder: Path, *each: Mapping[str, object]) -> Path:
    file = folder / "federation.yaml"
    file.write_text(json.dumps({"federatesWith": each}))
    return file


def by_spiffe(url: str, spiffe_id: str = SPIFFE_ID, file: str = "their.json") -> dict[str, object]:
    profile = {"type": "https_spiffe", "endpointSPIFFEID": spiffe_id}
    return {
        "trustDomain": THEIRS, "bundleEndpointURL": url, "bundleEndpointProfile": profile, "trustDomainBundleFile": file
    }  # fmt: skip


async def test_a_bundle_is_fetched_from_an_endpoint_known_by_its_spiffe_id_and_again_when_it_changes(
    tmp_path: Path, theirs: Authority, clock: FakeClock
) -> None:
    told = Told()
    (tmp_path / "their.json").write_bytes(our_bundle(theirs))
    served = [our_bundle(theirs)]
    leaf = theirs.own_svid("weft-system", "weft")
    endpoint = BundleEndpoint("127.0.0.1", 0, lambda: served[0], lambda: Served(leaf.chain_pem, leaf.key_pem, ""))
    async with serving(endpoint) as url:
        federation = Federation(partners(tmp_path, by_spiffe(url)), told, clock)
        await federation.look()
        roots = theirs.bundle_pem().decode()
        assert told.all == [((THEIRS, roots),)]
        [shown] = federation.view()
        assert (shown["roots"], shown["trouble"], bool(shown["fetched"])) == (1, "", True)

        counted = our_bundle(theirs)[:-1] + b', "spiffe_sequence": %d}'
        served[0] = counted % 7
        await federation.look()
        assert federation.view()[0]["sequence"] is None, "it is not asked before the time it gave"
        clock.skip(timedelta(seconds=301))
        await federation.look()
        assert federation.view()[0]["sequence"] == 7
        served[0] = counted % 6
        clock.skip(timedelta(seconds=301))
        await federation.look()
        assert "went back from sequence 7 to 6" in federation.view()[0]["trouble"]
        served[0] = b'{"keys": [], "spiffe_sequence": 8}'
        clock.skip(timedelta(seconds=61))
        await federation.look()
        assert told.all == [((THEIRS, roots),), ()], "it has taken its roots back"


async def test_the_last_good_bundle_stays_until_its_trust_domain_is_taken_out(
    tmp_path: Path, theirs: Authority, clock: FakeClock
) -> None:
    told = Told()
    (tmp_path / "their.json").write_bytes(our_bundle(theirs))
    file = partners(tmp_path, {"trustDomain": THEIRS, "trustDomainBundleFile": "their.json"})
    federation = Federation(file, told, clock)
    await federation.look()
    assert [name for name, _ in told.all[0]] == [THEIRS]
    (tmp_path / "their.json").write_text("nonsense")
    await federation.look()
    assert "is no JWK Set" in federation.view()[0]["trouble"]
    registry = CollectorRegistry()
    registry.register(FederationCollector(federation))
    assert registry.get_sample_value("weft_federation_roots", {"trust_domain": THEIRS}) == 1
    assert registry.get_sample_value("weft_federation_trouble", {"trust_domain": THEIRS}) == 1
    file.write_text("- nonsense")
    await federation.look()
    assert federation.trouble
    assert len(told.all) == 1
    partners(tmp_path)
    await federation.look()
    assert (told.all[1:], federation.trouble, federation.view()) == ([()], "", [])


@pytest.mark.parametrize(
    ("spiffe_id", "known", "words"),
    [
        (f"spiffe://{THEIRS}/ns/weft-system/sa/someone", True, f"the endpoint is {SPIFFE_ID}, not"),
        (SPIFFE_ID, False, "certificate verify failed"),
    ],
)
async def test_an_endpoint_that_is_not_who_it_should_be_is_not_believed(
    tmp_path: Path, theirs: Authority, clock: FakeClock, spiffe_id: str, known: bool, words: str
) -> None:
    told = Told()
    right = theirs if known else Authority.open(tmp_path / "another", THEIRS, clock=SYSTEM_CLOCK)
    (tmp_path / "their.json").write_bytes(our_bundle(right))
    async with serving(bundle_endpoint(theirs, "127.0.0.1", 0)) as url:
        federation = Federation(partners(tmp_path, by_spiffe(url, spiffe_id)), told, clock)
        await federation.look()
    assert words in federation.view()[0]["trouble"]
    assert told.all == [((THEIRS, right.bundle_pem().decode()),)], "what the file says stays"


async def test_the_webs_profile_knows_the_endpoint_by_its_host_name(
    tmp_path: Path, theirs: Authority, clock: FakeClock
) -> None:
    leaf = theirs.server_certificate(["localhost"], ["127.0.0.1"])
    web = ssl.create_default_context(cadata=theirs.bundle_pem().decode())
    endpoint = BundleEndpoint(
        "127.0.0.1", 0, lambda: our_bundle(theirs), lambda: Served(leaf.chain_pem, leaf.key_pem, "")
    )
    async with serving(endpoint) as url:
        for context, domains in ((web, [THEIRS]), (ssl.create_default_context(), [])):
            told = Told()
            partner = {"trustDomain": THEIRS, "bundleEndpointURL": url, "bundleEndpointProfile": {"type": "https_web"}}
            federation = Federation(partners(tmp_path, partner), told, clock, context)
            await federation.look()
            assert [name for found in told.all for name, _ in found] == domains
            assert ("certificate verify failed" in federation.view()[0]["trouble"]) == (not domains)


async def test_whatever_an_endpoint_sends_is_bounded(tmp_path: Path, theirs: Authority, clock: FakeClock) -> None:
    told = Told()
    leaf = theirs.server_certificate(["localhost"], ["127.0.0.1"])
    web = ssl.create_default_context(cadata=theirs.bundle_pem().decode())
    endless = our_bundle(theirs) + b" " * LARGEST
    endpoint = BundleEndpoint("127.0.0.1", 0, lambda: endless, lambda: Served(leaf.chain_pem, leaf.key_pem, ""))
    async with serving(endpoint) as url:
        partner = {"trustDomain": THEIRS, "bundleEndpointURL": url, "bundleEndpointProfile": {"type": "https_web"}}
        federation = Federation(partners(tmp_path, partner), told, clock, web)
        await federation.look()
    assert f"is longer than {LARGEST} bytes" in federation.view()[0]["trouble"]
    assert told.all == []


async def test_an_endpoint_that_says_a_byte_now_and_then_holds_nobody_up(theirs: Authority) -> None:
    """Each byte is within its time, so only the clock of the whole tells."""
    leaf = theirs.server_certificate(["localhost"], ["127.0.0.1"])
    over = asyncio.Event()

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while not over.is_set():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()

    context = Handshakes(lambda: Served(leaf.chain_pem, leaf.key_pem, "")).context
    server = await asyncio.start_server(drip, "127.0.0.1", 0, ssl=context)
    async with server:
        place = Endpoint("localhost", server.sockets[0].getsockname()[1], "/")
        web = ssl.create_default_context(cadata=theirs.bundle_pem().decode())
        with pytest.raises(FederationError, match="can't be fetched"):
            await asyncio.to_thread(fetch, place, web, 0.5)
        over.set()


async def test_what_we_stumble_over_costs_that_bundle_alone(tmp_path: Path, clock: FakeClock) -> None:
    profile = {"type": "https_web"}
    partner = {"trustDomain": THEIRS, "bundleEndpointURL": "https://127.0.0.1:1/", "bundleEndpointProfile": profile}
    federation = Federation(partners(tmp_path, partner), Told(), clock, "no context")  # type: ignore[arg-type]
    await federation.look()
    assert "can't be looked at: AttributeError" in federation.view()[0]["trouble"]


async def test_our_endpoint_answers_its_path_only(theirs: Authority) -> None:
    endpoint = bundle_endpoint(theirs, "127.0.0.1", 0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with serving(endpoint):
        answers = []
        for request in ("GET /bundle.json", "GET /bundle.json?x=1", "GET /", "POST /bundle.json", "x" * 9000):
            reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port, ssl=context)
            writer.write(f"{request} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            with contextlib.suppress(ConnectionError):
                answers.append((await reader.read()).partition(b"\r\n")[0])
            writer.close()
    assert [each.decode() for each in answers[:4]] == [
        "HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found", "HTTP/1.1 405 Method Not Allowed",
    ]  # fmt: skip
    assert answers[4:] in ([], [b""])


@pytest.mark.parametrize(
    ("partner", "words"),
    [
        ({"trustDomain": "A"}, "no trust domain"),
        ({"trustDomain": "a"}, "neither"),
        ({"trustDomain": "a", "bundleEndpointURL": "http://a/"}, "no https URL"),
        ({"trustDomain": "a", "bundleEndpointURL": "https://u@a/"}, "no https URL"),
        ({"trustDomain": "a", "bundleEndpointURL": "https://a:x/"}, "no https URL"),
        ({"trustDomain": "a", "bundleEndpointURL": "https://a/"}, "no bundleEndpointProfile"),
        ({**by_spiffe("https://a/", "spiffe://b/x"), "trustDomain": "a"}, "needs an endpointSPIFFEID"),
        ({"trustDomain": "a", "typo": 1}, "unknown field"),
    ],
)
def test_a_partner_that_is_written_wrong_is_refused_in_words(partner: dict[str, object], words: str) -> None:
    with pytest.raises(FederationError, match=words):
        read_partners(json.dumps({"federatesWith": [partner]}).encode())


def test_a_trust_domain_is_named_once() -> None:
    partner = {"trustDomain": "a", "trustDomainBundleFile": "a.json"}
    with pytest.raises(FederationError, match="twice"):
        read_partners(json.dumps({"federatesWith": [partner, partner]}).encode())
