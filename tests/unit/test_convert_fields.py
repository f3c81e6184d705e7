"""Ids, times, kinds and status in every form that ``docs/netra-api.md`` ("Not known: be lenient") accepts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from netra_otel_bridge.convert import SpanConverter, instant_ns, is_no_id
from netra_otel_bridge.convert.fields import span_kind
from netra_otel_bridge.core.model.netra import TraceSummary
from tests.support.converted import SPAN_ID, START_NS, TRACE_ID, attributes, convert, netra_span

UUID = "0AF76519-16cd-43dd-8448-eb211c80319c"


def derived(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big")


def notes(span: Any) -> tuple[str, ...]:
    return tuple(attributes(span).get("netra.bridge.notes", ()))


@pytest.mark.parametrize("text", [TRACE_ID, TRACE_ID.upper(), UUID])
def test_trace_ids_of_32_hex_digits_and_uuids_are_the_applications_own(text: str) -> None:
    """A trace id in hex of either case, or as a UUID, is kept without a note."""
    span = convert("raw", trace_id=text)
    assert span.context.trace_id == int(TRACE_ID, 16)
    assert attributes(span) == {}


@pytest.mark.parametrize("text", ["f0a1b2c3d4e5f607", "F0A1B2C3D4E5F607", f"{0:016}f0a1b2c3d4e5f607"])
def test_a_trace_id_of_64_bits_is_padded_with_zeros(text: str) -> None:
    """A trace id of 16 hex digits is the lower half of one of 32, as in other tracers, and needs no note."""
    span = convert("raw", trace_id=text)
    assert span.context.trace_id == 0xF0A1B2C3D4E5F607
    assert attributes(span) == {}


@pytest.mark.parametrize("text", ["trace-1", "0" * 32, "0" * 16, "ab" * 12, "ü" * 32, "0" * 31 + "g"])
def test_other_trace_ids_are_derived_and_the_original_is_kept(text: str) -> None:
    """Any other trace id, zeros too, becomes the first 16 bytes of its SHA-256; the text is kept."""
    span = convert("raw", trace_id=text)
    assert span.context.trace_id == derived(text, 16)
    assert attributes(span)["netra.bridge.original.trace_id"] == text
    assert notes(span) == ("trace_id_derived",)


@pytest.mark.parametrize("text", ["span-1", "0" * 16, UUID, "٠" * 15 + "1", "0x" + "1" * 14])
def test_other_span_ids_are_derived_and_the_original_is_kept(text: str) -> None:
    """A span id that is not 16 hex digits, or is zero, becomes the first 8 bytes of its SHA-256."""
    span = convert("raw", id=text)
    assert span.context.span_id == derived(text, 8)
    assert attributes(span)["netra.bridge.original.span_id"] == text
    assert notes(span) == ("span_id_derived",)


def test_a_derived_parent_is_the_derived_span() -> None:
    """Parent ids follow the same rule as span ids, so the tree stays connected."""
    parent, child = SpanConverter("raw").convert_trace(
        None, [netra_span(id="root"), netra_span(id="leaf", parent_span_id="root")]
    )
    assert child.parent is not None
    assert child.parent.span_id == parent.context.span_id
    assert child.parent.trace_id == parent.context.trace_id
    assert attributes(child)["netra.bridge.original.parent_span_id"] == "root"


@pytest.mark.parametrize("text", [None, "", "0" * 16, "00000000-0000-0000-0000-000000000000"])
def test_no_parent_in_any_spelling_is_a_root(text: str | None) -> None:
    """Absent, empty and zero parents mean a root, without a note."""
    span = convert("raw", parent_span_id=text)
    assert span.parent is None
    assert is_no_id(text)
    assert attributes(span) == {}


def test_a_span_that_is_its_own_parent_is_a_root_and_marked() -> None:
    """A span that is its own parent becomes a root; the parent is kept as text and noted."""
    span = convert("raw", parent_span_id=SPAN_ID.upper())
    assert span.parent is None
    assert attributes(span)["netra.bridge.original.parent_span_id"] == SPAN_ID.upper()
    assert notes(span) == ("parent_is_self",)


def test_a_missing_parent_is_kept_and_counted() -> None:
    """A parent missing from the trace stays the parent; the converter counts it."""
    converter = SpanConverter("raw")
    (span,) = converter.convert_trace(None, [netra_span(parent_span_id="00f067aa0ba902b7")])
    assert span.parent is not None
    assert span.parent.span_id == 0x00F067AA0BA902B7
    assert attributes(span) == {}
    assert converter.counts["parent_missing"] == 1


def test_a_parent_in_another_letter_case_is_not_missing() -> None:
    """Ids are compared as they are sent: hex digits in either case are one id, other texts are not."""
    converter = SpanConverter("raw")
    converter.convert_trace(
        None,
        [
            netra_span(id="00F067AA0BA902B7"),
            netra_span(id="root"),
            netra_span(id="1" * 16, parent_span_id="00f067aa0ba902b7"),
            netra_span(id="2" * 16, parent_span_id="Root"),
        ],
    )
    assert converter.counts["parent_missing"] == 1


@pytest.mark.parametrize(
    ("trace_id", "span_id"), [("run-7", "step-1"), (UUID, UUID), (TRACE_ID, "span 1"), ("7", "a" * 16)]
)
@pytest.mark.parametrize("form", [lambda trace, span: {"trace_id": trace, "span_id": span},
                                  lambda trace, span: {"context": {"traceId": trace, "spanId": span}}])  # fmt: skip
def test_a_link_leads_to_the_span_whose_ids_it_names(
    trace_id: str, span_id: str, form: Callable[[str, str], dict[str, Any]]
) -> None:
    """Ids of links are derived as those of spans are; the column is kept and noted."""
    target = convert("raw", trace_id=trace_id, id=span_id)
    converter = SpanConverter("raw")
    span = converter.convert(netra_span(links=[form(trace_id, span_id)]))
    (link,) = span.links
    assert (link.context.trace_id, link.context.span_id) == (target.context.trace_id, target.context.span_id)
    assert notes(span) == ("link_ids_derived",)
    assert span_id in attributes(span)["netra.bridge.original.links"]
    assert (converter.counts["link_ids_derived"], converter.counts["links_dropped"]) == (1, 0)


def test_a_span_context_is_sampled_and_not_remote() -> None:
    """Spans and parents have a sampled context; nothing says where the parent ran."""
    span = convert("raw", parent_span_id="00f067aa0ba902b7")
    for context in (span.context, span.parent):
        assert context is not None
        assert context.trace_flags.sampled
        assert not context.is_remote


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1763251200000", 1_763_251_200_000_000_000),
        ("1763251200000.", 1_763_251_200_000_000_000),
        ("1763251200000.123456", START_NS),
        ("1763251200000.1234567", START_NS),
        (" 1763251200000.5 ", 1_763_251_200_000_500_000),
        (1763251200000, 1_763_251_200_000_000_000),
        (1763251200000.5, 1_763_251_200_000_500_000),
        ("1763251200000123", 1_763_251_200_000_123_000),
        ("1763251200000123456", START_NS),
        (1763251200000123456, START_NS),
        ("0", 0),
        ("-1", -1_000_000),
        ("2025-11-16T00:00:00Z", 1_763_251_200_000_000_000),
        ("2025-11-16T00:00:00.123z", 1_763_251_200_123_000_000),
        ("2025-11-16T00:00:00.000123456Z", START_NS),
        ("2025-11-16T00:00:00.0001234567Z", START_NS),
        ("2025-11-16T02:00:00.000123456+02:00", START_NS),
        ("2025-11-15T19:30:00.000123456-0430", START_NS),
        ("2025-11-16 00:00:00.000123", 1_763_251_200_000_123_000),
        ("2025-11-16 00:00:00", 1_763_251_200_000_000_000),
        ("2025-11-16T00:00:00", 1_763_251_200_000_000_000),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
        ("soon", None),
        ("2025-02-30T00:00:00Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_every_documented_time_is_read_to_the_nanosecond(value: Any, expected: int | None) -> None:
    """Milliseconds with or without a fraction, micro- and nanoseconds, ISO 8601 with ``Z``, offset or neither."""
    assert instant_ns(value) == expected


def test_start_and_end_come_out_as_they_were() -> None:
    """Start and end are exact, without a note."""
    span = convert("raw", end_time_ms="1763251200001.123457")
    assert (span.start_time, span.end_time) == (START_NS, START_NS + 1_000_001)
    assert attributes(span) == {}


def test_latency_is_used_only_where_the_end_is_missing() -> None:
    """``latency_ms`` replaces a missing end, and only a missing one."""
    assert convert("raw", end_time_ms=None, latency_ms=1.5).end_time == START_NS + 1_500_000
    assert convert("raw", end_time_ms="", latency_ms=2).end_time == START_NS + 2_000_000
    assert convert("raw", latency_ms=7).end_time == START_NS


@pytest.mark.parametrize("latency", [None, -1, float("nan"), 10**30, 101 * 365 * 86_400_000])
def test_without_end_and_latency_a_span_ends_where_it_starts_and_says_so(latency: Any) -> None:
    """Without end and latency, the duration is 0."""
    span = convert("raw", end_time_ms=None, latency_ms=latency)
    assert span.end_time == START_NS
    assert notes(span) == ("end_time_missing",)


def test_an_end_before_the_start_is_clamped_and_marked() -> None:
    """An end before the start gives a duration of 0; the recorded end is kept as text."""
    span = convert("raw", end_time_ms="1763251199999")
    assert span.end_time == span.start_time == START_NS
    assert attributes(span)["netra.bridge.original.end_time_ms"] == "1763251199999"
    assert notes(span) == ("end_before_start",)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("-5", 0), ("99999999999999999999", 2**63 - 1), (-1, 0), ("9999-12-31T00:00:00Z", 2**63 - 1)],
)
def test_times_that_otlp_cannot_hold_are_clamped_and_marked(value: Any, expected: int) -> None:
    """Negative times and those beyond 64 bits become the nearest bound; the original is kept."""
    span = convert("raw", start_time_ms=value, end_time_ms=None, latency_ms=0)
    assert span.start_time == expected
    assert attributes(span)["netra.bridge.original.start_time_ms"] == str(value)
    assert notes(span) == ("start_time_ms_clamped",)


@pytest.mark.parametrize(
    "end",
    [
        "99999999999999999999",
        "18446744073709370616",
        18446744073709.370616,
        "9999-12-31T00:00:00Z",
        "2126-11-16T00:00:00Z",
        10**30,
    ],
)
def test_an_end_beyond_time_is_no_end(end: Any) -> None:
    """An end that 64 bits do not hold, or a hundred years after the start, is taken for missing; the original is kept."""
    span = convert("raw", end_time_ms=end, latency_ms=2)
    assert span.end_time == START_NS + 2_000_000
    assert attributes(span)["netra.bridge.original.end_time_ms"] == str(end)
    assert notes(span) == ("end_too_late",)
    alone = convert("raw", end_time_ms=end)
    assert alone.end_time == alone.start_time == START_NS
    assert notes(alone) == ("end_too_late", "end_time_missing")
    assert notes(convert("raw", end_time_ms="2125-01-01T00:00:00Z")) == ()


def test_an_end_beyond_time_gives_no_start() -> None:
    """Without a start, such an end is not reckoned from."""
    span = convert("raw", start_time_ms=None, end_time_ms="9999-12-31T00:00:00Z", created_at="2025-11-16T00:00:00Z")
    assert span.start_time == span.end_time == 1_763_251_200_000_000_000


def test_an_unreadable_start_is_reckoned_from_the_end() -> None:
    """The start is end minus latency; the unreadable text is kept."""
    span = convert("raw", start_time_ms="noon", latency_ms=3)
    assert (span.start_time, span.end_time) == (START_NS - 3_000_000, START_NS)
    assert attributes(span)["netra.bridge.original.start_time_ms"] == "noon"
    assert notes(span) == ("start_time_ms_unreadable", "start_time_missing")


def test_a_span_without_times_takes_its_traces_start() -> None:
    """A missing start is the trace's start, else ``created_at``, else the epoch: always noted, never now."""
    trace = TraceSummary(id=TRACE_ID, start_time="2025-11-16T00:00:00Z")
    lost: dict[str, Any] = {"start_time_ms": None, "end_time_ms": None, "latency_ms": 2}
    assert convert("raw", trace=trace, **lost).start_time == 1_763_251_200_000_000_000
    assert convert("raw", trace=trace, **lost).end_time == 1_763_251_200_002_000_000
    assert convert("raw", created_at="2025-11-16T00:00:01Z", **lost).start_time == 1_763_251_201_000_000_000
    assert convert("raw", **lost).start_time == 0
    assert notes(convert("raw", **lost)) == ("start_time_missing",)


