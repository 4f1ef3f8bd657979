"""The rules of incremental xDS, one by one (docs/xds.md): subscriptions, answers, refusals."""

from __future__ import annotations

import pytest

from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, Resource
from xds.wire import Assembler, ProtocolFault
from xds_client import resource
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
