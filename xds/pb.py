"""Envoy's messages by name: the only module that knows where the generated classes are.

Rule: everything else says `from xds import pb`. A message that is missing here is added to xds/protos.txt and below.
Where Envoy uses one name twice, the rarer one carries a prefix.
"""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BoolValue, StringValue, UInt32Value

from xds._pb.envoy.config.accesslog.v3.accesslog_pb2 import (
    AccessLog,
    AccessLogFilter,
    AndFilter,
    ExtensionFilter,
    LogTypeFilter,
    ResponseFlagFilter,
)
from xds._pb.envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from xds._pb.envoy.config.cluster.v3.cluster_pb2 import Cluster, UpstreamConnectionOptions
from xds._pb.envoy.config.core.v3.address_pb2 import (
    Address,
    BindConfig,
    CidrRange,
    ExtraSourceAddress,
    SocketAddress,
    TcpKeepalive,
)
from xds._pb.envoy.config.core.v3.base_pb2 import (
    DataSource,
    Metadata,
    RequestMethod,
    TrafficDirection,
    TransportSocket,
)
from xds._pb.envoy.config.core.v3.config_source_pb2 import (
    AggregatedConfigSource,
    ApiConfigSource,
    ApiVersion,
    ConfigSource,
    ExtensionConfigSource,
)
from xds._pb.envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from xds._pb.envoy.config.core.v3.grpc_service_pb2 import GrpcService
from xds._pb.envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions
from xds._pb.envoy.config.core.v3.socket_option_pb2 import SocketOption
from xds._pb.envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from xds._pb.envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from xds._pb.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from xds._pb.envoy.config.listener.v3.listener_components_pb2 import (
    Filter,
    FilterChain,
    FilterChainMatch,
    ListenerFilter,
)
from xds._pb.envoy.config.listener.v3.listener_pb2 import AdditionalAddress, Listener
from xds._pb.envoy.config.rbac.v3.rbac_pb2 import RBAC, Permission, Policy, Principal
from xds._pb.envoy.config.route.v3.route_components_pb2 import (
    DirectResponseAction,
    HeaderMatcher,
    RetryPolicy,
    Route,
    RouteAction,
    RouteMatch,
    VirtualHost,
    WeightedCluster,
)
from xds._pb.envoy.config.route.v3.route_pb2 import RouteConfiguration
from xds._pb.envoy.config.trace.v3.http_tracer_pb2 import Tracing as _Tracing
from xds._pb.envoy.config.trace.v3.opentelemetry_pb2 import OpenTelemetryConfig
from xds._pb.envoy.config.trace.v3.zipkin_pb2 import ZipkinConfig
from xds._pb.envoy.data.accesslog.v3.accesslog_pb2 import (
    AccessLogCommon,
    HTTPAccessLogEntry,
    HTTPResponseProperties,
    TCPAccessLogEntry,
)
from xds._pb.envoy.extensions.access_loggers.filters.cel.v3.cel_pb2 import ExpressionFilter
from xds._pb.envoy.extensions.access_loggers.grpc.v3.als_pb2 import (
    CommonGrpcAccessLogConfig,
    HttpGrpcAccessLogConfig,
    TcpGrpcAccessLogConfig,
)
from xds._pb.envoy.extensions.access_loggers.open_telemetry.v3.logs_service_pb2 import OpenTelemetryAccessLogConfig
from xds._pb.envoy.extensions.access_loggers.stream.v3.stream_pb2 import StdoutAccessLog
from xds._pb.envoy.extensions.clusters.dynamic_forward_proxy.v3.cluster_pb2 import ClusterConfig as DynamicForwardProxy
from xds._pb.envoy.extensions.common.dynamic_forward_proxy.v3.dns_cache_pb2 import DnsCacheConfig
from xds._pb.envoy.extensions.filters.http.dynamic_forward_proxy.v3.dynamic_forward_proxy_pb2 import (
    FilterConfig as HttpNameLookup,
)
from xds._pb.envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC as HttpRBAC  # noqa: N811 - a class
from xds._pb.envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBACPerRoute
from xds._pb.envoy.extensions.filters.http.router.v3.router_pb2 import Router
from xds._pb.envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from xds._pb.envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst
from xds._pb.envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from xds._pb.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
    LocalReplyConfig,
    Rds,
    ResponseMapper,
)
from xds._pb.envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.sni_dynamic_forward_proxy_pb2 import (
    FilterConfig as SniNameLookup,
)
from xds._pb.envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy, UpstreamConnectMode
from xds._pb.envoy.extensions.matching.common_inputs.network.v3.network_inputs_pb2 import (
    ApplicationProtocolInput,
    DestinationIPInput,
    DestinationPortInput,
    ServerNameInput,
    TransportProtocolInput,
)
from xds._pb.envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import CaresDnsResolverConfig
from xds._pb.envoy.extensions.request_id.uuid.v3.uuid_pb2 import UuidRequestIdConfig
from xds._pb.envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from xds._pb.envoy.extensions.tracers.opentelemetry.resource_detectors.v3.environment_resource_detector_pb2 import (
    EnvironmentResourceDetectorConfig,
)
from xds._pb.envoy.extensions.tracers.opentelemetry.samplers.v3.parent_based_sampler_pb2 import (
    ParentBasedSamplerConfig,
)
from xds._pb.envoy.extensions.tracers.opentelemetry.samplers.v3.trace_id_ratio_based_sampler_pb2 import (
    TraceIdRatioBasedSamplerConfig,
)
from xds._pb.envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer
from xds._pb.envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
    TlsCertificate,
    TlsParameters,
)
from xds._pb.envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig, Secret
from xds._pb.envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
    UpstreamTlsContext,
)
from xds._pb.envoy.extensions.transport_sockets.tls.v3.tls_spiffe_validator_config_pb2 import SPIFFECertValidatorConfig
from xds._pb.envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import (
    HttpProtocolOptions as UpstreamHttpOptions,
)
from xds._pb.envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from xds._pb.envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
    Resource,
)
from xds._pb.envoy.service.runtime.v3.rtds_pb2 import Runtime
from xds._pb.envoy.type.matcher.v3.path_pb2 import PathMatcher
from xds._pb.envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from xds._pb.envoy.type.matcher.v3.string_pb2 import StringMatcher
from xds._pb.envoy.type.tracing.v3.custom_tag_pb2 import CustomTag
from xds._pb.envoy.type.v3.percent_pb2 import FractionalPercent
from xds._pb.xds.core.v3.cidr_pb2 import CidrRange as XdsCidrRange
from xds._pb.xds.core.v3.extension_pb2 import TypedExtensionConfig as XdsExtension
from xds._pb.xds.type.matcher.v3.ip_pb2 import IPMatcher
from xds._pb.xds.type.matcher.v3.matcher_pb2 import Matcher
from xds._pb.xds.type.matcher.v3.string_pb2 import StringMatcher as XdsStringMatcher
from xds.stats_logger import StatsConfig

