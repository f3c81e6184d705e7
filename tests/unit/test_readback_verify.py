"""The sweep over a store: findings and their causes, questions to Netra, waiting, notes and errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.core.clock import HOUR_NS, NS_PER_S
from netra_otel_bridge.core.errors import (
    BridgeError,
    ConfigurationError,
    DestinationUnavailable,
    NetraNotFound,
    NetraRejected,
    NetraUnavailable,
    NotKnown,
)
from netra_otel_bridge.core.model.readback import StoreReport
from netra_otel_bridge.readback import verify as verify_module
from netra_otel_bridge.readback import waiting
from netra_otel_bridge.readback.expected import ExpectedTrace, SentSpans
from netra_otel_bridge.readback.reader import NoSearch, TraceNotReturned
from netra_otel_bridge.readback.verify import VerifyProgress, verify_store
from tests.support.fake_clock import FakeClock
from tests.support.scripted_store import (
    Expected,
    Index,
    PlainForm,
    ScriptedReader,
    SearchedReader,
    expected_trace,
    hex_id,
    messages,
    request,
    sent_of,
)
from tests.support.spans import RESOURCE, START_NS, make_span

DAY_NS = 24 * HOUR_NS


def trace_of(number: int, count: int = 2, **fields: Any) -> list[ReadableSpan]:
    fields = {"attributes": {"input": "a text that is long enough", "n": number}, **fields}
    return [make_span(span_id, trace_id=number, **fields) for span_id in range(1, count + 1)]


def run(
    reader: ScriptedReader,
    traces: Sequence[ExpectedTrace],
    sent: SentSpans | None = None,
    clock: FakeClock | None = None,
    **others: Any,
) -> StoreReport:
    return asyncio.run(verify_store(reader, Expected(traces), sent, name="store", clock=clock or FakeClock(), **others))


def store_of(*traces: Sequence[ReadableSpan], **others: Any) -> ScriptedReader:
    return ScriptedReader({expected_trace(spans).trace_id: request(spans) for spans in traces}, **others)


def only(report: StoreReport, kind: str) -> tuple[int, str, str]:
    found = [one for one in report.findings if one.kind == kind]
    assert len(found) == 1
    return found[0].count, found[0].what, found[0].hint


# Missing


@pytest.mark.parametrize("store", ["jaeger", "tempo", "phoenix", "own"])
def test_a_store_that_has_nothing_is_said_to_be_empty(store: str) -> None:
    """If every trace is missing, the finding says that the store is empty, and not what it may sample."""
    traces = [expected_trace(trace_of(number)) for number in range(1, 7)]
    report = run(ScriptedReader({}, store=store), traces)
    count, what, hint = only(report, "missing")
    assert (count, what) == (12, "not in the store, which has nothing of 6 traces")
    assert "storage in memory" in hint
    assert ("block_retention" in hint) == (store == "tempo")
    assert "sampl" not in hint


def lose(
    lost: set[int],
    *,
    store: str,
    written: Callable[[int], int] = lambda number: number,
    start: bool = False,
    total: int = 20,
) -> str:
    """Return the hint for missing traces: ``written`` is the second of recording by the number, which ``start`` follows."""
    all_traces = {number: trace_of(number) for number in range(1, total + 1)}
    traces = [
        replace(
            expected_trace(spans),
            recorded_ns=START_NS + written(number) * NS_PER_S,
            start_ns=START_NS + (number * DAY_NS if start else 0),
        )
        for number, spans in all_traces.items()
    ]
    reader = store_of(*(spans for number, spans in all_traces.items() if number not in lost), store=store)
    report = run(reader, traces)
    assert report.missing == 2 * len(lost)
    return only(report, "missing")[2]


RESTARTED = "the store was restarted with a storage in memory after it had received them"
MAX_TRACES = "Jaeger's storage in memory keeps the last `max_traces` traces: raise it, or store on disk"


def test_the_oldest_written_traces_point_to_a_restart_or_to_eviction() -> None:
    """Jaeger without the traces that were written first was restarted empty, or evicts; it does not sample."""
    assert lose(set(range(1, 8)), store="jaeger") == f"{RESTARTED}; or {MAX_TRACES}"
    assert lose(set(range(1, 8)), store="own") == RESTARTED


def test_a_single_missing_trace_proves_nothing() -> None:
    """A sample of `run` may be one trace: that the store has nothing of it does not mean that it is empty."""
    hint = only(run(ScriptedReader({}), [expected_trace(trace_of(1))]), "missing")[2]
    assert all(cause in hint for cause in ("is empty", MAX_TRACES, "tail_sampling"))


def test_traces_of_one_transaction_may_be_evicted() -> None:
    """Evicted traces are recorded together with others that were kept; only times that contradict it rule that out."""
    hint = lose(set(range(1, 16)), store="jaeger", written=lambda number: 0 if number <= 51 else 60, total=60)
    assert hint.startswith(MAX_TRACES)
    assert "tail_sampling" in hint
    few = lose({18, 19}, store="jaeger")
    assert few.startswith(MAX_TRACES)
    assert "tail_sampling" in few
    late = lose({1, 2, 3, 4, 5, 20}, store="jaeger")  # one of them was recorded again
    assert late.startswith(MAX_TRACES)


def test_all_of_before_a_time_points_to_a_restart() -> None:
    """A store without anything of before a time was restarted, also if all was recorded at once; it does not sample."""
    for written in (lambda number: number, lambda _: 0):
        hint = lose(set(range(1, 87)), store="jaeger", written=written, start=True, total=211)
        assert hint.startswith(f"{RESTARTED}; or {MAX_TRACES}")
        assert "sampl" not in hint
    assert "sampl" in lose({1, 2, 3}, store="jaeger", start=True)


def test_a_file_and_phoenix_have_causes_of_their_own() -> None:
    """A file is not restarted, and Phoenix drops what it does not know how to store."""
    for lost in (set(range(1, 8)), {2, 5, 6, 9, 11, 14, 17, 20}, set(range(1, 21))):
        hint = lose(lost, store="otlp-file")
        assert hint.startswith("the file was truncated, rotated away or written by something else")
        assert "memory" not in hint
        assert ("tail_sampling" in hint) == (len(lost) == 8)
        hint = lose(lost, store="phoenix")
        assert "Phoenix drops spans with a value that is bytes" in hint
        assert hint.startswith("Phoenix") == (len(lost) < 20)
        assert "tail_sampling" not in hint


def test_traces_missing_at_random_point_to_sampling() -> None:
    """Traces that are missing all over the range are sampled by a Collector, and not evicted."""
    for store in ("jaeger", "tempo"):
        hint = lose({2, 5, 6, 9, 11, 14, 17, 20}, store=store)
        assert hint.startswith("`tail_sampling` or `probabilistic_sampler`")
        assert "max_traces" not in hint
        assert "restarted" not in hint


def test_times_that_do_not_tell_name_both_causes() -> None:
    """If all traces were recorded at once, Jaeger may evict or a Collector may sample."""
    hint = lose(set(range(1, 8)), store="jaeger", written=lambda _: 0)
    assert "max_traces" in hint
    assert "tail_sampling" in hint


def test_old_traces_point_to_retention_and_look_back() -> None:
    """If all older ones are missing, and no younger one, the age is named, with each store's settings for it."""
    assert "max_span_age" in lose(set(range(1, 8)), store="jaeger", start=True)
    hint = lose(set(range(1, 8)), store="tempo", start=True)
    assert "block_retention" in hint
    assert "ingestion_time_range_slack" in hint


