"""The rules of incremental xDS, one by one (docs/xds.md)."""

from __future__ import annotations

import pytest

from xds import pb
from xds.delta import DeltaMachine
from xds.interest import Names
from xds.machine import GATE_PATIENCE, RESUME_PATIENCE
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET, Resource, encode
from xds.wire import Assembler, ProtocolFault
from xds_client import resource, view
from xds_stream import DeltaStream, lines

UNKNOWN = "type.googleapis.com/envoy.config.route.v3.VirtualHost"


def cds(name: str, content: int = 0) -> Resource:
    return resource(CLUSTER, name, content)


def eds(name: str, content: int = 0) -> Resource:
    return resource(ENDPOINTS, name, content)


def test_r4_a_request_without_a_type_ends_the_stream() -> None:
    with pytest.raises(ProtocolFault, match="type_url is missing"):
        DeltaStream().say("")


def test_r5_an_ack_of_clusters_does_not_move_endpoints() -> None:
    stream = DeltaStream(cds("a"), eds("a"))
    stream.say(CLUSTER)
    stream.say(ENDPOINTS, "a")
    stream.ack(CLUSTER)
    assert stream.publish(cds("a"), eds("a", 1)) == []  # endpoints are still unanswered
    assert lines(stream.ack(ENDPOINTS)) == ["ClusterLoadAssignment: +a"]


def test_r6_an_unknown_type_is_answered_and_the_stream_lives() -> None:
    stream = DeltaStream(cds("a"))
    assert lines(stream.say(UNKNOWN, "routes/host")) == ["VirtualHost: -routes/host"]
    assert lines(stream.say(CLUSTER)) == ["Cluster: +a"]


def test_types_on_a_stream_are_bounded() -> None:
    stream = DeltaStream()
    for number in range(64):
        stream.say(f"type.googleapis.com/made.up.{number}", "x")
    with pytest.raises(ProtocolFault, match="more than 64"):
        stream.say(CLUSTER)


def test_r9_nothing_is_sent_before_the_first_view() -> None:
    stream = DeltaStream()
    stream.machine.view = None
    assert stream.say(CLUSTER) == []
    assert lines(stream.publish(cds("a"))) == ["Cluster: +a"]


def test_r11_nonces_are_never_empty_and_never_come_twice_on_a_stream() -> None:
    stream = DeltaStream(eds("a"))
    first = stream.say(ENDPOINTS, "a")
    stream.ack(ENDPOINTS)
    second = stream.say(ENDPOINTS, "a")  # the same content again, because asked for
    assert first[0].nonce
    assert first[0].nonce != second[0].nonce
    assert first[0].resources == second[0].resources


def test_r11_the_same_response_object_serves_all_streams_that_need_the_same() -> None:
    assembler = Assembler()
    one, two = (DeltaStream(cds("a"), assembler=assembler) for _ in range(2))
    view = one.machine.view
    assert view is not None
    two.machine.show(view)
    one.say(CLUSTER)
    two.say(CLUSTER)
    assert one.raw[0] is two.raw[0]
    assert assembler.assembled == 1


def test_r13_an_ack_is_not_answered() -> None:
    stream = DeltaStream(cds("a"))
    stream.say(CLUSTER)
    assert stream.ack(CLUSTER) == []
    assert stream.ack(CLUSTER) == []  # nor when it comes twice


def test_r15_refused_content_is_not_sent_again_until_it_changes() -> None:
    stream = DeltaStream(cds("a"))
    stream.say(CLUSTER)
    assert stream.nack(CLUSTER, "bad a") == []
    assert stream.publish(cds("a")) == []
    assert stream.machine.dialogues[CLUSTER].error == "bad a"
    assert list(stream.machine.dialogues[CLUSTER].refused) == ["a"]
    assert lines(stream.publish(cds("a", 1))) == ["Cluster: +a"]
    stream.ack(CLUSTER)
    assert stream.machine.dialogues[CLUSTER].error == ""


def test_r15_other_types_and_names_go_on_after_a_nack() -> None:
    stream = DeltaStream(cds("a"), eds("a"))
    stream.say(ENDPOINTS, "a")
    stream.say(CLUSTER)
    stream.nack(CLUSTER)
    stream.ack_all(stream.ack(ENDPOINTS))  # endpoints again, after the cluster
    assert lines(stream.publish(cds("a"), cds("b"), eds("a", 1))) == ["Cluster: +b", "ClusterLoadAssignment: +a"]


