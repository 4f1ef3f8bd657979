"""The redirect rules as text: what is exempt, in which order, for which address family."""

from __future__ import annotations

from ipaddress import ip_network

from proxy.redirect import (
    SCRIPT,
    UNDO_SCRIPT,
    Family,
    PortRange,
    RedirectSettings,
    chains,
    command,
    render,
)

WANT = """\
*nat
:WEFT_INBOUND - [0:0]
:WEFT_OUTBOUND - [0:0]
-F WEFT_INBOUND
-F WEFT_OUTBOUND
-A WEFT_INBOUND -s 10.1.0.0/16 -j RETURN
-A WEFT_INBOUND -p tcp --dport 15021 -j RETURN
-A WEFT_INBOUND -p tcp --dport 15090 -j RETURN
-A WEFT_INBOUND -p tcp --dport 9000:9010 -j RETURN
-A WEFT_INBOUND -p tcp -j REDIRECT --to-ports 15006
-A WEFT_OUTBOUND -o lo -s 127.0.0.6/32 -j RETURN
-A WEFT_OUTBOUND -o lo ! -d 127.0.0.0/8 -m owner --uid-owner 1337 -j WEFT_INBOUND
-A WEFT_OUTBOUND -m owner --uid-owner 1337 -j RETURN
-A WEFT_OUTBOUND -o lo -j RETURN
-A WEFT_OUTBOUND -d 192.168.0.0/16 -j RETURN
-A WEFT_OUTBOUND -p tcp --dport 3306 -j RETURN
-A WEFT_OUTBOUND -p tcp -j REDIRECT --to-ports 15001
COMMIT
"""
SETTINGS = RedirectSettings(
    exclude_inbound_ports=(PortRange(9000, 9010),),
    exclude_outbound_ports=(PortRange(3306, 3306),),
    exclude_inbound_cidrs=(ip_network("10.1.0.0/16"), ip_network("fd01::/16")),
    exclude_outbound_cidrs=(ip_network("192.168.0.0/16"), ip_network("fd02::/16")),
)


def test_rules_are_rendered_in_the_order_that_decides() -> None:
    assert render(chains(SETTINGS, Family.V4)) == WANT


def test_ipv6_has_the_same_rules_with_its_own_addresses() -> None:
    want = (
        WANT.replace("10.1.0.0/16", "fd01::/16")
        .replace("192.168.0.0/16", "fd02::/16")
        .replace("127.0.0.6/32", "::6/128")
        .replace("127.0.0.0/8", "::1/128")
    )
    assert render(chains(SETTINGS, Family.V6)) == want


def test_a_mark_takes_the_users_place() -> None:
    text = render(chains(RedirectSettings(mark=7), Family.V4))
    assert "--uid-owner" not in text
    assert text.count("-m mark --mark 7") == 2


def test_without_ipv6_the_second_text_is_empty() -> None:
    assert command(RedirectSettings(ipv6=False))[1][1] == ""


def test_kubernetes_changes_nothing_in_the_scripts() -> None:
    # In a container's command `$(VAR)` is replaced and `$$` becomes `$`.
    for text in (SCRIPT, UNDO_SCRIPT):
        assert "$(" not in text
        assert "$$" not in text


def test_a_range_holds_both_its_ends() -> None:
    assert [port in PortRange(9000, 9002) for port in (8999, 9000, 9002, 9003)] == [False, True, True, False]
