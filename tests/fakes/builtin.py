"""Defaults of built-in kinds, and what the server sets in them.

Rule: a default is filled only where the writer said nothing.

Source: kubernetes/pkg/apis/*/v1/defaults.go and the PrepareForCreate functions of pkg/registry.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.fakes import errors
from tests.fakes.kinds import Kind
from tests.fakes.pod_defaults import fill, pod_spec
from tests.fakes.storage import Object, copied

if TYPE_CHECKING:
    from tests.fakes.api import Api
    from tests.fakes.requests import Call

EMPTY_STATUS: dict[str, Object] = {
    "deployments": {},
    "statefulsets": {"replicas": 0, "availableReplicas": 0},
    "daemonsets": {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    },
    "jobs": {},
    "cronjobs": {},
    "apiservices": {},
    "certificatesigningrequests": {},
    "ingresses": {"loadBalancer": {}},
    "horizontalpodautoscalers": {"desiredReplicas": 0, "currentMetrics": None},
    "poddisruptionbudgets": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0},
    "replicasets": {"replicas": 0},
}


def defaulted(kind: Kind, thing: Object) -> Object:
    """`thing` with the defaults of its version."""
    set_defaults = DEFAULTS.get(kind.plural)
    if set_defaults is not None:
        thing = copied(thing)
        set_defaults(thing)
    return thing


def _pod(thing: Object) -> None:
    spec = thing.setdefault("spec", {})
    pod_spec(spec)
    fill(spec, enableServiceLinks=True)
    for each in thing.get("status", {}).get("conditions", []):
        fill(each, lastProbeTime=None, lastTransitionTime=None)


def _template(thing: Object) -> Object:
    spec: Object = thing.setdefault("spec", {})
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    pod_spec(template.setdefault("spec", {}))
    return spec


def _deployment(thing: Object) -> None:
    spec = _template(thing)
    fill(spec, replicas=1, strategy={}, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    fill(spec["strategy"], type="RollingUpdate")
    if spec["strategy"]["type"] == "RollingUpdate":
        fill(spec["strategy"], rollingUpdate={})
        fill(spec["strategy"]["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")


def _replica_set(thing: Object) -> None:
    fill(_template(thing), replicas=1)


def _stateful_set(thing: Object) -> None:
    spec = _template(thing)
    fill(spec, replicas=1, podManagementPolicy="OrderedReady", updateStrategy={}, revisionHistoryLimit=10)
    fill(spec, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"})
    fill(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        fill(spec["updateStrategy"], rollingUpdate={"partition": 0})


def _daemon_set(thing: Object) -> None:
    spec = _template(thing)
    fill(spec, updateStrategy={"type": "RollingUpdate"}, revisionHistoryLimit=10)
    if spec["updateStrategy"].get("type") == "RollingUpdate":
        fill(spec["updateStrategy"], rollingUpdate={"maxUnavailable": 1, "maxSurge": 0})


def _job(thing: Object) -> None:
    spec = _template(thing)
    fill(
        spec, completions=1, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False,
        manualSelector=False, podReplacementPolicy="TerminatingOrFailed",
    )  # fmt: skip


def _cron_job(thing: Object) -> None:
    spec = thing.setdefault("spec", {})
    fill(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    job = spec.setdefault("jobTemplate", {})
    fill(job, metadata={})
    _template(job)


def _service(thing: Object) -> None:
    spec = thing.setdefault("spec", {})
    fill(spec, type="ClusterIP", sessionAffinity="None")
    for port in spec.get("ports", []):
        fill(port, protocol="TCP", targetPort=port.get("port"))
        if port["targetPort"] in {0, ""}:
            port["targetPort"] = port.get("port")
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        fill(spec, externalTrafficPolicy="Cluster")
    if spec["type"] != "ExternalName":
        fill(spec, internalTrafficPolicy="Cluster")


def _secret(thing: Object) -> None:
    import base64  # noqa: PLC0415 - used here only

    for name, text in thing.pop("stringData", {}).items():
        thing.setdefault("data", {})[name] = base64.b64encode(text.encode()).decode()
    fill(thing, type="Opaque")


def _role_binding(thing: Object) -> None:
    thing.setdefault("roleRef", {}).setdefault("apiGroup", "rbac.authorization.k8s.io")
    for each in thing.get("subjects", []):
        group = "" if each.get("kind") == "ServiceAccount" else "rbac.authorization.k8s.io"
        if group:
            fill(each, apiGroup=group)


def _webhooks(thing: Object) -> None:
    for each in thing.get("webhooks", []):
        fill(
            each,
            failurePolicy="Fail",
            matchPolicy="Equivalent",
            namespaceSelector={},
            objectSelector={},
            timeoutSeconds=10,
        )
        if thing["kind"] == "MutatingWebhookConfiguration":
            fill(each, reinvocationPolicy="Never")
        for rule in each.get("rules", []):
            fill(rule, scope="*")
        if "service" in each.get("clientConfig", {}):
            fill(each["clientConfig"]["service"], port=443)


def _crd(thing: Object) -> None:
    spec = thing.setdefault("spec", {})
    names = spec.setdefault("names", {})
    fill(names, singular=str(names.get("kind", "")).lower(), listKind=f"{names.get('kind', '')}List")
    fill(spec, conversion={"strategy": "None"})
    service = (spec["conversion"].get("webhook") or {}).get("clientConfig", {}).get("service")
    if service:
        fill(service, port=443)


def _role(thing: Object) -> None:
    thing["rules"] = thing.get("rules") or None  # a list that is always shown, null when it is empty


def _endpoint_slice(thing: Object) -> None:
    for name in ("endpoints", "ports"):
        thing[name] = thing.get(name) or None
    for port in thing.get("ports") or []:
        fill(port, name="", protocol="TCP")


def _priority_class(thing: Object) -> None:
    fill(thing, preemptionPolicy="PreemptLowerPriority")


def _api_service(thing: Object) -> None:
    service = thing.setdefault("spec", {}).get("service")
    if service:
        fill(service, port=443)


def _network_policy(thing: Object) -> None:
    spec = thing.setdefault("spec", {})
    fill(spec, policyTypes=["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    for rule in [*(spec.get("ingress") or []), *(spec.get("egress") or [])]:
        for port in rule.get("ports") or []:
            fill(port, protocol="TCP")


def _namespace(thing: Object) -> None:
    name = thing["metadata"].get("name")
    if name:
        thing["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name


DEFAULTS: dict[str, Callable[[Object], None]] = {
    "namespaces": _namespace,
    "pods": _pod,
    "deployments": _deployment,
    "replicasets": _replica_set,
    "statefulsets": _stateful_set,
    "daemonsets": _daemon_set,
    "jobs": _job,
    "services": _service,
    "secrets": _secret,
    "roles": _role,
    "clusterroles": _role,
    "rolebindings": _role_binding,
    "clusterrolebindings": _role_binding,
    "mutatingwebhookconfigurations": _webhooks,
    "validatingwebhookconfigurations": _webhooks,
    "customresourcedefinitions": _crd,
    "endpointslices": _endpoint_slice,
    "priorityclasses": _priority_class,
    "apiservices": _api_service,
    "cronjobs": _cron_job,
    "networkpolicies": _network_policy,
}


def prepared(api: Api, kind: Kind, thing: Object) -> Object:
    """What the registry of a built-in kind sets in a new object."""
    match kind.plural:
        case "pods":
            return {**thing, "status": {"phase": "Pending", "qosClass": quality(thing)}}
        case "namespaces":
            return {**thing, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        case "services":
            return _with_address(api, thing)
        case "jobs":
            return _selecting_its_pods(thing)
        case "customresourcedefinitions":
            stored = [each["name"] for each in thing["spec"].get("versions", []) if each.get("storage")]
            status = {"acceptedNames": {"kind": "", "plural": ""}, "conditions": None, "storedVersions": stored}
            return {**thing, "status": status}
    empty = EMPTY_STATUS.get(kind.plural)
    return thing if empty is None else {**thing, "status": dict(empty)}


def _selecting_its_pods(job: Object) -> Object:
    """A Job with the labels that tell its pods from others'."""
    job = copied(job)
    metadata, spec = job["metadata"], job["spec"]
    template = spec["template"]["metadata"]
    labels: dict[str, str] = {}
    for prefix in ("batch.kubernetes.io/", ""):
        labels |= {f"{prefix}controller-uid": metadata["uid"], f"{prefix}job-name": metadata["name"]}
    if not spec.get("manualSelector"):
        template["labels"] = {**labels, **(template.get("labels") or {})}
        metadata["labels"] = metadata.get("labels") or template["labels"]
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": metadata["uid"]}}
    return {**job, "status": {}}


