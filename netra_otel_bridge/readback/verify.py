"""Verify one store: read every expected trace back, and account for each of its spans.

expected traces -> read -> prove -> spans missing, and the store had no time yet? -> read again later
                                    else -> ask Netra about unproved spans -> count -> search for a sample
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.readback import BESIDE, SUMMED, Kind, StoreReport
from netra_otel_bridge.core.tasks import all_of
from netra_otel_bridge.core.threads import in_thread
from netra_otel_bridge.readback import wall
from netra_otel_bridge.readback.causes import Causes, in_order
from netra_otel_bridge.readback.examine import Examiner, Verdict
from netra_otel_bridge.readback.expected import ENTRY_BYTES, ExpectedSpans, ExpectedTrace, SentSpans
from netra_otel_bridge.readback.proof import LARGE_BYTES, Proof, Prover
from netra_otel_bridge.readback.reader import FindsTraces, NoSearch, TakesNotes, TraceNotReturned, TraceReader
from netra_otel_bridge.readback.search import Sample, Search
from netra_otel_bridge.readback.waiting import WaitingTrace, WaitingTraces
from netra_otel_bridge.readback.words import store_text, traces_text


class VerifyProgress(NamedTuple):
    """The progress of a verification.

    ``traces`` and ``spans`` are accounted for, ``intact`` of the spans are intact. ``waiting`` traces lack spans, and
    are read again until the store had its time. ``looked_for`` is how many traces are searched for.
    """

    name: str
    traces: int
    spans: int
    intact: int
    waiting: int
    looked_for: int


OnProgress = Callable[[VerifyProgress], None]
OnVerdict = Callable[[str, int, Kind], None]
"""Called with the trace id, the span id and the kind of each span that is not intact, or that is counted beside the sum.

