"""One trace that costs far more than its bytes: the process stays small, and ends when it is told to."""

from __future__ import annotations

import gzip
import json
import signal
import time
from pathlib import Path

import pytest

from tests.support.child import Child, Ended, run
from tests.support.hostile import TRACE, hostile_reply
from tests.support.scripted_api import Reply, Request, ServerThread, json_reply, page, reply, span, trace

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


ANSWERS = {
    "one text with an emoji": ("😀", 62, 3),
    "one text that just fits, with an emoji": ("😀", 15, 0),
    "one text of ASCII": ("", 62, 0),
}
"""The beginning of each text, how many MiB follow it, and the exit code."""
SIX = [f"{number:032x}" for number in range(1, 7)]
OTHERS = [f"{number:032x}" for number in range(7, 27)]


class LargeAnswers:
    """A Netra in which the first traces, ``large``, have one page of one span with one large text, and others are small."""

    def __init__(self, text: str, large: int) -> None:
        self._large = SIX[:large]
        self.ids = [*self._large, *OTHERS]
        attributes = json.dumps({"input": text}, ensure_ascii=False)
        item = {**span(1, attributes=attributes), "trace_id": None}
        body = json.dumps(page([item]), ensure_ascii=False).encode()
        self._body = gzip.compress(body, 1)

    def __call__(self, request: Request) -> Reply:
        if "/spans" not in request.target:
            times = {"start_time": str(AT_MS), "end_time": str(AT_MS + 1)}
            return json_reply(page([trace(number, id=one, **times) for number, one in enumerate(self.ids)]))
        trace_id = next(one for one in self.ids if one in request.target)
        if trace_id in self._large:
            return reply(self._body, headers={"Content-Encoding": "gzip"})
        return json_reply(page([span(number, trace_id=trace_id) for number in range(3)]))


@pytest.mark.parametrize("name", ANSWERS)
def test_six_large_answers_at_once_take_no_more_than_one(tmp_path: Path, name: str) -> None:
    """Whatever the width of their text, large answers are read one after another, below 512 MB, and delay no other trace."""
    beginning, mib, code = ANSWERS[name]
    netra = LargeAnswers(beginning + "a" * mib * MIB, 6)
    out = tmp_path / "out.jsonl"
    with ServerThread(netra) as api:
        when = ("--from", "2025-11-16", "--until", "2025-11-16T01:00:00Z", "--window", "1h")
        ended = run(
            "replay", *when, "--to", f"otlp-file:{out}", "--json", directory=tmp_path, env=environment(api.endpoint)
        )
    assert ended.code == code, ended.err
    assert ended.lane["held_back"] == (6 if code else 0)
    assert ended.lane["delivered"] == 3 * len(OTHERS) + (0 if code else 6)
    assert ended.peak_bytes < 512 * MIB


def test_quadratic_searches_stop_neither_the_lane_nor_a_stop(tmp_path: Path) -> None:
    """One trace on which an expression takes minutes delays the others by seconds, and ``run`` ends within seconds of SIGTERM."""
    attributes = json.dumps({f"gen_ai.prompt.{number}.content": "a" * 16_000 for number in range(40)})
    slow = gzip.compress(
        json.dumps(page([{**span(one, attributes=attributes), "trace_id": None} for one in range(90)])).encode()
    )
    began_ms = time.time_ns() // 10**6 - 60_000

    def script(request: Request) -> Reply:
        times = {"start_time": str(began_ms), "end_time": str(began_ms + 1)}
        ids = [SIX[0], *OTHERS]
        if "/spans" not in request.target:
            return json_reply(page([trace(number, id=one, **times) for number, one in enumerate(ids)]))
        trace_id = next(one for one in ids if one in request.target)
        if trace_id == SIX[0]:
            return reply(slow, headers={"Content-Encoding": "gzip"})
        return json_reply(page([span(1, trace_id=trace_id)]))

    out = tmp_path / "out.jsonl"
    policy = {"NETRA_BRIDGE_CONTENT": "redact", "NETRA_BRIDGE_REDACT": "a.*b|a"}
    with ServerThread(script) as api:
        to = ("--to", f"otlp-file:{out}", "--state", str(tmp_path / "s"))
        with Child("run", "--since", "1h", *to, directory=tmp_path, env=environment(api.endpoint) | policy) as child:
            child.until(lambda: any(SIX[0] in request.target for request in api.requests))
            time.sleep(1)
            began = time.monotonic()
            child.signal(signal.SIGTERM)
            assert child.wait(20).code == 0
            assert time.monotonic() - began < 15
        to = ("--to", f"otlp-file:{tmp_path / 'all.jsonl'}")
        when = ("--from", "2025-11-16", "--until", "2025-11-16T01:00:00Z", "--window", "1h")
        ended = run("replay", *when, *to, "--json", directory=tmp_path, env=environment(api.endpoint) | policy)
    assert ended.code == 0, ended.err
    assert ended.lane["delivered"] == 90 + len(OTHERS)
    assert "redaction_cut_short" in ended.out
    assert "aaa" not in (tmp_path / "all.jsonl").read_text()
