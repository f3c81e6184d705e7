"""JSON to values: nothing lost, nothing invented, and no error but Netra's for any input."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netra_otel_bridge.core.errors import NetraError, NetraSchemaError
from netra_otel_bridge.core.model.netra import SessionUsageData, TenantUsageData, TraceSpan
from netra_otel_bridge.source import schema
from netra_otel_bridge.source.body import CutAnswer
from tests.support.scripted_api import page, span, trace

TRACE = "ab" * 16
DECODERS = [
    schema.decode_traces,
    lambda body: schema.decode_spans(body, TRACE),
    schema.decode_span,
    schema.decode_session_usage,
    schema.decode_tenant_usage,
]
SPAN_FIELDS = [field.name for field in msgspec.structs.fields(TraceSpan)]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, categories=None))
    | st.sampled_from(["1.5", "true", "", "NaN", "-0"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
odd_spans = st.dictionaries(st.sampled_from(SPAN_FIELDS), values, max_size=8)
pages = st.builds(page, st.lists(odd_spans | values, max_size=6), st.booleans() | values)
usages = st.dictionaries(
    st.sampled_from(["session_id", "tenant_id", "tokenCount", "requestsCount", "sessionsCount", "totalCost", "x"]),
    values,
)


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


@given(values | pages | usages | st.fixed_dictionaries({"data": values | odd_spans | usages}))
@example({"session_id": "s", "tokenCount": 1, "requestsCount": 1, "totalCost": 10**400})
@example({"data": {"tenant_id": "t", "tokenCount": "1" * 5000, "requestsCount": 1, "totalCost": 0}})
def test_any_json_is_read_or_a_netra_error(value: Any) -> None:
    """Any JSON gives a value or a `NetraError`."""
    for decode in DECODERS:
        with contextlib.suppress(NetraError):
            decode(encode(value))


@given(st.binary(max_size=60))
@example(b"\xef\xbb\xbf{}")
@example(b"\xff\xfe{\x00}\x00")
def test_any_bytes_are_read_or_a_netra_error(body: bytes) -> None:
    """Any bytes give a value or a `NetraError`."""
    for decode in DECODERS:
        with contextlib.suppress(NetraError):
            decode(body)


@given(st.lists(odd_spans, min_size=1, max_size=5))
def test_ids_and_values_survive(items: list[dict[str, Any]]) -> None:
    """A span with an id is never lost, whatever else it contains; each field is kept, coerced, or named."""
    for number, item in enumerate(items):
        item["id"] = f"id-{number}"
        item.pop("trace_id", None)
    got = schema.decode_spans(encode(page(items)), TRACE)
    assert [item.id for item in got.spans] == [item["id"] for item in items]
    assert not got.unreadable
    for item, read in zip(items, got.spans, strict=True):
        for name, value in item.items():
            if name in {"id", "trace_id", "unreadable"} or value is None:
                continue
            kept = getattr(read, name)
            assert (kept is None) == (name in read.unreadable), (name, value, kept)
            if type(value) is type(kept) and not isinstance(value, str | float | list | dict):
                assert kept == value


@given(st.integers(0, 19), st.sampled_from([None, 7, "x", [], {}, {"id": None}, {"id": ""}, {"id": {}}]))
def test_a_poison_item_is_named_with_its_place(place: int, poison: Any) -> None:
    """One bad item of twenty is reported, and nineteen are kept."""
    items: list[Any] = [span(number) for number in range(20)]
    items[place] = poison
    got = schema.decode_spans(encode(page(items)), TRACE)
    assert [bad.path for bad in got.unreadable] == [f"$.data.data[{place}]"]
    assert [item.id for item in got.spans] == [item["id"] for item in items if item is not poison]


def test_regular_pages_and_odd_pages_read_alike() -> None:
    """The item-by-item path gives exactly the values of the typed decode."""
    items = [span(number, metadata={"k": [1, 2.5, None]}, total_cost=0.5, has_pii=False) for number in range(3)]
    fast = schema.decode_spans(encode(page(items)), TRACE)
    slow = schema.decode_spans(encode(page([*items, span(3, latency_ms="12")])), TRACE)
    assert slow.spans[:3] == fast.spans
    assert slow.spans[3].latency_ms == 12


@pytest.mark.parametrize("decode", DECODERS[:2])
def test_the_inner_object_bare_is_a_page(decode: Any) -> None:
    """``{"data": [...], "pageInfo": ...}`` without its envelope is read too."""
    got = decode(encode(page([trace(1)], more=True)["data"]))
    assert got.has_next_page
    assert got.next_cursor == "c1"


def test_the_cursor_is_the_last_readable_items() -> None:
    """An unreadable last item is not lost: the next page begins with it."""
    items = [*(span(number) for number in range(12)), None]
    got = schema.decode_spans(encode(page(items, more=True)), TRACE)
    assert got.next_cursor == "c11"


def test_a_span_without_its_trace_takes_the_one_asked_for() -> None:
    """``trace_id`` may be left out of the spans of a trace."""
    item = span(1)
    del item["trace_id"]
    got = schema.decode_spans(encode(page([item, span(2)])), TRACE)
    assert [read.trace_id for read in got.spans] == [TRACE, "ab" * 16]


@pytest.mark.parametrize("bad", ["..", "a/../b", "."])
def test_a_trace_that_cannot_be_asked_for_is_reported(bad: str) -> None:
    """A trace whose id would reach another path is an unreadable item, not a request."""
    got = schema.decode_traces(encode(page([trace(1), {"id": bad}])))
    assert [item.reason for item in got.unreadable] == [
        "its id contains parts of a relative path, and cannot be requested"
    ]
    assert len(got.traces) == 1


def test_one_span() -> None:
    """One span is read wrapped or bare; null means that there is none; anything but a span is an error."""
    for body in ({"data": span(1)}, span(1)):
        read = schema.decode_span(encode(body))
        assert read is not None
        assert read.id == span(1)["id"]
    assert schema.decode_span(b'{"data": null}') is None
    wrong: list[dict[str, Any]] = [{}, {"data": {}}, {"data": {"id": "x"}}, {"message": "error"}]
    for bad in wrong:
        with pytest.raises(NetraSchemaError):
            schema.decode_span(encode(bad))


SESSION = {"session_id": "s", "tokenCount": 5, "requestsCount": 2, "totalCost": 0.25}


@pytest.mark.parametrize("wrap", [False, True])
def test_session_usage(wrap: bool) -> None:
    """Wrapped or bare, with numbers as numbers or as text."""
    body = {**SESSION, "requestsCount": "2", "totalCost": "0.25"}
    got = schema.decode_session_usage(encode({"data": body} if wrap else body))
    assert got == SessionUsageData(session_id="s", token_count=5, request_count=2, total_cost=0.25)


def test_tenant_usage() -> None:
    """A tenant's totals; a null total is the sum of no rows."""
    body = {"tenant_id": 7, "organisation_id": None, "tokenCount": None, "requestsCount": 0, "sessionsCount": 3}
    got = schema.decode_tenant_usage(encode({"data": {**body, "totalCost": 1}}))
    assert got == TenantUsageData(
        tenant_id="7", organisation_id=None, token_count=0, request_count=0, session_count=3, total_cost=1.0
    )


