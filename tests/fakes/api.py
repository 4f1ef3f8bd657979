"""The API server without its sockets: a request in, a reply out.

Rule: authentication, authorization, then the resource.

Source: Kubernetes page "Controlling Access to the Kubernetes API".
"""

from __future__ import annotations

import asyncio
import calendar
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.fakes import authn, errors, requests, writes
from tests.fakes.admission import Webhooks
from tests.fakes.aggregation import Aggregation
from tests.fakes.authn import Authenticator
from tests.fakes.bootstrap import furnish
from tests.fakes.builtin import Addresses
from tests.fakes.conversion import Converter
from tests.fakes.crds import Crds
from tests.fakes.custom import StructuralSchemas
from tests.fakes.discovery import Discovery
from tests.fakes.hooks import Admission, Conversion, Schemas, User
from tests.fakes.kinds import Kinds
from tests.fakes.pod_proxy import PodProxy, proxied
from tests.fakes.rbac import Asked, Authorizer
from tests.fakes.reads import Reader
from tests.fakes.requests import Call, Reply, Request, Stream, Target
from tests.fakes.reviews import Reviews
from tests.fakes.storage import Place, Store
from tests.fakes.system import System
from tests.fakes.writes import Writer

Clock = Callable[[], float]
HEALTH = frozenset({"/healthz", "/livez", "/readyz"})


class Api:
    """All parts of the server. `clock` gives seconds since the epoch; tokens and timestamps go by it."""

    def __init__(self, ca_pem: str = "", clock: Clock = time.time, version: str = "1.36.2") -> None:
        self.clock = clock
        self.ca_pem = ca_pem
        self.version = version
        self.watch_seconds = 1800.0
        self.bookmark_seconds = 60.0
        self.kinds = Kinds()
        self.store = Store()
        self.addresses = Addresses()
        self.schemas: Schemas = StructuralSchemas()
        self.conversion: Conversion = Converter(self.store, self.schemas)
        self.admission: Admission = Webhooks(self.store, self.conversion)
        self.authn = Authenticator(self)
        self.rbac = Authorizer(self)
        self.reads = Reader(self)
        self.writes = Writer(self)
        self.reviews = Reviews(self)
        self.discovery = Discovery(self)
        self.system = System(self)
        self.crds = Crds(self)
        self.aggregation = Aggregation(self)
        self.pod_proxy = PodProxy(self)

    def furnish(self) -> None:
        """Make what a new cluster has. Needs a running event loop."""
        furnish(self)
        self.aggregation.furnish()

    def now(self) -> str:
        """The time as timestamps write it."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.clock()))

    @staticmethod
    def seconds(stamp: str) -> float:
        """A timestamp as seconds since the epoch."""
        return float(calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ")))

    @staticmethod
    def suffix() -> str:
        """Five letters that make a name unique."""
        return writes.suffix()

    @staticmethod
    def soon(act: Callable[..., None], *arguments: Any) -> None:
        """After the write under way."""
        asyncio.get_running_loop().call_soon(act, *arguments)

    @staticmethod
    def place(call: Call) -> Place:
        """Where the object a call names is stored."""
        return (call.namespace if call.kind.namespaced else ""), call.name

    async def handle(self, request: Request) -> Reply | Stream:
        """The answer to a request; a failure is a Status document."""
        try:
            return await self._handle(request)
        except errors.NoSuchPathError:
            return Reply(404, b"404 page not found\n", "text/plain; charset=utf-8")
        except errors.StatusError as error:
            reply = Reply.json(error.status(), error.code)
            reply.headers += _warnings(error.warnings)
            if error.code == 429 or error.details.get("retryAfterSeconds"):
                reply.headers.append(("Retry-After", str(error.details.get("retryAfterSeconds", 1))))
            return reply

    async def _handle(self, request: Request) -> Reply | Stream:
        if request.path in HEALTH or request.path.startswith(("/livez/", "/readyz/", "/healthz/")):
            return Reply(200, b"ok", "text/plain; charset=utf-8")
        user = self.authn.user(request)
        target = requests.target_of(request.path)
        other = authn.impersonated(user, request)
        if other is not None:
            self._allow(user, Asked("impersonate", "", "users", name=other.name))
            user = other
        if (through := proxied(request.path)) is not None:
            asked = "get" if request.method in {"GET", "HEAD"} else "create"
            self._allow(user, Asked(asked, "", "pods", "proxy", through.namespace, through.asked))
            return await self.pod_proxy.forward(request, through)
        elsewhere = self.aggregation.serving(request.path)
        if target is None:
            if elsewhere is None:
                return self._path(user, request)
            self._allow_path(user, request)
            return await self.aggregation.forward(user, request, elsewhere)
        verb = requests.verb_of(request, target)
        name = requests.authorized_name(request, target, verb)
        self._allow(user, Asked(verb, target.group, target.plural, target.subresource, target.namespace, name))
        if elsewhere is not None:
            return await self.aggregation.forward(user, request, elsewhere)
        return await self._resource(user, request, target, verb)

    def _path(self, user: User, request: Request) -> Reply:
        """Discovery and other paths that name no resource."""
        self._allow_path(user, request)
        reply = self.discovery.answer(request)
        if reply is None:
            raise errors.NoSuchPathError
        return reply

    def _allow_path(self, user: User, request: Request) -> None:
        asked = Asked(request.method.lower(), path=request.path)
        if not self.rbac.allows(user, asked):
            raise errors.forbidden_path(user.name, asked.verb, request.path)

    def _allow(self, user: User, asked: Asked) -> None:
        if self.rbac.allows(user, asked):
            return
        where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
        why = f'User "{user.name}" cannot {asked.verb} resource "{asked.resource}" in API group "{asked.group}" {where}'
        raise errors.forbidden(asked.group, asked.plural, asked.name, why)

    async def _resource(self, user: User, request: Request, target: Target, verb: str) -> Reply | Stream:
        kind = requests.kind_of(self.kinds, target)
        namespace = target.namespace if kind.namespaced else ""
        name = target.name
        call = Call(request, user, verb, kind, namespace, name, target.subresource)
        answer = self.reviews.answer(call) or self._answer(call)
        try:
            reply = await answer(call)
        except errors.StatusError as error:
            error.warnings = call.warnings
            raise
        if isinstance(reply, Reply):
            reply.headers += _warnings(call.warnings)
        return reply

    def _answer(self, call: Call) -> Callable[[Call], Awaitable[Reply | Stream]]:
        """Who answers an ordinary request; raises 405."""
        if not call.subresource and call.verb not in call.kind.verbs:
            raise errors.method_not_allowed()
        if call.subresource in {"token", "binding", "eviction"} or (call.subresource and call.verb == "create"):
            raise errors.method_not_allowed()
        answers: dict[str, Callable[[Call], Awaitable[Reply | Stream]]] = {
            "get": self.reads.get,
            "list": self.reads.list_all,
            "watch": self.reads.watch,
            "create": self.writes.create,
            "update": self.writes.update,
            "patch": self.writes.patch,
            "delete": self.writes.deletion.delete,
            "deletecollection": self.writes.deletion.delete_all,
        }
        return answers[call.verb]


def _warnings(texts: list[str]) -> list[tuple[str, str]]:
    return [("Warning", f'299 - "{_quoted(text)}"') for text in texts]


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
