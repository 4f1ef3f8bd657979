"""The lines of `weft check` for a cluster: those before an install, or those after it."""

from __future__ import annotations

from controlplane.check import Line
from controlplane.install.after import after, installed
from controlplane.install.before import before
from kube.client import ApiError, ApiUnavailable, Client, ClientSettings, ConfigurationError


async def cluster(settings: ClientSettings, namespace: str) -> list[Line]:
    """Look at the cluster the settings name. No way to it, or no answer, is a line too."""
    try:
        client = await Client.open(settings)
    except ConfigurationError as error:
        return [Line(False, str(error), "name a cluster with --kubeconfig or --context")]
    lines: list[Line] = []
    try:
        looks = after if await installed(client, namespace) else before
        async for line in looks(client, namespace):
            lines.append(line)  # noqa: PERF401 - what was found before a failure is shown too
    except (ApiUnavailable, ApiError) as error:
        hint = "kubectl cluster-info shows whether the cluster is there and the credentials are right"
        lines.append(Line(False, f"The API server does not answer as it should: {error}", hint))
    finally:
        await client.close()
    return lines
