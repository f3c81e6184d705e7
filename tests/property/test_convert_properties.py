"""Conversion of any JSON never raises and loses nothing, and its spans can be sent."""

from __future__ import annotations

import base64
import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.convert import Privacy, SpanConverter
from netra_otel_bridge.convert.odd_values import holds_not_finite
from netra_otel_bridge.convert.spans import Profile
from netra_otel_bridge.core.attribute_names import NOTES
from netra_otel_bridge.core.model.netra import TraceSpan
from netra_otel_bridge.deliver import encode_span
from netra_otel_bridge.deliver.otlp.json import encode_line
from tests.support.converted import SPAN_ID, START_MS, TRACE_ID, attributes
from tests.support.examples import examples, some, spread
from tests.support.stock import stock_request

QUICK = settings(
    max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
PROFILES: tuple[Profile, ...] = ("raw", "genai", "openinference", "both")
POLICIES = (Privacy(), Privacy(content="drop", user="drop"), Privacy(pii="drop-content", user="hash"))
INT64 = st.integers(-(2**63), 2**63 - 1)
HUGE = 10**100_000
huge_integers = st.sampled_from([1, -1]).map(lambda sign: sign * 10**5000)
"""More digits than Python prints. Not sampled directly, because Hypothesis prints its strategies."""
INTERESTING_KEYS = (
    "a", "", "input", "output", "gen_ai.system", "gen_ai.prompt.0.content", "gen_ai.prompt.0.role", "netra.span.type",
    "gen_ai.completion.0.finish_reason", "gen_ai.completion.0.tool_calls.0.arguments", "gen_ai.input.messages",
    "llm.request.type", "gen_ai.usage.prompt_tokens", "netra.instrumentation.name", "library.version", "netra.user_id",
    "service.name", "netra.error_message", "code", "message", "key", "value", "name", "attributes", "time_unix_nano",
    "trace_id", "span_id", "context", "stringValue", "intValue", "doubleValue", "boolValue", "bytesValue", "arrayValue",
    "kvlistValue", "values", "entity_type", "exception.type", "role", "parts", "type", "content",
)  # fmt: skip
any_text = st.text(max_size=12) | st.sampled_from(["\ud800", "a\x00b", "1", "OK", "chat", "0" * 16, "ab" * 16, "AGENT"])
any_text |= st.characters(categories=["Cs"])
any_keys = st.sampled_from(INTERESTING_KEYS) | any_text
any_scalar = (
    st.none() | st.booleans() | INT64 | st.integers() | st.floats() | any_text | huge_integers
)  # fmt: skip
any_json = st.recursive(
    any_scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_keys, inner, max_size=4), max_leaves=12
)
containers = st.lists(any_json, max_size=4) | st.dictionaries(any_keys, any_json, max_size=5)


def as_text(value: Any) -> str:
    return json.dumps(value) if not _has_huge(value) else '{"huge": ' + "9" * 5000 + "}"


def _has_huge(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_huge, value.values()))
    if isinstance(value, list):
        return any(map(_has_huge, value))
    return isinstance(value, int) and abs(value) >= 10**4300


