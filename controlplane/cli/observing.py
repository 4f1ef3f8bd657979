"""Options about what sidecars tell of requests: logs, traces, and whether they can be watched.

Rule: a collector that can't be understood is said at once, by `weft up` too, which only hands the options on.
"""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.output import fail
from xds.collector import Collector, Exporter, Traces, collector

TraceCollector = Annotated[
    str, typer.Option(help="Send traces to otlp://HOST:4317, otlp-http://HOST:4318 or zipkin://HOST:9411.")
]
TraceSampling = Annotated[
    float, typer.Option(help="Which percentage of requests without a trace begins one.", min=0.0, max=100.0)
]
LogCollector = Annotated[
    str, typer.Option(help="Send access logs to otlp://HOST:4317 instead of the sidecars' standard output.")
]
DEFAULT_SAMPLING = 1.0


def traces(url: str, percent: float) -> Traces | None:
    """What the options about traces say; ends the command where the URL is none."""
    return Traces(_collector("--trace-collector", url), percent) if url else None


def logs(url: str) -> Collector | None:
    """What the option about logs says; ends the command where the URL is none of OTLP over gRPC."""
    if not url:
        return None
    found = _collector("--log-collector", url)
    if found.exporter is not Exporter.OTLP:
        fail(f"--log-collector: {url!r} is not otlp://HOST:PORT", 2)
    return found


def handed_on(trace_collector: str, trace_sampling: float, log_collector: str) -> list[str]:
    """The same options again, for another process; ends the command where they are wrong."""
    traces(trace_collector, trace_sampling)
    logs(log_collector)
    traced = ["--trace-collector", trace_collector, "--trace-sampling", str(trace_sampling)] if trace_collector else []
    return traced + (["--log-collector", log_collector] if log_collector else [])


def _collector(option: str, url: str) -> Collector:
    try:
        return collector(url)
    except ValueError as error:
        fail(f"{option}: {error}", 2)
