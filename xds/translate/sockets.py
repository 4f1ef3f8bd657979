"""Listeners, as far as they are sockets: the two bound ones, those behind them, and what looks at new connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xds import pb
from xds.translate.addresses import socket_address

_SOL_SOCKET: Final = 1
_SO_KEEPALIVE: Final = 9
_IPPROTO_TCP: Final = 6
_TCP_KEEPIDLE: Final = 4
_TCP_KEEPINTVL: Final = 5
_KEEPALIVE: Final = (
    (_SOL_SOCKET, _SO_KEEPALIVE, 1),
    (_IPPROTO_TCP, _TCP_KEEPIDLE, 300),
    (_IPPROTO_TCP, _TCP_KEEPINTVL, 30),
)
"""Linux's numbers, for accepted connections inherit these from the listening socket. Times are seconds."""


def bound(name: str, address: str, port: int) -> pb.Listener:
    """A listener that redirected connections arrive at."""
    listener = pb.Listener(name=name, address=socket_address(address, port), stat_prefix=name)
    listener.address.socket_address.ipv4_compat = ":" in address
    for level, option, value in _KEEPALIVE:
        listener.socket_options.append(pb.SocketOption(level=level, name=option, int_value=value))
    return listener


def behind(name: str, places: Sequence[tuple[str, int]]) -> pb.Listener:
    """A listener that the outbound one hands connections to, those for exactly these addresses."""
    first, *others = [socket_address(*place) for place in places]
    return pb.Listener(
        name=name,
        address=first,
        additional_addresses=[pb.AdditionalAddress(address=other) for other in others],
        bind_to_port=pb.BoolValue(value=False),
        stat_prefix=name,
        traffic_direction=pb.TrafficDirection.OUTBOUND,
    )


def original_dst() -> pb.ListenerFilter:
    """Finds out where a redirected connection was going."""
    return _listener_filter("envoy.filters.listener.original_dst", pb.OriginalDst())


def tls_inspector() -> pb.ListenerFilter:
    """Tells TLS from all else, and what protocols it offers."""
    return _listener_filter("envoy.filters.listener.tls_inspector", pb.TlsInspector())


def http_inspector() -> pb.ListenerFilter:
    """Tells HTTP from all else."""
    return _listener_filter("envoy.filters.listener.http_inspector", pb.HttpInspector())


def wait_at_most(listener: pb.Listener, seconds: float) -> None:
    """Bounds how long the inspectors wait for the first bytes; then the connection goes on as what is known of it."""
    listener.listener_filters_timeout.CopyFrom(pb.seconds(seconds))
    listener.continue_on_listener_filters_timeout = True


def _listener_filter(name: str, config: pb.Message) -> pb.ListenerFilter:
    return pb.ListenerFilter(name=name, typed_config=pb.packed(config))
