"""What sidecars are switched to while they run (Envoy's runtime, RTDS): which pods' requests are watched.

Rule: a switch concerns one pod's streams and drains nothing. A pod of which nothing is switched has no resource at all,
and its streams share the View of their role as ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from mesh.model import PodId
from xds import pb
from xds.names import TAP, TAP_SWITCH
from xds.resource import RUNTIME, encode
from xds.resourceset import ResourceSet
from xds.view import View


class Switches:
    """Which pods are watched, and how often at once. `changed` is told the pods whose switches have changed."""

    def __init__(self, changed: Callable[[frozenset[PodId]], None]) -> None:
        self._changed = changed
        self._watched: Counter[PodId] = Counter()
        self._on: Final = _layer({TAP_SWITCH: 100.0})

    def watches(self, pod: PodId) -> bool:
        """Whether this pod is switched on."""
        return pod in self._watched

    def watch(self, pods: Iterable[PodId]) -> None:
        """Switch these on, once more each."""
        pods = frozenset(pods)
        new = pods - self._watched.keys()
        self._watched.update(pods)
        if new:
            self._changed(new)

    def leave(self, pods: Iterable[PodId]) -> None:
        """Take back one `watch` of each of these; the last one switches the pod off."""
        self._watched.subtract(frozenset(pods))
        ended = frozenset(pod for pod, count in self._watched.items() if count <= 0)
        for pod in ended:
            del self._watched[pod]
        if ended:
            self._changed(ended)

    def layer(self, pod: PodId) -> ResourceSet | None:
        """The runtime resources of this pod; None where nothing is switched."""
        return self._on if pod in self._watched else None


def switched(view: View, layer: ResourceSet) -> View:
    """The View of a role, for a pod of it that has this layer."""
    return replace(view, sets={**view.sets, RUNTIME: layer})


def _layer(values: Mapping[str, float]) -> ResourceSet:
    runtime = pb.Runtime(name=TAP)
    runtime.layer.update(values)
    return ResourceSet(RUNTIME, {TAP: encode(TAP, runtime)})