def quality(pod: Object) -> str:
    """The pod's quality-of-service class."""
    containers = pod["spec"].get("containers", [])
    resources = [each.get("resources", {}) for each in containers]
    if not any(each.get("requests") or each.get("limits") for each in resources):
        return "BestEffort"
    for each in resources:
        limits = each.get("limits", {})
        if not {"cpu", "memory"} <= set(limits) or each.get("requests", limits) != limits:
            return "Burstable"
    return "Guaranteed"


def _with_address(api: Api, service: Object) -> Object:
    """A Service with an address of the service network, where it wants one."""
    spec = copied(service["spec"])
    status: Object = {"loadBalancer": {}}
    if spec["type"] == "ExternalName":
        return {**service, "spec": spec, "status": status}
    address = spec.get("clusterIP") or (spec.get("clusterIPs") or [""])[0] or api.addresses.next(api)
    api.addresses.check(api, service, address)
    spec["clusterIP"] = address
    spec["clusterIPs"] = spec.get("clusterIPs") or [address]
    six = address != "None" and ipaddress.ip_address(address).version == 6
    fill(spec, ipFamilies=["IPv6" if six else "IPv4"], ipFamilyPolicy="SingleStack")
    return {**service, "spec": spec, "status": status}


class Addresses:
    """Hands out addresses of the service network."""

    def __init__(self, network: str = "10.96.0.0/16") -> None:
        self._network = ipaddress.ip_network(network)
        self._last = 10

    def next(self, api: Api) -> str:
        taken = {each.object["spec"].get("clusterIP") for each in api.store.all(("", "services"))}
        while True:
            self._last += 1
            address = str(self._network[self._last])
            if address not in taken:
                return address

    def check(self, api: Api, service: Object, address: str) -> None:
        """Refuse an address that another Service has, or that is not of the network."""
        if address == "None":
            return
        why = ""
        if any(address in each.object["spec"].get("clusterIPs", []) for each in api.store.all(("", "services"))):
            why = "provided IP is already allocated"
        elif ipaddress.ip_address(address) not in self._network:
            why = f"provided IP is not in the valid range. The range of valid IPs is {self._network}"
        if why:
            said = f'Invalid value: ["{address}"]: failed to allocate IP {address}: {why}'
            causes = [errors.Cause("spec.clusterIPs", said)]
            raise errors.invalid("", "Service", service["metadata"].get("name", ""), causes)


