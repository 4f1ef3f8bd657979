"""What can be set about the injector, with the defaults people meet first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from proxy.bootstrap import BootstrapSettings
from proxy.redirect import RedirectSettings

VERSION: Final = "0.1.0"
"""The version of Weft that a sidecar is marked with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectorSettings:
    """Settings of the injector; a pod's annotations go before `bootstrap`, `redirect`, `requests` and `limits`.

    `redirect_by_init` False: a CNI plugin redirects, and no container gets a capability. `native_sidecar` False is for
    API servers before 1.29; `shell_image` is used then, an Envoy image that has bash. `redirect.mark` makes the proxy
    exempt by socket mark, for clusters with a single UID. `own_namespace` is where the control plane runs.
    `ca_config_map` is what the control plane keeps in every namespace, for sidecars to know it by. `other_meshes` True
    lets the marks of other meshes enrol pods too. `spiffe_driver` is the CSI driver that brings the Unix socket
    `bootstrap.spiffe_socket` of a SPIFFE Workload API into sidecars; empty for none. An idle sidecar was measured at
    71–74 MB; `requests` leaves some air.
    """

    proxy_image: str = "envoyproxy/envoy:distroless-v1.40.0"
    shell_image: str = "envoyproxy/envoy:v1.40.0"
    redirect_image: str = f"weft/redirect:{VERSION}"
    version: str = VERSION
    image_pull_policy: str | None = None
    native_sidecar: bool = True
    redirect_by_init: bool = True
    own_namespace: str = "weft-system"
    ca_config_map: str = "weft-root"
    ca_key: str = "root.pem"
    other_meshes: bool = False
    spiffe_driver: str = ""
    token_audience: str = "weft"  # noqa: S105 - names who the token is for
    token_seconds: int = 3600
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)
    redirect: RedirectSettings = field(default_factory=RedirectSettings)
    requests: tuple[tuple[str, str], ...] = (("cpu", "50m"), ("memory", "96Mi"))
    limits: tuple[tuple[str, str], ...] = ()
