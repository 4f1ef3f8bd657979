"""The authority in the admin API: anybody who gets there may look, only somebody on this machine may ask."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, generate_latest

from asked_api import HERE, asked
from ca.authority import Authority
from ca.issuer_folder import Lifetimes
from ca.reports import Seen
from ca.rotation import Wish
from controlplane.ca_api import ca_routes
from controlplane.ca_metrics import AuthorityCollector
from controlplane.cli.durations import duration
from controlplane.client import ASKING
from fake_clock import FakeClock

ELSEWHERE = ("10.0.0.9", 1)
ASKED = {ASKING: "test"}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def authority(tmp_path: Path, clock: FakeClock) -> Authority:
    return Authority.open(tmp_path / "ca", "cluster.local", lifetimes=Lifetimes(leaf=timedelta(hours=1)), clock=clock)


class Asker:
    """Requests from some address."""

    def __init__(self, authority: Authority, clock: FakeClock) -> None:
        self._api = FastAPI()
        self._api.include_router(ca_routes(authority, clock))

    async def __call__(
        self, method: str, path: str, client: tuple[str, int] = HERE, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        return await asked(self._api, method, path, client, headers)


@pytest.fixture
def ask(authority: Authority, clock: FakeClock) -> Asker:
    return Asker(authority, clock)


async def test_anybody_who_gets_there_may_look_and_sees_no_key(ask: Asker) -> None:
    status, found = await ask("GET", "/ca", ELSEWHERE)
    assert status == 200
    assert found["root"]["seconds_left"] == 3650 * 86400
    assert found["intermediate"]["seconds_left"] == 365 * 86400
    assert found["rotation"]["phase"] == "none"
    assert "PRIVATE" not in str(found)


@pytest.mark.parametrize("path", ["/ca/rotate", "/ca/rotate?root=true", "/ca/rollback"])
async def test_only_somebody_here_who_is_no_web_page_may_ask(ask: Asker, authority: Authority, path: str) -> None:
    assert (await ask("POST", path, ELSEWHERE, ASKED))[0] == 403
    assert (await ask("POST", path, HERE))[0] == 403
    await authority.look(lambda *_: None)
    assert authority.issuers.rotation.wish is Wish.NONE


async def test_a_rotation_is_asked_for_watched_and_taken_back(ask: Asker, authority: Authority) -> None:
    assert (await ask("POST", "/ca/rollback", HERE, ASKED)) == (
        409, {"detail": "there is no rotation of the root that could be rolled back"},
    )  # fmt: skip
    assert (await ask("POST", "/ca/rotate?root=true", HERE, ASKED))[0] == 200
    for _ in range(3):
        await authority.look(lambda *_: None, lambda _: Seen(frozenset({"n/away"}), lacking=frozenset({"n/silent"})))
    _, found = await ask("GET", "/ca")
    assert found["rotation"]["phase"] == "distribute"
    assert found["rotation"]["not_acknowledged"] == ["n/silent"]
    assert found["rotation"]["away"] == ["n/away"]
    assert "n/silent" in found["rotation"]["why"]
    assert len(found["bundle"]) == 2
    assert (await ask("POST", "/ca/rotate?root=true", HERE, ASKED))[0] == 409
    assert (await ask("POST", "/ca/rollback", HERE, ASKED))[0] == 200
    for _ in range(2):
        await authority.look(lambda *_: None)
    assert (await ask("GET", "/ca"))[1]["rotation"]["phase"] == "none"


async def test_the_intermediate_is_replaced_when_asked_for(ask: Asker, authority: Authority) -> None:
    before = (await ask("POST", "/ca/rotate", HERE, ASKED))[1]
    for _ in range(2):
        await authority.look(lambda *_: None)
    after = (await ask("GET", "/ca"))[1]
    assert after["root"]["sha256"] == before["root"]["sha256"]
    assert after["intermediate"]["sha256"] != before["intermediate"]["sha256"]


async def test_metrics_tell_what_is_left_and_who_is_waited_for(authority: Authority, clock: FakeClock) -> None:
    registry = CollectorRegistry()
    registry.register(AuthorityCollector(authority, clock))
    await authority.ask(Wish.ROOT)
    for _ in range(3):
        await authority.look(lambda *_: None, lambda _: Seen(lacking=frozenset({"n/one", "n/two"})))
    text = generate_latest(registry).decode()
    assert 'weft_ca_seconds_to_expiry{issuer="root"} 3.1536e+08' in text
    assert 'weft_ca_rotation_phase{phase="distribute"} 1.0' in text
    assert 'weft_ca_rotation_waiting{kind="connected_proxy"} 2.0' in text


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("24h", 86400), ("365d", 31536000)])
def test_spans_are_read_as_people_write_them(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "24", "h", "1.5h", "-1h", "9s", "0d", "1w", "99999999999999d"])
def test_what_is_no_span_or_too_short_is_refused_in_words(text: str) -> None:
    with pytest.raises(Exception, match=r"no span of time|is shorter than 10s"):
        duration(text)
