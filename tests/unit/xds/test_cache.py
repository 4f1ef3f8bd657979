"""Who is woken by what, and what a stream sees of the World."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from weakref import ref

import pytest

from mesh.model import Identity, PodId
from xds.audience import Watch
from xds.cache import Cache
from xds.interest import Interest
from xds.resource import CLUSTER, ENDPOINTS, RUNTIME, SECRET, TYPES, Resource
from xds.resourceset import ResourceSet
from xds.snapshot import Snapshot, World
from xds.view import View
from xds_client import resource

FRONT = Identity("cluster.local", "shop", "storefront")
BACK = Identity("cluster.local", "shop", "catalog")
POD, OTHER = PodId("shop", "storefront-1"), PodId("shop", "catalog-1")


@dataclass
class Woken:
    """A stream that writes down what wakes it."""

    changes: list[frozenset[str]] = field(default_factory=list)

    def __call__(self, _view: View, changed: frozenset[str]) -> bool:
        self.changes.append(changed)
        return True


def snapshot(identity: Identity, *resources: Resource) -> Snapshot:
    return Snapshot(
        identity,
        {url: {each.name: each for each in resources if each.type_url == url} for url in TYPES},
    )


def world(*front: Resource, back: tuple[Resource, ...] = (), proxies: dict[PodId, str] | None = None) -> World:
    return World(
        {"front": snapshot(FRONT, *front), "back": snapshot(BACK, *back)},
        proxies if proxies is not None else {POD: "front", OTHER: "back"},
    )


def watch(cache: Cache, pod: PodId = POD, identity: Identity = FRONT) -> tuple[Watch, Woken]:
    """A stream that wants everything of every type."""
    held, woken = silent_watch(cache, pod, identity)
    for type_url in TYPES:
        held.want(type_url, Interest(wildcard=True))
    return held, woken


def silent_watch(cache: Cache, pod: PodId = POD, identity: Identity = FRONT) -> tuple[Watch, Woken]:
    """A stream that has not said yet what it wants."""
    woken = Woken()
    return cache.watch(pod, identity, woken), woken


def test_r9_a_cache_without_a_world_is_not_ready() -> None:
    cache = Cache()
    assert not cache.ready
    cache.publish(World())
    assert cache.ready


def test_only_streams_whose_role_changed_are_woken() -> None:
    cache = Cache()
    cache.publish(world(resource(CLUSTER, "a")))
    _, front = watch(cache)
    _, back = watch(cache, OTHER, BACK)
    cache.publish(world(resource(CLUSTER, "a", 1)))
    assert front.changes == [{CLUSTER}]
    assert back.changes == []
    assert cache.wakeups == 1


def test_an_equal_world_wakes_nobody_and_keeps_its_sets() -> None:
    cache = Cache()
    cache.publish(world(resource(CLUSTER, "a"), resource(ENDPOINTS, "a")))
    held, woken = watch(cache)
    before = held.view
    cache.publish(world(resource(CLUSTER, "a"), resource(ENDPOINTS, "a")))
    assert held.view is before
    assert woken.changes == []


def test_an_unchanged_type_keeps_its_set_when_another_changes() -> None:
    cache = Cache()
    cache.publish(world(resource(CLUSTER, "a"), resource(ENDPOINTS, "a")))
    before = cache.view(POD)
    cache.publish(world(resource(CLUSTER, "a"), resource(ENDPOINTS, "a", 1)))
    after = cache.view(POD)
    assert before is not None
    assert after is not None
    assert before.offered(CLUSTER) is after.offered(CLUSTER)
    assert before.offered(ENDPOINTS) is not after.offered(ENDPOINTS)


def test_a_pod_that_becomes_known_later_wakes_its_stream() -> None:
    cache = Cache()
    cache.publish(world(proxies={}))
    held, woken = watch(cache)
    assert (held.view, cache.view(POD)) == (None, None)
    cache.publish(world(resource(CLUSTER, "a")))
    assert held.view is cache.view(POD)
    assert len(woken.changes) == 1


def test_a_pod_that_changes_its_role_moves_with_its_stream() -> None:
    cache = Cache()
    roles = {"one": snapshot(FRONT, resource(CLUSTER, "a")), "two": snapshot(FRONT, resource(CLUSTER, "b"))}
    cache.publish(World(roles, {POD: "one"}))
    held, woken = watch(cache)
    cache.publish(World(roles, {POD: "two"}))
    assert held.view is cache.view(POD)
    assert len(woken.changes) == 1
    cache.publish(World(roles | {"one": snapshot(FRONT)}, {POD: "two"}))
    assert len(woken.changes) == 1  # the old role is no business of its own any more


def test_a_pod_that_is_gone_keeps_its_last_view() -> None:
    cache = Cache()
    cache.publish(world(resource(CLUSTER, "a")))
    held, woken = watch(cache)
    before = held.view
    cache.publish(world(resource(CLUSTER, "a"), proxies={}))
    assert held.view is before
    assert woken.changes == []


def test_secrets_go_to_the_streams_of_their_identity_alone() -> None:
    cache = Cache()
    cache.publish(world(resource(CLUSTER, "a")))
    front, front_woken = watch(cache)
    back, back_woken = watch(cache, OTHER, BACK)
    leaf = resource(SECRET, "leaf")
    cache.publish_secrets(FRONT, {"leaf": leaf})
    assert front.view is not None
    assert back.view is not None
    assert front.view.offered(SECRET).get("leaf") == leaf
    assert "leaf" not in back.view.offered(SECRET)
    assert front_woken.changes == [{SECRET}]
    assert back_woken.changes == []
    cache.publish_secrets(FRONT, {"leaf": resource(SECRET, "leaf")})
    assert len(front_woken.changes) == 1


def test_secrets_stay_when_the_world_changes_and_go_with_the_last_stream() -> None:
    cache = Cache()
    cache.publish(world(resource(CLUSTER, "a")))
    held, _ = watch(cache)
    cache.publish_secrets(FRONT, {"leaf": resource(SECRET, "leaf")})
    cache.publish(world(resource(CLUSTER, "a", 1)))
    view = cache.view(POD)
    assert view is not None
    assert "leaf" in view.offered(SECRET)
    cache.leave(held)
    assert not cache.has_secrets(FRONT)
    cache.publish_secrets(BACK, {"leaf": resource(SECRET, "leaf")})
    assert not cache.has_secrets(BACK)  # nobody is there to hear it


def test_a_stream_that_left_is_not_woken() -> None:
    cache = Cache()
    cache.publish(world(resource(CLUSTER, "a")))
    held, woken = watch(cache)
    cache.leave(held)
    cache.publish(world(resource(CLUSTER, "a", 1)))
    assert woken.changes == []


def test_r47_a_world_with_a_resource_under_a_wrong_type_is_refused_and_the_last_one_stays() -> None:
    cache = Cache()
    cache.publish(world(resource(CLUSTER, "a")))
    before = cache.view(POD)
    with pytest.raises(ValueError, match="stands under"):
        cache.publish(World({"front": Snapshot(FRONT, {CLUSTER: {"a": resource(ENDPOINTS, "a")}})}, {POD: "front"}))
    assert cache.view(POD) is before


def named(*names: str) -> Interest:
    return Interest(names=frozenset(names))


def test_a_stream_is_woken_only_by_changes_of_names_it_wants() -> None:
    cache = Cache()
    cache.publish(world(resource(ENDPOINTS, "a"), resource(ENDPOINTS, "b")))
    watches = [silent_watch(cache) for _ in range(10)]
    for number, (held, _) in enumerate(watches):
        held.want(ENDPOINTS, named("a") if number < 3 else named("b", "c"))
    cache.publish(world(resource(ENDPOINTS, "a", 1), resource(ENDPOINTS, "b")))
    assert cache.wakeups == 3
    assert [len(woken.changes) for _, woken in watches] == [1] * 3 + [0] * 7
    cache.publish(world(resource(ENDPOINTS, "a", 1), resource(ENDPOINTS, "b"), resource(ENDPOINTS, "c")))
    assert cache.wakeups == 3 + 7  # a name that was missing appears
    cache.publish(world(resource(ENDPOINTS, "b"), resource(ENDPOINTS, "c")))
    assert cache.wakeups == 3 + 7 + 3  # a name is gone


def test_a_stream_that_is_not_woken_sees_the_new_view_all_the_same() -> None:
    cache = Cache()
    cache.publish(world(resource(ENDPOINTS, "a")))
    held, woken = silent_watch(cache)
    held.want(ENDPOINTS, named("a"))
    cache.publish(world(resource(ENDPOINTS, "a"), resource(ENDPOINTS, "b")))
    assert woken.changes == []
    assert held.view is cache.view(POD)


def test_a_stream_that_changes_what_it_wants_is_woken_by_that_alone() -> None:
    cache = Cache()
    cache.publish(world(resource(ENDPOINTS, "a"), resource(ENDPOINTS, "b")))
    held, woken = silent_watch(cache)
    held.want(ENDPOINTS, named("a"))
    held.want(ENDPOINTS, named("b"))
    cache.publish(world(resource(ENDPOINTS, "a", 1), resource(ENDPOINTS, "b")))
    assert woken.changes == []
    cache.publish(world(resource(ENDPOINTS, "a", 1), resource(ENDPOINTS, "b", 1)))
    assert woken.changes == [{ENDPOINTS}]


def test_one_publication_wakes_a_stream_once_however_many_types_changed() -> None:
    cache = Cache()
    cache.publish(world(resource(CLUSTER, "a"), resource(ENDPOINTS, "a")))
    _, woken = watch(cache)
    cache.publish(world(resource(CLUSTER, "a", 1), resource(ENDPOINTS, "a", 1)))
    assert woken.changes == [{CLUSTER, ENDPOINTS}]
    assert cache.wakeups == 1


def test_roles_with_equal_content_share_their_sets() -> None:
    cache = Cache()
    shared = (resource(CLUSTER, "a"), resource(CLUSTER, "b"))
    cache.publish(world(*shared, back=shared))
    front, back = cache.view(POD), cache.view(OTHER)
    assert front is not None
    assert back is not None
    assert front.offered(CLUSTER) is back.offered(CLUSTER)
    changed = (shared[0], resource(CLUSTER, "b", 1))
    cache.publish(world(*changed, back=changed))
    front, back = cache.view(POD), cache.view(OTHER)
    assert front is not None
    assert back is not None
    assert front.offered(CLUSTER) is back.offered(CLUSTER)
    assert set(front.offered(CLUSTER).named.values()) == set(changed)


def test_what_a_stream_holds_is_the_same_object_after_changes_that_do_not_concern_it() -> None:
    """Else every stream would keep alive the set of the moment at which it was last told something."""
    cache = Cache()
    names = [frozenset({"a", "missing"}), frozenset({"b"})]

    def offered() -> ResourceSet:
        view = cache.view(POD)
        assert view is not None
        return view.offered(ENDPOINTS)

    cache.publish(world(resource(ENDPOINTS, "a"), resource(ENDPOINTS, "b")))
    first = ref(offered())
    held = [offered().only(each) for each in names]
    cache.publish(world(resource(ENDPOINTS, "a"), resource(ENDPOINTS, "b", 1)))
    assert offered().only(names[0]) is held[0]
    assert offered().only(names[1]) is not held[1]
    assert held[0].only(frozenset({"missing", "b"})) is offered().only(frozenset())
    del held[1]
    gc.collect()
    assert first() is None
    cache.publish(world(resource(ENDPOINTS, "a"), resource(ENDPOINTS, "missing")))
    assert list(offered().only(names[0])) != list(held[0])


def test_a_stream_that_held_everything_holds_the_same_when_more_appears() -> None:
    cache = Cache()
    cache.publish(world(resource(ENDPOINTS, "a")))
    names = frozenset({"a"})
    view = cache.view(POD)
    assert view is not None
    held = view.offered(ENDPOINTS).only(names)
    cache.publish(world(resource(ENDPOINTS, "a"), resource(ENDPOINTS, "b")))
    view = cache.view(POD)
    assert view is not None
    assert view.offered(ENDPOINTS).only(names) is held
    assert view.offered(ENDPOINTS).only(names | {"b"}) is not held


def test_a_set_that_comes_back_while_streams_hold_it_is_a_whole_set_again() -> None:
    cache = Cache()
    a, b, c = (resource(ENDPOINTS, name) for name in "abc")

    def only(*names: str) -> ResourceSet:
        view = cache.view(POD)
        assert view is not None
        return view.offered(ENDPOINTS).only(frozenset(names))

    cache.publish(world(a))
    held = [only("a"), only("a", "b")]
    for shown in ((a, b), (a,), (a, b, c), (b,), (a,), (a, b)):
        cache.publish(world(*shown))
        held += [only("a"), only("a", "b"), only("a", "b", "c")]
        names = {each.name for each in shown}
        assert [set(each) for each in held[-3:]] == [names & {"a"}, names & {"a", "b"}, names]


def test_secrets_of_another_identity_are_never_shared() -> None:
    cache = Cache()
    cache.publish(world(resource(CLUSTER, "a"), back=(resource(CLUSTER, "a"),)))
    front, _ = watch(cache)
    back, _ = watch(cache, OTHER, BACK)
    cache.publish_secrets(FRONT, {"leaf": resource(SECRET, "leaf", 1)})
    cache.publish_secrets(BACK, {"leaf": resource(SECRET, "leaf", 2)})
    assert front.view is not None
    assert back.view is not None
    assert front.view.offered(SECRET).get("leaf") == resource(SECRET, "leaf", 1)
    assert back.view.offered(SECRET).get("leaf") == resource(SECRET, "leaf", 2)


def test_a_pod_that_is_gone_from_the_world_is_still_given_new_secrets() -> None:
    cache = Cache()
    cache.publish(world(resource(CLUSTER, "a")))
    held, woken = watch(cache)
    cache.publish(World())
    cache.publish_secrets(FRONT, {"leaf": resource(SECRET, "leaf", 1)})
    assert held.view is not None
    assert held.view.offered(SECRET).get("leaf") == resource(SECRET, "leaf", 1)
    assert woken.changes == [{SECRET}]


def test_the_view_of_a_role_without_streams_holds_no_keys() -> None:
    cache = Cache()
    cache.publish(world(resource(CLUSTER, "a")))
    held, _ = watch(cache)
    cache.publish_secrets(FRONT, {"leaf": resource(SECRET, "leaf", 1)})
    cache.leave(held)
    view = cache.view(POD)
    assert view is not None
    assert len(view.offered(SECRET)) == 0


def test_a_type_that_a_role_has_nothing_of_is_always_the_same_set() -> None:
    view = View("role", FRONT, {})
    assert view.offered(RUNTIME) is view.offered(RUNTIME)
    assert len(view.offered("type.googleapis.com/not.Known")) == 0
