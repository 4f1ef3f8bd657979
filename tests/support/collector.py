"""A collector of traces and logs for tests: OTLP over gRPC and HTTP, and Zipkin; prints a line for each span or record.

Run as a program: `collector.py GRPC_PORT HTTP_PORT ZIPKIN_PORT`. OTLP's messages are read with a table of the fields
we look at (opentelemetry-proto, trace/v1, logs/v1, common/v1), apart from what Weft itself is built on.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool

from xds.schema import Field, classes

_OTLP = classes(
    DescriptorPool(),
    "weft.test.otlp",
    {
        "AnyValue": [Field("string_value", 1, "string"), Field("kvlist_value", 6, "KeyValueList")],
        "KeyValueList": [Field("values", 1, "KeyValue", many=True)],
        "KeyValue": [Field("key", 1, "string"), Field("value", 2, "AnyValue")],
        "Resource": [Field("attributes", 1, "KeyValue", many=True)],
        "Span": [
            Field("trace_id", 1, "bytes"), Field("span_id", 2, "bytes"), Field("parent_span_id", 4, "bytes"),
            Field("name", 5, "string"), Field("kind", 6, "int32"), Field("attributes", 9, "KeyValue", many=True),
        ],
        "LogRecord": [Field("time", 1, "fixed64"), Field("attributes", 6, "KeyValue", many=True)],
        "ScopeSpans": [Field("spans", 2, "Span", many=True)],
        "ScopeLogs": [Field("records", 2, "LogRecord", many=True)],
        "ResourceSpans": [Field("resource", 1, "Resource"), Field("scopes", 2, "ScopeSpans", many=True)],
        "ResourceLogs": [Field("resource", 1, "Resource"), Field("scopes", 2, "ScopeLogs", many=True)],
        "Traces": [Field("resources", 1, "ResourceSpans", many=True)],
        "Logs": [Field("resources", 1, "ResourceLogs", many=True)],
    },
)  # fmt: skip
KINDS = {2: "SERVER", 3: "CLIENT"}


def spans(body: bytes) -> Iterator[dict[str, Any]]:
    """What is in an ExportTraceServiceRequest."""
    for each in _OTLP["Traces"].FromString(body).resources:
        for scope in each.scopes:
            for span in scope.spans:
                yield {
                    "trace": span.trace_id.hex(), "span": span.span_id.hex(), "parent": span.parent_span_id.hex(),
                    "kind": KINDS.get(span.kind, ""), "resource": _plain(each.resource.attributes),
                    "tags": _plain(span.attributes),
                }  # fmt: skip


def records(body: bytes) -> Iterator[dict[str, Any]]:
    """What is in an ExportLogsServiceRequest."""
    for each in _OTLP["Logs"].FromString(body).resources:
        for scope in each.scopes:
            for record in scope.records:
                yield {"resource": _plain(each.resource.attributes), "log": _plain(record.attributes)}


def zipkin(body: bytes) -> Iterator[dict[str, Any]]:
    """What is in Zipkin's list of spans."""
    for span in json.loads(body):
        yield {
            "trace": span["traceId"], "span": span["id"], "parent": span.get("parentId", ""), "kind": span["kind"],
            "resource": {"service.name": span["localEndpoint"]["serviceName"]}, "tags": span.get("tags", {}),
        }  # fmt: skip


def _plain(attributes: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in attributes}


def show(lines: Iterator[dict[str, Any]]) -> None:
    for line in lines:
        print(json.dumps(line), flush=True)


class Rpc(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        read = spans if "TraceService" in details.method else records

        def answer(body: bytes, context: grpc.ServicerContext) -> bytes:
            show(read(body))
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = self.headers["content-length"]
        body = self.rfile.read(int(length)) if length else b"".join(self._chunks())
        show(zipkin(body) if self.path == "/api/v2/spans" else spans(body))
        self.send_response(202 if self.path == "/api/v2/spans" else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def _chunks(self) -> Iterator[bytes]:
        """The body where it comes in pieces (RFC 9112, 7.1)."""
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, *_: object) -> None:
        """Nothing: only what was collected is printed."""


def main(*ports: int) -> None:
    grpc_port, *http_ports = ports
    server = grpc.server(ThreadPoolExecutor(4), handlers=[Rpc()])
    server.add_insecure_port(f"0.0.0.0:{grpc_port}")
    server.start()
    for port in http_ports:
        http = ThreadingHTTPServer(("0.0.0.0", port), Http)
        threading.Thread(target=http.serve_forever, daemon=True).start()
    print(json.dumps({"listening": ports}), flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
