"""`Bridge.read_spans` and `Bridge.aread_spans` yield the spans that a replay delivers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge import Bridge, SpanChunk, TraceFilter, TraceQuery
from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import NetraUnauthorized, NotKnown, UsageError
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.deliver import encode_span
from netra_otel_bridge.deliver.otlp.encode import encode_resource
from netra_otel_bridge.emulator import EmulatorOptions
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.examples import size, some
from tests.support.waiting import DEADLINE_S, afterwards, wait_until

KEY = "nk-test"
DAY_NS = 86_400 * NS_PER_S
TRACES, SPANS = 210, size(2, 6)
_NOW_NS = time.time_ns()
RANGE = {"from_": iso_ms(_NOW_NS - 2 * DAY_NS), "until": iso_ms(_NOW_NS + DAY_NS)}


@pytest.fixture(scope="module")
def sample() -> Iterator[ThreadedEmulator]:
    """Run a Netra with 210 traces of a few spans: three pages, and three chunks."""
    options = EmulatorOptions(port=0, seed=7, traces=TRACES, spans_per_trace=SPANS, api_key=KEY)
    with running_emulator(options) as emulator:
        yield emulator


def bridge_to(emulator: ThreadedEmulator, **settings: Any) -> Bridge:
    return Bridge(
        environ={}, **{"api_key": KEY, "endpoint": emulator.endpoint, "attempts": 2, "window": "7d", **settings}
    )


def content(spans: Any) -> list[tuple[bytes, bytes]]:
    """Encode spans as they are sent, each with its resource."""
    return [(encode_span(span), encode_resource(span.resource)) for span in spans]


def ids(chunks: Any) -> list[tuple[int, int]]:
    return [(span.context.trace_id, span.context.span_id) for chunk in chunks for span in chunk.spans]


def settled(emulator: ThreadedEmulator) -> int:
    """Return the number of calls once cancelled ones have arrived too."""
    count = -1
    while count != (now := emulator.call(lambda: emulator.emulator.calls.total())):
        count = now
        time.sleep(0.2)
    return count


@contextmanager
def no_thread_left() -> Iterator[None]:
    """Check that no thread is left behind."""
    before = set(threading.enumerate())
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "netra-client" and thread not in before]


@pytest.mark.parametrize("profile", some(1, ["genai", "raw"]))
def test_what_comes_is_what_a_replay_delivers(sample: ThreadedEmulator, profile: str) -> None:
    """The spans are the same to the byte, ordered by the start of their traces."""
    bridge = bridge_to(sample, profile=profile)
    replayed: list[ReadableSpan] = []
    bridge.replay(replayed.extend, **RANGE)
    with no_thread_left():
        chunks = list(bridge.read_spans(**RANGE))
    assert sorted(content(replayed)) == sorted(content(span for chunk in chunks for span in chunk.spans))
    assert len(ids(chunks)) == TRACES * SPANS
    starts = [min(span.start_time or 0 for span in chunk.spans) for chunk in chunks]
    assert starts == sorted(starts)
    assert all(content(chunk.spans) == [*zip(chunk.batch.encoded, [r for _, r in content(chunk.spans)], strict=True)]
               for chunk in chunks)  # fmt: skip


def test_each_token_leads_on_in_another_bridge(sample: ThreadedEmulator) -> None:
    """A token with the same arguments yields exactly the rest."""
    chunks = list(bridge_to(sample).read_spans(**RANGE))
    for cut in some(2, [len(chunks) // 2, len(chunks), *range(1, len(chunks))]):
        rest = bridge_to(sample).read_spans(**RANGE, resume_token=chunks[cut - 1].resume_token)
        assert ids(chunks[:cut]) + ids(rest) == ids(chunks)


def test_the_range_is_that_of_the_first_call(sample: ThreadedEmulator) -> None:
    """A resumed range keeps the "now" of its first call."""
    bridge = bridge_to(sample)
    first = next(bridge.read_spans(since="48h"))
    time.sleep(0.01)
    rest = list(bridge.read_spans(since="48h", resume_token=first.resume_token))
    assert ids([first, *rest]) == ids(bridge.read_spans(**RANGE))


def test_the_async_form_is_the_same(sample: ThreadedEmulator) -> None:
    """A query selects traces."""
    bridge = bridge_to(sample)
    query = TraceQuery(filters=(TraceFilter(field="has_error", value=True, type="boolean"),))

    async def read() -> list[SpanChunk]:
        return [chunk async for chunk in bridge.aread_spans(**RANGE, query=query)]

    chunks = asyncio.run(read())
    assert ids(chunks) == ids(bridge.read_spans(**RANGE, query=query))
    assert 0 < len(ids(chunks)) < TRACES * SPANS


def test_one_trace_is_read_whole_as_a_replay_delivers_it(sample: ThreadedEmulator) -> None:
    """A trace needs no range, and its last token yields nothing."""
    bridge = bridge_to(sample)
    with bridge.client() as client:
        trace_id = next(client.iter_traces("2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z")).id
    replayed: list[ReadableSpan] = []
    bridge.replay(replayed.extend, **RANGE, query=TraceQuery(trace_ids=(trace_id,)))
    chunks = list(bridge.read_spans(trace_id=trace_id))
    assert content(replayed) == content(span for chunk in chunks for span in chunk.spans)
    assert list(bridge.read_spans(trace_id=trace_id, resume_token=chunks[-1].resume_token)) == []
    with pytest.raises(NotKnown):
        next(bridge.read_spans(trace_id="ab" * 16))


@pytest.mark.parametrize(
    "other",
    [
        {**RANGE, "until": "2100-01-01"},
        {**RANGE, "query": TraceQuery(tenant_id="Globex")},
        {"trace_id": "ab" * 16},
    ],
)
def test_a_token_is_for_one_request(sample: ThreadedEmulator, other: dict[str, Any]) -> None:
    """A token of another range, query, trace or profile is rejected before any request."""
    mine = next(bridge_to(sample).read_spans(**RANGE)).resume_token
    calls = settled(sample)
    with pytest.raises(UsageError, match="another request"):
        next(bridge_to(sample).read_spans(**other, resume_token=mine))
    with pytest.raises(UsageError, match="another request"):
        next(bridge_to(sample, profile="raw").read_spans(**RANGE, resume_token=mine))
    assert settled(sample) == calls


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"trace_id": "ab" * 16, "since": "1h"},
        {"trace_id": 5},
        {"trace_id": ""},
        {"since": "1h", "resume_token": 5},
        {"since": "1h", "query": {"tenant_id": "Globex"}},
        {"since": "1h", "query": TraceQuery(filters=(TraceFilter("name", object()),))},  # type: ignore[arg-type]
    ],
)
def test_a_request_that_makes_no_sense_is_refused(sample: ThreadedEmulator, arguments: dict[str, Any]) -> None:
    """Either a range or a trace is required, of the right types."""
    with pytest.raises(UsageError):
        next(bridge_to(sample).read_spans(**arguments))


def test_a_caller_that_breaks_off_leaves_nothing_behind(sample: ThreadedEmulator) -> None:
    """The thread ends with the iteration, however early."""
    with no_thread_left():
        for chunk in bridge_to(sample).read_spans(**RANGE):
            assert chunk.spans
            break


def test_errors_come_through(sample: ThreadedEmulator) -> None:
    """Errors of Netra are raised unchanged."""
    with no_thread_left(), pytest.raises(NetraUnauthorized):
        list(bridge_to(sample, api_key="wrong").read_spans(**RANGE))


def test_inside_an_event_loop_it_is_a_usage_error(sample: ThreadedEmulator) -> None:
    """In an event loop it raises before any request, and names the asynchronous form."""

    async def read() -> None:
        bridge_to(sample).read_spans(**RANGE)

    with pytest.raises(UsageError, match="aread_spans"):
        asyncio.run(read())


def test_while_the_caller_is_busy_the_next_traces_are_read() -> None:
    """Responses are processed when they arrive, not when the caller asks for the next chunk."""
    spans = size(15, 40)
    options = EmulatorOptions(port=0, seed=7, traces=60, spans_per_trace=spans, api_key=KEY, latency_s=0.2)
    with running_emulator(options) as emulator:
        chunks = bridge_to(emulator, concurrency=4).read_spans(**RANGE)
        first = next(chunks)
        asked_for = 1 + len({span.context.trace_id for span in first.spans})
        wait_until(lambda: emulator.call(lambda: emulator.emulator.calls.total()) >= asked_for + 4)
        assert len(ids([first, *chunks])) == 60 * spans


def test_ctrl_c_ends_it_in_order() -> None:
    """Ctrl-C interrupts the wait for a chunk and its request."""
    began = time.monotonic()
    with (
        running_emulator(EmulatorOptions(port=0, seed=7, traces=3, api_key=KEY, latency_s=2 * DEADLINE_S)) as emulator,
        no_thread_left(),
    ):
        asked = emulator.emulator.calls.total
        with (
            afterwards(lambda: emulator.call(asked), lambda: os.kill(os.getpid(), signal.SIGINT), wait_s=0.1),
            pytest.raises(KeyboardInterrupt),
        ):
            next(bridge_to(emulator, timeout=600).read_spans(**RANGE))
    assert time.monotonic() - began < DEADLINE_S


FORKING = """
import os, signal, sys
from netra_otel_bridge import Bridge, UsageError

chunks = Bridge(environ={}, api_key=sys.argv[1], endpoint=sys.argv[2]).read_spans(from_="48h")
next(chunks)
if not os.fork():
    signal.alarm(60)
    try:
        next(chunks)
    except UsageError as error:
        print(error, flush=True)
    sys.exit(0)
assert os.wait()[1] == 0
print(sum(1 for _ in chunks) > 0, flush=True)
"""


@pytest.mark.faults
def test_a_forked_child_does_not_go_on_with_a_read_of_its_parent(sample: ThreadedEmulator) -> None:
    """A forked child gets an error and ends, and the parent continues."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, KEY, sample.endpoint]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    refused = "this client was made in another process (make one in each process)"
    assert (done.stdout.splitlines(), done.stderr) == ([refused, "True"], "")
