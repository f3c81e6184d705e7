"""Read traces from Tempo's query API, from version 1.5 to today's.

``/api/v2/traces/{id}`` is asked first; it says whether a trace is complete. Until it has returned a trace, its 404 may
also mean that this version does not have it, so ``/api/traces/{id}`` is asked, too. Responses are protobuf, where
``batches`` and ``instrumentationLibrarySpans`` have the numbers of ``resource_spans`` and ``scope_spans``; JSON is read
in every spelling.

No range is sent with an id: Tempo would look only into blocks of that time, and files old spans under the time of their
arrival.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from netra_otel_bridge.core.clock import NS_PER_S, Clock
from netra_otel_bridge.readback.address import Address
from netra_otel_bridge.readback.asking import TIMEOUT_S, Asker, Response
from netra_otel_bridge.readback.otlp_json import NotOtlp, decode_json, traces_data
from netra_otel_bridge.readback.patience import DEADLINE_S
from netra_otel_bridge.readback.reader import NoSearch, StoreForm, TraceNotReturned
from netra_otel_bridge.readback.search_depth import SearchDepth, TooDeep
from netra_otel_bridge.readback.tempo_form import NewTempoForm, TempoForm
from netra_otel_bridge.readback.words import traces_text

_PROTOBUF, _JSON = "application/protobuf", "application/json"
_SEARCH = "/api/search"
_TOO_LARGE = re.compile(r"larger than max|ResourceExhausted|trace exceeds max size|TRACE_TOO_LARGE", re.I)
_LIMIT = re.compile(r"limit", re.I)
_RANGE = re.compile(r"range specified by start and end exceeds", re.I)
_MOST_PARTS = 200
"""The most searches into which a range is divided that is longer than one search may cover."""
_TRACE, _STATUS, _MESSAGE = 1, 3, 4
"""Fields of ``TraceByIDResponse``."""
_PARTIAL = 1
_MAX_PARTIAL, _MAX_REASONS = 10_000, 10
"""Maximum traces that are remembered as returned in part, and reasons for it."""
_SIZE_HINT = (
    "raise max_recv_msg_size (querier.frontend_worker.grpc_client_config, ingester_client.grpc_client_config) and "
    "server.grpc_server_max_recv_msg_size and grpc_server_max_send_msg_size in Tempo, or max_bytes_per_trace if it names that"
)


class TempoReader:
    """Reads from Tempo, four traces at once: version 1.5 answers 429 to more. No connection is made before the first call."""

    store = "tempo"
    finds_whole_traces = False
    concurrency = 4

    def __init__(
        self,
        address: Address,
        *,
        clock: Clock | None = None,
        timeout_s: float = TIMEOUT_S,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.at = address.at
        self._asker = Asker(address, self.concurrency, clock=clock, timeout_s=timeout_s, deadline_s=deadline_s)
        self._depth = SearchDepth()
        self._has_v2: bool | None = None
        self._is_tempo = False
        self._partial: dict[str, set[bytes]] = {}
        self._partial_ids = 0
        self._range_s = 0
        self._traceql = False

    @property
    def form(self) -> StoreForm:
        """Return the form of this version, as far as it is known."""
        return NewTempoForm() if self._has_v2 else TempoForm()

    @property
    def calls(self) -> int:
        """Return the number of requests so far."""
        return self._asker.calls

    @property
    def notes(self) -> list[str]:
        """Return a line for each reason that Tempo gave for returning only a part of a trace."""
        least = "at least " if self._partial_ids >= _MAX_PARTIAL else ""
        return [
            f"Tempo returned {least}{traces_text(len(ids))} in part: {why}" for why, ids in self._partial.items() if ids
        ]

    async def read(self, trace_id: str, start_ns: int) -> bytes:  # noqa: ARG002  of the protocol
        """Return the trace. Raises a `DestinationError`, `TraceNotReturned` for a trace that Tempo has and cannot return."""
        if self._has_v2 is not False:
            found = await self._get(f"/api/v2/traces/{trace_id}", trace_id, wrapped=True)
            if found:
                self._has_v2 = True
            if found or self._has_v2:
                return found
        found = await self._get(f"/api/traces/{trace_id}", trace_id, wrapped=False)
        if found:
            self._has_v2, self._is_tempo = False, True
        elif not self._is_tempo:
            await self._expect_tempo()
        return found

    async def find(self, service: str, start_ns: int, end_ns: int) -> set[str] | None:
        """Return the ids of the traces that a search shows, `None` if it shows as many as it may."""
        first_s, last_s = start_ns // NS_PER_S, -(-end_ns // NS_PER_S)
        found: set[str] = set()
        while first_s < last_s:
            step_s = self._range_s or last_s - first_s
            if (last_s - first_s) / step_s > _MOST_PARTS:
                return None
            try:
                part = await self._search(service, first_s, min(first_s + step_s, last_s))
            except _TooLong as refused:
                if step_s <= 1:
                    raise refused.error from None
                self._range_s = step_s // 2
                continue
            if part is None:
                return None
            found |= part
            first_s += step_s
        return found

    async def aclose(self) -> None:
        """Close the connections."""
        await self._asker.aclose()

    async def _get(self, path: str, trace_id: str, *, wrapped: bool) -> bytes:
        return await self._asker.get(
            path,
            (),
            lambda response: b"" if response.status == 404 else self._trace(response, trace_id, wrapped=wrapped),
            accept=_PROTOBUF,
            what=f"trace {trace_id}",
            judge=lambda response: self._too_large(response, trace_id),
        )

    def _trace(self, response: Response, trace_id: str, *, wrapped: bool) -> bytes:
        """Return the trace in a response; ``wrapped`` in a ``TraceByIDResponse``, as version 2 of the path has it."""
        body = response.body
        if response.content_type == _JSON or body[:1] == b"{":
            said = decode_json(body)
            if not isinstance(said, dict):
                raise NotOtlp("it is not a JSON object")
            if wrapped:
                if said.get("status") in ("PARTIAL", _PARTIAL):
                    self._note(trace_id, str(said.get("message") or ""))
                said = said.get("trace") or {}
            return traces_data(said).SerializeToString()
        try:
            if not wrapped:
                TracesData.FromString(body)
                return body
            unknown = UnknownFieldSet(Empty.FromString(body))
            fields = {unknown[place].field_number: unknown[place].data for place in range(len(unknown))}
            trace = fields.get(_TRACE, b"")
            TracesData.FromString(trace)
        except (DecodeError, TypeError) as error:
            raise NotOtlp(f"it is not protobuf of a trace: {error}") from None
        if fields.get(_STATUS) == _PARTIAL:
            message = fields.get(_MESSAGE, b"")
            self._note(trace_id, message.decode("utf-8", "replace") if isinstance(message, bytes) else "")
        return bytes(trace)

    def _note(self, trace_id: str, message: str) -> None:
        """Remember that a trace came in part. A trace that lacks spans is read several times, and counts as one."""
        why = self._asker.address.line(message) or "it does not say why"
        if why not in self._partial and len(self._partial) >= _MAX_REASONS:
            why = "for other reasons"
        ids = self._partial.setdefault(why, set())
        before = len(ids)
        if self._partial_ids < _MAX_PARTIAL:
            ids.add(bytes.fromhex(trace_id))
        self._partial_ids += len(ids) - before

    def _too_large(self, response: Response, trace_id: str) -> Exception | None:
        """Return the error of a trace above a limit of Tempo's own, which it stores and cannot return."""
        if response.status not in (422, 500) or not _TOO_LARGE.search(response.words):
            return None
        words = f"Tempo has trace {trace_id} and cannot return it: HTTP {response.status}: {response.words.strip()}"
        return self._asker.address.failed(TraceNotReturned, words, _SIZE_HINT)

    async def _expect_tempo(self) -> None:
        """Raise the error of a wrong path unless the server is Tempo, which answers ``/api/echo``."""

        def decode(response: Response) -> bool:
            if response.status == 404 or response.words.strip() != "echo":
                raise self._asker.failed("there is no query API of Tempo: /api/echo does not answer")
            return True

        self._is_tempo = await self._asker.get("/api/echo", (), decode, accept="*/*", what="/api/echo")

    async def _search(self, service: str, first_s: int, last_s: int) -> set[str] | None:
        times = [("start", str(first_s)), ("end", str(last_s))]

        async def ask(limit: int) -> set[str]:
            query = [_condition(service, traceql=self._traceql), *times, ("limit", str(limit))]
            return await self._asker.get(
                _SEARCH, query, self._ids, accept=_JSON, what="a search", judge=self._search_refused
            )

        try:
            return await self._depth.search(ask)
        except _NoTags:
            self._traceql = True
            return await self._depth.search(ask)

    def _ids(self, response: Response) -> set[str]:
        if response.status == 404:
            words = f"this Tempo has no search: HTTP 404: {response.words}"
            raise self._asker.address.failed(NoSearch, words, "switch it on with -search.enabled=true")
        said: Any = decode_json(response.body)
        try:
            return {str(trace["traceID"]).lower().zfill(32) for trace in said.get("traces") or ()}
        except (AttributeError, TypeError, KeyError) as error:
            raise NotOtlp(f"it is no list of traces: {type(error).__name__}: {error}") from None

    def _search_refused(self, response: Response) -> Exception | None:
        """Return the exception for a 400: too long a range, too many results, or no search by tags any more."""
        words = response.words
        if response.status != 400:
            return None
        error = self._asker.failed(f"a search: HTTP 400: {words}", "see the log of Tempo")
        if _RANGE.search(words):
            return _TooLong(error)
        if _LIMIT.search(words):
            return TooDeep(error)
        return None if self._traceql else _NoTags()


class _TooLong(Exception):
    """One search may not cover as long a range."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _NoTags(Exception):
    """This version searches with TraceQL alone."""


def _condition(service: str, *, traceql: bool) -> tuple[str, str]:
    """Return the parameter that selects a service: in logfmt, or in TraceQL."""
    quoted = '"' + service.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if traceql:
        return "q", f"{{ resource.service.name = {quoted} }}"
    plain = re.fullmatch(r'[^\s"=\\]+', service)
    return "tags", f"service.name={service if plain else quoted}"
