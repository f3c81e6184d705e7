"""``traces show``: what the tree of a trace says of each span."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from netra_otel_bridge.cli.redactor import redactor
from netra_otel_bridge.convert import SpanConverter, read_spans
from tests.support import llm_cases
from tests.support.converted import netra_span
from tests.support.drawn import call, chat, message, span, tree
from tests.support.llm_cases import RECORDINGS

WIDTHS = (40, 80, 120, 200)
BARS = "━·"


@pytest.fixture
def secret() -> Iterator[str]:
    redactor.use(["hunter2-and-more"])
    yield "hunter2-and-more"
    redactor.use([])


@pytest.mark.parametrize("recording", RECORDINGS)
def test_every_recording_is_drawn_at_every_width(recording: str) -> None:
    """Each span has one line with its timeline or without a time, and from 80 columns on no line is wider than the terminal."""
    spans = llm_cases.spans(recording)
    for width in WIDTHS:
        lines = tree(*spans, width=width)
        assert len([line for line in lines if line[:1] in BARS]) >= len(spans) - 3
        if width >= 80:
            assert max(map(cell_len, lines)) <= width


def test_a_call_says_its_model_tools_tokens_and_end() -> None:
    """Provider, model, the tools that the model called, both token counts with their parts, and the finish reason."""
    spans = llm_cases.spans("netra-p01-openai-chat-tools")
    drawn = " ".join(" ".join(tree(*spans, width=120)).split())
    assert "openai gpt-4o-mini-2024-07-18 · calls tide_table x2" in drawn
    assert "210 in (128 cached, 40 written to cache), 64 out (32 reasoning)" in drawn
    assert "finish: tool_calls" in drawn


def test_kinds_are_those_of_the_evidence() -> None:
    """A span that Netra has as CLIENT is drawn as the reranker that it is, with its documents."""
    lines = tree(*llm_cases.spans("netra-p07-cohere"), width=120)
    (rerank,) = (line for line in lines if "cohere.rerank" in line)
    assert "RERANKER" in rerank
    assert "cohere rerank-v3.5 · 2 of 2 documents" in rerank


def test_tools_and_agents_are_named_where_their_spans_do_not_name_them() -> None:
    """The tool and the agent appear unless the span's name has them already."""
    tool, plain, agent = tree(
        span(1, 0, name="run", kind="TOOL", attributes={"gen_ai.tool.name": "find_hotels"}),
        span(2, 1, name="find_hotels.tool", kind="TOOL", attributes={"gen_ai.tool.name": "find_hotels"}),
        span(3, 2, name="crew", kind="AGENT", attributes={"gen_ai.agent.name": "triage"}),
    )[1:]  # fmt: skip
    assert tool.endswith("tool find_hotels")
    assert plain.endswith("TOOL")
    assert agent.endswith("agent triage")


def test_many_names_are_counted_and_long_ones_cut() -> None:
    """Of many tools the first are named, and the rest is a number."""
    said = [message("assistant", *(call(f"tool-{number}-{'x' * 200}") for number in range(40)))]
    drawn = "".join(line[30:] for line in tree(chat(1, 0, [], said), width=120))
    assert "tool-5-" in drawn
    assert "tool-6-" not in drawn
    assert "34 more" in drawn
    assert "x" * 81 not in drawn.replace(" ", "")


def test_an_error_has_its_words_on_one_line_without_secrets(secret: str) -> None:
    """The words of a status or an exception are shown, with line breaks folded, secrets masked, and cut if long."""
    failed = span(1, 0, name="chat", has_error=True, attributes={"netra.error_message": f"no\x1b[2J\nkey {secret}"})
    exception = span(2, 5, name="tool", status='{"code": "ERROR", "message": "' + "w" * 900 + '"}', has_error=True)
    silent = span(3, 9, name="mute", has_error=True)
    lines = tree(failed, exception, silent, width=200)
    assert "3 errors" in lines[0]
    assert lines[1].endswith(r"error: no\x1b[2J key ***")
    assert "w" * 120 in " ".join(lines)
    assert "w" * 201 not in "".join("".join(lines).split())
    assert lines[-1].endswith("error")


def test_what_does_not_fit_beside_a_span_stands_below_it() -> None:
    """In a narrow terminal, details follow on lines of their own, and the guide lines go on beside them."""
    root = span(1, 0, name="turn", length_ms=90)
    first = chat(2, 1, [message("user", "hi")], [message("assistant", "hello", finish_reason="stop")], parent=1,
                 attributes={"gen_ai.usage.input_tokens": 10206, "gen_ai.usage.output_tokens": 40,
                             "gen_ai.usage.cache_read.input_tokens": 9000})  # fmt: skip
    lines = tree(root, first, span(3, 50, name="store", parent=1), width=60)
    bar, duration = lines[1].split()[:2]
    indent = " " * (lines[1].index("turn"))
    assert lines[3:5] == [f"{indent}│     openai gpt-5", f"{indent}│     10,206 in (9,000 cached), 40 out"]
    assert bar[0] in BARS
    assert duration


def test_deep_and_long_names_leave_their_lines_readable() -> None:
    """A span that is very deep keeps its name in sight, and a name without end is cut."""
    deep = [span(number, number, name=f"n{number}", parent=number - 1 if number else None) for number in range(400)]
    lines = tree(*deep, width=80)
    assert len(lines) == 401
    assert all(f"n{number} " in f"{line} " for number, line in enumerate(lines[1:]))
    assert max(map(cell_len, lines)) <= 80
    drawn = "".join(tree(span(1, 0, name="y" * 5000), width=80))
    assert 150 < drawn.count("y") < 201


def test_a_parent_in_another_letter_case_is_drawn_as_one() -> None:
    """The tree compares ids as they are sent, so a parent in capital letters is not missing."""
    spans = [
        netra_span(id="00f067aa0ba902b7", name="root"),
        netra_span(id="1" * 16, parent_span_id="00F067AA0BA902B7", name="child"),
    ]
    drawn = "\n".join(tree(*spans))
    assert "└─ child" in drawn
    assert "not in the trace" not in drawn


def test_findings_of_netra_are_named() -> None:
    """A span with personal data or a violation says so."""
    (line,) = tree(span(1, 0, name="check", kind="GUARDRAIL", has_pii=True, has_violation=True))[1:]
    assert line.endswith("personal data · violation")


def test_a_reading_needs_the_recorded_attributes() -> None:
    """A converter whose profile derives attributes is refused: they would be read as recorded."""
    with pytest.raises(ValueError, match="raw"):
        read_spans([], SpanConverter("genai"))
