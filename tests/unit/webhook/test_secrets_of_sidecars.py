"""What proves a pod's identity to the control plane is in the sidecar's container, and in no other."""

from __future__ import annotations

from kube.objects import RawDocument
from webhook.decision import NamespaceView
from webhook.inject import inject
from webhook.settings import InjectorSettings
from webhook.sidecar import IDENTITY_VOLUME

POD: RawDocument = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-1", "namespace": "shop"},
    "spec": {
        "initContainers": [{"name": "prepare", "image": "x"}],
        "containers": [
            {"name": "app", "image": "x", "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
            {"name": "other", "image": "x"},
        ],
        "volumes": [{"name": "data", "emptyDir": {}}],
    },
}


def test_the_token_for_the_control_plane_is_mounted_into_the_sidecar_only() -> None:
    done = inject(POD, NamespaceView("shop"), InjectorSettings(), everything=True)
    assert done.injected
    spec = done.pod["spec"]
    mounting = [
        container["name"]
        for container in (*spec["initContainers"], *spec["containers"])
        if any(mount["name"] == IDENTITY_VOLUME for mount in container.get("volumeMounts", ()))
    ]
    assert mounting == ["weft-proxy"]
    assert [volume["name"] for volume in spec["volumes"]].count(IDENTITY_VOLUME) == 1
    (token,) = [
        source["serviceAccountToken"]
        for volume in spec["volumes"]
        if volume["name"] == IDENTITY_VOLUME
        for source in volume["projected"]["sources"]
        if "serviceAccountToken" in source
    ]
    assert token["audience"] == "weft"
    assert token["expirationSeconds"] <= 3600
