"""What is remembered of the API server's answers, for how long, and what an answer must hold to count."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from ca.token_review import ReviewSettings, TokenReviewer
from fake_clock import START, FakeClock
from kube.client import ApiError
from mesh.model import Identity, PodId
from xds.peer import Refused, Unknown

POD = PodId("shop", "web-1")
UID = "0b1c"
SETTINGS = ReviewSettings(trust_domain="cluster.local", entries=3)


def token(seconds: float = 3600, more: str = "") -> str:
    """A token as far as it is looked into here: its end."""
    claims = json.dumps({"exp": int(START.timestamp() + seconds), "more": more}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.signature"


def good(**user: Any) -> dict[str, Any]:
    """An answer that says yes."""
    extra = {"authentication.kubernetes.io/pod-name": ["web-1"], "authentication.kubernetes.io/pod-uid": [UID]}
    known = {"username": "system:serviceaccount:shop:web", "extra": extra, **user}
    return {"status": {"authenticated": True, "audiences": ["weft"], "user": known}}


class Reviews:
    """An API server that gives one answer, and may be slow or away."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] = good()
        self.asked: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.failure: Exception | None = None
        self.at_once = 0
        self.most = 0

    async def request(self, _method: str, _path: str, *, body: Any = None) -> Any:
        self.asked.append(body)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.open.wait()
            await asyncio.sleep(0)
            if self.failure is not None:
                raise self.failure
            return self.answer
        finally:
            self.at_once -= 1


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def reviews() -> Reviews:
    return Reviews()


@pytest.fixture
def pods() -> dict[PodId, str]:
    return {POD: UID}


@pytest.fixture
def reviewer(reviews: Reviews, pods: dict[PodId, str], clock: FakeClock) -> TokenReviewer:
    return TokenReviewer(reviews, SETTINGS, pods.get, clock)


async def test_the_api_server_is_asked_about_our_audience_and_answers_with_identity_and_pod(
    reviewer: TokenReviewer, reviews: Reviews
) -> None:
    peer = await reviewer.authenticate(token())
    assert (peer.identity, peer.pod) == (Identity("cluster.local", "shop", "web"), POD)
    assert peer.expires == START.timestamp() + 3600
    assert reviews.asked[0]["spec"] == {"token": token(), "audiences": ["weft"]}


async def test_an_answer_holds_until_shortly_before_the_token_ends(
    reviewer: TokenReviewer, reviews: Reviews, clock: FakeClock
) -> None:
    ends = token(600)
    await reviewer.authenticate(ends)
    clock.skip(timedelta(seconds=569))
    await reviewer.authenticate(ends)
    assert len(reviews.asked) == 1
    clock.skip(timedelta(seconds=2))
    reviews.answer = {"status": {"authenticated": False, "error": "token has expired"}}
    with pytest.raises(Refused, match="token has expired"):
        await reviewer.authenticate(ends)
    assert len(reviews.asked) == 2


async def test_no_answer_holds_for_longer_than_an_hour_whatever_the_token_says(
    reviewer: TokenReviewer, reviews: Reviews, clock: FakeClock
) -> None:
    for each in (token(10_000_000), "opaque"):
        await reviewer.authenticate(each)
    clock.skip(timedelta(seconds=3601))
    peer = await reviewer.authenticate("opaque")
    await reviewer.authenticate(token(10_000_000))
    assert len(reviews.asked) == 4
    assert peer.expires <= clock.now().timestamp() + 3600


async def test_a_refusal_is_remembered_briefly(reviewer: TokenReviewer, reviews: Reviews, clock: FakeClock) -> None:
    reviews.answer = {"status": {"authenticated": False}}
    for _ in range(5):
        with pytest.raises(Refused):
            await reviewer.authenticate("bad")
    assert len(reviews.asked) == 1
    clock.skip(timedelta(seconds=11))
    reviews.answer = good()
    assert (await reviewer.authenticate("bad")).pod == POD


