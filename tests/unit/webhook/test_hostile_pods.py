"""Whatever a document holds, the injector answers with a pod and a reason; never with an exception."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from webhook.inject import InjectorSettings, NamespaceView, inject

KEYS = (
    "metadata", "annotations", "labels", "spec", "containers", "initContainers", "name", "ports", "containerPort",
    "volumes", "readinessProbe", "httpGet", "tcpSocket", "grpc", "port", "path", "lifecycle", "preStop", "host",
    "securityContext", "runAsUser", "hostNetwork", "restartPolicy", "weft.dev/exclude-inbound-ports", "timeoutSeconds",
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=30,
)
CONTAINERS = st.dictionaries(st.sampled_from(KEYS), DOCUMENTS, max_size=5).map(lambda made: {**made, "name": "web"})


@given(pod=DOCUMENTS, container=CONTAINERS, rest=st.dictionaries(st.sampled_from(KEYS), DOCUMENTS, max_size=3))
def test_any_document_is_answered_and_never_changed(pod: Any, container: Any, rest: dict[str, Any]) -> None:
    view, settings = NamespaceView("shop"), InjectorSettings()
    containers = {"containers": [container]}
    for document in (pod, {"metadata": rest, "spec": containers}, {"spec": rest | containers}):
        before = copy.deepcopy(document)
        done = inject(document, view, settings, everything=True)
        assert document == before
        assert done.injected or done.pod == before
        assert done.reason
