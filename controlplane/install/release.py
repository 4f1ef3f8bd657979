"""The release in a cluster: installed, upgraded and removed by Helm's engine, so that `helm list` knows it too.

Rule: what people wrote outlives us. The CRDs, and with them every SMI object, and the issuer's key stay unless their
removal is asked for by name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from controlplane.install.chart import NAMESPACE, RELEASE, InstallError, engine, loaded, merged, reported
from kube.client import ApiError, Client, ClientSettings

CRD_PATH: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
"""Where the API server has CustomResourceDefinitions."""

ROOT_CONFIG_MAP: Final = "weft-root"
"""What the control plane writes into namespaces, so that sidecars know it."""

CA_SECRET: Final = "weft-ca"  # noqa: S105 - the name of a Secret
"""Where the control plane's replicas share the issuer's key."""

TLS_SECRET: Final = "weft-webhook-tls"  # noqa: S105 - the name of a Secret
"""The webhook's certificate."""

LEASE: Final = "weft-leader"
"""Which replica writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which cluster, as whom, and in which namespace."""

    client: ClientSettings = field(default_factory=ClientSettings)
    namespace: str = NAMESPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a release is changed: `dry_run` only asks what would be, `wait` (seconds) waits until all of it is ready."""

    dry_run: bool = False
    wait: float | None = None

    def options(self) -> dict[str, Any]:
        """As Helm's engine takes it."""
        waiting = {} if self.wait is None else {"wait": "watcher", "timeout": max(1, round(self.wait))}
        return {"dry_run": "server" if self.dry_run else None, **waiting}


def install(target: Target, values: Mapping[str, Any], manner: Manner) -> dict[str, Any]:
    """Install the chart as a new release; Helm's summary of it. Raises InstallError."""
    with _cluster(target) as cluster, loaded() as chart:
        for former in releases(cluster):
            mending = "`weft upgrade` changes it" if former["status"] == "deployed" else "`weft uninstall` removes it"
            raise InstallError(f"a release {RELEASE} is in {target.namespace} already, {former['status']}; {mending}")
        made: dict[str, Any] = cluster.install(
            chart, RELEASE, dict(values), create_namespace=not manner.dry_run, **manner.options()
        )
        return made


def upgrade(target: Target, values: Mapping[str, Any], manner: Manner, *, reset: bool) -> dict[str, Any]:
    """Bring the release to this chart; Helm's summary. Values set earlier stay, unless `reset`. Raises InstallError."""
    with _cluster(target) as cluster, loaded() as chart:
        found = releases(cluster)
        if not found:
            raise InstallError(f"no release {RELEASE} is installed in {target.namespace}; `weft install` makes one")
        if found[0]["revision"] == 1 and found[0]["status"] != "deployed":
            raise InstallError(
                f"the install in {target.namespace} never succeeded ({found[0]['status']}); `weft uninstall` removes "
                "what there is of it, then `weft install` again"
            )
        # Not Helm's --reuse-values, which would also keep the former chart's defaults.
        former = {} if reset else cluster.get_values(RELEASE)
        made: dict[str, Any] = cluster.upgrade(
            chart, RELEASE, merged(former or {}, values), reset_values=True, max_history=10, **manner.options()
        )
        return made


def uninstall(target: Target, manner: Manner) -> str:
    """Remove the release; what Helm says was kept. Raises InstallError."""
    with _cluster(target) as cluster:
        if not releases(cluster):
            raise InstallError(f"no release {RELEASE} is installed in {target.namespace}")
        options = {name: value for name, value in manner.options().items() if name != "dry_run"}
        return str(cluster.uninstall(RELEASE, dry_run=manner.dry_run, **options)["info"]).strip()


def releases(cluster: Any) -> list[dict[str, Any]]:
    """Our release as Helm knows it in this namespace, in whatever state; empty where there is none."""
    return [found for found in cluster.list(all_states=True) if found["name"] == RELEASE]


async def leftovers(client: Client, target: Target, *, crds: bool, ca: bool) -> AsyncIterator[str]:
    """Remove what the control plane made while it ran, and what was asked for; says what, one name at a time."""
    async for path in _paths(client, target, crds=crds, ca=ca):
        try:
            await client.request("DELETE", path)
        except ApiError as error:
            if error.code == 404:
                continue
            raise InstallError(f"{path.rpartition('/')[2]} can't be removed: {error.message}") from error
        yield path.rpartition("/")[2]


async def _paths(client: Client, target: Target, *, crds: bool, ca: bool) -> AsyncIterator[str]:
    own = f"/api/v1/namespaces/{target.namespace}/secrets"
    yield f"{own}/{TLS_SECRET}"
    yield f"/apis/coordination.k8s.io/v1/namespaces/{target.namespace}/leases/{LEASE}"
    roots = await client.request(
        "GET", "/api/v1/configmaps", query={"fieldSelector": f"metadata.name={ROOT_CONFIG_MAP}"}
    )
    for item in roots["items"]:
        yield f"/api/v1/namespaces/{item['metadata']['namespace']}/configmaps/{ROOT_CONFIG_MAP}"
    if ca:
        yield f"{own}/{CA_SECRET}"
    if crds:
        selector = f"app.kubernetes.io/part-of=weft,app.kubernetes.io/instance={RELEASE}"
        for item in (await client.request("GET", CRD_PATH, query={"labelSelector": selector}))["items"]:
            yield f"{CRD_PATH}/{item['metadata']['name']}"


@contextmanager
def _cluster(target: Target) -> Iterator[Any]:
    helm = engine()
    with (
        reported(),
        helm.Config(
            kubeconfig_path=target.client.kubeconfig, kube_context=target.client.context, namespace=target.namespace
        ) as cluster,
    ):
        yield cluster
