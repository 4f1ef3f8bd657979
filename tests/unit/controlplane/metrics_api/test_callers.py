"""Who asks the metrics API, and whether they may: certificates, headers, rights (rule M1)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from controlplane.metrics_api.callers import FrontProxy, User, front_proxy
from controlplane.metrics_api.discovery import discovered
from controlplane.metrics_api.documents import quantity
from controlplane.metrics_api.paths import GROUP, Asked, asked
from controlplane.metrics_api.rights import REMEMBERED, Rights
from controlplane.traffic.kinds import KINDS
from fake_clock import FakeClock

CONFIG = {
    "requestheader-client-ca-file": "PEM",
    "requestheader-allowed-names": '["front-proxy-client"]',
    "requestheader-username-headers": '["X-Remote-User"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
}
CERTIFICATE = {"subject": ((("organizationName", "x"),), (("commonName", "front-proxy-client"),))}
ALICE = [
    ("X-Remote-User", "alice"), ("x-remote-group", "a"), ("X-Remote-Group", "b"),
    ("X-Remote-Extra-Example.com%2fscopes", "read"), ("X-Other", "c"),
]  # fmt: skip


class ApiServer:
    """Gives the ConfigMap, and says yes to who is in `allowed`; keeps the reviews it was asked for."""

    def __init__(self, data: dict[str, str] | None = None) -> None:
        self.data = CONFIG if data is None else data
        self.allowed = {"alice"}
        self.reviews: list[dict[str, Any]] = []

    async def request(self, method: str, path: str, *, query: Any = None, body: Any = None) -> Any:
        assert path
        assert query is None
        if method == "GET":
            return {"data": self.data}
        self.reviews.append(body["spec"])
        return {"status": {"allowed": body["spec"]["user"] in self.allowed}}


async def proxy(**changed: str) -> FrontProxy:
    names = {key.replace("_", "-"): text for key, text in changed.items()}
    return await front_proxy(ApiServer({**CONFIG, **names}))


async def test_m1_the_user_is_who_the_front_proxy_says() -> None:
    assert (await proxy()).user(CERTIFICATE, ALICE) == User(
        "alice", "", ("a", "b"), (("example.com/scopes", ("read",)),)
    )


@pytest.mark.parametrize(
    "certificate",
    [
        None,
        {},
        {"subject": ((("commonName", "alice"),),)},
        {"subject": ((("organizationName", "front-proxy-client"),),)},
    ],
)
async def test_m1_headers_count_for_nothing_without_the_certificate(certificate: dict[str, Any] | None) -> None:
    assert (await proxy()).user(certificate, ALICE) is None


async def test_m1_without_names_every_certificate_of_the_ca_may_speak() -> None:
    other = {"subject": ((("commonName", "other"),),)}
    assert (await proxy(requestheader_allowed_names="[]")).user(other, ALICE) is not None
    assert (await proxy(requestheader_allowed_names="nonsense")).user(other, ALICE) is None


async def test_m1_nobody_is_known_where_the_cluster_names_no_front_proxy() -> None:
    assert (await front_proxy(ApiServer({}))).user(CERTIFICATE, ALICE) is None
    assert FrontProxy().user(CERTIFICATE, ALICE) is None


async def test_m1_a_request_for_nobody_is_refused() -> None:
    assert (await proxy()).user(CERTIFICATE, [("X-Remote-Group", "system:masters")]) is None


async def test_m1_the_cluster_decides_and_is_asked_again_after_a_while() -> None:
    server, clock = ApiServer(), FakeClock()
    rights, question = Rights(server, clock), {"verb": "list", "resource": "pods", "name": ""}
    alice = User("alice", "", ("a",), (("k", ("v",)),))
    assert [await rights.allowed(alice, question) for _ in range(3)] == [True] * 3
    assert server.reviews == [
        {"user": "alice", "uid": "", "groups": ["a"], "extra": {"k": ["v"]},
         "resourceAttributes": {"verb": "list", "resource": "pods"}}
    ]  # fmt: skip
    assert not await rights.allowed(User("bob"), question)
    server.allowed.clear()
    await clock.advance(timedelta(seconds=REMEMBERED))
    assert not await rights.allowed(alice, question)


async def test_m1_another_group_or_resource_is_another_question() -> None:
    server = ApiServer()
    rights = Rights(server, FakeClock())
    for user, name in ((User("alice"), "a"), (User("alice", groups=("g",)), "a"), (User("alice"), "b")):
        await rights.allowed(user, {"resource": name, "verb": "get"})
    assert len(server.reviews) == 3


V = f"/apis/{GROUP}/v1alpha1"


@pytest.mark.parametrize(
    ("path", "question"),
    [
        ("pods", ("pods", "", "", False)),
        ("namespaces", ("namespaces", "", "", False)),
        ("namespaces/shop", ("namespaces", "", "shop", False)),
        ("namespaces/shop/edges", ("namespaces", "", "shop", True)),
        ("namespaces/edges", ("namespaces", "", "edges", False)),
        ("namespaces/shop/pods/", ("pods", "shop", "", False)),
        ("namespaces/shop/pods/a", ("pods", "shop", "a", False)),
        ("namespaces/shop/pods/edges", ("pods", "shop", "edges", False)),
        ("namespaces/shop/pods/a/edges", ("pods", "shop", "a", True)),
        ("nodes/a/edges", ("nodes", "", "a", True)),
    ],
)
def test_m1_paths_are_read_as_the_api_server_reads_them(path: str, question: tuple[str, str, str, bool]) -> None:
    plural, namespace, name, edges = question
    assert asked(f"{V}/{path}") == Asked("v1alpha1", KINDS[plural], namespace, name, edges)


@pytest.mark.parametrize(
    "path",
    ["", "cronjobs", "pods/a", "namespaces/shop/nodes", "namespaces/shop/nodes/a", "namespaces/s/pods/a/b",
     "pods/edges", "namespaces/a?b/pods", "namespaces/../pods", "nodes/a b", "namespaces/shop/pods/a/edges/b"],
)  # fmt: skip
def test_m1_what_is_no_question_is_none(path: str) -> None:
    assert asked(f"{V}/{path}") is None


@pytest.mark.parametrize(
    ("path", "attributes"),
    [
        (
            "namespaces/shop/pods/a/edges",
            {"verb": "get", "namespace": "shop", "resource": "pods", "name": "a", "subresource": "edges"},
        ),
        ("namespaces/shop", {"verb": "get", "namespace": "shop", "resource": "namespaces", "name": "shop"}),
        ("namespaces/shop/edges", {"verb": "list", "namespace": "shop", "resource": "edges"}),
        ("nodes", {"verb": "list", "resource": "nodes"}),
    ],
)
def test_m1_rights_are_asked_about_as_the_api_server_asks(path: str, attributes: dict[str, str]) -> None:
    question = asked(f"{V}/{path}")
    assert question is not None
    found = {key: text for key, text in question.attributes().items() if text}
    assert found == {"group": GROUP, "version": "v1alpha1", **attributes}


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
def test_m1_aggregated_discovery_tells_everything_at_once(version: str) -> None:
    wanted = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    found = discovered("/apis", f"application/json;q=0.1,{wanted},application/json")
    assert found is not None
    document, kind = found
    assert (kind, document["apiVersion"]) == (wanted, f"apidiscovery.k8s.io/{version}")
    (group,) = document["items"]
    assert {each["resource"] for each in group["versions"][0]["resources"]} == set(KINDS)
    plain = discovered("/apis", "application/json")
    assert plain is not None
    assert plain[0]["kind"] == "APIGroupList"
    assert json.dumps(document)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (95, "95"), (7.7778, "7778m"), (0.5, "500m"), (1234.5, "1234500m")]
)
def test_m2_values_are_quantities(number: float, text: str) -> None:
    assert quantity(number) == text