def test_r16_a_nack_may_also_subscribe() -> None:
    stream = DeltaStream(eds("a"), eds("b"))
    got = stream.say(ENDPOINTS, "a")
    assert lines(stream.say(ENDPOINTS, "b", nonce=got[0].nonce, error="no")) == ["ClusterLoadAssignment: +b"]


def test_r17_a_refused_response_is_tried_in_parts_and_only_the_bad_one_stays_out() -> None:
    names = [f"c{number}" for number in range(8)]
    stream = DeltaStream(*(cds(name) for name in names))
    got = stream.say(CLUSTER)
    taken: set[str] = set()
    for _ in range(20):
        if not got:
            break
        (response,) = got
        if "c5" in response.resources:
            got = stream.nack(CLUSTER, "something is wrong")
        else:
            taken |= set(response.resources)
            got = stream.ack(CLUSTER)
    assert taken == set(names) - {"c5"}
    assert list(stream.machine.dialogues[CLUSTER].refused) == ["c5"]


def test_r17_names_in_envoys_words_are_tried_alone() -> None:
    stream = DeltaStream(cds("good"), cds("evil"), cds("fine"))
    stream.say(CLUSTER)
    assert lines(stream.nack(CLUSTER, "Error adding cluster evil: no")) == ["Cluster: +fine +good"]
    assert lines(stream.ack(CLUSTER)) == ["Cluster: +evil"]
    assert stream.nack(CLUSTER) == []


def test_r17_a_refused_resource_is_removed_when_it_is_gone_for_it_may_have_been_taken_in() -> None:
    stream = DeltaStream(cds("a"))
    stream.say(CLUSTER)
    stream.nack(CLUSTER)
    assert lines(stream.publish()) == ["Cluster: -a"]


def test_a_refused_removal_is_not_tried_for_ever() -> None:
    stream = DeltaStream(cds("a"))
    stream.say(CLUSTER)
    stream.ack(CLUSTER)
    assert lines(stream.publish()) == ["Cluster: -a"]
    assert stream.nack(CLUSTER) == []
    assert stream.publish() == []


def test_r19_a_subscription_counts_even_with_a_stale_nonce() -> None:
    stream = DeltaStream(eds("a"), eds("b"))
    stream.say(ENDPOINTS, "a")
    stream.ack(ENDPOINTS)
    assert lines(stream.say(ENDPOINTS, "b", nonce="long ago")) == ["ClusterLoadAssignment: +b"]


def test_r20_a_spontaneous_request_needs_no_nonce() -> None:
    stream = DeltaStream(eds("a"), eds("b"))
    stream.say(ENDPOINTS, "a")
    assert stream.say(ENDPOINTS, "b") == []  # behind the unanswered one
    assert lines(stream.ack(ENDPOINTS)) == ["ClusterLoadAssignment: +b"]


def test_r21_endpoints_never_wait_for_the_ack_of_clusters() -> None:
    stream = DeltaStream(cds("a"), eds("a"))
    stream.say(CLUSTER)
    assert lines(stream.say(ENDPOINTS, "a")) == ["ClusterLoadAssignment: +a"]


def test_r30_what_is_not_subscribed_is_not_pushed() -> None:
    stream = DeltaStream(eds("a"))
    stream.say(ENDPOINTS, "a")
    stream.ack(ENDPOINTS)
    assert stream.publish(eds("a"), eds("b")) == []


def test_r37_an_empty_first_request_is_a_wildcard_and_so_is_a_star() -> None:
    assert lines(DeltaStream(cds("a")).say(CLUSTER)) == ["Cluster: +a"]
    assert lines(DeltaStream(cds("a")).say(CLUSTER, "*")) == ["Cluster: +a"]


def test_r38_a_name_after_a_legacy_wildcard_adds_to_it() -> None:
    stream = DeltaStream(cds("a"), cds("b"))
    stream.say(CLUSTER)
    stream.ack(CLUSTER)
    assert lines(stream.say(CLUSTER, "a")) == ["Cluster: +a"]
    stream.ack(CLUSTER)
    assert lines(stream.publish(cds("a"), cds("b", 1))) == ["Cluster: +b"]


