"""The names of the GenAI semantic conventions, version 1.41, and the values of a Netra span under them.

The rules are the table in ``docs/mapping.md``. Functions only add keys that the application did not record.
"""

from __future__ import annotations

from typing import Any

from netra_otel_bridge.convert.attributes import as_count, as_double
from netra_otel_bridge.convert.chat_messages import Message
from netra_otel_bridge.core.json_text import clean_text, write_json
from netra_otel_bridge.core.model.netra import TraceSpan

SEMCONV_VERSION = "1.41.0"
OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
CONVERSATION_ID = "gen_ai.conversation.id"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
USAGE_COST = "gen_ai.usage.cost"
TOOL_NAME = "gen_ai.tool.name"
AGENT_NAME = "gen_ai.agent.name"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
ERROR_TYPE = "error.type"
TENANT_ID = "netra.tenant.id"
OPERATION_OF_REQUEST_TYPE = {"chat": "chat", "completion": "text_completion", "embedding": "embeddings"}
"""``gen_ai.operation.name`` of each ``llm.request.type``."""
OPERATION_OF_KIND = {
    "GENERATION": "chat",
    "EMBEDDING": "embeddings",
    "TOOL": "execute_tool",
    "AGENT": "invoke_agent",
}
KIND_OF_OPERATION = {
    "chat": "GENERATION",
    "text_completion": "GENERATION",
    "generate_content": "GENERATION",
    "embeddings": "EMBEDDING",
    "execute_tool": "TOOL",
    "invoke_agent": "AGENT",
}
_PROVIDERS = {
    "anthropic": "anthropic",
    "aws": "aws.bedrock",
    "aws.bedrock": "aws.bedrock",
    "aws_bedrock": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "az.ai.inference": "azure.ai.inference",
    "az.ai.openai": "azure.ai.openai",
    "azure_openai": "azure.ai.openai",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "gemini": "gcp.gemini",
    "google_genai": "gcp.gen_ai",
    "groq": "groq",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "mistral_ai": "mistral_ai",
    "openai": "openai",
    "perplexity": "perplexity",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
INPUT_TOKEN_DIALECTS = (INPUT_TOKENS, "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens")
OUTPUT_TOKEN_DIALECTS = (OUTPUT_TOKENS, "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens")
CACHE_READ_DIALECTS = (
    CACHE_READ_TOKENS,
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.cached_tokens",
    "llm.usage.cache_read_input_tokens",
)
TOTAL_TOKEN_DIALECTS = ("llm.usage.total_tokens", "gen_ai.usage.total_tokens")


def provider(recorded: Any) -> str | None:
    """Return ``gen_ai.provider.name`` of a ``gen_ai.system``; a name unknown to the conventions stays."""
    if not isinstance(recorded, str) or not recorded:
        return None
    return _PROVIDERS.get(recorded.lower(), recorded)


def system_of(attributes: dict[str, Any]) -> Any:
    """Return the recorded provider, in the dialects that netra-sdk writes."""
    return attributes.get("gen_ai.system") or attributes.get("netra.llm_system")


def tokens(column: Any, attributes: dict[str, Any], dialects: tuple[str, ...]) -> int | None:
    """Return a token count: Netra's column, else the first dialect that was recorded, else ``None``."""
    count = None if column is None else as_count(column)
    if count is None:
        for name in dialects:
            if name in attributes and (count := as_count(attributes[name])) is not None:
                break
    return count


def add(attributes: dict[str, Any], name: str, value: Any) -> None:
    """Set an attribute unless it was recorded; ``None`` sets nothing."""
    if value is not None and name not in attributes:
        attributes[name] = value if type(value) is not str or value.isascii() else clean_text(value)


def effective_kind(column_kind: str | None, attributes: dict[str, Any]) -> str | None:
    """Return Netra's type of a span: the column, else ``netra.span.type``, else that of the recorded operation."""
    recorded = attributes.get("netra.span.type")
    kind = column_kind if column_kind not in (None, "SPAN") else recorded
    if isinstance(kind, str) and kind.upper() != "SPAN":
        return kind.upper()
    operation = attributes.get(OPERATION_NAME) or OPERATION_OF_REQUEST_TYPE.get(
        str(attributes.get("llm.request.type")).lower()
    )
    return KIND_OF_OPERATION.get(str(operation), column_kind or (kind.upper() if isinstance(kind, str) else None))


def add_genai(
    attributes: dict[str, Any],
    span: TraceSpan,
    kind: str | None,
    *,
    prompt: list[Message],
    completion: list[Message],
    cost: bool,
) -> None:
    """Add the conventions' attributes. ``kind`` is Netra's type; ``cost`` adds ``gen_ai.usage.cost``, which they lack."""
    request_type = OPERATION_OF_REQUEST_TYPE.get(str(attributes.get("llm.request.type")).lower())
    if kind in OPERATION_OF_KIND:
        add(attributes, OPERATION_NAME, request_type or OPERATION_OF_KIND[kind])
    add(attributes, PROVIDER_NAME, provider(system_of(attributes)))
    add(attributes, REQUEST_MODEL, span.model_name or attributes.get("netra.model"))
    add(attributes, CONVERSATION_ID, span.session_id)
    add(attributes, INPUT_TOKENS, tokens(span.prompt_tokens, attributes, INPUT_TOKEN_DIALECTS))
    add(attributes, OUTPUT_TOKENS, tokens(span.completion_tokens, attributes, OUTPUT_TOKEN_DIALECTS))
    add(attributes, CACHE_READ_TOKENS, tokens(span.cached_tokens, attributes, CACHE_READ_DIALECTS))
    if cost:
        add(attributes, USAGE_COST, as_double(span.total_cost))
    if kind == "TOOL":
        add(attributes, TOOL_NAME, span.name)
    elif kind == "AGENT":
        add(attributes, AGENT_NAME, attributes.get("netra.agent.name") or span.name)
    if prompt:
        add(attributes, INPUT_MESSAGES, write_json([message.as_genai() for message in prompt]))
    if completion:
        add(attributes, OUTPUT_MESSAGES, write_json([message.as_genai() for message in completion]))
        reasons = tuple(
            message.finish_reason
            for message in completion
            if isinstance(message.finish_reason, str) and message.finish_reason
        )
        add(attributes, FINISH_REASONS, reasons or None)