json_columns = st.none() | containers | containers.map(as_text) | containers.map(lambda v: as_text(v)[:-1]) | any_text
numbers = st.none() | INT64 | st.floats() | st.sampled_from([-1, 0]) | huge_integers
instants = st.none() | any_text | numbers | st.integers(-(10**20), 10**20).map(str) | st.datetimes().map(str)
flags = st.none() | st.booleans()
texts = st.none() | any_text
kinds = (
    st.none()
    | st.sampled_from(["GENERATION", "tool", "AGENT", "EMBEDDING", "SPAN_KIND_SERVER", 3])
    | any_text
    | huge_integers
)
SHAPES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("id", "trace_id"), any_text | st.sampled_from([SPAN_ID, TRACE_ID])),
    **dict.fromkeys(("name", "parent_span_id", "organisation_id", "project_id", "session_id", "tenant_id"), texts),
    **dict.fromkeys(("user_id", "environment", "model_name"), texts),
    **dict.fromkeys(("prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens", "latency_ms"), numbers),
    **dict.fromkeys(("prompt_tokens_cost", "completion_tokens_cost", "cached_tokens_cost", "total_cost"), numbers),
    **dict.fromkeys(("has_pii", "has_violation", "has_error"), flags),
    **dict.fromkeys(("start_time_ms", "end_time_ms", "created_at"), instants),
    **dict.fromkeys(("attributes", "events", "links", "resources", "metadata"), json_columns),
    **dict.fromkeys(("pii_entities", "pii_actions", "violations", "violation_actions"), json_columns),
    "status": json_columns | st.sampled_from(["OK", 1, 2]) | huge_integers,
    "kind": kinds,
}
odd_spans = st.builds(TraceSpan, **SHAPES)


@contextmanager
def no_log_record() -> Iterator[None]:
    """Fail on any log record: the stock encoder drops what it cannot encode, and logs it."""
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage()[:200])  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    assert records == []


def allowed(value: Any, depth: int = 0) -> bool:
    """Return whether a value has an OTLP type, no deeper than parsers allow."""
    if isinstance(value, tuple):
        return depth < 20 and all(allowed(item, depth + 1) for item in value)
    if isinstance(value, dict):
        return depth < 20 and all(type(key) is str and allowed(item, depth + 1) for key, item in value.items())
    if type(value) is int:
        return -(2**63) <= value < 2**63
    if type(value) is str:
        value.encode()
        return True
    return type(value) in (bool, float, bytes)


def check(span: ReadableSpan) -> None:
    """Assert what holds for any converted span."""
    assert 0 <= span.start_time <= span.end_time <= 2**63 - 1  # type: ignore[operator]  # both are set
    assert 0 < span.context.trace_id < 2**128
    assert 0 < span.context.span_id < 2**64
    assert span.parent is None or (0 < span.parent.span_id < 2**64 and span.parent.span_id != span.context.span_id)
    span.name.encode()
    for holder in (span, span.resource, *span.events, *span.links):
        for key, value in (holder.attributes or {}).items():
            key.encode()
            assert allowed(value), (key, value)
    for event in span.events:
        event.name.encode()
        assert 0 <= event.timestamp <= 2**63 - 1
    with no_log_record():
        request = encode_spans([span])
        encoded = request.SerializeToString()
        json.loads(encode_line([span]))
    assert type(request).FromString(encoded).SerializeToString() == encoded
    assert len(request.resource_spans[0].scope_spans[0].spans[0].attributes) == len(span.attributes or {})
    sent = stock_request([span]).resource_spans[0].scope_spans[0].spans[0]
    assert (sent.flags, {link.flags for link in sent.links} <= {1}) == (1, True)
    assert type(sent).FromString(encode_span(span)).SerializeToString() == sent.SerializeToString()


@QUICK
@given(span=odd_spans, profile=st.sampled_from(PROFILES), privacy=st.sampled_from(POLICIES))
def test_any_json_in_every_column_makes_a_span_that_can_be_sent(
    span: TraceSpan, profile: Profile, privacy: Privacy
) -> None:
    """Conversion never raises, is deterministic, and its spans are encoded without a log record."""
    one, two = (SpanConverter(profile, privacy, usage_cost=True).convert(span) for _ in range(2))
    check(one)
    assert encode_line([one]) == encode_line([two])
    assert one.context == two.context
    assert (one.parent and one.parent.span_id) == (two.parent and two.parent.span_id)


def nested(levels: int, inner: Any = 1) -> dict[str, Any]:
    for level in range(levels):
        inner = {"a": inner} if level % 2 else [inner]
    return {"k": inner}


