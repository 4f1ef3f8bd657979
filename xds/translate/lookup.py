"""Hosts that the sidecar looks up by itself: Envoy's dynamic forward proxy, for requests and for TLS by server name.

Rule: what is connected to is what the name means to the pod's own resolver, never the address that the app chose. All
users of one cache must configure it alike, or Envoy refuses them.
"""

from __future__ import annotations

from typing import Final

from xds import pb
from xds.resource import Resource, encode
from xds.translate import clusters

HTTP_FILTER: Final = "envoy.filters.http.dynamic_forward_proxy"
_CACHE: Final = "egress"
_QUERY_SECONDS: Final = 5
_HOSTS: Final = 1024
"""Names remembered at most; wildcards leave their number to the app. More are refused until old ones are forgotten."""


def cluster(name: str) -> Resource:
    """The cluster of all hosts that were looked up."""
    found = clusters.outside(name)
    found.lb_policy = pb.Cluster.CLUSTER_PROVIDED
    found.cluster_type.name = "envoy.clusters.dynamic_forward_proxy"
    # The options that Envoy calls secure are about TLS that it begins itself, and here it begins none.
    config = pb.DynamicForwardProxy(dns_cache_config=_cache(), allow_insecure_cluster_options=True)
    found.cluster_type.typed_config.CopyFrom(pb.packed(config))
    return encode(name, found)


def by_authority() -> pb.HttpFilter:
    """Looks up the host of each request that is routed to such a cluster."""
    return pb.HttpFilter(name=HTTP_FILTER, typed_config=pb.packed(pb.HttpNameLookup(dns_cache_config=_cache())))


def by_server_name(port: int) -> pb.Filter:
    """Looks up the host that a handshake names."""
    config = pb.SniNameLookup(dns_cache_config=_cache(), port_value=port)
    return pb.Filter(name="envoy.filters.network.sni_dynamic_forward_proxy", typed_config=pb.packed(config))


def _cache() -> pb.DnsCacheConfig:
    # Names of policies are whole: the search list of a pod would ask for api.example.org.shop.svc.cluster.local first,
    # and whoever may make Services could answer.
    resolver = pb.CaresDnsResolverConfig(filter_unroutable_families=True)
    resolver.dns_resolver_options.no_default_search_domain = True
    return pb.DnsCacheConfig(
        name=_CACHE,
        dns_lookup_family=pb.Cluster.ALL,
        max_hosts=pb.UInt32Value(value=_HOSTS),
        dns_query_timeout=pb.seconds(_QUERY_SECONDS),
        typed_dns_resolver_config=pb.TypedExtensionConfig(
            name="envoy.network.dns_resolver.cares", typed_config=pb.packed(resolver)
        ),
    )
