"""With ``content: redact``, no reader of a span sees a match: not in JSON, however nested and escaped, nor in what is derived."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netra_otel_bridge.convert import Privacy, SpanConverter
from netra_otel_bridge.convert.llm.parts import decoded
from netra_otel_bridge.convert.redaction import REDACTED
from netra_otel_bridge.core.escapes import Sources, unescaped
from tests.support.converted import netra_span
from tests.support.drawn import conversation, message, span
from tests.support.examples import examples
from tests.support.llm_cases import PROFILES

QUICK = settings(max_examples=examples(600), deadline=None, suppress_health_check=[HealthCheck.too_slow])
EXPRESSIONS = (
    re.compile("Müller"),
    re.compile(r"\b\d{4}\s\d{4}\s\d{4}\s\d{4}\b"),
    re.compile(r'password "[^"]+"'),
    re.compile(r"^\d{16}$"),
    re.compile(r"first line\nsecond line"),
)
REDACT = Privacy(content="redact", redact=EXPRESSIONS)
_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"')
FINDS = (
    "I am Müller.",
    "card 4111 1111\n1111 1111 ok",
    'the password "hunter2" is',
    "4111111111111111",
    "\U0001f600Müller",
)


def ascii_json(value: Any) -> str:
    """Return JSON as Python's ``json.dumps`` writes it."""
    return json.dumps(value)


def utf8_json(value: Any) -> str:
    """Return JSON as JavaScript writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def coded_json(value: Any) -> str:
    """Return JSON whose letters are all escapes."""
    return _LITERAL.sub(lambda found: _coded(found[0]), json.dumps(value, ensure_ascii=False))


def _coded(literal: str) -> str:
    letters = "".join(map(_escape, json.loads(literal)))
    return f'"{letters}"'


def _escape(letter: str) -> str:
    return json.dumps(letter)[1:-1] if ord(letter) > 0xFFFF else f"\\u{ord(letter):04X}"


WRITERS = st.sampled_from((ascii_json, utf8_json, coded_json, str))
HOLDERS = (
    lambda text: [text],
    lambda text: {"text": text},
    lambda text: {text: 1},
    lambda text: [{"type": "text", "text": text}],
    lambda text: {"a": ["x", {"b": text}]},
)
CONTENT = st.builds(
    lambda find, levels: _nested(find, levels),
    st.sampled_from(FINDS),
    st.lists(st.tuples(st.sampled_from(HOLDERS), WRITERS), max_size=4),
)


def _nested(text: str, levels: list[tuple[Any, Any]]) -> str:
    for holder, writer in levels:
        text = writer(holder(text))
    return text


def shapes(text: str) -> dict[str, dict[str, Any]]:
    """Return attributes of several dialects that hold one content."""
    chat = {"llm.request.type": "chat", "gen_ai.request.model": "m"}
    return {
        "conventions": {"gen_ai.input.messages": json.dumps([message("user", text)]), "gen_ai.operation.name": "chat"},
        "indexed": {**chat, "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": text},
        "conversation": {"conversation": json.dumps([{"type": "input", "role": "user", "content": text}])},
        "vercel": {
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.prompt.messages": json.dumps([{"role": "user", "content": [{"type": "text", "text": text}]}]),
        },
        "tool": {"gen_ai.tool.name": "t", "gen_ai.tool.call.arguments": text, "gen_ai.operation.name": "execute_tool"},
        "own": {"netra.custom.x": text, "traceloop.entity.input": text},
    }


def readings(value: Any) -> Iterator[str]:
    """Yield every text in a value, and every text that can be decoded from it."""
    if isinstance(value, str):
        yield value
        holder = decoded(value)
        if not isinstance(holder, str):
            yield from readings(holder)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from readings(key)
            yield from readings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from readings(item)
    elif value is not None:
        yield str(value)


def matches(value: Any) -> list[str]:
    """Return the texts of a value in which an expression finds something."""
    return [text for text in readings(value) if any(one.search(text.replace(REDACTED, "")) for one in EXPRESSIONS)]


@QUICK
@given(CONTENT, st.sampled_from(PROFILES))
def test_no_reader_finds_a_match_at_any_depth(text: str, profile: Any) -> None:
    """A text is redacted as each reader reads it, recorded or derived, in JSON, keys and Python's forms."""
    for attributes in shapes(text).values():
        converted = SpanConverter(profile, REDACT).convert(
            netra_span(attributes=json.dumps(attributes), metadata=json.dumps({"note": text}), kind="GENERATION")
        )
        assert matches(dict(converted.attributes or {})) == []


