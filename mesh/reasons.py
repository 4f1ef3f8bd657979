"""Because of which object a mode holds: for people who ask. Decides nothing; `mesh.modes` has.

Rule: the order is that of `mesh.modes` (port, pod, namespace, mesh), and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kube.enrolment import ACCESS, ACCESS_LOG, EGRESS, ENFORCED_PORTS, MTLS, OPEN_PORTS, PERMISSIVE_PORTS, STRICT_PORTS
from kube.objects import Namespace, Pod
from kube.problem import Ref
from mesh.modes import Annotated, PodModes, PortModes, namespace_modes, pod_modes
from mesh.settings import MeshSettings

SETTING: Final = "the mesh's setting"
_EXCEPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    MTLS: (STRICT_PORTS, PERMISSIVE_PORTS),
    ACCESS: (ENFORCED_PORTS, OPEN_PORTS),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """A mode and what says so; `object` None: nothing does, and the mesh's setting holds."""

    value: str
    annotation: str = ""
    object: Ref | None = None

    @property
    def words(self) -> str:
        """What says so, as the end of a sentence."""
        return f"annotation {self.annotation} of {self.object}" if self.object else SETTING


@dataclass(frozen=True, slots=True)
class PodReasons:
    """The modes of a pod as a whole, and of its ports."""

    pod: Pod
    namespace: Namespace | None
    settings: MeshSettings

    def mode(self, key: str) -> Reason:
        """The mode that an annotation is about, for the pod as a whole."""
        modes, of_namespace = self._modes(), namespace_modes(Annotated(self.namespace, self.settings))
        values = {
            MTLS: modes.mtls,
            ACCESS: modes.access or of_namespace.access,
            EGRESS: of_namespace.egress,
            ACCESS_LOG: modes.access_log,
        }
        value = str(values[key])
        # Egress is the namespace's own affair: a pod's word is not read.
        if key != EGRESS and key in self.pod.metadata.annotations:
            return Reason(value, key, self.pod.ref)
        if self.namespace is not None and key in self.namespace.metadata.annotations:
            return Reason(value, key, self.namespace.ref)
        return Reason(value)

    def of_port(self, key: str, port: int) -> Reason:
        """The mode of a port: mTLS or access."""
        modes, (strict, lax) = self._modes(), _EXCEPTIONS[key]
        value = modes.mtls_of(port) if key == MTLS else modes.access_of(port)
        annotation = _exception(modes.mtls_ports if key == MTLS else modes.access_ports, port, strict, lax)
        return Reason(str(value), annotation, self.pod.ref) if annotation else self.mode(key)

    def _modes(self) -> PodModes:
        of_namespace = namespace_modes(Annotated(self.namespace, self.settings))
        return pod_modes(self.pod.ref, self.pod.metadata.annotations, of_namespace)


def _exception(ports: PortModes, port: int, strict: str, lax: str) -> str:
    """The annotation that makes an exception of this port; empty where none does."""
    return ports.of(port, strict, lax) or ""
