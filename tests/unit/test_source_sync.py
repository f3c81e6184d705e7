"""The blocking client: the same answers and errors, from any thread, and nothing left behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from netra_otel_bridge.core.clock import Backoff
from netra_otel_bridge.core.errors import NetraError, NetraUnavailable, UsageError
from netra_otel_bridge.source import NetraClient
from tests.support.scripted_api import (
    Reply,
    Request,
    ScriptedApi,
    ServerThread,
    json_reply,
    page,
    reply,
    span,
    trace,
)
from tests.support.waiting import DEADLINE_S

TRACE = "ab" * 16
FROM, TO = "2026-04-30T00:00:00.000Z", "2026-05-01T00:00:00.000Z"


def three_pages(request: Request) -> Reply:
    """Answer with traces 1 to 3, one a page; spans 1 to 3 likewise; usage and single spans."""
    if request.target.startswith("/usage/sessions"):
        return json_reply({"data": {"session_id": "s", "tokenCount": 1, "requestsCount": 1, "totalCost": 1}})
    if request.target.startswith("/usage/tenants"):
        return json_reply({"data": {}})
    if request.target.startswith("/sdk/traces/spans/"):
        return json_reply({"data": span(9)})
    make = trace if request.method == "POST" else span
    at = request.json["pagination"].get("cursor") if request.method == "POST" else cursor_of(request.target)
    number = 1 if at is None else int(at[1:]) + 1
    return json_reply(page([make(number)], more=number < 3))


def cursor_of(target: str) -> str | None:
    return target.partition("cursor=")[2].partition("&")[0] or None


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    with ServerThread(three_pages) as server:
        yield server


def test_every_call(api: ScriptedApi) -> None:
    """Each call of the asynchronous client works without asyncio; the iterators are plain generators."""
    with NetraClient(api_key="k", endpoint=api.endpoint) as client:
        usage = client.get_session_usage("s", FROM, TO)
        assert usage is not None
        assert usage.total_cost == 1
        assert client.get_tenant_usage("t", FROM, TO) is None
        assert client.list_traces(FROM, TO).has_next_page
        assert client.list_spans_by_trace_id(TRACE, "c2").next_cursor == "c3"
        found = client.get_span("x")
        assert found is not None
        assert [item.name for item in client.iter_traces(FROM, TO)] == ["trace 1", "trace 2", "trace 3"]
        assert [item.name for item in client.iter_spans_by_trace_id(TRACE)] == ["span 1", "span 2", "span 3"]
        assert [len(got.traces) for got in client.iter_trace_pages(FROM, TO)] == [1, 1, 1]
        assert [len(got.spans) for got in client.iter_span_pages(TRACE, cursor="c1")] == [1, 1]
        assert client.stats.statuses[200] == 16
        assert repr(client) == f"NetraClient(127.0.0.1:{api.port})"


def test_from_several_threads(api: ScriptedApi) -> None:
    """Calls from many threads share one client and one budget."""
    with NetraClient(api_key="k", endpoint=api.endpoint, max_concurrency=4) as client, ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda _: len(list(client.iter_spans_by_trace_id(TRACE))), range(64)))
    assert got == [3] * 64
    assert api.connections <= 4


async def test_under_a_running_loop() -> None:
    """Inside a coroutine it blocks, and still works."""
    with ServerThread(three_pages) as server, NetraClient(api_key="k", endpoint=server.endpoint) as client:
        assert len(client.list_traces(FROM, TO).traces) == 1


def test_errors_are_raised_in_the_caller() -> None:
    """A failure is the same `NetraError`, also from an iterator."""
    with (
        ServerThread([json_reply(page([span(1)], more=True)), reply(status=500)]) as server,
        NetraClient(api_key="k", endpoint=server.endpoint, backoff=Backoff(attempts=1)) as client,
    ):
        spans = client.iter_spans_by_trace_id(TRACE)
        assert next(spans).name == "span 1"
        with pytest.raises(NetraUnavailable):
            next(spans)


def test_closing(api: ScriptedApi) -> None:
    """Closing ends the thread and may be repeated; later calls raise, also those of a half-read iterator."""
    client = NetraClient(api_key="k", endpoint=api.endpoint)
    traces = client.iter_traces(FROM, TO)
    next(traces)
    client.close()
    client.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "netra-client"]
    with pytest.raises(UsageError, match="closed"):
        client.get_span("x")
    with pytest.raises(UsageError, match="closed"):
        next(traces)


def test_closing_ends_a_call_under_way() -> None:
    """A call that waits for Netra in another thread ends with an error when the client is closed."""
    with ServerThread([Reply(b"", end="hang")]) as server, ThreadPoolExecutor(1) as pool:
        client = NetraClient(api_key="k", endpoint=server.endpoint)
        call = pool.submit(client.get_span, "x")
        while not server.requests:
            time.sleep(0.01)
        client.close()
        assert isinstance(call.exception(5), UsageError | NetraError)


def test_a_forgotten_client_is_closed(api: ScriptedApi) -> None:
    """A client that is never closed leaves no thread and no warning once it is collected."""
    client = NetraClient(api_key="k", endpoint=api.endpoint)
    client.get_span("x")
    del client
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name == "netra-client"]


FORKING = """
import gc, os, signal, sys
from netra_otel_bridge import NetraClient, UsageError

client = NetraClient(api_key="k", endpoint=sys.argv[1])
client.get_span("x")
if not os.fork():
    signal.alarm(60)
    try:
        client.get_span("x")
    except UsageError as error:
        print(error, flush=True)
    client.close()
    sys.exit(0)
if not os.fork():
    signal.alarm(60)
    del client
    gc.collect()
    sys.exit(0)
for _ in range(2):
    assert os.wait()[1] == 0
client.get_span("x")
print(client.stats.statuses, flush=True)
"""


@pytest.mark.faults
def test_a_forked_child_ends_and_leaves_the_client_of_its_parent_alone(api: ScriptedApi) -> None:
    """A child is told to make its own client; the parent's next call uses its existing connection."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, api.endpoint]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    refused = "this client was made in another process (make one in each process)"
    assert (done.stdout.splitlines(), done.stderr) == ([refused, "Counter({200: 2})"], "")
    assert api.connections == 1
