"""Names of the GenAI semantic conventions, version 1.41, and Netra's type of a span for its sums.

The names of single values are in `netra_otel_bridge.convert.llm.facts`.
"""

from __future__ import annotations

from typing import Any

from netra_otel_bridge.core.json_text import clean_text

SEMCONV_VERSION = "1.41.0"
OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
USAGE_COST = "gen_ai.usage.cost"
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
