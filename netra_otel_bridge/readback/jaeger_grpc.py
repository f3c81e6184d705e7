"""Read traces from Jaeger over gRPC: ``jaeger.api_v3.QueryService``, version 1.35 or later, without its adjustments.

Responses stay bytes, because a chunk of ``GetTrace`` is a ``TracesData``, and joined chunks are one, too. The few fields
of requests are written by hand. Their numbers are those of ``proto/api_v3/query_service.proto`` in
``github.com/jaegertracing/jaeger-idl``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from netra_otel_bridge.core.clock import NS_PER_S, Clock
from netra_otel_bridge.core.errors import DestinationMisconfigured, DestinationUnavailable
from netra_otel_bridge.deliver.answers import MAX_WORDS, TLS, TOO_LARGE
from netra_otel_bridge.deliver.otlp.encode import varint
from netra_otel_bridge.deliver.rpc_status import retry_info_s
from netra_otel_bridge.readback.address import Address
from netra_otel_bridge.readback.jaeger_form import JaegerForm
from netra_otel_bridge.readback.patience import REFUSING_HINT, Again, Patience
from netra_otel_bridge.readback.reader import TraceNotReturned
from netra_otel_bridge.readback.search_depth import SearchDepth, TooDeep

_SERVICE = "/jaeger.api_v3.QueryService/"
MAX_TRACE_BYTES = 256 << 20
"""Maximum size of a trace. Jaeger returns a trace that it holds in memory as one message."""
TIMEOUT_S = 30.0
_CHANNEL = (
    ("grpc.max_receive_message_length", MAX_TRACE_BYTES),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.enable_http_proxy", 0),
)
_BUSY = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DATA_LOSS,
    }
)
_NO_ACCESS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
_RUNNING_HINT = "check that it is running, and that this is the port of its gRPC query service"


class JaegerGrpcReader:
    """Reads from Jaeger's query service. No connection is made before the first call."""

    store = "jaeger"
    finds_whole_traces = True
    concurrency = 16

    def __init__(
        self, address: Address, *, clock: Clock | None = None, timeout_s: float = TIMEOUT_S, deadline_s: float = 60.0
    ) -> None:
        self.at = address.at
        self.form = JaegerForm()
        self._address = address
        self._timeout_s = timeout_s
        self._patience = Patience(self.concurrency, clock, deadline_s)
        self._depth = SearchDepth()
        self._metadata = tuple(
            (key.lower(), value.encode() if key.lower().endswith("-bin") else value)
            for key, value in address.headers.items()
        )
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[str, grpc.aio.UnaryStreamMultiCallable[bytes, bytes]] = {}

    @property
    def calls(self) -> int:
        """Return the number of requests so far."""
        return self._patience.calls

    async def read(self, trace_id: str, start_ns: int) -> bytes:  # noqa: ARG002  of the protocol
        """Return the trace as stored. Raises a `DestinationError`, `TraceNotReturned` for a trace that is too large.

        ``start_ns`` is not used: with a range, a storage may leave out spans of the trace.
        """
        request = _text(1, trace_id) + b"\x20\x01"
        try:
            return await self._patience.ask(partial(self._joined, "GetTrace", request, f"trace {trace_id}"))
        except _NotFound:
            return b""

    async def find(self, service: str, start_ns: int, end_ns: int) -> set[str] | None:
        """Return the ids of the traces that a search shows, `None` if it shows as many as it may."""
        query = _text(1, service) + _message(4, _time(start_ns)) + _message(5, _time(end_ns)) + b"\x48\x01"

        async def ask(depth: int) -> set[str]:
            request = _message(1, query + b"\x40" + varint(depth))
            return await self._patience.ask(partial(self._found, request))

        try:
            return await self._depth.search(ask)
        except _NotFound:
            return set()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
            self._methods.clear()

    async def _joined(self, method: str, request: bytes, what: str) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in self._chunks(method, request, what):
            size += len(chunk)
            if size > MAX_TRACE_BYTES:
                raise self._too_large(what, f"it has more than {MAX_TRACE_BYTES >> 20} MiB")
            chunks.append(chunk)
        return b"".join(chunks)

    async def _found(self, request: bytes) -> set[str]:
        found: set[str] = set()
        async for chunk in self._chunks("FindTraces", request, "a search"):
            try:
                traces = TracesData.FromString(chunk)
            except DecodeError:
                raise self._address.failed(DestinationMisconfigured, "the response is not OTLP", _PORT_HINT) from None
            found.update(
                span.trace_id.hex()
                for resource_spans in traces.resource_spans
                for scope_spans in resource_spans.scope_spans
                for span in scope_spans.spans
            )
        return found

    async def _chunks(self, method: str, request: bytes, what: str) -> AsyncIterator[bytes]:
        """Make one call, and yield its responses. Raises `Again`, `_NotFound`, `TooDeep`, or the error."""
        call = self._method(method)(request, timeout=self._timeout_s, metadata=self._metadata)
        try:
            async for chunk in call:
                yield chunk
        except grpc.aio.AioRpcError as error:
            raise self._judged(error, what) from None
        finally:
            call.cancel()

    def _judged(self, error: grpc.aio.AioRpcError, what: str) -> Exception:
        """Return the exception for a status that is not OK."""
        code, details = error.code(), (error.details() or "")[:MAX_WORDS]
        words = f"{code.name}: {details}" if details else code.name
        if code is grpc.StatusCode.NOT_FOUND or details.endswith("trace not found"):
            return _NotFound()
        if code in _NO_ACCESS:
            return self._address.unauthorized(words)
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return self._address.failed(DestinationMisconfigured, words, _PORT_HINT)
        if code is grpc.StatusCode.UNAVAILABLE and TLS.search(details):
            return self._address.untrusted(words)
        if "http2 header with status: 3" in details:
            return self._address.failed(
                DestinationMisconfigured, f"{words}: a redirect, which is not followed", _PORT_HINT
            )
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and TOO_LARGE.search(details):
            return self._too_large(what, details)
        if "search depth" in details:
            return TooDeep(self._unavailable(words))
        if code not in _BUSY:
            return self._unavailable(words)
        metadata = {key: value for key, value in error.trailing_metadata() or ()}  # noqa: C416  dict() cannot read that of gRPC 1.74
        throttled = code is grpc.StatusCode.RESOURCE_EXHAUSTED
        return Again(
            self._unavailable(words, REFUSING_HINT if throttled else _RUNNING_HINT),
            after_s=retry_info_s(metadata),
            throttled=throttled,
            answered=code is not grpc.StatusCode.UNAVAILABLE,
        )

    def _unavailable(self, words: str, hint: str = _RUNNING_HINT) -> DestinationUnavailable:
        return self._address.failed(DestinationUnavailable, words, hint)

    def _too_large(self, what: str, words: str) -> TraceNotReturned:
        return self._address.failed(
            TraceNotReturned, f"{what} is too large to be returned: {words}", "look at it in the store itself"
        )

    def _method(self, name: str) -> grpc.aio.UnaryStreamMultiCallable[bytes, bytes]:
        known = self._methods.get(name)
        if known is None:
            known = self._methods[name] = self._open().unary_stream(_SERVICE + name)
        return known

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            where = self._address.authority
            if self._address.tls:
                credentials = grpc.ssl_channel_credentials(self._address.ca)
                self._channel = grpc.aio.secure_channel(where, credentials, _CHANNEL)
            else:
                self._channel = grpc.aio.insecure_channel(where, _CHANNEL)
        return self._channel


_PORT_HINT = "give the port of Jaeger's gRPC query service, 16685 by default; Jaeger 1.35 or later has this API"


class _NotFound(Exception):
    """The store has no such trace."""


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _message(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


def _time(ns: int) -> bytes:
    """Encode a ``google.protobuf.Timestamp``."""
    seconds, nanos = divmod(ns, NS_PER_S)
    return b"\x08" + varint(seconds) + b"\x10" + varint(nanos)
