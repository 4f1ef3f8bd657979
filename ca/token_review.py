"""Proxies prove who they are with ServiceAccount tokens, which the API server checks for us (TokenReview).

Rule: identity comes from the API server's answer alone; a token is never logged, never part of a message, and kept as
a hash only. What was true is remembered until shortly before the token ends, and no longer than its pod lives.
Source: Kubernetes API reference, authentication.k8s.io/v1 TokenReview; "Managing Service Accounts", bound tokens.
"""

from __future__ import annotations

import asyncio
import hashlib
from base64 import urlsafe_b64decode
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, Protocol

import msgspec
import structlog

from ca.issuance import is_segment
from ca.tokens import AUDIENCE
from kube.client import ApiError
from kube.clock import SYSTEM_CLOCK, Clock
from mesh.model import Identity, PodId
from xds.peer import Peer, Reason, Refused, Unknown

PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
POD_NAME: Final = "authentication.kubernetes.io/pod-name"
POD_UID: Final = "authentication.kubernetes.io/pod-uid"
LONGEST_TOKEN: Final = 16 * 1024
"""Characters; a bound token has about 1,200."""
LONGEST_STREAM: Final = 86_400.0
"""Seconds that a stream may last, however far away its token's end is."""

log = structlog.get_logger(__name__)


class Requests(Protocol):
    """What is needed of `kube.client.Client`."""

    async def request(self, method: str, path: str, *, body: object = None) -> Any:
        """The decoded answer; any exception means that there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSettings:
    """Whose tokens count and how long an answer is remembered."""

    trust_domain: str
    audience: str = AUDIENCE
    margin: timedelta = timedelta(seconds=30)
    """A token is asked about anew so long before it ends."""
    longest: timedelta = timedelta(hours=1)
    """No answer is remembered for longer, also of a token whose end can't be read."""
    refusal: timedelta = timedelta(seconds=10)
    """How long a refusal is remembered, so that a caller who insists costs the API server little."""
    entries: int = 20_000
    at_once: int = 32
    """Reviews under way together; more wait."""
    patience: float = 5.0
    """Seconds for one review, waiting included."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is known of a token: its bearer or why it is refused, until when, and whether we saw its pod alive."""

    until: float
    peer: Peer | None = None
    uid: str = ""
    seen: bool = False
    text: str = ""
    reason: Reason = Reason.INVALID


class _Claims(msgspec.Struct):
    exp: int


