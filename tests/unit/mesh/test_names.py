from __future__ import annotations

import pytest

from mesh.model import ServiceId
from mesh.names import Misnamed, service_named


@pytest.mark.parametrize("domain", ["cluster.local", "Example.ORG"])
def test_t1_the_full_name_ends_in_the_cluster_domain(domain: str) -> None:
    assert service_named(f"web.shop.svc.{domain}", "shop", domain) == ServiceId("shop", "web")


@pytest.mark.parametrize("text", ["", ".", "web..", "web.shop.svc.cluster.local.x", "web.svc", "web.shop.pod"])
def test_t1_what_is_no_name_of_a_service_here_says_why(text: str) -> None:
    found = service_named(text, "shop", "cluster.local")
    assert isinstance(found, Misnamed)
    assert found.message.endswith(".")
