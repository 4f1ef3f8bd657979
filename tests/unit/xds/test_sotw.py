"""The rules of state-of-the-world xDS, one by one (docs/xds.md)."""

from __future__ import annotations

import pytest

from xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Resource
from xds.wire import ProtocolFault
from xds_client import resource
from xds_stream import SotwStream, lines

UNKNOWN = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"


def cds(name: str, content: int = 0) -> Resource:
    return resource(CLUSTER, name, content)


def eds(name: str, content: int = 0) -> Resource:
    return resource(ENDPOINTS, name, content)


def test_r4_a_request_without_a_type_ends_the_stream() -> None:
    with pytest.raises(ProtocolFault, match="type_url is missing"):
        SotwStream().say("")


def test_r6_an_unknown_type_is_answered_with_nothing_and_the_stream_lives() -> None:
    stream = SotwStream(cds("a"))
    assert stream.say(UNKNOWN, "x") == []
    assert stream.say(UNKNOWN, "x", "y") == []
    assert lines(stream.say(CLUSTER)) == ["Cluster: +a"]


def test_r12_the_version_is_of_the_type_and_changes_with_each_of_its_resources() -> None:
    stream = SotwStream(cds("a"), cds("b"), resource(LISTENER, "l"))
    clusters = stream.say(CLUSTER)[0].version
    listeners = stream.say(LISTENER)[0].version
    stream.ack(CLUSTER)
    stream.ack(LISTENER)
    (changed,) = stream.publish(cds("a"), cds("b", 1), resource(LISTENER, "l"))
    assert len({clusters, listeners, changed.version}) == 3


def test_r13_an_ack_is_not_answered() -> None:
    stream = SotwStream(cds("a"))
    stream.say(CLUSTER)
    assert stream.ack(CLUSTER) == []


def test_r14_an_old_version_without_error_detail_is_no_nack() -> None:
    stream = SotwStream(eds("a"), eds("b"))
    stream.say(ENDPOINTS, "a")
    stream.say(ENDPOINTS, "a", version="something else")
    assert not stream.machine.dialogues[ENDPOINTS].error
    assert lines(stream.publish(eds("a", 1))) == ["ClusterLoadAssignment: +a"]


def test_r15_refused_content_is_not_sent_again_until_it_changes() -> None:
    stream = SotwStream(cds("a"))
    stream.say(CLUSTER)
    assert stream.nack(CLUSTER) == []
    assert stream.publish(cds("a")) == []
    assert lines(stream.publish(cds("a", 1))) == ["Cluster: +a"]


def test_r17_a_bad_cluster_stays_at_its_last_good_version_while_the_others_go_on() -> None:
    good = cds("bad")
    stream = SotwStream(good, cds("x"))
    stream.say(CLUSTER)
    stream.ack(CLUSTER)
    worse = cds("bad", 666)
    stream.publish(worse, cds("x", 1), cds("y"))
    got = stream.nack(CLUSTER, "Error updating cluster bad")
    assert got[0].resources == {"bad": good.version, "x": cds("x", 1).version, "y": cds("y").version}
    got = stream.ack(CLUSTER)
    assert got[0].resources["bad"] == worse.version  # tried once more, alone
    assert stream.nack(CLUSTER) == []
    (later,) = stream.publish(worse, cds("x", 2), cds("y"))
    assert later.resources == {"bad": good.version, "x": cds("x", 2).version, "y": cds("y").version}


def test_r17_a_bad_cluster_that_was_never_taken_is_left_out() -> None:
    stream = SotwStream(cds("bad"), cds("x"))
    stream.say(CLUSTER)
    assert lines(stream.nack(CLUSTER, "bad is bad")) == ["Cluster: +x"]
    assert lines(stream.ack(CLUSTER)) == ["Cluster: +bad +x"]
    stream.nack(CLUSTER)
    assert lines(stream.publish(cds("bad"), cds("x"), cds("y"))) == ["Cluster: +x +y"]


