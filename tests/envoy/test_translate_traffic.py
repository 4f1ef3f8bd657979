"""Translation as real sidecars obey it: who reaches what, under mTLS, by the service's and the pod's own address."""

from __future__ import annotations

import time

from shop_mesh import CATALOG_IP, CATALOG_IP6, EMPTY_IP, INVENTORY_IP, ODD_IP
from sidecars import Sidecars
from talk import GREETING, get, greet, heard, mirror


async def test_h1_h5_http_reaches_the_app_by_service_and_pod_address_with_the_callers_identity(lab: Sidecars) -> None:
    await lab.pods["catalog"].serve(8080, mirror)
    for address, port in ((CATALOG_IP, 80), (CATALOG_IP6, 80), ("10.77.0.2", 8080), ("fd77::2", 8080)):
        answer = await get(lab.pods["storefront"], address, port)
        assert answer.status == 200
        assert "URI=spiffe://cluster.local/ns/shop/sa/storefront" in answer.body
        assert "x-envoy" not in answer.body
        assert "x-request-id" not in answer.body
        assert answer.headers["server"] == "app"


JUDGED = [
    ("/api", "bob", "GET", 200),
    ("/apis?x=/y", "bob", "POST", 200),
    ("/v1/api", "bob", "GET", 403),
    ("/?/api", "bob", "GET", 403),
    ("/x/../api", "bob", "GET", 200),
    ("/api/../x", "bob", "GET", 403),
    ("//api", "bob", "GET", 200),
    ("/api%2F..%2Fx", "bob", "GET", 403),
    ("/api%5cx", "bob", "GET", 403),
    ("/api", "alice", "GET", 403),
    ("/api", "bob", "DELETE", 403),
]


async def test_a9_a10_a11_rules_are_about_method_path_and_headers(lab: Sidecars) -> None:
    await lab.pods["catalog"].serve(8080, mirror)
    found = [
        (path, user, method, (await get(lab.pods["storefront"], CATALOG_IP, 80, path, user=user, method=method)).status)
        for path, user, method, _ in JUDGED
    ]
    assert found == JUDGED


async def test_a12_a_refused_request_is_answered_403_counted_and_logged_with_the_callers_identity(
    lab: Sidecars,
) -> None:
    catalog = lab.pods["catalog"]
    assert (await get(lab.pods["storefront"], CATALOG_IP, 80, "/nothing")).status == 403

    async def logged() -> bool:
        return bool(catalog.refusals())

    await lab.until(logged, "the refusal is logged")
    line = catalog.refusals()[0]
    assert line["source"] == "spiffe://cluster.local/ns/shop/sa/storefront"
    assert (line["destination"], line["path"], line["status"]) == ("inbound/8080", "/nothing", 403)
    assert line["reason"] == "rbac_access_denied_matched_policy[none]"
    assert (await catalog.stats("rbac.denied"))["http.inbound/8080.rbac.denied"] == 1


async def test_a16_services_out_of_scope_are_refused_by_the_callers_own_sidecar(lab: Sidecars) -> None:
    inventory = lab.pods["inventory"]
    answer = await get(inventory, CATALOG_IP, 80)
    assert answer.status == 403
    assert answer.headers["connection"] == "close"
    assert "no TrafficTarget" in answer.body
    started = time.monotonic()
    assert await heard(inventory, INVENTORY_IP, 5432) == b""
    assert time.monotonic() - started < 1
    assert (await get(inventory, ODD_IP, 9)).status == 403
    assert await heard(inventory, ODD_IP, 9, b"\0\1\2") != GREETING
    assert {line["reason"] for line in inventory.refusals()} == {"no TrafficTarget lets this workload call it"}
    assert "-" not in {line["source"] for line in inventory.refusals()}


async def test_a16_a_silent_connection_to_a_refused_service_of_unknown_protocol_is_closed_in_time(
    lab: Sidecars,
) -> None:
    started = time.monotonic()
    assert await heard(lab.pods["inventory"], ODD_IP, 9) == b""
    assert time.monotonic() - started < 8


async def test_t3_without_a_usable_backend_requests_get_503_that_names_why(lab: Sidecars) -> None:
    answer = await get(lab.pods["storefront"], EMPTY_IP, 80)
    assert (answer.status, answer.body) == (503, "no backend\n")


async def test_h2_unknown_protocols_are_told_apart_and_judged_by_their_own_rules(lab: Sidecars) -> None:
    await lab.pods["inventory"].serve(9000, mirror)
    assert (await get(lab.pods["storefront"], ODD_IP, 9)).status == 200
    assert (await get(lab.pods["storefront"], "10.77.0.3", 9000)).status == 200
    assert (await get(lab.pods["storefront"], ODD_IP, 9, "/nothing")).status == 403
    assert await heard(lab.pods["storefront"], ODD_IP, 9, b"\0\1\2 not HTTP at all") == b""
    assert await heard(lab.pods["storefront"], "10.77.0.3", 9000, b"\0\1\2 not HTTP at all") == b""


async def test_h2_a_server_first_protocol_is_never_delayed(lab: Sidecars) -> None:
    await lab.pods["inventory"].serve(5432, greet)
    started = time.monotonic()
    assert await heard(lab.pods["storefront"], INVENTORY_IP, 5432) == GREETING
    assert await heard(lab.pods["storefront"], "10.77.0.3", 5432) == GREETING
    assert time.monotonic() - started < 0.5


async def test_h3_plaintext_is_refused_on_strict_ports_and_has_no_identity_on_permissive_ones(lab: Sidecars) -> None:
    catalog, outsider = lab.pods["catalog"], lab.pods["outsider"]
    await catalog.serve(8080, mirror)
    await catalog.serve(8081, greet)
    await catalog.serve(8082, greet)
    await lab.pods["inventory"].serve(5432, greet)
    assert await heard(outsider, "10.77.0.3", 5432, b"plaintext") == b""
    assert (await get(outsider, "10.77.0.2", 8080)).status == 403
    assert await heard(outsider, "10.77.0.2", 8081) == b""
    assert await heard(outsider, "10.77.0.2", 8082) == GREETING
    assert await heard(outsider, "10.77.0.2", 1234) == b""


async def test_h6_addresses_outside_the_mesh_are_passed_or_refused_by_the_roles_mode(lab: Sidecars) -> None:
    await lab.pods["outsider"].serve(777, greet)
    assert await heard(lab.pods["storefront"], "10.77.0.9", 777) == GREETING
    assert await heard(lab.pods["storefront"], "fd77::9", 777) == GREETING
    assert await heard(lab.pods["catalog"], "10.77.0.9", 777) == b""


async def test_the_sidecars_own_ports_lead_nowhere(lab: Sidecars) -> None:
    for port in (15001, 15006):
        assert await heard(lab.pods["storefront"], "127.0.0.1", port) == b""
        assert await heard(lab.pods["outsider"], "10.77.0.2", port) == b""


async def test_a_pod_that_calls_itself_through_its_service_meets_its_own_rules(lab: Sidecars) -> None:
    await lab.pods["inventory"].serve(5432, greet)
    assert await heard(lab.pods["inventory"], INVENTORY_IP, 5432) == b""
