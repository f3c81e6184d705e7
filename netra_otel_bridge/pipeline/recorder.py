"""Make the progress of one lane durable. Spans answered during one transaction go into the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.model.outcome import DeadLetter
from netra_otel_bridge.core.model.progress import HeldTrace, KnownTrace, Progress, TraceCost, TraceRecord
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.packed_checksums import unpack_spans
from netra_otel_bridge.core.time_text import LAST_NS
from netra_otel_bridge.state import LaneState

T = TypeVar("T")
UNSTORED_SPANS = 8192
"""Maximum spans that are answered but not stored yet. Beyond it, sending waits for the disk."""


class Recorder:
    """Records the progress of a lane.

    Recorded progress can be read back at once. It is durable after the next `flush` and, while `run` runs, soon anyway.
    ``stored_ns`` is the time of the last transaction; ``watermark_ns`` is how far live traffic was followed, as stored.
    ``limit_ns`` is the latest watermark that may be recorded; a later one is recorded as this one.
    ``held_back`` has the traces that are held back, by id. ``writer`` is the one thread that writes to the state.
    ``on_stored`` is called with the records of each transaction.
    """

    def __init__(self, lane: LaneState, writer: Executor, clock: Clock) -> None:
        self.stored_ns = 0
        self.watermark_ns = 0
        self.limit_ns = LAST_NS
        self._lane = lane
        self._writer = writer
        self.held_back: dict[str, HeldTrace] = {}
        self.clock = clock
        self.on_stored: Callable[[Iterable[TraceRecord]], None] = lambda _: None
        self._traces: dict[str, TraceRecord] = {}
        self._storing: dict[str, TraceRecord] = {}
        self._pending = Progress()
        self._dead_letters: dict[tuple[str, str], list[int]] = {}
        self._unstored_spans = 0
        self._transaction: asyncio.Future[None] | None = None
        self._recorded = asyncio.Event()
        self._stored = asyncio.Event()

    @property
    def lane(self) -> LaneState:
        """The stored state, for reading."""
        return self._lane

    async def write(self, job: Callable[[], T]) -> T:
        """Run a job on the writer thread, after all earlier ones, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, job)

    def known(self, trace_ids: Sequence[str]) -> dict[str, KnownTrace]:
        """Return the records of these traces; a trace without a record is left out."""
        known = self._lane.known(trace_ids)
        for records in (self._storing, self._traces):
            if records:
                for trace_id in trace_ids:
                    if (record := records.get(trace_id)) is not None:
                        spans = len(record.spans) // TraceRecord.ENTRY_BYTES
                        known[trace_id] = KnownTrace(record.digest, spans, self.clock.now_ns())
        return known

    def spans(self, trace_id: str) -> dict[int, int]:
        """Return the checksums of the answered spans of a trace, by span id."""
        record = self._traces.get(trace_id) or self._storing.get(trace_id)
        return unpack_spans(record.spans if record is not None else self._lane.spans(trace_id))

    def carriers(self, trace_id: str) -> bytes:
        """Return `TraceRecord.carriers` of a trace."""
        record = self._traces.get(trace_id) or self._storing.get(trace_id)
        return record.carriers if record is not None else self._lane.carriers(trace_id)

    def trace_cost(self, trace_id: str) -> TraceCost:
        """Return the cost of the spans of a trace that the destination has received."""
        record = self._traces.get(trace_id) or self._storing.get(trace_id)
        return record.cost if record is not None else self._lane.trace_cost(trace_id)

    def first_listed(self, trace_ids: Sequence[str]) -> set[str]:
        """Return the traces that are listed for the first time in this pass."""
        return self._lane.first_listed(trace_ids)

    def resume(self, since_ns: int) -> None:
        """Resume following at the stored watermark, or at ``since_ns`` if nothing was followed yet."""
        self.watermark_ns = self._lane.watermark_ns() or since_ns

    async def move_back(self, watermark_ns: int | None, since_ns: int, latest_ns: int) -> None:
        """Move back a watermark, a start of following, or both, as `LaneState.move_back` does. Raises `StateError`."""
        await self.write(partial(self._lane.move_back, watermark_ns, since_ns, latest_ns))
        self.watermark_ns = watermark_ns or since_ns

    def start_pass(self) -> None:
        """Begin a pass, in which no trace has been listed yet."""
        self._lane.start_pass()
        self._dead_letters = self._lane.letter_ids()
        self.held_back = {held.summary.id: held for held in self._lane.held_back()}

    def answered(self, traces: Iterable[TraceRecord], delivered: int, refused: int, size_bytes: int) -> None:
        """Record the answer to a batch; ``traces`` are the new records of the traces that had spans in it."""
        for record in traces:
            self._traces[record.trace_id] = record
        self._pending.delivered += delivered
        self._pending.refused += refused
        self._pending.size_bytes += size_bytes
        self._unstored_spans += delivered + refused
        self._recorded.set()

    def dead(self, letters: Iterable[DeadLetter]) -> None:
        """Record dead letters."""
        self._pending.dead_letters.extend(letters)
        self._recorded.set()

    def resolved(self, letter_ids: Iterable[int]) -> None:
        """Record that these dead letters are resolved: they were delivered, or replaced."""
        self._pending.resolved.extend(letter_ids)
        self._recorded.set()

    @property
    def has_dead_letters(self) -> bool:
        """Return whether any span was a dead letter when the pass began and has not been answered since."""
        return bool(self._dead_letters)

    def answered_again(self, trace_id: int, span_id: int) -> None:
        """Resolve the old dead letter of a span that is answered now: it was delivered, or became a new dead letter."""
        self.resolved(self._dead_letters.pop((f"{trace_id:032x}", f"{span_id:016x}"), ()))

    def hold_back(self, held: HeldTrace) -> None:
        """Record that a trace could not be read, and when to try it again."""
        self.held_back[held.summary.id] = held
        self._pending.held.append(held)
        self._recorded.set()

    def release(self, trace_id: str) -> None:
        """Record that a trace that may have been held back is answered, or that Netra has deleted it."""
        if self.held_back.pop(trace_id, None) is not None:
            self._pending.released.append(trace_id)
            self._recorded.set()

    def some_traces(self, count: int) -> list[str]:
        """Return the ids of up to ``count`` stored traces with answered spans, at random."""
        return self._lane.some_traces(count)

    def finished(self, window: Window) -> None:
        """Record that every trace in this window is answered."""
        self._pending.windows.append(window)
        self._recorded.set()

    def followed(self, watermark_ns: int) -> None:
        """Record that live traffic up to here is answered."""
        self._pending.watermark_ns = max(min(watermark_ns, self.limit_ns), self._pending.watermark_ns or 0)
        self._recorded.set()

    def problem(self, problem: str) -> None:
        """Record why the lane waits or stopped; "" when it runs."""
        self._pending.problem = problem
        self._recorded.set()

    async def run(self) -> None:
        """Store recorded progress, until cancelled. Raises `StateError`."""
        while True:
            await self._recorded.wait()
            await self._store()

    async def room(self) -> None:
        """Wait for the disk if too many answered spans are not stored."""
        while self._unstored_spans > UNSTORED_SPANS:
            self._stored.clear()
            await self._stored.wait()

    async def flush(self) -> None:
        """Wait until everything recorded so far is durable, even if cancelled meanwhile. Raises `StateError`."""
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
        """Store what is recorded now, in one transaction. It completes even if the caller is cancelled."""
        self._transaction = asyncio.ensure_future(self._commit())
        await asyncio.shield(self._transaction)

    async def _commit(self) -> None:
        progress, self._pending = self._pending, Progress()
        self._storing, self._traces = self._traces, {}
        progress.traces = list(self._storing.values())
        self._unstored_spans = 0
        self._recorded.clear()
        now_ns = self.clock.now_ns()
        await self.write(partial(self._lane.commit, progress, now_ns))
        self.on_stored(progress.traces)
        self._storing = {}
        self.stored_ns = now_ns
        self.watermark_ns = max(self.watermark_ns, progress.watermark_ns or 0)
        self._stored.set()
