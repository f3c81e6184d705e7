"""Traces as `traces show` draws them, as plain text of a given width."""

from __future__ import annotations

import io
import json
from typing import Any

from netra_otel_bridge.cli.conversation import Conversation
from netra_otel_bridge.cli.output import Console
from netra_otel_bridge.cli.trace_tree import TraceTree
from netra_otel_bridge.convert import Privacy, SpanConverter, read_spans
from netra_otel_bridge.core.model.netra import TraceSpan

TRACE = "ab" * 16
MS = 1_000


def chat(number: int, start_ms: int, asked: list[Any], said: list[Any], **columns: Any) -> TraceSpan:
    """Return a call to a model with messages of the GenAI conventions."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.input.messages": json.dumps(asked),
        "gen_ai.output.messages": json.dumps(said),
        **columns.pop("attributes", {}),
    }
    return span(number, start_ms, name=columns.pop("name", "chat"), kind="GENERATION", attributes=attributes, **columns)


def span(number: int, start_ms: int, *, length_ms: int = 10, parent: int | None = None, **columns: Any) -> TraceSpan:
    """Return a span as Netra answers it. ``start_ms`` counts from the start of the trace."""
    attributes = columns.pop("attributes", {})
    return TraceSpan(
        id=f"{number:016x}",
        trace_id=TRACE,
        parent_span_id=None if parent is None else f"{parent:016x}",
        start_time_ms=MS + start_ms,
        end_time_ms=MS + start_ms + length_ms,
        attributes=json.dumps(attributes),
        **columns,
    )


def message(role: str, *parts: Any, **fields: Any) -> dict[str, Any]:
    """Return a message of the conventions; a part that is a text is one of type ``text``."""
    listed = [{"type": "text", "content": part} if isinstance(part, str) else part for part in parts]
    return {"role": role, "parts": listed, **fields}


def call(name: str, call_id: str | None = None, **arguments: Any) -> dict[str, Any]:
    """Return a tool call of the model."""
    return {"type": "tool_call", "name": name, "arguments": arguments, **({"id": call_id} if call_id else {})}


def result(response: Any, call_id: str | None = None) -> dict[str, Any]:
    """Return the result of a tool call."""
    return {"type": "tool_call_response", "response": response, **({"id": call_id} if call_id else {})}


def tree(*spans: TraceSpan, width: int = 120, privacy: Privacy | None = None) -> list[str]:
    """Return the lines of a trace drawn as a tree."""
    return _lines(TraceTree(TRACE, read_spans(spans, SpanConverter("raw", privacy))), width)


def conversation(*spans: TraceSpan, width: int = 100, full: bool = False, privacy: Privacy | None = None) -> list[str]:
    """Return the lines of the conversation of a trace, without the title."""
    trace = read_spans(spans, SpanConverter("raw", privacy))
    return _lines(Conversation(TRACE, trace, full=full), width)[1:]


def _lines(drawn: object, width: int) -> list[str]:
    printed = io.StringIO()
    Console(file=printed, width=width, highlight=False, emoji=False).print(drawn)
    return printed.getvalue().splitlines()