@pytest.mark.parametrize(
    ("value", "kind", "netra"),
    [
        ("SPAN", SpanKind.INTERNAL, "SPAN"),
        ("Usage", SpanKind.INTERNAL, "USAGE"),
        ("tool", SpanKind.INTERNAL, "TOOL"),
        ("AGENT", SpanKind.INTERNAL, "AGENT"),
        ("generation", SpanKind.CLIENT, "GENERATION"),
        ("EMBEDDING", SpanKind.CLIENT, "EMBEDDING"),
        ("CLIENT", SpanKind.CLIENT, None),
        ("SPAN_KIND_CLIENT", SpanKind.CLIENT, None),
        ("span_kind_server", SpanKind.SERVER, None),
        ("Producer", SpanKind.PRODUCER, None),
        ("SPAN_KIND_CONSUMER", SpanKind.CONSUMER, None),
        ("internal", SpanKind.INTERNAL, None),
        ("SPAN_KIND_UNSPECIFIED", SpanKind.INTERNAL, None),
        (0, SpanKind.INTERNAL, None),
        (1, SpanKind.INTERNAL, None),
        (2, SpanKind.SERVER, None),
        (3, SpanKind.CLIENT, None),
        ("4", SpanKind.PRODUCER, None),
        (5, SpanKind.CONSUMER, None),
    ],
)
def test_every_kind_in_any_case_or_as_otlps_number(value: Any, kind: SpanKind, netra: str | None) -> None:
    """Netra's types map as in the table; OTel's kinds are kept, by name or OTLP number."""
    assert span_kind(value) == (kind, netra)
    assert convert("raw", kind=value).kind is kind
    assert attributes(convert("raw", kind=value)) == {}


