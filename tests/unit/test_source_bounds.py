"""Answers that are built to cost memory or time end as typed errors, cheaply, and block nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.core import json_bounds
from netra_otel_bridge.core.errors import NetraResponseTooLarge, NetraSchemaError
from netra_otel_bridge.core.json_bounds import count_values, holds_long_number, holds_more_values
from netra_otel_bridge.core.json_text import MAX_VALUES, read_json
from netra_otel_bridge.core.model.netra import TraceSpan
from netra_otel_bridge.pipeline.digests import summary_digest
from netra_otel_bridge.source import bounds, schema
from netra_otel_bridge.source.body import LARGE_BYTES
from tests.support.hostile import HOSTILE, LONG_TEXTS, TRACE, hostile_reply
from tests.support.scripted_api import page, span, trace

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a,[{"\\}]é', max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text('a,"\\', max_size=4), inner, max_size=5),
    max_leaves=40,
)


@given(json_values, st.integers(1, 9))
def test_values_are_counted_without_building_them(value: Any, piece: int) -> None:
    """The count of a text is that of the decoded value, but for brackets, whatever its strings hold and the pieces are."""
    text = json.dumps(value, ensure_ascii=False)
    most = count_values(value) * 2 + 2
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_bounds, "_PIECE_BYTES", piece)
        patched.setattr(json_bounds, "_MIN_VALUE_BYTES", 0)
        assert not holds_more_values(text, most)
        assert not count_values(value) or holds_more_values(text, count_values(value) // 2 - 1)


@given(st.text("ab 1", max_size=700), st.integers(512, 2000), st.text("ab 1", max_size=700))
def test_a_long_number_is_found_wherever_it_begins(before: str, digits: int, after: str) -> None:
    """A run of digits from `LONG_DIGITS` on is found, in text and in bytes; a text of short ones holds none."""
    assert holds_long_number(before + "7" * digits + after)
    assert holds_long_number((before + "7" * digits + after).encode())
    assert not holds_long_number("77 " * 1000 + ("7" * 250 + ",") * 20)


@pytest.mark.faults
@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_answer_is_cheap(name: str) -> None:
    """Within 512 MB and seconds, a hostile answer ends as a typed error or as a span, and blocks the loop for 0.1 s at most."""
    child = [sys.executable, "-m", "tests.support.hostile"]
    done = subprocess.run(child, input=hostile_reply(name).raw, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    got = json.loads(done.stdout)
    assert got["rss_mb"] < 512, got
    assert got["cpu_s"] < 10, got
    assert name in LONG_TEXTS or got["blocked_s"] < 0.1, got
    ends = ("read", "NetraResponseTooLarge: ", "NetraSchemaError: ")
    assert got["ended"].startswith(ends), got
    assert got["ended"] == "read" or "$" in got["ended"]


@pytest.mark.parametrize("size", [0, LARGE_BYTES])
def test_more_items_than_asked_for_are_refused(size: int) -> None:
    """A page that does not keep to the limit is an error, whatever its size, that names the place and both numbers."""
    spans = [span(number, name="n" * (size // 90)) for number in range(101)]
    with pytest.raises(
        NetraSchemaError, match=r"\$\.data\.data holds 101 items, more than the 100 that a page may have"
    ):
        schema.decode_spans(json.dumps(page(spans)).encode(), TRACE)
    few = json.dumps(page([trace(1), trace(2), trace(3)])).encode()
    assert len(schema.decode_traces(few, 2).traces) == 3, "Netra may prefer a page of its own size"


@pytest.mark.parametrize("fields", [{}, {"metadata": {"k": [1, None]}}, {"latency_ms": "12"}, {"name": "\ud800"}])
def test_a_large_page_reads_as_a_small_one(fields: dict[str, Any]) -> None:
    """The decoder of large pages gives the same spans as that of small ones."""
    spans = [span(number, **fields) for number in range(5)]
    small = schema.decode_spans(json.dumps(page(spans, more=True)).encode(), TRACE)
    padded = json.dumps({**page(spans, more=True), "other": "x" * LARGE_BYTES}).encode()
    assert msgspec.structs.replace(schema.decode_spans(padded, TRACE), size_bytes=small.size_bytes) == small


def test_too_many_values_are_refused_before_they_are_built() -> None:
    """A body of more values than the budget is too large, for each decoder."""
    body = json.dumps({"data": [{}] * (bounds.MAX_VALUES * 2)}).encode()
    for decode in (schema.decode_traces, schema.decode_span, schema.decode_session_usage, schema.decode_tenant_usage):
        with pytest.raises(NetraResponseTooLarge, match=r"\$ holds more than 250000 JSON values"):
            decode(body)


def test_an_irregular_answer_has_a_lower_cap() -> None:
    """What only the slow parser reads is refused from 8 MiB on."""
    body = json.dumps(page([span(1, name="\ud800" + "x" * bounds.MAX_IRREGULAR_BYTES)])).encode()
    with pytest.raises(NetraResponseTooLarge, match="irregular"):
        schema.decode_spans(body, TRACE)


def test_a_span_of_another_trace_is_reported() -> None:
    """A span that claims another trace is an unreadable item, and is never taken for a span of either."""
    items = [*(span(number) for number in range(19)), span(19, trace_id="cd" * 16)]
    got = schema.decode_spans(json.dumps(page(items)).encode(), TRACE)
    assert len(got.spans) == 19
    (bad,) = got.unreadable
    assert bad.path == "$.data.data[19]"
    assert bad.reason == f"its trace_id is {'cd' * 16!r}, not {TRACE!r}, which was asked for"
    with pytest.raises(NetraSchemaError, match="2 of 2 items cannot be read"):
        schema.decode_spans(json.dumps(page(items[-1:] * 2)).encode(), TRACE)


def test_ids_of_a_trace_in_two_forms_are_the_same() -> None:
    """A UUID with dashes, or in upper case, is the trace that was asked for."""
    uuid = "ABABABAB-ABAB-ABAB-ABAB-ABABABABABAB"
    got = schema.decode_spans(json.dumps(page([span(1, trace_id=uuid)])).encode(), TRACE)
    assert [item.trace_id for item in got.spans] == [uuid]


def test_a_column_of_too_many_values_stays_text() -> None:
    """Attributes beyond the budget are kept as they came, under their original name, and noted."""
    text = json.dumps({f"k{number}": 1 for number in range(MAX_VALUES + 10)})
    for column in (text, json.loads(text)):
        got = SpanConverter("raw").convert(TraceSpan(id="ab" * 8, trace_id=TRACE, attributes=column))
        assert got.attributes is not None
        assert "attributes_unreadable" in got.attributes["netra.bridge.notes"]  # type: ignore[operator]  # a tuple of text
        assert json.loads(str(got.attributes["netra.bridge.original.attributes"])) == json.loads(text)


def test_many_long_numbers_stay_text() -> None:
    """In a large text, numbers of hundreds of digits are not made into numbers."""
    digits = "7" * 4000
    assert read_json(f"[{digits}]") == [int(digits)]
    assert read_json(json.dumps([0] * 10)[:-1] + f", {digits}" * 20 + "]") == [0] * 10 + [digits] * 20


@pytest.mark.parametrize("depth", range(940, 1005, 3))
def test_no_depth_is_a_recursion_error(depth: int) -> None:
    """An item that is nested to about Python's limit is an unreadable item, or a typed error."""
    deep = b"[" * depth + b"]" * depth
    body = b'{"data":{"data":[%s,{"id":%s}],"pageInfo":{"hasNextPage":false}}}'
    good = b",".join(json.dumps(span(number)).encode() for number in range(20))
    with contextlib.suppress(NetraSchemaError):
        got = schema.decode_spans(body % (good, deep), TRACE)
        assert [bad.path for bad in got.unreadable] == ["$.data.data[20]"]


def test_a_summary_of_any_numbers_has_a_digest() -> None:
    """Numbers beyond 64 bits, and deep lists, are digested too."""
    fields = {"prompt_tokens": 10**30, "models": [[10**30], 1.5]}
    (one,) = schema.decode_traces(json.dumps(page([trace(1, **fields)])).encode()).traces
    (other,) = schema.decode_traces(json.dumps(page([trace(1, **{**fields, "prompt_tokens": 10**31})])).encode()).traces
    assert len(summary_digest(one)) == 8
    assert summary_digest(one) != summary_digest(other)
