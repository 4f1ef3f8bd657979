"""A stream ends when its pod is gone from the API server, long before its token does."""

from __future__ import annotations

from datetime import timedelta

import grpc

from cluster_objects import bound_token, make_pod, remove_pod
from controlplane.kubernetes import control_plane
from controlplane.settings import KubernetesSettings
from kube.client import Client
from replicas import Proxy, Replica, make_meshed_pod, until

GRACE = timedelta(seconds=0.5)


async def test_the_stream_of_a_deleted_pod_ends_and_its_neighbour_s_goes_on(client: Client, namespace: str) -> None:
    uids = {
        name: await make_meshed_pod(client, namespace, name, f"10.9.1.{index}") for index, name in enumerate("ab", 1)
    }
    settings = KubernetesSettings(
        namespace=namespace, instance="weft-0_a", xds_address="127.0.0.1", xds_port=0, admin_port=0, gone_grace=GRACE
    )
    replica = Replica(await control_plane(settings, client))
    try:
        await until(lambda: replica.plane.server.port or replica.task.done(), "it serves")
        proxies = {}
        for name, uid in uids.items():
            token = await bound_token(client, namespace, name, f"{name}-1", uid)
            proxies[name] = Proxy(f"{namespace}/{name}-1", token, replica.plane.authority.bundle_pem())
            proxies[name].connect(replica.plane.server.port)
        await until(lambda: all(proxy.resent for proxy in proxies.values()), "both are served")
        await remove_pod(client, namespace, "a-1")
        # Another pod takes its name, as a StatefulSet's does.
        await make_pod(client, namespace, "a-1", "a")
        await until(lambda: proxies["a"].ending, "the stream has ended")
        assert proxies["a"].ending == (grpc.StatusCode.UNAUTHENTICATED, "the pod of this stream's token is gone")
        assert proxies["b"].ending is None
        await proxies["b"].close()
    finally:
        await replica.end()
