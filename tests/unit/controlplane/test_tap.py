"""`weft tap`: which pods and requests somebody means, and what the route tells."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fastapi import FastAPI

from asked_api import asked
from controlplane.cli.tap import as_text
from controlplane.client import ASKING
from controlplane.tap.api import UNREAD, Session, request_view, tap_routes
from controlplane.tap.wanted import Target, Wanted, target
from mesh.model import PodId
from xds.switches import Switches
from xds.tapping import Taps
from xds.told import Told

WEB = PodId("shop", "web-6d5f7c9b8d-x7x2k")
DATABASE = PodId("shop", "database-0")
ELSEWHERE = PodId("billing", "web-6d5f7c9b8d-k2x7x")
PODS = (WEB, DATABASE, ELSEWHERE)
CALLER = "spiffe://cluster.local/ns/shop/sa/storefront"
REQUEST = Told(
    time=1_700_000_000.25, pod=WEB, direction="inbound", source=CALLER, destination="spiffe://cluster.local/ns/shop/sa/web",
    peer=CALLER, port=8080, protocol="HTTP/2", method="GET", authority="web", path="/api/items", status=403,
    reason="no TrafficTarget lets this caller do this", milliseconds=1.25,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "pods"),
    [
        ("web", [WEB]),
        ("web-6d5f7c9b8d-x7x2k", [WEB]),
        ("billing/web", [ELSEWHERE]),
        ("pod/web", [WEB]),
        ("deploy/web", [WEB]),
        ("deployment/web", [WEB]),
        ("sts/database", [DATABASE]),
        ("deploy/database", []),
        ("ns/shop", [WEB, DATABASE]),
        ("ns/sho", []),
        ("we/b", []),
    ],
)
def test_pods_are_named_as_kubectl_names_them(text: str, pods: list[PodId]) -> None:
    assert target(text, "shop").pods(PODS) == frozenset(pods)


@pytest.mark.parametrize("text", ["", "/", "deploy/", "/web", "a/b/c"])
def test_what_names_nothing_is_a_mistake_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="names nothing"):
        target(text, "shop")


def test_a_pod_whose_name_begins_anothers_is_meant_alone() -> None:
    short, long = PodId("shop", "web"), PodId("shop", "web-2")
    assert Target("Pod", "shop", "web").pods([short, long]) == {short}


@pytest.mark.parametrize(
    "taken",
    [
        Wanted(), Wanted(path="/api"), Wanted(method="get"), Wanted(status="403"), Wanted(status="4xx"),
        Wanted(status="4XX"), Wanted(peer="shop/storefront"), Wanted(peer="shop"),
        Wanted(peer=CALLER), Wanted(port=8080),
    ],
)  # fmt: skip
def test_requests_that_fit_are_taken(taken: Wanted) -> None:
    assert taken.takes(REQUEST)


@pytest.mark.parametrize(
    "left",
    [
        Wanted(path="/items"), Wanted(method="POST"), Wanted(status="404"), Wanted(status="5xx"),
        Wanted(peer="shop/web"), Wanted(peer="storefront"), Wanted(peer="sho"),
        Wanted(port=80), Wanted(path="/api", port=80),
    ],
)  # fmt: skip
def test_others_are_left_out(left: Wanted) -> None:
    assert not left.takes(REQUEST)


@pytest.mark.parametrize(
    ("peer", "names"),
    [
        ("shop/catalog/80", ["shop/catalog", "shop", "shop/catalog/80"]),
        ("10.0.0.7:41234", ["10.0.0.7", "10.0.0.7:41234"]),
        ("[fd00::7]:41234", ["fd00::7"]),
    ],
)
def test_a_peer_has_every_name_that_people_use(peer: str, names: list[str]) -> None:
    for name in names:
        assert Wanted(peer=name).takes(replace(REQUEST, peer=peer)), name


@pytest.mark.parametrize("status", ["abc", "40", "4x", "4000"])
def test_a_status_that_is_none_is_a_mistake_in_words(status: str) -> None:
    with pytest.raises(ValueError, match="is no status"):
        Wanted(status=status)


def taps() -> Taps:
    async def nobody(call: object) -> None:
        raise AssertionError("nobody connects here")

    return Taps(Switches(lambda _: None), nobody)  # type: ignore[arg-type]


async def ask(api_taps: Taps | None, query: str, *, client: str = "127.0.0.1", asking: bool = True) -> tuple[int, str]:
    """Status and words of an answer that is no stream."""
    api = FastAPI()
    api.include_router(tap_routes(api_taps, lambda: PODS))
    headers = {ASKING: "lines"} if asking else {}
    status, document = await asked(api, "GET", f"/tap?{query}", (client, 1), headers)
    return status, str(document["detail"])


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("target=deploy/none&namespace=shop", 404, "no meshed pod is known for Deployment shop/none"),
        ("target=a/b/c", 422, "names nothing"),
        ("target=web&status=abc", 422, "is no status"),
    ],
)
async def test_mistakes_are_answered_in_words(query: str, status: int, words: str) -> None:
    answered, said = await ask(taps(), query)
    assert answered == status
    assert words in said


async def test_requests_are_shown_to_nobody_from_another_machine_and_to_no_web_page() -> None:
    assert (await ask(taps(), "target=web", client="10.0.0.9"))[0] == 403
    assert (await ask(taps(), "target=web", asking=False))[0] == 403


async def test_a_mesh_in_which_nothing_can_be_watched_says_so() -> None:
    status, said = await ask(None, "target=web")
    assert status == 409
    assert "--no-tap" in said


async def test_a_reader_is_told_whom_it_watches_and_what_they_do_and_leaves_nothing_switched_on() -> None:
    known, hub = [WEB], taps()
    session = Session(hub, Target("Deployment", "shop", "web"), Wanted(status="4xx"), lambda: known)
    left: list[bool] = []
    lines = session.lines(lambda: left.append(True))
    assert json.loads(await anext(lines)) == {"watching": ["shop/web-6d5f7c9b8d-x7x2k"]}
    assert hub.watched(WEB)
    hub.tell(replace(REQUEST, status=200))
    hub.tell(REQUEST)
    assert json.loads(await anext(lines)) == json.loads(json.dumps(request_view(REQUEST)))
    await lines.aclose()
    assert left == [True]
    assert not hub.watched(WEB)


async def test_a_slow_reader_is_told_how_much_it_missed() -> None:
    hub = taps()
    session = Session(hub, Target("Namespace", "", "shop"), Wanted(), lambda: PODS)
    lines = session.lines(lambda: None)
    await anext(lines)
    for _ in range(UNREAD + 7):
        hub.tell(REQUEST)
    told = [json.loads(await anext(lines)) for _ in range(2)]
    assert told[0]["path"] == "/api/items"
    assert told[1] == {"missed": 7}
    await lines.aclose()


def test_a12_a_line_shows_who_asked_what_and_why_it_was_refused() -> None:
    text = as_text(request_view(REQUEST)).plain
    assert "shop/web-6d5f7c9b8d-x7x2k ← shop/storefront :8080  GET web/api/items  403  1.2 ms" in text
    assert text.endswith("no TrafficTarget lets this caller do this")


def test_what_a_caller_writes_into_a_path_does_nothing_to_the_terminal() -> None:
    text = as_text(request_view(replace(REQUEST, path="/\x1b[2Jgone", authority="a\x07b"))).plain
    assert text.isprintable()
