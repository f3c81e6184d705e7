"""Google's Agent Development Kit and other clients of Gemini that write request and response as JSON.

gcp.vertex.agent.llm_request = {"model": "gemini-2.0-flash", "contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
gcp.vertex.agent.llm_response = {"content": {"role": "model", "parts": [{"text": "Hi"}]}}
gcp.vertex.agent.tool_call_args = {"city": "Porto"}
"""

from __future__ import annotations

from netra_otel_bridge.convert.llm.call import Call
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.messages import INPUT, OUTPUT, from_list, from_object
from netra_otel_bridge.convert.llm.parts import decoded, parts_of
from netra_otel_bridge.convert.llm.recorded import Recorded


def _read(recorded: Recorded, call: Call) -> None:
    request = decoded(recorded.attributes.get("gcp.vertex.agent.llm_request"))
    if isinstance(request, dict):
        if not call.input:
            call.input = from_list(request.get("contents"), INPUT)[0]
        config = request.get("config")
        if isinstance(config, dict):
            if not call.system and config.get("system_instruction"):
                call.system = parts_of(config["system_instruction"])
            if not call.tools and isinstance(config.get("tools"), list):
                call.tools = config["tools"]
    response = decoded(recorded.attributes.get("gcp.vertex.agent.llm_response"))
    content = response.get("content") if isinstance(response, dict) else None
    if not call.output and isinstance(content, dict):
        one = from_object(content, OUTPUT)
        call.output = [one] if one is not None else []


ADK = Dialect(
    "adk",
    facts=(
        ("gcp.vertex.agent.session_id", "conversation_id"),
        ("gcp.vertex.agent.tool_call_args", "tool_arguments"),
        ("gcp.vertex.agent.tool_response", "tool_result"),
    ),
    keys=("gcp.vertex.agent.llm_request", "gcp.vertex.agent.llm_response"),
    read=_read,
)
