"""Where a sidecar gets its certificate and what it trusts: from us, or from a SPIFFE Workload API beside it.

Rule: who may be met is always said by us; only what proves who somebody is may come from elsewhere.
Source: Envoy's SDS; SPIRE's "Using Envoy with SPIRE" (the agent serves SDS on its Workload API's socket, unary streams
of type GRPC, under the names `default` and `ROOTCA`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xds import pb
from xds.names import BUNDLE_SECRET, LEAF_SECRET, WORKLOAD_API_CLUSTER
from xds.translate.sources import FETCH_TIMEOUT, ads


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """The SDS names of certificate and bundle; `elsewhere`: they come from the sidecar's SPIFFE Workload API."""

    leaf: str = LEAF_SECRET
    bundle: str = BUNDLE_SECRET
    elsewhere: bool = False

    def source(self) -> pb.ConfigSource:
        """Who serves both."""
        if not self.elsewhere:
            return ads()
        service = pb.GrpcService(envoy_grpc=pb.GrpcService.EnvoyGrpc(cluster_name=WORKLOAD_API_CLUSTER))
        return pb.ConfigSource(
            api_config_source=pb.ApiConfigSource(
                api_type=pb.ApiConfigSource.GRPC,
                transport_api_version=pb.ApiVersion.V3,
                grpc_services=[service],
                set_node_on_first_message_only=True,
            ),
            resource_api_version=pb.ApiVersion.V3,
            initial_fetch_timeout=pb.seconds(FETCH_TIMEOUT),
        )


OURS: Final = Certificates()