def test_r18_a_stale_nonce_is_ignored_but_not_on_a_new_stream() -> None:
    stream = SotwStream(eds("a"), eds("b"))
    assert lines(stream.say(ENDPOINTS, "a", nonce="of another stream", version="7")) == ["ClusterLoadAssignment: +a"]
    assert stream.say(ENDPOINTS, "a", "b", nonce="stale") == []
    assert lines(stream.say(ENDPOINTS, "a", "b")) == ["ClusterLoadAssignment: +b"]


def test_r22_r32_all_requested_names_that_exist_are_supplied() -> None:
    stream = SotwStream(eds("a"), eds("b"), eds("c"))
    assert lines(stream.say(ENDPOINTS, "a", "c")) == ["ClusterLoadAssignment: +a +c"]


def test_r23_an_added_name_is_sent_also_when_it_was_sent_before() -> None:
    stream = SotwStream(eds("a"), eds("b"))
    stream.say(ENDPOINTS, "a", "b")
    stream.ack(ENDPOINTS)
    assert stream.say(ENDPOINTS, "a") == []
    assert lines(stream.say(ENDPOINTS, "a", "b")) == ["ClusterLoadAssignment: +b"]


def test_r24_an_empty_first_request_is_a_wildcard_and_so_is_a_star() -> None:
    assert lines(SotwStream(cds("a")).say(CLUSTER)) == ["Cluster: +a"]
    assert lines(SotwStream(cds("a")).say(CLUSTER, "*")) == ["Cluster: +a"]


def test_r25_r26_the_documents_example_of_coming_and_going_names() -> None:
    stream = SotwStream(cds("A"), cds("B"))
    assert lines(stream.say(CLUSTER)) == ["Cluster: +A +B"]
    assert lines(stream.say(CLUSTER, "*", "A")) == ["Cluster: +A +B"]
    assert stream.say(CLUSTER, "A") == []
    assert lines(stream.publish(cds("A", 1), cds("B", 1))) == ["Cluster: +A"]
    assert stream.say(CLUSTER) == []  # nothing, not everything
    assert stream.publish(cds("A", 2), cds("B", 2)) == []


def test_r25_a_name_after_a_legacy_wildcard_ends_it() -> None:
    stream = SotwStream(cds("A"), cds("B"))
    stream.say(CLUSTER)
    stream.ack(CLUSTER)
    stream.say(CLUSTER, "A")
    stream.ack(CLUSTER)
    assert stream.publish(cds("A"), cds("B", 1)) == []


def test_r27_clusters_and_listeners_are_sent_whole_and_absence_deletes() -> None:
    stream = SotwStream(cds("a"), cds("b"), resource(LISTENER, "l"))
    stream.say(CLUSTER)
    stream.ack(CLUSTER)
    assert lines(stream.publish(cds("a"), cds("b", 1), cds("c"))) == ["Cluster: +a +b +c"]
    stream.ack(CLUSTER)
    assert lines(stream.publish(cds("a"))) == ["Cluster: +a"]
    stream.ack(CLUSTER)
    assert lines(stream.publish()) == ["Cluster:"]


def test_r28_r29_of_other_types_only_changes_are_sent_and_a_removal_is_silent() -> None:
    stream = SotwStream(eds("a"), eds("b"))
    stream.say(ENDPOINTS, "a", "b")
    stream.ack(ENDPOINTS)
    assert lines(stream.publish(eds("a", 1), eds("b"))) == ["ClusterLoadAssignment: +a"]
    stream.ack(ENDPOINTS)
    assert stream.publish(eds("b")) == []
    assert lines(stream.publish(eds("a", 1), eds("b"))) == ["ClusterLoadAssignment: +a"]


def test_r30_what_is_not_subscribed_is_not_pushed() -> None:
    stream = SotwStream(eds("a"))
    stream.say(ENDPOINTS, "a")
    stream.ack(ENDPOINTS)
    assert stream.publish(eds("a"), eds("b")) == []


def test_r31_a_missing_name_is_remembered_and_sent_once_it_exists() -> None:
    stream = SotwStream()
    assert stream.say(ENDPOINTS, "a") == []
    assert lines(stream.publish(eds("a"))) == ["ClusterLoadAssignment: +a"]


def test_r33_a_wildcard_client_that_comes_back_with_everything_is_sent_nothing() -> None:
    stream = SotwStream(cds("a"))
    version = stream.say(CLUSTER)[0].version
    again = SotwStream(cds("a"))
    assert again.say(CLUSTER, version=version, nonce="old") == []
    assert lines(again.publish(cds("a"), cds("b"))) == ["Cluster: +a +b"]


