"""Read traces from Jaeger over HTTP: ``/api/v3/traces``, OTLP JSON in ``result`` objects, without its adjustments."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from netra_otel_bridge.core.clock import NS_PER_S, Clock
from netra_otel_bridge.readback.address import Address
from netra_otel_bridge.readback.asking import TIMEOUT_S, Asker, Response
from netra_otel_bridge.readback.jaeger_form import JaegerForm
from netra_otel_bridge.readback.otlp_json import NotOtlp, decode_json, id_bytes, traces_data
from netra_otel_bridge.readback.patience import DEADLINE_S
from netra_otel_bridge.readback.search_depth import SearchDepth, TooDeep

_TRACES = "/api/v3/traces"
_JSON = "application/json"
_SEARCH = "a search"


class JaegerHttpReader:
    """Reads from Jaeger's query service. No connection is made before the first call."""

    store = "jaeger"
    finds_whole_traces = True
    concurrency = 16

    def __init__(
        self,
        address: Address,
        *,
        clock: Clock | None = None,
        timeout_s: float = TIMEOUT_S,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.at = address.at
        self.form = JaegerForm()
        self._asker = Asker(address, self.concurrency, clock=clock, timeout_s=timeout_s, deadline_s=deadline_s)
        self._depth = SearchDepth()

    @property
    def calls(self) -> int:
        """Return the number of requests so far."""
        return self._asker.calls

    async def read(self, trace_id: str, start_ns: int) -> bytes:  # noqa: ARG002  of the protocol
        """Return the trace as stored. Raises a `DestinationError`, `TraceNotReturned` for a trace that is too large.

        ``start_ns`` is not used: with a range, a storage may leave out spans of the trace.
        """
        return await self._asker.get(
            f"{_TRACES}/{trace_id}", [("raw_traces", "true")], self._trace, accept=_JSON, what=f"trace {trace_id}"
        )

    async def find(self, service: str, start_ns: int, end_ns: int) -> set[str] | None:
        """Return the ids of the traces that a search shows, `None` if it shows as many as it may."""
        query = [
            ("query.service_name", service),
            ("query.start_time_min", _rfc3339(start_ns)),
            ("query.start_time_max", _rfc3339(end_ns)),
            ("query.raw_traces", "true"),
        ]

        async def ask(depth: int) -> set[str]:
            deep = [*query, ("query.num_traces", str(depth)), ("query.search_depth", str(depth))]
            return await self._asker.get(_TRACES, deep, self._ids, accept=_JSON, what=_SEARCH, judge=self._too_deep)

        return await self._depth.search(ask)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._asker.aclose()

    def _trace(self, response: Response) -> bytes:
        if response.status == 404:
            self._expect_not_found(response)
            return b""
        if not response.body.strip():
            raise NotOtlp("it is empty")
        return b"".join([traces_data(_result(line)).SerializeToString() for line in response.body.splitlines() if line])

    def _ids(self, response: Response) -> set[str]:
        if response.status == 404:
            self._expect_not_found(response)
            return set()
        try:
            lines = [_ids_decoder.decode(line) for line in response.body.splitlines() if line]
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NotOtlp(str(error)) from None
        return {
            id_bytes(span.traceId, 16).hex()
            for line in lines
            for resource_spans in line.result.resourceSpans
            for scope_spans in resource_spans.scopeSpans
            for span in scope_spans.spans
        }

    def _expect_not_found(self, response: Response) -> None:
        """Raise the error of a wrong path for a 404 that is not Jaeger's own, which is a JSON object with ``error``."""
        try:
            said = decode_json(response.body)
        except NotOtlp:
            said = None
        if not isinstance(said, dict) or "error" not in said:
            raise self._asker.failed(f"HTTP 404: {response.words}")

    def _too_deep(self, response: Response) -> Exception | None:
        """Return the exception for a number of traces that the store does not search for: see `SearchDepth`."""
        return TooDeep(self._asker.failed(response.words)) if "search depth" in response.words else None


class _Span(msgspec.Struct):
    traceId: str = ""  # noqa: N815  the field's name in OTLP JSON


class _ScopeSpans(msgspec.Struct):
    spans: list[_Span] = []


class _ResourceSpans(msgspec.Struct):
    scopeSpans: list[_ScopeSpans] = []  # noqa: N815


class _TracesData(msgspec.Struct):
    resourceSpans: list[_ResourceSpans] = []  # noqa: N815


class _Line(msgspec.Struct):
    result: _TracesData


_ids_decoder = msgspec.json.Decoder(_Line)
"""Reads the ids of spans, and skips all else: a search returns whole traces."""


def _result(line: bytes) -> Any:
    said = decode_json(line)
    if not isinstance(said, dict) or "result" not in said:
        raise NotOtlp(f"it has no result: {line[:200].decode('utf-8', 'replace')}")
    return said["result"]


def _rfc3339(ns: int) -> str:
    seconds, rest = divmod(ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
