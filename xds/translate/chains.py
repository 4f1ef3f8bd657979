"""Filter chains, and the tree that picks one.

The tree is explicit, where Envoy's own `filter_chain_match` follows the most specific criterion and never turns back.
Rule: chain names are stable. A chain that is renamed drains its connections (P4 of docs/xds.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xds import pb

Input = type[pb.DestinationIPInput | pb.DestinationPortInput | pb.TransportProtocolInput | pb.ApplicationProtocolInput]
Branch = pb.Matcher.OnMatch

HTTP_PROTOCOLS: Final = ("http/1.0", "http/1.1", "h2c")
"""What the HTTP inspector says of connections it found to be HTTP."""


def chain(name: str, *filters: pb.Filter, transport: pb.TransportSocket | None = None) -> pb.FilterChain:
    """A chain of this name."""
    return pb.FilterChain(name=name, filters=filters, transport_socket=transport)


def to(chain_name: str) -> Branch:
    """The branch that ends at a chain."""
    action = pb.packed(pb.StringValue(value=chain_name))
    return Branch(action=pb.XdsExtension(name=chain_name, typed_config=action))


def switch(kind: Input, cases: Mapping[str, Branch], otherwise: Branch | None = None) -> Branch:
    """The branch that looks at one thing about the connection and compares it exactly."""
    return Branch(matcher=tree(kind, cases, otherwise))


def tree(kind: Input, cases: Mapping[str, Branch], otherwise: Branch | None = None) -> pb.Matcher:
    """The same, as the root. Sorted, so that equal trees are equal bytes."""
    matcher = pb.Matcher(on_no_match=otherwise)
    matcher.matcher_tree.input.name = kind.DESCRIPTOR.name
    matcher.matcher_tree.input.typed_config.CopyFrom(pb.packed(kind()))
    for value in sorted(cases):
        matcher.matcher_tree.exact_match_map.map[value].CopyFrom(cases[value])
    return matcher


def by_protocol(cases: Mapping[str, Branch], otherwise: Branch | None = None) -> Branch:
    """By the one application protocol that the caller offers; Envoy quotes names in this input."""
    return switch(pb.ApplicationProtocolInput, {f"'{name}'": branch for name, branch in cases.items()}, otherwise)
