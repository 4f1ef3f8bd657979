"""The redirect rules on the real kernel: real iptables and connections of several users, in their own namespaces."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from ipaddress import ip_network
from typing import Any

import pytest

import redirect_lab as lab
from proxy.redirect import DIRECT_SOURCE, DIRECT_SOURCE_V6, PortRange, RedirectSettings, command, undo_command

APP, PROXY, MARK = 1000, 1337, 1337
EXCLUDING = RedirectSettings(
    exclude_inbound_ports=(PortRange(9000, 9000),),
    exclude_outbound_ports=(PortRange(9001, 9002),),
)
ROOT = ["unshare", "-n"]
ANYONE = ["unshare", "-Urn"]  # one UID, capabilities over its own namespaces only: what a person without root has


def works(way: list[str]) -> bool:
    tools = all(shutil.which(tool) for tool in ("unshare", "iptables-restore", "ip6tables-restore", "ip", "setpriv"))
    trial = [*way, "iptables", "-t", "nat", "-L"]
    return tools and subprocess.run(trial, capture_output=True, check=False).returncode == 0


as_root = pytest.mark.skipif(not works(ROOT), reason="needs root, iptables, iproute2 and util-linux")
as_anyone = pytest.mark.skipif(not works(ANYONE), reason="needs user namespaces and iptables")


def observed(way: list[str], apply: list[list[str]], *calls: dict[str, Any]) -> dict[str, Any]:
    spec = json.dumps({"apply": apply, "calls": calls})
    lab_command = [*way, sys.executable, lab.__file__, spec]
    done = subprocess.run(lab_command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def words(settings: RedirectSettings) -> list[str]:
    both = command(settings)
    return [*both[0], *both[1]]


def reached(answers: list[dict[str, Any] | None]) -> list[int | None]:
    return [answer["port"] if answer else None for answer in answers]


def without_times(saved: str) -> str:
    return re.sub(r"#.*\n|\[\d+:\d+\]", "", saved)


@as_root
def test_a_second_run_changes_nothing_and_undo_takes_everything_back() -> None:
    rules = observed(ROOT, [words(EXCLUDING), words(EXCLUDING), undo_command(), undo_command()])["rules"]
    once, twice, undone, undone_twice = [[without_times(text) for text in both] for both in rules]
    assert once == twice
    assert undone == undone_twice
    for family in once:
        assert family.count("-A PREROUTING -p tcp -j WEFT_INBOUND") == 1
        assert family.count("-A OUTPUT -p tcp -j WEFT_OUTBOUND") == 1
    assert all("WEFT" not in family for family in undone)


@as_root
def test_other_settings_replace_the_rules_of_a_former_run() -> None:
    rules = observed(ROOT, [words(EXCLUDING), words(RedirectSettings())])["rules"]
    fresh = observed(ROOT, [words(RedirectSettings())])["rules"]
    assert [without_times(text) for text in rules[1]] == [without_times(text) for text in fresh[0]]


@as_root
@pytest.mark.parametrize(
    ("pod", "peer", "direct"),
    [(lab.POD, lab.PEER, DIRECT_SOURCE), (lab.POD_V6, lab.PEER_V6, DIRECT_SOURCE_V6)],
    ids=["ipv4", "ipv6"],
)
def test_the_app_is_redirected_and_the_proxy_is_not(pod: str, peer: str, direct: str) -> None:
    loopback = "::1" if ":" in pod else "127.0.0.1"
    table: list[tuple[dict[str, Any], int]] = [
        ({"uid": APP, "to": peer, "port": 80}, 15001),
        ({"uid": APP, "to": peer, "port": 12345}, 15001),  # nobody listens there: it is the sidecar that says so
        ({"uid": APP, "to": peer, "port": 9001}, 9001),
        ({"uid": PROXY, "to": peer, "port": 80}, 80),
        ({"uid": APP, "to": loopback, "port": 8080}, 8080),
        ({"uid": APP, "to": pod, "port": 8080}, 8080),
        ({"uid": PROXY, "to": loopback, "port": 8080}, 8080),
        ({"uid": PROXY, "to": pod, "port": 8080}, 15006),
        ({"uid": PROXY, "to": pod, "port": 9000}, 9000),
        ({"uid": PROXY, "to": pod, "port": 8080, "source": direct}, 8080),
        ({"outside": True, "to": pod, "port": 8080}, 15006),
        ({"outside": True, "to": pod, "port": 9000}, 9000),
        ({"outside": True, "to": pod, "port": 15021}, 15021),
    ]
    answers = observed(ROOT, [words(EXCLUDING)], *(wanted for wanted, _ in table))["calls"]
    assert reached(answers) == [port for _, port in table]
    dialled = {index: answers[index]["dialled"] for index in (0, 1, 7, 10)}
    assert dialled == {0: f"{peer} 80", 1: f"{peer} 12345", 7: f"{pod} 8080", 10: f"{pod} 8080"}
    assert answers[9]["caller"].removeprefix("::ffff:") == direct


@as_root
def test_networks_are_exempt_by_address() -> None:
    settings = RedirectSettings(
        exclude_outbound_cidrs=(ip_network(f"{lab.PEER}/32"),), exclude_inbound_cidrs=(ip_network("fd77::/64"),)
    )
    calls: list[dict[str, Any]] = [
        {"uid": APP, "to": lab.PEER, "port": 80},
        {"uid": APP, "to": lab.PEER_V6, "port": 80},
        {"outside": True, "to": lab.POD, "port": 8080},
        {"outside": True, "to": lab.POD_V6, "port": 8080},
    ]
    assert reached(observed(ROOT, [words(settings)], *calls)["calls"]) == [80, 15001, 15006, 8080]


@as_root
def test_ipv6_is_left_alone_where_settings_say_so() -> None:
    calls: list[dict[str, Any]] = [
        {"uid": APP, "to": lab.PEER_V6, "port": 80},
        {"uid": APP, "to": lab.PEER, "port": 80},
    ]
    assert reached(observed(ROOT, [words(RedirectSettings(ipv6=False))], *calls)["calls"]) == [80, 15001]


@as_root
def test_a_pod_with_ipv6_that_cannot_be_redirected_does_not_start() -> None:
    # ip6tables that fails, first on the PATH: what a kernel without ip6table_nat looks like.
    script = 'd=$(mktemp -d); printf "#!/bin/sh\\nexit 3\\n" >$d/ip6tables; chmod +x $d/ip6tables; PATH=$d:$PATH; "$@"'
    failing = ["sh", "-c", f"{script}; code=$?; rm -r $d; [ $code = 1 ]", "x", *words(RedirectSettings())]
    working = ["sh", "-c", f"{script}; code=$?; rm -r $d; exit $code", "x", *words(RedirectSettings(ipv6=False))]
    observed(ROOT, [failing, working])


@as_anyone
def test_where_there_is_one_user_a_socket_mark_tells_the_proxy_from_the_app() -> None:
    settings = RedirectSettings(mark=MARK)
    table: list[tuple[dict[str, Any], int]] = [
        ({"to": lab.PEER, "port": 80}, 15001),
        ({"to": lab.PEER, "port": 80, "mark": MARK}, 80),
        ({"to": lab.POD, "port": 8080, "mark": MARK}, 15006),
        ({"to": lab.POD, "port": 8080, "source": DIRECT_SOURCE}, 8080),
        ({"to": lab.POD, "port": 8080}, 8080),
        ({"outside": True, "to": lab.POD, "port": 8080}, 15006),
    ]
    seen = observed(ANYONE, [words(settings), words(settings)], *(wanted for wanted, _ in table))
    assert reached(seen["calls"]) == [port for _, port in table]
    assert without_times(seen["rules"][0][0]) == without_times(seen["rules"][1][0])