def test_some_spans_of_a_trace_point_to_a_filter() -> None:
    """Traces that lack some spans were filtered, or met a limit of the store, as a large one in Tempo did."""
    spans = trace_of(1, 4)
    reader = store_of(spans[:2], store="tempo")
    assert only(run(reader, [expected_trace(spans)]), "missing") == (
        2,
        "not in the store, which has other spans of the same traces, in 1 trace",
        "`overrides.defaults.global.max_bytes_per_trace` of Tempo (5 MB by default): it drops or does not return the "
        "rest; or a `filter` processor in a Collector between drops spans",
    )
    assert only(run(store_of(spans[:2], store="phoenix"), [expected_trace(spans)]), "missing")[2].startswith("Phoenix")
    file = only(run(store_of(spans[:2], store="otlp-file"), [expected_trace(spans)]), "missing")[2]
    assert file.startswith("the file was truncated")
    assert "filter" in file
    large = trace_of(1, 4, attributes={"input": "x" * 1_300_000})
    report = run(store_of(large[:3], store="tempo"), [expected_trace(large)])
    assert "max_bytes_per_trace" in only(report, "missing")[2]
    assert "filter" in only(run(store_of(large[:3]), [expected_trace(large)]), "missing")[2]


# Cut and changed


def changed(change: Any, *, store: str = "jaeger", count: int = 3, **fields: Any) -> StoreReport:
    """Return the report on traces after ``change`` of each ``ResourceSpans``."""
    traces = [trace_of(number, **fields) for number in range(1, count + 1)]
    data = {}
    for spans in traces:
        told = messages(spans)
        for resource_spans in told.resource_spans:
            change(resource_spans)
        data[expected_trace(spans).trace_id] = told.SerializeToString()
    return run(ScriptedReader(data, store=store), [expected_trace(spans) for spans in traces], sent_of(*traces))


