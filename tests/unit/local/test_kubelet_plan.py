"""A pod of the API server as this node runs it, and the tokens it gets."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fake_clock import FakeClock
from kube.client import ApiError
from local.credentials import PodIdentity
from local.environment import Missing
from local.kubelet.credentials import RequestedTokens
from local.kubelet.plan import Refused, plan_of
from local.workloads import PodKey

WEB = {"name": "web", "image": "web", "command": ["web"]}
POD = PodIdentity(PodKey("shop", "web-0"), "u1", "storefront")


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web-0", "namespace": "shop", "uid": "u1"}, "spec": {"containers": [WEB], **spec}}


def test_a_pod_keeps_its_uid_and_gets_the_default_account() -> None:
    plan = plan_of(pod(serviceAccountName=""), Path("/here"))
    assert (plan.key, plan.uid, plan.folder) == (PodKey("shop", "web-0"), "u1", Path("/here"))
    assert plan.pod.spec.service_account_name == "default"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"containers": [{"name": "web"}]}, r"spec.containers\[0\].command: container web has no command"),
        ({"hostNetwork": True}, "spec.hostNetwork: pods of this node have a network of their own"),
        ({"terminationGracePeriodSeconds": "soon"}, "it can't be read"),
    ],
)
def test_what_a_node_can_not_do_is_refused_with_its_field(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        plan_of(pod(**spec), Path("/here"))


class Asked:
    """An API server that gives numbered tokens, or refuses."""

    def __init__(self, refusal: ApiError | None = None) -> None:
        self.refusal = refusal
        self.requests: list[tuple[str, Any]] = []

    async def request(self, method: str, path: str, *, body: Any) -> Any:
        assert method == "POST"
        self.requests.append((path, body["spec"]))
        if self.refusal is not None:
            raise self.refusal
        return {"status": {"token": f"token-{len(self.requests)}"}}


async def test_a_token_is_bound_to_its_pod_and_handed_out_again_only_while_it_is_young() -> None:
    asked, clock = Asked(), FakeClock()
    tokens = RequestedTokens(asked, clock)  # type: ignore[arg-type]
    assert await tokens.token(POD, "weft", 1000) == "token-1"
    clock.skip(timedelta(seconds=99))
    assert await tokens.token(POD, "weft", 1000) == "token-1"
    assert await tokens.token(POD, "", 1000) == "token-2"
    clock.skip(timedelta(seconds=2))
    assert await tokens.token(POD, "weft", 1000) == "token-3"
    path, spec = asked.requests[0]
    assert path == "/api/v1/namespaces/shop/serviceaccounts/storefront/token"
    assert (spec["audiences"], spec["boundObjectRef"]["uid"]) == (["weft"], "u1")
    assert asked.requests[1][1]["audiences"] == []


async def test_a_refused_token_is_something_the_pod_waits_for() -> None:
    refusal = ApiError(404, "NotFound", 'serviceaccounts "storefront" not found')
    tokens = RequestedTokens(Asked(refusal), FakeClock())  # type: ignore[arg-type]
    with pytest.raises(Missing, match='ServiceAccount shop/storefront for it: serviceaccounts "storefront" not found'):
        await tokens.token(POD, "weft", 600)
