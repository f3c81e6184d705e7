"""``traces show`` as a command: its options, its JSON, and the privacy policy of the settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from netra_otel_bridge.cli.calls_json import calls_json
from netra_otel_bridge.convert import SpanConverter, read_spans
from netra_otel_bridge.emulator import EmulatorOptions
from tests.support import llm_cases
from tests.support.cli import CANARY, ROOT, Result, environment, run
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.llm_cases import FOLDER, RECORDINGS, SUFFIX

CHAT, AGENT = "netra-p01-openai-chat-tools", "netra-p23-openai-agents"
TRACE = {name: llm_cases.otlp_spans(name)[0]["traceId"] for name in (CHAT, AGENT)}
QUESTION = "High water at Brest and Calais?"


@pytest.fixture(scope="module")
def netra() -> Iterator[ThreadedEmulator]:
    load = tuple(FOLDER / f"{name}{SUFFIX}" for name in (CHAT, AGENT))
    with running_emulator(EmulatorOptions(port=0, load=load, api_key=CANARY)) as emulator:
        yield emulator


def show(netra: ThreadedEmulator, *options: str, trace: str = CHAT, **env: str) -> Result:
    return run("traces", "show", TRACE[trace], *options, env=environment(netra.endpoint, **env))


def test_the_tree_and_the_conversation(netra: ThreadedEmulator) -> None:
    """The tree has no content; ``--messages`` prints it."""
    tree, said = show(netra), show(netra, "--messages")
    assert (tree.code, tree.err, said.code, said.err) == (0, "", 0, "")
    assert tree.out.splitlines()[0] == said.out.splitlines()[0]
    assert QUESTION not in tree.out
    assert f"  user       {QUESTION}" in said.out


@pytest.mark.parametrize("options", [(), ("--messages",)], ids=" ".join)
def test_a_pipe_gets_the_same_whatever_the_terminal(netra: ThreadedEmulator, options: tuple[str, ...]) -> None:
    """Written to a pipe, neither the width nor the colors of a terminal change anything."""
    plain = show(netra, *options).out
    assert "\x1b" not in plain
    assert show(netra, *options, COLUMNS="40", TERM="dumb").out == plain
    assert show(netra, *options, COLUMNS="300", TERM="xterm-256color", COLORTERM="truecolor").out == plain


def test_full_needs_messages(netra: ThreadedEmulator) -> None:
    """``--full`` alone would change nothing, so it is an error of usage."""
    result = show(netra, "--full")
    assert (result.code, result.out) == (2, "")
    assert "--messages" in result.said
    assert show(netra, "--full", "--messages").code == 0


def test_the_document_has_the_calls_beside_netras_spans(netra: ThreadedEmulator) -> None:
    """``spans`` stay as Netra answers them, and ``calls`` say what each was, in the same order."""
    document = show(netra, "--json").json
    assert document.keys() == {"trace_id", "spans", "calls"}
    (span,), (call,) = document["spans"], document["calls"]
    assert (call["span_id"], call["kind"], call["operation"]) == (span["id"], "LLM", "chat")
    assert (call["provider"], call["model"]) == ("openai", "gpt-4o-mini-2024-07-18")
    assert call["tokens"] == {"input": 210, "output": 64, "total": 274, "cache_read": 128, "cache_write": 40,
                              "reasoning": 32}  # fmt: skip
    assert call["finish_reasons"] == ["tool_calls"]
    assert [one["role"] for one in call["input_messages"]] == ["system", "user", "assistant", "tool", "tool"]
    assert [part["type"] for part in call["output_messages"][0]["parts"]] == ["text", "tool_call", "tool_call"]
    assert show(netra, "--json", "--messages").json == document
    tool = next(one["tool"] for one in show(netra, "--json", trace=AGENT).json["calls"] if one["kind"] == "TOOL")
    assert tool["name"] == "depth"
    assert json.loads(tool["arguments"]) == {"at": "ZQX-ti"}


@pytest.mark.parametrize("options", [("--messages",), ("--messages", "--full"), ()], ids=" ".join)
def test_dropped_content_is_not_printed(netra: ThreadedEmulator, options: tuple[str, ...]) -> None:
    """With ``content: drop``, no text of a message is printed, and the last line says what was left out."""
    for trace in (CHAT, AGENT):
        result = show(netra, *options, trace=trace, NETRA_BRIDGE_CONTENT="drop")
        assert "ZQX" not in result.out
        assert re.fullmatch(
            r"The privacy policy .* left out \d+ attributes with content\.", result.out.splitlines()[-1]
        )


def test_the_policy_holds_for_the_calls_of_the_document(netra: ThreadedEmulator) -> None:
    """The key ``calls`` follows the policy; ``spans`` are what Netra answered."""
    document = show(netra, "--json", NETRA_BRIDGE_CONTENT="drop").json
    assert "ZQX" not in json.dumps(document["calls"])
    assert "ZQX" in json.dumps(document["spans"])
    redacted = show(netra, "--json", NETRA_BRIDGE_CONTENT="redact", NETRA_BRIDGE_REDACT="ZQX").json
    assert "ZQX" not in json.dumps(redacted["calls"])
    assert "[redacted]" in json.dumps(redacted["calls"])


def test_the_page_lists_the_keys_of_a_call() -> None:
    """The table in ``docs/cli.md`` has each key that a call of any recording has, and no other."""
    section = (ROOT / "docs" / "cli.md").read_text().partition("### As JSON")[2].partition("## `config show`")[0]
    rows = [row for row in section.splitlines() if row.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    calls = [one for name in RECORDINGS for one in calls_json(read_spans(llm_cases.spans(name), SpanConverter("raw")))]
    assert {key for one in calls for key in one} == listed
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert {key for one in calls for of in ("tokens", "parameters", "tool") for key in one.get(of, ())} <= told
    json.dumps(calls, default=list)