def each_span(change: Any) -> Any:
    return lambda it: [change(span) for scope in it.scope_spans for span in scope.spans]


def test_texts_cut_at_one_length_are_one_finding() -> None:
    """Cut texts are grouped by where they end, with up to a character less; Tempo's setting is named."""

    def cut(span: Span) -> None:
        for attribute in span.attributes:
            text = attribute.value.string_value.encode()[:2048].decode("utf-8", "ignore")
            attribute.value.string_value = text

    attributes = {"input": "x" * 5000, "output": "é" * 1024 + "x", "euro": "x" + "€" * 900}
    report = changed(each_span(cut), store="tempo", attributes=attributes)
    assert (report.cut, report.changed) == (6, 0)
    assert only(report, "cut") == (
        6,
        'have texts that end early, at 2,048 bytes: "euro", "input", "output"',
        "`distributor.max_attribute_bytes` of Tempo, 2,048 by default",
    )


def test_a_cut_between_characters_is_at_the_same_length() -> None:
    """A text whose last character did not fit ends a little earlier, and is cut by the same limit."""
    traces = [trace_of(1, attributes={"input": "x" * 3000}), trace_of(2, attributes={"input": "x" + "€" * 900})]
    cut = [trace_of(1, attributes={"input": "x" * 2048}), trace_of(2, attributes={"input": "x" + "€" * 682})]
    report = run(store_of(*cut, store="tempo"), [expected_trace(spans) for spans in traces], sent_of(*traces))
    assert only(report, "cut")[:2] == (4, 'have texts that end early, at 2,048 bytes: "input"')


def test_texts_cut_at_many_lengths_are_one_finding() -> None:
    """If no length is common, one finding says that texts end early at various lengths."""
    lengths = iter(range(10, 1000, 10))

    def cut(span: Span) -> None:
        span.attributes[0].value.string_value = "x" * next(lengths)

    report = changed(each_span(cut), count=40, attributes={"input": "x" * 5000})
    assert only(report, "cut")[:2] == (80, 'have texts that end early, at various lengths: "input"')


@pytest.mark.parametrize(
    ("change", "what", "hint"),
    [
        (lambda it: each_span(lambda span: span.attributes.pop(0))(it), '"input" is gone', "`attributes`"),
        (lambda it: it.resource.attributes.pop(0), '"service.name" of the resource is gone', "`resource`"),
        (
            lambda it: each_span(lambda span: setattr(span, "name", "x"))(it),
            "the name is changed",
            "a `span` or `transform`",
        ),
        (
            lambda it: (it.resource.attributes.add(key="input"), each_span(lambda span: span.attributes.pop(0))(it)),
            '"input" is gone, "input" of the resource was added',
            "`groupbyattrs`",
        ),
        (lambda it: each_span(lambda span: span.events.add(name="e"))(it), 'the event "e" was added', "`filter`"),
        (
            lambda it: each_span(lambda span: setattr(span, "end_time_unix_nano", 5))(it),
            "the end time is changed",
            "adjusts clocks",
        ),
    ],
)  # fmt: skip
def test_a_difference_is_said_once_with_what_may_cause_it(change: Any, what: str, hint: str) -> None:
    """A difference that all spans have is one finding, with at most ten samples."""
    report = changed(change, count=8)
    found = [one for one in report.findings if one.kind == "changed"]
    assert [(one.count, one.what) for one in found] == [(16, what)]
    assert hint in found[0].hint
    assert found[0].samples[0] == (hex_id(1), f"{1:016x}")
    assert len(found[0].samples) == 10


