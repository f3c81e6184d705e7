"""The items of a message's content, in the forms of the providers, and the text that only looks like them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netra_otel_bridge.convert.llm.parts import parts_of
from tests.support.converted import attributes, convert


def said(words: str) -> dict[str, Any]:
    return {"type": "text", "content": words}


def called(call_id: str | None, name: str, arguments: Any) -> dict[str, Any]:
    own = {} if call_id is None else {"id": call_id}
    return {"type": "tool_call", **own, "name": name, "arguments": arguments}


def answered(call_id: str, response: Any) -> dict[str, Any]:
    return {"type": "tool_call_response", "id": call_id, "response": response}


SILENT = [
    {"type": "text"},
    {"type": "text", "content": None},
    {"type": "blob", "modality": "image", "mime_type": "image/png"},
    {"type": "uri", "modality": "image"},
    {"type": "file", "modality": "image"},
    {"type": "image_url", "image_url": None},
    {"type": "thinking", "signature": "c2ln"},
    {"type": "tool_call", "id": "c1"},
    {"type": "server_tool_call", "id": "c1"},
    {},
    None,
]


@pytest.mark.parametrize("item", SILENT, ids=str)
def test_a_part_that_says_nothing_is_left_out(item: Any) -> None:
    """A part of a known type without its content is no part, and conversion goes on."""
    assert parts_of([item, {"type": "text", "text": "hi"}]) == [said("hi")]
    for side in ("input", "output"):
        messages = json.dumps([{"role": "user", "parts": [item]}, {"role": "user", "parts": [said("hi")]}])
        columns = {"gen_ai.request.model": "m", "gen_ai.operation.name": "chat", f"gen_ai.{side}.messages": messages}
        shown = attributes(convert("both", attributes=json.dumps(columns)))
        assert shown[f"llm.{side}_messages.1.message.content"] == "hi"


@pytest.mark.parametrize(
    ("item", "part"),
    [
        ({"type": "text", "content": 5}, said("5")),
        ({"type": "text", "text": {"value": "hello", "annotations": []}}, said("hello")),
        ({"type": "text", "text": {"a": 1}}, said('{"a":1}')),
        ({"type": "blob", "modality": "image", "content": 5}, said('{"type":"blob","modality":"image","content":5}')),
        ({"type": "tool_call", "arguments": {"a": 1}}, said('{"type":"tool_call","arguments":{"a":1}}')),
        ({"type": "server_tool_call", "name": "f", "arguments": {"a": 1}}, called(None, "f", {"a": 1})),
        (
            {"type": "file", "modality": "image", "file_id": "f1"},
            {"type": "file", "modality": "image", "file_id": "f1"},
        ),
    ],
    ids=str,
)
def test_odd_content_is_read_for_what_it_says(item: Any, part: Any) -> None:
    """A part of a known type whose content has another kind is a part that readers can rely on."""
    assert parts_of([item]) == [part]


ANSWERS = [
    {"name": "Ann", "input": "x", "age": 33},
    {"name": "Ann", "input": "x"},
    {"name": "Ann", "args": ["x"], "id": "7", "city": "Oslo"},
    {"tool_use_id": "t", "content": "c", "page": 3},
    {"type": "tool_use", "name": "f", "input": {}, "rating": 5},
    [{"text": "good film", "label": "pos"}, {"text": "bad film", "label": "neg"}],
    [{"type": "text", "text": "good film", "label": "pos"}],
    [{"type": "function", "name": "f", "doc": "about f"}],
    [{"type": "function", "name": "f"}],
    [{"type": "image", "url": "https://example.com/a.png", "caption": "a quay"}],
    [{"type": "document", "title": "T", "content": "c"}],
    [{"type": "person", "name": "Ann"}],
    [{"text": "a"}, {"type": "person", "name": "Ann"}],
    [{"functionCall": {"name": "f"}, "line": 3}],
    [{"type": "tool_result", "content": "passed"}],
    ["a", "b"],
]


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
def test_a_structured_answer_stays_text(answer: Any) -> None:
    """JSON text with other fields than a provider writes is what was said, whatever fields it shares with parts."""
    words = json.dumps(answer)
    assert parts_of(words, calls=True) == [said(words)]
    columns = {"gen_ai.request.model": "m", "gen_ai.prompt.0.content": "q", "gen_ai.completion.0.content": words}
    shown = attributes(convert("both", attributes=json.dumps(columns)))
    assert shown["llm.output_messages.0.message.content"] == words
    assert json.loads(shown["gen_ai.output.messages"])[0]["parts"] == [said(words)]


@pytest.mark.parametrize(
    ("items", "parts"),
    [
        (
            [{"type": "text", "text": "hi", "citations": None}, {"type": "widget", "x": 1}],
            [said("hi"), {"type": "widget", "x": 1}],
        ),
        (
            [{"type": "redacted_thinking", "data": "Zm9v"}, {"type": "text", "text": "hi"}],
            [{"type": "redacted_thinking", "data": "Zm9v"}, said("hi")],
        ),
        (
            [
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "tide"}},
                {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "https://example.com"}]},
            ],
            [called("s1", "web_search", {"query": "tide"}), answered("s1", [{"url": "https://example.com"}])],
        ),
        (
            [{"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}],
            [{"type": "uri", "modality": "video", "uri": "https://example.com/a.mp4"}],
        ),
        (
            [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "tide table"}}],
            [said("tide table")],
        ),
        (
            [{"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "tide"}]}}],
            [said("tide")],
        ),
        (
            [{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD"}}],
            [{"type": "blob", "modality": "document", "mime_type": "application/pdf", "content": "QUJD"}],
        ),
        (
            [{"text": "hi"}, {"executableCode": {"language": "PYTHON", "code": "1"}}],
            [said("hi"), {"type": "executable_code", "language": "PYTHON", "code": "1"}],
        ),
        (
            [{"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}],
            [{"type": "code_execution_result", "outcome": "OUTCOME_OK", "output": "1"}],
        ),
        (
            [{"text": "see"}, {"document": {"format": "pdf", "name": "a", "source": {"bytes": "QUJD"}}}],
            [
                said("see"),
                {"type": "blob", "modality": "document", "mime_type": "application/pdf", "content": "QUJD"},
            ],
        ),
        (
            [{"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://b/a.mp4"}}}}],
            [{"type": "uri", "modality": "video", "mime_type": "video/mp4", "uri": "s3://b/a.mp4"}],
        ),
        (
            [{"type": "file", "data": "https://example.com/a.pdf", "mediaType": "application/pdf"}],
            [
                {
                    "type": "uri",
                    "modality": "document",
                    "mime_type": "application/pdf",
                    "uri": "https://example.com/a.pdf",
                }
            ],
        ),
        (
            [
                {
                    "type": "tool-result",
                    "toolCallId": "c1",
                    "toolName": "f",
                    "output": {"type": "text", "value": "4 C"},
                },
                {"type": "tool-result", "toolCallId": "c2", "toolName": "f", "output": {"type": "json", "value": [7]}},
            ],
            [answered("c1", "4 C"), answered("c2", [7])],
        ),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_items_of_providers_are_parts(items: Any, parts: Any) -> None:
    """Each form of a provider is a part, decoded and as JSON text, and an unknown one does not spoil the others."""
    assert parts_of(items) == parts
    assert parts_of(json.dumps(items)) == parts
