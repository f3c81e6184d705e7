"""A client of VerifySpans, and a store that a test slows down or lets lie."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc.aio
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from netra_otel_bridge.core.time_text import parse_time_ns
from netra_otel_bridge.v1 import bridge_pb2 as pb
from tests.support.rig import Rig
from tests.support.rpc import CREDENTIALS, Refused, Served, refused, stamp
from tests.support.scripted_store import ScriptedReader
from tests.support.waiting import DEADLINE_S


class Store(ScriptedReader):
    """A scripted store. While ``slow_s`` is set, each answer takes that long; ``asking`` counts open requests."""

    slow_s = 0.0
    asking = 0

    async def read(self, trace_id: str, start_ns: int) -> bytes:
        self.asking += 1
        try:
            await asyncio.sleep(self.slow_s)
            return await super().read(trace_id, start_ns)
        finally:
            self.asking -= 1


def whole(rig: Rig) -> pb.TimeRange:
    """Return the range that was copied."""
    start, end = (parse_time_ns(text, 0) for text in rig.range()[1::2])
    return pb.TimeRange(start_time=stamp(start), end_time=stamp(end))


class Verified:
    """The responses to one call, and the error that ended it, if any."""

    def __init__(self) -> None:
        self.progress: list[pb.VerifyProgress] = []
        self.findings: list[pb.Finding] = []
        self.summaries: list[pb.VerifySummary] = []
        self.error: Refused | None = None
        self.parts: list[str] = []

    @property
    def summary(self) -> pb.VerifySummary:
        (one,) = self.summaries
        return one

    def add(self, response: pb.VerifySpansResponse) -> None:
        part = str(response.WhichOneof("part"))
        if self.parts[-1:] != [part]:
            self.parts.append(part)
        kept: Any = {"progress": self.progress, "finding": self.findings, "summary": self.summaries}[part]
        kept.append(getattr(response, part))


def opened(served: Served, rig: Rig, **request: Any) -> Any:
    asked = pb.VerifySpansRequest(**{"range": whole(rig), **request})
    return served.stub.VerifySpans(asked, metadata=CREDENTIALS)


async def verified(served: Served, rig: Rig, **request: Any) -> Verified:
    """Verify, and return all that was streamed."""
    got = Verified()
    try:
        async with asyncio.timeout(DEADLINE_S):
            async for response in opened(served, rig, **request):
                got.add(response)
    except grpc.aio.AioRpcError as error:
        got.error = refused(error)
    return got


async def refusal(served: Served, rig: Rig, **request: Any) -> Refused:
    """Return the error of a call that must be rejected before anything is streamed."""
    got = await verified(served, rig, **request)
    assert got.parts == []
    assert got.error is not None
    return got.error


def change(store: Store, trace_id: str, edit: Callable[[Span], None]) -> None:
    """Let the store change the first span of a trace."""
    data: Any = store.traces[trace_id]
    changed = TracesData.FromString(data)
    edit(changed.resource_spans[0].scope_spans[0].spans[0])
    store.traces = {**store.traces, trace_id: changed.SerializeToString()}


def cut(span: Span) -> None:
    longest = max(span.attributes, key=lambda one: len(one.value.string_value))
    longest.value.string_value = longest.value.string_value[:2]
