"""One trace that costs far more than its bytes: the process stays small, and ends when it is told to."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.support.child import Child, Ended, run
from tests.support.hostile import TRACE, hostile_reply
from tests.support.scripted_api import Reply, Request, ServerThread, json_reply, page, span, trace

pytestmark = pytest.mark.faults

MIB = 1 << 20
AT_MS = 1763251200000


def environment(endpoint: str) -> dict[str, str]:
    return {
        "NETRA_API_KEY": "k",
        "NETRA_OTLP_ENDPOINT": endpoint,
        "NETRA_BRIDGE_USAGE_POLL": "1h",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
    }


class OneTrace:
    """A Netra that has one trace. ``size_bytes`` is the size of its spans in JSON."""

    def __init__(self, spans: int) -> None:
        attributes = json.dumps({f"key.{number}": "v" * 40 for number in range(30)})
        self._spans = [span(number, attributes=attributes) for number in range(spans)]
        self.size_bytes = 0

    def __call__(self, request: Request) -> Reply:
        if "/spans" not in request.target:
            return json_reply(page([trace(1, id=TRACE, start_time=str(AT_MS), end_time=str(AT_MS + 1))]))
        start = int(request.target.partition("cursor=c")[2].partition("&")[0] or -1) + 1
        body = page(self._spans[start : start + 100], more=start + 100 < len(self._spans))
        self.size_bytes += len(json.dumps(body))
        return json_reply(body)


def replay(netra: OneTrace, directory: Path) -> Ended:
    directory.mkdir()
    with ServerThread(netra) as api:
        to = f"otlp-file:{directory / 'out.jsonl'}"
        when = ("--from", "2025-11-15", "--until", "2025-11-17")
        return run("replay", *when, "--to", to, "--json", directory=directory, env=environment(api.endpoint))


def test_a_large_trace_takes_at_most_three_times_its_bytes(tmp_path: Path) -> None:
    """A trace of 20,000 spans is sent in parts: beyond what a small one takes, memory grows by three times its JSON at most."""
    small, large = OneTrace(10), OneTrace(20_000)
    few, many = replay(small, tmp_path / "few"), replay(large, tmp_path / "many")
    assert (few.code, many.code) == (0, 0), many.err
    assert many.lane["delivered"] == 20_000
    assert many.peak_bytes - few.peak_bytes <= 3 * large.size_bytes


@pytest.mark.parametrize(
    "name", ["items without anything", "one long text of escapes", "attributes of many keys, as text"]
)
def test_sigterm_while_a_hostile_answer_is_read(tmp_path: Path, name: str) -> None:
    """While Netra answers with what is slow to read, ``run`` ends within seconds of SIGTERM."""
    hostile = hostile_reply(name)

    def script(request: Request) -> Reply:
        if "/spans" in request.target:
            return hostile
        return json_reply(page([trace(1, id=TRACE, start_time=str(AT_MS), end_time=str(AT_MS + 1))]))

    with ServerThread(script) as api:
        arguments = (
            "run",
            "--since",
            "1h",
            "--to",
            f"otlp-file:{tmp_path / 'out.jsonl'}",
            "--state",
            str(tmp_path / "s"),
        )
        with Child(*arguments, directory=tmp_path, env=environment(api.endpoint)) as child:
            child.until(lambda: any("/spans" in request.target for request in api.requests))
            time.sleep(0.2)
            began = time.monotonic()
            child.signal(signal.SIGTERM)
            ended = child.wait(10)
    assert ended.code == 0, ended.err
    assert time.monotonic() - began < 5
    assert ended.peak_bytes < 512 * MIB
