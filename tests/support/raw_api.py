"""Plain HTTPS calls to an API server, with what a kubeconfig of the tests holds.

Rule: an answer is code, headers and document, whatever the code: contract tests pin all three.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

JSON = "application/json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
INITIALIZING = "storage is (re)initializing"


@dataclass(frozen=True)
class Answer:
    """What the server said. `document` is decoded JSON, or text where it is none."""

    code: int
    headers: Mapping[str, str]
    warnings: tuple[str, ...]
    document: Any

    @property
    def message(self) -> str:
        return str(self.document.get("message", ""))

    @property
    def said(self) -> str:
        """The message where something went wrong."""
        return self.message if self.code >= 400 and isinstance(self.document, dict) else ""

    @property
    def reason(self) -> str:
        return str(self.document.get("reason", ""))

    @property
    def causes(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = (self.document.get("details") or {}).get("causes") or []
        return found

    def expect(self, *codes: int) -> Any:
        """The document, if the code is one of these (or 2xx where none is named)."""
        assert self.code in codes or (not codes and 200 <= self.code < 300), f"{self.code}: {self.document}"
        return self.document


class RawApi:
    """One caller, as the kubeconfig says. Every call is a connection of its own."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self._netloc = urlsplit(cluster["server"]).netloc
        self._context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        self.headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        if "client-certificate-data" in user:
            with tempfile.NamedTemporaryFile() as both:
                both.write(base64.b64decode(user["client-certificate-data"]))
                both.write(base64.b64decode(user["client-key-data"]))
                both.flush()
                self._context.load_cert_chain(both.name)

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
        **query: str,
    ) -> Answer:
        """Send one request, again as long as the server asks for time; a body that is bytes goes as it is."""
        while INITIALIZING in (answer := self._ask(method, path, body, content_type, headers or {}, query)).said:
            # For a moment after a start, and while a CRD is being replaced.
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        body: object,
        content_type: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
    ) -> Answer:
        connection = self._send(method, path, body, content_type, headers, query)
        try:
            answer = connection.getresponse()
            content = answer.read()
            kind = answer.headers.get("Content-Type", "")
            document = json.loads(content) if "json" in kind else content.decode()
            warnings = tuple(answer.headers.get_all("Warning") or ())
            return Answer(answer.status, dict(answer.headers), warnings, document)
        finally:
            connection.close()

    @contextmanager
    def watch(self, path: str, **query: str) -> Iterator[Iterator[dict[str, Any]]]:
        """The events of a watch, as they come; it ends with the block or when the server ends it."""
        connection = self._send("GET", path, None, JSON, {}, {"watch": "true", **query})
        try:
            answer = connection.getresponse()
            assert answer.status == 200, f"{answer.status}: {answer.read()!r}"
            yield (json.loads(line) for line in answer)
        finally:
            connection.close()

    def _send(
        self,
        method: str,
        path: str,
        body: object,
        content_type: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
    ) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(self._netloc, timeout=40, context=self._context)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Accept": JSON, **self.headers, **({"Content-Type": content_type} if content is not None else {})}
        connection.request(method, f"{path}?{urlencode(query)}" if query else path, content, {**sent, **headers})
        return connection