def test_r39_dropping_the_star_leaves_names_and_dropping_those_leaves_nothing() -> None:
    stream = DeltaStream(cds("a"), cds("b"))
    stream.say(CLUSTER, "*", "a")
    stream.ack(CLUSTER)
    assert stream.say(CLUSTER, drop=["*"]) == []
    assert lines(stream.publish(cds("a", 1), cds("b", 1))) == ["Cluster: +a"]
    stream.ack(CLUSTER)
    assert stream.say(CLUSTER, drop=["a"]) == []
    assert stream.publish(cds("a", 2), cds("b", 2)) == []


def test_r40_resubscribed_name_is_answered_though_unchanged() -> None:
    stream = DeltaStream(eds("a"), eds("b"))
    stream.ack_all(stream.say(ENDPOINTS, "a", "b"))
    assert lines(stream.say(ENDPOINTS, "a")) == ["ClusterLoadAssignment: +a"]


def test_r40_a_repeated_star_is_answered_with_everything() -> None:
    stream = DeltaStream(cds("a"), cds("b"))
    stream.ack_all(stream.say(CLUSTER, "*"))
    assert lines(stream.say(CLUSTER, "*")) == ["Cluster: +a +b"]


def test_r40_an_answer_waits_behind_an_unanswered_response_and_is_not_lost() -> None:
    stream = DeltaStream(eds("a"), eds("b"))
    stream.say(ENDPOINTS, "a", "b")
    assert stream.say(ENDPOINTS, "b") == []
    assert lines(stream.ack(ENDPOINTS)) == ["ClusterLoadAssignment: +b"]


def test_r41_a_name_that_does_not_exist_is_answered_each_time_and_sent_once_it_does() -> None:
    stream = DeltaStream()
    assert lines(stream.say(ENDPOINTS, "a")) == ["ClusterLoadAssignment: -a"]
    stream.ack(ENDPOINTS)
    assert lines(stream.say(ENDPOINTS, "a")) == ["ClusterLoadAssignment: -a"]
    stream.ack(ENDPOINTS)
    assert lines(stream.publish(eds("a"))) == ["ClusterLoadAssignment: +a"]


def test_r42_a_pure_unsubscribe_is_not_answered_and_a_phantom_is_ignored() -> None:
    stream = DeltaStream(eds("a"))
    stream.ack_all(stream.say(ENDPOINTS, "a"))
    assert stream.say(ENDPOINTS, drop=["a", "never subscribed"]) == []
    assert stream.publish(eds("a", 1)) == []
    assert stream.publish() == []


def test_r43_a_name_dropped_beside_a_wildcard_is_answered() -> None:
    stream = DeltaStream(cds("a"))
    stream.ack_all(stream.say(CLUSTER, "*", "a", "missing"))
    assert lines(stream.say(CLUSTER, drop=["a", "missing"])) == ["Cluster: +a -missing"]


def test_r44_only_what_changed_is_sent() -> None:
    stream = DeltaStream(cds("a"), cds("b"), cds("c"))
    stream.ack_all(stream.say(CLUSTER))
    assert lines(stream.publish(cds("a"), cds("b", 1), cds("c"))) == ["Cluster: +b"]


def test_r45_a_removal_is_sent_once() -> None:
    stream = DeltaStream(cds("a"), cds("b"))
    stream.ack_all(stream.say(CLUSTER))
    assert lines(stream.publish(cds("a"))) == ["Cluster: -b"]
    stream.ack(CLUSTER)
    assert stream.publish(cds("a")) == []


def test_r45_extension_configs_are_never_removed_nor_called_missing() -> None:
    stream = DeltaStream(resource(EXTENSION, "rbac"))
    stream.ack_all(stream.say(EXTENSION, "rbac"))
    assert stream.publish() == []
    assert stream.say(EXTENSION, "other") == []
    assert lines(stream.publish(resource(EXTENSION, "rbac", 1))) == ["TypedExtensionConfig: +rbac"]


def test_r48_the_first_wildcard_is_answered_even_with_nothing() -> None:
    stream = DeltaStream()
    assert lines(stream.say(CLUSTER)) == ["Cluster:"]
    assert lines(stream.say(LISTENER, "*")) == ["Listener:"]
    assert lines(stream.say(UNKNOWN)) == ["VirtualHost:"]


def test_r49_a_type_that_was_not_asked_for_is_not_pushed() -> None:
    stream = DeltaStream(cds("a"), eds("a"))
    assert lines(stream.say(CLUSTER)) == ["Cluster: +a"]


def test_r50_an_equal_resource_made_anew_is_not_sent() -> None:
    stream = DeltaStream(cds("a"))
    stream.ack_all(stream.say(CLUSTER))
    assert stream.publish(resource(CLUSTER, "a")) == []


