"""Support for tests of the main job against real receivers: spans for Netra to hold, the command, and the comparison."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from tests.support.cli import CANARY, environment
from tests.support.compare import Key, Normal, spans_by_id
from tests.support.emulator import ThreadedEmulator
from tests.support.spans import context, make_span

NOT_IN_NETRA = ("scope", "scope_schema", "resource_schema", "trace_state", "dropped", "flags")
HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS
MANY = 5000
ATTRIBUTES = {
    "text": "grüße, 世界 😀\n\ttab",
    "empty": "",
    "true": True,
    "false": False,
    "int": 42,
    "largest": 2**63 - 1,
    "smallest": -(2**63),
    "zero": 0,
    "double": 0.1,
    "whole double": 3.0,
    "tiny": 5e-324,
    "texts": ("a", "", "ü"),
    "ints": (1, -2),
    "doubles": (0.5, 1.0),
    "booleans": (True, False),
    "mixed": ("a", 1, 2.5, True),
    "nested": (("a", 1), {"k": ("v",)}),
    "map": {"a": 1, "b": {"c": "d"}},
    "no items": (),
}
RESOURCE = Resource({"service.name": "assistant", "service.version": "2.3.1", "team.ids": (1, 2), "ratio": 0.5})


class Receiver(Protocol):
    """The common interface of the real servers in ``tests/support``."""

    otlp_grpc: str
    otlp_http: str
    not_kept: tuple[str, ...]

    def trace(self, trace_id: int | str, spans: int = 1) -> dict[str, Any]: ...

    def as_kept(self, sent: dict[Key, Normal]) -> dict[Key, Normal]: ...


def own_spans(now_ns: int) -> list[ReadableSpan]:
    """Return spans of every kind, status and type: events, links, bytes, no duration, hours and days old, 3 MB in one
    span, 5,000 in one trace.
    """
    codes = [Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "it broke"), Status(), Status()]
    spans: list[ReadableSpan] = []
    for trace_id, age_ns in ((0xA1, 2 * HOUR_NS), (0xA2, 3 * DAY_NS), (0xA3, 40 * DAY_NS), (0xA4, 400 * DAY_NS)):
        start_ns, first = now_ns - age_ns + 7, trace_id << 16
        spans += [
            make_span(
                first + number,
                trace_id=trace_id,
                parent=first if number else None,
                name=f"{kind.name} ü",
                kind=kind,
                attributes={**ATTRIBUTES, "number": number},
                start_ns=start_ns + number,
                end_ns=start_ns + number if number == 4 else None,
                status=status,
                resource=RESOURCE,
                scope=InstrumentationScope("netra", None),
            )
            for number, (kind, status) in enumerate(zip(SpanKind, codes, strict=True))
        ]
        exception = {"exception.type": "ValueError", "exception.message": "nö", "exception.stacktrace": "at line 1"}
        spans.append(
            make_span(
                first + 10,
                trace_id=trace_id,
                parent=first + 1,
                events=[
                    Event("exception", exception, start_ns + 1),
                    Event("gen_ai.content", {"gen_ai.prompt": "x" * 5000, "n": 7}, start_ns + 2),
                    Event("empty", {}, start_ns + 3),
                ],
                links=[Link(context(0xFEED, 0xBEEF), {"why": "retry", "n": 2}), Link(context(trace_id, first))],
                start_ns=start_ns,
                resource=Resource({"service.name": "worker"}),
            )
        )
    old_ns = now_ns - 5 * HOUR_NS
    raw = {"raw": b"\x00\xff\x10", "mixed": ("a", b"\x01")}
    spans.append(make_span(0xB1 << 16, trace_id=0xB1, parent=0xDEAD, attributes=raw, start_ns=old_ns))
    large = {"document": "é" * 750_000, "copy": "y" * 1_500_000}
    spans.append(make_span(0xB2 << 16, trace_id=0xB2, attributes=large, start_ns=old_ns))
    first = 0xC1 << 16
    spans += [
        make_span(
            first + number,
            trace_id=0xC1,
            parent=first + number // 10 if number else None,
            name="step",
            attributes={"number": number},
            start_ns=old_ns + number,
        )
        for number in range(MANY)
    ]
    return spans


def replay(netra: ThreadedEmulator, *flags: str) -> dict[str, Any]:
    """Run the command with its default tries, and return its report; it must exit with 0."""
    environ = environment(netra.endpoint)
    del environ["NETRA_BRIDGE_ATTEMPTS"]
    command = [sys.executable, "-m", "netra_otel_bridge", "replay", "--json", *flags]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def replay_beside(netra: ThreadedEmulator, to: str, archive: Path, *flags: str) -> dict[Key, Normal]:
    """Replay to a receiver and to a file, and return what was sent; both must have received the same number of spans."""
    report = replay(netra, "--to", to, "--to", f"otlp-file:{archive}", *flags)
    documents = [json.loads(line) for line in archive.read_text().splitlines()]
    sent = spans_by_id({"resourceSpans": [one for document in documents for one in document["resourceSpans"]]})
    assert [lane["delivered"] for lane in report["destinations"]] == [len(sent)] * 2
    return sent


def received(receiver: Receiver, expected: dict[Key, Normal]) -> dict[Key, Normal]:
    """Return what the receiver shows of the traces in ``expected``, each span once."""
    found: dict[Key, Normal] = {}
    for trace, count in Counter(trace for trace, _ in expected).items():
        data = receiver.trace(trace, count)
        spans = spans_by_id(data)
        assert _count(data) == len(spans), f"spans of {trace} came twice"
        found |= spans
    return found


def _count(data: dict[str, Any]) -> int:
    """Return how many spans there are, repeats included."""
    return sum(
        len(scope.get("spans", ()))
        for resource in data.get("resourceSpans") or data.get("batches") or ()
        for scope in resource.get("scopeSpans") or resource.get("instrumentationLibrarySpans") or ()
    )


def without_added(sent: dict[Key, Normal], recorded: dict[Key, Normal]) -> dict[Key, Normal]:
    """Return spans without the attributes, their own and of their resource, that the application did not record."""
    return {
        key: {
            **span,
            **{
                where: {name: value for name, value in span[where].items() if name in recorded[key][where]}
                for where in ("attributes", "resource")
            },
        }
        for key, span in sent.items()
    }


def whole_range(spans: dict[Key, Normal]) -> Sequence[str]:
    """Return the flags of a replay of all of them."""
    first, last = min(span["start_ns"] for span in spans.values()), max(span["end_ns"] for span in spans.values())
    begin, end = datetime.fromtimestamp(first // 10**9, UTC), datetime.fromtimestamp(last // 10**9 + 1, UTC)
    return "--from", begin.isoformat(), "--until", end.isoformat(), "--window", "100d"
