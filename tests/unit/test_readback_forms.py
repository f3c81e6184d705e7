"""What the forms of stores restore and remove, and the reading of OTLP JSON."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.deliver import encode_span
from netra_otel_bridge.deliver.otlp.encode import encode_request
from netra_otel_bridge.deliver.otlp.json import encode_line
from netra_otel_bridge.readback.jaeger_form import WARNINGS, JaegerForm
from netra_otel_bridge.readback.otlp_json import NotOtlp, decode_json, traces_data
from netra_otel_bridge.readback.phoenix_form import PhoenixForm
from netra_otel_bridge.readback.plain_values import any_value, plain
from netra_otel_bridge.readback.reader import StoreForm
from netra_otel_bridge.readback.tempo_form import TempoForm
from tests.support.span_strategies import spans

START_NS = 1_796_043_398_522_359_914


def text(value: str) -> AnyValue:
    return AnyValue(string_value=value)


def traces(span: Span, **resource: AnyValue) -> TracesData:
    """Return a trace of one span, with attributes of its resource by name, where ``_`` stands for a dot."""
    data = TracesData()
    one = data.resource_spans.add()
    for key, value in resource.items():
        one.resource.attributes.add(key=key.replace("_", "."), value=value)
    one.scope_spans.add(spans=[span])
    return data


def only(data: TracesData) -> Span:
    return data.resource_spans[0].scope_spans[0].spans[0]


def reduced(form: StoreForm, data: TracesData) -> ResourceSpans:
    form.reduce(data.resource_spans[0], only(data))
    return data.resource_spans[0]


def warned(*warnings: str, end_ns: int = START_NS + 1) -> Span:
    """Return a span with an attribute of its own, and Jaeger's warnings after it."""
    values = ArrayValue(values=map(text, warnings))
    return Span(
        start_time_unix_nano=START_NS,
        end_time_unix_nano=end_ns,
        attributes=[KeyValue(key="own", value=text("x")), KeyValue(key=WARNINGS, value=AnyValue(array_value=values))],
    )


@pytest.mark.parametrize(
    ("original", "end_ns"),
    [
        ("2026-11-30 17:36:38.522359914 +0000 UTC", 1_796_060_198_522_359_914),
        ("2026-11-30 17:36:38.5 +0000 UTC", 1_796_060_198_500_000_000),
        ("1970-01-01 00:00:00 +0000 UTC", 0),
    ],
)
def test_jaegers_end_of_a_span_without_duration_is_undone(original: str, end_ns: int) -> None:
    """The end that was sent is in Jaeger's warning, which is removed; other warnings stay."""
    warning = (
        "Negative duration detected, sanitizing end timestamp. "
        f"Original end timestamp: {original}, adjusted to: 2026-11-30 17:36:38.522359915 +0000 UTC"
    )
    for others in ([], ["something else"]):
        data = traces(warned(*others, warning), service_name=text("a"))
        JaegerForm().restore(data)
        assert only(data).end_time_unix_nano == end_ns
        assert [one.key for one in only(data).attributes] == (["own", WARNINGS] if others else ["own"])


def test_jaegers_other_warnings_change_nothing() -> None:
    """An attribute of that name that does not tell of an end is the application's."""
    data = traces(warned("mine", end_ns=START_NS + 5), service_name=text("a"))
    before = data.SerializeToString()
    JaegerForm().restore(data)
    assert data.SerializeToString() == before


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("missing-service-name", None),
        ("empty-service-name", text("")),
        ("service-name-wrong-type", AnyValue(int_value=3)),
    ],
)
def test_jaegers_service_names_are_undone(stored: str, sent: AnyValue | None) -> None:
    """A service name that was absent or empty is restored, and one that is lost is equal once reduced."""
    there = traces(Span(), service_name=text(stored))
    there.resource_spans[0].schema_url = "lost"
    original = traces(Span(), **({} if sent is None else {"service_name": sent}))
    JaegerForm().restore(there)
    if stored != "service-name-wrong-type":
        assert there.resource_spans[0].resource == original.resource_spans[0].resource
    assert reduced(JaegerForm(), there) == reduced(JaegerForm(), original)


