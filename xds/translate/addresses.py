"""Addresses as Envoy takes them. Rule: an address Envoy would refuse never reaches it (rule F6)."""

from __future__ import annotations

from ipaddress import ip_address

from xds import pb


def canonical(address: str, port: int) -> tuple[str, int] | None:
    """The address in its one canonical spelling, or None where Envoy would refuse it: no IP address, no port."""
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    usable = 0 < port <= 0xFFFF and not (ip.is_unspecified or ip.is_multicast) and "%" not in address
    return (str(ip), port) if usable else None


def socket_address(address: str, port: int) -> pb.Address:
    """An IP address and a TCP port."""
    return pb.Address(socket_address=pb.SocketAddress(address=address, port_value=port))
