"""What a new cluster has before anybody writes to it. Rule: only what clients rely on.

Source: Kubernetes page "Using RBAC Authorization" (default roles); kube-apiserver's system namespaces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fakes.api import Api

RBAC = "rbac.authorization.k8s.io"
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
HEALTH = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
DISCOVERY = ["/api", "/api/*", "/apis", "/apis/*", *HEALTH, "/openapi", "/openapi/*"]
READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]
SEEN = [
    "configmaps",
    "endpoints",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "serviceaccounts",
    "services",
]


def _rule(verbs: list[str], groups: list[str], resources: list[str]) -> dict[str, Any]:
    return {"verbs": verbs, "apiGroups": groups, "resources": resources}


AUTHORIZATION = "authorization.k8s.io"
ROLES: dict[str, list[dict[str, Any]]] = {
    "cluster-admin": [_rule(["*"], ["*"], ["*"]), {"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "admin": [_rule([*READ, *WRITE], ["", "apps", "batch", "networking.k8s.io", RBAC], ["*"])],
    "edit": [_rule([*READ, *WRITE], ["", "apps", "batch", "networking.k8s.io"], ["*"])],
    "view": [_rule(READ, [""], SEEN), _rule(READ, ["apps", "batch", "networking.k8s.io", "discovery.k8s.io"], ["*"])],
    "system:discovery": [{"verbs": ["get"], "nonResourceURLs": DISCOVERY}],
    "system:public-info-viewer": [{"verbs": ["get"], "nonResourceURLs": HEALTH}],
    "system:basic-user": [
        _rule(["create"], [AUTHORIZATION], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
        _rule(["create"], ["authentication.k8s.io"], ["selfsubjectreviews"]),
    ],
    "system:auth-delegator": [
        _rule(["create"], ["authentication.k8s.io"], ["tokenreviews"]),
        _rule(["create"], [AUTHORIZATION], ["subjectaccessreviews"]),
    ],
}
BINDINGS: dict[str, list[str]] = {
    "cluster-admin": ["system:masters"],
    "system:discovery": ["system:authenticated"],
    "system:basic-user": ["system:authenticated"],
    "system:public-info-viewer": ["system:authenticated", "system:unauthenticated"],
}
AUTH_READER = "extension-apiserver-authentication-reader"


def furnish(api: Api) -> None:
    """Namespaces, default roles and bindings, the Service `kubernetes`."""
    create = api.system.create
    for name in NAMESPACES:
        labels = {"kubernetes.io/metadata.name": name}
        metadata = {"name": name, "labels": labels}
        create("Namespace", metadata, spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})
    for name, rules in ROLES.items():
        create(
            "ClusterRole", {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}, RBAC, rules=rules
        )
    for name, groups in BINDINGS.items():
        subjects = [{"kind": "Group", "apiGroup": RBAC, "name": group} for group in groups]
        ref = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
        create("ClusterRoleBinding", {"name": name}, RBAC, roleRef=ref, subjects=subjects)
    reader = {"verbs": READ, "apiGroups": [""], "resources": ["configmaps"], "resourceNames": [AUTH_READER[:-7]]}
    create("Role", {"name": AUTH_READER, "namespace": "kube-system"}, RBAC, rules=[reader])
    spec = {
        "type": "ClusterIP", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
        "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
    }  # fmt: skip
    create("Service", {"name": "kubernetes", "namespace": "default"}, spec=spec, status={"loadBalancer": {}})
