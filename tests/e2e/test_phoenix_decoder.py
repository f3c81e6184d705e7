"""Phoenix's own decoder and server over the recordings of calls to models: what its pages show of each."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from netra_otel_bridge.convert.spans import Profile
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.render import PROJECT_ID
from tests.support.emulator import running_emulator
from tests.support.llm_cases import FOLDER, PROFILES, RECORDINGS, SUFFIX, converted, names, otlp_spans, recorded
from tests.support.phoenix import Phoenix
from tests.support.phoenix_decoder import decode, leaves, lost
from tests.support.replays import replay

CASES = [(recording, name) for recording in RECORDINGS for name in names(recording)]
ENRICHED: tuple[Profile, ...] = ("genai", "openinference", "both")
Shown = dict[tuple[str, str, Profile], dict[str, Any]]
STRUCTURED = {"gen_ai.input.messages", "gen_ai.output.messages"}
TIDES = ["You know tides. ZQX-sys", "High water at Brest and Calais? ZQX-user", "I look it up. ZQX-pre"]
TIDES += ["06:12 ZQX-res1", "09:40 ZQX-res2"]
SAID = {
    ("netra-p01-openai-chat-tools", "openai.chat"): (
        ["system", "user", "assistant", "tool", "tool"], TIDES, ["call_a", "call_b"], ["One more look. ZQX-out"],
        ["call_c", "call_d"],
    ),
    ("netra-j02-js-anthropic", "anthropic.chat"): (
        ["system", "user", "assistant", "user", "tool"],
        ["Know depths. ZQX-s", "Depth? ZQX-u", "Think ZQX-t", "Now? ZQX-u2", "9 ZQX-r"], ["tu1"], ["Again. ZQX-o"],
        ["tu2"],
    ),
    ("netra-p12-google-adk", "gemini-2.0-flash"): (
        ["system", "user", "assistant", "tool", "tool"], ["Guide ships. ZQX-sys", "Depth at gate? ZQX-u"],
        ["fc1", "fc2"], ["Two more. ZQX-out"], ["fc3", "fc4"],
    ),
    ("field-10-event-messages", "chat gpt-4o"): (["system", "user"], ["Be brief.", "Where is gate 12?"], [], ["Left."], []),
    ("netra-p10-manual-conversation-guard", "harbour-chat"): (
        ["system", "user"], ["You are polite. ZQX-csys", "Is there a berth? ZQX-cuser"], [], [], [],
    ),
}  # fmt: skip
"""What Phoenix shows of a call: the roles of what went in, its texts, the tools called; what came out, the tools called."""
KINDS = {
    ("netra-p05-openai-embedding-and-cost", "openai.embedding"): "EMBEDDING",
    ("netra-p07-cohere", "cohere.rerank"): "RERANKER",
    ("netra-p26-mcp", "depth.tool"): "TOOL",
    ("netra-p27-vector-stores", "chroma.query"): "RETRIEVER",
    ("netra-j04-js-openai-agents", "no-secrets"): "GUARDRAIL",
    ("netra-j04-js-openai-agents", "tug"): "AGENT",
    ("netra-p23-openai-agents", "Agent Workflow"): "CHAIN",
}
SERVED = ("netra-p01-openai-chat-tools", "netra-j02-js-anthropic", "netra-p07-cohere", "netra-p27-vector-stores")


@pytest.fixture(scope="module")
def shown() -> Shown:
    """Return what Phoenix makes of every span of every recording, in every profile; its Python starts once."""
    cases = [(*case, profile) for case in CASES for profile in PROFILES]
    return dict(zip(cases, decode([converted(*case) for case in cases]), strict=True))


@pytest.mark.parametrize("recording", RECORDINGS)
def test_every_profile_shows_at_least_what_raw_shows(shown: Shown, recording: str) -> None:
    """What Phoenix shows of a span as it was recorded, it shows in every profile, or something better in its place."""
    missing = {
        (name, profile): less
        for name in names(recording)
        for profile in ENRICHED
        if (
            less := lost(
                shown[recording, name, "raw"]["attributes"], shown[recording, name, profile].get("attributes", {})
            )
        )
    }
    assert missing == {}


@pytest.mark.parametrize("profile", ENRICHED)
@pytest.mark.parametrize("case", SAID)
def test_a_conversation_is_shown_as_it_was(shown: Shown, case: tuple[str, str], profile: Profile) -> None:
    """Phoenix shows who said what in order, the tools that were called, and their results, in every profile."""
    roles, texts, calls, answers, further = SAID[case]
    llm = shown[*case, profile]["attributes"]["llm"]
    asked, answered = (
        [one["message"] for one in llm.get(f"{side}_messages", [])] for side in ("input", "output")
    )  # fmt: skip
    assert [message["role"] for message in asked] == roles
    assert [text for text in _texts(asked) if text in texts] == texts
    assert _called(asked) == calls
    assert [text for text in _texts(answered) if text in answers] == answers
    assert _called(answered) == further
    assert [message["role"] for message in answered] == ["assistant"]


@pytest.mark.parametrize("recording", RECORDINGS)
def test_both_conventions_show_the_same_conversation(shown: Shown, recording: str) -> None:
    """Messages written in GenAI and in OpenInference say the same in Phoenix, if it can read what was recorded."""
    for name in names(recording):
        own = STRUCTURED & recorded(recording, name).keys()
        if own or shown[recording, name, "openinference"].get("kind") in ("EMBEDDING", "RERANKER"):
            continue
        genai, openinference = (
            shown[recording, name, profile]["attributes"].get("llm", {}) for profile in ("genai", "openinference")
        )
        for side in ("input_messages", "output_messages"):
            one, two = ([one["message"] for one in llm.get(side, [])] for llm in (genai, openinference))
            assert [message["role"] for message in one] == [message["role"] for message in two], (name, side)
            assert _texts(one) == _texts(two), (name, side)
            assert _called(one) == _called(two), (name, side)


@pytest.mark.parametrize("profile", ["openinference", "both"])
@pytest.mark.parametrize("case", KINDS)
def test_steps_are_shown_for_what_they_are(shown: Shown, case: tuple[str, str], profile: Profile) -> None:
    """Phoenix shows embeddings, rerankers, retrievers, tools, agents and guardrails as such."""
    assert shown[*case, profile]["kind"] == KINDS[case]


def test_a_phoenix_shows_the_recordings() -> None:
    """A real Phoenix that was sent the recordings shows their messages and documents in its API."""
    files = tuple(FOLDER / f"{recording}{SUFFIX}" for recording in SERVED)
    spans = {span["spanId"]: (recording, span) for recording in SERVED for span in otlp_spans(recording)}
    times = [int(span["startTimeUnixNano"]) // 10**9 for _, span in spans.values()]
    begin, end = (datetime.fromtimestamp(when, UTC).isoformat() for when in (min(times) - 60, max(times) + 60))
    where = ("--from", begin, "--until", end)
    with Phoenix() as phoenix, running_emulator(EmulatorOptions(port=0, load=files)) as netra:
        report = replay(netra, *where, "--profile", "openinference", "--to", phoenix.otlp_http)
        assert [lane["delivered"] for lane in report["destinations"]] == [len(spans)]
        traces = {span["traceId"]: 0 for _, span in spans.values()}
        for _, span in spans.values():
            traces[span["traceId"]] += 1
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for trace, count in traces.items():
            phoenix.trace(trace, count)
            found |= {
                (spans[span["context"]["span_id"]][0], span["name"]): span for span in phoenix.spans(PROJECT_ID, trace)
            }
    chat = found["netra-p01-openai-chat-tools", "openai.chat"]["attributes"]
    assert [chat[f"llm.input_messages.{place}.message.role"] for place in range(5)] == SAID[
        "netra-p01-openai-chat-tools", "openai.chat"
    ][0]
    assert chat["llm.input_messages.2.message.tool_calls.1.tool_call.id"] == "call_b"
    assert json.loads(chat["llm.input_messages.2.message.tool_calls.1.tool_call.function.arguments"]) == {
        "harbour": "Calais ZQX-args2"
    }
    assert chat["llm.input_messages.4.message.tool_call_id"] == "call_b"
    assert chat["llm.output_messages.0.message.content"] == "One more look. ZQX-out"
    thinking = found["netra-j02-js-anthropic", "anthropic.chat"]["attributes"]
    assert thinking["llm.input_messages.2.message.contents.0.message_content.type"] == "reasoning"
    reranked = found["netra-p07-cohere", "cohere.rerank"]
    assert reranked["span_kind"] == "RERANKER"
    assert reranked["attributes"]["reranker.output_documents.0.document.score"] == 0.91
    store = found["netra-p27-vector-stores", "chroma.query"]
    assert store["span_kind"] == "RETRIEVER"
    assert store["attributes"]["retrieval.documents.1.document.content"] == "Rock ZQX-doc2"


def _texts(messages: list[dict[str, Any]]) -> list[str]:
    """Return what messages say, in order, without what tools were asked; JSON in one form."""
    return [
        _one_form(str(value))
        for message in messages
        for path, value in leaves({key: value for key, value in message.items() if key in ("content", "contents")})
        if path.endswith(("content", "text"))
    ]


def _one_form(text: str) -> str:
    try:
        return json.dumps(json.loads(text))
    except ValueError:
        return text


def _called(messages: list[dict[str, Any]]) -> list[str | None]:
    """Return the ids of the tools' calls in messages, in order."""
    return [call["tool_call"].get("id") for message in messages for call in message.get("tool_calls", [])]
