"""Whatever dies, and whenever: nobody who holds a valid leaf is refused, and a rotation comes to its end.

Random walks over two replicas on one Secret: looks, kills at any request, changes of the leader, a replica cut off from
the API server, proxies that move, stay away and answer late, and people who ask for another root or for the old one.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from datetime import timedelta

from ca.rotation import Wish
from ca.storage import StorageError
from mesh.model import Identity
from rotation_world import DOMAIN, LEAF, Proxy, Replica, RotationWorld, valid

STEPS = 300
KILLS = 200
NAMES = (DOMAIN, "shop.example")


async def walk(seed: int, steps: int = STEPS) -> RotationWorld:
    """A world after a random walk, in which nobody was refused on the way."""
    world, chance = RotationWorld(), random.Random(seed)
    world.proxies = {f"n/p{i}": Proxy(f"n/p{i}", Identity(DOMAIN, "n", f"s{i % 3}")) for i in range(5)}
    await replicas_of(world, chance)
    for number in range(steps):
        await step(world, chance)
        assert world.broken() == [], f"seed {seed}, step {number}"
    return world


async def replicas_of(world: RotationWorld, chance: random.Random) -> None:
    """Two replicas again, where some have died; a new one may die while it opens the Secret."""
    while len(world.replicas) < 2:
        deadly = chance.random() < 0.3
        await world.start(chance.randint(1, 3) if deadly else 0, dies_after=chance.random() < 0.5)


async def step(world: RotationWorld, chance: random.Random) -> None:
    """One thing that happens."""
    replica = chance.choice(list(world.replicas.values()))
    proxy = chance.choice(list(world.proxies.values()))
    what = chance.choices(
        ["look", "deadly look", "lead", "cut", "connect", "leave", "answer", "ask", "time", "calm"],
        [30, 10, 4, 2, 14, 2, 30, 4, 14, 4],
    )[0]
    if what in {"look", "deadly look"}:
        await look(world, replica, chance, deadly=what == "deadly look")
    elif what == "lead":
        world.leader = replica.name
    elif what == "cut":
        replica.client.cut_off = not replica.client.cut_off
    elif what == "connect":
        await world.connect(proxy, replica)
    elif what == "leave":
        world.disconnect(proxy)
    elif what == "answer":
        for each in [proxy] if chance.random() < 0.7 else world.proxies.values():
            each.acknowledge()
    elif what == "ask":
        await want(world, chance)
    elif what == "calm":
        await gather(world)
    else:
        await let_time_pass(world, timedelta(minutes=chance.randint(1, 8)))


async def look(world: RotationWorld, replica: Replica, chance: random.Random, *, deadly: bool) -> None:
    """A replica looks at what is due; where that kills it another one begins."""
    if deadly:
        replica.client.dies_in, replica.client.dies_after = chance.randint(1, 2), chance.random() < 0.5
    await world.look(replica)
    replica.client.dies_in = 0
    await replicas_of(world, chance)


async def gather(world: RotationWorld) -> None:
    """Everybody is connected, answers and looks, but for a replica that is cut off."""
    for proxy in world.proxies.values():
        if proxy.replica is None:
            await world.connect(proxy, next(iter(world.replicas.values())))
        proxy.acknowledge()
    for replica in list(world.replicas.values()):
        await world.look(replica)


async def want(world: RotationWorld, chance: random.Random) -> None:
    """A person wants something."""
    if chance.random() < 0.4:
        await rename(world, chance.choice(NAMES))
    else:
        await ask(world, chance.choice([Wish.ROOT] * 6 + [Wish.INTERMEDIATE, Wish.BACK]))


async def ask(world: RotationWorld, wish: Wish) -> None:
    """A person asks any replica."""
    for replica in world.replicas.values():
        assert replica.authority is not None
        try:
            await replica.authority.ask(wish)
        except StorageError:
            continue


async def rename(world: RotationWorld, name: str) -> None:
    """A person changes the trust domain."""
    for replica in world.replicas.values():
        assert replica.authority is not None
        with contextlib.suppress(StorageError):
            await replica.authority.rename(name)


async def let_time_pass(world: RotationWorld, span: timedelta) -> None:
    """Everybody looks while time passes, and who is connected has a valid leaf or one on its way."""
    world.clock.skip(span)
    for replica in list(world.replicas.values()):
        await world.look(replica)
    for proxy in world.proxies.values():
        if proxy.replica is not None:
            given = proxy.sent or proxy.held
            assert given is not None
            assert valid(given.chain, world.clock.now()), f"{proxy.name} has no valid leaf"


async def settle(world: RotationWorld) -> None:
    """All is well again: everybody is connected, answers, looks, and time passes."""
    for replica in world.replicas.values():
        replica.client.cut_off, replica.client.dies_in = False, 0
    for _ in range(40):
        await gather(world)
        await let_time_pass(world, LEAF / 12)
        assert world.broken() == []


async def test_whoever_dies_nobody_is_refused_and_the_rotation_comes_to_its_end() -> None:
    kills: Counter[str] = Counter()
    for seed in itertools.count():
        world = await walk(seed)
        kills += world.kills
        await settle(world)
        issuers = world.kept()
        assert not issuers.moving, f"seed {seed}: the rotation is over"
        for replica in world.replicas.values():
            assert replica.authority is not None
            assert replica.authority.bundle_pem() == issuers.bundle_pem
            assert replica.authority.issuers.domains == issuers.domains
            assert replica.authority.trouble == ""
        if kills.total() >= KILLS:
            break
    phases = {"opening", "none", "distribute", "drain", "name: distribute", "name: drain"}
    assert set(kills) == phases, "they died in every phase"


async def rotating(clients: int = 2) -> RotationWorld:
    """Two replicas with a proxy each, and a rotation of the root that has been asked for."""
    world = RotationWorld()
    for number in range(clients):
        await world.start()
        world.proxies[f"n/p{number}"] = Proxy(f"n/p{number}", Identity(DOMAIN, "n", f"s{number}"))
    for proxy, replica in zip(world.proxies.values(), world.replicas.values(), strict=True):
        await world.connect(proxy, replica)
        proxy.acknowledge()
    leader = world.replicas[world.leader].authority
    assert leader is not None
    await leader.ask(Wish.ROOT)
    return world


async def test_nothing_is_signed_under_the_next_root_while_a_replica_that_is_cut_off_does_not_serve_it() -> None:
    world = await rotating()
    leader, other = world.replicas.values()
    other.client.cut_off = True
    for _ in range(60):
        await gather(world)
        await let_time_pass(world, LEAF / 20)
    assert world.kept().rotation.next_root is not None
    assert leader.authority is not None
    assert leader.authority.progress is not None
    assert leader.authority.progress.onlookers.behind == (other.name,)
    await settle(world)
    assert len(world.kept().roots) == 1


async def test_a_root_is_not_retired_while_a_replica_that_is_cut_off_signs_under_it() -> None:
    world = await rotating()
    leader, other = world.replicas.values()
    while world.kept().rotation.previous_root is None:
        await gather(world)
    other.client.cut_off = True
    for _ in range(60):
        await gather(world)
        await let_time_pass(world, LEAF / 20)
        assert world.broken() == []
    assert world.kept().rotation.previous_root is not None
    assert world.kept().rotation.since is None, "its time does not run yet"
    world.kill(other)
    await world.start()
    await settle(world)
    assert len(world.kept().roots) == 1
    assert leader.authority is not None
    assert leader.authority.bundle_pem() == world.kept().bundle_pem


async def test_a_proxy_that_never_answers_is_named_and_waited_for_and_one_that_is_away_only_as_long_as_its_leaf() -> (
    None
):
    world = await rotating()
    leader, _ = world.replicas.values()
    silent, away = world.proxies.values()
    world.disconnect(away)
    assert leader.authority is not None
    for _ in range(10):
        for replica in list(world.replicas.values()):
            await world.look(replica)
    assert leader.authority.progress is not None
    seen = leader.authority.progress.onlookers
    assert (seen.lacking, seen.away) == ((silent.name,), (away.name,))
    await let_time_pass(world, LEAF * 0.5)
    silent.acknowledge()
    await let_time_pass(world, LEAF * 0.5)
    assert world.kept().rotation.next_root is not None, "the one that is away may still hold a valid leaf"
    silent.acknowledge()
    await let_time_pass(world, LEAF * 0.2)
    await let_time_pass(world, LEAF * 0.01)
    assert world.kept().rotation.previous_root is not None


async def test_a_replica_that_was_killed_and_never_replaced_is_waited_for_no_longer_than_its_pod_is_there() -> None:
    world = await rotating()
    _, other = world.replicas.values()
    world.kill(other)
    for _ in range(3):
        await gather(world)
    assert world.kept().rotation.next_root is not None
    await let_time_pass(world, timedelta(seconds=31))
    await gather(world)
    await let_time_pass(world, timedelta(seconds=1))
    assert world.kept().rotation.previous_root is not None
    assert world.secret.stored is not None
    assert f"replica.{other.name}" not in world.secret.stored["data"]
