"""The rules of incremental xDS, one by one (docs/xds.md): coming back, the order of types, parts of long responses."""

from __future__ import annotations

from xds import pb
from xds.delta import DeltaMachine
from xds.interest import Names
from xds.machine import GATE_PATIENCE, RESUME_PATIENCE
from xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Resource, encode
from xds_client import resource, view
from xds_stream import DeltaStream, lines


def cds(name: str, content: int = 0) -> Resource:
    return resource(CLUSTER, name, content)


def eds(name: str, content: int = 0) -> Resource:
    return resource(ENDPOINTS, name, content)


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
