"""What is sent, read by another implementation of the same schema (envoy-data-plane, no code in common)."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

import pytest

import shop_mesh as shop
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET
from xds.translate.world import TranslateSettings, Translator


def message(type_url: str) -> Any:
    """The other implementation's class. Its modules warn of their own pydantic when they are imported."""
    package, _, name = type_url.rpartition("/")[2].rpartition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(import_module(f"envoy_data_plane.{package}"), name)


@pytest.mark.parametrize("kind", [CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET])
def test_another_implementation_of_the_schema_reads_the_same(kind: str) -> None:
    decoder = message(kind)
    read = 0
    for snapshot in Translator(TranslateSettings()).translate(shop.shop(), "bundle").roles.values():
        for name, made in snapshot.resources[kind].items():
            decoded = decoder.parse(made.body)
            assert getattr(decoded, "cluster_name" if kind == ENDPOINTS else "name") == name
            assert len(bytes(decoded)) == len(made.body)
            read += 1
    assert read > 0