@pytest.mark.parametrize("value", ["WORKFLOW", 6, -1, pytest.param(10**5000, id="huge")])
def test_an_unknown_kind_is_internal_and_kept(value: Any) -> None:
    """An unknown kind is kept as text and noted."""
    span = convert("raw", kind=value)
    assert span.kind is SpanKind.INTERNAL
    assert notes(span) == ("kind_unknown",)
    assert len(attributes(span)["netra.bridge.original.kind"]) == (5001 if value == 10**5000 else len(str(value)))


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        ("OK", StatusCode.OK, None),
        ("STATUS_CODE_OK", StatusCode.OK, None),
        ("success", StatusCode.OK, None),
        (1, StatusCode.OK, None),
        ("1", StatusCode.OK, None),
        ("ERROR", StatusCode.ERROR, None),
        ("status_code_error", StatusCode.ERROR, None),
        (2, StatusCode.ERROR, None),
        ("failed", StatusCode.ERROR, None),
        ("UNSET", StatusCode.UNSET, None),
        (0, StatusCode.UNSET, None),
        ("", StatusCode.UNSET, None),
        (None, StatusCode.UNSET, None),
        ({}, StatusCode.UNSET, None),
        ({"code": 2, "message": "no"}, StatusCode.ERROR, "no"),
        ({"code": "STATUS_CODE_ERROR"}, StatusCode.ERROR, None),
        ({"status_code": "error", "description": "no"}, StatusCode.ERROR, "no"),
        ('{"code": "ERROR", "message": "no"}', StatusCode.ERROR, "no"),
        (' {"statusCode": 1}', StatusCode.OK, None),
    ],
)
def test_every_form_of_the_status(value: Any, code: StatusCode, message: str | None) -> None:
    """Words, numbers and objects, as text or decoded, mean the same, without a note."""
    for profile in ("raw", "genai"):
        span = convert(profile, status=value)  # type: ignore[arg-type]  # the two literals
        assert span.status.status_code is code
        assert span.status.description == message
        assert "netra.bridge.notes" not in attributes(span)


