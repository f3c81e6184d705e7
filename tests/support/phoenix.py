"""A real Arize Phoenix on loopback, for as long as a test needs it."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.backends import PHOENIX
from tests.support.compare import Key, Normal
from tests.support.server import Server, free_ports

PROJECT, SPAN_KIND = "openinference.project.name", "openinference.span.kind"
_PAGE = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXCEPTION = ("exception.message", "exception.type", "exception.escaped", "exception.stacktrace")
_COUNT = "query ($id: String!) { getTraceByOtelId(traceId: $id) { numSpans } }"
_COSTS = """query ($id: ID!, $after: String) { node(id: $id) { ... on Project { spans(first: 1000, after: $after) {
  pageInfo { hasNextPage endCursor }
  edges { node { spanId tokenCountPrompt tokenCountCompletion tokenCountTotal costSummary { total { cost } } } }
} } } }"""


class Phoenix(Server):
    """A Phoenix server. ``otlp_grpc`` and ``otlp_http`` are addresses to use as ``DEST``, ``read_at`` as ``AT``;
    ``url`` is its REST API.

    Its database is deleted with it. Its gRPC server listens on all interfaces, whatever ``PHOENIX_HOST`` says.
    """

    backend, ready_s, grace_s = PHOENIX, 300.0, 10.0
    not_kept = ("kind", "links", "scope", "scope_schema", "resource_schema", "trace_state", "flags", "dropped")

    def __init__(self) -> None:
        self._port, self._grpc = free_ports(2)
        self.url = f"http://127.0.0.1:{self._port}"
        self.otlp_http = f"otlp+http://127.0.0.1:{self._port}"
        self.read_at = f"phoenix+http://127.0.0.1:{self._port}"
        self.otlp_grpc = f"otlp+grpc://127.0.0.1:{self._grpc}"
        self._ready_url = f"{self.url}/healthz"

    def trace(self, trace_id: int | str, spans: int = 1, within_s: float = 240.0) -> dict[str, Any]:
        """Return a trace as a ``TracesData`` once it has at least ``spans`` spans; Phoenix answers before it stores
        them.

        After ``within_s`` seconds, return whatever there is.
        """
        name = trace_id if isinstance(trace_id, str) else f"{trace_id:032x}"
        until = time.monotonic() + within_s
        while self._count(name) < spans and time.monotonic() < until:
            time.sleep(0.1)
        found = {project["name"]: list(self.spans(project["name"], name)) for project in self.projects()}
        return {"resourceSpans": [_resource_spans(project, found[project]) for project in found]}

    def projects(self) -> list[dict[str, Any]]:
        """Return its projects, each with ``name`` and ``id``."""
        found: list[dict[str, Any]] = self._ask("/v1/projects?limit=100")["data"]
        return found

    def spans(self, project: str, trace_id: str) -> Iterator[dict[str, Any]]:
        """Return the spans of a trace as its REST API shows them."""
        where = f"/v1/projects/{urllib.parse.quote(project, safe='')}/spans?limit={_PAGE}&trace_id={trace_id}"
        cursor: str | None = ""
        while cursor is not None:
            page = self._ask(f"{where}&cursor={cursor}" if cursor else where)
            yield from page["data"]
            cursor = page["next_cursor"]

    def figures(self, project: str) -> dict[str, dict[str, Any]]:
        """Return the figures that its pages show, by span id: ``tokenCountPrompt`` and the like, and the cost it computes."""
        (found,) = [one["id"] for one in self.projects() if one["name"] == project]
        figures: dict[str, dict[str, Any]] = {}
        after: str | None = None
        while True:
            body = json.dumps({"query": _COSTS, "variables": {"id": found, "after": after}}).encode()
            page = self._ask("/graphql", body)["data"]["node"]["spans"]
            figures |= {edge["node"]["spanId"]: edge["node"] for edge in page["edges"]}
            if not page["pageInfo"]["hasNextPage"]:
                return figures
            after = page["pageInfo"]["endCursor"]

    def as_kept(self, sent: dict[Key, Normal]) -> dict[Key, Normal]:
        """Return spans as Phoenix stores them: no bytes, times in microseconds, and only the project name of the resource."""
        return {key: _kept(normal) for key, normal in sent.items() if not _has_bytes(normal)}

    def _arguments(self, directory: Path) -> list[str]:
        return [
            "PHOENIX_HOST=127.0.0.1",
            f"PHOENIX_PORT={self._port}",
            f"PHOENIX_GRPC_PORT={self._grpc}",
            f"PHOENIX_WORKING_DIR={directory}",
            "PHOENIX_TELEMETRY_ENABLED=false",
            "PHOENIX_ALLOW_EXTERNAL_RESOURCES=false",
        ]

    def _count(self, trace_id: str) -> int:
        """Return how many spans of a trace it has stored so far."""
        body = json.dumps({"query": _COUNT, "variables": {"id": trace_id}}).encode()
        trace = self._ask("/graphql", body)["data"]["getTraceByOtelId"]
        return int(trace["numSpans"]) if trace else 0

    def _ask(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer: dict[str, Any] = json.load(response)
        return answer


def _resource_spans(project: str, spans: list[dict[str, Any]]) -> dict[str, Any]:
    resource = {} if project == "default" else {PROJECT: project}
    return {"resource": {"attributes": _otlp(resource)}, "scopeSpans": [{"spans": list(map(_otlp_span, spans))}]}


def _otlp_span(span: dict[str, Any]) -> dict[str, Any]:
    """Turn a span of its REST API into OTLP JSON. The kind of OpenInference, which the API shows apart, becomes an attribute."""
    return {
        "traceId": span["context"]["trace_id"],
        "spanId": span["context"]["span_id"],
        "parentSpanId": span["parent_id"] or "",
        "name": span["name"],
        "startTimeUnixNano": _ns(span["start_time"]),
        "endTimeUnixNano": _ns(span["end_time"]),
        "attributes": _otlp({**span["attributes"], SPAN_KIND: span["span_kind"]}),
        "events": [
            {"name": one["name"], "timeUnixNano": _ns(one["timestamp"]), "attributes": _otlp(one["attributes"])}
            for one in span["events"]
        ],
        "status": {"code": f"STATUS_CODE_{span['status_code']}", "message": span["status_message"]},
    }


def _otlp(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _any_value(value)} for key, value in attributes.items()]


def _any_value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": value}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": list(map(_any_value, value))}}
        case dict():
            return {"kvlistValue": {"values": _otlp(value)}}
        case None:
            return {}
        case _:
            return {"stringValue": value}


def _ns(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1) * 1000


def _microseconds(ns: int) -> int:
    """Round a time as Phoenix reads it: seconds in a double, to the nearest microsecond."""
    return (datetime.fromtimestamp(ns / 1e9, UTC) - _EPOCH) // timedelta(microseconds=1) * 1000


def _has_bytes(value: Any) -> bool:
    match value:
        case ("bytes", bytes()):
            return True
        case dict():
            return any(map(_has_bytes, value.values()))
        case tuple() | list():
            return any(map(_has_bytes, value))
    return False


_READ_AS_JSON = ("document.metadata", "llm.prompt_template.variables", "metadata", "tool.parameters")


def _kept(normal: Normal) -> Normal:
    attributes = _with_json_read(normal["attributes"])
    return {
        **normal,
        "start_ns": _microseconds(normal["start_ns"]),
        "end_ns": _microseconds(normal["end_ns"]),
        "attributes": {SPAN_KIND: ("string", "UNKNOWN")} | _added(attributes) | _flat(attributes),
        "resource": {name: value for name, value in normal["resource"].items() if name == PROJECT},
        "events": [
            (_microseconds(ns), name, _of_event(name, attributes), 0) for ns, name, attributes, _ in normal["events"]
        ],
    }


def _added(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that it derives from the GenAI conventions for a span that lacks them."""
    added = {
        theirs: attributes[ours]
        for theirs, ours in (
            ("llm.model_name", "gen_ai.request.model"),
            ("llm.provider", "gen_ai.system"),
            ("llm.system", "gen_ai.system"),
        )
        if ours in attributes
    }
    if "gen_ai.response.model" in attributes and "output.value" not in attributes:
        output = json.dumps({"model": attributes["gen_ai.response.model"][1]})
        added |= {"output.value": ("string", output), "output.mime_type": ("string", "application/json")}
    return added


