"""The admin API's answers about traffic, for `weft stat`, `weft edges` and `weft top`.

Rule: what can't be understood is a 400 with a sentence, what can't be known just now a 503.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from controlplane.traffic.answers import Answers, Row
from controlplane.traffic.facts import DEFAULT_WINDOW, LONGEST_WINDOW, Series, TrafficError
from controlplane.traffic.kinds import KINDS, WORKLOADS, Kind, Resource, kind_of
from controlplane.traffic.telling import Telling
from controlplane.traffic.view import rows_view

Seconds = Annotated[float, Query(gt=0, le=LONGEST_WINDOW.total_seconds())]
DEFAULT = DEFAULT_WINDOW.total_seconds()


def traffic_routes(telling: Telling) -> APIRouter:
    """The routes below /traffic."""
    routes = APIRouter(prefix="/traffic")

    @routes.get("/stat")
    async def stat(
        kind: str = "deployments", namespace: str = "", name: str = "", caller: str = "", called: str = "",
        window: Seconds = DEFAULT,
    ) -> dict[str, Any]:  # fmt: skip
        wanted = _kind(kind)
        answers = await _answers(telling, window)
        rows = _rows(answers, wanted, _named(caller, namespace), _named(called, namespace))
        return rows_view(answers, [row for row in rows if _fits(row.resource, namespace, name)])

    @routes.get("/edges")
    async def edges(kind: str = "deployments", namespace: str = "", window: Seconds = DEFAULT) -> dict[str, Any]:
        wanted = _kind(kind)
        if wanted.plural not in {"namespaces", "services", *WORKLOADS}:
            raise HTTPException(400, f"edges are told of workloads, services and namespaces, not of {wanted.plural}")
        answers = await _answers(telling, window)
        rows = answers.edges(wanted.plural)
        return rows_view(
            answers,
            [
                row
                for row in rows
                if _fits(row.resource, namespace, "") or (row.peer and _fits(row.peer, namespace, ""))
            ],
        )

    return routes


async def _answers(telling: Telling, window: float) -> Answers:
    try:
        return await telling.answers(timedelta(seconds=window))
    except TrafficError as error:
        raise HTTPException(503, str(error)) from None


def _rows(answers: Answers, kind: Kind, caller: Resource | None, called: Resource | None) -> Iterable[Row]:
    if caller is None and called is None:
        return answers.resources(kind.plural)
    if kind.plural == "trafficsplits":
        raise HTTPException(400, "traffic of splits can't be told by caller; ask for the Services")

    def chosen(series: Series) -> bool:
        from_caller = caller is None or caller in answers.inventory.owners_of(series.pod)
        return from_caller and (called is None or called in answers.called(series))

    return answers.received(kind.plural, chosen) if called is None else answers.outgoing(kind.plural, chosen)


def _kind(word: str) -> Kind:
    kind = kind_of(word)
    if kind is None:
        raise HTTPException(400, f"{word!r} is no kind; these are: {', '.join(KINDS)}")
    return kind


def _named(text: str, namespace: str) -> Resource | None:
    """`KIND/NAME` or `KIND/NAMESPACE/NAME`; None of nothing."""
    if not text:
        return None
    word, _, rest = text.partition("/")
    kind = _kind(word)
    at, slash, name = rest.rpartition("/")
    if not name or (kind.namespaced and not (at or namespace)) or (slash and not kind.namespaced):
        raise HTTPException(400, f"{text!r} must be KIND/NAME with a namespace, or KIND/NAMESPACE/NAME")
    return Resource(kind.plural, (at or namespace) if kind.namespaced else "", name)


def _fits(resource: Resource, namespace: str, name: str) -> bool:
    at = resource.name if resource.kind == "namespaces" else resource.namespace
    return (not namespace or not at or at == namespace) and (not name or resource.name == name)
