"""Proxies are let in by tokens the API server vouches for: ours, of a live pod, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from api_server import ApiServer
from ca.token_review import ReviewSettings, TokenReviewer
from cluster_objects import LivePods, bound_token, make_pod, make_service_account, remove_pod
from kube.client import Client
from mesh.model import Identity, PodId
from xds.peer import Refused, Unknown

SETTINGS = ReviewSettings(trust_domain="cluster.local")


@pytest.fixture
async def pods(client: Client, namespace: str) -> LivePods:
    """web-1 of ServiceAccount web, known to the source."""
    await make_service_account(client, namespace, "web")
    pods = LivePods()
    pods.uids[PodId(namespace, "web-1")] = await make_pod(client, namespace, "web-1", "web")
    return pods


@pytest.fixture
def reviewer(client: Client, pods: LivePods) -> TokenReviewer:
    return TokenReviewer(client, SETTINGS, pods)


async def token_of(client: Client, pods: LivePods, pod: PodId, audience: str = "weft") -> str:
    return await bound_token(client, pod.namespace, "web", pod.name, pods.uids[pod], audience=audience)


def payload(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    claims: dict[str, object] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


async def test_the_identity_and_the_pod_are_those_of_the_token(
    client: Client, namespace: str, pods: LivePods, reviewer: TokenReviewer
) -> None:
    pod = PodId(namespace, "web-1")
    token = await token_of(client, pods, pod)
    peer = await reviewer.authenticate(token)
    assert (peer.identity, peer.pod) == (Identity("cluster.local", namespace, "web"), pod)
    assert peer.expires == payload(token)["exp"]


async def test_a_token_is_reviewed_once_however_many_streams_bring_it(
    client: Client, namespace: str, pods: LivePods, reviewer: TokenReviewer
) -> None:
    token = await token_of(client, pods, PodId(namespace, "web-1"))
    peers = await asyncio.gather(*(reviewer.authenticate(token) for _ in range(20)))
    assert len(set(peers)) == 1
    await reviewer.authenticate(token)
    assert reviewer.counted["reviewed"] == 1


@pytest.mark.parametrize("audience", ["https://kubernetes.default.svc.cluster.local", "istio-ca"])
async def test_a_token_for_somebody_else_is_refused(
    client: Client, namespace: str, pods: LivePods, reviewer: TokenReviewer, audience: str
) -> None:
    token = await token_of(client, pods, PodId(namespace, "web-1"), audience)
    with pytest.raises(Refused, match=r"refused the token|not meant for weft"):
        await reviewer.authenticate(token)


async def test_a_token_bound_to_no_pod_is_refused(client: Client, namespace: str, reviewer: TokenReviewer) -> None:
    with pytest.raises(Refused, match="bound to no pod"):
        await reviewer.authenticate(await bound_token(client, namespace, "web"))


@pytest.mark.parametrize("change", ["signature", "claims", "nonsense", "empty"])
async def test_a_token_that_the_api_server_did_not_sign_is_refused_and_not_quoted(
    client: Client, namespace: str, pods: LivePods, reviewer: TokenReviewer, change: str
) -> None:
    header, claims, signature = (await token_of(client, pods, PodId(namespace, "web-1"))).split(".")
    forged = json.dumps({**payload(f"{header}.{claims}.{signature}"), "sub": "system:serviceaccount:kube-system:root"})
    wrong = {
        "signature": f"{header}.{claims}.{signature[::-1]}",
        "claims": f"{header}.{base64.urlsafe_b64encode(forged.encode()).decode().rstrip('=')}.{signature}",
        "nonsense": "not-a-token",
        "empty": "",
    }[change]
    with pytest.raises(Refused) as refusal:
        await reviewer.authenticate(wrong)
    assert not wrong or wrong not in str(refusal.value)


async def test_a_token_is_refused_once_its_pod_is_gone_though_it_was_good_before(
    client: Client, namespace: str, pods: LivePods, reviewer: TokenReviewer
) -> None:
    pod = PodId(namespace, "web-1")
    token = await token_of(client, pods, pod)
    await reviewer.authenticate(token)
    await remove_pod(client, namespace, "web-1")
    del pods.uids[pod]
    with pytest.raises(Refused, match="web-1 that is gone"):
        await reviewer.authenticate(token)


async def test_a_token_is_refused_when_another_pod_has_its_pods_name(
    client: Client, namespace: str, pods: LivePods, reviewer: TokenReviewer
) -> None:
    pod = PodId(namespace, "web-1")
    token = await token_of(client, pods, pod)
    await reviewer.authenticate(token)
    await remove_pod(client, namespace, "web-1")
    pods.uids[pod] = await make_pod(client, namespace, "web-1", "web")
    with pytest.raises(Refused, match="web-1 that is gone"):
        await reviewer.authenticate(token)
    peer = await reviewer.authenticate(await token_of(client, pods, pod))
    assert peer.pod == pod


async def test_a_replica_that_never_knew_the_pod_hears_of_its_end_from_the_api_server(
    client: Client, namespace: str, pods: LivePods
) -> None:
    token = await token_of(client, pods, PodId(namespace, "web-1"))
    await remove_pod(client, namespace, "web-1")
    with pytest.raises(Refused, match="refused the token"):
        await TokenReviewer(client, SETTINGS, LivePods()).authenticate(token)


async def test_a_pod_that_the_source_does_not_know_yet_is_let_in_and_asked_about_each_time(
    client: Client, namespace: str, pods: LivePods
) -> None:
    token = await token_of(client, pods, PodId(namespace, "web-1"))
    late = LivePods()
    reviewer = TokenReviewer(client, SETTINGS, late)
    await reviewer.authenticate(token)
    await reviewer.authenticate(token)
    assert reviewer.counted["reviewed"] == 2
    late.uids.update(pods.uids)
    await reviewer.authenticate(token)
    await reviewer.authenticate(token)
    assert reviewer.counted["reviewed"] == 2


async def test_while_the_api_server_is_away_known_tokens_hold_and_others_are_told_to_come_again(
    client: Client, namespace: str, pods: LivePods, reviewer: TokenReviewer, api_server: ApiServer
) -> None:
    pod = PodId(namespace, "web-1")
    known, other = await token_of(client, pods, pod), await token_of(client, pods, pod)
    await reviewer.authenticate(known)
    await asyncio.to_thread(api_server.go_away)
    try:
        assert (await reviewer.authenticate(known)).pod == pod
        with pytest.raises(Unknown, match="does not say now"):
            await reviewer.authenticate(other)
    finally:
        await asyncio.to_thread(api_server.come_back)
    assert (await reviewer.authenticate(other)).pod == pod