@pytest.mark.parametrize("body", [{"data": {}}, {"data": {"tokenCount": 0}}, {"tokenCount": 0}, {"session_id": ""}])
def test_usage_of_an_unknown_id(body: Any) -> None:
    """An answer without the id is "unknown"."""
    assert schema.decode_session_usage(encode(body)) is None


@pytest.mark.parametrize(
    "body",
    [{}, [], None, {"error": "x"}, {"data": None}, {"data": []}, {"session_id": "s"}, {**SESSION, "totalCost": "x"}],
)
def test_failed_usage_is_never_unknown(body: Any) -> None:
    """An empty body, an error object, a missing or unreadable total: an error, not "unknown" and not 0."""
    with pytest.raises(NetraSchemaError, match=r"\$"):
        schema.decode_session_usage(encode(body))


@pytest.mark.parametrize("body", [b"", b"{", b'{"data": {"data": [{"id": "a', b"{} {}", b"\xff"])
def test_what_does_not_parse_is_cut(body: bytes) -> None:
    """A body that is not complete JSON may be complete at the next attempt."""
    for decode in DECODERS:
        with pytest.raises(CutAnswer):
            decode(body)


def test_not_a_number_stays_out_of_numbers_and_in_free_json() -> None:
    """NaN and infinities are not accepted in a number field; inside metadata they are kept."""
    body = encode(page([span(1, latency_ms=math.nan, metadata={"score": math.inf})]))
    got = schema.decode_spans(body, TRACE).spans[0]
    assert got.unreadable == ("latency_ms",)
    assert got.metadata == {"score": math.inf}


def test_a_total_of_thousands_of_digits_is_too_large() -> None:
    """The message says what is wrong with it, not that a number is no number."""
    body = b'{"data": {"tenant_id": "a", "tokenCount": %s, "requestsCount": 1, "totalCost": 1}}' % (b"7" * 4000)
    with pytest.raises(NetraSchemaError, match=r"tokenCount is a number that is too large"):
        schema.decode_tenant_usage(body)
