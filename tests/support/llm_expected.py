"""A table form for the right values of a recorded span, and the comparison with what conversion wrote.

``Call`` names a fact once; `Call.differences` compares it in each convention. A fact that is not given must be absent.
``ANY`` leaves a fact open, `Holds` demands words in it, and a tuple of `one_of` allows several values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.llm_cases import found, recorded
from tests.support.llm_compare import ANY, Holds, OneOf, is_same
from tests.support.llm_views import Message, genai_view, openinference_view, split_results

CONVENTIONS = ("genai", "openinference")
FINISH = {
    "tool_calls": "tool_call", "tool_use": "tool_call", "tool-calls": "tool_call", "end_turn": "stop", "STOP": "stop",
    "completed": "stop",
}  # fmt: skip
"""Reasons as models word them, in the words of GenAI. OpenInference has no words of its own: both are right there."""


def holds(*words: str) -> Holds:
    """Return a value that only has to hold these words."""
    return Holds(words)


def one_of(*values: Any) -> OneOf:
    """Return several values, of which each is right."""
    return OneOf(values)


def text(content: Any) -> dict[str, Any]:
    """Return a part of text."""
    return {"type": "text", "content": content}


def thought(content: Any) -> dict[str, Any]:
    """Return a part of reasoning."""
    return {"type": "reasoning", "content": content}


def call(id_: str | None, name: str, arguments: Any) -> dict[str, Any]:
    """Return a part that asks for a tool."""
    return {"type": "tool_call", "id": id_, "name": name, "arguments": arguments}


def link(modality: str, uri: str) -> dict[str, Any]:
    """Return an image or a sound by its address."""
    return {"type": "uri", "modality": modality, "uri": uri}


def blob(modality: str, mime_type: str, content: str) -> dict[str, Any]:
    """Return an image or a sound in base64."""
    return {"type": "blob", "modality": modality, "mime_type": mime_type, "content": content}


def said(role: str, *parts: Any, finish: str | None = None) -> Message:
    """Return a message; a text is a part of text. ``finish`` is the reason in the conventions' own words."""
    shown = [part if isinstance(part, dict) else text(part) for part in parts]
    return {"role": role, "parts": shown} | ({"finish_reason": finish} if finish else {})


def system(*parts: Any) -> Message:
    """Return the system's message."""
    return said("system", *parts)


def user(*parts: Any) -> Message:
    """Return a message of the user."""
    return said("user", *parts)


def assistant(*parts: Any, finish: str | None = None) -> Message:
    """Return a message of the model."""
    return said("assistant", *parts, finish=finish)


def result(id_: str | None, response: Any) -> Message:
    """Return the result of a tool."""
    return {"role": "tool", "parts": [{"type": "tool_call_response", "id": id_, "response": response}]}


def function(name: str, description: str | None = None, parameters: Any = None) -> dict[str, Any]:
    """Return the definition of a tool."""
    known = {"description": description, "parameters": parameters}
    return {"type": "function", "name": name, **{key: value for key, value in known.items() if value is not None}}


