"""The webhook's HTTP API: the API server posts questions, and they are answered.

Rule: a question that can't be understood is answered 400 with words, and a mistake of ours 500, so that the API
server's fail policy decides and nobody takes silence for a yes. No answer depends on an earlier question.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import ClientDisconnect

from kube.client import ApiError, ApiUnavailable
from kube.objects import RawDocument
from webhook.decision import NamespaceView
from webhook.metrics import WebhookMetrics
from webhook.review import AdmissionRequest, Outcome, Reviewed, ReviewError, admission_request, review
from webhook.settings import InjectorSettings

log = structlog.get_logger(__name__)

SMALL: Final = 16 * 1024 * 1024
"""Bytes in one AdmissionReview: the API server takes objects of up to 3 MiB, and sends the old one too."""

LARGE: Final = 64 * 1024 * 1024
"""Bytes in one ConversionReview, which holds all objects of a list."""

MOST_VALUES: Final = 1_500_000
"""Values in one question: decoded they take up to a hundred times the memory of their few bytes (`[],[],…`)."""

LIGHT: Final = 1024 * 1024
"""Bytes of a question for which nobody waits. Longer ones are taken one at a time: whoever gets here may ask."""

CONVERSION_API_VERSION: Final = "apiextensions.k8s.io/v1"

BODY_SECONDS: Final = 20.0
"""How long a question may take to arrive."""

Review = Callable[[dict[str, Any]], RawDocument]
"""A whole review, decoded, to its answer. Raises ReviewError for what is none."""


@dataclass(slots=True)
class State:
    """`leaving` is set while the process still answers and wants no more questions. `heavy` is for long ones."""

    leaving: bool = False
    heavy: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the API answers with. `namespace` looks up where other meshes' marks are read; None where they are not."""

    injector: InjectorSettings
    validate: Review
    convert: Review
    namespace: Callable[[str], Awaitable[NamespaceView]] | None = None
    metrics: WebhookMetrics = field(default_factory=WebhookMetrics)
    state: State = field(default_factory=State)


class _RefusedError(Exception):
    """Answered with this status and these words."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


def webhook_api(parts: Parts) -> FastAPI:
    """The API as an ASGI application."""
    api = FastAPI(title="Weft webhook", docs_url=None, redoc_url=None, openapi_url=None)

    @api.post("/inject")
    async def inject(request: Request) -> Response:
        return await _answered(parts, request, "inject", SMALL, lambda document: _inject(parts, document))

    @api.post("/inject/marks")
    async def inject_marks(request: Request) -> Response:
        return await _answered(parts, request, "inject-marks", SMALL, lambda document: _inject_marks(parts, document))

    @api.post("/validate")
    async def validate(request: Request) -> Response:
        return await _answered(parts, request, "validate", SMALL, lambda document: _validated(parts, document))

    @api.post("/convert")
    async def convert(request: Request) -> Response:
        return await _answered(parts, request, "convert", LARGE, lambda document: _converted(parts, document))

    @api.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/readyz")
    async def readyz(response: Response) -> dict[str, str | bool]:
        response.status_code = 503 if parts.state.leaving else 200
        return {"ready": not parts.state.leaving, "why": "it is shutting down" if parts.state.leaving else ""}

    @api.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(parts.metrics.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return api


_Answer = Callable[[dict[str, Any]], Awaitable[tuple[RawDocument, str]]]
"""A decoded question to its answer and, for the metrics, its outcome."""


async def _answered(parts: Parts, request: Request, path: str, limit: int, answer: _Answer) -> Response:
    """Read, answer, count."""
    # A connection that is kept would lead the next question here, to a process that ends.
    headers = {"connection": "close"} if parts.state.leaving else {}
    outcome = "bad-request"
    try:
        async with AsyncExitStack() as turn:
            body = await _body(request, limit, partial(turn.enter_async_context, parts.state.heavy))
            started = time.perf_counter()
            document, outcome = await answer(await asyncio.to_thread(_decoded, body))
            content = await asyncio.to_thread(msgspec.json.encode, document)
        parts.metrics.seconds.labels(path).observe(time.perf_counter() - started)
        return Response(content, media_type="application/json", headers=headers)
    except (_RefusedError, ReviewError) as error:
        code = error.code if isinstance(error, _RefusedError) else 400
        return _words(code, str(error), headers)
    except ClientDisconnect:
        return _words(400, "the body did not arrive", headers)
    except RecursionError:
        return _words(400, "the body is nested too deeply", headers)
    except (ApiError, ApiUnavailable) as error:
        outcome = "error"
        log.warning("the namespace could not be read", path=path, error=str(error))
        return _words(503, "the pod's namespace could not be read", headers)
    except Exception:
        outcome = "error"
        log.exception("a question could not be answered", path=path)
        return _words(500, "Weft failed to answer; its log says why", headers)
    finally:
        parts.metrics.reviews.labels(path, outcome).inc()


async def _inject(parts: Parts, document: dict[str, Any]) -> tuple[RawDocument, str]:
    """For pods that the API server's selectors chose by our labels."""
    request = admission_request(document)
    return await _reviewed(parts, request, NamespaceView(request.namespace), selected=True)