def test_r53_subscribe_comes_before_unsubscribe() -> None:
    stream = DeltaStream(cds("a"))
    assert stream.say(CLUSTER, "*", drop=["*"]) == []
    assert stream.publish(cds("a", 1)) == []


def test_r55_a_reconnecting_client_is_sent_what_it_lacks_and_told_what_is_gone() -> None:
    same, old, new = cds("same"), cds("changed"), cds("changed", 1)
    stream = DeltaStream(same, new, cds("new"))
    got = stream.say(CLUSTER, has={"same": same.version, "changed": old.version, "gone": "1"})
    assert lines(got) == ["Cluster: +changed +new"]
    stream.ack(CLUSTER)
    stream.now += RESUME_PATIENCE
    assert lines(stream.sent()) == ["Cluster: -gone"]


def test_r55_a_reconnecting_client_that_has_everything_is_sent_no_resource() -> None:
    a, b = cds("a"), eds("a")
    stream = DeltaStream(a, b)
    assert lines(stream.say(CLUSTER, has={"a": a.version})) == ["Cluster:"]
    assert stream.say(ENDPOINTS, "a", has={"a": b.version}) == []


def test_r56_names_without_a_known_version_are_sent() -> None:
    a = eds("a")
    stream = DeltaStream(a, eds("b"))
    got = stream.say(ENDPOINTS, "a", "b", "c", has={"a": a.version})
    assert lines(got) == ["ClusterLoadAssignment: +b -c"]


def test_r58_endpoints_of_a_cluster_that_changed_while_away_are_sent_though_known() -> None:
    a, b = eds("a"), eds("b")
    stream = DeltaStream(cds("a", 1), cds("b"), a, b)
    assert lines(stream.say(CLUSTER, has={"a": cds("a").version, "b": cds("b").version})) == ["Cluster: +a"]
    got = stream.say(ENDPOINTS, "a", "b", has={"a": a.version, "b": b.version})
    assert lines(got) == ["ClusterLoadAssignment: +a"]


def test_r61_one_change_is_sent_in_order_and_removals_last() -> None:
    old = [resource(LISTENER, "l"), resource(ROUTES, "r"), cds("old"), eds("old"), resource(SECRET, "s")]
    stream = DeltaStream(*old)
    for type_url, names in (
        (CLUSTER, ()),
        (LISTENER, ()),
        (ROUTES, ("r",)),
        (ENDPOINTS, ("old", "new")),
        (SECRET, "s"),
    ):
        stream.ack_all(stream.say(type_url, *names))
    new = [resource(LISTENER, "l", 1), resource(ROUTES, "r", 1), cds("new"), eds("new"), resource(SECRET, "s", 1)]
    got = stream.publish(*new)
    assert lines(got) == ["Cluster: +new", "ClusterLoadAssignment: +new", "Secret: +s"]
    assert lines(stream.ack_all(got)[3:]) == [
        "Listener: +l", "RouteConfiguration: +r", "Cluster: -old", "ClusterLoadAssignment: -old",
    ]  # fmt: skip


def test_r62_routes_wait_for_the_ack_of_the_clusters_sent_with_them_but_not_for_ever() -> None:
    stream = DeltaStream(cds("a"), resource(ROUTES, "r"))
    stream.ack_all(stream.say(CLUSTER))
    stream.ack_all(stream.say(ROUTES, "r"))
    assert lines(stream.publish(cds("a"), cds("b"), resource(ROUTES, "r", 1))) == ["Cluster: +b"]
    assert stream.machine.wake_at == GATE_PATIENCE
    stream.now = GATE_PATIENCE
    assert lines(stream.sent()) == ["RouteConfiguration: +r"]


def test_r63_a_cluster_goes_only_after_the_ack_of_the_routes_that_named_it() -> None:
    stream = DeltaStream(cds("a"), resource(ROUTES, "r"))
    stream.ack_all(stream.say(CLUSTER))
    stream.ack_all(stream.say(ROUTES, "r"))
    assert lines(stream.publish(resource(ROUTES, "r", 1))) == ["RouteConfiguration: +r"]
    assert lines(stream.ack(ROUTES)) == ["Cluster: -a"]


