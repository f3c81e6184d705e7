"""Read calls to models from every dialect into one model of a call, and write conventions from it."""

from netra_otel_bridge.convert.llm.call import Call, Document, Kind, Message, Part
from netra_otel_bridge.convert.llm.genai import add_facts, add_genai
from netra_otel_bridge.convert.llm.openinference import PROJECT_NAME, add_openinference
from netra_otel_bridge.convert.llm.read import read_call

__all__ = [
    "PROJECT_NAME",
    "Call",
    "Document",
    "Kind",
    "Message",
    "Part",
    "add_facts",
    "add_genai",
    "add_openinference",
    "read_call",
]
