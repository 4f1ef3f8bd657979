"""Collectors as people write them."""

from __future__ import annotations

import pytest

from xds.collector import Collector, Exporter, collector


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("otlp://traces.monitoring", Collector(Exporter.OTLP, "traces.monitoring", 4317)),
        ("otlp://10.0.0.7:14317/", Collector(Exporter.OTLP, "10.0.0.7", 14317)),
        ("otlp-http://[fd00::7]", Collector(Exporter.OTLP_HTTP, "fd00::7", 4318, "/v1/traces")),
        ("otlp-http://host:80/otlp/v1/traces", Collector(Exporter.OTLP_HTTP, "host", 80, "/otlp/v1/traces")),
        ("zipkin://jaeger", Collector(Exporter.ZIPKIN, "jaeger", 9411, "/api/v2/spans")),
    ],
)
def test_a_collector_is_a_url(text: str, wanted: Collector) -> None:
    assert collector(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "traces:4317", "http://host:4318", "otlp://", "otlp://host:port", "otlp://host:99999", "otlp://host/path",
     "zipkin://host/?key=secret", "otlp://user@host"],
)  # fmt: skip
def test_what_is_none_is_a_mistake_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"no collector|has no path"):
        collector(text)


def test_an_authority_has_brackets_where_a_url_needs_them() -> None:
    assert Collector(Exporter.OTLP, "fd00::7", 4317).authority == "[fd00::7]:4317"
    assert Collector(Exporter.OTLP, "host", 4317).authority == "host:4317"
