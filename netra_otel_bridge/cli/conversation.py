"""Print the conversation of a trace for a person: who said what, in the order of time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from netra_otel_bridge.cli.call_words import (
    SEPARATOR,
    finish,
    has_choices,
    kind_of,
    name_of,
    packed,
    plural,
    short,
    words_of_answer,
)
from netra_otel_bridge.cli.numbers import duration, size
from netra_otel_bridge.cli.output import cell
from netra_otel_bridge.cli.redactor import redactor
from netra_otel_bridge.cli.trace_tree import in_width, title, withheld
from netra_otel_bridge.cli.turns import Turn, turns
from netra_otel_bridge.cli.wrapping import rendered, wrapped
from netra_otel_bridge.convert import TraceReading
from netra_otel_bridge.convert.llm import Document, Message, Part
from netra_otel_bridge.core.json_text import read_json, write_json
from netra_otel_bridge.core.outside_text import escaped

_MARGIN = 2
_LABEL = 11
"""Cells of the column that says who speaks, with its gap."""
_MAX_WIDTH = 100
"""Longer lines of prose are hard to read."""
_MIN_WIDTH = 20
_LINES = 20
"""Lines of one text that are printed without ``--full``."""
_TAB = 4
_LINE_ENDS = re.compile(r"\r?\n")
_FIRST_MESSAGES, _LAST_MESSAGES = 5, 15
_LABEL_STYLES = {"user": "bold green", "assistant": "bold cyan", "error": "bold red"}


class Conversation:
    """The messages of a trace as rich prints them. ``full`` prints long texts whole."""

    def __init__(self, trace_id: str, trace: TraceReading, *, full: bool) -> None:
        starts = [one.start_ns for one in trace.spans if one.start_ns]
        self._begin = min(starts, default=0)
        end = max((one.end_ns for one in trace.spans), default=self._begin)
        self._title = title(trace_id, trace.spans, max(end - self._begin, 0))
        self._withheld = withheld(trace.withheld)
        self._turns = turns(trace.spans)
        self._ends = {one.reading.span.id for one in self._turns if one.at_end}
        self._full = full
        self._tool_names: dict[str, str] = {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from rendered(self._lines(console, min(options.max_width, _MAX_WIDTH)), console)

    def _lines(self, console: Console, width: int) -> Iterator[Text]:
        write = _Writer(width, full=self._full)
        yield from in_width(self._title, console, width)
        if not self._turns:
            yield Text("No message is recorded in this trace.")
        for turn in self._turns:
            yield Text()
            yield from self._head(turn, console, width)
            yield from self._body(turn, write)
        if self._withheld:
            yield Text()
            yield from self._withheld

    def _head(self, turn: Turn, console: Console, width: int) -> Iterator[Text]:
        """Yield when, what and who, then what is known of the call."""
        reading = turn.reading
        at_ns = max((reading.end_ns if turn.at_end else reading.start_ns) - self._begin, 0)
        head = Text.assemble(
            (f"+{duration(at_ns) if at_ns else '0 s'}  ", "dim"), name_of(reading), "  ", cell(kind_of(reading), "dim")
        )
        if turn.agent is not None:
            head.append_text(Text.assemble("  ", cell(f"by {short(turn.agent)}", "dim")))
        if turn.at_end:
            head.append("  ends", "dim")
            yield from in_width(head, console, width)
            return
        known = [*words_of_answer(reading), Text(duration(max(reading.end_ns - reading.start_ns, 0)), "dim")]
        details = Text(SEPARATOR).join(known)
        if head.cell_len + 2 + details.cell_len <= width:
            yield Text.assemble(head, "  ", details)
            return
        yield from in_width(head, console, width)
        for line in packed(known, console, max(width - _MARGIN, _MIN_WIDTH)):
            yield Text.assemble(" " * _MARGIN, line)

    def _body(self, turn: Turn, write: _Writer) -> Iterator[Text]:
        call, reading = turn.reading.call, turn.reading
        if turn.left_out:
            yield from write.note(f"… {plural(turn.left_out, 'earlier message')} not repeated")
        if turn.tools:
            yield from write("offered", ", ".join(turn.tools), dim=True)
        yield from self._messages(turn.input, write)
        if turn.arguments is not None:
            yield from write("arguments", _value(turn.arguments))
        if not turn.at_end:
            for embedded in call.texts:
                yield from write("text", embedded)
            if call.query is not None:
                yield from write("query", call.query)
            for number, document in enumerate(call.documents, 1):
                yield from write("document", _document(number, document))
        several = has_choices(call) and turn.output == [one for one in call.output if one.parts]
        for number, message in enumerate(turn.output, 1):
            if several:
                reasons = finish([message.finish_reason] if message.finish_reason else [])
                said = Text(SEPARATOR).join([Text(f"choice {number} of {len(turn.output)}"), *reasons])
                yield from write.note(said.plain)
            yield from self._message(message, write)
        if turn.result is not None:
            yield from write("result", _value(turn.result))
        if reading.error is not None and (turn.at_end or reading.span.id not in self._ends):
            yield from write("error", redactor(reading.error) or "no words were recorded")

    def _messages(self, messages: list[Message], write: _Writer) -> Iterator[Text]:
        """Yield messages; of very many, the first and the last ones."""
        missing = 0 if self._full else len(messages) - _FIRST_MESSAGES - _LAST_MESSAGES
        for number, message in enumerate(messages):
            if missing > 0 and _FIRST_MESSAGES <= number < _FIRST_MESSAGES + missing:
                if number == _FIRST_MESSAGES:
                    yield from write.note(f"… {plural(missing, 'message')} in between; --full prints them")
                continue
            yield from self._message(message, write)

    def _message(self, message: Message, write: _Writer) -> Iterator[Text]:
        """Yield the parts of a message. Parts that are said are joined under one label."""
        who = f"{message.role} {message.name}" if message.name else message.role
        said: list[str] = []
        for part in message.parts:
            match part.get("type"):
                case "text":
                    said.append(_said(part.get("content")))
                    continue
                case "tool_call" | "tool_call_response" | "reasoning":
                    if said:
                        yield from write(who, "\n".join(said))
                    said = []
                    yield from self._special(part, write)
                case _:
                    said.append(_mention(part))
        if said:
            yield from write(who, "\n".join(said))

    def _special(self, part: Part, write: _Writer) -> Iterator[Text]:
        if part["type"] == "reasoning":
            yield from write("reasoning", _said(part.get("content")), dim=True)
        elif part["type"] == "tool_call":
            name, call_id = str(part.get("name") or "?"), part.get("id")
            if isinstance(call_id, str):
                self._tool_names[call_id] = name
            arguments = part.get("arguments")
            yield from write("calls", f"{name} {_value(arguments)}" if arguments not in (None, "") else name)
        else:
            called = self._tool_names.get(str(part.get("id")))
            response = "(not recorded)" if part.get("response") is None else _value(part["response"])
            yield from write("result", f"of {called}: {response}" if called else response)


class _Writer:
    """Writes a text beside its label, wrapped, and cut unless all is wanted.

    A line of a text never begins in the column of labels, so that no text can pass for somebody else's words.
    """

    def __init__(self, width: int, *, full: bool) -> None:
        self._width = max(width - _MARGIN - _LABEL, _MIN_WIDTH)
        self._limit = None if full else _LINES

    def __call__(self, label: str, text: str, *, dim: bool = False) -> Iterator[Text]:
        known = cell(short(label), _LABEL_STYLES.get(label, "bold"))
        indent = " " * (_MARGIN + _LABEL)
        if known.cell_len < _LABEL:
            known.append(" " * (_LABEL - known.cell_len))
            before = Text.assemble(" " * _MARGIN, known)
        else:
            yield Text.assemble(" " * _MARGIN, known)
            before = Text(indent)
        for line in self._lines(text, "dim" if dim else ""):
            whole = Text.assemble(before, line)
            whole.rstrip()
            yield whole
            before = Text(indent)

    def note(self, text: str) -> Iterator[Text]:
        """Write a line of ours in the column of labels."""
        yield Text.assemble(" " * _MARGIN, cell(text, "dim italic"))

    def _lines(self, text: str, style: str) -> Iterator[Text]:
        shown = text if self._limit is None else text[: self._limit * self._width]
        cut = len(shown) < len(text)
        lines = self._wrapped(shown, style)
        for number, line in enumerate(lines):
            if number == self._limit:
                cut = True
                break
            yield line
        if cut:
            yield cell(f"… {len(text):,} characters in all; --full prints them", "dim italic")

    def _wrapped(self, text: str, style: str) -> Iterator[Text]:
        for paragraph in _LINE_ENDS.split(text):
            for line in wrapped(escaped(paragraph.expandtabs(_TAB)), self._width):
                yield Text(line, style)


def _value(value: Any) -> str:
    """Return any value as text: texts as they are, JSON with spaces, at which it can be wrapped."""
    if isinstance(value, str):
        if value.lstrip()[:1] not in ("{", "["):
            return value
        decoded = read_json(value)
        if not isinstance(decoded, dict | list):
            return value
        value = decoded
    if isinstance(value, list) and value and all(map(_is_text, value)):
        return "\n".join(str(one.get("text", one.get("content"))) for one in value)
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return write_json(value)


def _is_text(item: Any) -> bool:
    """Return whether an item of a tool's result is nothing but text, as MCP and Anthropic write it."""
    return isinstance(item, dict) and item.get("type") == "text" and item.keys() <= {"type", "text", "content"}