def test_numbered_attributes_are_one() -> None:
    """Attributes whose names differ in a number count as one in a finding."""
    keys = {f"gen_ai.prompt.{number}.content": "text" for number in range(9)}
    report = changed(each_span(lambda span: span.ClearField("attributes")), attributes=keys)
    assert only(report, "changed")[1] == '"gen_ai.prompt.*.content" is gone'


def test_findings_that_read_the_same_are_one() -> None:
    """Spans whose first four differences are the same are one finding, whatever the fifth is."""
    numbers = iter(range(1000))

    def add(span: Span) -> None:
        for key in ("a", "b", "c", "d", f"e{next(numbers)}"):
            span.attributes.add(key=key)

    count, what, _ = only(changed(each_span(add)), "changed")
    assert (count, what) == (6, '"a" was added, "b" was added, "c" was added, "d" was added, and more')


def test_copies_with_the_same_content_were_sent_twice() -> None:
    """The hint names every way to send a span twice, because the bridge does not know which it was."""
    spans = trace_of(1)
    report = run(store_of([*spans, spans[0]]), [expected_trace(spans)])
    assert only(report, "duplicated") == (
        1,
        "are stored more than once, with the same content",
        "sent more than once: by a second replay with another state, or again because an answer was lost",
    )


def test_findings_are_few_whatever_the_differences() -> None:
    """A hundred distinct differences are at most some fifty findings, and the counts stay exact."""
    numbers = iter(range(1000))

    def add(span: Span) -> None:
        span.attributes.add(key=f"key {next(numbers)}")

    report = changed(each_span(add), count=50)
    found = [one for one in report.findings if one.kind == "changed"]
    assert len(found) <= 50
    assert sum(one.count for one in found) == report.changed == 100
    assert found[0].what == "differ in other ways"


def test_hostile_names_stay_on_one_line() -> None:
    """A name with line breaks and characters that act on a terminal is escaped and short."""
    report = changed(each_span(lambda span: span.attributes.add(key="a\n\x1b[31m" + "x" * 500)))
    what = only(report, "changed")[1]
    assert "\n" not in what
    assert "\x1b" not in what
    assert len(what) < 120


# Netra


def broken() -> tuple[ScriptedReader, list[ExpectedTrace], list[list[ReadableSpan]]]:
    """Return a store that changed every second of ten traces."""
    traces = [trace_of(number) for number in range(1, 11)]
    stored = [trace_of(spans[0].context.trace_id, name="x") if at % 2 else spans for at, spans in enumerate(traces)]
    return store_of(*stored, concurrency=1), [expected_trace(spans) for spans in traces], traces


def test_an_intact_store_asks_netra_nothing() -> None:
    """Arrival is proved with Netra stopped: only spans that differ are asked for, trace by trace."""
    reader, expected, traces = broken()
    sent = sent_of(*traces)
    report = run(reader, expected, sent)
    assert (report.intact, report.changed) == (10, 10)
    assert sent.asked == [one.trace_id for one in expected[1::2]]
    intact = sent_of(*traces)
    assert run(store_of(*traces), expected, intact).exit_code == 0
    assert intact.calls == 0


