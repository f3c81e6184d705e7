"""ReadSpans: a stream of spans that the client may take up again where it broke."""

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
"""What a response holds beside its spans: the token, and a line or two."""
MAX_LINE, LINES = 500, 20
"""Characters of a line of problems, and such lines in a response without spans."""
MAX_ID = 512


class SpanReading:
    """Answers ReadSpans, from Netra's ``client``."""

    def __init__(self, bridge: Bridge, client: AsyncNetraClient) -> None:
        self._bridge = bridge
        self._client = client
        self._stall_s = bridge.settings.grpc_stall_ns / NS_PER_S
        self._shared = SharedBudget(bridge.settings.held_bytes)

    async def read(self, request: pb.ReadSpansRequest, context: Context) -> None:
        """Write the spans to ``context``, chunk after chunk. Raises `Refusal`, `BridgeError`."""
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
                raise invalid("a trace is read whole", hint="give a trace_id that Netra may have, without a query")
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
            raise stalled("the client took no message", seconds) from None


def _encoded(chunk: SpanChunk, limit_bytes: int) -> Iterator[bytes]:
    """The response for a chunk, and those that the rest of its problems take. A span that is too large is cut."""
    batch, lines = chunk.batch, [plain(problem)[:MAX_LINE] for problem in chunk.problems]
    if batch.size_bytes > limit_bytes - _FRAME_BYTES:
        smaller, problem = messages.fitted(batch, limit_bytes - _FRAME_BYTES)
        batch = smaller or SpanBatch((), (), 0)
        lines.insert(0, problem)
    told = max(1, (_FRAME_BYTES - len(chunk.resume_token)) // (4 * MAX_LINE))
    yield messages.with_spans(pb.ReadSpansResponse(resume_token=chunk.resume_token, problems=lines[:told]), batch)
    for at in range(told, len(lines), LINES):
        response = pb.ReadSpansResponse(resume_token=chunk.resume_token, problems=lines[at : at + LINES])
        yield response.SerializeToString()
