"""What Flagger and Argo Rollouts say to an API server about a TrafficSplit, call by call.

Rule: the calls are theirs (Flagger pkg/router/smi*.go; Argo Rollouts rollout/trafficrouting/smi/smi.go), with the JSON
that their Go types make: a weight of v1alpha1 is a quantity, so text; nothing empty is sent; an update is the whole
object with the resourceVersion it was read with; Argo's patch is a JSON merge patch of what differs in the spec.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from raw_api import MERGE, Answer, RawApi

CANARY = {"apiVersion": "flagger.app/v1beta1", "kind": "Canary"}
ROLLOUT = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
UID = "11111111-2222-3333-4444-555555555555"


class ForeignError(Exception):
    """The split belongs to somebody else, which the controller takes for a reason to do nothing."""


@dataclass
class _Client:
    """One controller, for one split in one version."""

    api: RawApi
    namespace: str
    version: str
    name: str
    calls: list[tuple[str, int]] = field(default_factory=list)

    def call(self, method: str, name: str = "", body: Any = None, **more: Any) -> Answer:
        base = f"/apis/split.smi-spec.io/{self.version}/namespaces/{self.namespace}/trafficsplits"
        answer = self.api(method, f"{base}/{name}" if name else base, body, **more)
        self.calls.append((method, answer.code))
        return answer

    def get(self) -> Any:
        """The split as this client sees it, None where there is none."""
        answer = self.call("GET", self.name)
        return None if answer.code == 404 else answer.expect(200)

    def weight(self, share: int) -> object:
        """A weight as Go writes it."""
        return str(share) if self.version == "v1alpha1" else share

    def document(self, spec: dict[str, Any], owner: dict[str, str]) -> dict[str, Any]:
        reference = {**owner, "name": self.name, "uid": UID, "controller": True, "blockOwnerDeletion": True}
        metadata = {
            "name": self.name,
            "namespace": self.namespace,
            "creationTimestamp": None,
            "ownerReferences": [reference],
        }
        api_version = f"split.smi-spec.io/{self.version}"
        return {"apiVersion": api_version, "kind": "TrafficSplit", "metadata": metadata, "spec": spec}


@dataclass
class Flagger(_Client):
    """Writes v1alpha1, v1alpha2 or v1alpha3, by its mesh provider."""

    def _backends(self, primary: int, canary: int) -> list[dict[str, Any]]:
        return [
            {"service": f"{self.name}-canary", "weight": self.weight(canary)},
            {"service": f"{self.name}-primary", "weight": self.weight(primary)},
        ]

    def reconcile(self) -> None:
        """On every tick: create the split, or write its spec anew where anything but a weight differs."""
        spec = {"service": self.name, "backends": self._backends(100, 0)}
        found = self.get()
        if found is None:
            self.call("POST", "", self.document(spec, CANARY)).expect(201)
        elif self._bare(found["spec"]) != self._bare(spec):
            self.call("PUT", self.name, {**found, "spec": spec}).expect(200)

    def _bare(self, spec: dict[str, Any]) -> dict[str, Any]:
        bare = copy.deepcopy(spec)
        for backend in bare["backends"]:
            backend["weight"] = None
        return bare

    def routes(self) -> tuple[int, int]:
        """The weights of primary and canary; of a quantity that is no whole number, Go makes 0."""
        weights = {backend["service"]: backend["weight"] for backend in self.get()["spec"]["backends"]}
        primary, canary = (str(weights[f"{self.name}-{role}"]) for role in ("primary", "canary"))
        return tuple(int(text) if text.isdigit() else 0 for text in (primary, canary))  # type: ignore[return-value]

    def set_routes(self, primary: int, canary: int) -> None:
        """A step of the canary."""
        found = self.get()
        found["spec"]["backends"] = self._backends(primary, canary)
        self.call("PUT", self.name, found).expect(200)


@dataclass
class ArgoRollouts(_Client):
    """Writes v1alpha1, or another by a flag. Its root is the stable Service unless told otherwise (rule T4)."""

    def set_weight(self, canary: int, **additional: int) -> bool:
        """A step of the rollout; whether anything was written. Raises ForeignError."""
        others = [{"service": name, "weight": self.weight(share)} for name, share in additional.items()]
        stable = 100 - canary - sum(additional.values())
        spec = {
            "service": f"{self.name}-stable",
            "backends": [
                {"service": f"{self.name}-canary", "weight": self.weight(canary)},
                *others,
                {"service": f"{self.name}-stable", "weight": self.weight(stable)},
            ],
        }
        found = self.get()
        if found is None:
            self.call("POST", "", self.document(spec, ROLLOUT)).expect(201)
            return True
        owners = [owner for owner in found["metadata"].get("ownerReferences", []) if owner.get("controller")]
        if not owners or owners[0]["uid"] != UID:
            raise ForeignError(self.name)
        changed = {key: value for key, value in spec.items() if found["spec"].get(key) != value}
        gone = dict.fromkeys(found["spec"].keys() - spec.keys())
        if not changed and not gone:
            return False
        self.call("PATCH", self.name, {"spec": {**changed, **gone}}, content_type=MERGE).expect(200)
        return True
