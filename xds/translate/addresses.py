"""Addresses as Envoy takes them.

Rule: no two listeners get the same address, and none gets an address Envoy would refuse, for one such listener would
keep all others of its update from being accepted (rule F6, P9 and P10 of docs/xds.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, TypeVar

from xds import pb

Place = tuple[str, int]
"""An address and a port."""
Key = TypeVar("Key", bound=Any)


@lru_cache(maxsize=16_384)
def canonical(address: str, port: int) -> Place | None:
    """The address in its one canonical spelling, or None where Envoy would refuse it: no IP address, no port."""
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    usable = 0 < port <= 0xFFFF and not (ip.is_unspecified or ip.is_multicast) and "%" not in address
    return (str(ip), port) if usable else None


def places(port: int, addresses: Iterable[str]) -> tuple[Place, ...]:
    """The usable ones among the addresses, each once."""
    return tuple(dict.fromkeys(place for address in addresses if (place := canonical(address, port))))


def first_come(asked: Mapping[Key, tuple[Place, ...]], taken: set[Place]) -> dict[Key, tuple[Place, ...]]:
    """Each place to the first key that asks for it, in the keys' order, so that every replica decides the same.

    Keys that get none are left out. `taken` is added to.
    """
    given = {}
    contested = len({place for mine in asked.values() for place in mine} | taken) < (
        sum(map(len, asked.values())) + len(taken)
    )
    for key in sorted(asked) if contested else asked:
        if mine := tuple(place for place in asked[key] if place not in taken):
            given[key] = mine
            taken.update(mine)
    return given


def socket_address(address: str, port: int) -> pb.Address:
    """An IP address and a TCP port."""
    return pb.Address(socket_address=pb.SocketAddress(address=address, port_value=port))