def kept(api: Api, call: Call, new: Object, old: Object) -> Object:
    """What an update of a built-in kind leaves as it was."""
    match call.kind.plural:
        case "namespaces":
            return _kept_namespace(call, new, old)
        case "services" if not call.subresource:
            return _kept_service(api, new, old)
        case "certificatesigningrequests":
            return _kept_signing_request(call, new, old)
        case "pods" if not call.subresource:
            spec = copied(new["spec"])
            for name in ("nodeName", "serviceAccountName", "serviceAccount", "volumes"):
                if name in old["spec"]:
                    spec.setdefault(name, old["spec"][name])
            return {**new, "spec": spec}
        case "pods" if call.subresource == "ephemeralcontainers":
            added = copied(new["spec"].get("ephemeralContainers", []))
            for each in added:
                fill(each, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File", resources={})
            return {**old, "spec": {**old["spec"], "ephemeralContainers": added}}
    return new


def _kept_namespace(call: Call, new: Object, old: Object) -> Object:
    if call.subresource == "finalize":
        return {**old, "spec": new.get("spec", {}), "metadata": new["metadata"]}
    return {**new, "spec": old.get("spec", {}), "status": new.get("status", old.get("status", {}))}


def _kept_signing_request(call: Call, new: Object, old: Object) -> Object:
    """What was asked for never changes; who approves writes conditions, who signs writes the rest of the status too."""
    if call.subresource == "approval":
        status = {**old.get("status", {}), "conditions": new.get("status", {}).get("conditions", [])}
        new = {**new, "status": status}
    return {**new, "spec": old["spec"]}


def _kept_service(api: Api, new: Object, old: Object) -> Object:
    spec = copied(new["spec"])
    before = old["spec"]
    if spec["type"] == "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(name, None)
        return {**new, "spec": spec}
    for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if not spec.get(name) and name in before:
            spec[name] = before[name]
    if not spec.get("clusterIP"):
        return {**_with_address(api, {**new, "spec": spec}), "status": old.get("status", {"loadBalancer": {}})}
    return {**new, "spec": spec}
