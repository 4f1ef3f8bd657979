"""The bootstrap document and Envoy's arguments, as far as they can be judged without an Envoy."""

from __future__ import annotations

import json
from typing import Any

from proxy import ports
from proxy.bootstrap import POD_IP, BootstrapSettings, arguments, bootstrap
from proxy.probes import AskHttp, AskTcp, Probe


def ports_listened_on(document: dict[str, Any]) -> dict[str, tuple[str, int]]:
    listeners = document["static_resources"]["listeners"]
    found = {listener["name"]: listener["address"]["socket_address"] for listener in listeners}
    found["admin"] = document["admin"]["address"]["socket_address"]
    return {name: (address["address"], address["port_value"]) for name, address in found.items()}


def test_admin_is_on_loopback_and_the_rest_on_the_pods_address() -> None:
    assert ports_listened_on(bootstrap(BootstrapSettings())) == {
        "admin": ("127.0.0.1", ports.ADMIN),
        "health": (POD_IP, ports.HEALTH),
        "metrics": (POD_IP, ports.METRICS),
    }


def test_configuration_comes_by_delta_and_is_waited_for() -> None:
    dynamic = bootstrap(BootstrapSettings())["dynamic_resources"]
    assert dynamic["ads_config"]["api_type"] == "DELTA_GRPC"
    assert dynamic["ads_config"]["set_node_on_first_message_only"] is True
    assert [dynamic[name]["initial_fetch_timeout"] for name in ("cds_config", "lds_config")] == ["0s", "0s"]


def test_a_dollar_in_what_a_person_wrote_reaches_envoy_as_it_is() -> None:
    settings = BootstrapSettings(probes=(Probe("/probe/web/readiness", AskHttp(80, "/$(HOME)/$$/$")),))
    text = arguments(settings)[1]
    assert "/$$(HOME)/$$$$/$$" in text
    assert text.replace("$$", "").count("$(") == text.count(f'"{POD_IP}"') == 3


def test_the_same_question_of_several_probes_is_one_cluster() -> None:
    probes = (Probe("/a", AskHttp(80, "/a")), Probe("/b", AskHttp(80, "/b")), Probe("/c", AskTcp(80)))
    clusters = bootstrap(BootstrapSettings(probes=probes))["static_resources"]["clusters"]
    assert [cluster["name"] for cluster in clusters] == ["admin", "weft-tap", "probe-http-80", "probe-tcp-80"]


def test_the_document_is_plain_json() -> None:
    document = bootstrap(BootstrapSettings(mark=1, heap_bytes=10**8, probes=(Probe("/a", AskTcp(80)),)))
    assert json.loads(json.dumps(document)) == document
