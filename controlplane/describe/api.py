"""`GET /describe/…` and `GET /authz/…` of the admin API. Rule: read-only, of what is in force, in a thread of its own.

Looking through all objects takes milliseconds in a large mesh, and streams are served meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from controlplane.describe.pods import authz_view, pod_view, verdict_view
from controlplane.describe.questions import Question, QuestionError, understood
from controlplane.describe.scene import Scene, UnknownError
from controlplane.describe.services import service_view
from controlplane.status import Status
from mesh.paths import UnclearPathError
from mesh.settings import MeshSettings
from xds.server import ProxyStatus

Look = Callable[[Scene], dict[str, Any]]


def describe_routes(status: Status, proxies: Callable[[], list[ProxyStatus]], settings: MeshSettings) -> APIRouter:
    """GET /describe/pod, /describe/service, /authz and /verdict, each of NAMESPACE/NAME."""
    routes = APIRouter()

    async def answer(look: Look) -> dict[str, Any]:
        connected = {proxy.node: proxy for proxy in proxies()}
        scene = Scene(status.resources, status.mesh, settings, status.problems, connected)
        try:
            return await asyncio.to_thread(look, scene)
        except UnknownError as error:
            raise HTTPException(404, str(error)) from None
        except (QuestionError, UnclearPathError) as error:
            raise HTTPException(422, str(error)) from None

    @routes.get("/describe/pod/{namespace}/{name}")
    async def pod(namespace: str, name: str) -> dict[str, Any]:
        return await answer(partial(pod_view, namespace=namespace, name=name))

    @routes.get("/describe/service/{namespace}/{name}")
    async def service(namespace: str, name: str) -> dict[str, Any]:
        return await answer(partial(service_view, namespace=namespace, name=name))

    @routes.get("/authz/{namespace}/{name}")
    async def authz(namespace: str, name: str) -> dict[str, Any]:
        return await answer(partial(authz_view, namespace=namespace, name=name))

    @routes.get("/verdict/{namespace}/{name}")
    async def verdict(namespace: str, name: str, question: Annotated[Question, Query()]) -> dict[str, Any]:
        return await answer(lambda scene: _verdict(scene, (namespace, name), question))

    return routes


def _verdict(scene: Scene, named: tuple[str, str], question: Question) -> dict[str, Any]:
    asked = understood(scene, named, question)
    return verdict_view(scene, named, asked.caller, asked.port, asked.request)