def test_jaegers_other_storages_and_its_own_sorting_are_no_difference() -> None:
    """Attributes and events are in any order, and remarks are not compared."""
    one, two = Span.Event(name="a", time_unix_nano=1), Span.Event(name="b", time_unix_nano=1)
    sent = traces(
        Span(attributes=[KeyValue(key="b", value=text("[1]")), KeyValue(key="a", value=text("x"))], events=[two, one])
    )
    stored = [KeyValue(key="a", value=text("x")), KeyValue(key="b", value=text("[1]"))]
    stored.append(KeyValue(key=WARNINGS, value=any_value(["clock skew adjustment disabled"])))
    there = traces(Span(attributes=stored, events=[one, two]))
    assert reduced(JaegerForm(), there) == reduced(JaegerForm(), sent)
    there = traces(
        Span(attributes=[KeyValue(key="a", value=text("x")), KeyValue(key="b", value=text("[1.0]"))], events=[one, two])
    )
    assert reduced(JaegerForm(), there) != reduced(JaegerForm(), sent)


@pytest.mark.parametrize(
    ("sent", "stored", "same"),
    [
        (["<a>", 1, 2.0, {"k": None}], '["\\u003ca\\u003e",1,2,{"k":null}]', True),
        ({"b": b"x", "a": [True]}, '{"a":[true],"b":"eA=="}', True),
        ([True], "[1]", False),
        ([1, 2], "[1]", False),
        ({"a": 2}, '{"a":1,"a":2}', False),
        (["a long text"], '["a lon', False),
        ("[1.0]", "[1]", False),
        ("[1]", "[1]", False),
        (1, "1", False),
    ],
)
def test_jaegers_other_storages_keep_lists_and_maps_as_json(sent: Any, stored: str, same: bool) -> None:
    """A list or a map is the same as its JSON text in any spelling; a text that was sent never becomes another."""
    assert JaegerForm().same(any_value(sent), text(stored)) is same
    assert not JaegerForm().same(text(stored), any_value(sent))


def test_tempos_form_knows_what_version_1_does_not_keep() -> None:
    """Flags, schema URLs, attributes of scopes and bytes at any depth are no difference; all else is."""
    value = AnyValue(array_value=ArrayValue(values=[text("a"), AnyValue(bytes_value=b"x")]))
    sent = traces(Span(flags=0x101, attributes=[KeyValue(key="raw", value=value)], links=[Span.Link(flags=1)]))
    sent.resource_spans[0].schema_url = "https://x"
    sent.resource_spans[0].scope_spans[0].scope.attributes.add(key="k", value=text("v"))
    value = AnyValue(array_value=ArrayValue(values=[text("a"), AnyValue()]))
    there = traces(Span(attributes=[KeyValue(key="raw", value=value)], links=[Span.Link()]))
    TempoForm().restore(there)
    assert only(there).links[0].flags == 1
    assert only(there).HasField("status")
    assert (
        reduced(TempoForm(), there).scope_spans[0].spans[0].attributes
        == reduced(TempoForm(), sent).scope_spans[0].spans[0].attributes
    )
    only(there).name = "other"
    assert reduced(TempoForm(), there) != reduced(TempoForm(), sent)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"a": {"b": {"c": 1}}, "none": None}, {"a.b.c": 1}),
        ({"list": [{"a": 1}, "lost", {"b": 2}], "plain": [1, None]}, {"list.0.a": 1, "list.1.b": 2, "plain": [1, None]}),
        ({"docs.1.text": "a", "docs.4.text": "b", "tags.1": "c"}, {"docs.0.text": "a", "docs.1.text": "b", "tags.1": "c"}),
        ({"docs.4.text": "a", "docs": "own"}, {"docs.4.text": "a", "docs": "own"}),
        ({"metadata": '{"a": [1], "b": {}}'}, {"metadata.a": [1]}),
        ({"metadata": "no json", "tool.parameters": "3"}, {"metadata": "no json", "tool.parameters": 3}),
        ({"llm.token_count.prompt": "7", "llm.token_count.total": 7.0}, {"llm.token_count.prompt": 7, "llm.token_count.total": 7}),
        ({"input.value": [1, 2]}, {"input.value": "[1, 2]", "input.mime_type": "application/json"}),
        ({" a . b ": 1}, {"a.b": 1}),
        ({"openinference.span.kind": "UNKNOWN"}, {}),
        ({"openinference.span.kind": "LLM"}, {"openinference.span.kind": "LLM"}),
    ],
)  # fmt: skip
def test_phoenix_stores_attributes_as_a_tree(sent: dict[str, Any], kept: dict[str, Any]) -> None:
    """What was sent and what Phoenix returns of it reduce to the same, and reducing twice changes nothing more."""
    for attributes in (sent, kept):
        span = Span(attributes=[KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()])
        data = traces(span)
        for _ in range(2):
            PhoenixForm().reduce(data.resource_spans[0], only(data))
            found = {one.key: plain(one.value) for one in only(data).attributes}
            assert found == kept


