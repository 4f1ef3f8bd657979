"""Hostile objects in the webhook's hands: every review gets a well-formed answer, and nothing is allowed by accident.

The validator's own safety net is taken for a failure here: no document may need it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from hostile_documents import hostile_document
from smi.convert import convert
from smi.decode import read
from smi.definitions import DEFINITIONS
from webhook.convert import review as converted
from webhook.validate import WARNING_LENGTH
from webhook.validate import review as validated

SHARDS = 8
IN_ONE = 100


def objects(shard: int) -> Iterator[dict[str, Any]]:
    """What of the hostile documents can be posted at all: maps that JSON can say, which has no aliases."""
    for number in range(shard * IN_ONE, (shard + 1) * IN_ONE):
        content = hostile_document(number)
        if b"*a0" in content:
            continue
        try:
            found = list(yaml.load_all(content, yaml.CSafeLoader))
        except (yaml.YAMLError, ValueError, RecursionError):
            continue
        for document in found:
            if isinstance(document, dict):
                yield json.loads(json.dumps(document, default=str, skipkeys=True))


@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_review_is_answered_and_nothing_unreadable_passes(shard: int) -> None:
    asked = 0
    for raw in objects(shard):
        asked += 1
        request = {"uid": "7", "operation": "CREATE", "object": raw, "name": "x", "namespace": "hostile"}
        response = validated({"request": request})["response"]
        warnings = response.get("warnings", [])
        assert not [warning for warning in warnings if "Weft failed" in warning], raw
        assert all(len(warning) <= WARNING_LENGTH and "\n" not in warning for warning in warnings)
        causes = [] if response["allowed"] else response["status"]["details"]["causes"]
        assert response["allowed"] != bool(causes)
        json.dumps(response)
    assert asked > IN_ONE / 4


@pytest.mark.parametrize("shard", range(SHARDS))
def test_conversion_gives_an_object_or_says_why_not(shard: int) -> None:
    known = {(definition.group, definition.kind): definition.versions for definition in DEFINITIONS}
    there = 0
    for raw in objects(shard):
        group, kind = str(raw.get("apiVersion")).rpartition("/")[0], str(raw.get("kind"))
        for version in known.get((group, kind), ()):
            review = {"uid": "7", "desiredAPIVersion": f"{group}/{version}", "objects": [raw]}
            response = converted({"request": review})["response"]
            if response["result"]["status"] == "Failure":
                assert response["result"]["message"]
                continue
            (made,) = response["convertedObjects"]
            there += 1
            assert (made["apiVersion"], made["kind"]) == (f"{group}/{version}", kind)
            assert read(made).object is None or isinstance(convert(made, raw["apiVersion"]), dict)
    assert there > IN_ONE / 4
