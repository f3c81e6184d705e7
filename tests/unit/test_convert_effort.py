"""The time that a policy's expressions may take in one span, and in one trace."""

from __future__ import annotations

import json
import re
import time

import pytest

from netra_otel_bridge.convert import Privacy, SpanConverter, effort
from netra_otel_bridge.convert.effort import LOOK_CHARS, SPAN_S, TRACE_S
from netra_otel_bridge.core.attribute_names import NOTES
from netra_otel_bridge.core.model.netra import TraceSpan
from netra_otel_bridge.pipeline.converting import Conversion
from tests.support.examples import size
from tests.support.watchdog import LoopWatch

pytestmark = pytest.mark.faults

TRACE, OTHER = "ab" * 16, "cd" * 16
TEXT = "x" * LOOK_CHARS


class Cpu:
    """A processor on which each look at the time comes ``step_s`` after the one before."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def converter(cpu: Cpu | None, expression: str = "secret") -> SpanConverter:
    made = SpanConverter("genai", Privacy(content="redact", redact=(re.compile(expression),)))
    if cpu is not None:
        made.limit_searches(cpu)
    return made


def span(number: int, texts: int, trace_id: str = TRACE, text: str = TEXT, **fields: str) -> TraceSpan:
    attributes = json.dumps({f"key.{one}": text for one in range(texts)})
    times = {"start_time_ms": "1763251200000", "end_time_ms": "1763251200001", "kind": "SPAN"}
    return TraceSpan(id=f"{number:016x}", trace_id=trace_id, attributes=attributes, **times, **fields)


def test_the_rest_of_a_span_is_redacted_whole() -> None:
    """Once the searches in a span have taken their time, its other texts leave as `[redacted]`, noted and counted."""
    made = converter(Cpu(SPAN_S / 4))
    long = made.convert(span(1, 20, name="n" * LOOK_CHARS))
    values = [value for key, value in (long.attributes or {}).items() if value in (TEXT, "[redacted]")]
    assert values.count(TEXT) == 4
    assert values.count("[redacted]") == 16
    assert long.name == "[redacted]"
    assert "redaction_cut_short" in (long.attributes or {})[NOTES]
    assert made.counts["redaction_cut_short"] == 1
    next_ = made.convert(span(2, 2))
    assert list((next_.attributes or {}).values()).count(TEXT) == 2, "the next span has its own time"
    assert NOTES not in (next_.attributes or {})


def test_the_rest_of_a_trace_is_redacted_whole() -> None:
    """A trace has its own time beside that of each span, from one reading of it to the next."""
    made = converter(Cpu(SPAN_S / 2))
    cut = 0
    for number in range(100):
        last = made.convert(span(number, 2))
        cut += NOTES in (last.attributes or {})
    assert TEXT not in (last.attributes or {}).values()
    assert 100 - cut == pytest.approx(TRACE_S / SPAN_S, abs=2)
    assert NOTES not in (made.convert(span(1, 2, OTHER)).attributes or {}), "other traces are redacted as before"
    made.begin_trace([span(1, 2)])
    assert NOTES not in (made.convert(span(1, 2)).attributes or {}), "it is read again"


def test_a_process_that_ends_searches_no_more() -> None:
    """An infinite time ends the searches of a span, also if it is the first look at the time."""
    made = converter(Cpu(float("inf")))
    assert TEXT not in (made.convert(span(1, 3)).attributes or {}).values()


def test_short_texts_never_look_at_the_time() -> None:
    """Spans whose texts are short cost nothing more, and a converter without a limit searches everything."""
    cpu = Cpu(TRACE_S)
    converter(cpu).convert(span(1, 10, text="short"))
    assert cpu.now_s == 0
    assert NOTES not in (converter(None).convert(span(1, 20)).attributes or {})


def test_what_was_cut_short_is_not_remembered() -> None:
    """Keys and resources that were redacted whole in one span are searched again in the next one."""
    made = converter(Cpu(SPAN_S))
    resources = json.dumps({"service.name": "shop", "note": "n" * LOOK_CHARS})
    first = made.convert(span(1, 3, resources=resources))
    assert "shop" not in first.resource.attributes.values()
    made.limit_searches(Cpu(0))
    second = made.convert(span(2, 3, resources=resources))
    assert second.resource.attributes["service.name"] == "shop"
    assert {f"key.{one}" for one in range(3)} <= (second.attributes or {}).keys()


def test_keys_that_become_alike_stay_apart_in_linear_time() -> None:
    """Thousands of keys that an expression makes alike each keep their value."""
    made = converter(None, r"\d+")
    attributes = json.dumps({f"key{one}": one % 7 for one in range(20_000)})
    began = time.process_time()
    converted = made.convert(TraceSpan(id="1" * 16, trace_id=TRACE, attributes=attributes))
    assert time.process_time() - began < 20
    assert sum(key.startswith("key[redacted]") for key in converted.attributes or {}) == 20_000


async def test_quadratic_searches_leave_the_loop_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One small trace of quadratic texts is over within its time, while the event loop does other work."""
    trace_s = size(1, int(TRACE_S))
    monkeypatch.setattr(effort, "TRACE_S", trace_s)
    monkeypatch.setattr(effort, "SPAN_S", SPAN_S * trace_s / TRACE_S)
    conversion = Conversion(converter(None, "a.*b|a"))
    spans = [span(number, 2, text="a" * 16_000) for number in range(60)]
    conversion.converter.begin_trace(spans)
    began = time.process_time()
    async with LoopWatch() as watch:
        converted = await conversion.convert(None, spans, 1)
    assert time.process_time() - began < 4 * trace_s
    assert watch.blocked_s < 0.5
    assert not any("a" * 100 in str(one.attributes) for one in converted)
