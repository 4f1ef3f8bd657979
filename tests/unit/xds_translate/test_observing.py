"""What observing adds to what sidecars are told, and that it adds nothing unless it is wanted."""

from __future__ import annotations

import shop_mesh as shop
from xds.collector import Traces, collector
from xds.names import TAP, TAP_SWITCH
from xds.resource import CLUSTER, LISTENER
from xds.snapshot import World
from xds.translate.collectors import LOGS, TRACES
from xds.translate.observing import Observing
from xds.translate.world import TranslateSettings, Translator


def world(observing: Observing | None = None) -> World:
    settings = TranslateSettings(observing=observing) if observing is not None else TranslateSettings()
    return Translator(settings).translate(shop.shop(), "bundle")


def listeners(made: World) -> dict[tuple[str, str], bytes]:
    return {
        (role, name): resource.body
        for role, snapshot in made.roles.items()
        for name, resource in snapshot.resources[LISTENER].items()
    }


def test_without_it_nothing_of_it_is_there() -> None:
    words = [word.encode() for word in (TAP, TAP_SWITCH, TRACES, LOGS, "opentelemetry", "zipkin")]
    assert not [name for name, body in listeners(world()).items() for word in words if word in body]


def test_every_listener_that_sees_requests_can_be_watched_and_is_200_bytes_longer_for_it() -> None:
    plain, watched = listeners(world()), listeners(world(Observing(tap=True)))
    seeing = {name for name, body in plain.items() if b"http_connection_manager" in body}
    assert seeing
    assert all(TAP_SWITCH.encode() in watched[name] for name in seeing)
    longer = [
        len(watched[role, name]) - len(plain[role, name]) for role, name in seeing if name.startswith("outbound/")
    ]
    assert longer
    assert max(longer) <= 200


def test_collectors_are_clusters_of_every_sidecar() -> None:
    both = Observing(traces=Traces(collector("zipkin://10.0.0.7")), logs=collector("otlp://logs.monitoring"))
    for snapshot in world(both).roles.values():
        assert {TRACES, LOGS} <= snapshot.resources[CLUSTER].keys()


def test_logs_that_go_to_a_collector_do_not_go_to_standard_output_too() -> None:
    for name, body in listeners(world(Observing(logs=collector("otlp://10.0.0.7")))).items():
        assert b"StdoutAccessLog" not in body, name
