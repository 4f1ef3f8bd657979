"""What is counted of the webhook. Rule: every series begins with `weft_webhook_`, and no label holds a user's text."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class WebhookMetrics:
    """The series of one webhook process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reviews = Counter(
            "weft_webhook_reviews", "Questions answered, by path and outcome.", ["path", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "weft_webhook_seconds", "From a question's last byte to its answer.", ["path"], buckets=BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self.certificate_not_after = Gauge(
            "weft_webhook_certificate_not_after_seconds", "When the serving certificate ends, in Unix time.",
            registry=self.registry,
        )  # fmt: skip
        self.certificate_failures = Counter(
            "weft_webhook_certificate_failures", "Times the certificate's files could not be used.",
            registry=self.registry,
        )  # fmt: skip
