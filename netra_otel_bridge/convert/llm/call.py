"""The neutral model of what a span records about a call to a model, a tool, an agent or a retrieval.

Dialects fill it, and a writer for each convention reads it. A part of a message is a dictionary in the form of the
GenAI conventions 1.41, whose parts can express every dialect: ``{"type": "text", "content": ...}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Part = dict[str, Any]


class Kind(StrEnum):
    """Name the kinds of spans, in the words of OpenInference where it has one."""

    LLM = "LLM"
    EMBEDDING = "EMBEDDING"
    RERANKER = "RERANKER"
    RETRIEVER = "RETRIEVER"
    TOOL = "TOOL"
    AGENT = "AGENT"
    GUARDRAIL = "GUARDRAIL"
    WORKFLOW = "WORKFLOW"
    HANDOFF = "HANDOFF"
    MEDIA = "MEDIA"
    """Speech, transcription or the generation of images: a model, but no chat."""
    USAGE = "USAGE"
    """A sum of tokens and cost, which Netra's SDK records for calls that it did not see."""
    EVALUATOR = "EVALUATOR"
    PROMPT = "PROMPT"
    OTHER = "OTHER"


@dataclass(slots=True)
class Message:
    """One message: a role, its parts in order, and why the model stopped (output only)."""

    role: str
    parts: list[Part] = field(default_factory=list)
    finish_reason: str | None = None
    name: str | None = None


@dataclass(slots=True)
class Document:
    """A document that was retrieved or ranked. Absent values were not recorded."""

    content: str | None = None
    id: str | None = None
    score: float | None = None
    metadata: Any = None


@dataclass(slots=True)
class Call:
    """Hold what one span records. ``facts`` are single values by the names of the table in `facts`."""

    facts: dict[str, Any]
    kind: Kind = Kind.OTHER
    operation: str | None = None
    provider: str | None = None
    input: Sequence[Message] = ()
    output: Sequence[Message] = ()
    system: Sequence[Part] = ()
    tools: Sequence[dict[str, Any]] = ()
    """Definitions of tools: ``{"type": "function", "name": ..., "description": ..., "parameters": ...}``."""
    texts: Sequence[str] = ()
    """The texts that were embedded."""
    query: str | None = None
    documents: Sequence[Document] = ()
    candidates: Sequence[Document] = ()
    """The documents that a reranker was given."""
    notes: Sequence[str] = ()

    def note(self, words: str) -> None:
        """Note what the reader of the span should know. No note holds content."""
        if words not in self.notes:
            self.notes = (*self.notes, words)


def text(content: str) -> Part:
    """Return a part of text."""
    return {"type": "text", "content": content}


def reasoning(content: str) -> Part:
    """Return a part with the model's reasoning."""
    return {"type": "reasoning", "content": content}


def tool_call(call_id: Any, name: str, arguments: Any) -> Part:
    """Return a tool call that the model requested, without what was not recorded."""
    part: Part = {"type": "tool_call"}
    if isinstance(call_id, str) and call_id:
        part["id"] = call_id
    part["name"] = name
    if arguments is not None:
        part["arguments"] = arguments
    return part


def tool_result(call_id: Any, response: Any) -> Part:
    """Return the result of a tool call."""
    part: Part = {"type": "tool_call_response"}
    if isinstance(call_id, str) and call_id:
        part["id"] = call_id
    part["response"] = response
    return part


def media(modality: str, *, uri: Any = None, data: Any = None, file_id: Any = None, mime: Any = None) -> Part | None:
    """Return an image, audio or file by its address, its base64 data, or its id; ``None`` without any.

    An address of the form ``data:image/png;base64,...`` becomes data.
    """
    if isinstance(uri, str) and uri.startswith("data:"):
        head, comma, inline = uri.partition(",")
        if comma and head.endswith(";base64"):
            uri, data, mime = None, inline, mime or head[len("data:") : -len(";base64")]
    part: Part = {"modality": modality}
    if isinstance(mime, str) and mime:
        part["mime_type"] = mime
    if isinstance(data, str) and data:
        return {"type": "blob", **part, "content": data}
    if isinstance(uri, str) and uri:
        return {"type": "uri", **part, "uri": uri}
    if isinstance(file_id, str) and file_id:
        return {"type": "file", **part, "file_id": file_id}
    return None