def test_netra_that_fails_is_asked_once() -> None:
    """Without Netra, spans that differ are changed, and the finding says why nothing more is known."""
    reader, expected, traces = broken()
    sent = sent_of(*traces)
    sent.error = NetraUnavailable("Netra does not answer")
    report = run(reader, expected, sent)
    assert (report.intact, report.changed, report.error, sent.calls) == (10, 10, None, 1)
    assert only(report, "changed")[1] == (
        "differ from what was sent; Netra could not be asked how: Netra does not answer"
    )
    assert "Netra was not asked" in only(run(*broken()[:2]), "changed")[1]


@pytest.mark.parametrize("error", [NetraRejected("no"), NotKnown("none"), NetraNotFound("gone", status=404)])
def test_netra_that_fails_for_one_trace_is_asked_for_the_next(error: BridgeError) -> None:
    """An error that is about one trace says nothing about the next."""
    reader, expected, traces = broken()
    sent = sent_of(*traces)
    sent.error = error
    report = run(reader, expected, sent)
    assert (report.changed, sent.calls) == (10, 5)
    assert "Netra" in only(report, "changed")[1]


def test_spans_that_netra_lost_or_changed_are_said_to_be_so() -> None:
    """Netra cannot say how a span differs that it no longer has, or has otherwise now."""
    reader, expected, traces = broken()
    report = run(reader, expected, sent_of(*(spans[:1] for spans in traces)))
    assert [(one.count, one.what) for one in report.findings] == [
        (5, "the name is changed"),
        (5, "differ from what was sent; how is not known, because Netra no longer has them"),
    ]
    now = [trace_of(spans[0].context.trace_id, name="now") for spans in traces]
    assert "from what Netra has now" in only(run(reader, expected, sent_of(*now)), "changed")[1]


class LossyForm(PlainForm):
    """The form of a store that never keeps attributes, and adds some of its own."""

    keeps_all = False

    def reduce(self, resource_spans: ResourceSpans, span: Span) -> None:
        for attribute in [one for one in span.attributes if not one.key.startswith("own.")]:
            span.attributes.remove(attribute)

    def adds(self, key: str) -> bool:
        return key.startswith("own.")

    def limits(self) -> tuple[str, ...]:
        return ("attributes", "times")


def lossy() -> tuple[ScriptedReader, list[ExpectedTrace], list[list[ReadableSpan]]]:
    traces = [trace_of(number) for number in range(1, 4)]
    kept = [trace_of(number, attributes={"own.x": 1}) for number in range(1, 4)]
    kept[2] = trace_of(3, name="renamed", attributes={})
    return store_of(*kept, form=LossyForm()), [expected_trace(spans) for spans in traces], traces


def test_a_store_that_does_not_keep_all_is_compared_in_its_form() -> None:
    """A store is not blamed for what it never keeps, or adds: notes of the report say it."""
    reader, expected, traces = lossy()
    report = run(reader, expected, sent_of(*traces))
    assert (report.intact, report.changed) == (4, 2)
    assert report.notes == ["not compared, because Jaeger does not keep it: attributes; times"]
    assert only(report, "changed")[1] == "the name is changed"


def test_a_store_that_does_not_keep_all_needs_netra() -> None:
    """Its spans are not proved without Netra: that is the error of the report, and nothing is called changed."""
    reader, expected, traces = lossy()
    sent = sent_of(*traces)
    sent.error = NetraUnavailable("Netra does not answer")
    report = run(reader, expected, sent)
    assert report.error is sent.error
    assert (report.spans, report.exit_code, report.notes) == (0, 69, [])
    assert isinstance(run(reader, expected).error, ConfigurationError)


# Waiting, notes and errors


def test_only_traces_that_lack_spans_are_read_again() -> None:
    """A missing span is asked for once more after a second; a span that the destination rejected is not waited for."""
    whole, lacking, rejected = trace_of(1), trace_of(2), trace_of(3)
    clock = FakeClock()
    reader = store_of(whole, lacking[:1], rejected[:1])
    expected = [
        expected_trace(whole),
        expected_trace(lacking),
        expected_trace(rejected, dead_lettered=frozenset({2})),
    ]
    report = run(reader, expected, clock=clock)
    assert (report.intact, report.missing, report.dead_lettered) == (4, 1, 1)
    assert sorted(reader.read_ids) == [hex_id(1), hex_id(2), hex_id(2), hex_id(3)]
    assert clock.waits == [1.0]


