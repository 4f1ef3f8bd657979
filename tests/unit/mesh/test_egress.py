"""What EgressPolicies grant, to whom, and when they grant nothing (docs/egress.md)."""

from __future__ import annotations

from dataclasses import replace

from mesh.egress import PolicyInput, permit, permits
from mesh.lookup import Absent
from mesh.model import Identity
from mesh.settings import Egress
from smi.kinds import EgressPolicy, EgressPort, EgressProtocol, HttpMatch, HTTPRouteGroup, RuleRef

BUYER = Identity("cluster.local", "closed", "buyer")
GET = HttpMatch(name="get", methods=frozenset({"GET"}))
GROUP = HTTPRouteGroup(namespace="closed", name="reads", api_version="", matches=(GET,))
POLICY = EgressPolicy(
    namespace="closed", name="p", api_version="weft.dev/v1alpha1", sources=("buyer",), hosts=("api.example.org",),
    ports=(EgressPort(number=80, protocol=EgressProtocol.HTTP),),
)  # fmt: skip
NARROW = replace(POLICY, matches=(RuleRef(kind="HTTPRouteGroup", name="reads"),))
GIVEN = PolicyInput(POLICY, (), Egress.REFUSED, "cluster.local", "cluster.local")


def test_e1_where_egress_is_allowed_a_policy_changes_nothing_and_says_so() -> None:
    found = permit(replace(GIVEN, egress=Egress.ALLOWED))
    assert (found.grant, [problem.rule for problem in found.problems]) == (None, ["E1"])


def test_e2_a_grant_is_for_the_accounts_of_the_policys_namespace() -> None:
    found = permit(GIVEN)
    assert found.problems == ()
    assert found.grant is not None
    assert permits({("closed", "p"): found}) == {BUYER: (found.grant,)}


def test_e4_names_inside_the_cluster_are_not_for_egress() -> None:
    for host in ("web.shop.svc.cluster.local", "web.shop.svc", "*.cluster.local", "cluster.local", "*.local"):
        found = permit(replace(GIVEN, policy=replace(POLICY, hosts=("api.example.org", host))))
        assert (found.grant, [problem.field for problem in found.problems]) == (None, ["spec.hosts[1]"])


def test_e7_matches_narrow_the_requests_down() -> None:
    found = permit(replace(GIVEN, policy=NARROW, groups=(GROUP,)))
    assert found.grant is not None
    assert found.grant.requests == (GET,)


def test_f2_matches_that_lead_nowhere_grant_nothing() -> None:
    for absent in Absent:
        found = permit(replace(GIVEN, policy=NARROW, groups=(absent,)))
        assert (found.grant, [problem.field for problem in found.problems]) == (None, ["spec.matches[0]"])


def test_f5_policies_add_up() -> None:
    one, two = permit(GIVEN), permit(replace(GIVEN, policy=replace(POLICY, name="q", hosts=("b.test",))))
    assert [grant.hosts for grant in permits({("closed", "p"): one, ("closed", "q"): two})[BUYER]] == [
        ("api.example.org",), ("b.test",),
    ]  # fmt: skip
