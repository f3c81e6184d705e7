"""Reading back takes the same memory for any range."""

from __future__ import annotations

import asyncio
import struct
import tracemalloc
from collections.abc import AsyncIterator, Sequence

import pytest

from netra_otel_bridge.core.model.readback import Finding, StoreReport
from netra_otel_bridge.deliver.otlp.encode import checksum, varint
from netra_otel_bridge.readback.expected import ExpectedTrace
from netra_otel_bridge.readback.verify import verify_store
from tests.support.fake_clock import FakeClock
from tests.support.scripted_store import ScriptedReader, hex_id

SPANS = 50
LOST_EVERY, WRONG_EVERY = 50, 70
MAX_GROWTH_BYTES = 1_000_000
_REST = b"\x2a\x04name\x30\x01\x39%b\x41%b\x7a\x00\x85\x01\x01\x00\x00\x00" % (b"\1" * 8, b"\2" * 8)


_TRACE_ID = b"T" * 16
_SPAN_HEAD = b"\x0a\x10%b\x12\x08" % _TRACE_ID
_SPAN_BYTES = len(_SPAN_HEAD) + 8 + len(_REST)


def _framed(tag: bytes, body: bytes) -> bytes:
    return tag + varint(len(body)) + body


def _template(rest: bytes) -> bytes:
    return b"".join(_framed(b"\x12", _SPAN_HEAD + at.to_bytes(8, "big") + rest) for at in range(1, SPANS + 1))


_RIGHT, _WRONG = (
    _framed(b"\x0a", _framed(b"\x12", _template(rest))) for rest in (_REST, _REST.replace(b"name", b"ugly"))
)
_SPANS = _template(_REST)


class MadeReader(ScriptedReader):
    """A store whose traces are made when they are asked for: some are lost, and some are wrong."""

    async def read(self, trace_id: str, start_ns: int) -> bytes:
        self.calls += 1
        number = int(trace_id, 16)
        if not number % LOST_EVERY:
            return b""
        return (_RIGHT if number % WRONG_EVERY else _WRONG).replace(_TRACE_ID, number.to_bytes(16, "big"))


class MadeTraces:
    """A given number of expected traces, made in chunks."""

    def __init__(self, count: int) -> None:
        self._count = count

    async def __aiter__(self) -> AsyncIterator[Sequence[ExpectedTrace]]:
        for first in range(1, self._count + 1, 100):
            yield [self._trace(number) for number in range(first, min(first + 100, self._count + 1))]

    def _trace(self, number: int) -> ExpectedTrace:
        framed = _SPANS.replace(_TRACE_ID, number.to_bytes(16, "big"))
        starts = range(2, len(framed), _SPAN_BYTES + 2)
        checksums = (checksum(framed[start : start + _SPAN_BYTES]) for start in starts)
        spans = b"".join(struct.pack(">QI", at, one) for at, one in enumerate(checksums, 1))
        return ExpectedTrace(hex_id(number), number, number, spans, b"")

    def findings(self) -> Sequence[Finding]:
        return ()

    def notes(self) -> Sequence[str]:
        return ()


def verified(count: int) -> tuple[StoreReport, int]:
    """Return the report on ``count`` traces, and the most memory that making it took."""
    tracemalloc.start()
    report = asyncio.run(verify_store(MadeReader({}), MadeTraces(count), None, name="s", clock=FakeClock()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return report, peak


@pytest.mark.faults
def test_memory_does_not_grow_with_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """200,000 spans, some of them missing or changed, take hardly more memory than 20,000."""
    monkeypatch.setattr("netra_otel_bridge.readback.waiting.MAX_TRACES", 20)
    small, before = verified(400)
    report, peak = verified(4_000)
    assert small.spans == 20_000
    assert (report.spans, report.missing) == (200_000, 4_000 // LOST_EVERY * SPANS)
    assert report.changed == sum(SPANS for number in range(WRONG_EVERY, 4_001, WRONG_EVERY) if number % LOST_EVERY)
    assert report.intact == report.spans - report.missing - report.changed
    assert peak < before + MAX_GROWTH_BYTES
    assert len(report.findings) == 2
