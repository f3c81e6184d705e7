"""Values of a span for the GenAI histograms: which spans, values and labels."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.convert import SpanConverter, is_metered
from netra_otel_bridge.convert.genai_metrics import (
    HISTOGRAMS,
    MAX_LABEL_CHARS,
    OPERATION_DURATION,
    TOKENS_TYPE,
    TOKENS_USED,
    Measurement,
    may_be_measured,
    measurements,
)
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary
from tests.property.test_convert_properties import QUICK, SHAPES
from tests.support.converted import attributes, netra_span, recorded_spans

CALL: dict[str, Any] = {
    "kind": "GENERATION",
    "tenant_id": "acme",
    "environment": "prod",
    "model_name": "gpt-4o",
    "prompt_tokens": 42,
    "completion_tokens": 12,
    "start_time_ms": "1763251200000",
    "end_time_ms": "1763251201500.5",
    "attributes": '{"gen_ai.system": "az.ai.openai", "gen_ai.response.model": "gpt-4o-2024-08-06"}',
}
LABELS = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "azure.ai.openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "netra.tenant.id": "acme",
    "deployment.environment.name": "prod",
}


def measured(trace: TraceSummary | None = None, **columns: Any) -> list[Measurement]:
    return measurements(trace or TraceSummary(id="t"), netra_span(**columns))


def values(**columns: Any) -> dict[str, float]:
    """Return the values by token type, or ``duration``."""
    return {found.attributes.get(TOKENS_TYPE, "duration"): found.value for found in measured(**columns)}


def labels(**columns: Any) -> dict[str, str]:
    """Return the labels of the duration."""
    (found,) = (found for found in measured(**columns) if found.instrument == OPERATION_DURATION)
    return found.attributes


def test_a_call_to_a_model_gives_its_tokens_and_its_duration() -> None:
    """A call gives two token counts and its seconds, with the conventions' labels and Netra's two."""
    assert measured(**CALL) == [
        Measurement(TOKENS_USED, 42, {**LABELS, TOKENS_TYPE: "input"}),
        Measurement(TOKENS_USED, 12, {**LABELS, TOKENS_TYPE: "output"}),
        Measurement(OPERATION_DURATION, 1.5005, LABELS),
    ]


def test_what_is_not_known_is_not_zero() -> None:
    """A value that was not recorded, cannot be read or is negative gives nothing; a recorded 0 counts."""
    assert values(kind="GENERATION", start_time_ms=None, end_time_ms=None) == {}
    assert values(**{**CALL, "prompt_tokens": 0, "completion_tokens": None}) == {"input": 0, "duration": 1.5005}
    assert values(**{**CALL, "prompt_tokens": -1, "completion_tokens": 0.5}) == {"duration": 1.5005}


@pytest.mark.parametrize(
    ("columns", "seconds"),
    [
        ({"start_time_ms": "1000", "end_time_ms": "1250", "latency_ms": 7}, 0.25),
        ({"start_time_ms": None, "end_time_ms": "1250", "latency_ms": 7}, 0.007),
        ({"start_time_ms": "1000", "end_time_ms": None, "latency_ms": 7.5}, 0.0075),
        ({"start_time_ms": "2000", "end_time_ms": "1250", "latency_ms": None}, None),
        ({"start_time_ms": "0", "end_time_ms": "1763251200000", "latency_ms": None}, None),
        ({"start_time_ms": "1000", "end_time_ms": "1250", "has_error": True}, 0.25),
    ],
)
def test_the_duration_is_end_minus_start_else_the_latency(columns: dict[str, Any], seconds: float | None) -> None:
    """The duration comes from the times, else from Netra's latency; a start of 0 or an end before it is ignored."""
    assert values(kind="EMBEDDING", **columns).get("duration") == seconds


