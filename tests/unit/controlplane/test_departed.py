"""Streams of pods that are gone end, after a while, and only while the API server can be believed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import pytest

from controlplane.departed import Departed, Sight
from fake_clock import FakeClock
from mesh.model import PodId
from xds.peer import Peer
from xds.resource import CLUSTER
from xds_lab import POD, Client, Lab, peer, world_of

GRACE = timedelta(minutes=1)
OTHER = PodId(POD.namespace, "other-1")


class Pods:
    """What the API server tells of pods."""

    def __init__(self) -> None:
        self.uids: dict[PodId, str] = {POD: "a", OTHER: "b"}
        self.believed = True

    def sight(self) -> Sight:
        return Sight(uid_of=self.uids.get, in_step=lambda: self.believed)


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab() as found:
        found.cache.publish(world_of(pods=(POD, OTHER)))
        for token, pod, uid in (("good", POD, "a"), ("other", OTHER, "b"), ("nameless", OTHER, "")):
            known = peer(pod=pod)
            found.tokens.known[token] = Peer(known.identity, pod, known.expires, uid)
        yield found


@pytest.fixture
def pods() -> Pods:
    return Pods()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def began(stream: Client, pod: PodId) -> None:
    await stream.say(CLUSTER, node=f"{pod.namespace}/{pod.name}")
    await stream.read()


async def test_the_stream_of_a_pod_that_is_gone_ends_after_the_grace_and_no_other(
    lab: Lab, pods: Pods, clock: FakeClock
) -> None:
    departed = Departed(lab.server, pods.sight(), GRACE, clock)
    async with lab.client() as gone, lab.client("other") as stays, lab.client("nameless") as untold:
        for stream, pod in ((gone, POD), (stays, OTHER), (untold, OTHER)):
            await began(stream, pod)
        assert departed.look() == 0
        del pods.uids[POD]
        assert departed.look() == 0
        await clock.advance(GRACE - timedelta(seconds=1))
        assert departed.look() == 0
        await clock.advance(timedelta(seconds=1))
        assert departed.look() == 1
        assert await gone.ending() == (grpc.StatusCode.UNAUTHENTICATED, "the pod of this stream's token is gone")
        assert {each.uid for each in lab.server.peers()} == {"b", ""}


async def test_another_pod_of_the_same_name_is_another_pod(lab: Lab, pods: Pods, clock: FakeClock) -> None:
    departed = Departed(lab.server, pods.sight(), GRACE, clock)
    async with lab.client() as stream:
        await began(stream, POD)
        pods.uids[POD] = "new"
        departed.look()
        await clock.advance(GRACE)
        assert departed.look() == 1


async def test_an_api_server_that_is_not_believed_ends_nothing_and_the_grace_begins_anew(
    lab: Lab, pods: Pods, clock: FakeClock
) -> None:
    departed = Departed(lab.server, pods.sight(), GRACE, clock)
    async with lab.client() as stream:
        await began(stream, POD)
        pods.uids.clear()
        departed.look()
        await clock.advance(GRACE)
        pods.believed = False
        assert departed.look() == 0
        pods.believed = True
        assert departed.look() == 0
        pods.uids[POD] = "a"
        await clock.advance(GRACE)
        assert departed.look() == 0, "it was there all the time"
