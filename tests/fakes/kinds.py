"""The kinds the fake serves: built-in ones of a table and those of CRDs. Rule: routing and discovery read only this.

Source: Kubernetes' API reference; `kubectl api-resources -o wide` of a real API server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, str]  # (group, plural): where objects of all versions of a kind are stored


def words(text: str) -> frozenset[str]:
    """The words of a text: a set that can be read."""
    return frozenset(text.split())


ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Kind:
    """One kind in one version, as a URL names it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    singular: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    storage_version: str = ""
    crd: dict[str, Any] | None = field(default=None, compare=False)

    @property
    def key(self) -> Key:
        return self.group, self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def storage_api_version(self) -> str:
        version = self.storage_version or self.version
        return f"{self.group}/{version}" if self.group else version

    @property
    def list_name(self) -> str:
        return self.list_kind or f"{self.kind}List"


def _built_in(group: str, version: str, lines: str) -> Iterator[Kind]:
    """Kinds from lines of `plural Kind scope short,names subresource,…`; `-` for none."""
    for line in lines.strip().splitlines():
        plural, kind, scope, short, subresources, *verbs = line.split()
        yield Kind(
            group,
            version,
            plural,
            kind,
            scope == "ns",
            singular=kind.lower(),
            short_names=() if short == "-" else tuple(short.split(",")),
            categories=_categories(group, plural),
            subresources=() if subresources == "-" else tuple(subresources.split(",")),
            verbs=tuple(verbs[0].split(",")) if verbs else ALL_VERBS,
        )


def _categories(group: str, plural: str) -> tuple[str, ...]:
    if group in {"admissionregistration.k8s.io", "apiextensions.k8s.io"}:
        return ("api-extensions",)
    return ("all",) if plural in SHOWN_BY_GET_ALL else ()


SHOWN_BY_GET_ALL = words(
    "pods services replicationcontrollers deployments replicasets statefulsets daemonsets jobs "
    "cronjobs horizontalpodautoscalers"
)

TABLE: tuple[tuple[str, str, str], ...] = (
    (
        "",
        "v1",
        """
        bindings Binding ns - - create
        configmaps ConfigMap ns cm -
        endpoints Endpoints ns ep -
        events Event ns ev -
        limitranges LimitRange ns limits -
        namespaces Namespace - ns finalize,status create,delete,get,list,patch,update,watch
        nodes Node - no status
        persistentvolumeclaims PersistentVolumeClaim ns pvc status
        pods Pod ns po binding,ephemeralcontainers,eviction,status
        replicationcontrollers ReplicationController ns rc status
        resourcequotas ResourceQuota ns quota status
        secrets Secret ns - -
        serviceaccounts ServiceAccount ns sa token
        services Service ns svc status
        """,
    ),
    ("admissionregistration.k8s.io", "v1", """
        mutatingwebhookconfigurations MutatingWebhookConfiguration - - -
        validatingadmissionpolicies ValidatingAdmissionPolicy - - status
        validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding - - -
        validatingwebhookconfigurations ValidatingWebhookConfiguration - - -
        """),
    ("apiextensions.k8s.io", "v1", """
        customresourcedefinitions CustomResourceDefinition - crd,crds status
        """),
    ("apiregistration.k8s.io", "v1", """
        apiservices APIService - - status
        """),
    ("apps", "v1", """
        controllerrevisions ControllerRevision ns - -
        daemonsets DaemonSet ns ds status
        deployments Deployment ns deploy scale,status
        replicasets ReplicaSet ns rs scale,status
        statefulsets StatefulSet ns sts scale,status
        """),
    ("authentication.k8s.io", "v1", """
        selfsubjectreviews SelfSubjectReview - - - create
        tokenreviews TokenReview - - - create
        """),
    ("authorization.k8s.io", "v1", """
        localsubjectaccessreviews LocalSubjectAccessReview ns - - create
        selfsubjectaccessreviews SelfSubjectAccessReview - - - create
        selfsubjectrulesreviews SelfSubjectRulesReview - - - create
        subjectaccessreviews SubjectAccessReview - - - create
        """),
    ("autoscaling", "v2", """
        horizontalpodautoscalers HorizontalPodAutoscaler ns hpa status
        """),
    ("batch", "v1", """
        cronjobs CronJob ns cj status
        jobs Job ns - status
        """),
    ("certificates.k8s.io", "v1", """
        certificatesigningrequests CertificateSigningRequest - csr approval,status
        """),
    ("certificates.k8s.io", "v1beta1", """
        clustertrustbundles ClusterTrustBundle - - -
        """),
    ("coordination.k8s.io", "v1", """
        leases Lease ns - -
        """),
    ("discovery.k8s.io", "v1", """
        endpointslices EndpointSlice ns - -
        """),
    ("events.k8s.io", "v1", """
        events Event ns ev -
        """),
    ("networking.k8s.io", "v1", """
        ingressclasses IngressClass - - -
        ingresses Ingress ns ing status
        networkpolicies NetworkPolicy ns netpol -
        """),
    ("policy", "v1", """
        poddisruptionbudgets PodDisruptionBudget ns pdb status
        """),
    ("rbac.authorization.k8s.io", "v1", """
        clusterrolebindings ClusterRoleBinding - - -
        clusterroles ClusterRole - - -
        rolebindings RoleBinding ns - -
        roles Role ns - -
        """),
    ("scheduling.k8s.io", "v1", """
        priorityclasses PriorityClass - pc -
        """),
    ("storage.k8s.io", "v1", """
        storageclasses StorageClass - sc -
        """),
)  # fmt: skip


def storage_key(kind: Kind) -> Key:
    """Where the kind's objects are: events of both groups are the same objects."""
    return ("", "events") if kind.plural == "events" and kind.group == "events.k8s.io" else kind.key


class Kinds:
    """All kinds served now, by group, version and plural."""

    def __init__(self) -> None:
        self._served: dict[tuple[str, str, str], Kind] = {}
        for group, version, lines in TABLE:
            for kind in _built_in(group, version, lines):
                self._served[group, version, kind.plural] = kind

    def __iter__(self) -> Iterator[Kind]:
        return iter(list(self._served.values()))

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._served.get((group, version, plural))

    def versions(self, key: Key) -> list[Kind]:
        """Every served version of one kind."""
        return [each for each in self._served.values() if each.key == key]

    def named(self, group: str, kind: str, version: str = "") -> Kind | None:
        """By Kind instead of plural, as ownerReferences and manifests name it."""
        for each in self._served.values():
            if each.group == group and each.kind == kind and (not version or each.version == version):
                return each
        return None

    def stored(self) -> list[Kind]:
        """One Kind for each place objects are stored in."""
        found: dict[Key, Kind] = {}
        for each in self._served.values():
            if "list" in each.verbs:
                found.setdefault(storage_key(each), each)
        return list(found.values())

    def replace(self, key: Key, kinds: Iterable[Kind]) -> None:
        """Serve a custom kind in exactly these versions."""
        for name in [name for name, each in self._served.items() if each.key == key]:
            del self._served[name]
        for each in kinds:
            self._served[each.group, each.version, each.plural] = each
