"""Names of secrets are the same for everybody; what stands behind them is of the stream's own identity alone.

Each kind of stream is tried: aggregated and of secrets alone, incremental and state of the world.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest

from mesh.model import Identity, PodId
from xds.resource import SECRET, Resource
from xds.snapshot import Named, Snapshot, World
from xds_client import IDENTITY, read_delta, read_sotw, resource
from xds_lab import POD, Client, Lab, Secrets, peer

OTHER = Identity(IDENTITY.trust_domain, "bank", "vault")
THEIRS = PodId("bank", "vault-1")
SDS = "/envoy.service.secret.v3.SecretDiscoveryService"
METHODS = ["DeltaAggregatedResources", "StreamAggregatedResources", f"{SDS}/DeltaSecrets", f"{SDS}/StreamSecrets"]
GUESSES = (
    "*", OTHER.uri, str(THEIRS), "bank/vault", "bank/vault-1", "leaf/bank/vault", f"leaf/{OTHER.uri}", "vault", "Leaf",
    "leaf ", "../leaf", "callers/8443",
)  # fmt: skip


@dataclass
class OfEach(Secrets):
    """Secrets of each identity's own, under the same names."""

    async def secrets(self, identity: Identity) -> Named:
        self.asked.append(identity)
        return own(identity)


def own(identity: Identity, round_: int = 0) -> dict[str, Resource]:
    number = round_ * 10 + (1 if identity == IDENTITY else 2)
    return {name: resource(SECRET, name, number) for name in ("leaf", "bundle")}


def versions(identity: Identity, round_: int = 0) -> dict[str, str]:
    return {name: each.version for name, each in own(identity, round_).items()}


def world(pod_of_both: Identity = IDENTITY) -> World:
    """A role for each identity; theirs has a secret of the role, too, which says whom a port lets in."""
    callers = resource(SECRET, "callers/8443", 7)
    roles = {"ours": Snapshot(pod_of_both, {}), "theirs": Snapshot(OTHER, {SECRET: {callers.name: callers}})}
    return World(roles, {POD: "ours", THEIRS: "theirs"})


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    found = Lab()
    found.secrets = OfEach()
    found.server = found._made(0)
    found.tokens.known["theirs"] = peer(OTHER, THEIRS)
    found.tokens.known["free"] = peer(IDENTITY, None)
    async with found:
        found.cache.publish(world())
        yield found


def node(pod: PodId) -> str:
    return f"{pod.namespace}/{pod.name}"


async def heard(client: Client, expected: set[str], names: tuple[str, ...] = ()) -> dict[str, str]:
    """Everything that comes until all of the expected has, acknowledged; `names` is all that the client asks for."""
    found: dict[str, str] = {}
    while not expected <= found.keys():
        data = await asyncio.wait_for(client.call.read(), 5)
        got = read_delta(data) if client.delta else read_sotw(data)
        await client.say(got.type_url, *(() if client.delta else names or sorted(expected)), nonce=got.nonce)
        found |= got.resources
    return found


@pytest.mark.parametrize("method", METHODS)
async def test_two_tenants_ask_for_the_same_names_and_get_their_own(lab: Lab, method: str) -> None:
    async with lab.client(method=method) as ours, lab.client("theirs", method) as theirs:
        await ours.say(SECRET, "leaf", "bundle", node=node(POD))
        await theirs.say(SECRET, "leaf", "bundle", node=node(THEIRS))
        assert await heard(ours, {"leaf", "bundle"}) == versions(IDENTITY)
        assert await heard(theirs, {"leaf", "bundle"}) == versions(OTHER)
        assert await ours.silent()


@pytest.mark.parametrize("method", METHODS)
async def test_guessing_names_brings_nothing_of_another(lab: Lab, method: str) -> None:
    async with lab.client("theirs", method) as theirs, lab.client(method=method) as ours:
        await theirs.say(SECRET, "leaf", "callers/8443", node=node(THEIRS))
        await heard(theirs, {"leaf", "callers/8443"})
        await ours.say(SECRET, "leaf", *GUESSES, node=node(POD))
        found = await heard(ours, {"leaf"}, ("leaf", *GUESSES))
        # "*" stands for everything, which is everything of one's own.
        assert set(found.values()) <= set(versions(IDENTITY).values())
        assert found["leaf"] == versions(IDENTITY)["leaf"]
        lab.cache.publish_secrets(OTHER, own(OTHER, 1))
        found = await heard(theirs, {"leaf"}, ("leaf", "callers/8443"))
        assert found["leaf"] == versions(OTHER, 1)["leaf"]
        assert await ours.silent()


@pytest.mark.parametrize("method", METHODS)
async def test_a_node_that_calls_itself_another_is_sent_nothing(lab: Lab, method: str) -> None:
    for token in ("good", "free"):
        async with lab.client(token, method) as stream:
            await stream.say(SECRET, "leaf", node=node(THEIRS))
            assert (await stream.ending())[0] == grpc.StatusCode.PERMISSION_DENIED
    assert lab.server.counters.resources.total() == 0


@pytest.mark.parametrize("method", METHODS)
async def test_a_later_request_can_not_change_who_is_there(lab: Lab, method: str) -> None:
    async with lab.client(method=method) as stream:
        await stream.say(SECRET, "leaf", node=node(POD))
        assert await heard(stream, {"leaf"}) == {"leaf": versions(IDENTITY)["leaf"]}
        await stream.say(SECRET, "leaf", node=node(THEIRS))
        lab.cache.publish_secrets(OTHER, own(OTHER, 1))
        lab.cache.publish_secrets(IDENTITY, own(IDENTITY, 1))
        seen: list[str] = []
        while versions(IDENTITY, 1)["leaf"] not in seen:
            seen += (await heard(stream, {"leaf"})).values()
        assert set(seen) <= {versions(IDENTITY, round_)["leaf"] for round_ in (0, 1)}


@pytest.mark.parametrize("method", METHODS)
async def test_when_the_pod_becomes_another_s_the_stream_ends_before_the_others_secrets_come(
    lab: Lab, method: str
) -> None:
    async with lab.client(method=method) as stream:
        await stream.say(SECRET, "leaf", "bundle", node=node(POD))
        await heard(stream, {"leaf", "bundle"})
        sent = lab.server.counters.resources[SECRET]
        lab.cache.publish_secrets(OTHER, own(OTHER, 1))
        lab.cache.publish(world(pod_of_both=OTHER))
        assert (await asyncio.wait_for(stream.ending(), 5))[0] == grpc.StatusCode.PERMISSION_DENIED
        assert lab.server.counters.resources[SECRET] == sent