def otlp_nested(levels: int) -> list[dict[str, Any]]:
    value: dict[str, Any] = {"intValue": "1"}
    for level in range(levels):
        kvlist = {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
        value = kvlist if level % 2 else {"arrayValue": {"values": [value]}}
    return [{"key": "k", "value": value}]


COLUMNS = ("attributes", "events", "links", "resources", "metadata", "pii_actions", "status")
EXTREMES = {
    "nested 5000": nested(5000),
    "nested 500": nested(500),
    "nested 5000 in text": '{"a":' * 5000 + "1" + "}" * 5000,
    "nested 300 in text": json.dumps(nested(300)),
    "otlp 5000 deep": otlp_nested(5000),
    **{f"otlp {levels} deep": otlp_nested(levels) for levels in (14, 15, 16, 17, 18, 33, 40)},
    "otlp 150 deep in text": json.dumps(otlp_nested(150)),
    "10^4 attributes": {f"k{number}": number for number in range(10_000)},
    "10^4 attributes in text": json.dumps({f"k{number}": [number] for number in range(10_000)}),
    "10^5 digits": {"k": HUGE, "n": {"k": [HUGE, "x"]}},
    "10^5 digits in text": '{"k": ' + "7" * 100_000 + ', "n": [[' + "7" * 100_000 + "]]}",
    "NaN": '{"k": NaN, "n": [NaN, "x"], "i": -Infinity}',
    "NUL": {"a\x00": "\x00", "n": ["\x00", 1]},
    "lone surrogates in text": '{"a\\ud800": "\\udfff", "n": ["\\ud800", 1]}',
    "empty key": {"": 1, "x": {"": ""}},
}


@pytest.mark.parametrize(("column", "name"), spread(3, COLUMNS, EXTREMES))
def test_extremes_in_each_column(column: str, name: str) -> None:
    """Extreme depths, lengths and numbers are handled in every JSON column."""
    columns: dict[str, Any] = {"id": SPAN_ID, "trace_id": TRACE_ID, "start_time_ms": START_MS, column: EXTREMES[name]}
    for profile in some(1, ("both", "raw")):
        check(SpanConverter(profile).convert(TraceSpan(**columns)))  # type: ignore[arg-type]  # literals


plain_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
plain_scalar = plain_text | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False)
plain_lists = st.sampled_from([plain_text, st.booleans(), INT64, st.floats(allow_nan=False, allow_infinity=False)])
plain_values = plain_scalar | plain_lists.flatmap(lambda kind: st.lists(kind, max_size=4))


@QUICK
@given(
    recorded=st.dictionaries(plain_text, plain_values, max_size=8),
    profile=st.sampled_from(PROFILES),
    text=st.booleans(),
)
@example(recorded={"netra.bridge.notes": "mine", "gen_ai.request.model": "mine", "": 0}, profile="both", text=False)
def test_nothing_with_an_attribute_type_is_lost_or_changed(
    recorded: dict[str, Any], profile: Profile, text: bool
) -> None:
    """Each attribute of a well-formed span is preserved with its type; profile raw adds none."""
    column = json.dumps(recorded) if text else recorded
    span = TraceSpan(id=SPAN_ID, trace_id=TRACE_ID, start_time_ms=START_MS, latency_ms=1, attributes=column, resources=column,
                     kind="GENERATION", session_id="s", user_id="u", total_cost=1.0, environment="e", metadata={"a": 1})  # fmt: skip
    converted = SpanConverter(profile).convert(span)
    for found in (attributes(converted), dict(converted.resource.attributes)):
        for key, value in recorded.items():
            assert found[key] == (tuple(value) if isinstance(value, list) else value)
            assert type(found[key]) is (tuple if isinstance(value, list) else type(value))
        if profile == "raw":
            assert found.keys() == recorded.keys()


