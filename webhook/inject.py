"""The injector: a pod in, the pod with its sidecar out.

Rule: pure and idempotent. The pod that was passed is never changed; a pod that is left alone comes with the reason,
one that is refused with Problems.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from kube.enrolment import INJECTED
from kube.objects import RawDocument
from kube.problem import Problem, Ref
from kube.workload import workload_of
from proxy import exposition, ports
from proxy.bootstrap import IDENTITY_FOLDER
from webhook import probes, sidecar
from webhook.again import with_newcomers
from webhook.annotations import NOT_INJECTED, PROXY_VERSION, SCRAPE, SCRAPE_PATH, SCRAPE_PORT, PodWishes, pod_wishes
from webhook.decision import NamespaceView, left_alone
from webhook.settings import InjectorSettings
from webhook.shape import PodShape, copied, read_shape

__all__ = ["Injection", "InjectorSettings", "NamespaceView", "inject"]

RULE: Final = "inject"
"""The rule that the injector's Problems carry."""


@dataclass(frozen=True, slots=True)
class Injection:
    """What became of a pod: `pod` is it with its sidecar, or as it was where it is left alone or refused.

    `reason` says in a sentence what was decided and why; `surprising` is for pods that are left alone though something
    asks for their sidecar. With `problems` the pod must not run as it is.
    """

    pod: RawDocument
    reason: str
    injected: bool = False
    problems: tuple[Problem, ...] = ()
    surprising: bool = False


def inject(
    pod: RawDocument, namespace: NamespaceView, settings: InjectorSettings, *, everything: bool = False
) -> Injection:
    """Put the sidecar into a pod or a pod template. `everything` also takes pods that no label enrols."""
    try:
        shape = read_shape(pod)
    except msgspec.ValidationError as error:
        why, _, where = str(error).partition(" - at `$")
        message = f"this can't be read ({why}); the pod is refused"
        problem = Problem(Ref("Pod", namespace.name, ""), where.strip(".`"), message, "decode")
        return Injection(pod, "it can't be read as a pod", problems=(problem,))
    if (made := with_newcomers(pod, shape, settings)) is not None:
        return Injection(made, "it has its sidecar already; what was added since is probed through it", injected=True)
    alone = left_alone(shape, namespace, settings, everything=everything)
    if alone is not None:
        return Injection(pod, alone.reason, surprising=alone.surprising)
    ref = Ref("Pod", namespace.name, shape.metadata.name or shape.metadata.generate_name)
    wishes, problems = pod_wishes(shape.metadata.annotations, ref)
    problems = (*problems, *_conflicts(shape, settings, ref))
    if problems:
        return Injection(pod, "it is refused until its mistakes are mended", problems=problems)
    return Injection(_with_sidecar(pod, shape, wishes, settings), "it has its sidecar now", injected=True)


def _conflicts(shape: PodShape, settings: InjectorSettings, pod: Ref) -> Iterator[Problem]:
    """What in this pod can't be beside a sidecar."""
    refused = "the pod is refused"
    uid = settings.redirect.proxy_uid
    if shape.spec.security_context.run_as_user == uid:
        message = f"{uid} is the sidecar's user, whose connections go around the mesh; {refused}"
        yield Problem(pod, "spec.securityContext.runAsUser", message, RULE)
    groups = {"initContainers": shape.spec.init_containers, "containers": shape.spec.containers}
    for group, containers in groups.items():
        for index, container in enumerate(containers):
            where = f"spec.{group}[{index}]"
            if container.security_context.run_as_user == uid:
                message = f"{uid} is the sidecar's user, whose connections go around the mesh; {refused}"
                yield Problem(pod, f"{where}.securityContext.runAsUser", message, RULE)
            if container.name == sidecar.REDIRECT:
                yield Problem(
                    pod, f"{where}.name", f"{container.name} is the name of a container of Weft; {refused}", RULE
                )
            for number, port in enumerate(container.ports):
                if port.container_port in ports.RESERVED and port.protocol == "TCP":
                    message = f"the sidecar listens on {port.container_port}; {refused}"
                    yield Problem(pod, f"{where}.ports[{number}].containerPort", message, RULE)
    for index, volume in enumerate(shape.spec.volumes):
        if volume.name in {sidecar.IDENTITY_VOLUME, sidecar.SPIFFE_VOLUME}:
            yield Problem(
                pod, f"spec.volumes[{index}].name", f"{volume.name} is the name of a volume of Weft; {refused}", RULE
            )


def _with_sidecar(pod: RawDocument, shape: PodShape, wishes: PodWishes, settings: InjectorSettings) -> RawDocument:
    made = copied(pod)
    spec = made["spec"]
    redirection = sidecar.redirect_settings(settings, wishes)
    turned = probes.turned(shape.lasting, redirection.exclude_inbound_ports)
    probes.turn_all(made, turned)
    bootstrap = replace(
        settings.bootstrap,
        ca_file=f"{IDENTITY_FOLDER}/ca/bundle.pem",
        token_file=f"{IDENTITY_FOLDER}/token",
        probes=tuple(item.probe for item in turned),
        workload=workload_of(shape.metadata.name, shape.metadata.generate_name),
        app_metrics=wishes.app_metrics,
    )
    proxy = sidecar.proxy_container(settings, wishes, bootstrap, shape)
    redirect = [sidecar.redirect_container(settings, redirection, wishes, shape)] if settings.redirect_by_init else []
    own_init = list(spec.get("initContainers") or ())
    if settings.native_sidecar:
        # First of all: whatever the app's init containers call is called through the mesh.
        spec["initContainers"] = [*redirect, proxy, *own_init]
    else:
        # Until the proxy runs there is nothing to redirect to: init containers are outside the mesh.
        if redirect or own_init:
            spec["initContainers"] = [*own_init, *redirect]
        spec["containers"] = [proxy, *spec["containers"]]
    spec["volumes"] = [*(spec.get("volumes") or ()), *sidecar.volumes(settings)]
    _annotate(made, shape, wishes, settings)
    return made


def _annotate(pod: RawDocument, shape: PodShape, wishes: PodWishes, settings: InjectorSettings) -> None:
    metadata = pod["metadata"] = pod.get("metadata") or {}
    marks = {INJECTED: "true", PROXY_VERSION: settings.version}
    if wishes.app_metrics is not None or SCRAPE not in shape.metadata.annotations:
        marks |= {SCRAPE: "true", SCRAPE_PORT: str(ports.METRICS), SCRAPE_PATH: exposition.PATH}
    # Else `kubectl logs` and `kubectl exec` would mean the first container.
    first = (
        {} if settings.native_sidecar else {"kubectl.kubernetes.io/default-container": shape.spec.containers[0].name}
    )
    own = {name: text for name, text in (metadata.get("annotations") or {}).items() if name != NOT_INJECTED}
    metadata["annotations"] = first | own | marks
