"""A webhook on loopback over TLS that answers with a function. Rule: it keeps every review it was asked."""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
from base64 import b64encode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from api_server_keys import Signer

Review = dict[str, Any]
Answer = Callable[[Review], Any]


def allowed(review: Review, **more: Any) -> Review:
    """An AdmissionReview that lets the request pass; `more` goes into the response."""
    response = {"uid": review["request"]["uid"], "allowed": True, **more}
    return {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}


def refused(review: Review, **status: Any) -> Review:
    """An AdmissionReview that refuses the request with this Status."""
    return allowed(review, allowed=False, **({"status": status} if status else {}))


def patched(review: Review, *operations: Review) -> Review:
    """An AdmissionReview with a JSON patch."""
    return allowed(review, patchType="JSONPatch", patch=b64encode(json.dumps(operations).encode()).decode())


def put(path: str, value: object) -> Review:
    """A step of a JSON patch that sets a value."""
    return {"op": "add", "path": path, "value": value}


class WebhookServer:
    """Listens while the `with` lasts. An answer that is an int is sent as that HTTP code."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.reviews: list[Review] = []
        self._signer = Signer("webhook")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        with tempfile.TemporaryDirectory() as folder:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._signer.server(["localhost"]).write(Path(folder), "webhook"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def client_config(self, path: str = "/") -> dict[str, str]:
        """What a webhook configuration says of it."""
        return {"url": f"https://127.0.0.1:{self._server.server_port}{path}", "caBundle": self.bundle}

    @property
    def bundle(self) -> str:
        return b64encode(self._signer.pem).decode()

    @property
    def requests(self) -> list[Review]:
        """The request part of every review."""
        return [review["request"] for review in self.reviews]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.reviews.append(review)
                answer = server.answer(review)
                code, content = (answer, b"no") if isinstance(answer, int) else (200, json.dumps(answer).encode())
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_said: object) -> None:
                return

        return Handler
