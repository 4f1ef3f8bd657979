"""Google's protobuf (upb) beside envoy-data-plane (betterproto2): building and encoding one Cluster as we send it.

Rule: prints what it measured, and first makes sure that both say the same. See docs/decisions/0001-protobuf.md.
"""

from __future__ import annotations

import gc
import statistics
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version

from google.protobuf import json_format
from google.protobuf.internal import api_implementation

from xds import pb

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the library's own, while it is imported
    from envoy_data_plane.envoy.config.cluster.v3 import (
        CircuitBreakers,
        CircuitBreakersThresholds,
        Cluster,
        ClusterDiscoveryType,
        ClusterEdsClusterConfig,
    )
    from envoy_data_plane.envoy.config.core.v3 import (
        AggregatedConfigSource,
        ApiVersion,
        ConfigSource,
        Http2ProtocolOptions,
        TransportSocket,
    )
    from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
        CertificateValidationContext,
        CommonTlsContext,
        CommonTlsContextCombinedCertificateValidationContext,
        SdsSecretConfig,
        SubjectAltNameMatcher,
        SubjectAltNameMatcherSanType,
        TlsParameters,
        TlsParametersTlsProtocol,
        UpstreamTlsContext,
    )
    from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
        HttpProtocolOptions,
        HttpProtocolOptionsExplicitHttpConfig,
    )
    from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
    from envoy_data_plane.google.protobuf import Any

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
TLS = "envoy.transport_sockets.tls"
REQUESTS = 2**20
"""No limit worth speaking of."""
ROUNDS = 9


def upb_cluster(number: int) -> bytes:
    name = f"shop/service-{number}/8080"
    ads = pb.ConfigSource(ads=pb.AggregatedConfigSource(), resource_api_version=pb.ApiVersion.V3)
    uri = pb.StringMatcher(exact=f"spiffe://cluster.local/ns/shop/sa/service-{number}")
    san = pb.SubjectAltNameMatcher(san_type=pb.SubjectAltNameMatcher.URI, matcher=uri)
    tls = pb.UpstreamTlsContext(
        common_tls_context=pb.CommonTlsContext(
            tls_params=pb.TlsParameters(
                tls_minimum_protocol_version=pb.TlsParameters.TLSv1_3,
                tls_maximum_protocol_version=pb.TlsParameters.TLSv1_3,
            ),
            tls_certificate_sds_secret_configs=[pb.SdsSecretConfig(name="leaf", sds_config=ads)],
            combined_validation_context=pb.CommonTlsContext.CombinedCertificateValidationContext(
                default_validation_context=pb.CertificateValidationContext(match_typed_subject_alt_names=[san]),
                validation_context_sds_secret_config=pb.SdsSecretConfig(name="bundle", sds_config=ads),
            ),
            alpn_protocols=["weft-http"],
        )
    )
    explicit = pb.UpstreamHttpOptions.ExplicitHttpConfig(http2_protocol_options=pb.Http2ProtocolOptions())
    many = pb.UInt32Value(value=REQUESTS)
    limits = pb.CircuitBreakers.Thresholds(max_connections=many, max_pending_requests=many, max_requests=many)
    return pb.Cluster(
        name=name,
        type=pb.Cluster.EDS,
        eds_cluster_config=pb.Cluster.EdsClusterConfig(eds_config=ads, service_name=name),
        connect_timeout=pb.seconds(5),
        circuit_breakers=pb.CircuitBreakers(thresholds=[limits]),
        typed_extension_protocol_options={
            HTTP_OPTIONS: pb.packed(pb.UpstreamHttpOptions(explicit_http_config=explicit))
        },
        transport_socket=pb.TransportSocket(name=TLS, typed_config=pb.packed(tls)),
    ).SerializeToString(deterministic=True)