def test_rejected_spans_count_as_what_the_store_has() -> None:
    """A destination that rejects a part of a request may keep some of its spans: these are intact, the others refused."""
    spans = trace_of(1, 4)
    report = run(store_of(spans[:3]), [expected_trace(spans, refused=frozenset({2, 3, 4}))])
    assert (report.intact, report.refused, report.missing, report.exit_code) == (3, 1, 0, 3)
    assert only(report, "refused")[1] == "were rejected by the destination, or may have been: it did not say which"


def test_a_store_has_a_minute_and_no_more_to_show_spans() -> None:
    """The wait ends a minute after the recording, also if that is in the future of this clock."""
    for ahead_s in (0, 3600):
        clock = FakeClock()
        recorded_ns = clock.now_ns() + ahead_s * NS_PER_S
        report = run(ScriptedReader({}), [expected_trace(trace_of(1), recorded_ns=recorded_ns)], clock=clock)
        assert report.missing == 2
        assert clock.elapsed_s == 60
        assert clock.waits[:5] == [1, 2, 4, 8, 16]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of waiting traces, the oldest is settled before a new one is read."""
    monkeypatch.setattr(waiting, "MAX_TRACES", 3)
    seen: list[VerifyProgress] = []
    traces = [expected_trace(trace_of(number)) for number in range(1, 31)]
    report = run(ScriptedReader({}, concurrency=2), traces, on_progress=seen.append)
    assert report.missing == 60
    assert max(one.waiting for one in seen) <= 3 + 2
    assert seen[-1][1:4] == (30, 60, 0)


def test_a_trace_that_is_not_returned_stops_no_other() -> None:
    """A store that has a trace and cannot return it leaves that trace out of all counts, and is the error at the end."""
    traces = [trace_of(number) for number in range(1, 6)]
    error = TraceNotReturned("too large")
    reader = store_of(*traces, concurrency=1, fails=lambda call: error if call == 2 else None)
    report = run(reader, [expected_trace(spans) for spans in traces])
    assert (report.traces, report.intact, report.spans) == (4, 8, 8)
    assert report.error is error
    assert report.notes == ["1 trace not returned by the store, so that their spans are not counted"]


def test_traces_of_an_older_version_are_proved_without_their_carriers() -> None:
    """Resources and scopes that were not recorded are not compared, which a note says."""
    spans = trace_of(1)
    reader = ScriptedReader({hex_id(1): request(trace_of(1, resource=Resource({})))})
    report = run(reader, [expected_trace(spans, carriers=False)])
    assert report.intact == 2
    assert "older version" in report.notes[0]


def two_services(front: str = "front", back: str = "back") -> list[ReadableSpan]:
    """Return a trace of two services, with three spans and one."""
    services = [front, front, front, back]
    return [
        make_span(number, trace_id=1, resource=Resource({"service.name": name}))
        for number, name in enumerate(services, 1)
    ]


@pytest.mark.parametrize(
    ("stored", "changed"),
    [(("back", "back"), 3), (("front", "front"), 1), (("back", "front"), 4), (("front", "back"), 0)],
)
def test_a_span_under_another_resource_of_its_trace_is_changed(stored: tuple[str, str], changed: int) -> None:
    """Each span has to have its own resource, and not just one of the trace, also where nothing but the state is asked."""
    spans = two_services()
    reader = ScriptedReader({hex_id(1): request(two_services(*stored))})
    for sent in (sent_of(spans), None):
        report = run(reader, [expected_trace(spans)], sent)
        assert (report.intact, report.changed) == (4 - changed, changed)


def test_copies_under_other_resources_do_not_have_the_same_content() -> None:
    """A second copy whose resource differs is another content, although its own bytes are equal."""
    spans = trace_of(1)
    for resource, words in (
        (Resource({"host.name": "other"}), "different content"),
        (spans[0].resource, "the same content"),
    ):
        other = request(trace_of(1, resource=resource))
        report = run(ScriptedReader({hex_id(1): request(spans) + other}), [expected_trace(spans)], sent_of(spans))
        assert (report.intact, report.duplicated) == (2, 2)
        assert [words in one.what for one in report.findings] == [True]


def test_counts_that_do_not_add_up_are_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report whose sum is wrong is never returned."""
    monkeypatch.setattr(verify_module, "ENTRY_BYTES", 6)
    with pytest.raises(BridgeError, match="a defect: the counts of store do not add up to its 4 spans"):
        run(store_of(trace_of(1)), [expected_trace(trace_of(1))])