async def _inject_marks(parts: Parts, document: dict[str, Any]) -> tuple[RawDocument, str]:
    """For pods that perhaps another mesh's mark enrols: selectors can't see annotations."""
    request = admission_request(document)
    namespace = NamespaceView(request.namespace)
    if parts.namespace is not None and request.namespace:
        namespace = await parts.namespace(request.namespace)
    return await _reviewed(parts, request, namespace, selected=False)


async def _reviewed(
    parts: Parts, request: AdmissionRequest, namespace: NamespaceView, *, selected: bool
) -> tuple[RawDocument, str]:
    done: Reviewed = await asyncio.to_thread(review, request, namespace, parts.injector, selected=selected)
    say = log.debug if done.outcome is Outcome.LEFT_ALONE else log.info
    say("pod", namespace=request.namespace, pod=request.called, outcome=str(done.outcome), reason=done.reason)
    return done.document, str(done.outcome)


async def _validated(parts: Parts, document: dict[str, Any]) -> tuple[RawDocument, str]:
    admission_request(document)
    answer = await asyncio.to_thread(parts.validate, document)
    return answer, "answered" if answer["response"]["allowed"] else "refused"


async def _converted(parts: Parts, document: dict[str, Any]) -> tuple[RawDocument, str]:
    if document.get("kind") != "ConversionReview" or document.get("apiVersion") != CONVERSION_API_VERSION:
        raise ReviewError(f"this is no ConversionReview of {CONVERSION_API_VERSION}")
    if not isinstance(document.get("request"), dict):
        raise ReviewError("its request is missing")
    answer = await asyncio.to_thread(parts.convert, document)
    return answer, "answered" if answer["response"]["result"]["status"] == "Success" else "refused"


def _decoded(body: bytes) -> dict[str, Any]:
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise _RefusedError(413, f"the body has more than {MOST_VALUES} values")
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _RefusedError(400, f"the body is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise _RefusedError(400, "the body is no JSON object")
    return document


async def _body(request: Request, limit: int, turn: Callable[[], Awaitable[object]]) -> bytes:
    """The whole body, if it is JSON by its own word, not too long and not too slow; a long one waits for its `turn`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _RefusedError(415, "Content-Type must be application/json")
    too_long = _RefusedError(413, f"the body is longer than {limit} bytes")
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > limit:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                if len(body) <= LIGHT < len(body) + len(chunk):
                    await turn()
                body += chunk
                if len(body) > limit:
                    raise too_long
    except TimeoutError:
        raise _RefusedError(408, f"the body did not arrive within {BODY_SECONDS:.0f} s") from None
    return bytes(body)


def _words(code: int, words: str, headers: Mapping[str, str]) -> Response:
    return Response(f"{words}\n", status_code=code, media_type="text/plain", headers=dict(headers))
