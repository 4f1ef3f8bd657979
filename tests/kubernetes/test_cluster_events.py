"""Problems and refused configuration are Events on the objects: found as kubectl finds them, told once, counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from cluster_objects import make_pod, make_service_account
from controlplane.duties.announcing import RENEWAL, Announcer
from fake_clock import FakeClock
from kube.client import Client
from kube.events import CONTROLLER, LONGEST_NOTE, EventWriter, Regarding, Said
from kube.problem import Ref

SAID = Said("BackendLeftOut", "Translate", "spec.backends[1]: Service shop/v2 does not exist; it is left out. [T6]")
Announce = Callable[[], Announcer]


class Wishes:
    """What is to be told; tests change it."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Ref, Said]] = []


@pytest.fixture
def wishes() -> Wishes:
    return Wishes()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def announce(client: Client, wishes: Wishes, clock: FakeClock) -> Announce:
    """A replica that begins to lead."""
    return lambda: Announcer(client, "weft-0_a", lambda: wishes.pairs, lambda: 0, lambda _ref: None, clock)


@pytest.fixture
async def service(client: Client, namespace: str) -> Ref:
    body = {"metadata": {"name": "shop"}, "spec": {"ports": [{"port": 80}]}}
    await client.request("POST", f"/api/v1/namespaces/{namespace}/services", body=body)
    return Ref("Service", namespace, "shop")


async def described(client: Client, ref: Ref) -> list[dict[str, Any]]:
    """The Events that `kubectl describe` shows: by the object's name, namespace, kind and uid, in the old API."""
    found = await client.request("GET", f"/api/v1/namespaces/{ref.namespace}/{ref.kind.lower()}s/{ref.name}")
    fields = {"name": ref.name, "namespace": ref.namespace, "kind": ref.kind, "uid": found["metadata"]["uid"]}
    selector = ",".join(f"involvedObject.{key}={value}" for key, value in fields.items())
    listed = await client.request(
        "GET", f"/api/v1/namespaces/{ref.namespace}/events", query={"fieldSelector": selector}
    )
    items: list[dict[str, Any]] = listed["items"]
    # A real cluster has something to say of Services too (`ClusterIPNotAllocated`).
    return [each for each in items if each["reportingComponent"] == CONTROLLER]


async def test_describing_the_object_shows_what_is_wrong_with_it(
    client: Client, wishes: Wishes, announce: Announce, service: Ref
) -> None:
    wishes.pairs = [(service, SAID)]
    await announce().carry_out()
    (event,) = await described(client, service)
    assert (event["type"], event["reason"], event["message"]) == ("Warning", SAID.reason, SAID.note)
    assert event["reportingComponent"] == "weft.dev/control-plane"


async def test_what_lasts_is_told_once_and_renewed_before_the_api_server_forgets_it(
    client: Client, wishes: Wishes, announce: Announce, service: Ref, clock: FakeClock
) -> None:
    wishes.pairs = [(service, SAID)]
    announcer = announce()
    for _ in range(5):
        await announcer.carry_out()
        clock.skip(timedelta(seconds=30))
    (event,) = await described(client, service)
    assert event.get("series") is None
    clock.skip(timedelta(seconds=RENEWAL))
    await announcer.carry_out()
    (event,) = await described(client, service)
    assert event["series"]["count"] == 2


async def test_what_comes_again_is_counted(
    client: Client, wishes: Wishes, announce: Announce, service: Ref, clock: FakeClock
) -> None:
    announcer = announce()
    for _ in range(3):
        wishes.pairs = [(service, SAID)]
        await announcer.carry_out()
        wishes.pairs = []
        await announcer.carry_out()
    (event,) = await described(client, service)
    assert event["series"]["count"] == 3


async def test_the_next_holder_does_not_tell_it_a_second_time(
    client: Client, wishes: Wishes, announce: Announce, service: Ref
) -> None:
    wishes.pairs = [(service, SAID)]
    await announce().carry_out()
    await announce().carry_out()
    (event,) = await described(client, service)
    assert event.get("series") is None


async def test_other_words_are_another_event(client: Client, wishes: Wishes, announce: Announce, service: Ref) -> None:
    wishes.pairs = [(service, SAID), (service, Said("NoUsableBackend", "Translate", "None is left. [T3]"))]
    await announce().carry_out()
    assert {event["reason"] for event in await described(client, service)} == {"BackendLeftOut", "NoUsableBackend"}


async def test_an_object_made_anew_has_events_of_its_own(
    client: Client, wishes: Wishes, announce: Announce, namespace: str
) -> None:
    await make_service_account(client, namespace, "web")
    pod = Ref("Pod", namespace, "web-1")
    wishes.pairs = [(pod, SAID)]
    for _ in range(2):
        await make_pod(client, namespace, "web-1", "web")
        await announce().carry_out()
        assert len(await described(client, pod)) == 1
        await client.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/web-1", query={"gracePeriodSeconds": "0"})


async def test_an_object_that_is_gone_keeps_nothing_from_the_others(
    client: Client, wishes: Wishes, announce: Announce, service: Ref, namespace: str
) -> None:
    wishes.pairs = [(Ref("Service", namespace, "gone"), SAID), (Ref("File", "", "a.yaml"), SAID), (service, SAID)]
    await announce().carry_out()
    assert len(await described(client, service)) == 1


async def test_the_events_of_a_namespace_are_in_the_default_one(
    client: Client, wishes: Wishes, announce: Announce, namespace: str
) -> None:
    wishes.pairs = [(Ref("Namespace", "", namespace), Said("InvalidMode", "Translate", f"about {namespace}"))]
    await announce().carry_out()
    query = {"fieldSelector": f"involvedObject.kind=Namespace,involvedObject.name={namespace}"}
    listed = await client.request("GET", "/api/v1/namespaces/default/events", query=query)
    assert [event["message"] for event in listed["items"]] == [f"about {namespace}"]


async def test_one_object_can_not_use_up_what_others_need(
    client: Client, wishes: Wishes, announce: Announce, service: Ref, namespace: str, clock: FakeClock
) -> None:
    other = {"metadata": {"name": "other"}, "spec": {"ports": [{"port": 80}]}}
    await client.request("POST", f"/api/v1/namespaces/{namespace}/services", body=other)
    noise = [(service, Said("Noise", "Translate", f"number {number}")) for number in range(200)]
    wishes.pairs = [*noise, (Ref("Service", namespace, "other"), SAID)]
    announcer = announce()
    await announcer.carry_out()
    assert len(await described(client, service)) == 25
    assert len(await described(client, Ref("Service", namespace, "other"))) == 1
    assert announcer.waiting == 175
    clock.skip(timedelta(seconds=301))
    await announcer.carry_out()
    assert len(await described(client, service)) == 26, "what is held back comes later"


@pytest.mark.parametrize("note", ["x" * 5000, "é" * 5000, "x" + "é" * 600])
async def test_words_of_envoys_that_are_too_long_are_cut(
    client: Client, service: Ref, namespace: str, clock: FakeClock, note: str
) -> None:
    found = await client.request("GET", f"/api/v1/namespaces/{namespace}/services/shop")
    writer = EventWriter(client, "weft-0_a")
    regarding = Regarding(service, "v1", found["metadata"]["uid"])
    await writer.tell(regarding, Said("ConfigurationRejected", "Translate", note), clock.now(), 1)
    (event,) = await described(client, service)
    assert len(event["message"].encode()) <= LONGEST_NOTE
    assert event["message"].endswith("…")