def test_r33_names_are_always_sent_again_after_reconnecting() -> None:
    stream = SotwStream(eds("a"))
    version = stream.say(ENDPOINTS, "a")[0].version
    assert lines(SotwStream(eds("a")).say(ENDPOINTS, "a", version=version)) == ["ClusterLoadAssignment: +a"]


def test_r34_an_identical_request_after_a_cluster_is_answered_once() -> None:
    stream = SotwStream(cds("a"), eds("a"))
    stream.say(CLUSTER)
    stream.ack(CLUSTER)
    stream.say(ENDPOINTS, "a")
    stream.ack(ENDPOINTS)
    assert stream.ack(ENDPOINTS) == []  # nothing warms: just an ACK said twice
    assert lines(stream.publish(cds("a", 1), eds("a"))) == ["Cluster: +a", "ClusterLoadAssignment: +a"]
    assert stream.ack(ENDPOINTS) == []
    assert lines(stream.ack(ENDPOINTS)) == ["ClusterLoadAssignment: +a"]
    assert stream.ack(ENDPOINTS) == []
    assert stream.ack(ENDPOINTS) == []


def test_r34_routes_are_answered_when_asked_again_after_their_listener() -> None:
    stream = SotwStream(resource(LISTENER, "l"), resource(ROUTES, "r"))
    stream.say(LISTENER)
    stream.ack(LISTENER)
    stream.say(ROUTES, "r")
    stream.ack(ROUTES)
    stream.publish(resource(LISTENER, "l", 1), resource(ROUTES, "r"))
    assert lines(stream.ack(ROUTES)) == ["RouteConfiguration: +r"]


def test_r35_only_the_new_endpoints_are_sent() -> None:
    stream = SotwStream(eds("a"), eds("b"))
    stream.say(ENDPOINTS, "a")
    stream.ack(ENDPOINTS)
    assert lines(stream.say(ENDPOINTS, "a", "b")) == ["ClusterLoadAssignment: +b"]


def test_r36_a_hint_that_crosses_a_response_is_no_nack_and_its_names_come_with_the_ack() -> None:
    stream = SotwStream(eds("a"), eds("b"))
    first = stream.say(ENDPOINTS, "a")[0]
    stream.ack(ENDPOINTS)
    stream.publish(eds("a", 1), eds("b"))
    assert stream.say(ENDPOINTS, "a", "b", nonce=first.nonce) == []
    assert not stream.machine.dialogues[ENDPOINTS].error
    assert lines(stream.say(ENDPOINTS, "a", "b")) == ["ClusterLoadAssignment: +b"]


def test_r48_the_first_wildcard_is_answered_even_with_nothing() -> None:
    stream = SotwStream()
    assert lines(stream.say(CLUSTER)) == ["Cluster:"]
    assert lines(stream.say(LISTENER)) == ["Listener:"]


def test_r63_a_cluster_stays_in_the_set_until_the_routes_that_named_it_are_answered() -> None:
    stream = SotwStream(cds("a"), resource(ROUTES, "r"))
    stream.say(CLUSTER)
    stream.ack(CLUSTER)
    stream.say(ROUTES, "r")
    stream.ack(ROUTES)
    assert lines(stream.publish(cds("b"), resource(ROUTES, "r", 1))) == ["Cluster: +a +b"]
    assert lines(stream.ack(CLUSTER)) == ["RouteConfiguration: +r"]
    assert lines(stream.ack(ROUTES)) == ["Cluster: +b"]


def test_r67_a_secret_is_answered() -> None:
    stream = SotwStream(resource(SECRET, "leaf"))
    assert lines(stream.say(SECRET, "leaf")) == ["Secret: +leaf"]


def test_r79_changes_merge_behind_an_unanswered_response() -> None:
    stream = SotwStream(cds("a"))
    stream.say(CLUSTER)
    for content in range(1, 100):
        assert stream.publish(cds("a", content)) == []
    assert stream.ack(CLUSTER)[0].resources == {"a": cds("a", 99).version}
