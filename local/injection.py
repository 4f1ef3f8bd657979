"""Which injector a local cluster uses: the mesh's own, told what is different on one machine. Rule: pure."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network

from kube.objects import RawDocument
from local.settings import ClusterSettings
from local.workloads import Inject
from proxy import ports
from proxy.redirect import RedirectSettings
from webhook.inject import Injection, InjectorSettings, NamespaceView, inject


def untouched(pod: RawDocument, namespace: NamespaceView) -> Injection:
    """The injector of a cluster without a mesh."""
    del namespace
    return Injection(pod, "this cluster has no mesh")


def injector(settings: ClusterSettings, *, many_users: bool) -> Inject:
    """The injector the settings name, else the mesh's own."""
    return settings.inject or partial(inject, settings=injector_settings(settings, many_users=many_users))


def injector_settings(settings: ClusterSettings, *, many_users: bool) -> InjectorSettings:
    """With a single user the proxy is exempt by socket mark.

    gRPC's own connections to the control plane carry no mark, so its address is exempt as well.
    """
    made = InjectorSettings()
    if many_users:
        return made
    node = IPv4Network(f"{settings.pod_network[1]}/32")
    return replace(made, redirect=RedirectSettings(mark=ports.PROXY_MARK, exclude_outbound_cidrs=(node,)))