def test_r63_a_cluster_stays_while_routes_that_may_name_it_are_refused() -> None:
    stream = DeltaStream(cds("a"), resource(ROUTES, "r"))
    stream.ack_all(stream.say(CLUSTER))
    stream.ack_all(stream.say(ROUTES, "r"))
    stream.publish(resource(ROUTES, "r", 1))
    assert stream.nack(ROUTES) == []
    assert lines(stream.publish(resource(ROUTES, "r", 2))) == ["RouteConfiguration: +r"]
    assert lines(stream.ack(ROUTES)) == ["Cluster: -a"]


def test_r63_a_listener_goes_before_its_cluster() -> None:
    stream = DeltaStream(cds("a"), resource(LISTENER, "l"))
    stream.ack_all(stream.say(CLUSTER))
    stream.ack_all(stream.say(LISTENER))
    got = stream.publish()
    assert lines(got) == ["Listener: -l"]
    assert lines(stream.ack(LISTENER)) == ["Cluster: -a"]


def test_r63_a_cluster_that_came_back_meanwhile_is_not_taken_away_for_an_older_answer() -> None:
    stream = DeltaStream(cds("a"), resource(LISTENER, "l"))
    stream.ack_all(stream.say(CLUSTER))
    stream.ack_all(stream.say(LISTENER))
    assert lines(stream.publish()) == ["Listener: -l"]
    assert stream.publish(cds("a"), resource(LISTENER, "l")) == []
    assert lines(stream.ack(LISTENER)) == ["Listener: +l"]
    assert stream.publish() == []  # the listener on its way names the cluster
    assert lines(stream.ack(LISTENER)) == ["Listener: -l"]
    assert lines(stream.ack(LISTENER)) == ["Cluster: -a"]


def test_r64_a_changed_cluster_is_followed_by_its_unchanged_endpoints() -> None:
    stream = DeltaStream(cds("a"), cds("b"), eds("a"), eds("b"))
    stream.ack_all(stream.say(CLUSTER))
    stream.ack_all(stream.say(ENDPOINTS, "a", "b"))
    got = stream.publish(cds("a", 1), cds("b"), eds("a"), eds("b"))
    assert lines(got) == ["Cluster: +a", "ClusterLoadAssignment: +a"]


def test_r64_a_changed_cluster_without_endpoints_is_told_so_at_once() -> None:
    stream = DeltaStream(cds("a"))
    stream.ack_all(stream.say(CLUSTER))
    stream.ack_all(stream.say(ENDPOINTS, "a"))
    assert lines(stream.publish(cds("a", 1))) == ["Cluster: +a", "ClusterLoadAssignment: -a"]


def test_r65_a_new_cluster_whose_endpoints_are_subscribed_already_gets_them() -> None:
    stream = DeltaStream(eds("shared"))
    stream.ack_all(stream.say(CLUSTER))
    stream.ack_all(stream.say(ENDPOINTS, "shared"))
    assert lines(stream.publish(cds("shared"), eds("shared"))) == ["Cluster: +shared", "ClusterLoadAssignment: +shared"]


def test_r66_a_changed_listener_needs_no_routes_again() -> None:
    stream = DeltaStream(resource(LISTENER, "l"), resource(ROUTES, "r"))
    stream.ack_all(stream.say(LISTENER))
    stream.ack_all(stream.say(ROUTES, "r"))
    assert lines(stream.publish(resource(LISTENER, "l", 1), resource(ROUTES, "r"))) == ["Listener: +l"]


def test_r67_a_secret_named_for_the_first_time_is_answered_whether_it_exists_or_not() -> None:
    stream = DeltaStream(resource(SECRET, "leaf"))
    assert lines(stream.say(SECRET, "leaf", "other")) == ["Secret: +leaf -other"]


def test_r69_endpoints_are_sent_again_when_asked_after_their_cluster_came() -> None:
    stream = DeltaStream(eds("a"))
    stream.ack_all(stream.say(ENDPOINTS, "a"))
    stream.ack_all(stream.say(CLUSTER))
    stream.publish(cds("a"), eds("a"))
    stream.ack(ENDPOINTS)
    assert lines(stream.say(ENDPOINTS, "a")) == ["ClusterLoadAssignment: +a"]


def test_r79_changes_merge_behind_an_unanswered_response() -> None:
    stream = DeltaStream(cds("a"))
    stream.say(CLUSTER)
    for content in range(1, 100):
        assert stream.publish(cds("a", content), cds("b", content)) == []
    assert lines(stream.ack(CLUSTER)) == ["Cluster: +a +b"]
    assert stream.ack(CLUSTER) == []