def test_the_source_is_closed_when_the_store_fails() -> None:
    """Expected traces that nobody asks for any more are not left open."""
    closed = []

    class Watched(Expected):
        async def __aiter__(self) -> AsyncIterator[Sequence[ExpectedTrace]]:
            try:
                while True:
                    yield [expected_trace(trace_of(1))]
            finally:
                closed.append(True)

    async def verified() -> tuple[StoreReport, list[bool]]:
        reader = ScriptedReader({}, fails=lambda _: DestinationUnavailable("no"))
        report = await verify_store(reader, Watched([]), None, name="s", clock=FakeClock())
        return report, list(closed)

    report, closed_by_then = asyncio.run(verified())
    assert isinstance(report.error, DestinationUnavailable)
    assert closed_by_then == [True]


def test_a_cancelled_verification_ends_its_reads() -> None:
    """No task goes on after the caller gave up."""

    class Slow(ScriptedReader):
        async def read(self, trace_id: str, start_ns: int) -> bytes:
            await asyncio.Event().wait()
            raise AssertionError

    async def cancelled() -> set[asyncio.Task[Any]]:
        task = asyncio.create_task(
            verify_store(Slow({}), Expected([expected_trace(trace_of(1))] * 9), None, name="s", clock=FakeClock())
        )
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]  # it is a task

    assert asyncio.run(cancelled()) == set()


def test_a_large_trace_is_proved_in_a_thread() -> None:
    """It is as intact as a small one, and what differs in it is found as well."""
    spans = trace_of(1, attributes={"input": "x" * 1_200_000})
    assert run(store_of(spans), [expected_trace(spans)]).intact == 2
    cut = [*trace_of(1, attributes={"input": "x" * 1_100_000})[:1], spans[1]]
    report = run(store_of(cut), [expected_trace(spans)], sent_of(spans))
    assert (report.intact, report.cut) == (1, 1)


def test_two_verifications_at_once_give_the_same_answer() -> None:
    """Asking changes nothing: two at once, and one after them, find the same."""
    reader, expected, traces = broken()

    async def both() -> list[StoreReport]:
        works = [
            verify_store(reader, Expected(expected), sent_of(*traces), name="store", clock=FakeClock())
            for _ in range(2)
        ]
        return await asyncio.gather(*works)

    first, second = asyncio.run(both())
    later = run(reader, expected, sent_of(*traces))
    assert first.findings == second.findings == later.findings
    assert (first.intact, first.changed) == (second.intact, second.changed) == (later.intact, later.changed) == (10, 10)


# Search


def searched(count: int, hide: set[int], *, limit: int = 100) -> tuple[SearchedReader, list[ExpectedTrace], FakeClock]:
    traces = {number: trace_of(number, start_ns=START_NS + number * NS_PER_S) for number in range(1, count + 1)}
    reader = SearchedReader({hex_id(number): request(spans) for number, spans in traces.items()}, store="tempo")
    service = str(RESOURCE.attributes["service.name"])
    reader.index = {
        hex_id(number): Index(service, START_NS + number * NS_PER_S) for number in traces if number not in hide
    }
    reader.clock, reader.limit = FakeClock(), limit
    return reader, [expected_trace(spans) for spans in traces.values()], reader.clock


