"""The numbers of the data plane, as people know them from other meshes."""

from __future__ import annotations

from typing import Final

ADMIN: Final = 15000
"""Envoy's admin interface, on loopback."""
OUTBOUND: Final = 15001
"""Where the app's connections are redirected to."""
INBOUND: Final = 15006
"""Where connections to the pod are redirected to."""
HEALTH: Final = 15021
"""Readiness of the sidecar, and the kubelet's rewritten probes of the app."""
METRICS: Final = 15090
"""Prometheus metrics."""
RESERVED: Final = frozenset({ADMIN, OUTBOUND, INBOUND, HEALTH, METRICS})
"""Ports an app in a meshed pod can't listen on."""

XDS: Final = 15012
"""The control plane's xDS server, over TLS."""
CONTROL_PLANE_ADMIN: Final = 15014
"""The control plane's admin API and metrics."""
ADMIN_TLS: Final = 15016
"""The same over TLS, for those who show a token."""
METRICS_API: Final = 15017
"""The control plane's aggregated API server, over TLS."""
WEBHOOK: Final = 9443
"""The control plane's webhooks."""

PROXY_UID: Final = 1337
"""The user Envoy runs as; what it sends is not redirected."""
PROXY_MARK: Final = 1337
"""The socket mark that says the same where users can't tell proxy from app."""