def test_r83_a_cluster_asked_for_by_name_beside_a_wildcard_is_called_missing_at_once() -> None:
    stream = DeltaStream(cds("a"))
    stream.ack_all(stream.say(CLUSTER, "*"))
    assert lines(stream.say(CLUSTER, "on-demand")) == ["Cluster: -on-demand"]
    stream.ack(CLUSTER)
    assert lines(stream.publish(cds("a"), cds("on-demand"))) == ["Cluster: +on-demand"]


def test_a_stream_that_is_in_step_holds_no_map_of_its_own() -> None:
    stream = DeltaStream(cds("a"), cds("b"))
    stream.ack_all(stream.say(CLUSTER))
    stream.ack_all(stream.publish(cds("a", 1), cds("b")))
    dialogue = stream.machine.dialogues[CLUSTER]
    assert stream.machine.view is not None
    assert dialogue.held is stream.machine.view.offered(CLUSTER)
    assert not dialogue.odd


def large(name: str, content: int = 0) -> Resource:
    """A cluster of 300 KB."""
    return encode(name, pb.Cluster(name=name, alt_stat_name=str(content) * 300_000))


def test_r70_a_long_response_goes_in_parts_each_after_the_ack_of_the_one_before() -> None:
    clusters = [large(name) for name in "abcdefgh"]
    stream = DeltaStream(*clusters, *(eds(name) for name in "abcdefgh"))
    assert lines(stream.say(CLUSTER)) == ["Cluster: +a +b +c"]
    assert lines(stream.say(ENDPOINTS, "a", "b", "c")) == ["ClusterLoadAssignment: +a +b +c"]
    assert stream.sent() == []
    assert stream.ack(ENDPOINTS) == []
    assert lines(stream.ack(CLUSTER)) == ["Cluster: +d +e +f"]
    assert lines(stream.ack(CLUSTER)) == ["Cluster: +g +h"]
    assert stream.ack(CLUSTER) == []


def test_r70_parts_are_put_together_once_for_all_streams() -> None:
    clusters = [large(name) for name in "abcdefgh"]
    shown = view(*clusters)
    one, two = DeltaStream(), DeltaStream()
    two.machine, two.assembler = DeltaMachine(one.assembler, Names()), one.assembler
    for stream in (one, two):
        stream.machine.show(shown)
    for step in range(3):
        raw = []
        for stream in (one, two):
            assert (stream.ack(CLUSTER) if step else stream.say(CLUSTER)) != []
            raw += stream.raw
        assert raw[0] is raw[1]
    assert one.assembler.assembled == 3


def test_r70_what_changes_between_parts_goes_with_the_next_one() -> None:
    clusters = {name: large(name) for name in "abcdef"}
    stream = DeltaStream(*clusters.values())
    stream.say(CLUSTER)
    clusters.pop("f")
    clusters |= {"a": large("a", 1), "x": cds("x")}
    assert stream.publish(*clusters.values()) == []
    assert lines(stream.ack(CLUSTER)) == ["Cluster: +a +d +e +x"]
    assert stream.ack(CLUSTER) == []


def test_r70_names_asked_for_again_are_answered_in_whichever_part() -> None:
    names = "abcdef"
    stream = DeltaStream(*(large(name) for name in names))
    stream.ack_all(stream.say(CLUSTER, *names))
    again = stream.ack_all(stream.say(CLUSTER, *names, "none"))
    assert lines(again) == ["Cluster: +a +b +c -none", "Cluster: +d +e +f"]


def test_r62_listeners_wait_for_the_last_part_of_the_clusters() -> None:
    stream = DeltaStream(*(large(name) for name in "abcd"), resource(LISTENER, "l"))
    stream.say(CLUSTER)
    assert stream.say(LISTENER) == []
    assert lines(stream.ack(CLUSTER)) == ["Cluster: +d", "Listener: +l"]


def test_r17_a_part_that_is_refused_does_not_hold_up_the_others() -> None:
    stream = DeltaStream(*(large(name) for name in "abcdef"))
    stream.say(CLUSTER)
    got = stream.nack(CLUSTER, "b is bad")
    seen = list(got)
    for _ in range(10):
        if not got:
            break
        bad = any("b" in each.resources for each in got)
        got = stream.nack(CLUSTER, "b is bad") if bad else stream.ack(CLUSTER)
        seen += got
    taken = {name for each in seen for name in each.resources}
    assert taken == set("abcdef")
    assert list(stream.machine.dialogues[CLUSTER].refused) == ["b"]