@dataclass(frozen=True, kw_only=True)
class Call:
    """The right values of one recorded span.

    ``genai`` and ``openinference`` replace facts in one convention, where it has none, or where a recorded attribute of
    that name stays as it is. ``llm`` are the provider and the system of OpenInference.
    """

    kind: Any
    operation: Any = None
    provider: Any = None
    llm: tuple[Any, Any] = (ANY, ANY)
    request_model: Any = None
    response_model: Any = None
    model: Any = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    first_chunk: Any = None
    tokens: Any = field(default_factory=dict)
    finish: Any = None
    response_id: Any = None
    conversation: Any = None
    input: Any = ()
    output: Any = ()
    tools: Any = ()
    tool_name: Any = None
    tool_id: Any = None
    arguments: Any = None
    result: Any = None
    tool_description: Any = None
    agent: Any = None
    workflow: Any = None
    query: Any = None
    documents: Any = ()
    candidates: Any = ()
    reranked: Any = ()
    embedded: Any = ()
    genai: Mapping[str, Any] = field(default_factory=dict)
    openinference: Mapping[str, Any] = field(default_factory=dict)

    def differences(self, recording: str, name: str, convention: str) -> dict[str, tuple[Any, Any]]:
        """Return each fact that differs, as what is right and what was found, after conversion under a convention."""
        attributes = found(recording, name, "genai" if convention == "genai" else "openinference")
        if convention == "genai":
            wanted, view = self._genai(attributes), genai_view(attributes)
            if "gen_ai.input.messages" in recorded(recording, name):
                view["input"] = split_results(view["input"])
        else:
            wanted, view = self._openinference(attributes), openinference_view(attributes)
            for message, reason in zip(view["output"], self.finish or (), strict=False):
                if message.get("finish_reason") == reason:
                    message["finish_reason"] = FINISH.get(reason, reason)
        return {
            fact: (right, view.get(fact)) for fact, right in wanted.items() if not is_same(fact, right, view.get(fact))
        }

    def _genai(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        scored = [document for document in self.documents if {"id", "score"} <= document.keys()]
        wanted = {
            "operation": self.operation,
            "provider": self.provider,
            "request_model": self.request_model,
            "response_model": self.response_model,
            "parameters": dict(self.parameters),
            "first_chunk": self.first_chunk,
            "tokens": _without(self.tokens, "total", "audio_input", "audio_output"),
            "finish": self.finish,
            "response_id": self.response_id,
            "conversation": self.conversation,
            "input": self.input,
            "output": self.output,
            "tools": self.tools,
            "tool_name": self.tool_name,
            "tool_id": self.tool_id,
            "arguments": self.arguments,
            "result": self.result,
            "tool_description": self.tool_description,
            "workflow": self.workflow,
            "query": self.query,
            "documents": tuple(scored) if len(scored) == len(self.documents) else (),
        }
        if self.kind == "AGENT":
            wanted["agent"] = self.agent
        return wanted | dict(self.genai)

    def _openinference(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        wanted: dict[str, Any] = {
            "kind": self.kind,
            "parameters": dict(self.parameters),
            "tokens": self.tokens,
            "finish": self.finish,
            "conversation": self.conversation,
            "input": _calls_last(self.input),
            "output": _calls_last(self.output),
            "tools": self.tools,
            "documents": self.documents,
            "candidates": self.candidates,
            "reranked": self.reranked,
            "embedded": self.embedded,
            "form": [],
        }
        if self.kind in ("LLM", "EMBEDDING"):
            wanted["model"] = self.model
        if self.kind == "LLM":
            wanted["llm_provider"], wanted["llm_system"] = self.llm
        if self.kind == "TOOL":
            wanted |= {"tool_name": self.tool_name, "arguments": self.arguments, "result": self.result}
        if self.kind == "AGENT":
            wanted |= {"agent": self.agent, "tokens": ANY}
        if self.kind == "RETRIEVER" and self.query is not None:
            wanted["asked"] = self.query if isinstance(self.query, Holds) else holds(self.query)
        if self.kind == "RERANKER":
            wanted |= {"reranker_query": self.query, "reranker_model": self.model}
        return wanted | dict(self.openinference)


Cases = Mapping[tuple[str, str], Call]


def each(cases: Cases) -> Iterable[tuple[str, str, Call]]:
    """Return the cases of a table as arguments of a test: recording, span, right values."""
    return [(recording, name, right) for (recording, name), right in cases.items()]


def _without(values: Any, *names: str) -> Any:
    return {key: value for key, value in values.items() if key not in names} if isinstance(values, Mapping) else values


def _calls_last(messages: Any) -> Any:
    if not isinstance(messages, tuple | list):
        return messages
    return [
        {**message, "parts": sorted(message["parts"], key=lambda part: part["type"] == "tool_call")}
        for message in messages
    ]
