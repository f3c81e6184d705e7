"""A store lies, and every count of the verification equals that of an oracle, which knows each lie."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.core.clock import HOUR_NS, NS_PER_S
from netra_otel_bridge.core.errors import BridgeError, DestinationUnavailable
from netra_otel_bridge.core.model.readback import BESIDE, SUMMED, Finding, Kind, StoreReport
from netra_otel_bridge.readback.expected import ExpectedTrace
from netra_otel_bridge.readback.verify import verify_store
from tests.support.examples import examples
from tests.support.fake_clock import FakeClock
from tests.support.lies import CARRIER_LIES, LIES, lied_about, single
from tests.support.scripted_store import (
    Expected,
    Index,
    ScriptedReader,
    SearchedReader,
    expected_trace,
    hex_id,
    request,
    sent_of,
)
from tests.support.spans import make_span

FATES = ("kept", "kept", "dropped", "again", "again, other", "lie", "lie", "lie")


@dataclass
class Story:
    """The lies of a store about one trace, and the kind that each of its spans must have."""

    spans: list[ReadableSpan]
    expected: ExpectedTrace
    data: bytes
    late_s: float = 0.0
    counts: Counter[Kind] = field(default_factory=Counter)
    verdicts: set[tuple[int, Kind]] = field(default_factory=set)
    is_hidden: bool = False

    @property
    def stored(self) -> int:
        return self.counts["intact"] + self.counts["cut"] + self.counts["changed"]


@st.composite
def stories(draw: st.DrawFn, trace_id: int) -> Story:
    """Draw a trace, its expected spans, and what a store returns for it."""
    spans = draw(lied_about(trace_id, draw(st.integers(1, 4))))
    counts: Counter[Kind] = Counter()
    verdicts: set[tuple[int, Kind]] = set()
    groups: list[bytes] = []
    rejected: dict[str, set[int]] = {"dead_lettered": set(), "refused": set()}
    is_lost = draw(st.integers(0, 5)) == 0
    carriers = draw(st.integers(0, 5)) > 0

    def count(number: int, kind: Kind) -> None:
        counts[kind] += 1
        if kind != "intact":
            verdicts.add((number, kind))

    for number, span in enumerate(spans, 1):
        fate = "dropped" if is_lost else draw(st.sampled_from(FATES))
        if fate == "dropped":
            why: Kind = draw(st.sampled_from(("missing", "missing", "dead_lettered", "refused")))
            count(number, why)
            if why in rejected:
                rejected[why].add(number)
            continue
        lie = draw(st.sampled_from(sorted(LIES))) if fate == "lie" else "nothing"
        told = single(span)
        LIES[lie].tell(told)
        count(number, LIES[lie].kind if carriers or lie not in CARRIER_LIES else "intact")
        groups.append(
            request([span])
            if lie == "nothing" and draw(st.booleans())
            else TracesData(resource_spans=[told]).SerializeToString()
        )
        if fate.startswith("again"):
            copy = single(span)
            if fate != "again":
                copy.scope_spans[0].spans[0].name += "!"
            count(number, "duplicated")
            groups.append(TracesData(resource_spans=[copy]).SerializeToString())
    for number in range(100, 100 + draw(st.integers(0, 2))) if groups else ():
        count(number, "foreign")
        groups.append(request([make_span(number, trace_id=trace_id)]))
    expected = expected_trace(spans, carriers=carriers, **{why: frozenset(ids) for why, ids in rejected.items()})
    return Story(spans, expected, b"".join(draw(st.permutations(groups))), 0.0, counts, verdicts)


many_stories = st.integers(1, 4).flatmap(lambda count: st.tuples(*(stories(number) for number in range(1, count + 1))))


@dataclass
class Result:
    report: StoreReport
    verdicts: set[tuple[str, int, Kind]]


def verify(reader: ScriptedReader, told: Sequence[Story], clock: FakeClock, **others: object) -> Result:
    verdicts: set[tuple[str, int, Kind]] = set()
    report = asyncio.run(
        verify_store(
            reader,
            Expected([story.expected for story in told], **others),  # type: ignore[arg-type]  # the fields of Expected
            sent_of(*(story.spans for story in told)),
            name="store",
            clock=clock,
            on_verdict=lambda trace_id, span_id, kind: verdicts.add((trace_id, span_id, kind)),
        )
    )
    return Result(report, verdicts)


def counts_of(report: StoreReport) -> Counter[Kind]:
    return Counter({kind: getattr(report, kind) for kind in (*SUMMED, *BESIDE) if getattr(report, kind)})


@settings(max_examples=examples(300), suppress_health_check=list(HealthCheck))
@given(many_stories, st.sampled_from([1, 3, 16]))
def test_every_count_is_that_of_the_oracle(told: tuple[Story, ...], concurrency: int) -> None:
    """Each span counts as exactly what the store did: dropped, repeated, cut, changed, added to or invented."""
    reader = ScriptedReader({story.expected.trace_id: story.data for story in told}, concurrency=concurrency)
    result = verify(reader, told, FakeClock())
    report = result.report
    assert report.error is None
    assert counts_of(report) == sum((story.counts for story in told), Counter[Kind]())
    assert report.spans == sum(len(story.spans) for story in told) == sum(getattr(report, kind) for kind in SUMMED)
    assert result.verdicts == {
        (story.expected.trace_id, span_id, kind) for story in told for span_id, kind in story.verdicts
    }
    for kind in (*SUMMED[1:], *BESIDE):
        assert sum(one.count for one in report.findings if one.kind == kind) == getattr(report, kind)
    assert all(one.what and "\n" not in one.what and one.samples for one in report.findings)
    assert report.exit_code == (0 if report.intact == report.spans and not report.duplicated else 3)


@settings(max_examples=examples(100), suppress_health_check=list(HealthCheck))
@given(many_stories)
def test_an_honest_store_has_no_finding(told: tuple[Story, ...]) -> None:
    """A store that returns what it received, as any server writes it, is never said to have lost or changed anything."""
    data = {story.expected.trace_id: TracesData.FromString(request(story.spans)) for story in told}
    reader = ScriptedReader({trace_id: one.SerializeToString() for trace_id, one in data.items()})
    honest = [Story(story.spans, expected_trace(story.spans), b"") for story in told]
    report = verify(reader, honest, FakeClock()).report
    assert (report.findings, report.notes, report.exit_code) == ([], [], 0)
    assert report.intact == report.spans == sum(len(story.spans) for story in told)
    assert report.read_back_calls == len(told)


@settings(max_examples=examples(200), suppress_health_check=list(HealthCheck))
@given(many_stories, st.data())
def test_spans_that_show_late_are_not_missing(told: tuple[Story, ...], data: st.DataObject) -> None:
    """A store has a minute from the recording to show what it took; only what it then lacks is missing."""
    clock = FakeClock()
    traces = {}
    for story in told:
        late_s = data.draw(st.sampled_from([0.0, 0.5, 20.0, 59.0]))

        def read(story: Story = story, late_s: float = late_s) -> bytes:
            return story.data if clock.elapsed_s >= late_s else b""

        traces[story.expected.trace_id] = read
        object.__setattr__(story.expected, "recorded_ns", clock.now_ns() if late_s > 1 else clock.now_ns() - HOUR_NS)
    reader = ScriptedReader(traces)
    assert counts_of(verify(reader, told, clock).report) == sum((story.counts for story in told), Counter[Kind]())
    assert clock.elapsed_s < 70


@settings(max_examples=examples(200), suppress_health_check=list(HealthCheck))
@given(many_stories, st.integers(1, 12))
def test_a_failure_to_ask_is_never_a_loss(told: tuple[Story, ...], failing: int) -> None:
    """If any call fails, the report has the error, and counts no trace that was not asked about to the end."""

    def fails(call: int) -> BridgeError | None:
        return DestinationUnavailable("the store is gone") if call == failing else None

    traces = {story.expected.trace_id: story.data for story in told}
    result = verify(ScriptedReader(traces, fails=fails, concurrency=2), told, FakeClock())
    whole = verify(ScriptedReader(traces, concurrency=2), told, FakeClock())
    if whole.report.read_back_calls < failing:
        assert result.report.error is None
        assert result.report == whole.report
        return
    assert isinstance(result.report.error, DestinationUnavailable)
    assert result.report.exit_code == 69
    assert result.verdicts <= whole.verdicts
    assert result.report.spans == sum(getattr(result.report, kind) for kind in SUMMED)
    assert result.report.traces < len(told)
    assert all(getattr(result.report, kind) <= getattr(whole.report, kind) for kind in (*SUMMED, *BESIDE))


@settings(max_examples=examples(200), suppress_health_check=list(HealthCheck))
@given(many_stories, st.data())
def test_what_no_search_shows_is_hidden(told: tuple[Story, ...], data: st.DataObject) -> None:
    """Stored traces that no search shows in time count with their stored spans; those that show late do not."""
    clock = FakeClock()
    index = {}
    hidden = 0
    for story in told:
        parsed = TracesData.FromString(story.data)
        named = [
            (attribute.value.string_value, resource_spans)
            for resource_spans in parsed.resource_spans
            for attribute in resource_spans.resource.attributes
            if attribute.key == "service.name"
        ]
        if not named or not story.stored:
            continue
        delay_s = data.draw(st.sampled_from([0, 0, 15, None]))
        if delay_s is None:
            hidden += story.stored
        else:
            start_ns = named[0][1].scope_spans[0].spans[0].start_time_unix_nano
            index[story.expected.trace_id] = Index(named[0][0], start_ns, clock.now_ns() + delay_s * NS_PER_S)
    reader = SearchedReader({story.expected.trace_id: story.data for story in told})
    reader.index, reader.clock, reader.limit = index, clock, data.draw(st.sampled_from([1, 2, 100]))
    reader.finds_whole_traces = data.draw(st.booleans())
    report = verify(reader, told, clock).report
    assert report.error is None
    unclear = [note for note in report.notes if "than a search shows" in note]
    if not unclear:
        assert report.hidden == hidden
    assert report.hidden <= hidden
    assert sum(one.count for one in report.findings if one.kind == "hidden") == report.hidden


def test_what_is_not_a_trace_counts_in_the_sum() -> None:
    """Unreadable items and traces that are pending are spans of the report, with their findings and notes."""
    spans = [make_span(1)]
    beside = [Finding("pending", 2, "are held back"), Finding("unreadable", 1, "are no spans")]
    reader = ScriptedReader({hex_id(0xABCD): request(spans)})
    told = [Story(spans, expected_trace(spans), b"")]
    report = verify(reader, told, FakeClock(), beside=beside, lines=["a note"]).report
    assert (report.spans, report.intact, report.pending, report.unreadable) == (4, 1, 2, 1)
    assert report.findings == [beside[1], beside[0]]
    assert (report.notes, report.exit_code) == (["a note"], 3)


def test_an_error_of_the_source_is_that_of_the_report() -> None:
    """If the expected traces cannot be listed to the end, the report says why, and counts what was listed."""
    spans = [make_span(1)]
    reader = ScriptedReader({hex_id(0xABCD): request(spans)}, concurrency=1)
    told = [Story(spans, expected_trace(spans), b"")]
    report = verify(reader, told, FakeClock(), error=DestinationUnavailable("no")).report
    assert (report.intact, report.spans) == (1, 1)
    assert report.exit_code == 69