@st.composite
def any_values(draw: st.DrawFn, depth: int = 0) -> tuple[dict[str, Any], Any]:
    """Draw an OTLP ``AnyValue`` in JSON, in either spelling, with its Python value."""
    kind = draw(
        st.sampled_from(("string", "bool", "int", "double", "bytes", "array", "kvlist")[: 5 if depth > 3 else 7])
    )
    camel = draw(st.booleans())
    name = f"{kind}Value" if camel else f"{kind}_value"
    match kind:
        case "string":
            value = draw(plain_text)
            return {name: value}, value
        case "bool":
            flag = draw(st.booleans())
            return {name: flag}, flag
        case "int":
            number = draw(INT64)
            return {name: draw(st.sampled_from([number, str(number)]))}, number
        case "double":
            double = draw(st.floats(allow_nan=False))
            return {name: double if math.isfinite(double) else ("Infinity" if double > 0 else "-Infinity")}, double
        case "bytes":
            data = draw(st.binary(max_size=8))
            return {name: base64.b64encode(data).decode()}, data
        case "array":
            items = draw(st.lists(any_values(depth + 1), max_size=3))
            return {name: {"values": [given for given, _ in items]}}, tuple(value for _, value in items)
        case _:
            entries = draw(st.dictionaries(plain_text, any_values(depth + 1), max_size=3))
            given_entries = [{"key": key, "value": given} for key, (given, _) in entries.items()]
            return {name: {"values": given_entries}}, {key: value for key, (_, value) in entries.items()}


def same(one: Any, other: Any) -> bool:
    """Return whether values and all nested types are equal."""
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@QUICK
@given(recorded=st.dictionaries(plain_text, any_values(), max_size=5), text=st.booleans())
def test_otlp_of_every_type_is_equal_after_conversion(recorded: dict[str, Any], text: bool) -> None:
    """The OTLP form preserves attributes, events, links and resource, all types at all depths."""
    otlp = [{"key": key, "value": given} for key, (given, _) in recorded.items()]
    expected = {key: value for key, (_, value) in recorded.items()}
    events = [{"name": "e", "time_unix_nano": "1", "attributes": otlp}]
    links = [{"trace_id": TRACE_ID, "span_id": SPAN_ID, "attributes": otlp}]
    columns: dict[str, Any] = {"attributes": otlp, "events": events, "links": links, "resources": otlp}
    if text:
        columns = {name: json.dumps(column) for name, column in columns.items()}
    span = SpanConverter("raw").convert(
        TraceSpan(id=SPAN_ID, trace_id=TRACE_ID, start_time_ms=START_MS, end_time_ms=START_MS, **columns)
    )
    for holder in (span, span.resource, span.events[0], span.links[0]):
        found = dict(holder.attributes or {})
        notes = found.pop(NOTES, ())
        assert all(note.startswith("not_finite:") for note in notes)
        assert same(found, expected)
    check(span)


@QUICK
@given(span=odd_spans, profile=st.sampled_from(PROFILES[1:]), privacy=st.sampled_from(POLICIES))
def test_no_number_that_consumers_cannot_show_leaves_but_with_raw(
    span: TraceSpan, profile: Profile, privacy: Privacy
) -> None:
    """With any profile but raw, no attribute of a span, its events, links or resource is or holds NaN or an infinity."""
    converted = SpanConverter(profile, privacy, usage_cost=True).convert(span)
    for holder in (converted, converted.resource, *converted.events, *converted.links):
        assert not holds_not_finite(dict(holder.attributes or {}))


@QUICK
@given(column=containers | containers.map(as_text))
def test_a_column_in_any_form_is_kept_somewhere(column: Any) -> None:
    """Each key of an object becomes an attribute unless null; any other value is kept as text."""
    span = SpanConverter("raw").convert(
        TraceSpan(id=SPAN_ID, trace_id=TRACE_ID, start_time_ms=START_MS, end_time_ms=START_MS, attributes=column)
    )
    found = attributes(span)
    decoded = json.loads(column, parse_int=str) if isinstance(column, str) else column
    if isinstance(decoded, dict):
        for key, value in decoded.items():
            assert (key.encode("utf-8", "backslashreplace").decode() in found) == (value is not None)
    elif decoded and not all(isinstance(item, dict) and "key" in item for item in decoded):
        assert "netra.bridge.original.attributes" in found
