"""Read a sample of live traffic back, some minutes after it was sent: does it arrive all the time?"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from netra_otel_bridge.core.clock import MINUTE_NS, NS_PER_S, Clock
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.health import ArrivalHealth
from netra_otel_bridge.core.model.progress import TraceRecord
from netra_otel_bridge.core.model.readback import Finding
from netra_otel_bridge.core.outside_text import error_line
from netra_otel_bridge.core.packed_checksums import pack_spans
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.readback.expected import ExpectedTrace, SentSpans
from netra_otel_bridge.readback.reader import TraceReader
from netra_otel_bridge.readback.sent_ids import SentIds
from netra_otel_bridge.readback.verify import verify_store

DELAY_NS = 3 * MINUTE_NS
"""Time between the recording of a trace and its reading back."""
EVERY_NS = 15 * NS_PER_S
"""One trace is chosen of all that were recorded in such a time: four a minute."""
MAX_WAITING = 100
_log = logging.getLogger(__name__)


class ArrivalSample:
    """Chooses traces of one lane as they are recorded, and accounts for their spans in the store at ``reader``.

    ``sent`` says how spans differ, and looks traces up in ``sent_ids``. An error while asking is counted and logged, and is never a missing span.
    """

    def __init__(
        self,
        name: str,
        recorder: Recorder,
        reader: TraceReader,
        sent: SentSpans,
        sent_ids: SentIds,
        *,
        clock: Clock,
        log_limit: LogLimit,
        choose: Callable[[int], int] = random.randrange,
    ) -> None:
        self._name = name
        self._recorder = recorder
        self._reader = reader
        self._sent = sent
        self._sent_ids = sent_ids
        self._clock = clock
        self._log_limit = log_limit
        self._choose = choose
        self._waiting: deque[tuple[int, TraceRecord]] = deque(maxlen=MAX_WAITING)
        self._chosen: TraceRecord | None = None
        self._seen = 0
        self._until_ns = 0
        self._verified = self._missing = self._changed = self._failures = 0
        recorder.on_stored = self.stored

    def stored(self, traces: Iterable[TraceRecord]) -> None:
        """Choose one of the traces that are recorded within `EVERY_NS`, each with the same chance."""
        now_ns = self._clock.now_ns()
        if now_ns >= self._until_ns or now_ns < self._until_ns - EVERY_NS:
            self._end_choice()
            self._until_ns = now_ns + EVERY_NS
        for record in traces:
            self._seen += 1
            if not self._choose(self._seen):
                self._chosen = record

    def health(self) -> ArrivalHealth:
        """Return the counts since the start."""
        return ArrivalHealth(self._verified, self._missing, self._changed, self._failures)

    async def run(self) -> None:
        """Read chosen traces back once they are due, until cancelled."""
        while True:
            await self._clock.sleep(EVERY_NS / NS_PER_S)
            await self.read_due()

    async def read_due(self) -> None:
        """Read those chosen traces back that were recorded `DELAY_NS` ago or earlier."""
        now_ns = self._clock.now_ns()
        if now_ns >= self._until_ns:
            self._end_choice()
        due = []
        while self._waiting and self._waiting[0][0] <= now_ns:
            due.append(self._waiting.popleft()[1])
        if not due:
            return
        chosen = _Chosen(self._recorder, self._sent_ids, due)
        try:
            report = await verify_store(
                self._reader, chosen, self._sent, name=self._name, clock=self._clock, search=False
            )
        except Exception as error:  # noqa: BLE001  the wall around a reader of others: delivery goes on
            self._failures += 1
            self._warn("failed", f"cannot read back from {self._reader.at}: {error_line(error)}")
            return
        self._verified += report.intact + report.cut + report.changed + report.missing
        self._missing += report.missing
        self._changed += report.cut + report.changed
        if report.error is not None:
            self._failures += 1
            self._warn("failed", f"cannot read back from {self._reader.at}: {report.error}")
        for finding in report.findings:
            if finding.kind in ("missing", "cut", "changed"):
                self._warn(finding.kind, f"{finding.kind} at {self._reader.at}: {_text(finding)}")

    def _end_choice(self) -> None:
        if self._chosen is not None:
            self._waiting.append((self._until_ns + DELAY_NS, self._chosen))
        self._chosen, self._seen = None, 0

    def _warn(self, about: str, text: str) -> None:
        self._log_limit.log(_log, logging.WARNING, (self._name, "arrival", about), f"{self._name}: {text}")


def _text(finding: Finding) -> str:
    sample = f", such as span {finding.samples[0][1]} of trace {finding.samples[0][0]}" if finding.samples else ""
    return f"{finding.what} ({finding.count} spans{sample})" + (f"; {finding.hint}" if finding.hint else "")


class _Chosen:
    """The chosen traces as they are recorded now, which may be with more spans than when they were chosen."""

    def __init__(self, recorder: Recorder, sent_ids: SentIds, chosen: Sequence[TraceRecord]) -> None:
        self._recorder = recorder
        self._sent_ids = sent_ids
        self._chosen = chosen

    async def __aiter__(self) -> AsyncIterator[Sequence[ExpectedTrace]]:
        known = self._recorder.known([one.trace_id for one in self._chosen])
        yield [self._expected(one, known[one.trace_id].recorded_ns) for one in self._chosen if one.trace_id in known]

    def _expected(self, chosen: TraceRecord, recorded_ns: int) -> ExpectedTrace:
        trace_id, recorder = chosen.trace_id, self._recorder
        return ExpectedTrace(
            self._sent_ids.sent(trace_id),
            chosen.start_ns,
            recorded_ns,
            pack_spans(recorder.spans(trace_id)),
            recorder.carriers(trace_id),
            refused=frozenset(recorder.trace_cost(trace_id).not_accepted),
        )

    def findings(self) -> Sequence[Finding]:
        return ()

    def notes(self) -> Sequence[str]:
        return ()