def test_hidden_traces_are_looked_for_until_the_deadline() -> None:
    """Traces that no search shows within twenty seconds are hidden: all their spans, with the settings of the store."""
    reader, expected, clock = searched(30, {4, 9}, limit=7)
    report = run(reader, expected, clock=clock)
    assert (report.intact, report.hidden, report.looked_for, report.exit_code) == (60, 4, 30, 3)
    assert 20 <= clock.elapsed_s < 40
    count, what, hint = only(report, "hidden")
    assert (count, what) == (4, "are stored, and a search by service and time does not show them")
    words = ("max_search_bytes_per_trace", "without a time range", "query_backend_after", "-search.enabled")
    assert all(word in hint for word in words)
    assert [hint.index(word) for word in words] == sorted(hint.index(word) for word in words)
    reader, expected, clock = searched(5, set())
    assert run(reader, expected, clock=clock).exit_code == 0
    assert (reader.calls, clock.waits) == (6, [])
    assert run(*searched(5, {1})[:2], search=False).hidden == 0


def test_more_than_a_thousand_traces_are_sampled() -> None:
    """A thousand at random are looked for, which a note says."""
    reader, expected, clock = searched(1100, set())
    report = run(reader, expected, clock=clock)
    assert (report.looked_for, report.hidden, report.traces) == (1000, 0, 1100)
    assert report.notes == ["1,000 traces at random were searched for, of 1,100 that are stored"]


def test_what_a_search_cannot_show_is_no_finding() -> None:
    """Too many traces at one time, and traces without a service, are not looked for, which notes say."""
    reader, expected, clock = searched(3, set())
    reader.limit = 0
    report = run(reader, expected, clock=clock)
    assert (report.hidden, report.looked_for) == (0, 0)
    assert "than a search shows" in report.notes[0]
    spans = trace_of(1, resource=Resource({}))
    reader, _, clock = searched(0, set())
    reader.traces = {hex_id(1): request(spans)}
    report = run(reader, [expected_trace(spans)], clock=clock)
    assert (report.intact, report.looked_for, report.notes) == (
        2,
        0,
        ["1 trace not searched for, because no resource in them has a service.name"],
    )


def test_a_search_that_returns_whole_traces_is_asked_for_narrow_ranges() -> None:
    """Traces that are apart are searched for one by one, and those whose ranges meet at once."""
    reader, expected, clock = searched(12, {4})
    reader.finds_whole_traces = True
    ranges: list[tuple[int, int]] = []
    find = reader.find

    async def noted(service: str, start_ns: int, end_ns: int) -> set[str] | None:
        ranges.append((start_ns, end_ns))
        return await find(service, start_ns, end_ns)

    reader.find = noted  # type: ignore[method-assign]
    assert run(reader, expected, clock=clock).hidden == 2
    assert len({one for one in ranges if one[1] - one[0] > 4 * NS_PER_S}) == 1  # a second apart, so their ranges meet
    apart = [trace_of(number, start_ns=START_NS + number * 60 * NS_PER_S) for number in range(1, 13)]
    reader.index = {hex_id(n + 1): Index("shop", (one[0].start_time or 0)) for n, one in enumerate(apart)}
    reader.traces = {hex_id(n + 1): request(one) for n, one in enumerate(apart)}
    ranges.clear()
    run(reader, [expected_trace(one) for one in apart], clock=clock)
    assert len({one[0] for one in ranges}) == 12
    assert max(end_ns - start_ns for start_ns, end_ns in ranges) < 4 * NS_PER_S


def test_a_search_that_is_switched_off_is_a_note() -> None:
    """The spans are proved all the same, and nobody says that they were found."""
    reader, expected, clock = searched(3, set())

    async def refuse(*_: object) -> set[str] | None:
        raise NoSearch("there is no search here")

    reader.find = refuse  # type: ignore[method-assign]
    report = run(reader, expected, clock=clock)
    assert (report.intact, report.looked_for, report.exit_code) == (6, 0, 0)
    assert "there is no search here" in report.notes[0]


def test_a_search_that_fails_is_the_error_of_the_report() -> None:
    """The counts of the proof stay."""
    reader, expected, clock = searched(3, set())
    reader._fails = lambda call: DestinationUnavailable("no") if call == 4 else None
    report = run(reader, expected, clock=clock)
    assert (report.intact, report.hidden, report.exit_code) == (6, 0, 69)
