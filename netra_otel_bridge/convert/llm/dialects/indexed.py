"""Messages under indexed keys, as netra-sdk and OpenLLMetry write them.

    gen_ai.prompt.0.role = "user"              gen_ai.completion.0.role = "assistant"
    gen_ai.prompt.0.content = "Hello"          gen_ai.completion.0.content = "Hi"
    gen_ai.prompt.1.tool_calls.0.name = "f"    gen_ai.completion.1.finish_reason = "stop"

netra-sdk for Python spreads one choice over several indexes: its text, then each tool call as JSON, and its finish
reason under the index after the last. It writes a transcript as a prompt with the role ``Output``. netra-sdk for JavaScript writes tool calls under ``gen_ai.response.completion.N``
with the role ``tool``. Google ADK writes ``function_call`` and ``function_response``, and calls under
``gen_ai.completions.N``. A refusal and reasoning are fields beside the content.
"""

from __future__ import annotations

from typing import Any

from netra_otel_bridge.convert.llm.call import Call, Message, reasoning, text, tool_call, tool_result
from netra_otel_bridge.convert.llm.dialects.dialect import Dialect
from netra_otel_bridge.convert.llm.messages import INPUT, OUTPUT, joined, message, role_of
from netra_otel_bridge.convert.llm.parts import arguments_of, is_cut
from netra_otel_bridge.convert.llm.recorded import Fields, Groups, Recorded, in_order, nested

PROMPT = "gen_ai.prompt."
COMPLETION = "gen_ai.completion."
_MORE_COMPLETIONS = ("gen_ai.response.completion.", "gen_ai.completions.")


_PLAIN = frozenset({"role", "content", "tool_call_id", "finish_reason"})
_ENDING = frozenset({"role", "finish_reason"})


def prompts(recorded: Recorded) -> list[Fields]:
    """Return the members under ``gen_ai.prompt.N``, in order."""
    return in_order(recorded.groups.get(PROMPT))


def completions(groups: Groups) -> list[Fields]:
    """Return the members under ``gen_ai.completion.N`` and its variants, in order."""
    if not any(prefix in groups for prefix in _MORE_COMPLETIONS):
        return in_order(groups.get(COMPLETION))
    found: dict[int, Fields] = {}
    for prefix in (COMPLETION, *_MORE_COMPLETIONS):
        for index, fields in groups.get(prefix, {}).items():
            found.setdefault(index, {}).update(fields)
    return [found[index] for index in sorted(found)]


def _read(recorded: Recorded, call: Call) -> None:
    asked, answered = prompts(recorded), completions(recorded.groups)
    came_out: list[Fields] = []
    found: list[Message] = []
    for fields in asked:
        if fields.get("role") == "Output":
            came_out.append(fields)
            continue
        one = _message(fields, INPUT)
        if one.parts or "role" in fields:
            found.append(one)
    if not call.input:
        call.input = joined(found)
    if not call.output:
        call.output = _choices(answered or came_out)
    for fields in (*asked, *answered):
        if is_cut(fields.get("content")):
            call.note("messages_cut")


def _message(fields: Fields, default: str) -> Message:
    found = message(fields.get("role"), fields.get("content"), default, call_id=fields.get("tool_call_id"))
    if fields.keys() <= _PLAIN:  # most messages
        return found
    if "function_response.name" in fields or "function_response.result" in fields:
        result = tool_result(fields.get("function_response.id"), fields.get("function_response.result"))
        return Message("tool", [result])
    thought = _word(fields.get("reasoning_content")) or _word(fields.get("reasoning"))
    if thought is not None:
        found.parts.insert(0, reasoning(thought))
    if (refusal := _word(fields.get("refusal"))) is not None:
        found.parts.append(text(refusal))
    name = fields.get("function_call.name")
    if isinstance(name, str):
        arguments = fields.get("function_call.arguments", fields.get("function_call.args"))
        found.parts.append(tool_call(fields.get("function_call.id"), name, arguments_of(arguments)))
    for one in nested(fields, "tool_calls."):
        name = one.get("name", one.get("function.name"))
        if isinstance(name, str):
            arguments = one.get("arguments", one.get("function.arguments"))
            found.parts.append(tool_call(one.get("id"), name, arguments_of(arguments)))
    if found.parts and found.role == "tool" and found.parts[-1]["type"] == "tool_call":
        found.role = role_of(None, OUTPUT)
    return found


