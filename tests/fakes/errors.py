"""Failures as the API server words them. Rule: every one is a metav1.Status, in the words of apimachinery.

Source: Kubernetes API conventions ("Response Status Kind"), k8s.io/apimachinery/pkg/api/errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cause:
    """One reason of an Invalid answer: `reason` as in field.ErrorType, the message, and the field's path."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def encoded(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.message, "field": self.field}


class StatusError(Exception):
    """A request that fails: HTTP code, machine-readable reason, message and details."""

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})
        self._keeps_details = details is not None
        self.list_meta: dict[str, Any] = {}
        self.warnings: list[str] = []

    def status(self) -> dict[str, Any]:
        """The metav1.Status document."""
        document: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.list_meta,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }
        if not self.reason:
            del document["reason"]
        if not self._keeps_details and not self.details:
            del document["details"]
        return document


def qualified(plural: str, group: str) -> str:
    """`services`, or `deployments.apps` for a kind of a named group."""
    return f"{plural}.{group}" if group else plural


def _details(group: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    found = {"name": name, "group": group, "kind": kind, **more}
    return {key: value for key, value in found.items() if value}


def not_found(group: str, plural: str, name: str) -> StatusError:
    text = f'{qualified(plural, group)} "{name}" not found'
    return StatusError(404, "NotFound", text, _details(group, plural, name))


class NoSuchPathError(Exception):
    """A path the server knows nothing of: answered in plain text."""


def no_such_path() -> StatusError:
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(group: str, plural: str, name: str) -> StatusError:
    text = f'{qualified(plural, group)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", text, _details(group, plural, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(group: str, plural: str, name: str, why: str = MODIFIED) -> StatusError:
    text = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return StatusError(409, "Conflict", text, _details(group, plural, name))


def apply_conflict(text: str, causes: Sequence[Cause]) -> StatusError:
    """Server-side apply met fields of other managers."""
    return StatusError(409, "Conflict", text, {"causes": [each.encoded() for each in causes]})


def bad_request(text: str) -> StatusError:
    return StatusError(400, "BadRequest", text)


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str) -> StatusError:
    """Refused by authorization or by an admission plugin; `name` may be empty."""
    shown = f'{qualified(plural, group)} "{name}"' if name else qualified(plural, group)
    return StatusError(403, "Forbidden", f"{shown} is forbidden: {why}", _details(group, plural, name))


def forbidden_path(user: str, verb: str, path: str) -> StatusError:
    text = f'forbidden: User "{user}" cannot {verb} path "{path}"'
    return StatusError(403, "Forbidden", text, {})


def method_not_allowed() -> StatusError:
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unsupported_media_type(text: str) -> StatusError:
    return StatusError(415, "UnsupportedMediaType", text)


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """Validation failed; the message lists the causes as field.ErrorList does."""
    said = list(dict.fromkeys(f"{each.field}: {each.message}" for each in causes))
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    message = f'{qualified(kind, group)} "{name}" is invalid: {text}'
    details = _details(group, kind, name, causes=[each.encoded() for each in causes])
    return StatusError(422, "Invalid", message, details)


def expired(text: str) -> StatusError:
    """A resourceVersion or continue token that history no longer holds."""
    return StatusError(410, "Expired", text)


def too_large_version(wanted: int, current: int) -> StatusError:
    """A list at a resourceVersion that does not exist yet."""
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    text = f"Timeout: Too large resource version: {wanted}, current: {current}"
    return StatusError(504, "Timeout", text, {"causes": causes, "retryAfterSeconds": 1})


def internal(text: str) -> StatusError:
    details = {"causes": [{"message": text}]}
    return StatusError(500, "InternalError", f"Internal error occurred: {text}", details)


def success(group: str, plural: str, name: str, uid: str) -> dict[str, Any]:
    """What a DELETE answers when the object is gone."""
    details = _details(group, plural, name, uid=uid)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