def _said(value: Any) -> str:
    """Return a text as it was said, also if it is JSON."""
    return value if isinstance(value, str) else _value(value)


def _document(number: int, document: Document) -> str:
    known = [str(number), f"id {document.id}" if document.id else ""]
    known.append(f"score {document.score:.4g}" if document.score is not None else "")
    content = document.content
    if content is None:
        content = "" if document.metadata is None else _value(document.metadata)
    return f"{', '.join(filter(None, known))}: {content}"


def _mention(part: Part) -> str:
    """Return an image, audio or file as its type and size or address; an unknown part as JSON."""
    modality = str(part.get("modality") or part.get("type") or "part")
    mime = part.get("mime_type")
    known = [modality, mime if isinstance(mime, str) else ""]
    match part.get("type"):
        case "blob":
            content = part.get("content")
            known.append(size(_base64_bytes(content)) if isinstance(content, str) else "")
        case "uri":
            known.append(str(part.get("uri")))
        case "file":
            known.append(f"id {part.get('file_id')}")
        case _:
            return f"[{modality}] {_value({key: value for key, value in part.items() if key != 'type'})}"
    return f"[{', '.join(filter(None, known))}]"


def _base64_bytes(content: str) -> int:
    return len(content) * 3 // 4 - content[-2:].count("=")
