"""What a sidecar answers on its metrics port: Envoy's statistics, Weft's counts by the names people ask for, the app's.

Rule: a request is counted once, under one name; every other name is made here, while somebody scrapes. Sources of the
names and labels: Istio "Standard Metrics", Linkerd "Proxy Metrics", Open Service Mesh "Metrics", Flagger's observers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from kube.workload import WorkloadName
from proxy.probes import TYPE, Document

PATH: Final = "/stats/prometheus"
OWN_PATH: Final = "/stats/weft"
"""Weft's counts under Istio's names alone, without Envoy's own statistics and the app's: for those who ask often."""
OWN: Final = r"^(weft\.|server\.uptime)"
"""The names of what is told there."""
FILTER: Final = "envoy.filters.http.lua"
APP_CLUSTER: Final = "app-metrics"
APP_TIMEOUT: Final = 5
"""Seconds the app has to tell its metrics; Prometheus waits ten by default."""
BUCKETS: Final = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)
"""Upper limits of the buckets, in milliseconds; the last one of all is infinite."""
LARGEST: Final = 32 * 1024 * 1024
"""Bytes of metrics that Envoy holds while the names are made."""
IDLE: Final = 3600
"""A series that nothing is added to for this many seconds, or twice that, is forgotten."""


@dataclass(frozen=True, slots=True)
class AppMetrics:
    """Where the app tells its own metrics (the annotations `prometheus.io/port` and `prometheus.io/path`)."""

    port: int
    path: str = "/metrics"


def statistics() -> Document:
    """The bootstrap's fields about statistics."""
    ours = {"match": {"prefix": "weft."}, "buckets": list(BUCKETS)}
    return {
        "stats_config": {"histogram_bucket_settings": [ours]},
        "stats_flush_interval": "5s",
        "stats_eviction_interval": f"{IDLE}s",
    }


def http_filter() -> Document:
    """The script, as a filter of the metrics listener."""
    code = {"inline_string": SCRIPT}
    config = {"@type": f"{TYPE}envoy.extensions.filters.http.lua.v3.Lua", "default_source_code": code}
    return {"name": FILTER, "typed_config": config}


def routes(cluster: str, workload: WorkloadName, app: AppMetrics | None) -> list[Document]:
    """The paths of the metrics listener. `cluster` is Envoy's own admin API."""
    context: dict[str, Any] = {"kind": workload.kind, "workload": workload.name}
    # A name per cluster for what never happened would be most of the answer.
    everything, own = f"{PATH}?usedonly", f"{PATH}?usedonly&filter={quote(OWN)}"
    with_app = {"app": app.path, "timeout_ms": APP_TIMEOUT * 1000} if app is not None else {}
    istio = {"only": "istio"}
    return [_route(cluster, PATH, everything, context | with_app), _route(cluster, OWN_PATH, own, context | istio)]


def _route(cluster: str, path: str, asked: str, context: Document) -> Document:
    """A path, and what Envoy is asked for it."""
    script = {"@type": f"{TYPE}envoy.extensions.filters.http.lua.v3.LuaPerRoute", "filter_context": context}
    only_get = [{"name": ":method", "string_match": {"exact": "GET"}}]
    return {
        "match": {"path": path, "headers": only_get},
        # What is compressed, or protobuf, the script could not read.
        "request_headers_to_remove": ["accept-encoding", "accept"],
        "route": {"cluster": cluster, "prefix_rewrite": asked},
        "typed_per_filter_config": {FILTER: script},
    }


