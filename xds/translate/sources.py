"""Where Envoy gets what a resource refers to: always from the stream it has."""

from __future__ import annotations

from xds import pb

FETCH_TIMEOUT = 5
"""Seconds Envoy waits for something referred to before it goes on without; 15 by default, 0 is for ever (rule R68)."""


def ads() -> pb.ConfigSource:
    """The aggregated stream, as the source of EDS, RDS, SDS and ECDS."""
    return pb.ConfigSource(
        ads=pb.AggregatedConfigSource(),
        resource_api_version=pb.ApiVersion.V3,
        initial_fetch_timeout=pb.seconds(FETCH_TIMEOUT),
    )
