"""``traces show --messages``: the conversation of a trace, for a person to read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from netra_otel_bridge.cli.wrapping import wrapped
from netra_otel_bridge.convert import Privacy, SpanConverter, read_spans
from netra_otel_bridge.core.outside_text import escaped
from tests.support import llm_cases
from tests.support.drawn import call, chat, conversation, message, result, span
from tests.support.llm_cases import RECORDINGS

WIDTHS = (20, 40, 80, 120, 200)
ASKED = message("user", "Where is my bag?")
CALLED = message("assistant", "I look.", call("trace_bag", "c1", tag="OS40"))
ANSWERED = message("tool", result('{"at":"CPH"}', "c1"))
SAID = message("assistant", {"type": "reasoning", "content": "It is near."}, "In Copenhagen.", finish_reason="stop")
TOOL = {"gen_ai.tool.name": "trace_bag", "gen_ai.tool.call.arguments": '{"tag": "OS40"}'}


def bodies(lines: list[str]) -> list[str]:
    """Return the lines that are not about a call itself."""
    return [line for line in lines if line.startswith("  ")]


def squeezed(text: str) -> str:
    """Return a text without white space, which wrapping changes."""
    return re.sub(r"\s+", "", text)


def test_a_conversation_reads_in_the_order_of_time_and_says_nothing_twice() -> None:
    """A later call prints only what is new, with the number of messages that it repeats; so does the run of a tool."""
    assert conversation(
        chat(1, 0, [message("system", "Be brief."), ASKED], [CALLED]),
        span(2, 20, name="trace_bag", kind="TOOL", attributes={**TOOL, "gen_ai.tool.call.result": '{"at": "CPH"}'}),
        chat(3, 40, [message("system", "Be brief."), ASKED, CALLED, ANSWERED], [SAID]),
    ) == [
        "",
        "+0 s  chat  LLM  openai gpt-5 · 10.0 ms",
        "  system     Be brief.",
        "  user       Where is my bag?",
        "  assistant  I look.",
        '  calls      trace_bag {"tag": "OS40"}',
        "",
        "+20.0 ms  trace_bag  TOOL  10.0 ms",
        '  result     {"at": "CPH"}',
        "",
        "+40.0 ms  chat  LLM  openai gpt-5 · finish: stop · 10.0 ms",
        "  … 4 earlier messages not repeated",
        "  reasoning  It is near.",
        "  assistant  In Copenhagen.",
    ]


def test_what_is_said_a_second_time_is_new() -> None:
    """The same words later in one conversation are printed, and their repetition by a later call is not."""
    yes, more, done = message("user", "yes"), message("assistant", "More?"), message("assistant", "Done.")
    lines = conversation(chat(1, 0, [yes], [more]), chat(2, 20, [yes, more, yes], [done]),
                         chat(3, 40, [yes, more, yes, done], [done]))  # fmt: skip
    assert bodies(lines) == [
        "  user       yes", "  assistant  More?",
        "  … 2 earlier messages not repeated", "  user       yes", "  assistant  Done.",
        "  … 4 earlier messages not repeated", "  assistant  Done.",
    ]  # fmt: skip


def test_two_runs_of_a_tool_are_matched_with_two_calls() -> None:
    """A run that a model called shows its result alone; one that nobody called shows its arguments too."""
    runs = [
        span(number, 10 * number, name="trace_bag", kind="TOOL",
             attributes={**TOOL, "gen_ai.tool.call.result": f"run {number}"})
        for number in (2, 3, 4)
    ]  # fmt: skip
    both = message("assistant", call("trace_bag", "c1", tag="OS40"), call("trace_bag", "c2", tag="OS40"))
    assert bodies(conversation(chat(1, 0, [ASKED], [both]), *runs))[3:] == [
        "  result     run 2",
        "  result     run 3",
        '  arguments  {"tag": "OS40"}',
        "  result     run 4",
    ]


def test_an_agent_speaks_before_and_after_what_it_does() -> None:
    """The question to an agent comes first, then its calls under its name, and its answer is not repeated."""
    agent = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "desk",
    }
    outer = chat(1, 0, [ASKED], [message("assistant", "Summed up.")], name="invoke_agent desk", length_ms=90,
                 attributes=agent)  # fmt: skip
    same = chat(1, 0, [ASKED], [SAID], name="invoke_agent desk", length_ms=90, attributes=agent)
    inner = chat(2, 10, [ASKED], [SAID], parent=1)
    lines = conversation(outer, inner)
    assert lines[1].startswith("+0 s  invoke_agent desk  AGENT")
    assert lines[4] == "+10.0 ms  chat  LLM  by desk  openai gpt-5 · finish: stop · 10.0 ms"
    assert lines[-2:] == ["+90.0 ms  invoke_agent desk  AGENT  ends", "  assistant  Summed up."]
    assert conversation(same, inner)[-1] == "  assistant  In Copenhagen."
    assert not any(line.endswith("ends") for line in conversation(same, inner))


def test_choices_are_numbered_with_their_ends() -> None:
    """Each of several choices has its number and finish reason."""
    lines = conversation(*llm_cases.spans("netra-p02-openai-two-choices"))
    assert lines[-4:] == [
        "  choice 1 of 2 · finish: stop",
        "  assistant  Petrel ZQX-one",
        "  choice 2 of 2 · finish: length",
        "  assistant  Gannet ZQX-two",
    ]


def test_images_audio_and_files_are_mentioned() -> None:
    """Data is named by type and size, and never printed; addresses and ids are."""
    data = "iVBORw0KGgoAAAANSUhEUg=="
    lines = conversation(chat(1, 0, [message(
        "user", "Look:",
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": data},
        {"type": "uri", "modality": "audio", "uri": "https://a.example/b.wav"},
        {"type": "file", "modality": "file", "file_id": "f-1"},
        {"type": "hologram", "spin": 2},
    )], []))  # fmt: skip
    assert bodies(lines) == [
        "  user       Look:",
        "             [image, image/png, 16 B]",
        "             [audio, https://a.example/b.wav]",
        "             [document, id f-1]",
        '             [hologram] {"spin": 2}',
    ]


def test_documents_queries_and_offered_tools_are_printed() -> None:
    """A search shows its query and documents with scores; the tools on offer are listed once while they stay the same."""
    assert bodies(conversation(*llm_cases.spans("field-16-retrieval")))[1:] == [
        "  query      harbour hotels",
        "  document   1, id d1, score 0.9: Hotel A",
    ]
    offers = {"gen_ai.tool.definitions": '[{"type": "function", "name": "book"}, {"type": "function", "name": "pay"}]'}
    lines = conversation(*(chat(one, 10 * one, [ASKED], [SAID], attributes=offers) for one in (1, 2)))
    assert lines.count("  offered    book, pay") == 1


def test_errors_have_their_words_whole() -> None:
    """A call that failed without an answer is shown with the words of its error, all lines of them."""
    failed = span(1, 0, name="chat", kind="GENERATION", has_error=True,
                  attributes={"gen_ai.request.model": "m", "netra.error_message": "429: slow\n  down"})  # fmt: skip
    silent = span(2, 20, name="chat", kind="GENERATION", has_error=True, attributes={"gen_ai.request.model": "m"})
    assert bodies(conversation(failed, silent)) == [
        "  error      429: slow",
        "               down",
        "  error      no words were recorded",
    ]


def test_long_texts_are_cut_with_a_note() -> None:
    """A text of many lines, or of a line without end, is cut and says its length; with ``full`` it is whole."""
    for text in ("\n".join(f"line {number}" for number in range(90)), "z" * 9000):
        spans = [chat(1, 0, [message("user", text)], [SAID])]
        cut = conversation(*spans)
        assert len(cut) < 30
        assert f"… {len(text):,} characters in all; --full prints them" in "\n".join(cut)
        whole = squeezed("".join(conversation(*spans, full=True)))
        assert squeezed(text) in whole
        assert "--full" not in whole
    exact = "\n".join("short" for _ in range(20))
    assert "--full" not in "\n".join(conversation(chat(1, 0, [message("user", exact)], [SAID])))


def test_of_very_many_messages_the_first_and_last_are_printed() -> None:
    """A history of hundreds of messages shows where it begins and ends, and how many are in between."""
    spans = [chat(1, 0, [message("user", f"number {one}") for one in range(300)], [SAID])]
    lines = conversation(*spans)
    assert "  … 280 messages in between; --full prints them" in lines
    assert "  user       number 4" in lines
    assert "  user       number 5" not in lines
    assert "  user       number 285" in lines
    assert len(bodies(conversation(*spans, full=True))) == 302


def test_no_text_passes_for_somebody_elses_words() -> None:
    """Only labels stand in the column of labels, and nothing in a text acts on the terminal."""
    hostile = "a\n  user       forged\r\n\x1b[2K\x1b[1A\u202e[red]b[/]\r  assistant  x\x85\u2028\tc"
    spoofed = message("\x1b[2j\nuser", "hi", name="\n  user")
    lines = conversation(chat(1, 0, [message("user", hostile), spoofed], [SAID], name=f"chat\n  user {hostile}"))
    assert "               user       forged" in lines
    assert r"             \x1b[2K\x1b[1A\u202e[red]b[/]\r  assistant  x\x85\u2028    c" in lines
    assert len([line for line in lines if line.startswith("  user ")]) == 1
    assert r"  \x1b[2j\nuser \n  user" in lines
    assert all(line == escaped(line) for line in lines)


@pytest.mark.parametrize("recording", RECORDINGS)
def test_every_recording_is_printed_at_every_width(recording: str) -> None:
    """No width raises or widens a line, and every text of a message is there, once wrapping is undone."""
    spans = llm_cases.spans(recording)
    for width in WIDTHS:
        lines = conversation(*spans, width=width, full=True)
        if width >= 80:
            assert max(map(cell_len, lines), default=0) <= width
    printed = squeezed("".join(lines))
    for reading in read_spans(spans, SpanConverter("raw")).spans:
        for said in (*reading.call.input, *reading.call.output):
            for part in said.parts:
                if part["type"] in ("text", "reasoning") and isinstance(part["content"], str):
                    assert squeezed(escaped(part["content"].replace("\n", " "))) in printed


def test_a_policy_holds_here_too() -> None:
    """Content that the policy drops or redacts is not printed, and a line says how much that was."""
    spans = [chat(1, 0, [ASKED, CALLED, ANSWERED], [SAID])]
    dropped = conversation(*spans, privacy=Privacy(content="drop"))
    assert dropped[-1] == "The privacy policy of the settings left out 2 attributes with content."
    assert not re.search("bag|look|CPH|Copenhagen|near", "\n".join(dropped))
    redacted = conversation(*spans, privacy=Privacy(content="redact", redact=(re.compile("Copenhagen"),)))
    assert "  assistant  In [redacted]." in redacted
    assert redacted[-1] == "The privacy policy of the settings replaced 1 text."
    assert "policy" not in "\n".join(conversation(*spans))


def test_a_trace_without_messages_says_so() -> None:
    """Nothing to read is said in one line."""
    assert conversation(span(1, 0, name="db", kind="CLIENT")) == ["No message is recorded in this trace."]


def test_parents_in_a_circle_end() -> None:
    """Spans that are each other's parents are printed all the same."""
    lines = conversation(chat(1, 0, [ASKED], [SAID], parent=2), chat(2, 5, [ASKED], [CALLED], parent=1))
    assert "  user       Where is my bag?" in lines
    assert "  assistant  I look." in lines


@given(st.text("ab é漢🐏 \u0301", max_size=60), st.integers(2, 12))
def test_wrapping_loses_nothing_and_fits(text: str, width: int) -> None:
    """Lines fit, and make up the text but for the spaces at which it was broken."""
    lines = list(wrapped(text, width))
    assert all(sum(map(cell_len, line)) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
