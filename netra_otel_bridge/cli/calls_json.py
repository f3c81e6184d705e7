"""The calls of a trace as JSON: for each span, what it was."""

from __future__ import annotations

from typing import Any

from netra_otel_bridge.cli.call_words import model_of
from netra_otel_bridge.convert import SpanReading, TraceReading
from netra_otel_bridge.convert.llm import Call, Document, Message

_TOKENS = ("input", "output", "total", "cache_read", "cache_write", "reasoning", "audio_input", "audio_output")
_TOOL = ("name", "call_id", "type", "description", "arguments", "result")
_PARAMETERS = (
    "temperature", "top_p", "top_k", "max_tokens", "frequency_penalty", "presence_penalty", "seed", "stop_sequences",
    "choice_count", "dimensions", "reasoning_effort", "stream",
)  # fmt: skip


def calls_json(trace: TraceReading) -> list[dict[str, Any]]:
    """Return an object for each span, in their order. Keys whose values were not recorded are absent."""
    return [_call(one) for one in trace.spans]


def _call(reading: SpanReading) -> dict[str, Any]:
    call, facts = reading.call, reading.call.facts
    return {
        "span_id": reading.span.id,
        "kind": call.kind.value,
        **_present(
            operation=call.operation,
            provider=call.provider,
            model=model_of(call),
            request_model=facts.get("request_model"),
            parameters={name: facts[name] for name in _PARAMETERS if name in facts} if call.operation else None,
            agent=facts.get("agent_name"),
            tokens={name: facts[f"{name}_tokens"] for name in _TOKENS if facts.get(f"{name}_tokens") is not None},
            finish_reasons=facts.get("finish_reasons"),
            system_instructions=call.system,
            input_messages=[_message(one) for one in call.input],
            output_messages=[_message(one) for one in call.output],
            tools=call.tools,
            tool=_tool(call),
            texts=call.texts,
            query=call.query,
            documents=[_document(one) for one in call.documents],
            candidates=[_document(one) for one in call.candidates],
        ),
        **({} if reading.error is None else {"error": reading.error}),
    }


def _message(message: Message) -> dict[str, Any]:
    return {
        "role": message.role,
        **_present(name=message.name),
        "parts": message.parts,
        **_present(finish_reason=message.finish_reason),
    }


def _document(document: Document) -> dict[str, Any]:
    return _present(id=document.id, score=document.score, content=document.content, metadata=document.metadata)


def _tool(call: Call) -> dict[str, Any]:
    return {name: call.facts[f"tool_{name}"] for name in _TOOL if f"tool_{name}" in call.facts}


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value not in ({}, [], (), "")}
