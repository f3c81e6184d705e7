"""Whatever happens to a recorded call: conversion never raises, loses nothing, and writes only what is valid."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.convert.spans import Profile
from netra_otel_bridge.core.attribute_names import NOTES
from netra_otel_bridge.core.model.netra import TraceSpan
from netra_otel_bridge.deliver import encode_span
from tests.support.converted import attributes
from tests.support.examples import examples
from tests.support.genai_schema import violations
from tests.support.llm_cases import RECORDINGS, names, recorded, span
from tests.support.llm_views import genai_view, openinference_view

LONG = {"field-35-long-chat", "netra-j07-js-truncated"}
CASES = [(recording, name) for recording in RECORDINGS if recording not in LONG for name in names(recording)]
ENRICHED: tuple[Profile, ...] = ("genai", "openinference", "both")
TRIES = settings(
    max_examples=examples(600), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
junk = st.sampled_from(
    [
        "", " ", "null", "None", "[]", "{}", "[null]", "[[]]", "{", '[{"a"', "[{'type': 'text', 'text': 'it''s'}]", "NaN",
        '{"role": 5, "parts": {}}', '[{"type": "text"}]', '[{"type": "text", "text": {"a": [1]}}]', "\ud83d", "a\x00b",
        '{"name": null, "arguments": 5}', '[{"type": "image_url", "image_url": 7}]', '{"tool_use_id": ["x"]}',
        '[{"role": "user", "parts": [7, null, {"type": "tool_call"}]}]', "\\", "0x10", "1e999", "-0", "٣", "tool", "user",
        '{"id": 1, "name": 2, "input": [3]}', '[{"id": 3, "score": "high"}]', "data:image/png;base64,", "[" * 400,
        '{"type": "function", "function": []}', '[{"function": {"name": []}}]', "{'a': b'\\x00', 'c': 1j}", "x" * 3000,
        '[{"role": "tool", "content": "x"}, 5]', "Doc 1, Score: NaN\n", "Doc , Score: \n", "unknown", "TRUE", "999" * 20,
    ]
)  # fmt: skip
odd = (
    junk
    | st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.lists(junk | st.integers() | st.none(), max_size=3)
    | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "name", "0", ""]), junk, max_size=3)
)


PART_TYPES = (
    "text", "input_text", "output_text", "reasoning", "thinking", "redacted_thinking", "image", "image_url", "audio", "video",
    "input_audio", "file", "input_file", "document", "blob", "uri", "tool_use", "tool_call", "tool-call", "function", "mcp_call",
    "server_tool_use", "tool_result", "tool-result", "tool_call_response", "web_search_tool_result", "custom_tool_call", "x",
    "server_tool_call", "server_tool_call_response", "refusal", "video_url", "function_response", "computer_call_output", None, 7,
)  # fmt: skip
PART_FIELDS = (
    "content", "text", "thinking", "image_url", "source", "data", "url", "uri", "file", "modality", "mime_type", "file_id",
    "name", "id", "arguments", "input", "args", "function", "tool_use_id", "response", "output", "refusal", "server_tool_call",
    "server_tool_call_response", "functionCall", "toolUse", "inlineData", "document", "executableCode", "reasoningContent",
)  # fmt: skip
inner = (
    junk | st.none() | st.integers(-5, 5) | st.dictionaries(st.sampled_from(PART_FIELDS), junk | st.none(), max_size=2)
)
part_dictionaries = st.builds(
    lambda kind, fields, typed: {**fields, **({"type": kind} if typed else {})},
    st.sampled_from(PART_TYPES),
    st.dictionaries(st.sampled_from(PART_FIELDS), inner | st.lists(inner, max_size=2), max_size=4),
    st.booleans() | st.just(True),
)
"""Parts of the types that providers write, with fields that are missing or of another kind."""


@st.composite
def with_odd_parts(draw: st.DrawFn) -> tuple[TraceSpan, dict[str, Any]]:
    """Draw a call to a model whose messages have odd parts, under names of several dialects."""
    parts = draw(st.lists(part_dictionaries, min_size=1, max_size=4))
    role = draw(st.sampled_from(["user", "assistant", "tool", "system"]))
    listed = json.dumps([{"role": role, draw(st.sampled_from(["parts", "content"])): parts}])
    key, value = draw(
        st.sampled_from(
            [
                ("gen_ai.input.messages", listed),
                ("gen_ai.output.messages", listed),
                ("ai.prompt.messages", listed),
                ("gen_ai.prompt.0.content", json.dumps(parts)),
                ("gen_ai.completion.0.content", json.dumps(parts)),
                ("gen_ai.completion.0.content", json.dumps(parts[0])),
                ("gen_ai.system_instructions", json.dumps(parts)),
                ("gen_ai.output.messages", json.dumps(parts)),
            ]
        )
    )
    return span(*CASES[0]), {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", key: value}


@st.composite
def damaged(draw: st.DrawFn) -> tuple[TraceSpan, dict[str, Any]]:
    """Draw a recorded span, and attributes like its own of which some were dropped, moved, cut or replaced."""
    recording, name = draw(st.sampled_from(CASES))
    plain: dict[str, Any] = dict(recorded(recording, name))
    for _ in range(draw(st.integers(0, 4))):
        if not plain:
            break
        key = draw(st.sampled_from(sorted(plain)))
        value = plain[key]
        match draw(st.sampled_from(["drop", "odd", "cut", "inside", "move"])):
            case "drop":
                del plain[key]
            case "cut" if isinstance(value, str):
                plain[key] = value[: draw(st.integers(0, len(value)))]
            case "inside" if isinstance(value, str):
                plain[key] = _with_odd_inside(value, draw(odd), draw(st.integers(0, 50)))
            case "move":
                number = draw(st.integers(0, 12))
                plain[draw(st.sampled_from(MOVES)).format(number, number)] = value
            case _:
                plain[key] = draw(odd)
    order = draw(st.permutations(sorted(plain))) if len(plain) < 60 else list(plain)
    return span(recording, name), {key: plain[key] for key in order}


MOVES = (
    "gen_ai.prompt.{}.content", "gen_ai.prompt.{}.role", "gen_ai.prompt.{}.tool_calls.0.arguments", "input", "output",
    "gen_ai.completion.{}.content", "gen_ai.completion.{}.finish_reason", "gen_ai.completion.{}.tool_call_id", "tools",
    "gen_ai.response.completion.{}.content", "conversation", "gen_ai.input.messages", "gen_ai.output.messages",
    "gen_ai.system_instructions", "gen_ai.prompt", "gen_ai.completion", "ai.prompt.messages", "ai.response.toolCalls",
    "llm.request.functions.{}.parameters", "gen_ai.tool.definitions", "gen_ai.retrieval.documents", "tool.arguments",
    "gen_ai.usage.prompt_tokens", "gen_ai.request.temperature", "llm.chat.stop_sequences", "gen_ai.prompt.{}.x.{}",
    "gen_ai.prompt.99999999999999999999.content", "gen_ai.prompt.-{}.content", "gen_ai.prompt.0{}.content",
)  # fmt: skip
"""Keys that have a meaning in some dialect, for values that are not meant for them."""


def _with_odd_inside(text: str, value: Any, place: int) -> str:
    """Return JSON text with one of its values replaced; text that is no JSON comes with the value behind it."""
    try:
        root = json.loads(text)
    except ValueError:
        return text + str(value)
    holders = [holder for holder in _containers(root) if holder]
    if not holders:
        return json.dumps([root, value])
    holder = holders[place % len(holders)]
    keys: list[Any] = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    holder[keys[place % len(keys)]] = value
    return json.dumps(root)


def _containers(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict | list) else []
    return own + [found for item in inner for found in _containers(item)]


def converted(source: TraceSpan, columns: dict[str, Any], profile: Profile, *, as_text: bool) -> dict[str, Any]:
    """Convert a span that has other attributes; encode it, as everything that is written must be sendable."""
    shown: Any = json.dumps(columns) if as_text else columns
    converter = SpanConverter(profile)
    result = converter.convert(msgspec.structs.replace(source, attributes=shown))
    assert not converter.counts["call_unreadable"], attributes(result)[NOTES]
    encode_span(result)
    return attributes(result)


def is_kept(value: Any, there: Any) -> bool:
    """Return whether a value is there as it was. A number that is none may be text, which a note tells."""
    if isinstance(value, float) and not math.isfinite(value):
        return isinstance(there, str | float)
    if isinstance(value, tuple) and any(isinstance(item, float) and not math.isfinite(item) for item in value):
        return there is not None
    return type(value) is type(there) and bool(value == there)


@TRIES
@given(case=damaged(), as_text=st.booleans())
def test_nothing_that_was_recorded_is_lost(case: tuple[TraceSpan, dict[str, Any]], as_text: bool) -> None:
    """Every profile keeps each attribute of profile ``raw``, whatever is in it."""
    raw = converted(*case, "raw", as_text=as_text)
    for profile in ENRICHED:
        there = converted(*case, profile, as_text=as_text)
        assert {key: value for key, value in raw.items() if key != NOTES and not is_kept(value, there.get(key))} == {}


@TRIES
@given(case=damaged())
def test_what_is_added_is_valid(case: tuple[TraceSpan, dict[str, Any]]) -> None:
    """What conversion adds keeps the rules of GenAI 1.41 and of OpenInference, whatever was recorded."""
    raw = converted(*case, "raw", as_text=False)
    genai = {key: value for key, value in converted(*case, "genai", as_text=False).items() if key not in raw}
    assert violations(genai) == []
    genai_view(genai)
    openinference = converted(*case, "openinference", as_text=False)
    view = openinference_view({key: value for key, value in openinference.items() if key not in raw})
    assert view["form"] == []


@TRIES
@given(case=with_odd_parts())
def test_odd_parts_of_messages_are_converted(case: tuple[TraceSpan, dict[str, Any]]) -> None:
    """Parts with fields that are missing or of another kind are converted without loss into what is valid."""
    raw = converted(*case, "raw", as_text=True)
    for profile in ENRICHED:
        there = converted(*case, profile, as_text=True)
        assert {key: value for key, value in raw.items() if key != NOTES and not is_kept(value, there.get(key))} == {}
        added = {key: value for key, value in there.items() if key not in raw}
        assert violations(added) == []
        assert openinference_view(added)["form"] == []


@TRIES
@given(case=damaged(), seed=st.integers(0, 5))
def test_the_order_of_keys_does_not_matter(case: tuple[TraceSpan, dict[str, Any]], seed: int) -> None:
    """The same attributes in another order give the same span."""
    source, columns = case
    keys = list(columns)
    random.Random(seed).shuffle(keys)
    one, two = (
        converted(source, ordered, "both", as_text=True) for ordered in (columns, {key: columns[key] for key in keys})
    )
    assert _text(one) == _text(two)


def _text(values: dict[str, Any]) -> dict[str, str]:
    """Return values as text, which also compares numbers that are none; notes come in the order of what they note."""
    return {key: repr(sorted(value) if key == NOTES else value) for key, value in values.items()}


@TRIES
@given(case=damaged())
def test_both_adds_what_its_profiles_add(case: tuple[TraceSpan, dict[str, Any]]) -> None:
    """Profile ``both`` is the union of the two others, whatever was recorded."""
    genai, openinference, both = (converted(*case, profile, as_text=True) for profile in ENRICHED)
    wanted = {**genai, **openinference}
    assert _text({key: value for key, value in both.items() if key != NOTES}) == _text(
        {key: value for key, value in wanted.items() if key != NOTES}
    )


CUT = [
    ("field-03-parallel-tool-results", "chat m", "gen_ai.input.messages"),
    ("netra-p20-langchain", "ChatOpenAI.chat", "gen_ai.input.messages"),
    ("netra-p21-anthropic", "anthropic.chat", "gen_ai.input.messages"),
    ("netra-p23-openai-agents", "openai.response", "gen_ai.input.messages"),
    ("field-20-openai-form", "chat gpt-4o", "gen_ai.input.messages"),
    ("netra-p10-manual-conversation-guard", "harbour-chat", "conversation"),
]


@TRIES
@given(case=st.sampled_from(CUT), share=st.floats(0, 1), mark=st.sampled_from(["", "...[TRUNCATED]"]))
def test_of_messages_that_were_cut_the_whole_ones_are_shown(
    case: tuple[str, str, str], share: float, mark: str
) -> None:
    """Messages in JSON that was cut anywhere are the whole ones at its beginning, and a note says that some are missing."""
    recording, name, key = case
    whole = dict(recorded(recording, name))
    text = whole[key]
    cut = text[: int(share * (len(text) - 1))]
    full, left = (
        converted(span(recording, name), {**whole, key: shown}, "openinference", as_text=True)
        for shown in (text, cut + mark)
    )
    before, after = (_asked(attributes) for attributes in (full, left))
    system = [message for message in before if message["role"] == "system" and "gen_ai.system_instructions" in whole]
    messages = before[len(system) :]
    assert after[: len(system)] == system
    there = after[len(system) :]
    assert there == messages[: len(there)]
    assert len(there) >= _whole_messages(cut, key, messages)
    assert NOTES in left or not there


def _asked(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return list(openinference_view(attributes)["input"])


def _whole_messages(cut: str, key: str, messages: list[dict[str, Any]]) -> int:
    """Return how many of the messages a cut JSON list holds whole; a member of the list may be several messages."""
    decoder, at, number = json.JSONDecoder(), 1, 0
    while True:
        try:
            member, at = decoder.raw_decode(cut, at)
        except ValueError:
            return min(number, len(messages))
        results = [part for part in member.get("parts", []) if part.get("type") == "tool_call_response"]
        number += max(1, len(results)) if member.get("type") != "output" else 0
        at = next((place for place in range(at, len(cut)) if cut[place] not in ", "), len(cut))


MARKED = [case for case in CASES if "ZQX" in json.dumps(recorded(*case), default=str)]
words = st.sampled_from(
    [
        "{", "}", "{}", "[1]", "None", "null", "tool", "user", "assistant", "5", "-1", "NaN", "function", "data:", "%s",
        "gen_ai.prompt.0", "Doc 0, Score: 1", "世界", "`", "<b>", "/",
    ]
) | st.text(st.characters(categories=["L", "N"]), max_size=6)  # fmt: skip


@TRIES
@given(case=st.sampled_from(MARKED), word=words)
def test_other_content_takes_the_same_way(case: tuple[str, str], word: str) -> None:
    """What is said decides nothing: with other words in every text, the same attributes hold these words."""
    source, plain = span(*case), recorded(*case)
    other = json.loads(json.dumps(plain, ensure_ascii=False).replace("ZQX", word))
    columns = {key: _with_word(value, word) for key, value in msgspec.structs.asdict(source).items()}
    one = converted(source, plain, "both", as_text=True)
    two = converted(TraceSpan(**columns), other, "both", as_text=True)
    assert two == _with_word(one, word)


def _with_word(value: Any, word: str) -> Any:
    if isinstance(value, dict):
        return {_with_word(key, word): _with_word(inner, word) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_with_word(inner, word) for inner in value)
    return value.replace("ZQX", word) if isinstance(value, str) else value
