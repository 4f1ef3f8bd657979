"""Whether somebody may see what they ask for: the cluster decides (SubjectAccessReview), for a few seconds at a time.

Rule: only a clear yes lets anybody in. Source: Kubernetes API reference, authorization.k8s.io/v1.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from controlplane.metrics_api.callers import Requests, User
from kube.clock import SYSTEM_CLOCK, Clock

REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
REMEMBERED: Final = 10.0
"""Seconds that an answer holds."""
MOST: Final = 1024
"""Answers that are remembered."""

Key = tuple[User, tuple[tuple[str, str], ...]]


class Rights:
    """Asks, and remembers for a moment."""

    def __init__(self, requests: Requests, clock: Clock = SYSTEM_CLOCK) -> None:
        self._requests = requests
        self._clock = clock
        self._answers: OrderedDict[Key, tuple[float, bool]] = OrderedDict()

    async def allowed(self, user: User, attributes: Mapping[str, str]) -> bool:
        """Whether this user may do that: a resource's attributes, or `path` and `verb`. Raises as the client does."""
        key = user, tuple(sorted(attributes.items()))
        until, answer = self._answers.get(key, (0.0, False))
        if self._clock.passed() < until:
            return answer
        about = "nonResourceAttributes" if "path" in attributes else "resourceAttributes"
        spec = {
            "user": user.name, "uid": user.uid, "groups": list(user.groups),
            "extra": {name: list(values) for name, values in user.extra},
            about: {name: text for name, text in attributes.items() if text},
        }  # fmt: skip
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        review = await self._requests.request("POST", REVIEWS, body=body)
        status = review.get("status") or {}
        answer = status.get("allowed") is True and status.get("denied") is not True
        self._answers[key] = (self._clock.passed() + REMEMBERED, answer)
        self._answers.move_to_end(key)
        while len(self._answers) > MOST:
            self._answers.popitem(last=False)
        return answer
