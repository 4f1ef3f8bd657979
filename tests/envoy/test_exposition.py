"""M3: what the metrics port makes of Envoy's statistics, in a real Envoy: names, labels, sums, the app's metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from exposition_text import read, select, total
from kube.workload import WorkloadName
from metrics_port import MetricsPort
from proxy.bootstrap import BootstrapSettings
from proxy.exposition import OWN, OWN_PATH

SETTINGS = BootstrapSettings(workload=WorkloadName("Deployment", "web-app"))
BOB = "spiffe://example.org/ns/bank/sa/bob"
EVE = "spiffe://example.org/ns/bank/sa/eve"


def histogram(side: str, count: int, **labels: str) -> str:
    """A histogram of requests of two milliseconds, as Envoy writes it."""
    known = ",".join(f'{name}="{value}"' for name, value in labels.items())
    name = f"envoy_weft_{side}_ms"
    return "".join(
        [
            f"# TYPE {name} histogram\n",
            f'{name}_bucket{{{known},le="1"}} 0\n',
            f'{name}_bucket{{{known},le="2.5"}} {count}\n',
            f'{name}_bucket{{{known},le="+Inf"}} {count}\n',
            f"{name}_sum{{{known}}} {2 * count}\n",
            f"{name}_count{{{known}}} {count}\n",
        ]
    )


def served(count: int, code: str = "200", peer: str = BOB, **labels: str) -> str:
    """Requests that were answered here."""
    return histogram(
        "inbound", count, **{"peer": peer, "port": "8080", "code": code, "grpc": "", "flags": "-"} | labels
    )


def called(count: int, code: str = "200", **labels: str) -> str:
    """Requests that were sent from here."""
    known = {"peer": BOB, "workload": "ledger", "service": "bank/ledger/80", "backend": "bank/ledger-v2/80"}
    return histogram("outbound", count, **known | {"code": code, "grpc": "", "flags": "-"} | labels)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetricsPort]:
    with MetricsPort(tmp_path_factory.mktemp("metrics"), SETTINGS) as running:
        yield running


@pytest.mark.parametrize(
    ("all_of_them", "good", "latency"),
    [
        (
            'istio_requests_total{reporter="destination",destination_workload_namespace="shop",'
            'destination_workload=~"web-app"}',
            'istio_requests_total{reporter="destination",destination_workload_namespace="shop",'
            'destination_workload=~"web-app",response_code!~"5.*"}',
            'istio_request_duration_milliseconds_bucket{reporter="destination",'
            'destination_workload_namespace="shop",destination_workload=~"web-app"}',
        ),
        (
            'response_total{namespace="shop",deployment=~"web-app",direction="inbound"}',
            'response_total{namespace="shop",deployment=~"web-app",classification!="failure",direction="inbound"}',
            'response_latency_ms_bucket{namespace="shop",deployment=~"web-app",direction="inbound"}',
        ),
        (
            'osm_request_total{destination_namespace="shop",destination_kind="Deployment",destination_name="web-app"}',
            'osm_request_total{destination_namespace="shop",destination_kind="Deployment",destination_name="web-app",'
            'response_code!~"5.*"}',
            'osm_request_duration_ms_bucket{destination_namespace="shop",destination_kind="Deployment",'
            'destination_name="web-app"}',
        ),
    ],
    ids=["istio", "linkerd", "osm"],
)
def test_m3_flaggers_label_matchers_find_the_requests(
    port: MetricsPort, all_of_them: str, good: str, latency: str
) -> None:
    port.statistics.text = served(7) + served(2, "404") + served(1, "503") + called(100)
    series = read(port.scrape())
    assert total(series, all_of_them) == 10
    assert total(series, good) == 9
    found = {limit: total(series, f'{latency[:-1]},le="{limit}"}}') for limit in ("1", "2.5", "+Inf")}
    assert found == {"1": 0, "2.5": 10, "+Inf": 10}


def test_m3_callers_that_a_name_has_no_label_for_are_one_series(port: MetricsPort) -> None:
    port.statistics.text = served(3) + served(4, peer=EVE)
    series = read(port.scrape())
    assert [each.value for each in select(series, "osm_request_total")] == [7]
    assert total(series, "osm_request_duration_ms_sum") == 14
    assert {each.labels["client_id"]: each.value for each in select(series, "response_total")} == {BOB: 3, EVE: 4}


def test_a_caller_without_certificate_is_unknown(port: MetricsPort) -> None:
    port.statistics.text = served(1, peer="")
    (found,) = select(read(port.scrape()), "istio_requests_total")
    assert found.labels["source_principal"] == found.labels["source_workload_namespace"] == "unknown"
    assert found.labels["connection_security_policy"] == "none"


def test_the_caller_tells_whom_it_asked_and_who_answered(port: MetricsPort) -> None:
    port.statistics.text = called(5)
    (found,) = select(read(port.scrape()), 'istio_requests_total{reporter="source"}')
    assert found.value == 5
    assert (
        found.labels.items()
        >= {
            "source_workload": "web-app",
            "source_workload_namespace": "shop",
            "source_principal": "spiffe://example.org/ns/shop/sa/web-sa",
            "destination_workload": "ledger",
            "destination_workload_namespace": "bank",
            "destination_principal": BOB,
            "requested_service": "ledger.bank.svc.cluster.local",
            "destination_service": "ledger-v2.bank.svc.cluster.local",
            "request_protocol": "http",
        }.items()
    )


def test_a_grpc_call_that_failed_is_a_failure_though_its_code_is_200(port: MetricsPort) -> None:
    port.statistics.text = served(2, grpc="14") + served(3, grpc="0") + served(1, grpc="5")
    series = read(port.scrape())
    assert total(series, 'response_total{classification="failure"}') == 2
    assert total(series, 'istio_requests_total{request_protocol="grpc",grpc_response_status="14"}') == 2


def test_a_caller_that_left_before_the_answer_is_a_failure(port: MetricsPort) -> None:
    port.statistics.text = served(2, "0", flags="DC")
    assert total(read(port.scrape()), 'response_total{classification="failure"}') == 2


def test_connections_are_told_by_their_bytes(port: MetricsPort) -> None:
    labels = f'{{peer="{BOB}",port="9000",flags="-"}}'
    port.statistics.text = "".join(
        f"# TYPE envoy_weft_inbound_tcp_{what} counter\nenvoy_weft_inbound_tcp_{what}{labels} {value}\n"
        for what, value in (("opened", 3), ("closed", 2), ("sent_bytes", 100), ("received_bytes", 50))
    )
    series = read(port.scrape())
    tcp = 'istio_tcp_{}{{reporter="destination",destination_workload="web-app",request_protocol="tcp"}}'
    told = ("connections_opened_total", "connections_closed_total", "sent_bytes_total", "received_bytes_total")
    assert [total(series, tcp.format(what)) for what in told] == [3, 2, 100, 50]


def test_what_envoy_counts_itself_stays_and_our_own_raw_series_go(port: MetricsPort) -> None:
    port.statistics.text = "# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n" + served(1)
    text = port.scrape()
    assert total(read(text), "envoy_server_live") == 1
    assert "envoy_weft_" not in text


def test_it_asks_envoy_for_text_whatever_a_scraper_prefers(port: MetricsPort) -> None:
    port.statistics.text = served(1)
    port.statistics.asked.clear()
    port.scrape({"accept": "application/vnd.google.protobuf", "accept-encoding": "gzip"})
    ((path, headers),) = port.statistics.asked
    assert path == "/stats/prometheus?usedonly"
    assert not headers.keys() & {"accept", "accept-encoding"}


def test_the_apps_metrics_are_told_too(tmp_path: Path) -> None:
    with MetricsPort(tmp_path, SETTINGS, app=True) as port:
        port.statistics.text = served(1)
        port.app.text = '# TYPE orders counter\norders_total{kind="book"} 12\n'
        series = read(port.scrape())
        assert port.app.asked[0][0] == "/own"
        assert total(series, 'orders_total{kind="book"}') == 12
        assert total(series, "weft_app_metrics_up") == 1
        assert total(series, "osm_request_total") == 1


def test_an_app_that_tells_nothing_hides_nothing_else(tmp_path: Path) -> None:
    with MetricsPort(tmp_path, SETTINGS, app=True) as port:
        port.statistics.text = served(1)
        series = read(port.scrape())
        assert total(series, "weft_app_metrics_up") == 0
        assert total(series, "osm_request_total") == 1


def test_who_asks_often_is_told_our_counts_alone_and_under_one_name(tmp_path: Path) -> None:
    with MetricsPort(tmp_path, SETTINGS, app=True) as port:
        port.statistics.text = served(3) + "# TYPE envoy_server_uptime gauge\nenvoy_server_uptime{} 12\n"
        series = read(port.scrape(path=OWN_PATH))
        assert port.app.asked == []
        (asked,) = port.statistics.asked
        assert parse_qs(urlsplit(asked[0]).query, keep_blank_values=True) == {"usedonly": [""], "filter": [OWN]}
        assert {each.name.rpartition("_")[0] for each in series} == {
            "istio_request_duration_milliseconds", "envoy_server"
        }  # fmt: skip
        assert total(series, "istio_request_duration_milliseconds_count") == 3
        assert "osm_request_total" in port.scrape(), "the other path tells all names as before"
