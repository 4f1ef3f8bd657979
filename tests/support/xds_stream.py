"""One stream in a test: say something to a machine, see what it sends back, as short lines.

Rule: requests and responses pass as bytes, through the real reader and protobuf's own decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xds import pb
from xds.delta import DeltaMachine
from xds.interest import Names
from xds.machine import Machine
from xds.requests import RequestReader
from xds.resource import Resource
from xds.sotw import SotwMachine
from xds.wire import Assembler
from xds_client import Got, read_delta, read_sotw, view


class Stream:
    """What both protocols share in tests. `now` is the machine's clock."""

    machine: Machine[Any]

    def __init__(self, *resources: Resource, assembler: Assembler | None = None) -> None:
        self.now = 0.0
        self.assembler = assembler or Assembler()
        self.reader = RequestReader()
        self.latest: dict[str, Got] = {}
        self.raw: list[bytes] = []
        self.resources = resources

    def publish(self, *resources: Resource) -> list[Got]:
        """The view is now this; what is sent for it."""
        self.resources = resources
        self.machine.show(view(*resources))
        return self.sent()

    def sent(self) -> list[Got]:
        """What the machine sends now."""
        self.raw = [response.data for response in self.machine.pull(self.now)]
        read = read_delta if isinstance(self.machine, DeltaMachine) else read_sotw
        got = [read(data) for data in self.raw]
        self.latest.update((each.type_url, each) for each in got)
        return got


class DeltaStream(Stream):
    """An incremental stream."""

    def __init__(self, *resources: Resource, assembler: Assembler | None = None) -> None:
        super().__init__(*resources, assembler=assembler)
        self.machine = DeltaMachine(self.assembler, Names())
        self.machine.show(view(*resources))

    def say(
        self,
        type_url: str,
        *subscribe: str,
        drop: Sequence[str] = (),
        has: dict[str, str] | None = None,
        nonce: str = "",
        error: str = "",
    ) -> list[Got]:
        """A request, and what it makes the machine send."""
        request = pb.DeltaDiscoveryRequest(
            type_url=type_url,
            resource_names_subscribe=subscribe,
            resource_names_unsubscribe=drop,
            initial_resource_versions=has or {},
            response_nonce=nonce,
            error_detail={"code": 13, "message": error} if error else None,
        )
        self.machine.receive(self.reader.delta(request.SerializeToString()), self.now)
        return self.sent()

    def ack(self, type_url: str) -> list[Got]:
        """Take the latest response of the type."""
        return self.say(type_url, nonce=self.latest[type_url].nonce)

    def nack(self, type_url: str, words: str = "no") -> list[Got]:
        """Refuse the latest response of the type."""
        return self.say(type_url, nonce=self.latest[type_url].nonce, error=words)

    def ack_all(self, got: list[Got]) -> list[Got]:
        """Take everything until nothing more comes; all responses, the given ones first."""
        seen = list(got)
        while got:
            got = [answer for each in got for answer in self.say(each.type_url, nonce=each.nonce)]
            seen += got
        return seen


class SotwStream(Stream):
    """A state-of-the-world stream."""

    def __init__(self, *resources: Resource, assembler: Assembler | None = None) -> None:
        super().__init__(*resources, assembler=assembler)
        self.machine = SotwMachine(self.assembler, Names())
        self.machine.show(view(*resources))
        self.names: dict[str, tuple[str, ...]] = {}
        self.accepted: dict[str, str] = {}

    def say(
        self, type_url: str, *names: str, version: str | None = None, nonce: str | None = None, error: str = ""
    ) -> list[Got]:
        """A request, by default in answer to the latest response, and what it makes the machine send."""
        latest = self.latest.get(type_url)
        self.names[type_url] = names
        request = pb.DiscoveryRequest(
            type_url=type_url,
            resource_names=names,
            version_info=self.accepted.get(type_url, "") if version is None else version,
            response_nonce=(latest.nonce if latest else "") if nonce is None else nonce,
            error_detail={"code": 13, "message": error} if error else None,
        )
        self.machine.receive(self.reader.sotw(request.SerializeToString()), self.now)
        return self.sent()

    def ack(self, type_url: str) -> list[Got]:
        """Take the latest response of the type."""
        self.accepted[type_url] = self.latest[type_url].version
        return self.say(type_url, *self.names[type_url])

    def nack(self, type_url: str, words: str = "no") -> list[Got]:
        """Refuse the latest response of the type."""
        return self.say(type_url, *self.names[type_url], error=words)


def lines(got: list[Got]) -> list[str]:
    """Each response as `Type: +name +name -gone`, sorted by name within."""
    return [
        " ".join([
            each.type_url.rsplit(".", 1)[-1] + ":",
            *(f"+{name}" for name in sorted(each.resources)),
            *(f"-{name}" for name in sorted(each.removed)),
        ])
        for each in got
    ]  # fmt: skip
