"""The metrics API's server: one path after the other, for those who prove who they are and may see it.

Rule: certificate, user, rights, then the answer; a mistake of ours is a 500 and a line in the log. Nothing is answered
to whoever shows no certificate, and a connection without one ends after a few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI, Request, Response

from controlplane.listening import connection
from controlplane.metrics_api import discovery, documents
from controlplane.metrics_api.callers import FrontProxy, Requests
from controlplane.metrics_api.paths import GROUP, Asked, asked
from controlplane.metrics_api.rights import Rights
from controlplane.traffic.answers import Answers, Row
from controlplane.traffic.facts import DEFAULT_WINDOW, TrafficError
from controlplane.traffic.spans import window
from controlplane.traffic.telling import Telling
from kube.client import ApiError, ApiUnavailable

log = structlog.get_logger(__name__)

STRANGER_SECONDS: Final = 5.0
"""How long a connection without a client certificate may stay."""

CERTIFICATE: Final = "weft.client-certificate"
"""Where a request's scope says what certificate its connection showed, in the words of `ssl.SSLSocket.getpeercert`."""

SPLITS: Final = "trafficsplits"


class RefusedError(Exception):
    """Answered with a metav1.Status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


class Connection(connection.Connection):
    """An HTTP/1.1 connection that says in its requests' scope which certificate was shown."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called when the handshake is over."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        shown = tls.getpeercert() if tls is not None else None
        app = self.app

        async def named(scope: Any, receive: Any, send: Any) -> None:
            scope[CERTIFICATE] = shown
            await app(scope, receive, send)

        self.app = named
        if not shown:
            asyncio.get_running_loop().call_later(STRANGER_SECONDS, transport.close)


class MetricsApi:
    """Everything that a request is answered with. `front_proxy` is exchanged when the cluster's is another."""

    def __init__(self, telling: Telling, requests: Requests, rights: Rights) -> None:
        self._telling = telling
        self._requests = requests
        self._rights = rights
        self.front_proxy = FrontProxy()

    def app(self) -> FastAPI:
        """As an ASGI application."""
        api = FastAPI(title="Weft metrics API", docs_url=None, redoc_url=None, openapi_url=None)

        @api.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
        async def everything(request: Request) -> Response:
            return await self._answered(request)

        return api

    async def _answered(self, request: Request) -> Response:
        try:
            document, kind = await self._answer(request)
        except RefusedError as error:
            return _said(documents.status(error.code, error.reason, error.message), error.code)
        except (ApiError, ApiUnavailable, TrafficError) as error:
            return _said(documents.status(503, "ServiceUnavailable", str(error)), 503)
        except Exception:
            log.exception("a question about traffic could not be answered", path=request.url.path)
            return _said(documents.status(500, "InternalError", "Weft failed to answer; its log says why"), 500)
        return Response(msgspec.json.encode(document), media_type=kind)

    async def _answer(self, request: Request) -> tuple[dict[str, Any], str]:
        path = request.url.path
        user = self.front_proxy.user(request.scope.get(CERTIFICATE), request.headers.items())
        if user is None:
            words = "a client certificate of the cluster's front proxy is needed, and a user that it asks for"
            raise RefusedError(401, "Unauthorized", words)
        question = asked(path)
        attributes = question.attributes() if question else {"path": path, "verb": request.method.lower()}
        if not await self._rights.allowed(user, attributes):
            what = f"{attributes['verb']} {attributes.get('resource') or path}"
            raise RefusedError(403, "Forbidden", f'User "{user.name}" cannot {what} in API group "{GROUP}"')
        if request.method not in {"GET", "HEAD"} or request.query_params.get("watch") in {"1", "true"}:
            raise RefusedError(405, "MethodNotAllowed", "traffic can be got and listed, nothing else")
        if question is not None:
            return await self._told(question, request.query_params), discovery.JSON
        found = discovery.discovered(path, request.headers.get("accept", ""))
        if found is None:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        return found

    async def _told(self, question: Asked, query: Mapping[str, str]) -> dict[str, Any]:
        span, selector = _window(query.get("t", "")), query.get("labelSelector", "")
        if query.get("fieldSelector"):
            raise RefusedError(400, "BadRequest", "field selectors are not supported; name the object in the path")
        chosen = await self._chosen(question, selector) if selector and not question.name else None
        answers = await self._telling.answers(span)
        rows = answers.resources(question.kind.plural)
        if question.name:
            return _one(question, answers, [row for row in rows if _is(question, row)])
        rows = [row for row in rows if not question.namespace or row.resource.namespace == question.namespace]
        if chosen is not None:
            rows = [row for row in rows if (row.resource.namespace, row.resource.name) in chosen]
        return documents.metrics_list(question, answers.traffic, rows, selector)

    async def _chosen(self, question: Asked, selector: str) -> set[tuple[str, str]]:
        """The names that a label selector selects, which the API server knows best."""
        collection = question.kind.collection or f"/apis/{self._telling.inventory().split_version}"
        where = f"/namespaces/{question.namespace}" if question.namespace else ""
        try:
            found = await self._requests.request(
                "GET", f"{collection}{where}/{question.kind.plural}", query={"labelSelector": selector}
            )
        except ApiError as error:
            if error.code == 400:
                raise RefusedError(400, "BadRequest", error.message) from None
            if error.code != 404:
                raise
            # The cluster has no such kind.
            return set()
        return {(item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in found.get("items") or ()}


def _one(question: Asked, answers: Answers, rows: list[Row]) -> dict[str, Any]:
    """One resource: its metrics or its edges. A split is a list, of its backends."""
    if not rows:
        words = (
            f'{question.kind.plural}.{GROUP} "{question.name}" not found: no meshed pod and no traffic is known of it'
        )
        raise RefusedError(404, "NotFound", words)
    if question.edges:
        return documents.metrics_list(question, answers.traffic, answers.edges_of(rows[0].resource))
    if question.kind.plural == SPLITS:
        return documents.metrics_list(question, answers.traffic, rows)
    return documents.metrics(question, answers.traffic, rows[0])


def _is(question: Asked, row: Row) -> bool:
    return row.resource == (question.kind.plural, question.namespace, question.name)


def _window(text: str) -> timedelta:
    try:
        return window(text) if text else DEFAULT_WINDOW
    except ValueError as error:
        raise RefusedError(400, "BadRequest", f"t: {error}") from None


def _said(document: dict[str, Any], code: int) -> Response:
    return Response(msgspec.json.encode(document), status_code=code, media_type=discovery.JSON)
