"""Documents nobody should write: every kind in every version, bent and broken at random.

Rule: the corpus is this code and the documents' numbers, nothing is stored, and a number always means the same one.
Whatever comes out lives in namespace `hostile`, in one that holds nothing good, or nowhere.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import yaml

NAMESPACE = "hostile"


def _object(api_version: str, kind: str, **fields: Any) -> dict[str, Any]:
    metadata = {
        "name": kind.lower(),
        "namespace": NAMESPACE,
        "labels": {"app": "x"},
        "annotations": {"weft.dev/injected": "true"},
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def _access() -> Iterator[dict[str, Any]]:
    account = {"kind": "ServiceAccount", "name": "default", "namespace": NAMESPACE}
    rules = [
        {"kind": "HTTPRouteGroup", "name": "httproutegroup", "matches": ["a"]},
        {"kind": "TCPRoute", "name": "tcproute"},
    ]
    body = {"destination": {**account, "port": 8080}, "sources": [account]}
    yield _object("access.smi-spec.io/v1alpha1", "TrafficTarget", **body, specs=rules)
    for version in ("v1alpha2", "v1alpha3", "v1alpha4"):
        yield _object(f"access.smi-spec.io/{version}", "TrafficTarget", spec={**body, "rules": rules})


def _bindings() -> Iterator[dict[str, Any]]:
    expression = {"key": "app", "operator": "In", "values": ["x"]}
    selector = {"matchLabels": {"app": "x"}, "matchExpressions": [expression]}
    identities = ["cluster.local/ns/hostile/sa/default"]
    schemes: tuple[dict[str, Any], ...] = ({"podLabelSelector": selector}, {"serviceAccount": "default"})
    for number, scheme in enumerate(schemes):
        made = _object(
            "access.smi-spec.io/v1alpha4",
            "IdentityBinding",
            spec={"schemes": {**scheme, "spiffeIdentities": identities}},
        )
        made["metadata"]["name"] = f"binding-{number}"
        yield made


def _specs() -> Iterator[dict[str, Any]]:
    match = {"name": "a", "pathRegex": "/a.*", "methods": ["GET"], "headers": {"x-user": "^(a|b)$"}}
    for version in ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"):
        matches = {"matches": [match, {"name": "b", "headers": [{"host": "a"}]}]}
        old = version in {"v1alpha1", "v1alpha2"}
        yield _object(f"specs.smi-spec.io/{version}", "HTTPRouteGroup", **(matches if old else {"spec": matches}))
        yield _object(f"specs.smi-spec.io/{version}", "TCPRoute", spec={"matches": {"ports": [8080, "81"]}})
    yield _object("specs.smi-spec.io/v1alpha4", "UDPRoute", spec={"matches": {"ports": [53]}})


def _splits() -> Iterator[dict[str, Any]]:
    for version in ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"):
        backends = [{"service": "service", "weight": 1}, {"service": "other", "weight": 9}]
        matches = [{"kind": "HTTPRouteGroup", "name": "httproutegroup"}]
        spec = {"service": "service.hostile", "backends": backends, "matches": matches}
        yield _object(f"split.smi-spec.io/{version}", "TrafficSplit", spec=spec)


def _kubernetes() -> Iterator[dict[str, Any]]:
    container = {"name": "app", "image": "x", "ports": [{"containerPort": 8080, "name": "http"}]}
    pod = {"serviceAccountName": "default", "containers": [container]}
    template = {"metadata": {"labels": {"app": "x"}}, "spec": pod}
    yield _object("v1", "Namespace")
    yield _object("v1", "ServiceAccount")
    port = {"port": 80, "targetPort": "http", "name": "http", "appProtocol": "http"}
    yield _object("v1", "Service", spec={"selector": {"app": "x"}, "clusterIP": "10.97.0.1", "ports": [port]})
    yield _object(
        "v1", "Pod", spec=pod, status={"podIP": "10.98.0.1", "podIPs": [{"ip": "10.98.0.1"}], "phase": "Running"}
    )
    endpoint = {"addresses": ["10.98.0.1"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "pod"}}
    slice_ = _object("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4", endpoints=[endpoint],
                     ports=[{"name": "http", "port": 8080}])  # fmt: skip
    slice_["metadata"]["labels"]["kubernetes.io/service-name"] = "service"
    yield slice_
    yield _object("apps/v1", "Deployment", spec={"replicas": 1, "template": template})
    yield _object("apps/v1", "StatefulSet", spec={"replicas": 1, "template": template, "serviceName": "service"})


def well_formed() -> list[dict[str, Any]]:
    """One object of every kind in every version, as it should be."""
    return [*_access(), *_bindings(), *_specs(), *_splits(), *_kubernetes()]


VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 80, 65535, 65536, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308,
    float("nan"), float("inf"),
    "", " ", "-", ".", "a" * 5000, "\x00", "a\nb", "\u202e", "😀", "é", "\u0663", "../../etc/passwd", "a/b/sa/c", "*",
    "80", "0x50", "500m", "1e3", "1Ei", "-1", "1e999", "on", "2026-01-01", "None", "NaN", "null", "${x}",
    "kube-system", "x.y.svc.cluster.local", "service", "default", "http://x", "spiffe://a/ns/b/sa/c",
    "10.98.0.1", "::1", "999.1.1.1", "10.0.0.0/8",
    "(", "[", "a)|(b", r"\Qa", "a{1000}", "(a{100}){9}", ".*" * 100, "(?i)x", "(?=x)", r"\pN{100}",
    "GET|.*", "x-a: b\r\nc", ":path", "Host", "tcp", "https", "UDP", "SCTP",
    "HTTPRouteGroup", "UDPRoute", "IdentityBinding", "v1alpha9", "enabled", "permissive",
    [], {}, [[]], [{}], {"": ""}, [None], {"a": {"b": {"c": []}}}, ["x"] * 200, {"weft.dev/access": "permissive"},
]  # fmt: skip


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every holder and key or index inside a document."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], dict | list):
            _places(value[key], found)
    return found


def _places_in(value: Any) -> list[tuple[Any, Any]]:
    return _places(value, []) if isinstance(value, dict | list) else []


def _bend(document: dict[str, Any], dice: random.Random) -> None:
    """Change one place of a document, more often in its body than in what names it."""
    body = {key: value for key, value in document.items() if key not in {"apiVersion", "kind", "metadata"}}
    places = [place for key in body for place in [(document, key), *_places_in(body[key])]]
    if not places or dice.random() < 0.3:
        places = _places(document, [])
    holder, key = dice.choice(places)
    what = dice.randrange(7)
    if what <= 2:
        holder[key] = copy.deepcopy(dice.choice(VALUES))
    elif what == 3:
        del holder[key]
    elif what == 4 and isinstance(holder, dict):
        holder[dice.choice([str(key).upper(), f"{key}s", f"{key}.", "", str(key)[:-1], f"{key}[0]"])] = holder.pop(key)
    elif what == 5:
        holder[key] = [copy.deepcopy(holder[key])] * dice.choice([1, 2, 50])
    else:
        holder[key] = copy.deepcopy(dice.choice(VALUES)) if dice.random() < 0.5 else {"x": holder[key]}


BOMB = "\n".join([f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]" for n in range(12)])

MARKS = ["\n---\n", "\n...\n", "<<: *x\n", "&x ", "*x", "!!int ", "!x "]

BREAKS: list[Callable[[str, random.Random], str]] = [
    lambda text, dice: text[: dice.randrange(len(text) + 1)],
    lambda text, dice: _inserted(text, dice, dice.choice("\t\x00\x07\ufeff\u2028\"'[]{}:,&*!|>%@`#-?\n😀")),
    lambda text, dice: _inserted(
        text, dice, dice.choice(["\n---\n", "\n...\n", "<<: *x\n", "&x ", "*x", "!!int ", "!x "])
    ),
    lambda text, dice: text.replace(
        dice.choice([" ", ":", '"', "\n", "a", "e"]), dice.choice(["\t", "", "\r\n", ": "]), 3
    ),
    lambda text, _dice: f"{BOMB}\n{text}",
    lambda text, _dice: "[" * 5000 + text,
    lambda text, _dice: "{a: " * 3000 + text,
    lambda text, _dice: f"{text}\n{text}",
    lambda text, _dice: "\n".join(f"  {line}" for line in text.splitlines()[1:]),
    lambda _text, dice: "".join(chr(dice.randrange(1, 0x2FF)) for _ in range(300)),
]


def _inserted(text: str, dice: random.Random, more: str) -> str:
    at = dice.randrange(len(text) + 1)
    return text[:at] + more + text[at:]


def hostile_document(number: int) -> bytes:
    """One document, always the same for a number; some hold a `---` line and so are several."""
    dice = random.Random(number)
    bases = well_formed()
    document = bases[number % len(bases)]
    for _ in range(dice.choice([1, 1, 2, 3, 8])):
        if document:
            _bend(document, dice)
    text = (
        json.dumps(document) if dice.random() < 0.3 else yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False)
    )
    if dice.random() < 0.3:
        text = dice.choice(BREAKS)(text, dice)
    content = text.encode(errors="surrogatepass")
    if dice.random() < 0.03:
        at = dice.randrange(len(content) + 1)
        content = content[:at] + dice.choice([b"\xff", b"\xc3", b"\x80\x80", b"\xed\xa0\x80"]) + content[at:]
    return content