async def test_streams_that_bring_one_token_at_once_are_one_question(reviewer: TokenReviewer, reviews: Reviews) -> None:
    reviews.open.clear()
    asking = [asyncio.create_task(reviewer.authenticate(token())) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    reviews.open.set()
    answers = await asyncio.gather(*asking[1:])
    assert len(set(answers)) == 1
    assert len(reviews.asked) == 1, "the one who asked first has left, and the others are answered all the same"


async def test_only_so_many_questions_are_under_way_together(
    reviews: Reviews, pods: dict[PodId, str], clock: FakeClock
) -> None:
    reviewer = TokenReviewer(reviews, ReviewSettings(trust_domain="cluster.local", at_once=4), pods.get, clock)
    await asyncio.gather(*(reviewer.authenticate(token(more=str(number))) for number in range(40)))
    assert reviews.most == 4
    assert len(reviews.asked) == 40


async def test_only_so_many_answers_are_remembered_and_no_token(reviewer: TokenReviewer, reviews: Reviews) -> None:
    for number in range(5):
        await reviewer.authenticate(token(more=str(number)))
    assert len(reviewer._answers) == 3
    await reviewer.authenticate(token(more="4"))
    assert len(reviews.asked) == 5
    await reviewer.authenticate(token(more="0"))
    assert len(reviews.asked) == 6
    assert token(more="4") not in repr(vars(reviewer))


async def test_while_nobody_answers_a_known_token_holds_and_the_log_has_no_token(
    reviewer: TokenReviewer, reviews: Reviews
) -> None:
    await reviewer.authenticate(token())
    reviews.failure = OSError(f"could not send {token(more='new')}")
    assert (await reviewer.authenticate(token())).pod == POD
    with capture_logs() as logs, pytest.raises(Unknown) as failure:
        await reviewer.authenticate(token(more="new"))
    assert token(more="new") not in str(logs) + str(failure.value)
    reviews.failure = None
    assert (await reviewer.authenticate(token(more="new"))).pod == POD, "that nobody answered is not remembered"


async def test_a_right_that_we_lack_is_named_in_the_log_and_is_not_the_proxys_fault(
    reviewer: TokenReviewer, reviews: Reviews
) -> None:
    reviews.failure = ApiError(403, "Forbidden", "cannot create tokenreviews")
    with capture_logs() as logs, pytest.raises(Unknown):
        await reviewer.authenticate(token())
    assert [line["failure"] for line in logs] == ["403 Forbidden"]


async def test_a_refusal_in_the_api_servers_words_does_not_quote_the_token(
    reviewer: TokenReviewer, reviews: Reviews
) -> None:
    reviews.answer = {"status": {"authenticated": False, "error": f"[invalid {token()},\n second line]"}}
    with pytest.raises(Refused) as refusal:
        await reviewer.authenticate(token())
    assert str(refusal.value) == "the API server refused the token: [invalid …, second line]"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, "it is not valid"),
        ({"status": None}, "it is not valid"),
        ({"status": {"authenticated": "true"}}, "it is not valid"),
        ([], "it is not valid"),
        ({"status": {**good()["status"], "audiences": []}}, "not meant for weft"),
        ({"status": {**good()["status"], "audiences": ["other"]}}, "not meant for weft"),
        ({"status": {"authenticated": True, "audiences": ["weft"]}}, "not a ServiceAccount's"),
        (good(username="system:admin"), "not a ServiceAccount's"),
        (good(username="system:serviceaccount:shop"), "not a ServiceAccount's"),
        (good(username="system:serviceaccount:shop:web:more"), "not a ServiceAccount's"),
        (good(username="system:serviceaccount:shop:../web"), "not a ServiceAccount's"),
        (good(username="other:serviceaccount:shop:web"), "not a ServiceAccount's"),
        (good(extra=None), "bound to no pod"),
        (good(extra={"authentication.kubernetes.io/pod-name": ["web-1"]}), "bound to no pod"),
        (good(extra={"authentication.kubernetes.io/pod-uid": [UID]}), "bound to no pod"),
        (
            good(extra={
                "authentication.kubernetes.io/pod-name": ["web-1", "web-2"],
                "authentication.kubernetes.io/pod-uid": [UID],
            }),
            "bound to no pod",
        ),
    ],
)  # fmt: skip
async def test_an_answer_that_does_not_say_all_of_it_grants_nothing(
    reviewer: TokenReviewer, reviews: Reviews, answer: Any, reason: str
) -> None:
    reviews.answer = answer
    with pytest.raises(Refused, match=reason):
        await reviewer.authenticate(token())


@pytest.mark.parametrize("wrong", ["", "x" * 20_000, "ünïcode", "\udcff"])
async def test_what_can_be_no_token_is_not_even_asked_about(
    reviewer: TokenReviewer, reviews: Reviews, wrong: str
) -> None:
    with pytest.raises(Refused):
        await reviewer.authenticate(wrong)
    assert reviews.asked == []


async def test_a_pod_that_was_known_and_is_gone_stays_refused_though_the_api_server_says_yes(
    reviewer: TokenReviewer, reviews: Reviews, pods: dict[PodId, str], clock: FakeClock
) -> None:
    await reviewer.authenticate(token())
    del pods[POD]
    for _ in range(3):
        with pytest.raises(Refused, match="shop/web-1 that is gone"):
            await reviewer.authenticate(token())
        clock.skip(timedelta(seconds=60))
    assert len(reviews.asked) == 1


async def test_a_pod_known_under_another_uid_is_refused_at_once(
    reviewer: TokenReviewer, pods: dict[PodId, str]
) -> None:
    pods[POD] = "another"
    with pytest.raises(Refused, match="shop/web-1 that is gone"):
        await reviewer.authenticate(token())


async def test_a_pod_that_is_not_known_yet_is_asked_about_each_time(
    reviewer: TokenReviewer, reviews: Reviews, pods: dict[PodId, str]
) -> None:
    pods.clear()
    for _ in range(3):
        assert (await reviewer.authenticate(token())).pod == POD
    assert len(reviews.asked) == 3
