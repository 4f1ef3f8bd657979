"""A pod that has its sidecar and is asked about once more, because another webhook added to it meanwhile.

Rule: only what nobody turned yet is touched; a pod to which nothing was added comes out as it came in.
"""

from __future__ import annotations

from dataclasses import replace

from kube.enrolment import injected
from kube.objects import RawDocument
from kube.problem import Ref
from proxy.bootstrap import BootstrapSettings, with_probes
from webhook import probes
from webhook.annotations import pod_wishes
from webhook.settings import InjectorSettings
from webhook.shape import PodShape, copied
from webhook.sidecar import PROXY, redirect_settings


def with_newcomers(pod: RawDocument, shape: PodShape, settings: InjectorSettings) -> RawDocument | None:
    """The pod with the probes of added containers led through its sidecar; None where there is nothing to do."""
    if not injected(shape.metadata.annotations) or all(container.name != PROXY for container in shape.everyone):
        return None
    wishes, _ = pod_wishes(shape.metadata.annotations, Ref("Pod", "", ""))
    newcomers = probes.turned(shape.lasting, redirect_settings(settings, wishes).exclude_inbound_ports)
    if not newcomers:
        return None
    made = copied(pod)
    asked = replace(BootstrapSettings(), mark=settings.redirect.mark, probes=tuple(item.probe for item in newcomers))
    spec = made["spec"]
    proxy = next(item for item in (*(spec.get("initContainers") or ()), *spec["containers"]) if item["name"] == PROXY)
    words = with_probes(list(proxy.get("args") or ()), asked)
    if words is None:
        return None
    proxy["args"] = words
    probes.turn_all(made, newcomers)
    return made