# Series of Weft's come from Envoy as, say
#   envoy_weft_inbound_ms_bucket{peer="spiffe://…",port="8080",code="200",grpc="",flags="-",le="5"} 3
# and their labels stand in the order that xds.translate.telemetry gives them.
SCRIPT: Final = r"""local OURS = "^envoy_weft_(%l+)_(%l[%l_]*){(.*)} (%S+)$"
local FAILED = {["2"]=true, ["4"]=true, ["12"]=true, ["13"]=true, ["14"]=true, ["15"]=true}
local own = {
  namespace = os.getenv("POD_NAMESPACE") or "unknown", account = os.getenv("SERVICE_ACCOUNT") or "unknown",
  pod = os.getenv("POD_NAME"),
}

local function labels(...)
  local parts, given = {}, {...}
  for i = 1, select("#", ...), 2 do
    if given[i + 1] then parts[#parts + 1] = given[i] .. '="' .. given[i + 1] .. '"' end
  end
  return table.concat(parts, ",")
end

local function some(text) return text and text ~= "" and text ~= "-" and text or nil end

local function service_of(text)
  local namespace, name = (text or ""):match("^([^/]+)/([^/]+)/%d+")
  if namespace then return name, namespace, name .. "." .. namespace .. ".svc.cluster.local" end
  return text, "unknown", text
end

local function protocol_of(seen)
  if not seen.code then return "tcp" end
  return some(seen.grpc) and "grpc" or "http"
end

local function principals(seen)
  local domain, namespace = (seen.peer or ""):match("^spiffe://([^/]+)/ns/([^/]+)/sa/")
  if not domain then return "unknown", "unknown" end
  return seen.peer, "spiffe://" .. domain .. "/ns/" .. own.namespace .. "/sa/" .. own.account, namespace
end

local function class_of(seen)
  local code = tonumber(seen.code) or 0
  return (code == 0 or code >= 500 or FAILED[seen.grpc]) and "failure" or "success"
end

local function key_of(kind)
  return ({Deployment = "deployment", StatefulSet = "statefulset"})[kind] or "workload"
end

local function inbound(seen)
  local peer, me, namespace = principals(seen)
  local secure = namespace and "mutual_tls" or "none"
  local istio = labels("reporter", "destination",
    "source_workload", "unknown", "source_workload_namespace", namespace or "unknown", "source_principal", peer,
    "destination_workload", own.workload, "destination_workload_namespace", own.namespace,
    "destination_principal", me, "destination_service", "unknown", "destination_service_name", "unknown",
    "destination_service_namespace", own.namespace, "destination_port", seen.port,
    "request_protocol", protocol_of(seen), "response_code", seen.code,
    "grpc_response_status", seen.code and (some(seen.grpc) or ""), "response_flags", seen.flags,
    "connection_security_policy", secure)
  if not seen.code then return {istio = istio} end
  local osm = labels("source_kind", "unknown", "source_name", "unknown", "source_namespace", namespace or "unknown",
    "destination_kind", own.kind, "destination_name", own.workload, "destination_namespace", own.namespace,
    "response_code", seen.code)
  local linkerd = labels("direction", "inbound", "namespace", own.namespace, key_of(own.kind), own.workload,
    "pod", own.pod, "target_port", seen.port, "client_id", some(seen.peer),
    "tls", namespace and "true" or "no_identity", "status_code", seen.code, "grpc_status_code", some(seen.grpc),
    "classification", class_of(seen))
  return {istio = istio, osm = osm, linkerd = linkerd}
end

local function outbound(seen)
  local peer, me, namespace = principals(seen)
  local name, in_namespace, host = service_of(some(seen.backend) or seen.service)
  local _, _, asked = service_of(seen.service)
  local workload = some(seen.workload) or "unknown"
  local istio = labels("reporter", "source",
    "source_workload", own.workload, "source_workload_namespace", own.namespace, "source_principal", me,
    "destination_workload", workload, "destination_workload_namespace", namespace or in_namespace,
    "destination_principal", peer, "destination_service", host, "destination_service_name", name,
    "destination_service_namespace", in_namespace, "requested_service", asked,
    "request_protocol", protocol_of(seen), "response_code", seen.code,
    "grpc_response_status", seen.code and (some(seen.grpc) or ""), "response_flags", seen.flags,
    "connection_security_policy", namespace and "mutual_tls" or "none")
  if not seen.code then return {istio = istio} end
  local linkerd = labels("direction", "outbound", "namespace", own.namespace, key_of(own.kind), own.workload,
    "pod", own.pod, "authority", asked, "dst_namespace", namespace or in_namespace, "dst_service", name,
    "dst_workload", workload, "server_id", some(seen.peer), "tls", namespace and "true" or "no_identity",
    "status_code", seen.code, "grpc_status_code", some(seen.grpc), "classification", class_of(seen))
  return {istio = istio, linkerd = linkerd}
end

local SIDES = {inbound = inbound, outbound = outbound}
local HISTOGRAMS = {
  {"istio", "istio_request_duration_milliseconds", "istio_requests_total"},
  {"linkerd", "response_latency_ms", "response_total"},
  {"osm", "osm_request_duration_ms", "osm_request_total"},
}
local COUNTERS = {
  tcp_opened = "istio_tcp_connections_opened_total", tcp_closed = "istio_tcp_connections_closed_total",
  tcp_sent_bytes = "istio_tcp_sent_bytes_total", tcp_received_bytes = "istio_tcp_received_bytes_total",
}

-- Series that differ only in what a name has no label for are one series under that name.
local function add(families, name, kind, series, value)
  local family = families[name]
  if not family then
    family = {kind = kind}
    families[name], families[#families + 1] = family, name
  end
  if not family[series] then family[#family + 1] = series end
  family[series] = (family[series] or 0) + tonumber(value)
end

local function write(families, lines)
  for _, name in ipairs(families) do
    local family = families[name]
    lines[#lines + 1] = "# TYPE " .. name .. " " .. family.kind
    for _, series in ipairs(family) do lines[#lines + 1] = series .. " " .. ("%.15g"):format(family[series]) end
  end
end

local function seen_in(text)
  local seen = {}
  for name, value in text:gmatch('(%l+)="([^"]*)"') do seen[name] = value end
  return seen
end

local function translate(families, known, side, what, text, value)
  local bare, limit = text:match('^(.*),le="([^"]*)"$')
  bare = bare or text
  local key = side .. bare
  local named = known[key]
  if not named then
    named = SIDES[side](seen_in(bare))
    known[key] = named
  end
  local counter = COUNTERS[what]
  if counter then
    add(families, counter, "counter", counter .. "{" .. named.istio .. "}", value)
    return
  end
  local part = what:match("^ms(_%l+)$")
  for _, names in ipairs(HISTOGRAMS) do
    local with = part and (not own.only or own.only == names[1]) and named[names[1]]
    if with then
      local ending = limit and (',le="' .. limit .. '"') or ""
      add(families, names[2], "histogram", names[2] .. part .. "{" .. with .. ending .. "}", value)
      local total = part == "_count" and not own.only
      if total then add(families, names[3], "counter", names[3] .. "{" .. with .. "}", value) end
    end
  end
end

local function from_app(handle, context)
  local headers, text = handle:httpCall("app-metrics", {
    [":method"] = "GET", [":path"] = context:get("app"), [":authority"] = "localhost",
    ["accept"] = "text/plain;version=0.0.4",
  }, nil, context:get("timeout_ms"))
  local found = headers and headers[":status"] == "200" and text
  return (found or "") .. "\n# TYPE weft_app_metrics_up gauge\nweft_app_metrics_up " .. (found and 1 or 0) .. "\n"
end

-- The app is asked first: a body may not be kept over a call, nor may the stream's metadata.
function envoy_on_request(handle)
  local context = handle:filterContext()
  if not context:get("app") then return end
  local text = from_app(handle, context)
  handle:streamInfo():dynamicMetadata():set("weft", "app", text)
end

function envoy_on_response(handle)
  local context = handle:filterContext()
  own.kind, own.workload, own.only = context:get("kind"), context:get("workload"), context:get("only")
  local app = (handle:streamInfo():dynamicMetadata():get("weft") or {}).app or ""
  local body = handle:body(true)
  local families, known, rest = {}, {}, {}
  for line in body:getBytes(0, body:length()):gmatch("[^\n]+") do
    if line:sub(1, 11) == "envoy_weft_" then
      local side, what, text, value = line:match(OURS)
      if side and SIDES[side] then translate(families, known, side, what, text, value) end
    elseif line:sub(1, 18) ~= "# TYPE envoy_weft_" then
      rest[#rest + 1] = line
    end
  end
  write(families, rest)
  local length = body:setBytes(table.concat(rest, "\n") .. "\n" .. app)
  handle:headers():replace("content-length", tostring(length))
end
"""