def _with_json_read(attributes: dict[str, Any]) -> dict[str, Any]:
    """Parse the JSON texts that Phoenix reads as values."""
    read = dict(attributes)
    for key, (kind, content) in attributes.items():
        if kind == "string" and key.endswith(_READ_AS_JSON):
            with suppress(ValueError):
                read[key] = _normal(json.loads(content))
    return read


def _normal(value: Any) -> tuple[str, Any]:
    """Return a JSON value in the normal form of `compare`."""
    if isinstance(value, dict):
        return ("kvlist", {key: _normal(item) for key, item in value.items()})
    if isinstance(value, list):
        return ("array", tuple(map(_normal, value)))
    ((kind, content),) = _any_value(value).items()
    return (kind.removesuffix("Value"), repr(content) if isinstance(content, float) else content)


def _flat(attributes: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten maps: names of nested entries are joined with dots. Of a list with maps in it, keep only the maps, by index."""
    flat: dict[str, Any] = {}
    for key, (kind, content) in attributes.items():
        if kind == "kvlist":
            flat |= _flat(content, f"{prefix}{key}.")
        elif kind == "array" and any(item[0] == "kvlist" for item in content):
            maps = {str(place): item for place, item in enumerate(content) if item[0] == "kvlist"}
            flat |= _flat(maps, f"{prefix}{key}.")
        else:
            flat[prefix + key] = (kind, content)
    return flat


def _of_event(name: str, attributes: dict[str, Any]) -> dict[str, Any]:
    return {key: attributes[key] for key in _EXCEPTION if key in attributes} if name == "exception" else attributes
