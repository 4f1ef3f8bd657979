"""Traces: a span for each request in each sidecar, sent to the operator's collector.

Rule: who is traced is the caller's choice where it says so (W3C `traceparent`, with Zipkin B3 too), else a percentage's
(docs/decisions/0121). Nothing here depends on the workload: its name comes from the environment of its sidecar.
"""

from __future__ import annotations

from typing import Final

from xds import pb
from xds.collector import Exporter, Traces
from xds.translate.collectors import TRACES
from xds.translate.observing import Observing

LONGEST_PATH: Final = 256
TIMEOUT: Final = 5
"""Seconds a collector may take for what it is sent; then it is lost."""
_DETECTOR: Final = "envoy.tracers.opentelemetry.resource_detectors.environment"
_SAMPLERS: Final = "envoy.tracers.opentelemetry.samplers"
_TAGS: Final = {"k8s.namespace.name": "POD_NAMESPACE", "k8s.pod.name": "POD_NAME"}
"""Of each span: what the injector puts into the sidecar's environment. OTLP has them on its resource, too."""


def add(manager: pb.HttpConnectionManager, observing: Observing) -> None:
    """Have this connection manager make spans, where that is wanted."""
    if observing.traces is None:
        return
    tracing = manager.tracing
    tracing.provider.CopyFrom(_provider(observing.traces))
    # Nobody can ask for a trace by Envoy's own header x-client-trace-id.
    tracing.client_sampling.value = 0
    tracing.overall_sampling.value = 100
    tracing.max_path_tag_length.value = LONGEST_PATH
    for tag, variable in _TAGS.items():
        tracing.custom_tags.append(pb.CustomTag(tag=tag, environment=pb.CustomTag.Environment(name=variable)))
    request_id = pb.UuidRequestIdConfig(pack_trace_reason=_no())
    if observing.traces.collector.exporter is Exporter.ZIPKIN:
        # Drawn from x-request-id, so both sidecars draw the same: it is made where the app sends none, and one that the
        # app sends stays as it is.
        tracing.random_sampling.value = observing.traces.percent
        manager.generate_request_id.value = True
    else:
        # The tracer's own sampler decides.
        request_id.use_request_id_for_trace_sampling.CopyFrom(_no())
    manager.request_id_extension.typed_config.CopyFrom(pb.packed(request_id))


def _provider(traces: Traces) -> pb.TracingProvider:
    collector = traces.collector
    if collector.exporter is Exporter.ZIPKIN:
        zipkin = pb.ZipkinConfig(
            collector_cluster=TRACES,
            collector_endpoint=collector.path,
            collector_hostname=collector.authority,
            collector_endpoint_version=pb.ZipkinConfig.HTTP_JSON,
            trace_context_option=pb.ZipkinConfig.USE_B3_WITH_W3C_PROPAGATION,
            trace_id_128bit=True,
            # Each sidecar's span is its own, as in OpenTelemetry.
            shared_span_context=_no(),
        )
        return pb.TracingProvider(name="envoy.tracers.zipkin", typed_config=pb.packed(zipkin))
    otlp = pb.OpenTelemetryConfig()
    if collector.exporter is Exporter.OTLP:
        otlp.grpc_service.envoy_grpc.cluster_name = TRACES
        otlp.grpc_service.timeout.CopyFrom(pb.seconds(TIMEOUT))
    else:
        uri = otlp.http_service.http_uri
        uri.uri, uri.cluster = f"http://{collector.authority}{collector.path}", TRACES
        uri.timeout.CopyFrom(pb.seconds(TIMEOUT))
    detector = pb.packed(pb.EnvironmentResourceDetectorConfig())
    otlp.resource_detectors.add(name=_DETECTOR, typed_config=detector)
    otlp.sampler.CopyFrom(_sampler(traces.percent))
    return pb.TracingProvider(name="envoy.tracers.opentelemetry", typed_config=pb.packed(otlp))


def _sampler(percent: float) -> pb.TypedExtensionConfig:
    """As the caller says in `traceparent`, else this percentage of the traces that begin here."""
    ratio = pb.TraceIdRatioBasedSamplerConfig()
    ratio.sampling_percentage.numerator = round(percent * 10_000)
    ratio.sampling_percentage.denominator = pb.FractionalPercent.MILLION
    begins = pb.TypedExtensionConfig(name=f"{_SAMPLERS}.trace_id_ratio_based", typed_config=pb.packed(ratio))
    parent = pb.ParentBasedSamplerConfig(wrapped_sampler=begins)
    return pb.TypedExtensionConfig(name=f"{_SAMPLERS}.parent_based", typed_config=pb.packed(parent))


def _no() -> pb.BoolValue:
    return pb.BoolValue(value=False)
