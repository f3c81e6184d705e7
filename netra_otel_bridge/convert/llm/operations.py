"""Words that dialects use for an operation, a request or a kind, and what they mean."""

from __future__ import annotations

from typing import Any

from netra_otel_bridge.convert.llm.call import Kind

OPERATIONS: dict[str, tuple[Kind, str | None]] = {
    **dict.fromkeys(
        ("chat", "chat.completions", "chat_model", "response", "responses", "beta", "message", "messages"),
        (Kind.LLM, "chat"),
    ),
    **dict.fromkeys(
        ("text_completion", "text_completions", "completion", "completions", "fim"), (Kind.LLM, "text_completion")
    ),
    **dict.fromkeys(("generate_content", "generatecontent"), (Kind.LLM, "generate_content")),
    **dict.fromkeys(("embeddings", "embedding", "embed", "embedder"), (Kind.EMBEDDING, "embeddings")),
    **dict.fromkeys(("rerank", "reranker"), (Kind.RERANKER, None)),
    **dict.fromkeys(
        ("retrieval", "retriever", "retrieve", "vector_db_retrieve", "vectordb"), (Kind.RETRIEVER, "retrieval")
    ),
    "search_memory": (Kind.RETRIEVER, None),
    **dict.fromkeys(
        ("execute_tool", "tool", "tool.call", "function", "mcp_tool", "mcp_list_tools"), (Kind.TOOL, "execute_tool")
    ),
    **dict.fromkeys(("invoke_agent", "agent", "agent.run"), (Kind.AGENT, "invoke_agent")),
    "create_agent": (Kind.AGENT, "create_agent"),
    **dict.fromkeys(("invoke_workflow", "workflow", "crew", "chain", "flow"), (Kind.WORKFLOW, "invoke_workflow")),
    "guardrail": (Kind.GUARDRAIL, None),
    "handoff": (Kind.HANDOFF, None),
    "evaluator": (Kind.EVALUATOR, None),
    "prompt": (Kind.PROMPT, None),
    "usage": (Kind.USAGE, None),
    **dict.fromkeys(
        ("speech", "transcription", "tts", "stt", "image_generation", "image", "images", "audio"), (Kind.MEDIA, None)
    ),
}
"""Kind and GenAI operation of each word that a dialect uses for an operation, a request or a kind."""

GENERATION = frozenset({"generation", "llm", "lm", "request"})
"""Words that say "a call to a model", and leave open which."""


def is_model_word(word: str | None) -> bool:
    """Return whether a word tells a call to a model that answers."""
    return word is not None and (word in GENERATION or OPERATIONS.get(word, (None, None))[0] is Kind.LLM)


def as_kind_word(value: Any) -> str | None:
    """Return a word that tells a kind; ``None`` for others, such as ``SPAN`` and ``task``, which tell nothing.

    MLflow writes its words as JSON strings, in quotes.
    """
    word = value.strip('"').lower() if isinstance(value, str) else ""
    return word if word in OPERATIONS or word in GENERATION else None
