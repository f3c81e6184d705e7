"""ReadSpans: a stream of spans that a client can resume after a break."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

from netra_otel_bridge.bridge.bridge import Bridge
from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.outcome import SpanBatch, SpanChunk
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.pipeline.memory_budget import MemoryBudget, SharedBudget
from netra_otel_bridge.pipeline.stream import SpanStream
from netra_otel_bridge.service.rpc import messages
from netra_otel_bridge.service.rpc.errors import invalid, plain, stalled
from netra_otel_bridge.service.rpc.limits import Context
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.v1 import bridge_pb2 as pb

_FRAME_BYTES = 8192
"""Room in a response beside its spans: for the token and a line or two."""
MAX_LINE, MAX_LINES = 500, 20
"""Maximum characters per problem line, and maximum lines per response without spans."""
MAX_ID = 512


class SpanReader:
    """Handles ReadSpans with one client of Netra."""

    def __init__(self, bridge: Bridge, client: AsyncNetraClient) -> None:
        self._bridge = bridge
        self._client = client
        self._stall_s = bridge.settings.grpc_stall_ns / NS_PER_S
        self._shared = SharedBudget(bridge.settings.held_bytes)

    async def read(self, request: pb.ReadSpansRequest, context: Context) -> None:
        """Write the spans to ``context`` in chunks. Raises `StatusError`, `BridgeError`."""
        limit_bytes = messages.message_bytes(request.max_message_bytes)
        stream = self._stream(request, limit_bytes - _FRAME_BYTES)
        async with aclosing(stream.chunks()) as chunks:
            async for chunk in chunks:
                for response in _encoded(chunk, limit_bytes):
                    await self._write(context, response, stream.budget)

    def _stream(self, request: pb.ReadSpansRequest, chunk_bytes: int) -> SpanStream:
        query = messages.trace_query(request.query)
        profile = messages.profile(request.profile)
        kind = request.WhichOneof("what")
        if kind is None:
            raise invalid("neither range nor trace_id is given")
        if kind == "trace_id":
            if query != TraceQuery() or not 0 < len(request.trace_id) <= MAX_ID:
                raise invalid(
                    "trace_id is combined with a query, or is not an id",
                    hint=f"give a trace_id of 1 to {MAX_ID} characters, without a query",
                )
            window, asked, trace_id = Window(0, 1), "", request.trace_id
        else:
            window = messages.time_range(request.range, self._bridge.clock.now_ns())
            asked, trace_id = request.range.SerializeToString(deterministic=True).hex(), None
        try:
            return self._bridge.span_stream(
                self._client,
                query,
                window,
                asked,
                trace_id,
                request.resume_token or None,
                profile,
                chunk_bytes=chunk_bytes,
                shared=self._shared,
            )
        except UsageError as error:
            raise invalid(error.message, hint=error.hint, reason="RESUME_TOKEN_INVALID") from None

    async def _write(self, context: Context, response: bytes, budget: MemoryBudget) -> None:
        begun = asyncio.get_running_loop().time()
        try:
            async with self._shared.writing(self._stall_s, budget):
                await context.write(response)
        except TimeoutError:
            seconds = round(asyncio.get_running_loop().time() - begun, 1)
            raise stalled("the client read no message", seconds) from None


def _encoded(chunk: SpanChunk, limit_bytes: int) -> Iterator[bytes]:
    """Yield the response for a chunk, then the rest of its problems. A span that is too large is trimmed."""
    batch, lines = chunk.batch, [plain(problem)[:MAX_LINE] for problem in chunk.problems]
    if batch.size_bytes > limit_bytes - _FRAME_BYTES:
        smaller, problem = messages.fitted(batch, limit_bytes - _FRAME_BYTES)
        batch = smaller or SpanBatch((), (), 0)
        lines.insert(0, problem)
    first = max(1, (_FRAME_BYTES - len(chunk.resume_token)) // (4 * MAX_LINE))
    yield messages.with_spans(pb.ReadSpansResponse(resume_token=chunk.resume_token, problems=lines[:first]), batch)
    for at in range(first, len(lines), MAX_LINES):
        response = pb.ReadSpansResponse(resume_token=chunk.resume_token, problems=lines[at : at + MAX_LINES])
        yield response.SerializeToString()
