"""What a sidecar would tell on its metrics port, written by tests: the labels of `proxy.exposition`, in its order."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.exposition import BUCKETS


def requests(number: int, code: str = "200", grpc: str = "", flags: str = "-", **labels: str) -> str:
    """A histogram of so many requests that took up to 5 ms each. `labels` are those before the code."""
    same = {**labels, "response_code": code, "grpc_response_status": grpc, "response_flags": flags}
    lines = [
        _line("istio_request_duration_milliseconds_bucket", {**same, "le": f"{limit:g}"}, number * (limit >= 5))
        for limit in BUCKETS
    ]
    return "\n".join([*lines, _line("istio_request_duration_milliseconds_bucket", {**same, "le": "+Inf"}, number)])


def connections(opened: int, closed: int, sent: int = 0, **labels: str) -> str:
    """Counters of connections."""
    return "\n".join(
        _line(f"istio_tcp_{name}_total", labels, number)
        for name, number in {"connections_opened": opened, "connections_closed": closed, "sent_bytes": sent}.items()
    )


def served(number: int, *, by: str = "front", **more: str) -> str:
    """Requests that a server counted, of a ServiceAccount of namespace `shop`."""
    return requests(number, reporter="destination", source_principal=f"spiffe://cluster.local/ns/shop/sa/{by}", **more)


def sent(number: int, workload: str, *, service: str = "", asked: str = "", **more: str) -> str:
    """Requests that a caller counted, to a workload of namespace `shop`; `service` got them, `asked` was called."""
    host = "{}.shop.svc.cluster.local".format
    return requests(
        number, reporter="source", destination_workload=workload, destination_workload_namespace="shop",
        destination_service=host(service or workload), requested_service=host(asked or service or workload), **more,
    )  # fmt: skip


def uptime(seconds: int) -> str:
    """How long Envoy has been running."""
    return _line("envoy_server_uptime", {}, seconds)


def _line(name: str, labels: Mapping[str, str], value: int) -> str:
    pairs = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return f"{name}{{{pairs}}} {value}"