def betterproto_cluster(number: int) -> bytes:
    name = f"shop/service-{number}/8080"
    ads = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)
    uri = StringMatcher(exact=f"spiffe://cluster.local/ns/shop/sa/service-{number}")
    san = SubjectAltNameMatcher(san_type=SubjectAltNameMatcherSanType.URI, matcher=uri)
    tls = UpstreamTlsContext(
        common_tls_context=CommonTlsContext(
            tls_params=TlsParameters(
                tls_minimum_protocol_version=TlsParametersTlsProtocol.TLSv1_3,
                tls_maximum_protocol_version=TlsParametersTlsProtocol.TLSv1_3,
            ),
            tls_certificate_sds_secret_configs=[SdsSecretConfig(name="leaf", sds_config=ads)],
            combined_validation_context=CommonTlsContextCombinedCertificateValidationContext(
                default_validation_context=CertificateValidationContext(match_typed_subject_alt_names=[san]),
                validation_context_sds_secret_config=SdsSecretConfig(name="bundle", sds_config=ads),
            ),
            alpn_protocols=["weft-http"],
        )
    )
    explicit = HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=Http2ProtocolOptions())
    limits = CircuitBreakersThresholds(max_connections=REQUESTS, max_pending_requests=REQUESTS, max_requests=REQUESTS)
    return bytes(
        Cluster(
            name=name,
            type=ClusterDiscoveryType.EDS,
            eds_cluster_config=ClusterEdsClusterConfig(eds_config=ads, service_name=name),
            connect_timeout=timedelta(seconds=5),
            circuit_breakers=CircuitBreakers(thresholds=[limits]),
            typed_extension_protocol_options={
                HTTP_OPTIONS: Any.pack(HttpProtocolOptions(explicit_http_config=explicit))
            },
            transport_socket=TransportSocket(name=TLS, typed_config=Any.pack(tls)),
        )
    )


def check() -> int:
    """Both must mean the same to either reader. The size of one Cluster in bytes.

    Fields inside an Any may come in another order, so what it holds is compared and not its bytes.
    """
    upb, other = upb_cluster(7), betterproto_cluster(7)
    if json_format.MessageToDict(pb.Cluster.FromString(upb)) != json_format.MessageToDict(pb.Cluster.FromString(other)):
        raise SystemExit("upb reads two different Clusters")
    if betterproto_reads(upb) != betterproto_reads(other):
        raise SystemExit("betterproto2 reads two different Clusters")
    return len(upb)


def betterproto_reads(encoded: bytes) -> tuple[Cluster, object, object]:
    cluster = Cluster.parse(encoded)
    assert cluster.transport_socket is not None
    tls, http = cluster.transport_socket.typed_config, cluster.typed_extension_protocol_options.pop(HTTP_OPTIONS)
    cluster.transport_socket.typed_config = None
    assert tls is not None
    return cluster, tls.unpack(), http.unpack()


def microseconds(make: Callable[[int], bytes], times: int) -> list[float]:
    """Processor time of one call, in each of several rounds; the garbage collector is off meanwhile."""
    rounds = []
    for _ in range(ROUNDS):
        gc.collect()
        gc.disable()
        started = time.process_time()
        for number in range(times):
            make(number)
        rounds.append((time.process_time() - started) / times * 1e6)
        gc.enable()
    return rounds


def main() -> None:
    print(f"one Cluster, mTLS, SDS, circuit breakers, HTTP/2: {check()} bytes, the same content from both")
    print("processor time:")
    medians = []
    for name, make, times in (("protobuf", upb_cluster, 2000), ("envoy-data-plane", betterproto_cluster, 50)):
        rounds = microseconds(make, times)
        medians.append(statistics.median(rounds))
        kind = f" ({api_implementation.Type()})" if name == "protobuf" else ""
        print(
            f"{name} {version(name)}{kind}: median {medians[-1]:.1f} µs, "
            f"{min(rounds):.1f} to {max(rounds):.1f} in {ROUNDS} rounds of {times}"
        )
    print(f"ratio {medians[1] / medians[0]:.0f}")


if __name__ == "__main__":
    main()
