"""A real Envoy that knows nothing but its control plane, over google_grpc, TLS and a token from a file.

Rule: its bootstrap is written out here, apart from `proxy/`, so that the server is tested against a plain client.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bootstrapped import ENVOY, free_port

PLUGIN = "envoy.grpc_credentials.file_based_metadata"


class LiveEnvoy:
    """Runs while the `async with` lasts. `api_type` is DELTA_GRPC or GRPC."""

    def __init__(self, folder: Path, port: int, ca: bytes, token: str, node: str, api_type: str) -> None:
        self.admin = free_port()
        self.log = folder / "envoy.log"
        (folder / "ca.pem").write_bytes(ca)
        (folder / "token").write_text(token)
        self._config = folder / "bootstrap.json"
        self._config.write_text(json.dumps(self._bootstrap(folder, port, node, api_type)))
        self._process: subprocess.Popen[bytes] | None = None

    def _bootstrap(self, folder: Path, port: int, node: str, api_type: str) -> dict[str, Any]:
        config = {
            "@type": "type.googleapis.com/envoy.config.grpc_credential.v3.FileBasedMetadataConfig",
            "secret_data": {"filename": str(folder / "token")},
            "header_key": "authorization",
            "header_prefix": "Bearer ",
        }
        grpc = {
            "target_uri": f"localhost:{port}",
            "stat_prefix": "xds",
            "channel_credentials": {"ssl_credentials": {"root_certs": {"filename": str(folder / "ca.pem")}}},
            "credentials_factory_name": PLUGIN,
            "call_credentials": [{"from_plugin": {"name": PLUGIN, "typed_config": config}}],
            # Two connections in one process must not be one; a server that comes back is found soon.
            "channel_args": {"args": {
                "grpc.use_local_subchannel_pool": {"int_value": 1},
                "grpc.keepalive_time_ms": {"int_value": 1000},
                "grpc.http2.max_pings_without_data": {"int_value": 0},
                "grpc.min_reconnect_backoff_ms": {"int_value": 200},
                "grpc.initial_reconnect_backoff_ms": {"int_value": 100},
                "grpc.max_reconnect_backoff_ms": {"int_value": 500},
            }},
        }  # fmt: skip
        ads = {"ads": {}, "resource_api_version": "V3"}
        return {
            "node": {"id": node, "cluster": "storefront"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": self.admin}}},
            "dynamic_resources": {
                "lds_config": ads,
                "cds_config": ads,
                "ads_config": {
                    "api_type": api_type,
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": True,
                    "grpc_services": [{"google_grpc": grpc}],
                },
            },
        }

    async def __aenter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                [ENVOY, "-c", str(self._config), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"],
                stdout=log, stderr=log,
            )  # fmt: skip
        await until(lambda: self.get("/ready").strip() == "LIVE", "Envoy is live")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, 10)
        if error is not None and hasattr(error, "add_note"):
            error.add_note(self.log.read_text()[-4000:])

    def get(self, path: str) -> str:
        """What the admin interface says; empty where it does not answer yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=2) as answer:
                return str(answer.read().decode())
        except (OSError, urllib.error.URLError):
            return ""

    def stat(self, name: str) -> int:
        """A counter or gauge."""
        for line in self.get(f"/stats?filter=^{name}$").splitlines():
            if line.startswith(f"{name}: "):
                return int(line.rpartition(" ")[2])
        return 0

    def dump(self) -> dict[str, Any]:
        """`/config_dump` with endpoints, by the type's short name."""
        sections = json.loads(self.get("/config_dump?include_eds"))["configs"]
        return {section["@type"].rsplit(".", 1)[-1]: section for section in sections}

    def clusters(self) -> dict[str, str]:
        """Active clusters that came by CDS: name → alt_stat_name."""
        found = self.dump().get("ClustersConfigDump", {}).get("dynamic_active_clusters", [])
        return {each["cluster"]["name"]: each["cluster"].get("alt_stat_name", "") for each in found}

    def listeners(self) -> dict[str, str]:
        """Active listeners that came by LDS: name → stat_prefix."""
        found = self.dump().get("ListenersConfigDump", {}).get("dynamic_listeners", [])
        active = {each["name"]: each["active_state"]["listener"] for each in found if "active_state" in each}
        return {name: listener.get("stat_prefix", "") for name, listener in active.items()}

    def ask(self, port: int) -> str:
        """The body of a request to a listener on loopback, with its status where that is an error."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read().decode()}"
        except OSError:
            return ""


async def until(holds: Callable[[], bool], what: str, seconds: float = 10) -> None:
    """Wait for it, or fail with its words. The loop goes on meanwhile: the server lives in it."""
    for _ in range(int(seconds / 0.05)):
        if await asyncio.to_thread(holds):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")
