"""How callers get in: by rules, or everyone who is meshed (rules A1, A16), by port and by part of a namespace.

Rule: a part of a namespace is named only where it differs from the namespace's own mode, which hardly any does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kube.enrolment import ACCESS, ENFORCED_PORTS, OPEN_PORTS
from mesh.inbound import RolePort
from mesh.settings import Access

_ANNOTATIONS: Final = (ACCESS, OPEN_PORTS, ENFORCED_PORTS)


class Entry(NamedTuple):
    """Whether some port lets in every meshed caller, and whether some goes by rules."""

    open: bool
    ruled: bool


OPEN: Final = Entry(open=True, ruled=False)
RULED: Final = Entry(open=False, ruled=True)
BOTH: Final = Entry(open=True, ruled=True)
"""What stays right whatever the pods will say."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The pods and Services of a namespace, by name, that have another entry than its mode gives them."""

    pods: Mapping[str, Entry] = field(default_factory=dict)
    services: Mapping[str, Entry] = field(default_factory=dict)


def is_open(port: RolePort, *, by_default: bool) -> bool:
    """Whether every meshed caller may use a port; `by_default`: what the namespace says."""
    return by_default if port.access is None else port.access is Access.PERMISSIVE


def usual(access: Access) -> Entry:
    """The entry that a namespace's mode gives to what is in it."""
    return OPEN if access is Access.PERMISSIVE else RULED


def entry(ports: Iterable[RolePort], usually: Entry) -> Entry:
    """The entry of a pod with these ports."""
    found = {is_open(port, by_default=usually.open) for port in ports}
    return Entry(True in found, False in found) if found else usually


def together(entries: Iterable[Entry]) -> Entry:
    """The entry of several pods as one."""
    found = tuple(entries)
    return Entry(any(each.open for each in found), any(each.ruled for each in found))


def says_so(annotations: Mapping[str, str]) -> bool:
    """Whether a pod with these annotations may have another entry than its namespace's."""
    return any(key in annotations for key in _ANNOTATIONS)
