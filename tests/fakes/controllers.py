"""The controllers that tests of whole applications need. Rule: they act after the write that caused it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fakes.api import Api


class Controllers:
    """Listens to the store."""

    def __init__(self, api: Api) -> None:
        self._api = api
