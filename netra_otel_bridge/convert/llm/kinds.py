"""Tell what a span is by evidence: Netra's column, the words of any dialect, and what was recorded.

The first evidence in this order counts: a column that names a tool, an agent, an embedding and the like; the recorded
operation of the GenAI conventions; OpenInference's kind; the type of the request; the kind of a step; the shape.
"""

from __future__ import annotations

from functools import lru_cache

from netra_otel_bridge.convert.llm.call import Kind
from netra_otel_bridge.convert.llm.dialects.vector_store import SEARCHES, STORES
from netra_otel_bridge.convert.llm.operations import GENERATION, OPERATIONS
from netra_otel_bridge.convert.llm.recorded import Recorded

_OUTER_STEPS = frozenset({"ai.generatetext", "ai.streamtext", "ai.generateobject", "ai.streamobject"})
_SPEECH = frozenset({"deepgram", "elevenlabs", "cartesia", "assemblyai", "azure_speech"})
_GOOGLE = frozenset({"gcp.gemini", "gcp.vertex_ai", "gcp.gen_ai"})
_PROMPT, _COMPLETION = "gen_ai.prompt.", "gen_ai.completion."
_NAME_SUFFIXES = frozenset({"workflow", "agent", "tool"})
"""Kinds that OpenLLMetry's instrumentations append to the name of a step, after a dot."""
_TELLING_ENDS = tuple(f".{suffix}" for suffix in sorted(_NAME_SUFFIXES))
_RETRIEVERS = ("Retriever", "Retriever.task", "Retriever.retrieve")
_CHAT, _GOOGLE_CHAT = (Kind.LLM, "chat"), (Kind.LLM, "generate_content")
_EMBEDDING, _TOOL = (Kind.EMBEDDING, "embeddings"), (Kind.TOOL, "execute_tool")
_RETRIEVER, _RERANKER = (Kind.RETRIEVER, "retrieval"), (Kind.RERANKER, None)
_MEDIA, _OTHER = (Kind.MEDIA, None), (Kind.OTHER, None)
_QUERY_FACTS = frozenset({"database", "database_operation", "instrumentation", "conversation_id"})
COLUMN_DECIDES = frozenset({"TOOL", "AGENT", "EMBEDDING", "GUARDRAIL", "HANDOFF", "USAGE"})
"""Netra's types that tell a kind by themselves. ``GENERATION`` leaves open which call to a model it is."""


def kind_of(
    column: str | None, recorded: Recorded, provider: str | None, *, has_messages: bool
) -> tuple[Kind, str | None]:
    """Return the kind of a span, and the operation of the GenAI conventions. ``column`` is Netra's type."""
    told = recorded.facts.get
    found, generic = _by_words(
        column,
        told("operation"),
        told("openinference_kind"),
        told("request_type"),
        told("recorded_kind"),
        told("step"),
        provider,
    )
    return found or _by_shape(recorded, provider, generic=generic, has_messages=has_messages)


@lru_cache(maxsize=1024)
def _by_words(
    column: str | None,
    operation: str | None,
    openinference_kind: str | None,
    request_type: str | None,
    recorded_kind: str | None,
    step: str | None,
    provider: str | None,
) -> tuple[tuple[Kind, str | None] | None, bool]:
    """Return what the words say, or nothing, and whether they say "a call to a model" and leave open which."""
    named = OPERATIONS.get(_word(operation))
    if column in COLUMN_DECIDES:
        found = OPERATIONS[column.lower()]
        return named if named is not None and named[0] is found[0] else found, False
    if named is not None:
        return named, False
    generic = column == "GENERATION" or _word(operation) in GENERATION
    if (kind := OPERATIONS.get(_word(openinference_kind))) is not None and kind[0] is not Kind.WORKFLOW:
        return _google(kind, provider), generic
    for word in (_word(openinference_kind), _word(request_type), _word(recorded_kind)):
        generic = generic or word in GENERATION
    for told in (request_type, recorded_kind):
        if (kind := OPERATIONS.get(_word(told))) is not None:
            return _google(kind, provider), generic
    if step and (kind := _step(step.lower())) is not None:
        return _google(kind, provider), generic
    return None, generic


def name_tells(name: str) -> bool:
    """Return whether the name of a span or entity may be evidence of a kind."""
    return "Retriever" in name or "Rerank" in name or "embed" in name or "Embed" in name or name.endswith(_TELLING_ENDS)


def _word(value: str | None) -> str:
    return value.lower() if value else ""


def _step(word: str) -> tuple[Kind, str | None] | None:
    """Return what an operation of Vercel's SDK is. Its outer span repeats the tokens of its inner calls, so it is an agent."""
    if word in _OUTER_STEPS:
        return Kind.AGENT, "invoke_agent"
    if word == "ai.toolcall":
        return Kind.TOOL, "execute_tool"
    if word.startswith("ai.embed"):
        return Kind.EMBEDDING, "embeddings"
    if word.startswith("ai."):
        return Kind.LLM, "chat"
    return None


def _google(found: tuple[Kind, str | None], provider: str | None) -> tuple[Kind, str | None]:
    return _GOOGLE_CHAT if provider in _GOOGLE and found[0] is Kind.LLM else found


def _by_shape(
    recorded: Recorded, provider: str | None, *, generic: bool, has_messages: bool
) -> tuple[Kind, str | None]:
    facts, groups = recorded.facts, recorded.groups
    if _is_media(recorded):
        return _MEDIA
    if _searches_vectors(recorded):
        return _RETRIEVER
    has_model = "request_model" in facts or "response_model" in facts
    has_tokens = "input_tokens" in facts or "output_tokens" in facts or "total_tokens" in facts
    name, entity = recorded.name, str(facts.get("entity_name", ""))
    if (has_model or generic) and "embed" in f"{name} {entity} {facts.get('request_model', '')}".lower():
        return _EMBEDDING
    if generic or (has_model and (has_tokens or has_messages or _PROMPT in groups or _COMPLETION in groups)):
        return _google(_CHAT, provider)
    if "tool_name" in facts:
        return _TOOL
    suffix = name.rpartition(".")[2]
    if suffix in _NAME_SUFFIXES:
        return OPERATIONS[suffix]
    if "documents" in facts or name.endswith(_RETRIEVERS) or entity.endswith(_RETRIEVERS):
        return _RETRIEVER
    if "Rerank" in name or "Rerank" in entity:
        return _RERANKER
    return _OTHER


def asks_plain_database(recorded: Recorded) -> bool:
    """Return whether a span is a query to a database that is no vector store, and nothing else."""
    facts = recorded.facts
    if "database" not in facts or not facts.keys() <= _QUERY_FACTS:
        return False
    return not _searches_vectors(recorded) and not _is_media(recorded)


def _is_media(recorded: Recorded) -> bool:
    told = recorded.facts.get
    return told("instrumentation") in _SPEECH or _word(told("system")) in _SPEECH or _makes_images(recorded)


def _makes_images(recorded: Recorded) -> bool:
    usage = recorded.attributes.get("netra.usage")
    return isinstance(usage, str) and '"usage_type": "image"' in usage.replace('":"', '": "')


def _searches_vectors(recorded: Recorded) -> bool:
    database, operation = recorded.facts.get("database"), _word(recorded.facts.get("database_operation"))
    if database is None:
        return operation in SEARCHES and "gen_ai.agno.vectordb.operation" in recorded.attributes
    if _word(database) not in STORES:
        return False
    return operation in SEARCHES or (not operation and recorded.name.rpartition(".")[2].lower() in SEARCHES)