@pytest.mark.parametrize(
    "columns",
    [
        {"kind": "TOOL"},
        {"kind": "AGENT"},
        {"kind": "USAGE"},
        {"kind": "SPAN"},
        {"kind": None},
        {"kind": "CLIENT", "attributes": '{"netra.span.type": "TOOL"}'},
        {"kind": "CLIENT", "attributes": '{"netra.span.type": "TOOL", "gen_ai.operation.name": "chat"}'},
        {"kind": "SPAN", "attributes": '{"netra.usage": "[{}]"}'},
        {"kind": "SPAN", "attributes": "{broken"},
    ],
)
def test_only_calls_to_a_model_are_measured(columns: dict[str, Any]) -> None:
    """Tools, agents, entries of usage and other spans add nothing."""
    assert measured(prompt_tokens=5, **columns) == []


@pytest.mark.parametrize(
    ("columns", "operation"),
    [
        ({"kind": "GENERATION"}, "chat"),
        ({"kind": "generation"}, "chat"),
        ({"kind": "EMBEDDING"}, "embeddings"),
        ({"kind": "SPAN", "attributes": '{"netra.span.type": "Embedding"}'}, "embeddings"),
        ({"kind": 3, "attributes": '{"llm.request.type": "completion"}'}, "text_completion"),
        ({"kind": "CLIENT", "attributes": {"gen_ai.operation.name": "generate_content"}}, "generate_content"),
        ({"kind": "GENERATION", "attributes": '{"gen_ai.operation.name": 5}'}, "chat"),
        (
            {"kind": None, "attributes": '[{"key": "netra.span.type", "value": {"stringValue": "GENERATION"}}]'},
            "chat",
        ),
    ],
)
def test_the_operation_is_found_as_conversion_finds_it(columns: dict[str, Any], operation: str) -> None:
    """A call is recognized by Netra's type in column or attribute, or by the recorded operation."""
    assert labels(**columns)["gen_ai.operation.name"] == operation
    assert may_be_measured(netra_span(**columns))


def test_labels_are_what_the_delivered_span_carries() -> None:
    """For each call that netra-sdk recorded, labels equal the attributes of the converted span."""
    calls = [span for span in recorded_spans() if measurements(TraceSummary(id="t"), span)]
    assert len(calls) > 2
    for span in calls:
        converted = SpanConverter("genai").convert(span)
        carried = {**attributes(converted), **converted.resource.attributes}
        for found in measurements(TraceSummary(id="t"), span):
            for name in found.attributes.keys() - {TOKENS_TYPE}:
                assert found.attributes[name] == carried[name]
            missing = {name for name in LABELS if name in carried} - found.attributes.keys()
            assert not missing


def test_a_recorded_name_comes_before_netras_column_and_that_before_other_attributes() -> None:
    """The request model is the recorded one; Netra's column may have the response model."""
    recorded = '{"gen_ai.request.model": "asked", "netra.model": "other"}'
    assert labels(kind="GENERATION", model_name="column", attributes=recorded)["gen_ai.request.model"] == "asked"
    other = '{"netra.model": "other"}'
    assert labels(kind="GENERATION", model_name="column", attributes=other)["gen_ai.request.model"] == "column"
    assert labels(kind="GENERATION", attributes=other)["gen_ai.request.model"] == "other"


def test_tokens_are_netras_before_those_recorded() -> None:
    """Billed tokens are counted; without Netra's count, an attribute of any dialect is used."""
    recorded = '{"gen_ai.usage.prompt_tokens": 1, "gen_ai.usage.output_tokens": 2}'
    assert values(**{**CALL, "completion_tokens": None, "attributes": recorded}) == {
        "input": 42,
        "output": 2,
        "duration": 1.5005,
    }


