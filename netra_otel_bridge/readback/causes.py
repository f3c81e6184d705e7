"""Group what is wrong with spans into findings, by cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from netra_otel_bridge.core.model.readback import BESIDE, SUMMED, Finding, Kind
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.readback import hints
from netra_otel_bridge.readback.examine import Verdict
from netra_otel_bridge.readback.expected import ENTRY_BYTES, ExpectedTrace
from netra_otel_bridge.readback.groups import CutTexts, Group, Groups
from netra_otel_bridge.readback.hints import Times
from netra_otel_bridge.readback.words import differ_text, listed, named, subject, traces_text

_MAX_GROUPS = 40
"""Maximum groups of differences; there are some ten other groups."""
_ORDER = {kind: place for place, kind in enumerate((*SUMMED, *BESIDE))}
_PLAIN: dict[Kind, tuple[str, str]] = {
    "dead_lettered": ("were rejected by the destination, and are dead letters", ""),
    "refused": ("were rejected by the destination, or may have been: it did not say which", ""),
    "foreign": (
        "are in these traces, and the bridge did not send them to this destination",
        "another program writes to the same traces, or another replay did",
    ),
}
_MORE: dict[str, tuple[str, str]] = {
    "same": (
        "are stored more than once, with the same content",
        "sent more than once: by a second replay with another state, or again because an answer was lost",
    ),
    "unlike": ("are stored more than once, with different content", ""),
}


@dataclass(slots=True)
class _Traces:
    """The times of traces: when they start, and when they were recorded."""

    start: Times = field(default_factory=Times)
    written: Times = field(default_factory=Times)

    def add(self, trace: ExpectedTrace) -> None:
        self.start.add(trace.start_ns)
        self.written.add(trace.recorded_ns)


class Causes:
    """Collects what is wrong with the spans of one store. Each span is in one finding of its kind."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._stored, self._lost = _Traces(), _Traces()
        self._whole, self._partial, self._large = Group(), Group(), Group()
        self._partial_traces = self._large_traces = 0
        self._cut = CutTexts()
        self._changed = Groups[tuple[str, str]](_MAX_GROUPS)
        self._by_bridge = Groups[bool](2)
        self._unknown = Groups[str](_MAX_GROUPS // 8)
        self._plain = {kind: Group() for kind in _PLAIN}
        self._more = {what: Group() for what in _MORE}
        self._hidden = Group()

    def add_stored(self, trace: ExpectedTrace) -> None:
        """Count a trace of which the store has at least one span."""
        self._stored.add(trace)

    def add_missing(self, trace: ExpectedTrace, spans: Iterable[int], *, found: int, size_bytes: int) -> None:
        """Add the missing spans of a trace, of which the store has ``found`` spans in ``size_bytes``."""
        expected = len(trace.spans) // ENTRY_BYTES
        if not found:
            group = self._whole
            self._lost.add(trace)
        elif size_bytes * expected // found >= hints.LARGE_TRACE_BYTES:
            group = self._large
            self._large_traces += 1
        else:
            group = self._partial
            self._partial_traces += 1
        for span_id in spans:
            group.add(trace.trace_id, span_id)

    def add_verdict(self, trace_id: str, span_id: int, verdict: Verdict) -> None:
        """Add a span that is cut or changed."""
        if verdict.unknown:
            self._unknown.of(verdict.unknown).add(trace_id, span_id)
            return
        found = named(verdict.differences)
        if verdict.kind == "changed":
            self._changed.of((differ_text(found), hints.changed_hint(self._store, found))).add(trace_id, span_id)
            return
        if not verdict.differences:
            group = self._by_bridge.of(any(one.how == "cut" for one in verdict.by_bridge))
            found = named(one for one in verdict.by_bridge if one.how in ("cut", "gone"))
        else:
            group = self._cut.of(max(one.change.kept_bytes for one in verdict.differences))
        group.add(trace_id, span_id)
        group.name(subject(part, key) for part, _, key in found)

    def add_plain(self, kind: Kind, trace_id: str, span_id: int) -> None:
        """Add a span that is dead-lettered, refused or foreign."""
        self._plain[kind].add(trace_id, span_id)

    def add_more(self, content: Literal["same", "unlike"], trace_id: str, span_id: int, copies: int) -> None:
        """Add further copies of a span."""
        self._more[content].add(trace_id, span_id, copies)

    def add_hidden(self, trace_id: str, span_id: int, spans: int) -> None:
        """Add the stored spans of a trace that no search shows."""
        self._hidden.add(trace_id, span_id, spans)

    def findings(self, now_ns: int) -> list[Finding]:
        """Return all findings."""
        return [one for one in (*self._missing(now_ns), *self._differing(), *self._beside()) if one.count]

    def _missing(self, now_ns: int) -> Iterable[Finding]:
        lost, stored = self._lost, self._stored
        if lost.start.count and stored.start.count:
            what = f"not in the store, with their whole traces: {lost.start.count:,} of {traces_text(self._traces)}"
            if lost.start.precede(stored.start):
                what += f", all that started up to {iso_ms(lost.start.last_ns)}"
        else:
            what = f"not in the store, which has nothing of {traces_text(lost.start.count)}"
        yield _finding(
            "missing",
            self._whole,
            what,
            hints.whole_traces_hint(self._store, lost.start, stored.start, lost.written, stored.written, now_ns),
        )
        yield _finding(
            "missing",
            self._partial,
            f"not in the store, which has other spans of the same traces, in {traces_text(self._partial_traces)}",
            hints.some_spans_hint(self._store, large=False),
        )
        yield _finding(
            "missing",
            self._large,
            f"not in the store, which has other spans of the same large traces, in {traces_text(self._large_traces)}",
            hints.some_spans_hint(self._store, large=True),
        )

    @property
    def _traces(self) -> int:
        return self._lost.start.count + self._stored.start.count

    def _differing(self) -> Iterable[Finding]:
        for limit, group in self._cut.limits():
            where = f"at {limit:,} bytes" if limit else "at various lengths"
            yield _finding(
                "cut", group, f"have texts that end early, {where}: {_names(group)}", hints.cut_hint(self._store)
            )
        for texts_too, group in self._by_bridge.known.items():
            what = "were cut" if texts_too else "lack derived attributes, left out"
            what += f" by the bridge to fit what the destination accepts: {_names(group)}"
            yield _finding("cut", group, what, hints.BY_BRIDGE)
        for (what, hint), group in self._changed.known.items():
            yield _finding("changed", group, what, hint)
        yield _finding("changed", self._changed.rest, "differ in other ways")
        for reason, group in self._unknown.known.items():
            yield _finding("changed", group, reason)
        yield _finding("changed", self._unknown.rest, "differ from what was sent; Netra could not be asked how")

    def _beside(self) -> Iterable[Finding]:
        for kind, group in self._plain.items():
            yield _finding(kind, group, *_PLAIN[kind])
        for content, group in self._more.items():
            yield _finding("duplicated", group, *_MORE[content])
        yield _finding(
            "hidden",
            self._hidden,
            "are stored, and a search by service and time does not show them",
            hints.hidden_hint(self._store),
        )


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings by kind, the largest of each first."""
    return sorted(findings, key=lambda one: (_ORDER[one.kind], -one.count))


def _names(group: Group) -> str:
    return listed(list(group.names)) + (" and others" if group.unnamed else "")


def _finding(kind: Kind, group: Group, what: str, hint: str = "") -> Finding:
    return Finding(kind, group.count, what, hint, tuple(group.samples))
