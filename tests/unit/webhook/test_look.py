"""Looking for what an object refers to: found, not there, or unseen, and never for long."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from fake_clock import FakeClock
from kube.client import ApiError, ApiUnavailable
from kube.objects import Service
from mesh.alone import UnseenError
from smi.kinds import HTTPRouteGroup
from webhook.look import MOST, SECONDS, Look, looks

SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}}


class Asked:
    """An API server with one answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.paths: list[str] = []

    async def request(self, method: str, path: str, *, seconds: float) -> Any:
        assert method == "GET"
        assert 0 < seconds <= SECONDS
        self.paths.append(path)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def look(answer: Any, kind: type[Any] = Service) -> tuple[Any, Asked]:
    asked = Asked(answer)
    return await asyncio.to_thread(looks(asked)().get, kind, "shop", "web"), asked


async def test_a_service_that_is_there() -> None:
    found, asked = await look(SERVICE)
    assert isinstance(found, Service)
    assert asked.paths == ["/api/v1/namespaces/shop/services/web"]


async def test_a_route_is_looked_for_in_its_stored_version() -> None:
    document = {
        **SERVICE,
        "apiVersion": "specs.smi-spec.io/v1alpha4",
        "kind": "HTTPRouteGroup",
        "spec": {"matches": [{"name": "a"}]},
    }
    found, asked = await look(document, HTTPRouteGroup)
    assert isinstance(found, HTTPRouteGroup)
    assert [match.name for match in found.matches] == ["a"]
    assert asked.paths == ["/apis/specs.smi-spec.io/v1alpha4/namespaces/shop/httproutegroups/web"]


async def test_what_is_not_there() -> None:
    found, _ = await look(ApiError(404, "NotFound", "no"))
    assert found is None


@pytest.mark.parametrize(
    "answer", [ApiError(403, "Forbidden", "no"), ApiUnavailable("away"), TimeoutError(), None, {"kind": "Service"}]
)
async def test_what_can_not_be_told(answer: Any) -> None:
    with pytest.raises(UnseenError):
        await look(answer)


async def test_looking_ends_after_a_while() -> None:
    clock, asked = FakeClock(), Asked(SERVICE)
    one = Look(asked, asyncio.get_running_loop(), clock.passed)
    await asyncio.to_thread(one.get, Service, "shop", "web")
    await clock.advance(timedelta(seconds=SECONDS))
    with pytest.raises(UnseenError):
        await asyncio.to_thread(one.get, Service, "shop", "web")
    assert len(asked.paths) == 1


async def test_looking_ends_after_some_objects() -> None:
    asked = Asked(SERVICE)
    one = looks(asked)()
    for _ in range(MOST):
        await asyncio.to_thread(one.get, Service, "shop", "web")
    with pytest.raises(UnseenError):
        await asyncio.to_thread(one.get, Service, "shop", "web")
    assert len(asked.paths) == MOST