@pytest.mark.parametrize(
    "value", ["maybe", 7, {"code": "maybe"}, {"weather": "fair"}, [1], '{"code": ', {"code": True}, "true"]
)
def test_an_unknown_status_is_unset_and_kept(value: Any) -> None:
    """An unreadable status is UNSET, and its text is kept."""
    span = convert("raw", status=value)
    assert span.status.status_code is StatusCode.UNSET
    assert notes(span) == ("status_unknown",)
    kept = attributes(span)["netra.bridge.original.status"]
    assert kept == value if isinstance(value, str) else json.loads(kept) == value


def test_a_message_without_an_error_is_kept() -> None:
    """OpenTelemetry allows a description only for errors; another recorded message is kept as text."""
    span = convert("raw", status={"code": "OK", "message": "all good"})
    assert span.status.status_code is StatusCode.OK
    assert span.status.description is None
    assert json.loads(attributes(span)["netra.bridge.original.status"])["message"] == "all good"


EXCEPTION = [{"name": "exception", "attributes": {"exception.type": "ValueError", "exception.message": "bad city"}}]


@pytest.mark.parametrize("status", ["OK", "UNSET", "ERROR", None])
def test_has_error_makes_an_error(status: str | None) -> None:
    """The status is ERROR if the column or the status says so."""
    span = convert("genai", status=status, has_error=True)
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "_OTHER"


def test_the_error_message_comes_from_status_then_attribute_then_exception() -> None:
    """The description is the first recorded one in this order; the error's type is the exception's."""
    told: dict[str, Any] = {"has_error": True, "events": EXCEPTION}
    attribute = {"netra.error_message": "no weather"}
    assert convert(status={"code": 2, "message": "told"}, attributes=attribute, **told).status.description == "told"
    assert convert(attributes=attribute, **told).status.description == "no weather"
    assert convert(**told).status.description == "bad city"
    assert convert(has_error=True).status.description is None
    assert attributes(convert(**told))["error.type"] == "ValueError"
    assert attributes(convert(attributes={"error.type": "Timeout"}, **told))["error.type"] == "Timeout"


def test_an_exception_event_alone_is_no_error() -> None:
    """The span of a decorated function that raises stays UNSET, unless Netra reports an error."""
    span = convert(events=EXCEPTION, status="UNSET", has_error=False)
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(span)


def test_fields_that_the_client_could_not_read_are_noted() -> None:
    """A column that the schema set to ``None`` because of its type is noted on the span."""
    assert notes(convert("raw", unreadable=("model_name",))) == ("unreadable:model_name",)
