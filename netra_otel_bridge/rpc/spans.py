"""ReadSpans: a stream of spans that the client may take up again where it broke."""

from __future__ import annotations

from contextlib import aclosing

from netra_otel_bridge.bridge import Bridge
from netra_otel_bridge.clock import NS_PER_S
from netra_otel_bridge.deliver import trimmed_to
from netra_otel_bridge.errors import UsageError
from netra_otel_bridge.model import SpanBatch, SpanChunk, TraceQuery, Window
from netra_otel_bridge.rpc import messages
from netra_otel_bridge.rpc.calls import Context, write
from netra_otel_bridge.rpc.refusals import Refusal, invalid, plain, stalled
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.streaming import SpanStream
from netra_otel_bridge.v1 import bridge_pb2 as pb

_FRAME_BYTES = 4096
"""What a response holds beside its spans: the token, and problems that are short."""


class SpanReading:
    """Answers ReadSpans, from Netra's ``client``."""

    def __init__(self, bridge: Bridge, client: AsyncNetraClient) -> None:
        self._bridge = bridge
        self._client = client
        self._stall_s = bridge.settings.grpc_stall_ns / NS_PER_S

    async def read(self, request: pb.ReadSpansRequest, context: Context) -> None:
        """Write the spans to ``context``, chunk after chunk. Raises `Refusal`, `BridgeError`."""
        stream = self._stream(request)
        limit_bytes = messages.message_bytes(request.max_message_bytes)
        async with aclosing(stream.chunks()) as chunks:
            async for chunk in chunks:
                await write(context, _encoded(chunk, limit_bytes), self._stall_s, self._late)

    def _stream(self, request: pb.ReadSpansRequest) -> SpanStream:
        query = messages.trace_query(request.query)
        profile = messages.profile(request.profile)
        kind = request.WhichOneof("what")
        if kind is None:
            raise invalid("neither range nor trace_id is given")
        if kind == "trace_id":
            if query != TraceQuery() or not request.trace_id:
                raise invalid("a trace is read whole", hint="give trace_id without a query")
            window, asked, trace_id = Window(0, 1), "", request.trace_id
        else:
            window = messages.time_range(request.range, self._bridge.clock.now_ns())
            asked, trace_id = request.range.SerializeToString(deterministic=True).hex(), None
        try:
            return self._bridge.span_stream(
                self._client, query, window, asked, trace_id, request.resume_token or None, profile
            )
        except UsageError as error:
            raise invalid(error.message, hint=error.hint, reason="RESUME_TOKEN_INVALID") from None

    def _late(self) -> Refusal:
        return stalled("the client took no message", self._stall_s)


def _encoded(chunk: SpanChunk, limit_bytes: int) -> bytes:
    """The response for a chunk; a span that the client would not take is cut to its size, or left out and named."""
    batch, problems = chunk.batch, [plain(problem) for problem in chunk.problems]
    room_bytes = limit_bytes - _FRAME_BYTES
    if batch.size_bytes > room_bytes:
        smaller = trimmed_to(batch, room_bytes)
        span_id, trace_id = (batch.spans[0].context.span_id, batch.spans[0].context.trace_id)
        where = (
            f"trace {trace_id:032x}: span {span_id:016x} takes {batch.size_bytes} bytes, and the client {limit_bytes}"
        )
        problems.append(f"{where}: {'it was left out' if smaller is None else 'it was cut where it is longest'}")
        batch = smaller or SpanBatch((), (), 0)
    return messages.with_spans(pb.ReadSpansResponse(resume_token=chunk.resume_token, problems=problems), batch)
