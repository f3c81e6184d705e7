"""Expect what the state says was answered: a proof without a call to Netra."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Collection, Sequence

from netra_otel_bridge.core.clock import NS_PER_MS
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.model.readback import MAX_SAMPLES, Finding
from netra_otel_bridge.core.threads import in_thread, in_threads
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.readback.expected import ExpectedTrace
from netra_otel_bridge.readback.sent_ids import SentIds
from netra_otel_bridge.state import Answered, AnsweredTrace, Coverage, uncovered

SHOWN_RANGES = 3
"""Ranges that a finding names."""
_NOT_COPIED = "this state has not copied it: replay the range with --state DIR, or verify what it has copied"
_OF_THEN = "with the --from, --until and --tenant of then"
_NO_SUCH_TRACE = "check the id, --to and --state, or send it with replay --trace ID --state DIR"


class ExpectedFromState:
    """The answered traces of ``window``, or of all time if it is ``None``; of ``ids`` alone, if they are given.

    ``queries`` are the texts of those whose finished windows count as copied. If the range ``is_open``, it ends now, and
    what was not copied at its end is a note and no finding.
    """

    def __init__(
        self,
        answered: Answered,
        window: Window | None,
        sent_ids: SentIds,
        *,
        queries: Collection[str] = ("",),
        ids: AsyncIterable[Sequence[str]] | None = None,
        is_open: bool = False,
    ) -> None:
        self._answered = answered
        self._window = window
        self._sent_ids = sent_ids
        self._queries = queries
        self._ids = ids
        self._is_open = is_open
        self._gaps: list[Window] = []
        self._notes: list[str] = []
        self._held_back: list[str] = []
        self._unreadable: Counter[str] = Counter()
        self._unsent: list[str] = []
        self._unsent_count = 0

    async def gaps(self) -> list[Window]:
        """Return the parts of the range that were not copied, or whose traces may be forgotten. Raises `StateError`."""
        return self._gaps_in(await self._coverage())

    async def __aiter__(self) -> AsyncIterator[Sequence[ExpectedTrace]]:
        """Yield the traces in chunks. Raises `StateError`, and the errors of ``ids``."""
        coverage = await self._coverage()
        self._note(coverage)
        unreadable: Counter[str] = Counter()
        async for letters in in_threads(self._answered.unreadable(self._window)):
            unreadable.update(letters)
        if self._ids is None:
            self._held_back, self._unreadable = list(coverage.held_back), unreadable
            async for chunk in in_threads(self._answered.traces(self._window)):
                yield [self._expected(one) for one in chunk]
            return
        held_back = set(coverage.held_back)
        async for ids in self._ids:
            missing = set(ids)
            self._held_back += missing & held_back
            self._unreadable.update({trace_id: unreadable[trace_id] for trace_id in ids if trace_id in unreadable})
            async for chunk in in_threads(self._answered.by_ids(ids, self._window)):
                missing.difference_update(one.trace_id for one in chunk)
                yield [self._expected(one) for one in chunk]
            unsent = sorted(missing - held_back - unreadable.keys())
            self._unsent_count += len(unsent)
            self._unsent += unsent[: MAX_SAMPLES - len(self._unsent)]

    def findings(self) -> Sequence[Finding]:
        """Return what was not sent: unreadable items, traces that are held back, and ranges that were not copied."""
        found = []
        if count := self._unreadable.total():
            found.append(
                Finding(
                    "unreadable",
                    count,
                    "Netra sent items that are no spans",
                    "see them with netra-otel-bridge state dead-letters",
                    _samples(sorted(self._unreadable)),
                )
            )
        if self._held_back:
            found.append(
                Finding(
                    "pending",
                    len(self._held_back),
                    "traces are held back because they cannot be read; their spans are not known, so each trace counts as one",
                    "see netra-otel-bridge state held-back",
                    _samples(sorted(self._held_back)),
                )
            )
        if self._unsent_count:
            if self._window is None:
                what, hint = "the state has no such trace; each counts as one", _NO_SUCH_TRACE
            else:
                what, hint = (
                    "traces of this range that the state does not have; each counts as one",
                    f"{_NOT_COPIED}, {_OF_THEN}",
                )
            found.append(Finding("pending", self._unsent_count, what, hint, _samples(self._unsent)))
        if self._gaps:
            shown = [f"{iso_ms(one.start_ns)} to {iso_ms(one.end_ns)}" for one in self._gaps[:SHOWN_RANGES]]
            more = len(self._gaps) - len(shown)
            ranges = ", ".join(shown) + (f" and {more:,} more" if more else "")
            found.append(
                Finding(
                    "pending",
                    len(self._gaps),
                    f"not copied to the end: {ranges}; each such range counts as one",
                    f"{_NOT_COPIED}, {self._copied_range()}",
                )
            )
        return found

    def _copied_range(self) -> str:
        """Return the options that verify what was copied, exactly if only the beginning of the range was not."""
        first, window = self._gaps[0], self._window
        if window is None or len(self._gaps) > 1 or first.start_ns > window.start_ns or first.end_ns >= window.end_ns:
            return _OF_THEN
        return f"with --from {iso_ms(first.end_ns + NS_PER_MS - 1)}"

    def notes(self) -> Sequence[str]:
        """Return how far the range was copied, and what the state may have forgotten."""
        return self._notes

    async def _coverage(self) -> Coverage:
        return await in_thread(self._answered.coverage, self._window, self._queries)

    def _gaps_in(self, coverage: Coverage) -> list[Window]:
        if self._window is None:
            return []
        pruned_ns = coverage.pruned_ns or 0
        covered = [
            one.window
            if one.finished_ns >= pruned_ns
            else Window(max(one.window.start_ns, pruned_ns), one.window.end_ns)
            for one in coverage.finished
        ]
        covered += [Window(max(one.since_ns, pruned_ns), one.watermark_ns) for one in coverage.following]
        return uncovered(self._window, (one for one in covered if one.start_ns < one.end_ns))

    def _note(self, coverage: Coverage) -> None:
        """Decide what of the gaps is a finding, and note the rest."""
        window = self._window
        if window is None:
            return
        self._gaps = self._gaps_in(coverage)
        if (
            self._is_open
            and self._gaps
            and window.start_ns < self._gaps[-1].start_ns < self._gaps[-1].end_ns == window.end_ns
        ):
            end = iso_ms(self._gaps.pop().start_ns)
            self._notes.append(f"the range was copied up to {end}; what starts later is not accounted for")
        if coverage.pruned_ns is not None and coverage.pruned_ns > window.start_ns:
            self._notes.append(
                f"the state forgets traces that start before {iso_ms(coverage.pruned_ns)}; what it has forgotten is not "
                "accounted for"
            )

    def _expected(self, one: AnsweredTrace) -> ExpectedTrace:
        return ExpectedTrace(
            trace_id=self._sent_ids.sent(one.trace_id),
            start_ns=one.start_ns,
            recorded_ns=one.recorded_ns,
            spans=one.spans,
            carriers=one.carriers,
            dead_lettered=one.dead_lettered,
            refused=frozenset(one.not_accepted) - one.dead_lettered,
        )


def _samples(trace_ids: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((trace_id, "") for trace_id in trace_ids[:MAX_SAMPLES])