A ``hidden`` trace is one call, with one of its spans.
"""


async def verify_store(
    reader: TraceReader,
    expected: ExpectedSpans,
    sent: SentSpans | None,
    *,
    name: str,
    clock: Clock,
    search: bool = True,
    on_progress: OnProgress | None = None,
    on_verdict: OnVerdict | None = None,
) -> StoreReport:
    """Account for every span of ``expected`` in the store that ``reader`` reads; never closes the reader.

    A `BridgeError` of the reader or of ``expected`` becomes ``StoreReport.error``, and counts cover what was asked about
    until then; a trace that alone is not returned does not count, and the others do. Without ``sent``, spans that differ are ``changed``, and their findings do not say how. With ``search``,
    traces that are stored are also searched for, if the reader is a `FindsTraces`. Memory does not grow with the range.
    """
    sample = Sample() if search and isinstance(reader, FindsTraces) else None
    sweep = _Sweep(reader, expected, sent, StoreReport(name, reader.at), clock, sample, on_progress, on_verdict)
    calls_before = reader.calls
    try:
        await sweep.run()
        if isinstance(reader, FindsTraces) and sweep.sample is not None:
            await sweep.look_for(reader, sweep.sample)
    except NoSearch as error:
        sweep.report.looked_for = 0
        sweep.report.notes.append(f"whether a search shows the traces is not known: {error.message}")
    except BridgeError as error:
        sweep.report.error = error
    sweep.report.read_back_calls = reader.calls - calls_before
    return sweep.finished()


class _Sweep:
    """One pass over all expected traces."""

    def __init__(
        self,
        reader: TraceReader,
        expected: ExpectedSpans,
        sent: SentSpans | None,
        report: StoreReport,
        clock: Clock,
        sample: Sample | None,
        on_progress: OnProgress | None,
        on_verdict: OnVerdict | None,
    ) -> None:
        self.report = report
        self.sample = sample
        self._reader = reader
        self._expected = expected
        self._clock = clock
        self._on_progress = on_progress
        self._on_verdict = on_verdict
        self._prover = Prover(reader)
        self._examiner = Examiner(reader.form, sent)
        self._causes = Causes(reader.store)
        self._without_carriers = self._not_returned = 0
        self._first_error: TraceNotReturned | None = None
        self._chunks: AsyncIterator[Sequence[ExpectedTrace]] | None = aiter(expected)
        self._traces: list[ExpectedTrace] = []
        self._waiting = WaitingTraces()
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Read all traces until each is settled."""
        traces = self._chunks
        try:
            await all_of(self._work() for _ in range(max(1, self._reader.concurrency)))
        finally:
            if isinstance(traces, AsyncGenerator):
                await traces.aclose()
        for finding in self._expected.findings():
            _count(self.report, finding.kind, finding.count)
            self.report.spans += finding.count
            self.report.findings.append(finding)
        self.report.notes += self._expected.notes()

    async def _work(self) -> None:
        while (waiting := await self._next()) is not None:
            asked_s = self._clock.monotonic()
            try:
                data = await wall.read(self._reader, waiting.trace.trace_id, waiting.trace.start_ns)
            except TraceNotReturned as error:
                self._not_returned += 1
                self._first_error = self._first_error or error
                continue
            if len(data) < LARGE_BYTES:
                proof = self._prover.prove(data, waiting.trace)
            else:
                proof = await in_thread(self._prover.prove, data, waiting.trace)
            if _lacks(waiting.trace, proof) and not waiting.is_over(asked_s, self._clock):
                self._waiting.push(waiting)
                self._show()
                continue
            verdicts = await self._examiner.judge(waiting.trace, proof)
            self._settle(waiting.trace, proof, verdicts)
            if self.sample is not None and (stored := proof.intact or proof.unproved.keys()):
                spans = len(proof.intact) + len(proof.unproved)
                self.sample.add(waiting.trace.trace_id, data, next(iter(stored)), spans)

    async def _next(self) -> WaitingTrace | None:
        """Return the trace to read next: a new one, or one that waits if there is none, or no room to wait for more."""
        async with self._turn:
            if not self._waiting.is_full:
                while not self._traces and self._chunks is not None:
                    chunk = await anext(self._chunks, None)
                    if chunk is None:
                        self._chunks = None
                    else:
                        self._traces = list(reversed(chunk))
                if self._traces:
                    return WaitingTrace(self._traces.pop())
            if not self._waiting:
                return None
            waiting = self._waiting.pop()
            if (left_s := waiting.due_s - self._clock.monotonic()) > 0:
                await self._clock.sleep(left_s)
            return waiting

    def _settle(self, trace: ExpectedTrace, proof: Proof, verdicts: Mapping[int, Verdict]) -> None:
        """Count all spans of a trace."""
        report, causes, trace_id = self.report, self._causes, trace.trace_id
        report.traces += 1
        report.spans += len(trace.spans) // ENTRY_BYTES
        report.intact += len(proof.intact)
        if not trace.carriers:
            self._without_carriers += 1
        missing = []
        for span_id in proof.absent:
            if span_id in trace.dead_lettered:
                self._add("dead_lettered", trace_id, span_id)
            elif span_id in trace.refused:
                self._add("refused", trace_id, span_id)
            else:
                missing.append(span_id)
                self._found("missing", trace_id, span_id)
        stored = len(proof.intact) + len(proof.unproved)
        if missing:
            causes.add_missing(trace, missing, found=stored, size_bytes=proof.size_bytes)
        if stored:
            causes.add_stored(trace)
        for span_id, verdict in verdicts.items():
            if verdict.kind == "intact":
                report.intact += 1
            else:
                causes.add_verdict(trace_id, span_id, verdict)
                self._found(verdict.kind, trace_id, span_id)
        for span_id, more in proof.duplicated.items():
            causes.add_more("unlike" if span_id in proof.unlike else "same", trace_id, span_id, more)
            self._found("duplicated", trace_id, span_id, more)
        for span_id in proof.foreign:
            self._add("foreign", trace_id, span_id)
        self._show()

    def _add(self, kind: Literal["dead_lettered", "refused", "foreign"], trace_id: str, span_id: int) -> None:
        self._causes.add_plain(kind, trace_id, span_id)
        self._found(kind, trace_id, span_id)

    def _found(self, kind: Kind, trace_id: str, span_id: int, count: int = 1) -> None:
        _count(self.report, kind, count)
        if self._on_verdict is not None:
            self._on_verdict(trace_id, span_id, kind)

    def _show(self) -> None:
        if self._on_progress is not None:
            report = self.report
            self._on_progress(
                VerifyProgress(
                    report.name, report.traces, report.spans, report.intact, len(self._waiting), report.looked_for
                )
            )

    async def look_for(self, finder: FindsTraces, sample: Sample) -> None:
        """Search for a sample of the traces that are stored, and count those that no search shows."""
        search = Search(self._reader, finder, self._clock)
        traces = sample.traces()
        self.report.looked_for = len(traces)
        self._show()
        hidden = await search.hidden(traces)
        self.report.looked_for -= len(search.unclear)
        for trace in hidden:
            self._causes.add_hidden(trace.trace_id, trace.span_id, trace.spans)
            self._found("hidden", trace.trace_id, trace.span_id, trace.spans)
        self._note(
            "not searched for, because the store has more at their time than a search shows", len(search.unclear)
        )
        self._note("not searched for, because no resource in them has a service.name", sample.without_service)
        if sample.seen > len(traces) + sample.without_service:
            self.report.notes.append(
                f"{len(traces):,} traces at random were searched for, of {sample.seen:,} that are stored"
            )

    def _note(self, text: str, traces: int) -> None:
        if traces:
            self.report.notes.append(f"{traces_text(traces)} {text}")

    def finished(self) -> StoreReport:
        """Return the report, with all findings. Raises a `BridgeError` if a span was not counted exactly once."""
        report = self.report
        if self._first_error is not None:
            report.error = report.error or self._first_error
        self._note("not returned by the store, so that their spans are not counted", self._not_returned)
        self._note("recorded by an older version, whose resources and scopes are not compared", self._without_carriers)
        limits = self._reader.form.limits()
        if limits and report.error is None and report.intact + report.cut + report.changed:
            report.notes.append(
                f"not compared, because {store_text(self._reader.store)} does not keep it: {'; '.join(limits)}"
            )
        if isinstance(self._reader, TakesNotes):
            report.notes += self._reader.notes
        report.findings = in_order([*report.findings, *self._causes.findings(self._clock.now_ns())])
        counted = {kind: getattr(report, kind) for kind in (*SUMMED, *BESIDE)}
        explained = {kind: sum(one.count for one in report.findings if one.kind == kind) for kind in counted}
        explained["intact"] = report.intact
        if report.spans != sum(counted[kind] for kind in SUMMED) or counted != explained:
            raise BridgeError(
                f"a defect: the counts of {report.name} do not add up to its {report.spans:,} spans: {counted}, of which "
                f"findings explain {explained}",
                hint="report it; no count of this verification can be trusted",
            )
        return report


def _count(report: StoreReport, kind: Kind, count: int) -> None:
    setattr(report, kind, getattr(report, kind) + count)


def _lacks(trace: ExpectedTrace, proof: Proof) -> bool:
    """Return whether spans are missing that the store may still show, if it has them."""
    return any(span_id not in trace.dead_lettered for span_id in proof.absent)
