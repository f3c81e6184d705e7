"""Progress of one lane, made durable: what is answered while one transaction is written goes into the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import KnownTrace, Progress, TraceCost, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.pipeline.digests import unpack_spans
from netra_otel_bridge.state import LaneState

T = TypeVar("T")
UNSTORED_SPANS = 8192
"""Spans that may be answered and not stored yet; beyond, sending waits for the disk."""


class Recorder:
    """What is recorded here is durable after the next `flush`, and soon while `run` works.

    ``stored_ns`` is when the last transaction ended, ``watermark_ns`` how far it says that live traffic was followed.
    ``writer`` is the one thread that writes to the state. Whatever is recorded can be asked for at once.
    """

    def __init__(self, lane: LaneState, writer: Executor, clock: Clock) -> None:
        self.stored_ns = 0
        self.watermark_ns = 0
        self._lane = lane
        self._writer = writer
        self._clock = clock
        self._traces: dict[str, TraceRecord] = {}
        self._being_stored: dict[str, TraceRecord] = {}
        self._rest = Progress()
        self._letters: dict[tuple[str, str], list[int]] = {}
        self._spans = 0
        self._transaction: asyncio.Future[None] | None = None
        self._recorded = asyncio.Event()
        self._stored = asyncio.Event()

    @property
    def lane(self) -> LaneState:
        """What is stored, for reading."""
        return self._lane

    async def write(self, job: Callable[[], T]) -> T:
        """The result of a job on the writing thread, after what was handed to it before."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, job)

    def known(self, trace_ids: Sequence[str]) -> dict[str, KnownTrace]:
        """What is known of the traces that are known."""
        known = self._lane.known(trace_ids)
        for records in (self._being_stored, self._traces):
            if records:
                for trace_id in trace_ids:
                    if (record := records.get(trace_id)) is not None:
                        spans = len(record.spans) // TraceRecord.ENTRY_BYTES
                        known[trace_id] = KnownTrace(record.digest, spans, self._clock.now_ns())
        return known

    def spans(self, trace_id: str) -> dict[int, int]:
        """The ids of the spans of a trace that were answered, with the checksums of their encodings."""
        record = self._traces.get(trace_id) or self._being_stored.get(trace_id)
        return unpack_spans(record.spans if record is not None else self._lane.spans(trace_id))

    def trace_cost(self, trace_id: str) -> TraceCost:
        """What the spans of a trace cost that the destination has."""
        record = self._traces.get(trace_id) or self._being_stored.get(trace_id)
        return record.cost if record is not None else self._lane.trace_cost(trace_id)

    def first_listed(self, trace_ids: Sequence[str]) -> set[str]:
        """Those that this pass has not met before."""
        return self._lane.first_listed(trace_ids)

    def start_pass(self) -> None:
        """Forget which traces were met."""
        self._lane.start_pass()
        self._letters = self._lane.letter_ids()

    def answered(self, traces: Iterable[TraceRecord], delivered: int, refused: int, size_bytes: int) -> None:
        """A batch was answered; ``traces`` are those it had a part of, as they are known from now on."""
        for record in traces:
            self._traces[record.trace_id] = record
        self._rest.delivered += delivered
        self._rest.refused += refused
        self._rest.size_bytes += size_bytes
        self._spans += delivered + refused
        self._recorded.set()

    def dead(self, letters: Iterable[DeadLetter]) -> None:
        """These were given up, with a reason."""
        self._rest.dead_letters.extend(letters)
        self._recorded.set()

    def resolved(self, letter_ids: Iterable[int]) -> None:
        """These dead letters were delivered after all."""
        self._rest.resolved.extend(letter_ids)
        self._recorded.set()

    @property
    def has_letters(self) -> bool:
        """Whether there are spans that were dead letters when the pass began, and were not answered again in it."""
        return bool(self._letters)

    def answered_again(self, trace_id: str, span_id: int) -> None:
        """A span is answered. If it was a dead letter before the pass: it is delivered now, or given up once more."""
        self.resolved(self._letters.pop((trace_id, f"{span_id:016x}"), ()))

    def finished(self, window: Window) -> None:
        """Everything that this window lists was answered."""
        self._rest.windows.append(window)
        self._recorded.set()

    def followed(self, watermark_ns: int) -> None:
        """Everything up to here was answered."""
        self._rest.watermark_ns = max(watermark_ns, self._rest.watermark_ns or 0)
        self._recorded.set()

    def problem(self, problem: str) -> None:
        """What holds the lane up; "" for nothing."""
        self._rest.problem = problem
        self._recorded.set()

    async def run(self) -> None:
        """Store what is recorded, for as long as the task lives. Raises `StateError`."""
        while True:
            await self._recorded.wait()
            await self._store()

    async def room(self) -> None:
        """Wait for the disk, if too much is answered and not stored."""
        while self._spans > UNSTORED_SPANS:
            self._stored.clear()
            await self._stored.wait()

    async def flush(self) -> None:
        """Return when everything that was recorded is durable, even if cancelled meanwhile. Raises `StateError`."""
        storing = asyncio.ensure_future(self._store_all())
        try:
            await asyncio.shield(storing)
        except asyncio.CancelledError:
            await asyncio.wait({storing})
            storing.result()
            raise

    async def _store_all(self) -> None:
        if self._transaction is not None:
            await asyncio.shield(self._transaction)
        if self._recorded.is_set():
            await self._store()

    async def _store(self) -> None:
        """One transaction with what is recorded now. A caller that is cancelled leaves it to end by itself."""
        self._transaction = asyncio.ensure_future(self._commit())
        await asyncio.shield(self._transaction)

    async def _commit(self) -> None:
        progress, self._rest = self._rest, Progress()
        self._being_stored, self._traces = self._traces, {}
        progress.traces = list(self._being_stored.values())
        self._spans = 0
        self._recorded.clear()
        now_ns = self._clock.now_ns()
        await self.write(partial(self._lane.commit, progress, now_ns))
        self._being_stored = {}
        self.stored_ns = now_ns
        self.watermark_ns = max(self.watermark_ns, progress.watermark_ns or 0)
        self._stored.set()
