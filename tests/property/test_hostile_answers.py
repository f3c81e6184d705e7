"""Whatever Netra or a destination answers, reading it is bounded in time and memory, and ends in a value or a typed error."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from grpc import StatusCode
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.convert.genai_metrics import may_be_measured, measurements
from netra_otel_bridge.core.errors import NetraError
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary
from netra_otel_bridge.core.model.outcome import Delivered, Misconfigured, PartlyRefused, Refused, Retry, TooLarge
from netra_otel_bridge.deliver import encode_span
from netra_otel_bridge.deliver.answers import MAX_WORDS, grpc_outcome, http_outcome
from netra_otel_bridge.deliver.exporter_words import words_outcome
from netra_otel_bridge.deliver.otlp.client import _read_json, _read_protobuf
from netra_otel_bridge.deliver.rpc_status import retry_info_s
from netra_otel_bridge.pipeline.digests import summary_digest
from netra_otel_bridge.source import schema
from tests.support.examples import examples

pytestmark = pytest.mark.faults

TRACE = "ab" * 16
MIB = 1 << 20
FUZZ = settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
COLUMNS = ("attributes", "events", "links", "metadata", "resources", "status", "violations", "name", "latency_ms", "x")
OUTCOMES = (Delivered, Misconfigured, PartlyRefused, Refused, Retry, TooLarge)
fragments = st.sampled_from(
    [
        "{}", "[]", "null", "NaN", "1", "1e999", '""', '"\\ud800"', "7" * 900, '{"":0}', '{"a":[1,{}]}', '{"id":"a"}',
        '{"id":"a","trace_id":"' + TRACE + '"}', '{"role":"user","content":"x"}',
        '{"key":"k","value":{"stringValue":"v"}}',
    ]
)  # fmt: skip
times = st.sampled_from([1, 2, 101, 3_000, 60_000, 300_000])
shapes = st.sampled_from(["list", "keys", "deep list", "deep object"])


def amplified(fragment: str, count: int, shape: str) -> str:
    """Return JSON that holds a fragment many times."""
    match shape:
        case "list":
            return "[" + ",".join([fragment] * count) + "]"
        case "keys":
            return "{" + ",".join(f'"k{number}":{fragment}' for number in range(count)) + "}"
        case "deep list":
            return "[" * count + fragment + "]" * count
        case _:
            return '{"a":' * count + fragment + "}" * count


@contextmanager
def bounded(cpu_s: float, peak_mib: float) -> Iterator[None]:
    """Assert that the block takes at most this much of the CPU and of memory."""
    tracemalloc.start(1)
    try:
        began = time.process_time()
        yield
        used_s = time.process_time() - began
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used_s < cpu_s
    assert peak_bytes < peak_mib * MIB


def read(body: bytes) -> list[TraceSpan]:
    try:
        return schema.decode_spans(body, TRACE).spans
    except NetraError:
        return []


@FUZZ
@given(st.sampled_from(COLUMNS), fragments, times, shapes, st.booleans())
@example("attributes", "{}", 300_000, "keys", True)
@example("metadata", "NaN", 300_000, "list", False)
@example("events", '{"a":[1,{}]}', 60_000, "list", True)
def test_any_column_is_read_and_sent_within_bounds(
    column: str, fragment: str, count: int, shape: str, as_text: bool
) -> None:
    """A span whose column holds a fragment very many times costs seconds and a small multiple of its bytes at most."""
    value = amplified(fragment, min(count, 4 * MIB // len(fragment)), shape)
    value = json.dumps(value) if as_text else value
    body = f'{{"data":{{"data":[{{"id":"a","{column}":{value}}}],"pageInfo":{{"hasNextPage":false}}}}}}'.encode()
    with bounded(cpu_s=20, peak_mib=120 + 12 * len(body) / MIB):
        for span in read(body):
            if may_be_measured(span):
                measurements(TraceSummary(id=TRACE), span)
            encode_span(SpanConverter("both").convert(span))


@FUZZ
@given(fragments, times, shapes)
def test_any_items_are_read_within_bounds(fragment: str, count: int, shape: str) -> None:
    """A page of very many items of any kind costs seconds and a small multiple of its bytes at most."""
    value = amplified(fragment, min(count, 4 * MIB // len(fragment)), shape)
    body = f'{{"data":{{"data":{value},"pageInfo":{{"hasNextPage":false}}}}}}'.encode()
    with bounded(cpu_s=10, peak_mib=120 + 12 * len(body) / MIB):
        read(body)
        try:
            traces = schema.decode_traces(body).traces
        except NetraError:
            traces = []
        for trace in traces:
            summary_digest(trace)


hostile_words = st.tuples(
    st.sampled_from(["", "failed to connect ", "larger than max (", "rate limit (", "code: 400 "])
    | st.text(max_size=50),
    st.sampled_from(
        ["a", "7", " ", "\x1b", "failed to connect ", "larger than max (1 vs. ", "\n", "é", "((", "burst:1 "]
    ),
    st.sampled_from([0, 1, 100, 5_000, 256 * 1024]),
    st.sampled_from(["", " bytes) while adding 7 bytes", " socket closed", "]" * 9]),
)


@FUZZ
@given(hostile_words, st.sampled_from(list(StatusCode)), st.sampled_from([200, 302, 400, 401, 413, 429, 500, 503]))
@example(("rate limit (", "7", 5000, " bytes) while adding 7 bytes"), StatusCode.UNKNOWN, 429)
@example(("larger than max ", "9", 5000, ""), StatusCode.RESOURCE_EXHAUSTED, 413)
def test_any_words_of_a_destination_are_an_outcome(
    said: tuple[str, str, int, str], code: StatusCode, status: int
) -> None:
    """What a destination says, however long, is an outcome within a tenth of a second each."""
    before, word, count, after = said
    words = before + (word * count)[: 256 * 1024] + after
    partial = ExportTraceServiceResponse()
    partial.partial_success.rejected_spans = 1
    partial.partial_success.error_message = words
    with bounded(cpu_s=2, peak_mib=64):
        got = [
            grpc_outcome(code, words, None, 5_000_000),
            http_outcome(status, words.encode(), "text/plain"),
            words_outcome(words),
            _read_protobuf(partial.SerializeToString(), 5),
            _read_json(json.dumps({"partialSuccess": {"rejectedSpans": 1, "errorMessage": words}}).encode(), 5),
        ]
    assert all(isinstance(one, OUTCOMES) for one in got)
    assert all(len(one.reason) <= MAX_WORDS + 100 for one in got if not isinstance(one, Delivered))


@FUZZ
@given(st.binary(max_size=200) | st.sampled_from([b"[" * 60_000, b'{"a":' * 12_000, b"\xff\xfe{", b"7" * 60_000]))
@example(b'{"partialSuccess":{"rejectedSpans":' + b"7" * 60_000 + b"}}")
def test_any_bytes_of_a_destination_are_an_outcome(answer: bytes) -> None:
    """A success with any body, and status details of any bytes, are read or are not OTLP."""
    with bounded(cpu_s=2, peak_mib=64):
        for outcome in (_read_protobuf(answer, 5), _read_json(answer, 5)):
            assert isinstance(outcome, OUTCOMES)
        assert isinstance(http_outcome(500, answer, "application/x-protobuf"), OUTCOMES)
        retry_info_s({"grpc-status-details-bin": answer})
