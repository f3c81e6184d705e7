"""Answers that cost a reader far more than their bytes, as a hostile Netra would send them.

Run as a program, this file reads one of them and prints, as JSON, how that ended and what it cost:
``python -m tests.support.hostile NAME``.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.core.clock import Backoff
from netra_otel_bridge.core.errors import NetraError
from netra_otel_bridge.pipeline.converting import Conversion, encode_apart
from netra_otel_bridge.source import AsyncNetraClient
from tests.support.scripted_api import Reply, ScriptedApi, reply
from tests.support.watchdog import LoopWatch

TRACE = "ab" * 16
MIB = 1 << 20
_SPAN = b'{"id":"%016x","trace_id":"' + TRACE.encode() + b'","name":"n","cursor":"c"'


def _page(items: bytes) -> bytes:
    return b'{"data":{"data":[' + items + b'],"pageInfo":{"hasNextPage":false}}}'


def _span(fields: bytes) -> bytes:
    return _page(_SPAN % 1 + b"," + fields + b"}")


def _keys(count: int) -> bytes:
    return b"{" + b",".join(b'"k%d":1' % number for number in range(count)) + b"}"


def _quoted(text: bytes) -> bytes:
    return json.dumps(text.decode()).encode()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "items without anything": lambda: _page(b"{}," * (21 * MIB) + b"{}"),
    "items that are null": lambda: _page(b"null," * (12 * MIB) + b"null"),
    "tiny spans": lambda: _page(b'{"id":"a","trace_id":""},' * 2_500_000 + b'{"id":"a","trace_id":""}'),
    "metadata of NaN": lambda: _span(b'"metadata":[' + b"NaN," * (15 * MIB) + b"NaN]"),
    "metadata of lists": lambda: _span(b'"metadata":[' + b"[]," * (20 * MIB) + b"[]]"),
    "attributes of many keys": lambda: _span(b'"attributes":' + _keys(4_000_000)),
    "attributes of many keys, as text": lambda: _span(b'"attributes":' + _quoted(_keys(4_000_000))),
    "events of many items, as text": lambda: _span(b'"events":' + _quoted(b"[" + b"{}," * (15 * MIB) + b"{}]")),
    "digits": lambda: _span(b'"attributes":{"n":' + b"7" * (32 * MIB) + b"}"),
    "digits, as text": lambda: _span(b'"attributes":"{\\"n\\":' + b"7" * (32 * MIB) + b'}"'),
    "many long numbers": lambda: _span(b'"attributes":{"n":[' + b",".join([b"7" * 3999] * 5000) + b"]}"),
    "many long numbers, as text": lambda: _span(b'"attributes":"{\\"n\\":[' + b",".join([b"7" * 3999] * 5000) + b']}"'),
    "deep": lambda: _span(b'"metadata":' + b"[" * (20 * MIB) + b"]" * (20 * MIB)),
    "unknown fields": lambda: _span(b'"other":[' + b"{}," * (20 * MIB) + b"{}]"),
    "one long text": lambda: _span(b'"attributes":"{\\"a\\":\\"' + b"a" * (60 * MIB) + b'\\"}"'),
    "one long text of escapes": lambda: _span(b'"name":"' + b"\\n" * (30 * MIB) + b'"'),
    "not JSON": lambda: b'{"data":{"data":[' + b"{}," * (20 * MIB),
}

LONG_TEXTS = {"unknown fields", "one long text", "one long text of escapes", "attributes of many keys, as text"} | {
    "events of many items, as text"
}
"""Bodies of tens of megabytes that one call of the parser reads, which nothing can interrupt: see docs/limits.md."""


def hostile_reply(name: str) -> Reply:
    """Return a hostile answer, compressed."""
    return reply(gzip.compress(HOSTILE[name](), 1), headers={"Content-Encoding": "gzip"})


async def read(answer: Reply) -> dict[str, object]:
    """Read the spans of a trace, convert and encode them, and return how that ended and what it cost."""
    backoff = Backoff(first_s=0.01, max_s=0.01, attempts=1)
    began = time.process_time()
    ended = "read"
    async with (
        ScriptedApi([answer]) as api,
        AsyncNetraClient(api_key="k", endpoint=api.endpoint, backoff=backoff, timeout=60) as client,
        LoopWatch() as watch,
    ):
        try:
            page = await client.list_spans_by_trace_id(TRACE)
        except NetraError as error:
            ended = f"{type(error).__name__}: {error.message}"
        else:
            for span in await Conversion(SpanConverter()).convert(None, page.spans):
                await encode_apart(span)
    return {
        "ended": ended,
        "cpu_s": round(time.process_time() - began, 2),
        "blocked_s": round(watch.blocked_s, 3),
        "rss_mb": _peak_mb(),
    }


def _peak_mb() -> int:
    """Return the peak of this program's memory. That of ``getrusage`` includes the peak of the parent at the fork."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


if __name__ == "__main__":
    print(json.dumps(asyncio.run(read(Reply(sys.stdin.buffer.read())))))
