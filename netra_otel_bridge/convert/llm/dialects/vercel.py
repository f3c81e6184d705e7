r"""The AI SDK of Vercel.

ai.operationId = "ai.generateText.doGenerate"
ai.prompt.messages = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
ai.response.text = "Hi"                     ai.response.finishReason = "stop"
ai.toolCall.name = "f"                      ai.toolCall.args = {"city": "Oslo"}
ai.values = ["\"one\"", "\"two\""]          ai.value = "\"one\""
"""

from __future__ import annotations

from netra_otel_bridge.convert.llm.call import Call, Message, reasoning, text
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.messages import INPUT, OUTPUT, from_list, user_text
from netra_otel_bridge.convert.llm.parts import decoded, leading_items, parts_of
from netra_otel_bridge.convert.llm.recorded import Recorded
from netra_otel_bridge.convert.llm.whole import plain_value


def _read(recorded: Recorded, call: Call) -> None:
    attributes = recorded.attributes
    if not call.input:
        prompt = decoded(attributes.get("ai.prompt"))
        listed = attributes.get("ai.prompt.messages") or (prompt.get("messages") if isinstance(prompt, dict) else None)
        call.input = from_list(listed, INPUT)[0]
        if isinstance(prompt, dict):
            if not call.input and isinstance(prompt.get("prompt"), str):
                call.input = [user_text(prompt["prompt"])]
            if not call.system and isinstance(prompt.get("system"), str) and prompt["system"]:
                call.system = [text(prompt["system"])]
        elif not call.input and isinstance(prompt, str) and prompt:
            call.input = [user_text(prompt)]
    if not call.texts:
        values = leading_items(attributes.get("ai.values"))[0] or [attributes.get("ai.value")]
        call.texts = [words for value in values if isinstance(words := plain_value(value), str) and words]
    if not call.output:
        answer = Message(OUTPUT)
        thought = attributes.get("ai.response.reasoning")
        if isinstance(thought, str) and thought:
            answer.parts.append(reasoning(thought))
        words = attributes.get("ai.response.text") or attributes.get("ai.response.object")
        if isinstance(words, str) and words:
            answer.parts.append(text(words))
        for item in leading_items(attributes.get("ai.response.toolCalls"))[0]:
            if isinstance(item, dict):
                answer.parts += parts_of([{**item, "type": "tool-call"}])
        if answer.parts:
            call.output = [answer]


VERCEL = Dialect(
    "vercel",
    facts=(
        ("ai.operationId", "step"),
        ("ai.model.id", "request_model"),
        ("ai.model.provider", "system"),
        ("ai.response.model", "response_model"),
        ("ai.response.id", "response_id"),
        ("ai.response.finishReason", "finish_reasons"),
        ("ai.usage.promptTokens", "input_tokens"),
        ("ai.usage.inputTokens", "input_tokens"),
        ("ai.usage.completionTokens", "output_tokens"),
        ("ai.usage.outputTokens", "output_tokens"),
        ("ai.usage.totalTokens", "total_tokens"),
        ("ai.usage.cachedInputTokens", "cache_read_tokens"),
        ("ai.usage.reasoningTokens", "reasoning_tokens"),
        ("ai.usage.tokens", "input_tokens"),
        ("ai.telemetry.metadata.sessionId", "conversation_id"),
        ("ai.telemetry.functionId", "entity_name"),
        ("ai.toolCall.name", "tool_name"),
        ("ai.toolCall.id", "tool_call_id"),
        ("ai.toolCall.args", "tool_arguments"),
        ("ai.toolCall.result", "tool_result"),
        ("ai.settings.temperature", "temperature"),
        ("ai.settings.maxOutputTokens", "max_tokens"),
        ("ai.settings.maxTokens", "max_tokens"),
        ("ai.settings.topP", "top_p"),
        ("ai.settings.topK", "top_k"),
        ("ai.settings.frequencyPenalty", "frequency_penalty"),
        ("ai.settings.presencePenalty", "presence_penalty"),
        ("ai.settings.seed", "seed"),
        ("ai.settings.stopSequences", "stop_sequences"),
    ),
    keys=(
        "ai.prompt",
        "ai.prompt.messages",
        "ai.response.text",
        "ai.response.object",
        "ai.response.reasoning",
        "ai.response.toolCalls",
        "ai.values",
        "ai.value",
    ),
    read=_read,
)