def test_phoenix_adds_only_names_of_openinference() -> None:
    """Attributes that Phoenix derives are no difference; others that nobody sent are."""
    form = PhoenixForm()
    assert all(map(form.adds, ("llm.model_name", "output.value", "openinference.span.kind", "session.id")))
    assert not any(map(form.adds, ("gen_ai.system", "mine", "llm", "sessions")))


@given(spans())
def test_otlp_json_reads_what_was_written(span: ReadableSpan) -> None:
    """A line of JSON and the protobuf of the same span are the same message, whatever is in it."""
    written = traces_data(decode_json(encode_line([span])))
    sent = TracesData.FromString(encode_request([span], [encode_span(span)]))
    assert str(written) == str(sent)


def test_otlp_json_reads_other_spellings() -> None:
    """Ids may be base64, enums names, numbers texts or numbers, and values absent."""
    document = {
        "batches": [
            {
                "instrumentationLibrarySpans": [
                    {
                        "instrumentationLibrary": {"name": "lib"},
                        "spans": [
                            {
                                "traceId": b64encode(bytes(15) + b"\x01").decode(),
                                "spanId": "00000000000000FF",
                                "kind": "SPAN_KIND_CLIENT",
                                "startTimeUnixNano": 5,
                                "endTimeUnixNano": "6",
                                "status": {"code": "STATUS_CODE_ERROR", "deprecatedCode": "UNKNOWN_ERROR"},
                                "attributes": [{"key": "n", "value": {"intValue": 3}}, {"key": "none"}],
                            }
                        ],
                    }
                ]
            }
        ]
    }
    data = traces_data(document)
    span = only(data)
    assert (span.trace_id[-1], span.span_id[-1], span.kind, span.status.code) == (1, 255, 3, 2)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (5, 6)
    assert [plain(one.value) for one in span.attributes] == [3, None]
    assert data.resource_spans[0].scope_spans[0].scope.name == "lib"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "nonsense", '{"resourceSpans": 3}', '{"resourceSpans": ["x"]}', "[" * 100_000]
    + [json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}) for span in (
        {"traceId": "zz"}, {"startTimeUnixNano": "now"}, {"name": 3}, {"kind": "SPAN_KIND_NEW"},
        {"attributes": [{"key": "a", "value": {"newValue": 1}}]}, {"attributes": [{"key": "a", "value": {"intValue": 2**70}}]},
    )],
)  # fmt: skip
def test_what_is_no_otlp_json_is_an_error(text: str) -> None:
    """Nothing that cannot be read becomes an empty or a shorter trace."""
    with pytest.raises(NotOtlp):
        traces_data(decode_json(text.encode()))