def _choices(members: list[Fields]) -> list[Message]:
    """Return one message for each choice of the model."""
    reason_follows = len(members) > 1 and members[-1].keys() == {"finish_reason"} and "finish_reason" not in members[0]
    choices: list[Message] = []
    open_choice: Message | None = None
    for fields in members:
        reason = _word(fields.get("finish_reason"))
        if reason_follows and "finish_reason" in fields and open_choice is not None:
            open_choice.finish_reason, reason, open_choice = reason, None, None
        piece = None if fields.keys() <= _ENDING else _message(fields, OUTPUT)
        if piece is None or not piece.parts:
            if reason is not None:
                _end(choices, open_choice, reason)
                open_choice = None
            continue
        if open_choice is not None and (reason_follows or _belongs(open_choice, piece)):
            open_choice.parts += piece.parts
        else:
            open_choice = piece
            choices.append(piece)
        if reason is not None:
            _end(choices, open_choice, reason)
            open_choice = None
    return choices


def _end(choices: list[Message], open_choice: Message | None, reason: str) -> None:
    """End a choice with its reason; a reason without content is a choice of its own."""
    if open_choice is None:
        choices.append(Message(OUTPUT, [], reason))
    else:
        open_choice.finish_reason = reason


def _belongs(choice: Message, piece: Message) -> bool:
    """Return whether a piece continues a choice: a choice has one text, and calls around it."""
    kinds = {part["type"] for part in choice.parts}
    return choice.role == piece.role and (
        "text" not in kinds or all(part["type"] == "tool_call" for part in piece.parts)
    )


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


INDEXED = Dialect(
    "indexed",
    facts=(
        ("gen_ai.response.finish_reason", "finish_reasons"),
        ("llm.response.finish_reason", "finish_reasons"),
        ("llm.response.stop_reason", "finish_reasons"),
        ("gen_ai.response.stop_reason", "finish_reasons"),
        ("gen_ai.system", "system"),
        ("llm.request.type", "request_type"),
        ("gen_ai.request.type", "request_type"),
        ("llm.response.id", "response_id"),
        ("gen_ai.session.id", "conversation_id"),
        ("gen_ai.agent.conversation_id", "conversation_id"),
        ("llm.is_streaming", "stream"),
        ("gen_ai.is_streaming", "stream"),
        ("llm.streaming", "stream"),
        ("llm.request.stream", "stream"),
        ("gen_ai.performance.time_to_first_token", "first_chunk_s"),
        ("llm.frequency_penalty", "frequency_penalty"),
        ("llm.presence_penalty", "presence_penalty"),
        ("llm.top_k", "top_k"),
        ("llm.chat.stop_sequences", "stop_sequences"),
        ("gen_ai.request.n", "choice_count"),
        ("gen_ai.request.candidate_count", "choice_count"),
        ("candidate_count", "choice_count"),
        ("gen_ai.request.dimensions", "dimensions"),
        ("gen_ai.request.reasoning_effort", "reasoning_effort"),
        ("llm.request.reasoning_effort", "reasoning_effort"),
        ("gen_ai.usage.prompt_tokens", "input_tokens"),
        ("llm.usage.prompt_tokens", "input_tokens"),
        ("gen_ai.usage.completion_tokens", "output_tokens"),
        ("llm.usage.completion_tokens", "output_tokens"),
        ("llm.usage.total_tokens", "total_tokens"),
        ("gen_ai.usage.total_tokens", "total_tokens"),
        ("gen_ai.usage.cache_read_input_tokens", "cache_read_tokens"),
        ("gen_ai.usage.cached_tokens", "cache_read_tokens"),
        ("llm.usage.cache_read_input_tokens", "cache_read_tokens"),
        ("gen_ai.usage.details.cache_read_tokens", "cache_read_tokens"),
        ("gen_ai.usage.cache_creation_input_tokens", "cache_write_tokens"),
        ("gen_ai.usage.cache_write_input_tokens", "cache_write_tokens"),
        ("llm.usage.cache_creation_input_tokens", "cache_write_tokens"),
        ("gen_ai.usage.details.cache_write_tokens", "cache_write_tokens"),
        ("gen_ai.usage.reasoning_tokens", "reasoning_tokens"),
        ("llm.usage.reasoning_tokens", "reasoning_tokens"),
        ("gen_ai.usage.details.reasoning_tokens", "reasoning_tokens"),
        ("gen_ai.usage.input_audio_tokens", "audio_input_tokens"),
        ("gen_ai.usage.details.input_audio_tokens", "audio_input_tokens"),
        ("llm.usage.input_audio_tokens", "audio_input_tokens"),
        ("gen_ai.usage.audio_input_tokens", "audio_input_tokens"),
        ("gen_ai.usage.output_audio_tokens", "audio_output_tokens"),
        ("gen_ai.usage.details.output_audio_tokens", "audio_output_tokens"),
        ("llm.usage.output_audio_tokens", "audio_output_tokens"),
        ("gen_ai.usage.audio_output_tokens", "audio_output_tokens"),
    ),
    prefixes=(PROMPT, COMPLETION, *_MORE_COMPLETIONS),
    read=_read,
)