__all__ = [
    "RBAC",
    "AccessLog",
    "AccessLogCommon",
    "AccessLogFilter",
    "AdditionalAddress",
    "Address",
    "AggregatedConfigSource",
    "AndFilter",
    "Any",
    "ApiConfigSource",
    "ApiVersion",
    "ApplicationProtocolInput",
    "BindConfig",
    "BoolValue",
    "CaresDnsResolverConfig",
    "CertificateValidationContext",
    "CidrRange",
    "CircuitBreakers",
    "Cluster",
    "ClusterLoadAssignment",
    "CommonGrpcAccessLogConfig",
    "CommonTlsContext",
    "ConfigSource",
    "CustomTag",
    "DataSource",
    "DecodeError",
    "DeltaDiscoveryRequest",
    "DeltaDiscoveryResponse",
    "DestinationIPInput",
    "DestinationPortInput",
    "DirectResponseAction",
    "DiscoveryRequest",
    "DiscoveryResponse",
    "DnsCacheConfig",
    "DownstreamTlsContext",
    "Duration",
    "DynamicForwardProxy",
    "Endpoint",
    "EnvironmentResourceDetectorConfig",
    "ExpressionFilter",
    "ExtensionConfigSource",
    "ExtensionFilter",
    "ExtraSourceAddress",
    "Filter",
    "FilterChain",
    "FilterChainMatch",
    "FractionalPercent",
    "GrpcService",
    "HTTPAccessLogEntry",
    "HTTPResponseProperties",
    "HeaderMatcher",
    "Http1ProtocolOptions",
    "Http2ProtocolOptions",
    "HttpConnectionManager",
    "HttpFilter",
    "HttpGrpcAccessLogConfig",
    "HttpInspector",
    "HttpNameLookup",
    "HttpProtocolOptions",
    "HttpRBAC",
    "IPMatcher",
    "LbEndpoint",
    "Listener",
    "ListenerFilter",
    "LocalReplyConfig",
    "LocalityLbEndpoints",
    "LogTypeFilter",
    "Matcher",
    "Message",
    "Metadata",
    "OpenTelemetryAccessLogConfig",
    "OpenTelemetryConfig",
    "OriginalDst",
    "ParentBasedSamplerConfig",
    "PathMatcher",
    "Permission",
    "Policy",
    "PreviousHostsPredicate",
    "Principal",
    "RBACPerRoute",
    "RawBuffer",
    "Rds",
    "RegexMatcher",
    "RequestMethod",
    "Resource",
    "ResponseFlagFilter",
    "ResponseMapper",
    "RetryPolicy",
    "Route",
    "RouteAction",
    "RouteConfiguration",
    "RouteMatch",
    "Router",
    "Runtime",
    "SPIFFECertValidatorConfig",
    "SdsSecretConfig",
    "Secret",
    "ServerNameInput",
    "SniNameLookup",
    "SocketAddress",
    "SocketOption",
    "StatsConfig",
    "StdoutAccessLog",
    "StreamAccessLogsMessage",
    "StringMatcher",
    "StringValue",
    "Struct",
    "SubjectAltNameMatcher",
    "SubstitutionFormatString",
    "TCPAccessLogEntry",
    "TcpGrpcAccessLogConfig",
    "TcpKeepalive",
    "TcpProxy",
    "TlsCertificate",
    "TlsInspector",
    "TlsParameters",
    "TraceIdRatioBasedSamplerConfig",
    "TracingProvider",
    "TrafficDirection",
    "TransportProtocolInput",
    "TransportSocket",
    "TypedExtensionConfig",
    "UInt32Value",
    "UpstreamConnectMode",
    "UpstreamConnectionOptions",
    "UpstreamHttpOptions",
    "UpstreamTlsContext",
    "UuidRequestIdConfig",
    "VirtualHost",
    "WeightedCluster",
    "XdsCidrRange",
    "XdsExtension",
    "XdsStringMatcher",
    "ZipkinConfig",
    "packed",
    "seconds",
]

TracingProvider = _Tracing.Http


def packed(message: Message) -> Any:
    """The message inside a google.protobuf.Any, the same bytes every time."""
    wrapped = Any()
    wrapped.Pack(message, deterministic=True)
    return wrapped


def seconds(value: float) -> Duration:
    """A duration. Zero is a value of its own to Envoy: often "no limit"."""
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=value))
    return duration
