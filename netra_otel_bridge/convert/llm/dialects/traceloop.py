"""Steps of a workflow, as OpenLLMetry, LangChain's and LlamaIndex's instrumentations and DSPy write them.

traceloop.span.kind = "tool"               netra.span.kind = "task"
traceloop.entity.name = "search"           netra.entity.name = "VectorIndexRetriever.task"
traceloop.entity.input = {"q": "hotels"}   dspy.span_kind = "Embedder"
"""

from __future__ import annotations

from netra_otel_bridge.convert.llm.dialects.dialect import Dialect

TRACELOOP = Dialect(
    "traceloop",
    facts=(
        ("traceloop.span.kind", "recorded_kind"),
        ("netra.span.kind", "recorded_kind"),
        ("netra.entity.type", "recorded_kind"),
        ("dspy.span_kind", "recorded_kind"),
        ("netra.agents.span_type", "recorded_kind"),
        ("traceloop.entity.name", "entity_name"),
        ("traceloop.workflow.name", "workflow_name"),
        ("traceloop.entity.input", "input"),
        ("traceloop.entity.output", "output"),
        ("traceloop.association.properties.session_id", "conversation_id"),
    ),
)
