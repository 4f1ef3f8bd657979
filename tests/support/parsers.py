"""Every parser that reads bytes from outside: tests/fuzz tries each for a moment, `make fuzz` for as long as wanted."""

from __future__ import annotations

import parsers_admin
import parsers_ca
import parsers_issuers
import parsers_kube
import parsers_providers
import parsers_traffic
import parsers_xds
from hostile_bytes import Parser

PARSERS: tuple[Parser, ...] = (
    *parsers_xds.PARSERS,
    *parsers_admin.PARSERS,
    *parsers_ca.PARSERS,
    *parsers_issuers.PARSERS,
    *parsers_providers.PARSERS,
    *parsers_kube.PARSERS,
    *parsers_traffic.PARSERS,
)
