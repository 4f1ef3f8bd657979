"""What tests against an API server share: the server, a client of it and a namespace of one's own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from api_server import ApiServer, start_api_server
from kube.client import Client, ClientSettings
from raw_api import RawApi
from real_api_server import ASSETS, assets

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """The fake, or real binaries where KUBEBUILDER_ASSETS names them. One for all tests, each in its own namespace."""
    server = start_api_server()
    yield server
    server.stop()


@pytest.fixture
def controllers(api_server: ApiServer) -> ApiServer:
    """The API server, for tests that need what controllers do."""
    if not api_server.controllers:
        pytest.skip("KUBEBUILDER_ASSETS holds no kube-controller-manager")
    return api_server


@pytest.fixture(scope="session")
def api(api_server: ApiServer) -> RawApi:
    """Plain calls as admin."""
    return RawApi(api_server.admin_kubeconfig)


@pytest.fixture
async def client(api_server: ApiServer) -> AsyncIterator[Client]:
    """An open client as admin."""
    opened = await Client.open(ClientSettings(kubeconfig=api_server.admin_kubeconfig, context=None))
    yield opened
    await opened.close()


@pytest.fixture
def namespace(api: RawApi) -> Iterator[str]:
    """A fresh namespace with its default ServiceAccount. It is deleted afterwards, which nobody waits for."""
    with _fresh_namespace(api) as name:
        yield name


@pytest.fixture(scope="module")
def shared_namespace(api: RawApi) -> Iterator[str]:
    """One namespace for a module, for what is slow to make on a real API server."""
    with _fresh_namespace(api) as name:
        yield name


@contextmanager
def _fresh_namespace(api: RawApi) -> Iterator[str]:
    name = f"test-{next(_numbers)}"
    api("POST", "/api/v1/namespaces", {"metadata": {"name": name}}).expect()
    with api.watch(f"/api/v1/namespaces/{name}/serviceaccounts", fieldSelector="metadata.name=default") as events:
        next(events)
    yield name
    # No kubelet will ever end a bound pod: the API server is told not to wait for one.
    api("DELETE", f"/api/v1/namespaces/{name}/pods", gracePeriodSeconds="0")
    api("DELETE", f"/api/v1/namespaces/{name}").expect()


def pytest_report_header() -> str:
    """Which API server the tests use."""
    found = assets()
    return f"API server: real, from {found}" if found else f"API server: the fake of tests/fakes ({ASSETS} is not set)"
