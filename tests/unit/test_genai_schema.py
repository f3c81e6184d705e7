"""The rules that tests judge the written structure by: right examples pass, and each fault is found."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.support.genai_schema import violations

PARTS: list[dict[str, Any]] = [
    {"type": "text", "content": "a"},
    {"type": "reasoning", "content": "b"},
    {"type": "tool_call", "id": None, "name": "n", "arguments": {"a": 1}},
    {"type": "tool_call_response", "id": "1", "response": None},
    {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "AA=="},
    {"type": "uri", "modality": "image", "uri": "https://i.example/a.png"},
    {"type": "file", "modality": "document", "file_id": "f1"},
    {"type": "of_somebody", "x": 1},
]
RIGHT: dict[str, Any] = {
    "gen_ai.input.messages": [{"role": "user", "parts": PARTS}, {"role": "critic", "parts": [], "name": "c"}],
    "gen_ai.output.messages": [{"role": "assistant", "parts": PARTS, "finish_reason": "unknown"}],
    "gen_ai.system_instructions": PARTS,
    "gen_ai.tool.definitions": [
        {"type": "function", "name": "n", "description": "d", "parameters": {"type": "object"}},
        {"type": "web_search", "name": "w"},
    ],
    "gen_ai.retrieval.documents": [{"id": "1", "score": 0.5, "content": "x"}, {"id": "2", "score": 1}],
}
MESSAGES, OUTPUT, TOOLS, DOCUMENTS = (
    "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.definitions", "gen_ai.retrieval.documents",
)  # fmt: skip
FAULTS = [
    (MESSAGES, (0, "role"), None),
    (MESSAGES, (0, "parts"), "text"),
    (MESSAGES, (0, "parts", 0, "content"), None),
    (MESSAGES, (0, "parts", 2, "id"), 5),
    (MESSAGES, (0, "parts", 4, "modality"), None),
    (MESSAGES, (0, "parts", 7, "type"), None),
    (MESSAGES, (0, "parts", 7), "text"),
    (MESSAGES, (1, "name"), 1),
    (OUTPUT, (0, "finish_reason"), None),
    ("gen_ai.system_instructions", (0, "content"), 1),
    (TOOLS, (0, "type"), None),
    (TOOLS, (1, "name"), None),
    (TOOLS, (0, "parameters"), "{}"),
    (DOCUMENTS, (0, "score"), "0.5"),
    (DOCUMENTS, (0, "score"), True),
    (DOCUMENTS, (1, "id"), 2),
]


def test_right_examples_pass() -> None:
    """Structure that the conventions allow has no violations."""
    assert violations({key: json.dumps(value) for key, value in RIGHT.items()}) == []


@pytest.mark.parametrize(("key", "path", "wrong"), FAULTS)
def test_each_fault_is_found(key: str, path: tuple[Any, ...], wrong: Any) -> None:
    """A field that is missing or of another type is a violation, which names the place."""
    value = copy.deepcopy(RIGHT[key])
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    if wrong is None:
        del holder[path[-1]]
    else:
        holder[path[-1]] = wrong
    (fault,) = violations({key: json.dumps(value)})
    assert str(path[-1]) in fault


@pytest.mark.parametrize("value", [5, "{", '{"a": 1}', '[{"id": "1", "score": NaN}]', ({"id": "1", "score": 1},)])
def test_structure_is_a_list_in_json(value: Any) -> None:
    """Structure that is no JSON text of a list is a violation."""
    assert violations({DOCUMENTS: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gen_ai.operation.name", "rerank"),
        ("gen_ai.provider.name", "OpenAI"),
        ("gen_ai.provider.name", "vertex_ai"),
        ("gen_ai.response.finish_reasons", ("unknown",)),
        ("gen_ai.response.finish_reasons", "stop"),
    ],
)
def test_values_that_the_conventions_do_not_list_are_found(key: str, value: Any) -> None:
    """A value with another name in the conventions, or in none, is a violation."""
    assert violations({key: value})


@pytest.mark.parametrize(
    ("key", "value"), [("gen_ai.operation.name", "retrieval"), ("gen_ai.provider.name", "voyageai")]
)
def test_values_that_the_conventions_list_or_leave_open_pass(key: str, value: str) -> None:
    """Operations that are listed, and providers that nobody lists, are no violations."""
    assert violations({key: value}) == []
