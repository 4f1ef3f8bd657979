"""Namespaces are asked about anew; the last answer counts when none comes."""

from __future__ import annotations

from typing import Any

import pytest

from kube.client import ApiError, ApiUnavailable
from webhook import namespaces
from webhook.decision import NamespaceView
from webhook.namespaces import Namespaces


class Server:
    """Answers with what `answers` holds, or raises it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.paths: list[str] = []

    async def request(self, method: str, path: str, *, seconds: float) -> Any:
        assert (method, seconds) == ("GET", namespaces.SECONDS)
        self.paths.append(path)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def marked(value: str) -> dict[str, Any]:
    return {"metadata": {"name": "shop", "annotations": {"linkerd.io/inject": value}}}


async def test_every_question_is_asked_anew() -> None:
    server = Server(marked("enabled"))
    looked = Namespaces(server)
    assert await looked.view("shop") == NamespaceView("shop", {}, {"linkerd.io/inject": "enabled"})
    server.answer = marked("disabled")
    assert (await looked.view("shop")).annotations == {"linkerd.io/inject": "disabled"}
    assert server.paths == ["/api/v1/namespaces/shop"] * 2


@pytest.mark.parametrize("failure", [ApiUnavailable("away"), ApiError(429, "TooManyRequests", "later")])
async def test_the_last_answer_counts_when_none_comes(failure: Exception) -> None:
    server = Server(marked("enabled"))
    looked = Namespaces(server)
    before = await looked.view("shop")
    server.answer = failure
    assert await looked.view("shop") == before
    with pytest.raises(type(failure)):
        await looked.view("other")


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "REMEMBERED", 2)
    server = Server(marked("enabled"))
    looked = Namespaces(server)
    for name in ("a", "b", "c"):
        await looked.view(name)
    server.answer = ApiUnavailable("away")
    assert (await looked.view("b")).name == "b"
    with pytest.raises(ApiUnavailable):
        await looked.view("a")
