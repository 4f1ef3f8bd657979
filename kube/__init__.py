"""Kubernetes, as far as we need it: objects, references, problems, enrolment. Knows nothing of SMI or Envoy."""
