"""Each way in which a span can differ counts as what it is, and is said in words."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status, StatusCode

from netra_otel_bridge.core.model.readback import Kind, StoreReport
from netra_otel_bridge.readback.jaeger_form import JaegerForm
from netra_otel_bridge.readback.values import Change, text_change, value_change
from netra_otel_bridge.readback.verify import verify_store
from tests.support.fake_clock import FakeClock
from tests.support.lies import CARRIER_LIES, INPUT, LIES, single
from tests.support.scripted_store import Expected, ScriptedReader, expected_trace, sent_of
from tests.support.spans import context, make_span

TEXT = "a text that is long enough"
WORDS = {
    "attribute gone": '"input" is gone',
    "attribute changed": '"input" is changed',
    "attribute added": '"added by a processor" was added',
    "text cut": 'have texts that end early, at 3 bytes: "input"',
    "text cut with a mark": 'have texts that end early, at 6 bytes: "input"',
    "text cut in a character": 'have texts that end early, at 3 bytes: "input"',
    "texts cut everywhere": 'have texts that end early, at 6 bytes: "input", "input" of an event, "input" of a link',
    "cut, and something gone": '"input" is cut, "input" of an event is gone',
    "event gone": 'the event "prompt" is gone',
    "event renamed": "the name of an event is changed",
    "event moved": "the time of an event is changed",
    "link gone": "a link is gone",
    "link attribute added": '"added by a processor" of a link was added',
    "renamed": "the name is changed",
    "other parent": "the parent is changed",
    "other status": "the status is changed",
    "counts of dropped": "the dropped counts are changed",
    "resource attribute gone": '"service.name" of the resource is gone',
    "other scope": "the scope name is changed",
    "other scope schema": "the scope schema URL is changed",
}


def sent() -> ReadableSpan:
    return make_span(
        1,
        parent=2,
        attributes={INPUT: TEXT, "messages": (TEXT, TEXT), "map": {"inner": TEXT, "n": 1}, "nan": float("nan")},
        events=[Event("prompt", {INPUT: TEXT}, 5), Event("twice", {}, 6), Event("twice", {}, 6)],
        links=[Link(context(7, 8), {INPUT: TEXT})],
        status=Status(StatusCode.ERROR, "it failed"),
        resource=Resource({"service.name": "a", "n": 1}, "https://schemas/1"),
        scope=InstrumentationScope("scope", "1", "https://schemas/2", {"a": 1}),
    )


def verified(data: bytes, *, carriers: bool = True) -> StoreReport:
    expected = expected_trace([sent()], carriers=carriers)
    reader = ScriptedReader({expected.trace_id: data})
    return asyncio.run(verify_store(reader, Expected([expected]), sent_of([sent()]), name="s", clock=FakeClock()))


@pytest.mark.parametrize("name", sorted(LIES))
def test_each_lie_counts_as_what_it_is(name: str) -> None:
    """One difference is one finding, which says what differs; resources and scopes count if they were recorded."""
    told = single(sent())
    LIES[name].tell(told)
    data = TracesData(resource_spans=[told]).SerializeToString()
    report = verified(data)
    assert getattr(report, LIES[name].kind) == report.spans == 1
    assert len(report.findings) == (0 if LIES[name].kind == "intact" else 1)
    if name in WORDS:
        assert report.findings[0].what == WORDS[name]
    without = verified(data, carriers=False)
    assert getattr(without, "intact" if name in CARRIER_LIES else LIES[name].kind) == 1


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ("abcdef", "abcdef", None),
        ("abcdef", "abc", Change("cut", 3)),
        ("abcdef", "abc…", Change("cut", 6, marked=True)),
        ("abcdef", "abc...", Change("cut", 6)),
        ("abcdef", "abc[truncated]", Change("cut", 14)),
        ("äöü", "äö\ufffd", Change("cut", 4)),
        ("äöü", "äö", Change("cut", 4)),
        ("ab…cdef", "ab…", Change("cut", 5, marked=True)),
        ("abc", "abc…", Change("changed")),
        ("abc", "abcd", Change("changed")),
        ("abc", "", Change("changed")),
        ("", "abc", Change("changed")),
        ("abc", "…", Change("changed")),
        ("abcdef", "bcd", Change("changed")),
        ("abcdef", "ABC…", Change("changed")),
    ],
)  # fmt: skip
def test_a_text_is_cut_if_it_is_the_beginning_of_what_was_sent(before: str, after: str, change: Change | None) -> None:
    """A mark at its end does not matter; a text that is empty, longer or another is changed."""
    assert text_change(before, after) == change


def test_values_are_compared_by_type_and_content() -> None:
    """Bytes may be cut; numbers and types are equal or not; two values that are no number are equal."""
    assert value_change(AnyValue(bytes_value=b"abc"), AnyValue(bytes_value=b"ab")) == Change("cut", 2, marked=True)
    assert value_change(AnyValue(bytes_value=b"abc"), AnyValue(bytes_value=b"")) == Change("changed")
    assert value_change(AnyValue(int_value=1), AnyValue(double_value=1)) == Change("changed")
    assert value_change(AnyValue(int_value=0), AnyValue(int_value=0)) is None
    assert value_change(AnyValue(double_value=float("nan")), AnyValue(double_value=-float("nan"))) is None
    assert value_change(AnyValue(double_value=0.0), AnyValue(double_value=-0.0)) == Change("changed")


def test_the_best_copy_counts() -> None:
    """The copy that differs least decides; the others are duplicated."""
    cut, gone = single(sent()), single(sent())
    LIES["text cut"].tell(cut)
    LIES["attribute gone"].tell(gone)
    for order in ([cut, gone], [gone, cut]):
        report = verified(TracesData(resource_spans=order).SerializeToString())
        assert (report.cut, report.changed, report.duplicated) == (1, 0, 1)
    reordered = single(sent())
    LIES["other order of attributes"].tell(reordered)
    report = verified(TracesData(resource_spans=[gone, reordered]).SerializeToString())
    assert (report.intact, report.duplicated) == (1, 1)


@pytest.mark.parametrize(
    ("value", "stored", "kind"),
    [
        ('[{"role":"user"}, 1]', '[{"role":"us', "cut"),
        ('{"a": 1,  "b": 2}', '{"b":2,"a":1}', "changed"),
        ('{"a":1,"a":2}', '{"a":2}', "changed"),
        ("[1.0]", "[1]", "changed"),
        (("x", "y"), '["x","y"]', "intact"),
        ({"x": 1.0, "a": True}, '{"a":true,"x":1}', "intact"),
        (("x", "y"), '["x","z"]', "changed"),
    ],
)
def test_jaeger_keeps_texts_as_they_were_sent(value: Any, stored: str, kind: Kind) -> None:
    """A text of JSON that is cut or spelled anew differs; only a list or a map equals its JSON text."""
    span = make_span(1, attributes={INPUT: value}, events=[Event("a", {INPUT: value}, 1)])
    told = single(span)
    for holder in (told.scope_spans[0].spans[0], told.scope_spans[0].spans[0].events[0]):
        holder.attributes[0].value.string_value = stored
    expected = expected_trace([span])
    reader = ScriptedReader(
        {expected.trace_id: TracesData(resource_spans=[told]).SerializeToString()}, form=JaegerForm()
    )
    report = asyncio.run(verify_store(reader, Expected([expected]), sent_of([span]), name="s", clock=FakeClock()))
    assert getattr(report, kind) == report.spans == 1


def test_a_service_name_that_jaeger_made_up_is_gone() -> None:
    """Jaeger writes ``missing-service-name`` for a name that was deleted on the way: the finding says that it is gone."""
    told = single(sent())
    told.resource.attributes[0].value.string_value = "missing-service-name"
    expected = expected_trace([sent()])
    reader = ScriptedReader(
        {expected.trace_id: TracesData(resource_spans=[told]).SerializeToString()}, form=JaegerForm()
    )
    report = asyncio.run(verify_store(reader, Expected([expected]), sent_of([sent()]), name="s", clock=FakeClock()))
    assert [one.what for one in report.findings] == ['"service.name" of the resource is gone']


def test_unknown_carriers_are_not_compared() -> None:
    """Resource and scope make no difference where the state does not know them, also if the span itself differs."""
    told = single(sent())
    for name in ("text cut", "other scope", "resource attribute gone"):
        LIES[name].tell(told)
    data = TracesData(resource_spans=[told]).SerializeToString()
    assert (verified(data).changed, verified(data, carriers=False).cut) == (1, 1)


def test_the_order_of_events_does_not_count() -> None:
    """Events in another order, and equal ones, are the same events; one fewer of two equal ones is gone."""
    told = single(sent())
    events = told.scope_spans[0].spans[0].events
    first = events.pop(0)
    events.append(first)
    assert verified(TracesData(resource_spans=[told]).SerializeToString()).intact == 1
    events.pop(0)
    report = verified(TracesData(resource_spans=[told]).SerializeToString())
    assert report.findings[0].what == 'the event "twice" is gone'
