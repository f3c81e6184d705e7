"""The dialects, in order of precedence: what one finds, those after it do not read again."""

from netra_otel_bridge.convert.llm.dialects.adk import ADK
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.dialects.events import EVENTS
from netra_otel_bridge.convert.llm.dialects.genai import GENAI
from netra_otel_bridge.convert.llm.dialects.indexed import INDEXED
from netra_otel_bridge.convert.llm.dialects.langfuse import LANGFUSE
from netra_otel_bridge.convert.llm.dialects.mlflow import MLFLOW
from netra_otel_bridge.convert.llm.dialects.netra import LAST, NETRA
from netra_otel_bridge.convert.llm.dialects.openinference import OPENINFERENCE
from netra_otel_bridge.convert.llm.dialects.pydantic_ai import PYDANTIC_AI
from netra_otel_bridge.convert.llm.dialects.pydantic_ai_run import PYDANTIC_AI_RUN
from netra_otel_bridge.convert.llm.dialects.single import SINGLE
from netra_otel_bridge.convert.llm.dialects.speech import SPEECH
from netra_otel_bridge.convert.llm.dialects.tools import TOOLS
from netra_otel_bridge.convert.llm.dialects.traceloop import TRACELOOP
from netra_otel_bridge.convert.llm.dialects.vector_store import VECTOR_STORE
from netra_otel_bridge.convert.llm.dialects.vercel import VERCEL

DIALECTS: tuple[Dialect, ...] = (
    GENAI,
    OPENINFERENCE,
    PYDANTIC_AI,
    INDEXED,
    VERCEL,
    ADK,
    EVENTS,
    SINGLE,
    SPEECH,
    NETRA,
    TRACELOOP,
    VECTOR_STORE,
    PYDANTIC_AI_RUN,
    LANGFUSE,
    MLFLOW,
    LAST,
    TOOLS,
)

__all__ = ["DIALECTS", "Dialect"]