@pytest.mark.parametrize(
    ("columns", "error_type"),
    [
        ({"status": "OK"}, None),
        ({"attributes": '{"error.type": "timeout"}'}, None),
        ({"has_error": True}, "_OTHER"),
        ({"status": "STATUS_CODE_ERROR", "attributes": '{"error.type": "timeout"}'}, "timeout"),
        ({"status": "ERROR", "events": '[{"attributes": {"exception.type": "RateLimitError"}}]'}, "RateLimitError"),
        ({"status": "ERROR", "events": "[broken"}, "_OTHER"),
    ],
)
def test_the_type_of_an_error_is_a_label_of_the_duration_alone(columns: dict[str, Any], error_type: str | None) -> None:
    """The error type is the recorded one, else the exception's; token counts have no error type."""
    found = measured(kind="GENERATION", prompt_tokens=1, **columns)
    assert [("error.type" in one.attributes, one.attributes.get("error.type")) for one in found] == [
        (False, None),
        (error_type is not None, error_type),
    ]


def test_the_trace_lends_its_environment_and_not_its_tenant() -> None:
    """The trace supplies a missing environment, but no tenant."""
    trace = TraceSummary(id="t", environment="staging", tenant_id="acme")
    assert labels(trace=trace, kind="GENERATION") == {
        "gen_ai.operation.name": "chat",
        "deployment.environment.name": "staging",
    }
    assert labels(trace=trace, kind="GENERATION", environment="prod")["deployment.environment.name"] == "prod"


def test_labels_are_short_and_can_be_written() -> None:
    """A long name is cut, a lone surrogate becomes its escape."""
    found = labels(kind="GENERATION", model_name="m" * 5000, tenant_id="\ud800")
    assert found["gen_ai.request.model"] == "m" * MAX_LABEL_CHARS
    assert found["netra.tenant.id"] == "\\ud800"


def test_the_buckets_are_those_of_the_conventions() -> None:
    """Bucket bounds are powers of four from 1 token, and of two from 10 ms."""
    tokens, seconds = HISTOGRAMS
    assert list(tokens.boundaries) == [
        1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
    ]  # fmt: skip
    assert list(seconds.boundaries) == [
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
    ]  # fmt: skip


@st.composite
def any_spans(draw: st.DrawFn) -> TraceSpan:
    """Draw a span of any JSON, usually a call to a model, sometimes as Netra sends it."""
    columns = {name: draw(shape) for name, shape in SHAPES.items()}
    columns["kind"] = draw(st.sampled_from(["GENERATION", "embedding", "SPAN", None]) | st.just(columns["kind"]))
    return TraceSpan(**columns)


@QUICK
@given(span=any_spans())
def test_no_json_makes_it_raise(span: TraceSpan) -> None:
    """For any span, labels are short UTF-8 texts, values are not negative, and only metered spans have any."""
    found = measurements(TraceSummary(id="t"), span)
    for one in found:
        assert one.value >= 0
        assert all(0 < len(value.encode()) <= 4 * MAX_LABEL_CHARS for value in one.attributes.values())
        assert "gen_ai.operation.name" in one.attributes
    assert not found or is_metered(span)
    assert not found or may_be_measured(span)


TYPES = st.sampled_from(["GENERATION", "embedding", "TOOL", "SPAN", "chat", "embeddings", "netra.span.type", "x" * 200])


@QUICK
@given(
    kind=st.sampled_from([None, "SPAN", "span", " Generation", "EMBEDDING", "CLIENT", 3, "AGENT", "usage", "word"]),
    recorded=st.dictionaries(
        st.sampled_from(["netra.span.type", "gen_ai.operation.name", "llm.request.type", "input"]), TYPES
    ),
)
def test_the_quick_look_misses_no_call(kind: str | int | None, recorded: dict[str, str]) -> None:
    """A span that the check rules out has no values, in any layout of attributes."""
    otlp = [{"key": key, "value": {"stringValue": value}} for key, value in recorded.items()]
    for layout in (recorded, otlp):
        for column in (layout, json.dumps(layout), json.dumps(layout, indent=4)):
            span = netra_span(kind=kind, attributes=column)
            assert may_be_measured(span) or not measurements(TraceSummary(id="t"), span)