@QUICK
@given(CONTENT)
def test_no_match_is_printed(text: str) -> None:
    """`traces show --messages` prints no match."""
    for attributes in shapes(text).values():
        lines = conversation(span(1, 0, name="chat", attributes=attributes), width=400, full=True, privacy=REDACT)
        printed = "\n".join(line.strip() for line in lines)
        assert not any(one.search(printed) for one in EXPRESSIONS)
        assert "Müller" not in printed


@pytest.mark.parametrize("profile", PROFILES)
def test_texts_that_are_joined_match_too(profile: Any) -> None:
    """A match that arises only when texts are joined leaves neither in a derived attribute nor on the terminal."""
    pieces = {"type": "reasoning", "summary": [{"text": "first line"}, {"text": "second line"}]}
    said = {"gen_ai.operation.name": "chat", "gen_ai.output.messages": json.dumps([message("assistant", pieces)])}
    converted = SpanConverter(profile, REDACT).convert(netra_span(attributes=json.dumps(said), kind="GENERATION"))
    assert matches(dict(converted.attributes or {})) == []
    lines = conversation(span(1, 0, name="chat", kind="GENERATION", attributes=said), privacy=REDACT)
    assert any(REDACTED in line for line in lines)
    assert not any("second line" in line for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        r'[{"role": "user", "content": "I am M\u00fcller"}, {"role": "assi',
        r'Answer: {"name": "M\u00fcller"} as asked',
        r'{"name": "M\u00fcller", "name": "x"}',
        r"['M\xfcller', 'it\'s', ",
    ],
    ids=["cut", "inside prose", "repeated key", "Python's, cut"],
)
def test_escapes_are_read_where_the_text_is_no_json(text: str) -> None:
    """A text that is cut, holds JSON in prose, or repeats a key keeps its form; the match in it is redacted."""
    redacted = REDACT.redacted_text(text, counts := Counter())
    assert redacted == re.sub(r"M\\(u00|x)fcller", REDACTED, text)
    assert counts["content_redacted"] == 1


def test_a_number_and_a_layout_survive() -> None:
    """JSON stays JSON if a number matches, and keeps its layout if the match is inside of a string."""
    counts = Counter()
    assert REDACT.redacted_text('{"a": "Müller"}', counts) == f'{{"a": "{REDACTED}"}}'
    assert REDACT.redacted_text('{"n": 4111111111111111}', counts) == f'{{"n":"{REDACTED}"}}'
    assert REDACT.redacted_text("C:\\new\\table {}", counts) == "C:\\new\\table {}"


def test_endless_escapes_are_redacted_whole() -> None:
    """A text with more levels or numbers of escapes than are read is redacted whole."""
    counts = Counter()
    assert REDACT.redacted_text("\\" * 2**17 + "u00fc", counts) == REDACTED
    assert REDACT.redacted_text("\\u005cu005c" * 200_000, counts, max_scanned_bytes=2**23) == REDACTED


@QUICK
@given(st.text(alphabet='ab"\\nu0/\U0001f600é\x00', max_size=40), st.data())
def test_places_lead_back_to_the_escapes(text: str, data: st.DataObject) -> None:
    """The place of each part of an unescaped text reads as that part again, with whole escapes."""
    original = json.dumps(text).encode()
    read = unescaped(original)
    assert read.decode() == f'"{text}"'
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, len(text)))
    at = len(f'"{text[:start]}'.encode())
    place = (at, at + len(text[start:stop].encode()))
    begin, end = Sources(original).source(*place)
    assert start == stop or unescaped(original[begin:end]).decode() == text[start:stop]
