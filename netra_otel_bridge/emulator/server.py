"""Serve HTTP: routes, authentication, limits, faults, counts.

It uses aiohttp's low-level server, without a router or middleware between the socket and `Handler.handle`.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import Counter
from collections.abc import Mapping
from math import ceil

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from netra_otel_bridge.emulator.api import Api
from netra_otel_bridge.emulator.api_format import ApiError, to_json_bytes
from netra_otel_bridge.emulator.dashboard import Dashboard
from netra_otel_bridge.emulator.faults import JSON, Answer, Call, Faults, error_body
from netra_otel_bridge.emulator.otlp import OtlpError, read_json, read_protobuf
from netra_otel_bridge.emulator.pricing import price_list
from netra_otel_bridge.emulator.routes import find_route
from netra_otel_bridge.emulator.sessions import Sessions
from netra_otel_bridge.emulator.store import Store

PROTOBUF = "application/x-protobuf"
_INGEST = frozenset({"/telemetry/v1/traces", "/v1/traces"})
_NO_QUERY: Mapping[str, str] = {}


class TokenBucket:
    """Allows ``rate`` calls per second on average, and one second's worth at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._size = max(1.0, rate)
        self._tokens = self._size
        self._at = time.monotonic()

    def wait_s(self) -> float:
        """Take a token for one call and return 0, or return the seconds until there is one."""
        now = time.monotonic()
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


class Handler:
    """Responds to every request.

    ``calls`` counts API calls by name, ``status`` the responses to them by HTTP status. Neither counts ingestion.
    """

    def __init__(
        self, store: Store, api: Api, faults: Faults, *, api_key: str | None, latency_s: float, rate_limit: float | None
    ) -> None:
        self.calls: Counter[str] = Counter()
        self.status: Counter[int] = Counter()
        self._faults = faults
        self._store = store
        self._api = api
        self._dashboard = Dashboard(store)
        self._sessions = Sessions(store)
        self._api_key = api_key.encode() if api_key is not None else None
        self._latency_s = latency_s
        self._bucket = TokenBucket(rate_limit) if rate_limit else None

    def set_faults(self, faults: Faults) -> None:
        """Replace the active faults."""
        self._faults = faults

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path = request.raw_path.partition("?")[0]
        if path in _INGEST:
            return _send(await self._ingest(request))
        route = find_route(path)
        if route is None:
            return _send(self._unauthorized(request) or _error(404, f"no call has the path {path}"))
        self.calls[route.name] += 1
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        call = Call(route, path, None, request)
        if self._faults:
            return await self._handle_with_faults(call)
        answer = await self._answer(call)
        self.status[answer.status] += 1
        return _send(answer)

    async def _handle_with_faults(self, call: Call) -> web.StreamResponse:
        call = Call(call.route, call.path, await _cursor(call), call.request)
        answer = self._faults.instead(call) or await self._answer(call)
        answer = self._faults.alter(call, answer)
        self.status[answer.status] += 1
        return await self._faults.send(call, answer) or _send(answer)

    async def _answer(self, call: Call) -> Answer:
        unauthorized = self._unauthorized(call.request)
        if unauthorized is not None:
            return unauthorized
        if self._bucket is not None and (wait_s := self._bucket.wait_s()) > 0:
            limited = _error(429, "too many requests")
            return Answer(429, limited.body, (*limited.headers, ("Retry-After", str(max(1, ceil(wait_s))))))
        try:
            return Answer(200, await self._body(call))
        except ApiError as error:
            return _error(error.status, error.message)

    async def _body(self, call: Call) -> bytes:
        request, subject = call.request, call.route.subject
        if request.method != call.route.method:
            raise ApiError(405, f"{request.method} is not allowed here")
        query = request.rel_url.query if "?" in request.raw_path else _NO_QUERY
        match call.name:
            case "traces":
                return self._api.traces(await request.read())
            case "spans":
                return self._api.spans(subject, query)
            case "span":
                return self._api.span(subject)
            case "session_usage":
                return self._api.session_usage(subject, query)
            case "tenant_usage":
                return self._api.tenant_usage(subject, query)
            case "query_data":
                return self._dashboard.query(await request.read())
            case "session_stats":
                return self._sessions.stats(await request.read())
            case "session_summary":
                return self._sessions.summary(await request.read())
            case "session_details":
                return self._sessions.details(subject, query)
            case _:
                return to_json_bytes({"data": price_list(query.get("name"))})

    async def _ingest(self, request: web.BaseRequest) -> Answer:
        unauthorized = self._unauthorized(request, bearer=True)
        if unauthorized is not None:
            return unauthorized
        if request.method != "POST":
            return _error(405, f"{request.method} is not allowed here")
        as_json = request.content_type == JSON
        if not as_json and request.content_type != PROTOBUF:
            return _error(415, f"{request.content_type}: OTLP is {PROTOBUF} or {JSON}")
        body = await request.read()
        try:
            rejected = self._store.ingest(read_json(body) if as_json else read_protobuf(body))
        except OtlpError as error:
            return _not_otlp(str(error), as_json)
        return _accepted(rejected, as_json)

    def _unauthorized(self, request: web.BaseRequest, *, bearer: bool = False) -> Answer | None:
        """Return a 401 response unless the request has the key; ``bearer`` allows ``Authorization: Bearer`` too.

        netra-sdk 1.2.2 sends spans that way to endpoints without "getnetra" in their address.
        """
        if self._api_key is None:
            return None
        given = request.headers.get("x-api-key", "")
        if bearer and not given:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._api_key):
            return None
        return _error(401, "the API key is missing or not valid")


async def _cursor(call: Call) -> str | None:
    if call.route.method == "POST":
        return "" if b'"cursor"' in await call.request.read() else None
    return call.request.rel_url.query.get("cursor")


def _not_otlp(message: str, as_json: bool) -> Answer:
    """Return a ``google.rpc.Status`` of INVALID_ARGUMENT (3), as OTLP/HTTP specifies ("Failures")."""
    if as_json:
        return Answer(400, to_json_bytes({"code": 3, "message": message}))
    text = message.encode()[:127].decode(errors="ignore").encode()
    return Answer(400, b"\x08\x03\x12" + bytes([len(text)]) + text, (("Content-Type", PROTOBUF),))


def _accepted(rejected: list[str], as_json: bool) -> Answer:
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = len(rejected)
        response.partial_success.error_message = rejected[0]
    if not as_json:
        return Answer(200, response.SerializeToString(), (("Content-Type", PROTOBUF),))
    if not rejected:
        return Answer(200, b"{}")
    partial = {"rejectedSpans": str(len(rejected)), "errorMessage": rejected[0]}
    return Answer(200, to_json_bytes({"partialSuccess": partial}))


def _error(status: int, message: str) -> Answer:
    return Answer(status, error_body(status, message))


def _send(answer: Answer) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=dict(answer.headers))