class TokenReviewer:
    """Implements xds.peer.Authenticator.

    `uid_of` gives the uid of the pod of this name that the source knows, None where it knows none. A pod it never
    knew may be new: its token is good when the API server says so just then. A pod it knew once is gone for good.
    """

    def __init__(
        self,
        requests: Requests,
        settings: ReviewSettings,
        uid_of: Callable[[PodId], str | None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._requests = requests
        self._settings = settings
        self._uid_of = uid_of
        self._clock = clock
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Task[_Answer | Unknown]] = {}
        self._turns = asyncio.Semaphore(settings.at_once)
        self.counted: Counter[str] = Counter()
        """Tokens by what became of them: `remembered`, `reviewed`, `refused`, `unknown`."""

    async def authenticate(self, token: str) -> Peer:
        """Who bears this token. Raises Refused, and Unknown while the API server does not answer."""
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        answer = self._remembered(key)
        if answer is not None:
            self.counted["remembered"] += 1
        else:
            answer = await self._reviewed(key, token)
        if answer.peer is None:
            self.counted["refused"] += 1
            raise Refused(answer.text, answer.reason)
        return answer.peer

    def _remembered(self, key: bytes) -> _Answer | None:
        """The answer that still holds, None where the API server must be asked."""
        answer = self._answers.get(key)
        if answer is None:
            return None
        if self._clock.now().timestamp() >= answer.until:
            del self._answers[key]
            return None
        if answer.peer is None or answer.peer.pod is None:
            return answer
        uid = self._uid_of(answer.peer.pod)
        if uid is None and not answer.seen:
            # Perhaps new, perhaps gone before we knew it: the API server knows.
            del self._answers[key]
            return None
        if uid != answer.uid:
            # It stays refused as long as the token could live: the API server itself remembers for seconds.
            return self._remember(key, replace(answer, peer=None, text=_gone(answer.peer.pod), reason=Reason.POD))
        return answer if answer.seen else self._remember(key, replace(answer, seen=True))

    async def _reviewed(self, key: bytes, token: str) -> _Answer:
        """Ask the API server, once for all who bring this token now. Raises Unknown."""
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._review(token), name="token review")
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        answer = await asyncio.shield(task)
        if isinstance(answer, Unknown):
            self.counted["unknown"] += 1
            raise Unknown(str(answer))
        return self._remember(key, answer)

    async def _review(self, token: str) -> _Answer | Unknown:
        """The API server's answer. What prevents one is a value: whoever asked may have left by now."""
        if not token or len(token) > LONGEST_TOKEN or not token.isascii():
            return self._refusal("the token is not a ServiceAccount's token")
        document = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._settings.audience]},
        }
        self.counted["reviewed"] += 1
        try:
            async with asyncio.timeout(self._settings.patience), self._turns:
                review = await self._requests.request("POST", PATH, body=document)
        except Exception as error:
            # Not the error's own words: whatever the request held may be in them.
            why = f"{error.code} {error.reason}".strip() if isinstance(error, ApiError) else type(error).__name__
            log.warning("tokens can't be checked now", failure=why)
            return Unknown("the API server does not say now whether the token is valid")
        return self._judge(review, token)

    def _judge(self, review: Any, token: str) -> _Answer:
        status = review.get("status") if isinstance(review, dict) else None
        if not isinstance(status, dict) or status.get("authenticated") is not True:
            return self._refusal(f"the API server refused the token: {_words(status, token)}")
        # An API server that does not know audiences leaves them out; then the token may be for anybody.
        if self._settings.audience not in _list(status.get("audiences")):
            return self._refusal(f"the token is not meant for {self._settings.audience}", Reason.AUDIENCE)
        user = _map(status.get("user"))
        parts = str(user.get("username", "")).split(":")
        if len(parts) != 4 or parts[:2] != ["system", "serviceaccount"] or not all(map(is_segment, parts[2:])):
            return self._refusal("the token is not a ServiceAccount's", Reason.ACCOUNT)
        namespace, account = parts[2:]
        name, uid = _single(user, POD_NAME), _single(user, POD_UID)
        if not is_segment(name) or not uid:
            return self._refusal("the token is bound to no pod", Reason.POD)
        return self._compare(
            PodId(namespace, name), uid, Identity(self._settings.trust_domain, namespace, account), token
        )

    def _compare(self, pod: PodId, uid: str, identity: Identity, token: str) -> _Answer:
        """The API server knows the pod; so do we, or it is new."""
        known = self._uid_of(pod)
        if known not in {None, uid}:
            return self._refusal(_gone(pod), Reason.POD)
        now = self._clock.now().timestamp()
        longest = now + self._settings.longest.total_seconds()
        # A token that does not say when it ends is asked about again when its stream has had its time.
        end = min(_end(token) or longest, now + LONGEST_STREAM)
        until = min(end - self._settings.margin.total_seconds(), longest)
        return _Answer(until, Peer(identity, pod, float(end), uid), uid, seen=known is not None)

    def _refusal(self, text: str, reason: Reason = Reason.INVALID) -> _Answer:
        until = self._clock.now().timestamp() + self._settings.refusal.total_seconds()
        return _Answer(until, text=text, reason=reason)

    def _remember(self, key: bytes, answer: _Answer) -> _Answer:
        self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > self._settings.entries:
            self._answers.popitem(last=False)
        return answer


def _gone(pod: PodId) -> str:
    return f"the token is bound to a pod {pod} that is gone"


def _single(user: dict[str, Any], key: str) -> str:
    """The one value of an `extra` of the user; empty when there is none, or several."""
    values = _list(_map(user.get("extra")).get(key))
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _words(status: object, token: str) -> str:
    """Why, in the API server's words: one line, not long, and without the token should it be quoted."""
    said = str(status.get("error") or "") if isinstance(status, dict) else ""
    return " ".join(said.replace(token, "…").split())[:300] or "it is not valid"


def _end(token: str) -> float | None:
    """When a token that was found valid ends, seconds since the epoch; None where it does not say."""
    try:
        payload = token.split(".")[1]
        return msgspec.json.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims).exp
    except (IndexError, ValueError, msgspec.MsgspecError):
        return None
