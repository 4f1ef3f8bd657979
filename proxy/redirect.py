"""Which connections of a pod go through its sidecar: nat rules as data, and the one function that renders them.

Rule: fail closed. Whatever is not named here as an exception is redirected, in IPv4 and in IPv6; where IPv6 is in use
and can't be redirected, the pod doesn't start.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from proxy import ports

INBOUND_CHAIN: Final = "WEFT_INBOUND"
OUTBOUND_CHAIN: Final = "WEFT_OUTBOUND"

DIRECT_SOURCE: Final = "127.0.0.6"
"""Where the proxy connects from when it means the app itself and not the pod's policy (IPv4)."""
DIRECT_SOURCE_V6: Final = "::6"
"""The same in IPv6. Loopback has no such address by itself: the script adds it."""


class Family(StrEnum):
    """The program that knows an address family's tables."""

    V4 = "iptables"
    V6 = "ip6tables"


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """TCP ports from `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}:{self.last}"

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class RedirectSettings:
    """What is exempt from redirection.

    The proxy is told from the app by `proxy_uid`, or by the socket mark `mark` where one is given: in a user namespace
    with a single UID. Inbound CIDRs are callers, outbound CIDRs destinations.
    """

    proxy_uid: int = ports.PROXY_UID
    mark: int | None = None
    exclude_inbound_ports: tuple[PortRange, ...] = ()
    exclude_outbound_ports: tuple[PortRange, ...] = ()
    exclude_inbound_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
    exclude_outbound_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
    ipv6: bool = True


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what it matches, as iptables words, and where it leads. `to_port` goes with REDIRECT only."""

    matches: tuple[str, ...]
    target: str = "RETURN"
    to_port: int | None = None

    def __str__(self) -> str:
        to_port = () if self.to_port is None else ("--to-ports", str(self.to_port))
        return " ".join((*self.matches, "-j", self.target, *to_port))


@dataclass(frozen=True, slots=True)
class Chain:
    """One of our chains, and the built-in chain of the nat table whose TCP connections it sees first."""

    name: str
    hook: str
    rules: tuple[Rule, ...]

    @property
    def jump(self) -> str:
        """The rule that leads here from the hook, without its verb."""
        return f"{self.hook} -p tcp -j {self.name}"


def chains(settings: RedirectSettings, family: Family) -> tuple[Chain, Chain]:
    """Our chains for one address family: inbound, outbound."""
    return (
        Chain(INBOUND_CHAIN, "PREROUTING", _inbound(settings, family)),
        Chain(OUTBOUND_CHAIN, "OUTPUT", _outbound(settings, family)),
    )


def render(table: tuple[Chain, ...]) -> str:
    """The chains as input of `iptables-restore --noflush`: in one step they are this, whatever they were.

    Jumps are not part of it: restore has no verb for "unless it is there" (`SCRIPT` does that).
    """
    declared = [f":{chain.name} - [0:0]" for chain in table]
    emptied = [f"-F {chain.name}" for chain in table]
    filled = [f"-A {chain.name} {rule}" for chain in table for rule in chain.rules]
    return "\n".join(["*nat", *declared, *emptied, *filled, "COMMIT", ""])


def command(settings: RedirectSettings) -> tuple[list[str], list[str]]:
    """The `command` and `args` of a container that applies the rules to its pod; a second run changes nothing."""
    v4 = render(chains(settings, Family.V4))
    v6 = render(chains(settings, Family.V6)) if settings.ipv6 else ""
    return ["/bin/sh", "-euc", SCRIPT, "weft-redirect"], [v4, v6]


def undo_command() -> list[str]:
    """The words that take everything back that `command` did; they succeed where nothing was done."""
    return ["/bin/sh", "-uc", UNDO_SCRIPT, "weft-redirect"]


def _inbound(settings: RedirectSettings, family: Family) -> tuple[Rule, ...]:
    own = [PortRange(port, port) for port in (ports.HEALTH, ports.METRICS)]
    return (
        *(Rule(("-s", network)) for network in _networks(settings.exclude_inbound_cidrs, family)),
        *(Rule(("-p", "tcp", "--dport", str(port))) for port in (*own, *settings.exclude_inbound_ports)),
        Rule(("-p", "tcp"), "REDIRECT", ports.INBOUND),
    )


def _outbound(settings: RedirectSettings, family: Family) -> tuple[Rule, ...]:
    v4 = family is Family.V4
    direct = f"{DIRECT_SOURCE}/32" if v4 else f"{DIRECT_SOURCE_V6}/128"
    loopback = "127.0.0.0/8" if v4 else "::1/128"
    proxy = ("-m", "owner", "--uid-owner", str(settings.proxy_uid))
    if settings.mark is not None:
        proxy = ("-m", "mark", "--mark", str(settings.mark))
    return (
        # The proxy has decided and means the app.
        Rule(("-o", "lo", "-s", direct)),
        # The pod calls itself through a Service: back in at the front door, where policy is.
        Rule(("-o", "lo", "!", "-d", loopback, *proxy), INBOUND_CHAIN),
        Rule(proxy),
        # Containers of one pod among themselves.
        Rule(("-o", "lo")),
        *(Rule(("-d", network)) for network in _networks(settings.exclude_outbound_cidrs, family)),
        *(Rule(("-p", "tcp", "--dport", str(port))) for port in settings.exclude_outbound_ports),
        Rule(("-p", "tcp"), "REDIRECT", ports.OUTBOUND),
    )


def _networks(networks: tuple[IPv4Network | IPv6Network, ...], family: Family) -> list[str]:
    version = 4 if family is Family.V4 else 6
    return [str(network) for network in networks if network.version == version]


_JUMPS: Final = " ".join(f"'{chain.jump}'" for chain in chains(RedirectSettings(), Family.V4))

# The lock of iptables-legacy lies in /dev/shm, the one folder that is writable under a read-only root.
SCRIPT: Final = f"""\
export XTABLES_LOCKFILE=/dev/shm/xtables.lock
apply() {{
  printf %s "$2" | "$1-restore" -w --noflush
  for jump in {_JUMPS}; do
    "$1" -w -t nat -C $jump 2>/dev/null || "$1" -w -t nat -I $jump
  done
}}
apply iptables "$1"
[ -n "$2" ] || exit 0
grep -qsv ' lo$' /proc/net/if_inet6 || exit 0
if ! ip6tables -w -t nat -L OUTPUT -n >/dev/null; then
  echo 'This pod has IPv6 and ip6tables cannot redirect it:' >&2
  echo 'load the module ip6table_nat on the node, or set redirect.ipv6 to false' >&2
  exit 1
fi
ip -6 address replace {DIRECT_SOURCE_V6}/128 dev lo
apply ip6tables "$2"
"""
"""Applies `render`'s two texts, its arguments; the second is empty where IPv6 is to be left alone."""

UNDO_SCRIPT: Final = f"""\
export XTABLES_LOCKFILE=/dev/shm/xtables.lock
for tables in iptables ip6tables; do
  for jump in {_JUMPS}; do
    while "$tables" -w -t nat -D $jump 2>/dev/null; do :; done
  done
  for verb in -F -X; do
    for chain in {OUTBOUND_CHAIN} {INBOUND_CHAIN}; do
      "$tables" -w -t nat "$verb" "$chain" 2>/dev/null
    done
  done
done
ip -6 address del {DIRECT_SOURCE_V6}/128 dev lo 2>/dev/null
exit 0
"""
