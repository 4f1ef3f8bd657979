"""Envoy's stats access logger as Envoy 1.40 has it: the published classes are older and lack `stats_scope`.

Rule: field numbers are those in Envoy's own binary (envoy.extensions.access_loggers.stats.v3 and envoy.type.v3.Scope);
a real Envoy tells in `tests/envoy/test_exposition.py` whether they are right.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pool

from xds.schema import Field, classes

MILLISECONDS: Final = 3
"""Config.Histogram.Unit."""

_CLASSES: Final = classes(
    descriptor_pool.Default(),
    "envoy.extensions.access_loggers.stats.v3",
    {
        "Number": [Field("value", 1, "uint64")],
        "Scope": [
            Field("max_counters", 1, "Number"),
            Field("max_histograms", 3, "Number"),
            Field("enable_eviction", 4, "bool"),
            Field("prefix", 5, "string"),
        ],
        "Tag": [Field("name", 1, "string"), Field("value_format", 2, "string")],
        "Stat": [Field("name", 1, "string"), Field("tags", 2, "Tag", many=True)],
        "Histogram": [Field("stat", 1, "Stat"), Field("unit", 2, "int32"), Field("value_format", 3, "string")],
        "Counter": [
            Field("stat", 1, "Stat"),
            Field("value_format", 2, "string"),
            Field("value_fixed", 3, "Number"),
        ],
        "Config": [
            Field("histograms", 3, "Histogram", many=True),
            Field("counters", 4, "Counter", many=True),
            Field("stats_scope", 6, "Scope"),
        ],
    },
)
StatsConfig: Final[Any] = _CLASSES["Config"]
