"""The workload a pod belongs to, read from its name. Rule: it is a guess for labels of metrics, never for access."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# Hashes of templates and random endings are made of these (k8s.io/apimachinery/pkg/util/rand): no vowels, so no words.
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
_OF_DEPLOYMENT: Final = re.compile(rf"(.+)-[{_LETTERS}]{{5,10}}-[{_LETTERS}]{{5}}")
_OF_STATEFUL_SET: Final = re.compile(r"(.+)-(?:0|[1-9][0-9]{0,4})")
_OF_ANOTHER: Final = re.compile(rf"(.+)-[{_LETTERS}]{{5}}")
_ENDING: Final = "bbbbb"


class WorkloadName(NamedTuple):
    """What made a pod. `kind` is Deployment, StatefulSet, or Pod where the name does not tell (DaemonSet, Job, …)."""

    kind: str
    name: str


UNKNOWN: Final = WorkloadName("Pod", "unknown")
"""The workload of a pod whose name nobody said."""


def workload_of(pod: str, prefix: str = "") -> WorkloadName:
    """The workload of a pod of this name, or, before it has one, of those whose names will begin with `prefix`.

    A Deployment's pods are called DEPLOYMENT-HASH-RANDOM, a StatefulSet's SET-ORDINAL, others' OWNER-RANDOM
    (Kubernetes documentation of each). Names of 58 letters and more are cut before the random ones are added, so the
    workload's name is too.
    """
    if not (pod or prefix):
        return UNKNOWN
    name = pod or f"{prefix}{_ENDING}"
    for kind, pattern in (("Deployment", _OF_DEPLOYMENT), ("StatefulSet", _OF_STATEFUL_SET), ("Pod", _OF_ANOTHER)):
        if match := pattern.fullmatch(name):
            return WorkloadName(kind, match[1])
    return WorkloadName("Pod", name)
